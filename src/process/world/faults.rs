//! Which of the engine's calls fail: the planned faults, counted off as the calls come.

use std::time::Duration;

use crate::case::fault::{Fault, FaultClass, FaultError};
use crate::sim::fault_kind::FaultKind;

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

/// A call that a fault may strike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) class: FaultClass,
    /// It needs a disk that can be written.
    pub(crate) changes: bool,
    /// It would come to where space is taken.
    pub(crate) takes_space: bool,
    /// It moves bytes, of which there may be fewer or wrong ones.
    pub(crate) moves: bool,
}

impl At {
    /// A call that changes the disk and takes space if calls of its class do.
    pub(crate) fn any(class: FaultClass) -> Self {
        Self { class, changes: class.changes(), takes_space: true, moves: false }
    }

    /// As [`At::any`], for one that moves bytes.
    pub(crate) fn moving(class: FaultClass) -> Self {
        Self { moves: true, ..Self::any(class) }
    }

    /// Whether a kernel shows this error here.
    fn may_show(&self, error: FaultError) -> bool {
        error.applies_to(self.class)
            && match error {
                FaultError::NoSpace | FaultError::Quota => self.takes_space,
                FaultError::Short | FaultError::Corrupt => self.moves,
                _ => true,
            }
    }
}

/// What is to happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injection {
    /// It fails.
    Fails(FaultError),
    /// It moves that many bytes at most.
    Short(u64),
    /// It takes that long.
    Slow(Duration),
    /// One bit of this byte is wrong.
    Corrupt(u64),
}

/// What struck, and what that is in the terms of a sim's promises.
pub(crate) type Struck = (Injection, FaultKind);

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

    /// Counts a call.
    pub(crate) fn on(&mut self, call: At) -> Option<Struck> {
        let due = self.count(call);
        if let Some(error) = self.owed.take_if(|_| call.class == FaultClass::Write) {
            return Some((Injection::Fails(error), error.fault_kind(call.class)));
        }
        self.read_only |= due.is_some_and(|(fault, _)| fault.error == FaultError::ReadOnly);
        if self.read_only && call.changes {
            return Some((Injection::Fails(FaultError::ReadOnly), FaultKind::ReadOnly));
        }
        let (fault, first) = due.filter(|(fault, _)| fault.error != FaultError::ReadOnly)?;
        let fault_kind = fault.error.fault_kind(call.class);
        let inject = match (fault.error, fault.after) {
            (FaultError::Slow, ms) => Injection::Slow(Duration::from_millis(ms)),
            // A file read or written to the last byte is no short one: at least one byte moves.
            (FaultError::Short, most) => Injection::Short(most.max(1)),
            (FaultError::Corrupt, byte) => Injection::Corrupt(byte),
            (error, most) if first && most > 0 && call.class == FaultClass::Write => {
                self.owed = Some(error);
                Injection::Short(most)
            }
            (error, _) => Injection::Fails(error),
        };
        Some((inject, fault_kind))
    }

    /// Counts a call for each fault that is waiting for it; returns the one whose turn it is, and
    /// whether this is the first call that it strikes.
    fn count(&mut self, call: At) -> Option<(Fault, bool)> {
        let mut due = None;
        for (fault, counted) in &mut self.planned {
            if fault.class.counts(call.class) && fault.step <= self.step {
                *counted = counted.saturating_add(1);
                let first = *counted == fault.nth;
                let turn = first || fault.always && *counted > fault.nth;
                due = due.or((turn && call.may_show(fault.error)).then_some((*fault, first)));
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

    fn at(class: FaultClass) -> At {
        At::moving(class)
    }

    fn fails(injected: Option<Struck>) -> Option<FaultError> {
        injected.map(|(inject, _)| match inject {
            Injection::Fails(error) => error,
            other => panic!("{other:?} is no failure"),
        })
    }

    #[test]
    fn calls_are_counted_by_class_from_their_step_on() {
        let mut faults = Faults::new(vec![fault(2, Write, 2, 0), fault(2, Sync, 1, 0)]);
        let on = |faults: &mut Faults, class| fails(faults.on(at(class)));
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
        assert_eq!(faults.on(at(Write)), Some((Injection::Short(10), FaultKind::FailedWrite)));
        assert_eq!(fails(faults.on(at(Sync))), None);
        assert_eq!(fails(faults.on(at(Write))), Some(FaultError::NoSpace));
        assert_eq!(fails(faults.on(at(Write))), None);
    }

    #[test]
    fn a_lasting_fault_fails_every_call_from_its_own_on() {
        let lasting = Fault { always: true, ..Fault::new(FaultError::Io, FaultClass::Call, 2) };
        let mut faults = Faults::new(vec![lasting]);
        assert_eq!(fails(faults.on(at(Open))), None);
        for class in [Read, Write, Rename, Sync] {
            assert_eq!(fails(faults.on(at(class))), Some(FaultError::Io));
        }
    }

    #[test]
    fn a_disk_that_turned_read_only_still_reads() {
        let mut faults = Faults::new(vec![Fault::new(FaultError::ReadOnly, Write, 2)]);
        assert_eq!(fails(faults.on(at(Rename))), None);
        assert_eq!(fails(faults.on(at(Write))), None);
        assert_eq!(fails(faults.on(at(Write))), Some(FaultError::ReadOnly));
        assert_eq!(fails(faults.on(at(Read))), None);
        assert_eq!(fails(faults.on(at(Rename))), Some(FaultError::ReadOnly));
        assert_eq!(fails(faults.on(at(Sync))), Some(FaultError::ReadOnly));
    }

    #[test]
    fn an_error_strikes_only_calls_that_a_kernel_may_fail_with_it() {
        let full = Fault { always: true, ..Fault::new(FaultError::Files, FaultClass::Call, 1) };
        let mut faults = Faults::new(vec![full]);
        assert_eq!(fails(faults.on(at(Write))), None);
        assert_eq!(fails(faults.on(at(Open))), Some(FaultError::Files));
    }

    #[test]
    fn a_disk_that_stays_full_takes_the_part_of_one_write_only() {
        let full = Fault { always: true, ..fault(0, Write, 1, 10) };
        let mut faults = Faults::new(vec![full]);
        assert_eq!(faults.on(at(Write)), Some((Injection::Short(10), FaultKind::FailedWrite)));
        assert_eq!(fails(faults.on(at(Write))), Some(FaultError::NoSpace));
        assert_eq!(fails(faults.on(at(Write))), Some(FaultError::NoSpace));
    }

    #[test]
    fn no_space_is_needed_for_a_name_that_is_there() {
        let mut faults = Faults::new(vec![Fault::new(FaultError::NoSpace, FaultClass::Mkdir, 1)]);
        assert_eq!(faults.on(At { takes_space: false, ..at(FaultClass::Mkdir) }), None);
    }

    #[test]
    fn a_listing_is_neither_short_nor_corrupt() {
        for error in [FaultError::Short, FaultError::Corrupt] {
            let mut faults = Faults::new(vec![Fault::new(error, Read, 1)]);
            assert_eq!(faults.on(At::any(Read)), None);
        }
    }
}
