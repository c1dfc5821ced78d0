//! A crash, what was seen of the store after it, and the verdict if nothing is wrong.

use super::violation::Class;
use crate::base::time::Time;
use crate::sim::promise::CrashKind;
use crate::sim::state::State;

/// A crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its kind.
    pub kind: CrashKind,
    /// The time of the crash.
    pub at: Time,
    /// Whether it happened during the very first open of the store.
    pub creating: bool,
}

/// The attempt to open and read the store after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The time at which the read-back began.
    pub from: Time,
    /// The time at which it ended. An item that expires between the two may show or not.
    pub to: Time,
    /// Its outcome.
    pub found: Found,
}

/// The outcome of opening the store and reading it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The store opened and was read.
    Read(ReadBack),
    /// There is nothing to compare: `OpenFailed`, `ReadFailed` (of the scan), `Panicked`,
    /// `Aborted`, `Hung` or `OutOfMemory`, with the text of the engine's error.
    Failed(Class, String),
}

/// The items that a read-back showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The items that could be read.
    pub state: State,
    /// The items that could not be read, each with the text of the engine's error.
    pub failed: Vec<(Vec<u8>, String)>,
    /// How scan, lookup and count disagree, if they do. The caller leaves out disagreements about
    /// values that expire during the read-back.
    pub inconsistent: Option<String>,
}

/// The result of a check that found no violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoViolation {
    /// The state was allowed.
    Checked,
    /// The engine returned an error, as it may after an injected fault or bit rot; everything
    /// else that it showed was right.
    Excused,
    /// No state was compared: the engine promises nothing after the fault, or there were too many
    /// candidates. This never counts as passed.
    Unchecked,
}
