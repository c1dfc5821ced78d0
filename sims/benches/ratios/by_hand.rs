//! The recovery loop of the append log, against the same loop by hand.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use crashpoint::digest::Digest;
use crashpoint::engine::Engine;
use crashpoint::explore::protocol::Budget;
use crashpoint::oracle::{Model, Promises};
use crashpoint::seed::Seed;
use crashpoint::sim::{OpOf, Sim, Step};
use crashpoint::state::State;
use crashpoint::time::Time;
use crashpoint::{measure, sim};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::append_log::{AppendLog, LogEngine, LogModel, Shipped};

use crate::{cpu, median, tmpfs};

/// How many ops the store has seen.
const OPS: usize = 50;
/// Each way takes turns with the other, so that both meet the same machine.
const ROUNDS: usize = 5;

/// The word that starts this program for one recovery.
const RECOVER: &str = "recover";

/// Where a recovery by hand runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    InOneProcess,
    InItsOwn,
}

/// The append log after 50 ops of its own workload, and no op after a recovery.
struct Fifty;

type Op = OpOf<AppendLog>;

impl Sim for Fifty {
    type Engine = LogEngine<Shipped>;
    type Model = LogModel;

    const NAME: &'static str = "append-log-50";
    const ABOUT: &'static str = "the append log, for its bench";
    const AFTERLIFE: bool = false;

    fn promises() -> Promises<LogModel> {
        AppendLog::<Shipped>::promises()
    }

    fn workload(_: usize) -> BoxedStrategy<Vec<Step<Op>>> {
        Just(steps()).boxed()
    }
}

/// The same steps each time.
fn steps() -> Vec<Step<Op>> {
    let mut runner = TestRunner::deterministic();
    let mut steps = Vec::new();
    while steps.len() < OPS {
        let tree = AppendLog::<Shipped>::workload(OPS).new_tree(&mut runner);
        let drawn = tree.expect("nothing is rejected").current();
        steps.extend(drawn.into_iter().filter(|step| matches!(step, Step::Op(_))));
    }
    steps.truncate(OPS);
    steps
}

/// A directory as a crash may leave it, and what must be found in it.
struct Left {
    files: Vec<(OsString, Vec<u8>)>,
    state: State,
}

/// The directory after each op, as the death of the process leaves it.
fn states() -> Vec<Left> {
    let dir = tmpfs();
    let mut engine = LogEngine::<Shipped>::open(dir.path()).expect("opens");
    let mut model = LogModel::default();
    let mut left = Vec::new();
    for step in steps() {
        let Step::Op(op) = step else { continue };
        engine.apply(&op).expect("applies");
        model.apply(&op, Time::START);
        // A scan flushes, so all of it is in the files.
        let state = engine.scan().expect("scans");
        assert_eq!(state, *model.state(Time::START));
        left.push(Left { files: files(dir.path()), state });
    }
    left
}

fn files(dir: &Path) -> Vec<(OsString, Vec<u8>)> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        (entry.file_name(), fs::read(entry.path()).expect("reads"))
    };
    fs::read_dir(dir).expect("lists").map(read).collect()
}

/// What the harness has an engine do with a crash state, done by hand.
fn recover(root: &Path, number: usize, left: &Left, how: How) {
    let dir = root.join(number.to_string());
    fs::create_dir(&dir).expect("creates");
    for (name, bytes) in &left.files {
        fs::write(dir.join(name), bytes).expect("writes");
    }
    match how {
        How::InOneProcess => live(&dir, left.state.digest()),
        How::InItsOwn => {
            let digest = left.state.digest().to_string();
            let this = std::env::current_exe().expect("this program");
            let ended = Command::new(this).arg(RECOVER).arg(&dir).arg(digest).status();
            assert!(ended.expect("it runs").success());
        }
    }
    fs::remove_dir_all(&dir).expect("removes");
}

/// Opens, reads back, closes and opens and reads back, once more and again, and compares.
fn live(dir: &Path, shown: Digest) {
    let read = |engine: &mut LogEngine<Shipped>| {
        assert_eq!(engine.scan().expect("scans").digest(), shown);
    };
    let mut engine = LogEngine::open(dir).expect("opens");
    read(&mut engine);
    for reads in [2, 1] {
        engine.close().expect("closes");
        engine = LogEngine::open(dir).expect("opens");
        (0..reads).for_each(|_| read(&mut engine));
    }
    engine.close().expect("closes");
}

/// The recovery that this program was started for, if it was.
pub(crate) fn child(words: &[String]) -> bool {
    let [word, dir, digest] = words else { return false };
    if word == RECOVER {
        live(Path::new(dir), Digest(u64::from_str_radix(digest, 16).expect("a digest")));
    }
    word == RECOVER
}

/// Microseconds of CPU time for one recovery by hand.
fn by_hand(states: &[Left], how: How) -> f64 {
    let times = if how == How::InOneProcess { 40 } else { 1 };
    let root = tmpfs();
    let took = cpu(|| {
        for _ in 0..times {
            for (number, left) in states.iter().enumerate() {
                recover(root.path(), number, left, how);
            }
        }
    });
    took * 1e6 / (times * states.len()) as f64
}

pub(crate) fn table() {
    let entry = sim::<Fifty>();
    let states = states();
    let budget =
        Budget { recoveries: 400, nested: 0, schedules: 1, stop: true, ..Budget::default() };
    let (mut ours, mut one, mut own) = (Vec::new(), Vec::new(), Vec::new());
    let mut tally = None;
    for _ in 0..ROUNDS {
        one.push(by_hand(&states, How::InOneProcess));
        own.push(by_hand(&states, How::InItsOwn));
        let mut recoveries = 0;
        let took = cpu(|| {
            for seed in 0..4 {
                let spent = measure(&entry, "posix", Seed(seed), OPS, budget);
                recoveries += spent.recoveries;
                tally = Some(spent);
            }
        });
        ours.push(took * 1e6 / recoveries as f64);
    }
    let faster = |theirs: &[f64]| median(theirs.iter().zip(&ours).map(|(t, o)| t / o).collect());
    let tally = tally.expect("there are rounds");
    println!("recovery loop, append log, {OPS} ops, against the same by hand on tmpfs: CPU time");
    println!("  {} crash points, {} recoveries a workload", tally.points, tally.recoveries);
    println!("  by hand, all in one process       {:8.1} us a recovery", median(one.clone()));
    println!("  by hand, each in a process        {:8.1} us", median(own.clone()));
    println!("  ours, each in a process           {:8.1} us", median(ours.clone()));
    println!(
        "  ours is {:.2} times as fast as the first, {:.2} as the second",
        faster(&one),
        faster(&own)
    );
    let harness = tally.harness_seconds / tally.seconds;
    println!("  {:.0} % of ours is outside the children that run the engine\n", harness * 100.0);
}
