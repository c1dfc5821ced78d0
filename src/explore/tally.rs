//! The counts of an exploration.

use serde::{Deserialize, Serialize};

use crate::base::digest::{Digest, hash};

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
    /// Changes of the disk in the runs that were not cut, and ops that these acknowledged as
    /// durable and as flushed, at once or later.
    pub changes: u64,
    /// See `changes`.
    pub durable: u64,
    /// See `changes`.
    pub flushed: u64,
    /// Calls that the engine made in runs and recoveries.
    pub calls: u64,
    /// Crash states whose recovery broke a promise.
    pub violations: u64,
    /// Known findings met.
    pub known: u64,
    /// Crash states that show a known finding: neither passed nor counted as violations.
    pub shadowed: u64,
    /// Recoveries in which a crash was placed in turn.
    pub nested: u64,
    /// Schedules in which workloads were recorded: 1 each for an engine without threads.
    pub schedules: u64,
    /// Schedules with a new history, which was cut.
    pub histories: u64,
    /// Crash states whose recovery had nothing to be compared with: not counted as passed.
    pub unchecked: u64,
    /// Recoveries that were carried out twice to compare their digests.
    pub rechecked: u64,
    /// Runs and recoveries that used up their CPU time, or slept for real.
    pub stuck: u64,
    /// Runs and recoveries with one failed call or a full disk.
    pub faults: u64,
    /// Pieces that the muted syncs would have made durable.
    pub muted: u64,
    /// Digest of the recorded run: every call with its time.
    pub run: Digest,
    /// Digest of the run and every recovery, in order.
    pub digest: Digest,
    /// Real seconds in the explorer.
    pub seconds: f64,
    /// The part of `seconds` outside children that ran engine code.
    pub harness_seconds: f64,
}

impl Tally {
    /// Adds the counts of another exploration; digests are combined in order.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.exhaustive_points += other.exhaustive_points;
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.changes += other.changes;
        self.durable += other.durable;
        self.flushed += other.flushed;
        self.calls += other.calls;
        self.violations += other.violations;
        self.known += other.known;
        self.shadowed += other.shadowed;
        self.nested += other.nested;
        self.schedules += other.schedules;
        self.histories += other.histories;
        self.unchecked += other.unchecked;
        self.rechecked += other.rechecked;
        self.stuck += other.stuck;
        self.faults += other.faults;
        self.muted += other.muted;
        self.run = combine(self.run, other.run);
        self.digest = combine(self.digest, other.digest);
        self.seconds += other.seconds;
        self.harness_seconds += other.harness_seconds;
    }
}

fn combine(first: Digest, second: Digest) -> Digest {
    Digest(hash(&[first.0.to_le_bytes(), second.0.to_le_bytes()].concat()))
}
