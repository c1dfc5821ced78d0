//! What a sim's engine does under the harness, against the same by hand on tmpfs with real system
//! calls: the recovery loop, and the run that is recorded.

use std::ffi::OsString;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;

use crashpoint::Digest;
use crashpoint::Engine;
use crashpoint::Seed;
use crashpoint::Time;
use crashpoint::inner::check::measure;
use crashpoint::inner::explore::job::Budget;
use crashpoint::inner::explore::tally::Tally;
use crashpoint::{Model, Promises};
use crashpoint::{OpOf, Sim, Step};
use crashpoint::{record, sim};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::append_log::AppendLog;
use sims::fjall_fold::{FjallFoldSim, Synced};

use crate::{cpu, median, time, tmpfs};

/// How many ops the store has seen that is recovered.
const OPS: usize = 50;
/// How many ops a run has that is recorded.
const LONG: usize = 400;
/// Each way takes turns with the other, so that both meet the same machine.
const ROUNDS: usize = 5;

/// The word that starts this program for one recovery; the sim, a directory and a digest follow.
const RECOVER: &str = "recover";

/// Where a recovery by hand runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    InOneProcess,
    InItsOwn,
}

/// A sim with the same ops each time, and none after a recovery.
struct Ops<S>(PhantomData<S>);

impl<S: Sim> Sim for Ops<S> {
    type Engine = S::Engine;
    type Model = S::Model;

    const NAME: &'static str = S::NAME;
    const ABOUT: &'static str = S::ABOUT;
    const AFTER_RECOVERY: bool = false;

    fn promises() -> Promises<S::Model> {
        S::promises()
    }

    fn workload(ops: usize) -> BoxedStrategy<Vec<Step<OpOf<S>>>> {
        Just(self::ops::<S>(ops).into_iter().map(Step::Op).collect()).boxed()
    }
}

/// The first ops of the sim's own workloads.
fn ops<S: Sim>(many: usize) -> Vec<OpOf<S>> {
    let mut runner = TestRunner::deterministic();
    let mut ops = Vec::new();
    while ops.len() < many {
        let tree = S::workload(many).new_tree(&mut runner).expect("nothing is rejected");
        ops.extend(tree.current().into_iter().filter_map(|step| match step {
            Step::Op(op) => Some(op),
            Step::Reopen | Step::Sleep(_) => None,
        }));
    }
    ops.truncate(many);
    ops
}

/// A directory as a crash may leave it, and what must be found in it.
struct Left {
    folders: Vec<PathBuf>,
    files: Vec<File>,
    shown: Digest,
}

/// A file below a directory: its bytes up to the last that is not zero, and its size. An engine may
/// set 64 MB aside for a journal and write a few KiB.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    size: u64,
}

/// The directory after each op. The store is closed for a moment, so that no thread of it writes
/// while its files are read.
fn states<S: Sim>() -> Vec<Left> {
    let dir = tmpfs();
    let mut model = S::Model::default();
    let mut states = Vec::new();
    for op in ops::<S>(OPS) {
        let mut engine = S::Engine::open(dir.path()).expect("opens");
        engine.apply(&op).expect("applies");
        model.apply(&op, Time::START);
        let state = engine.scan().expect("scans");
        assert_eq!(state, *model.state(Time::START));
        engine.close().expect("closes");
        let shown = state.digest();
        let mut left = Left { folders: Vec::new(), files: Vec::new(), shown };
        left.read(dir.path(), Path::new(""));
        states.push(left);
    }
    states
}

impl Left {
    fn read(&mut self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(root.join(folder)).expect("lists") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                self.folders.push(path.clone());
                self.read(root, &path);
            } else {
                let mut bytes = fs::read(entry.path()).expect("reads");
                let size = bytes.len() as u64;
                bytes.truncate(bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1));
                bytes.shrink_to_fit();
                self.files.push(File { path, bytes, size });
            }
        }
    }

    fn write(&self, root: &Path) {
        fs::create_dir(root).expect("creates");
        for folder in &self.folders {
            fs::create_dir(root.join(folder)).expect("creates");
        }
        for File { path, bytes, size } in &self.files {
            let path = root.join(path);
            fs::write(&path, bytes).expect("writes");
            if *size > bytes.len() as u64 {
                let file = fs::File::options().write(true).open(path).expect("opens");
                file.set_len(*size).expect("grows");
            }
        }
    }
}

/// What the harness has an engine do with a crash state, done by hand.
fn recover<S: Sim>(root: &Path, number: usize, left: &Left, how: How) {
    let dir = root.join(number.to_string());
    left.write(&dir);
    match how {
        How::InOneProcess => live::<S>(&dir, left.shown),
        How::InItsOwn => {
            let this = std::env::current_exe().expect("this program");
            let words: [OsString; 4] =
                [RECOVER.into(), S::NAME.into(), dir.clone().into(), left.shown.to_string().into()];
            assert!(Command::new(this).args(words).status().expect("it runs").success());
        }
    }
    fs::remove_dir_all(&dir).expect("removes");
}

/// Opens, reads back, closes and opens and reads back, once more and again, and compares.
fn live<S: Sim>(dir: &Path, shown: Digest) {
    let read = |engine: &mut S::Engine| {
        assert_eq!(engine.scan().expect("scans").digest(), shown);
    };
    let mut engine = S::Engine::open(dir).expect("opens");
    read(&mut engine);
    for reads in [2, 1] {
        engine.close().expect("closes");
        engine = S::Engine::open(dir).expect("opens");
        (0..reads).for_each(|_| read(&mut engine));
    }
    engine.close().expect("closes");
}

/// The recovery that this program was started for, if it was.
pub(crate) fn child(words: &[String]) -> bool {
    let [word, sim, dir, digest] = words else { return false };
    if word != RECOVER {
        return false;
    }
    let live = if sim == Log::NAME { live::<Log> } else { live::<Fold> };
    live(Path::new(dir), Digest(u64::from_str_radix(digest, 16).expect("a digest")));
    true
}

type Log = AppendLog;
/// The fold whose store is created aside: no finding hides what is behind it.
type Fold = FjallFoldSim<Synced>;

/// Microseconds of CPU time for one recovery by hand.
fn by_hand<S: Sim>(states: &[Left], how: How, times: usize) -> f64 {
    let root = tmpfs();
    let took = cpu(|| {
        for _ in 0..times {
            for (number, left) in states.iter().enumerate() {
                recover::<S>(root.path(), number, left, how);
            }
        }
    });
    took * 1e6 / (times * states.len()) as f64
}

/// Both tables, of the append log and of the fold. What is a finding of fjall on `posix` is none
/// on `tail-prefix`.
pub(crate) fn table() {
    recoveries::<Log>("posix", 40);
    recoveries::<Fold>("tail-prefix", 4);
    recording::<Log>("posix");
    recording::<Fold>("tail-prefix");
}

fn recoveries<S: Sim>(profile: &str, times: usize) {
    let states = states::<S>();
    let entry = sim::<Ops<S>>();
    let budget =
        Budget { recoveries: 400, nested: 0, schedules: 1, stop: true, ..Budget::default() };
    let (mut ours, mut one, mut own) = (Vec::new(), Vec::new(), Vec::new());
    let mut tally = Tally::default();
    for _ in 0..ROUNDS {
        one.push(by_hand::<S>(&states, How::InOneProcess, times));
        own.push(by_hand::<S>(&states, How::InItsOwn, 1));
        let mut recoveries = 0;
        let took = cpu(|| {
            for seed in 0..4 {
                tally = measure(&entry, profile, Seed(seed), OPS, budget);
                recoveries += tally.recoveries;
            }
        });
        ours.push(took * 1e6 / recoveries as f64);
    }
    let faster = |theirs: &[f64]| median(theirs.iter().zip(&ours).map(|(t, o)| t / o).collect());
    println!("recovery, {}, {OPS} ops, against the same by hand on tmpfs: CPU time", S::NAME);
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

/// How long the run takes that is recorded, in the child that it runs in, and by hand.
fn recording<S: Sim>(profile: &str) {
    let (mut ours, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let tally = record(&sim::<Ops<S>>(), profile, Seed(0), LONG);
        ours.push((tally.seconds - tally.harness_seconds) * 1e6 / LONG as f64);
        let by_hand = time(run::<S>).as_secs_f64() * 1e6 / LONG as f64;
        ratios.push(ours.last().expect("pushed") / by_hand);
    }
    println!("recorded run, {}, {LONG} ops, against the same by hand on tmpfs", S::NAME);
    println!("  ours {:.1} us an op, {:.2} times as long\n", median(ours), median(ratios));
}

/// The run by hand.
fn run<S: Sim>() {
    let dir = tmpfs();
    let mut engine = S::Engine::open(dir.path()).expect("opens");
    for op in ops::<S>(LONG) {
        engine.apply(&op).expect("applies");
    }
    engine.close().expect("closes");
}
