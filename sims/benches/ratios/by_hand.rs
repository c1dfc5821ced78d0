//! Recoveries and recorded runs under the harness, against the same work done by hand on tmpfs with
//! real system calls.

use std::ffi::OsString;
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;

use crashpoint::inner::check::measure;
use crashpoint::inner::explore::job::Budget;
use crashpoint::inner::explore::tally::Tally;
use crashpoint::{Digest, Engine, Model, OpOf, Promises, Seed, Sim, Step, Time, record, sim};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::append_log::AppendLog;
use sims::fjall_fold::{FjallFoldSim, Synced};

use crate::{cpu, median, time, tmpfs};

/// The number of ops in a workload whose crash states are recovered.
const OPS: usize = 50;
/// The number of ops in a recorded run.
const LONG: usize = 400;
/// The number of rounds. Both ways are measured in each, so that both meet the same machine.
const ROUNDS: usize = 5;

/// The argument that starts this program for one recovery; the sim, a directory and a digest
/// follow.
const RECOVER: &str = "recover";

/// The process of a recovery by hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    /// One process for all recoveries.
    Shared,
    /// One process for each recovery.
    Own,
}

/// A sim that runs the same ops each time, and none after a recovery.
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

/// The first `count` ops of the sim's own workloads.
fn ops<S: Sim>(count: usize) -> Vec<OpOf<S>> {
    let mut runner = TestRunner::deterministic();
    let mut ops = Vec::new();
    while ops.len() < count {
        let tree = S::workload(count).new_tree(&mut runner).expect("nothing is rejected");
        ops.extend(tree.current().into_iter().filter_map(|step| match step {
            Step::Op(op) => Some(op),
            Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
        }));
    }
    ops.truncate(count);
    ops
}

/// The contents of a directory, as a crash may leave it, and the digest of the state that a store
/// must show in it.
struct Image {
    folders: Vec<PathBuf>,
    files: Vec<File>,
    shown: Digest,
}

/// A file below a directory: its bytes up to the last one that is not zero, and its size. An engine
/// may reserve 64 MB for a journal and write a few KiB.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    size: u64,
}

/// The directory after each op. The store is closed first, so that none of its threads writes while
/// its files are read.
fn images<S: Sim>() -> Vec<Image> {
    let dir = tmpfs();
    let mut model = S::Model::default();
    let mut images = Vec::new();
    for op in ops::<S>(OPS) {
        let mut engine = S::Engine::open(dir.path()).expect("opens");
        engine.apply(&op).expect("applies");
        model.apply(&op, Time::START);
        let state = engine.scan().expect("scans");
        assert_eq!(state, *model.state(Time::START));
        engine.close().expect("closes");
        let shown = state.digest();
        let mut image = Image { folders: Vec::new(), files: Vec::new(), shown };
        image.read(dir.path(), Path::new(""));
        images.push(image);
    }
    images
}

impl Image {
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

/// Does by hand what the harness does with a crash state.
fn recover<S: Sim>(root: &Path, number: usize, image: &Image, process: Process) {
    let dir = root.join(number.to_string());
    image.write(&dir);
    match process {
        Process::Shared => open_and_read::<S>(&dir, image.shown),
        Process::Own => {
            let this = std::env::current_exe().expect("this program");
            let shown = image.shown.to_string();
            let words: [OsString; 4] =
                [RECOVER.into(), S::NAME.into(), dir.clone().into(), shown.into()];
            assert!(Command::new(this).args(words).status().expect("it runs").success());
        }
    }
    fs::remove_dir_all(&dir).expect("removes");
}

/// Opens and reads the store, reopens it and reads twice, reopens it and reads once, and compares
/// each read with `shown`.
fn open_and_read<S: Sim>(dir: &Path, shown: Digest) {
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

/// Runs the recovery that this program was started for; returns false if it was started otherwise.
pub(crate) fn child(words: &[String]) -> bool {
    let [word, sim, dir, digest] = words else { return false };
    if word != RECOVER {
        return false;
    }
    let recovery = if sim == Log::NAME { open_and_read::<Log> } else { open_and_read::<Fold> };
    recovery(Path::new(dir), Digest(u64::from_str_radix(digest, 16).expect("a digest")));
    true
}

type Log = AppendLog;
/// The fold whose store is created aside, so that no violation of its creation ends a run early.
type Fold = FjallFoldSim<Synced>;

/// Microseconds of CPU time for one recovery by hand.
fn by_hand<S: Sim>(images: &[Image], process: Process, times: usize) -> f64 {
    let root = tmpfs();
    let took = cpu(|| {
        for _ in 0..times {
            for (number, image) in images.iter().enumerate() {
                recover::<S>(root.path(), number, image, process);
            }
        }
    });
    took * 1e6 / (times * images.len()) as f64
}

/// Prints both tables, each for the append log and for the fold. The fold runs on `tail-prefix`,
/// where fjall does not have the violations that it has on `posix`.
pub(crate) fn table() {
    recoveries::<Log>("posix", 40);
    recoveries::<Fold>("tail-prefix", 4);
    recording::<Log>("posix");
    recording::<Fold>("tail-prefix");
}

fn recoveries<S: Sim>(profile: &str, times: usize) {
    let images = images::<S>();
    let entry = sim::<Ops<S>>();
    let budget =
        Budget { recoveries: 400, nested: 0, schedules: 1, stop: true, ..Budget::default() };
    let (mut ours, mut shared, mut own) = (Vec::new(), Vec::new(), Vec::new());
    let mut tally = Tally::default();
    for _ in 0..ROUNDS {
        shared.push(by_hand::<S>(&images, Process::Shared, times));
        own.push(by_hand::<S>(&images, Process::Own, 1));
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
    println!("  by hand, all in one process       {:8.1} us a recovery", median(shared.clone()));
    println!("  by hand, each in its own process  {:8.1} us", median(own.clone()));
    println!("  ours, each in its own process     {:8.1} us", median(ours.clone()));
    println!(
        "  ours is {:.2} times as fast as the first, {:.2} times as fast as the second",
        faster(&shared),
        faster(&own)
    );
    let harness = tally.harness_seconds / tally.seconds;
    println!("  {:.0} % of ours is outside the children that run the engine\n", harness * 100.0);
}

/// Prints how long a recorded run takes in its child, and the same run by hand.
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

/// Runs the ops by hand.
fn run<S: Sim>() {
    let dir = tmpfs();
    let mut engine = S::Engine::open(dir.path()).expect("opens");
    for op in ops::<S>(LONG) {
        engine.apply(&op).expect("applies");
    }
    engine.close().expect("closes");
}
