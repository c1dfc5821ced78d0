//! What was seen after a crash: how the open and the read-back went.

use super::violation::Class;
use crate::base::time::Time;
use crate::sim::promise::CrashKind;
use crate::sim::state::State;

/// A crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// What ended the process.
    pub kind: CrashKind,
    /// When.
    pub at: Time,
    /// It happened inside the very first open of the store.
    pub creating: bool,
}

/// What was seen of the store after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// When the read-back began.
    pub from: Time,
    /// When it ended. A deadline between the two may show or not.
    pub to: Time,
    /// What it showed.
    pub found: Found,
}

/// How the open and the read-back went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The store opened and was read.
    Read(ReadBack),
    /// There is nothing to compare: `OpenFailed`, `ReadFailed` (of the scan), `Panicked`,
    /// `Aborted`, `Hung` or `OutOfMemory`, with the engine's own words.
    Failed(Class, String),
}

/// What a read-back showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The items that could be read.
    pub state: State,
    /// The items that could not be read, and the engine's words.
    pub failed: Vec<(Vec<u8>, String)>,
    /// How scan, lookup and count disagree, if they do. A disagreement about a value whose
    /// deadline lies inside the read-back is none; the caller sees to that.
    pub inconsistent: Option<String>,
}

/// How a check went that found no violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoViolation {
    /// The state is one that was allowed.
    Checked,
    /// The engine failed with an error, as it may after what was done to it; what it showed
    /// beside that was right.
    Excused,
    /// Nothing was compared: nothing is promised after what was done to the engine, or the
    /// candidates became too many. Never to be counted as passed.
    Unchecked,
}
