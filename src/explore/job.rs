//! A job: what the caller asks an explorer to do with a case.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::site::CallSite;
use crate::case::{Case, Step};
use crate::oracle::{Class, Signature};
use crate::process::world::Stacks;

/// A task for an explorer, with its case and its budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The case.
    pub case: Case,
    /// The task.
    pub task: Task,
    /// The only crashes of the first epoch to explore, if not all are.
    pub near: Option<Near>,
    /// The steps of the epoch after each recovery.
    pub continuation: Vec<Step>,
    /// How much to explore.
    pub budget: Budget,
    /// Known findings: counted as shadowed, not as violations.
    pub known: Vec<Kind>,
    /// A sync call site that does nothing.
    pub muted: Option<CallSite>,
    /// The calls whose source lines are recorded.
    pub stacks: Stacks,
    /// A directory of the host that a replay writes the files of its last crash state to.
    pub keep: Option<PathBuf>,
    /// Count what came up, for a campaign: see [`super::activity::Activity`].
    pub activity: bool,
}

/// The only crashes of a first epoch to explore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Near {
    /// None: the workload is only recorded, in its schedules.
    Nothing,
    /// Those at one kind of call of a step, or those when the step had returned.
    Call {
        /// The step; see [`Position::step`](crate::case::Position::step).
        step: u32,
        /// Whether the step had returned.
        returned: bool,
        /// The number of changes within the step, if it matters.
        effect: Option<u32>,
        /// The call in flight or the next one, as `call:path`; numbers in it do not matter.
        within: Option<String>,
    },
}

/// The identity of a finding: equal for two findings of the same kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kind {
    /// The class of the violation.
    pub class: Class,
    /// Its signature.
    pub signature: Signature,
}

/// A task to carry out with a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Record the first epoch, cut it everywhere, recover, check.
    Explore,
    /// Carry the case out with its crashes, as it is written.
    Replay {
        /// Send the log of each epoch.
        trace: bool,
        /// Recover in this process, without limits, so that breakpoints work.
        debug: bool,
    },
    /// Record the first epoch in one schedule and judge it, without a crash.
    Run,
    /// Record the first epoch and, if stacks are recorded, send the sync call sites.
    Record,
    /// Fail every call of the first epoch, and of a recovery, in turn, in each way that the sim
    /// promises something for.
    Faults,
}

/// How much to explore of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Recoveries in total, spread evenly over the crash points.
    pub recoveries: u64,
    /// A crash point with at most this many crash states has all of them visited.
    pub exhaustive: u64,
    /// How many of the recoveries may be spent on crashes inside recoveries and after them.
    pub nested: u64,
    /// The number of schedules in which the workload of an engine with threads is recorded. Each
    /// that makes a new history is cut, after the first one with a share of the recoveries.
    pub schedules: u64,
    /// The recoveries of a workload are spread evenly over its crash points if these are many: not
    /// all of them are visited.
    pub even: bool,
    /// End at the first violation that is not known.
    pub stop: bool,
    /// The number of crash states that are recovered again, each alone, to compare the digests.
    pub recheck: u64,
    /// For each reported violation: the number of crash states that may be recovered on each
    /// profile at the same crash point, to say where it happens and why. 0 asks for no verdict.
    pub verdict: u64,
}

impl Budget {
    /// What `run` spends on a workload, given its recoveries.
    pub(crate) fn of_run(recoveries: u64) -> Self {
        let exhaustive = recoveries * 16 / 75;
        let nested = recoveries / 4;
        let schedules = 8;
        Self {
            recoveries,
            exhaustive,
            nested,
            schedules,
            even: false,
            stop: false,
            recheck: 2,
            verdict: 64,
        }
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
            even: false,
            stop: false,
            recheck: 0,
            verdict: 0,
        }
    }
}
