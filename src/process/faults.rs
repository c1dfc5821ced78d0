//! Which of the engine's calls fail: the planned faults, counted off as the calls come.

use std::time::Duration;

use crate::fault::{Fault, FaultClass, FaultError, Harm};

/// The faults of one process and how far their counters are.
pub(crate) struct Faults {
    /// Each with the calls that were counted for it.
    planned: Vec<(Fault, u32)>,
    step: u32,
    /// A short write happened: the next write fails with this.
    owed: Option<FaultError>,
    /// The file system has turned read-only.
    read_only: bool,
}

/// What is to happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// It does nothing and fails.
    Fails(FaultError),
    /// It moves that many bytes at most.
    Short(u64),
    /// It takes that long.
    Slow(Duration),
}

/// What struck, and what that is in the terms of a sim's promises.
pub(crate) type Struck = (Strike, Harm);

impl Faults {
    /// Faults of a process that is at step 0.
    pub(crate) fn new(planned: Vec<Fault>) -> Self {
        let planned = planned.into_iter().map(|fault| (fault, 0)).collect();
        Self { planned, step: 0, owed: None, read_only: false }
    }

    /// Whether no fault was planned.
    #[inline]
    pub(crate) fn none(&self) -> bool {
        self.planned.is_empty()
    }

    /// A step of the workload begins.
    pub(crate) fn step(&mut self, step: u32) {
        self.step = step;
    }

    /// Counts a call; `changes` says whether it needs a disk that can be written.
    pub(crate) fn on(&mut self, call: FaultClass, changes: bool) -> Option<Struck> {
        let due = self.count(call);
        if let Some(error) = self.owed.take_if(|_| call == FaultClass::Write) {
            return Some((Strike::Fails(error), error.harm(call)));
        }
        self.read_only |= due.is_some_and(|fault| fault.error == FaultError::ReadOnly);
        if self.read_only && changes {
            return Some((Strike::Fails(FaultError::ReadOnly), Harm::ReadOnly));
        }
        let fault = due.filter(|fault| fault.error != FaultError::ReadOnly)?;
        let harm = fault.error.harm(call);
        let strike = match (fault.error, fault.after) {
            (FaultError::Slow, ms) => Strike::Slow(Duration::from_millis(ms)),
            // A file read or written to the last byte is no short one: at least one byte moves.
            (FaultError::Short, most) => Strike::Short(most.max(1)),
            (error, most) if most > 0 && call == FaultClass::Write => {
                self.owed = Some(error);
                Strike::Short(most)
            }
            (error, _) => Strike::Fails(error),
        };
        Some((strike, harm))
    }

    /// Counts a call for each fault that is waiting for it; returns the one whose turn it is.
    fn count(&mut self, call: FaultClass) -> Option<Fault> {
        let mut due = None;
        for (fault, counted) in &mut self.planned {
            if fault.class.counts(call) && fault.step <= self.step {
                *counted = counted.saturating_add(1);
                let turn = *counted == fault.nth || fault.always && *counted > fault.nth;
                due = due.or((turn && fault.error.may_strike(call)).then_some(*fault));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultClass::{Open, Read, Rename, Sync, Write};

    fn fault(step: u32, class: FaultClass, nth: u32, after: u64) -> Fault {
        Fault { step, after, ..Fault::new(FaultError::NoSpace, class, nth) }
    }

    fn fails(struck: Option<Struck>) -> Option<FaultError> {
        struck.map(|(strike, _)| match strike {
            Strike::Fails(error) => error,
            other => panic!("{other:?} is no failure"),
        })
    }

    #[test]
    fn calls_are_counted_by_class_from_their_step_on() {
        let mut faults = Faults::new(vec![fault(2, Write, 2, 0), fault(2, Sync, 1, 0)]);
        let on = |faults: &mut Faults, class| fails(faults.on(class, true));
        assert_eq!(on(&mut faults, Write), None);
        assert_eq!(on(&mut faults, Sync), None);
        faults.step(2);
        assert_eq!(on(&mut faults, Write), None);
        faults.step(3);
        assert_eq!(on(&mut faults, Sync), Some(FaultError::NoSpace));
        assert_eq!(on(&mut faults, Sync), None);
        assert_eq!(on(&mut faults, Write), Some(FaultError::NoSpace));
        assert_eq!(on(&mut faults, Write), None);
    }

    #[test]
    fn the_write_after_a_short_one_fails_once() {
        let mut faults = Faults::new(vec![fault(0, Write, 1, 10)]);
        assert_eq!(faults.on(Write, true), Some((Strike::Short(10), Harm::FailedWrite)));
        assert_eq!(fails(faults.on(Sync, true)), None);
        assert_eq!(fails(faults.on(Write, true)), Some(FaultError::NoSpace));
        assert_eq!(fails(faults.on(Write, true)), None);
    }

    #[test]
    fn a_lasting_fault_fails_every_call_from_its_own_on() {
        let lasting = Fault { always: true, ..Fault::new(FaultError::Io, FaultClass::Call, 2) };
        let mut faults = Faults::new(vec![lasting]);
        assert_eq!(fails(faults.on(Open, false)), None);
        for class in [Read, Write, Rename, Sync] {
            assert_eq!(fails(faults.on(class, true)), Some(FaultError::Io));
        }
    }

    #[test]
    fn a_disk_that_turned_read_only_still_reads() {
        let mut faults = Faults::new(vec![Fault::new(FaultError::ReadOnly, Write, 2)]);
        assert_eq!(fails(faults.on(Rename, true)), None);
        assert_eq!(fails(faults.on(Write, true)), None);
        assert_eq!(fails(faults.on(Write, true)), Some(FaultError::ReadOnly));
        assert_eq!(fails(faults.on(Read, false)), None);
        assert_eq!(fails(faults.on(Rename, true)), Some(FaultError::ReadOnly));
        assert_eq!(fails(faults.on(Sync, true)), Some(FaultError::ReadOnly));
    }

    #[test]
    fn an_error_strikes_only_calls_that_a_kernel_may_fail_with_it() {
        let full = Fault { always: true, ..Fault::new(FaultError::Files, FaultClass::Call, 1) };
        let mut faults = Faults::new(vec![full]);
        assert_eq!(fails(faults.on(Write, true)), None);
        assert_eq!(fails(faults.on(Open, false)), Some(FaultError::Files));
    }
}
