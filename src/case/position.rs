//! A position in an epoch: where a crash happens, counted so that small edits leave it valid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A position in an epoch, counted from the beginning of a step.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// The step; 0 is the opening, the one after the last step is the closing.
    pub step: u32,
    /// The number of changes of the disk within the step so far, without syncs of the folder above
    /// the store.
    pub effect: u32,
    /// Whether the step has returned.
    pub returned: bool,
    /// The number of ops of clients that have returned within the step.
    pub replies: u32,
    /// The number of openings and closings of the store that have returned since the last change
    /// within the step.
    pub ended: u32,
}

impl Position {
    /// The beginning of a step.
    pub fn start_of(step: u32) -> Self {
        Self { step, ..Self::default() }
    }
}

/// The words of a `crash` line.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step={} effect={}", self.step, self.effect)?;
        if self.returned {
            f.write_str(" returned")?;
        }
        if self.replies > 0 {
            write!(f, " replies={}", self.replies)?;
        }
        if self.ended > 0 {
            write!(f, " ended={}", self.ended)?;
        }
        Ok(())
    }
}
