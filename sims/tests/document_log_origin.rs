//! The document log against the published crate whose format it has: files go both ways, and the
//! crate's own weaknesses are found again by the sim.

#![expect(clippy::print_stdout, reason = "the figures, for who asks for them")]

use std::path::Path;

use crashpoint::Class;
use crashpoint::Seed;
use crashpoint::State;
use crashpoint::{Entry, sim};
use crashpoint::{Sim, Step};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::document_log::origin::{
    Durable, Late, LateByClients, Origin, Written, WrittenByClients, open, shown,
};
use sims::document_log::{DocOp, item};
use sims::engines::document_log::{Documents, SyncStorage};

/// Workloads that go both ways.
const WORKLOADS: usize = 40;

/// Carries a workload out with our store. Conflicts are answers.
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

/// Carries a workload out with theirs, but for what it is known to lose by: compactions of an
/// empty store (M1) or of one that was opened and not written since (M14), and refused batches
/// (M6). The versions are left out, so that nothing is refused.
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
fn files_of_random_workloads_load_alike_in_both_directions() {
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
        // And on from what the other wrote.
        run_ours(&other, &steps);
        run_theirs(&one, &steps);
        for path in [&one, &other] {
            assert_eq!(ours(path), theirs(path), "{} twice of {steps:?}", path.display());
            mixed += usize::from(ours(path).len() > 0);
        }
    }
    assert!(filled > WORKLOADS && mixed > WORKLOADS, "{filled} and {mixed} hold anything");
}

#[test]
fn what_the_origin_loses_is_found_again() {
    let corpus = sims::corpus().join("origins");
    crashpoint::check_corpus::<Origin>(&corpus);
    crashpoint::check_corpus::<Origin<WrittenByClients>>(&corpus);
    crashpoint::check_corpus::<Origin<Late>>(&corpus);
    crashpoint::check_corpus::<Origin<LateByClients>>(&corpus);
    for (name, most) in [("", 8), ("-clients", 2), ("-async", 1)] {
        let folder = corpus.join(format!("moltendb-core{name}"));
        let cases = std::fs::read_dir(folder).expect("lists").count();
        assert!(cases >= most, "{cases} cases of moltendb-core{name}");
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

/// How many schedules of these steps it takes until a promise is broken, and the case.
fn schedules(entry: &Entry, steps: &str) -> (u64, String) {
    for seed in 0..200_u64 {
        let case =
            format!("sim {}\nprofile posix\nseed {}\nexpect pass\n{steps}", entry.name, Seed(seed));
        if let Err(why) = crashpoint::check_case(entry, &case) {
            assert!(why.starts_with("expected no violation, found"), "{why}");
            return (seed + 1, format!("{why}\n{case}"));
        }
    }
    panic!("{} keeps its promises in 200 schedules of\n{steps}", entry.name);
}

#[test]
fn what_the_origin_loses_to_concurrency_is_found_in_few_schedules() {
    let entry = sim::<Origin<WrittenByClients>>();
    for (row, steps) in [("M13", BATCHES), ("M12", COMPACTION)] {
        let (count, case) = schedules(&entry, steps);
        println!("{row} in {}: {count} schedules\n{case}", entry.name);
    }
}

#[test]
fn the_sim_finds_by_itself_that_the_origin_loses_data() {
    // With a loss of power it has no chance (M4), unless what needs no crash at all comes first;
    // without one it is always that.
    let durable = crashpoint::sim::<Origin<Durable>>();
    let mut found = (0..8).map(|seed| crashpoint::find(&durable, "posix", Seed(seed), 36));
    let durable = found.find(|found| found.class == Some(Class::LostWrite));
    let durable = durable.expect("a lost write for one of eight seeds");
    let written = crashpoint::sim::<Origin<Written>>();
    let written = crashpoint::find(&written, "tail-prefix", Seed(0), 36);
    assert!(written.class.is_some(), "nothing in {} states", written.states);
    println!("{} states, {} states\n{}", durable.states, written.states, written.report);
}
