//! Counts of a case, as its report says what was shrunk to what.

use std::fmt;

use crate::case::Case;

/// The parts of a case that a reader has to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Steps in all epochs.
    pub(crate) steps: usize,
    /// Crashes.
    pub(crate) crashes: usize,
    /// Faults, a limited disk and a cache that evicts.
    pub(crate) faults: usize,
    /// Scheduling decisions out of the default order.
    pub(crate) turns: usize,
}

impl Counts {
    /// The counts of a case.
    pub(crate) fn of(case: &Case) -> Self {
        let epochs = &case.epochs;
        let turns = epochs.iter().filter_map(|epoch| epoch.turns.as_ref());
        Self {
            steps: epochs.iter().map(|epoch| epoch.steps.len()).sum(),
            crashes: epochs.iter().filter(|epoch| epoch.crash.is_some()).count(),
            faults: case.faults.len()
                + usize::from(case.space.is_some())
                + usize::from(case.evicts),
            turns: turns.map(Vec::len).sum(),
        }
    }
}

/// Those that are not zero, and the steps: `3 steps, 1 crash`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(f, "{} step{}", self.steps, plural(self.steps))?;
        match self.crashes {
            0 => {}
            1 => f.write_str(", 1 crash")?,
            crashes => write!(f, ", {crashes} crashes")?,
        }
        for (count, name) in [(self.faults, "fault"), (self.turns, "turn")] {
            if count > 0 {
                write!(f, ", {count} {name}{}", plural(count))?;
            }
        }
        Ok(())
    }
}
