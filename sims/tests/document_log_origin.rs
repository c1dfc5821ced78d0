//! The document log against the published crate whose format it uses: each reads the other's files,
//! and the sim finds the crate's known bugs again.

#![expect(clippy::print_stdout, reason = "prints figures for `--nocapture`")]

use std::path::Path;

use crashpoint::{Class, Entry, Seed, Sim, State, Step, sim};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::document_log::origin::{
    Background, BackgroundByClients, Durable, Origin, Written, WrittenByClients, open, shown,
};
use sims::document_log::{DocOp, item};
use sims::engines::document_log::{Documents, SyncStorage};

/// The number of workloads in each direction.
const WORKLOADS: usize = 40;

/// Runs a workload on our store. A conflict is an answer and not an error.
fn run_ours(path: &Path, steps: &[Step<DocOp>]) {
    let reopened = || Documents::open(SyncStorage::open(path).expect("opens")).expect("opens");
    let mut documents = reopened();
    for step in steps {
        let Step::Op(op) = step else {
            documents = reopened();
            continue;
        };
        let _ = match op {
            DocOp::Put(new) => documents.insert(&new.collection, &new.key, new.value()),
            DocOp::Batch(new) => {
                documents.insert_batch(&new.iter().map(|new| new.item()).collect::<Vec<_>>())
            }
            DocOp::Delete(collection, key) => documents.delete(collection, key),
            DocOp::Drop(collection) => documents.drop_collection(collection),
            _ => documents.compact(),
        };
    }
}

/// Runs a workload on the origin, without the steps that are known to lose data: compactions of an
/// empty store (M1) or after the store was reopened (M14), and refused batches (M6). Versions are
/// left out, so that no batch is refused.
fn run_theirs(path: &Path, steps: &[Step<DocOp>]) {
    let mut store = open(path).expect("opens");
    let mut may_compact = !path.exists();
    for step in steps {
        let Step::Op(op) = step else {
            store = open(path).expect("opens");
            may_compact = false;
            continue;
        };
        let text = |new: &sims::document_log::Document| {
            (new.key.clone(), serde_json::json!({ "text": new.text }))
        };
        match op {
            DocOp::Put(new) => store.insert_batch(&new.collection, vec![text(new)]),
            DocOp::Batch(new) => {
                store.insert_batch(&new[0].collection, new.iter().map(text).collect())
            }
            DocOp::Delete(collection, key) => store.delete(collection, key),
            DocOp::Drop(collection) => store.delete_collection(collection),
            _ if may_compact && store.get_all("c0").is_empty() => Ok(()),
            _ if may_compact => store.compact(),
            _ => Ok(()),
        }
        .expect("works");
    }
}

fn ours(path: &Path) -> State {
    let documents = Documents::open(SyncStorage::open(path).expect("opens")).expect("opens");
    let all = documents.all().expect("reads");
    all.into_iter().map(|(name, key, value)| (item(&name, &key), shown(value))).collect()
}

fn theirs(path: &Path) -> State {
    let store = open(path).expect("opens");
    let of = |name: &str| {
        let name = name.to_owned();
        let all = store.get_all(&name);
        all.into_iter().map(move |(key, value)| (item(&name, &key), shown(value)))
    };
    ["c0", "c1", "c2"].into_iter().flat_map(of).collect()
}

#[test]
fn both_load_the_same_from_each_others_files() {
    let mut runner = TestRunner::deterministic();
    let strategy = Origin::<Durable>::workload(40);
    let (mut filled, mut mixed) = (0, 0);
    for _ in 0..WORKLOADS {
        let steps = strategy.new_tree(&mut runner).expect("generates").current();
        let dir = tempfile::tempdir().expect("a directory");
        let [one, other] = ["ours", "theirs"].map(|name| dir.path().join(name));
        run_ours(&one, &steps);
        run_theirs(&other, &steps);
        for path in [&one, &other] {
            assert_eq!(ours(path), theirs(path), "{} of {steps:?}", path.display());
            filled += usize::from(ours(path).len() > 0);
        }
        // Then each continues with the other's file.
        run_ours(&other, &steps);
        run_theirs(&one, &steps);
        for path in [&one, &other] {
            assert_eq!(ours(path), theirs(path), "{} twice of {steps:?}", path.display());
            mixed += usize::from(ours(path).len() > 0);
        }
    }
    assert!(filled > WORKLOADS && mixed > WORKLOADS, "only {filled} and {mixed} hold anything");
}

#[test]
fn each_saved_case_of_the_origin_still_reproduces() {
    let corpus = sims::corpus().join("origins");
    crashpoint::check_corpus::<Origin>(&corpus);
    crashpoint::check_corpus::<Origin<WrittenByClients>>(&corpus);
    crashpoint::check_corpus::<Origin<Background>>(&corpus);
    crashpoint::check_corpus::<Origin<BackgroundByClients>>(&corpus);
    for (name, least) in [("", 8), ("-clients", 2), ("-async", 1)] {
        let folder = corpus.join(format!("moltendb-core{name}"));
        let cases = std::fs::read_dir(folder).expect("lists").count();
        assert!(cases >= least, "only {cases} cases of moltendb-core{name}");
    }
}

/// Two clients, a batch each.
const BATCHES: &str = "together 2 1 batch 2 x0 k0 0 a x0 k1 0 b 1 batch 2 y0 k0 0 c y0 k1 0 d
reopen
";

/// One client compacts, another deletes.
const COMPACTION: &str = "put c0 k0 0 one
put c0 k1 0 two
together 2 1 compact 2 delete c0 k0 delete c0 k1
reopen
";

/// How many schedules of these steps it takes until a promise is broken, and the violation with its
/// case.
fn schedules(entry: &Entry, steps: &str) -> (u64, String) {
    for seed in 0..200_u64 {
        let case =
            format!("sim {}\nprofile posix\nseed {}\nexpect pass\n{steps}", entry.name, Seed(seed));
        if let Err(violation) = crashpoint::check_case(entry, &case) {
            let text = violation.to_string();
            assert!(text.starts_with("expected no violation, found"), "{text}");
            return (seed + 1, format!("{violation}\n{case}"));
        }
    }
    panic!("{} keeps its promises in 200 schedules of\n{steps}", entry.name);
}

#[test]
fn the_concurrency_bugs_of_the_origin_are_found_within_200_schedules() {
    let entry = sim::<Origin<WrittenByClients>>();
    for (row, steps) in [("M13", BATCHES), ("M12", COMPACTION)] {
        let (count, case) = schedules(&entry, steps);
        println!("{row} in {}: {count} schedules\n{case}", entry.name);
    }
}

#[test]
fn the_sim_finds_without_a_saved_case_that_the_origin_loses_data() {
    // Under power loss the violation is M4, unless a bug that needs no crash shows first. If only
    // the process crashes, it is always such a bug.
    let durable = crashpoint::sim::<Origin<Durable>>();
    let mut found = (0..8).map(|seed| crashpoint::find(&durable, "posix", Seed(seed), 36));
    let durable = found.find(|found| found.class == Some(Class::LostWrite));
    let durable = durable.expect("a lost write for one of eight seeds");
    let written = crashpoint::sim::<Origin<Written>>();
    let written = crashpoint::find(&written, "tail-prefix", Seed(0), 36);
    assert!(written.class.is_some(), "nothing in {} states", written.states);
    println!("{} states, {} states\n{}", durable.states, written.states, written.report);
}
