//! What the caller asks of an explorer, and what comes back, frame by frame.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::process::world::Stacks;

/// What an explorer is asked to do with a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The text of the case.
    pub case: String,
    /// What to do with it.
    pub task: Task,
    /// Steps of the life after each recovery, as lines of a case.
    pub continuation: Vec<String>,
    /// How much to explore.
    pub budget: Budget,
    /// Class and signature of known findings: counted as shadowed, not as violations.
    pub known: Vec<(String, String)>,
    /// A sync call site that does nothing, as `file:line`.
    pub muted: Option<String>,
    /// Of which calls to record the source lines that made them.
    pub stacks: Stacks,
    /// A directory of the host that a replay writes the files of its last crash state to.
    pub keep: Option<PathBuf>,
}

/// What to do with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Record the first life, cut it everywhere, recover, check.
    Explore,
    /// Carry the case out with its crashes, as it is written.
    Replay {
        /// Send each call as a line.
        trace: bool,
        /// Recover in this process, without limits, so that breakpoints work.
        debug: bool,
    },
    /// Record the first life and, if stacks are noted, send the sync call sites.
    Record,
    /// Fail every call of the first life, and of a recovery, in turn, in each way that the sim
    /// promises something for.
    Faults,
}

/// How much to explore of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Recoveries in all; they are spread evenly over the crash points.
    pub recoveries: u64,
    /// A crash point with at most this many crash states has all of them visited.
    pub exhaustive: u64,
    /// How many of the recoveries may be spent on crashes inside recoveries and after them.
    pub nested: u64,
    /// In how many schedules the workload of an engine with threads is recorded. Each that makes
    /// another history than those before is cut, after the first with a share of the recoveries.
    pub schedules: u64,
    /// End at the first violation that is not known.
    pub stop: bool,
    /// Recover the first so many crash states again, each alone, and compare the digests.
    pub recheck: u64,
    /// For each violation that is reported: crash states that may be recovered on each profile at
    /// the same crash point, to say where it happens and why. 0 asks for no verdict.
    pub verdict: u64,
}

impl Budget {
    /// What `run` spends on a workload of so many recoveries.
    pub(crate) fn of_run(recoveries: u64) -> Self {
        let exhaustive = recoveries * 16 / 75;
        let nested = recoveries / 4;
        let schedules = 8;
        Self { recoveries, exhaustive, nested, schedules, stop: false, recheck: 2, verdict: 64 }
    }
}

impl Default for Budget {
    /// What `cargo test` spends on one workload.
    fn default() -> Self {
        Self {
            recoveries: 400,
            exhaustive: 64,
            nested: 120,
            schedules: 8,
            stop: false,
            recheck: 0,
            verdict: 0,
        }
    }
}

/// What an explorer sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// What was done so far.
    Progress(Tally),
    /// A violation, the first with its signature.
    Violation(Box<Failure>),
    /// One line of the trace.
    Trace(String),
    /// A sync call site, `file:line`, and what it syncs.
    Site(String, String),
    /// Something the user should know, said once.
    Notice(String),
    /// The request cannot be carried out: what was wrong.
    Refused(String),
    /// The same crash state was recovered twice with different calls: the harness's fault.
    NotDeterministic(String),
    /// The end, with the counts.
    Done(Tally),
}

/// Counts of one exploration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Crash points visited: positions at which the disk or a promise had changed.
    pub points: u64,
    /// Crash points at which every crash state within the profile's bound was visited.
    pub exhaustive_points: u64,
    /// Distinct crash states checked.
    pub states: u64,
    /// Recoveries carried out, those inside recoveries included.
    pub recoveries: u64,
    /// Crash states whose recovery broke a promise.
    pub violations: u64,
    /// Known findings met.
    pub known: u64,
    /// Crash states behind a known finding: neither passed nor counted as violations.
    pub shadowed: u64,
    /// Recoveries in which a crash was placed in turn.
    pub nested: u64,
    /// Schedules in which the workload was recorded: 1 for an engine without threads.
    pub schedules: u64,
    /// Those of them whose history was new, and was cut.
    pub histories: u64,
    /// Crash states whose recovery could not be compared with anything: not counted as passed.
    pub unchecked: u64,
    /// Recoveries that were carried out twice to compare their digests.
    pub rechecked: u64,
    /// Runs and recoveries that each had one call fail, or a disk that was soon full.
    pub faults: u64,
    /// Pieces that the muted syncs would have made durable.
    pub muted: u64,
    /// Digest of the recorded run: every call with its time.
    pub run: Digest,
    /// Digest of the run and every recovery, in order.
    pub digest: Digest,
    /// Real seconds in the explorer.
    pub seconds: f64,
    /// Real seconds of that outside children that ran engine code.
    pub harness_seconds: f64,
}

impl Tally {
    /// Adds the counts of another exploration; digests are combined in order.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.exhaustive_points += other.exhaustive_points;
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.violations += other.violations;
        self.known += other.known;
        self.shadowed += other.shadowed;
        self.nested += other.nested;
        self.schedules += other.schedules;
        self.histories += other.histories;
        self.unchecked += other.unchecked;
        self.rechecked += other.rechecked;
        self.faults += other.faults;
        self.muted += other.muted;
        self.run = combine(self.run, other.run);
        self.digest = combine(self.digest, other.digest);
        self.seconds += other.seconds;
        self.harness_seconds += other.harness_seconds;
    }
}

fn combine(first: Digest, second: Digest) -> Digest {
    Digest(crate::base::digest::hash(&[first.0.to_le_bytes(), second.0.to_le_bytes()].concat()))
}

/// A violation with all that a report says about it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The case that shows it, to be saved.
    pub case: String,
    /// Its class.
    pub class: String,
    /// Its signature.
    pub signature: String,
    /// The class in plain words.
    pub headline: String,
    /// What exactly was seen.
    pub message: String,
    /// Where the crash happened, in words; empty when there was none.
    pub point: String,
    /// The items that differ.
    pub items: Vec<ItemRow>,
    /// What became of the pending pieces.
    pub pieces: Vec<PieceRow>,
    /// How many pieces were pending, kept whole and torn.
    pub counts: [u64; 3],
    /// Digest of the recovery that showed it.
    pub digest: Digest,
    /// By which surprises of the disk it comes about; empty if that was not asked, or if none was
    /// needed.
    #[serde(default)]
    pub relaxations: Vec<String>,
    /// On which profiles it is lost and on which it is kept, and what decides; empty if that was
    /// not asked.
    #[serde(default)]
    pub verdict: String,
}

/// One item of a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ItemRow {
    /// The item, quoted.
    pub item: String,
    /// What the nearest allowed state holds, quoted; `absent` otherwise.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// Why that is wrong.
    pub note: String,
}

/// One lost or torn piece of a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PieceRow {
    /// What it is: `log@4096 bytes 0..100`, `log.size 0->4096`, `dir/log.entry made`.
    pub what: String,
    /// `lost`, or where it was torn.
    pub fate: String,
    /// The source line that wrote it, if known.
    pub site: Option<String>,
}
