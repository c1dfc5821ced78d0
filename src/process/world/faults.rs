//! Which of the engine's calls fail: the planned faults, counted off as the calls come.

use std::time::Duration;

use crate::case::fault::{Fault, FaultClass, InjectedError, Injection, InjectionKind};
use crate::sim::fault_kind::FaultKind;

/// The faults of one process and how far their counters are.
pub(crate) struct Faults {
    /// Each with the number of calls that were counted for it.
    planned: Vec<(Fault, u32)>,
    /// The place of the fault that has just hit its first call.
    first_hit: Option<u32>,
    step: u32,
    /// A short write happened: the next write fails with this error.
    owed: Option<InjectedError>,
    /// The file system has turned read-only.
    read_only: bool,
}

/// A point in a call where a fault may be injected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultPoint {
    pub(crate) class: FaultClass,
    /// The call needs a writable disk.
    pub(crate) changes: bool,
    /// The call would get as far as taking space.
    pub(crate) takes_space: bool,
    /// The call moves bytes, so that there may be fewer or wrong ones.
    pub(crate) moves: bool,
}

impl FaultPoint {
    /// In a call that changes the disk and takes space if calls of its class do.
    pub(crate) fn any(class: FaultClass) -> Self {
        Self { class, changes: class.changes(), takes_space: true, moves: false }
    }

    /// As [`FaultPoint::any`], in a call that moves bytes.
    pub(crate) fn moving(class: FaultClass) -> Self {
        Self { moves: true, ..Self::any(class) }
    }

    /// Whether a kernel may do this here.
    fn may_show(&self, kind: InjectionKind) -> bool {
        kind.applies_to(self.class)
            && match kind {
                InjectionKind::NoSpace | InjectionKind::Quota => self.takes_space,
                InjectionKind::Short | InjectionKind::Corrupt => self.moves,
                _ => true,
            }
    }
}

/// The effect of a fault on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFault {
    /// It fails.
    Fails(InjectedError),
    /// It moves this many bytes at most.
    Short(u64),
    /// It takes this long.
    Slow(Duration),
    /// One bit of this byte is wrong.
    Corrupt(u64),
}

/// A fault that hit a call: its effect, and its kind in the terms of a sim's promises.
pub(crate) type Hit = (CallFault, FaultKind);

impl Faults {
    /// The faults of a process that is at step 0.
    pub(crate) fn new(planned: Vec<Fault>) -> Self {
        let planned = planned.into_iter().map(|fault| (fault, 0)).collect();
        Self { planned, first_hit: None, step: 0, owed: None, read_only: false }
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
    pub(crate) fn on(&mut self, point: FaultPoint) -> Option<Hit> {
        let due = self.count(point);
        if let Some(error) = self.owed.take_if(|_| point.class == FaultClass::Write) {
            return Some((CallFault::Fails(error), error.kind().fault_kind(point.class)));
        }
        let is_read_only = |fault: &Fault| fault.injection.kind() == InjectionKind::ReadOnly;
        self.read_only |= due.is_some_and(|(fault, _)| is_read_only(&fault));
        if self.read_only && point.changes {
            return Some((CallFault::Fails(InjectedError::ReadOnly), FaultKind::ReadOnly));
        }
        let (fault, first) = due.filter(|(fault, _)| !is_read_only(fault))?;
        let hit = match fault.injection {
            Injection::Slow { delay } => CallFault::Slow(delay),
            // A call that moves no byte would mean the end of the file: at least one byte moves.
            Injection::Short { bytes } => CallFault::Short(bytes.max(1)),
            Injection::Corrupt { byte } => CallFault::Corrupt(byte),
            Injection::Error { error, after_bytes }
                if first && after_bytes > 0 && point.class == FaultClass::Write =>
            {
                self.owed = Some(error);
                CallFault::Short(after_bytes)
            }
            Injection::Error { error, .. } => CallFault::Fails(error),
        };
        Some((hit, fault.injection.kind().fault_kind(point.class)))
    }

    /// The place among the planned faults of one that has hit its first call since the last time.
    pub(crate) fn take_first_hit(&mut self) -> Option<u32> {
        self.first_hit.take()
    }

    /// Counts a call for each fault that waits for it; returns the fault that is due, and whether
    /// this is the first call that it hits.
    fn count(&mut self, point: FaultPoint) -> Option<(Fault, bool)> {
        let mut due = None;
        for (place, (fault, counted)) in self.planned.iter_mut().enumerate() {
            if fault.class.counts(point.class) && fault.step <= self.step {
                *counted = counted.saturating_add(1);
                let first = *counted == fault.nth;
                let hits = first || fault.always && *counted > fault.nth;
                let shows = hits && point.may_show(fault.injection.kind());
                if shows && due.is_none() {
                    due = Some((*fault, first));
                    self.first_hit = u32::try_from(place).ok().filter(|_| first);
                }
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
        Fault { step, ..Fault::new(InjectionKind::NoSpace.with(after), class, nth) }
    }

    fn at(class: FaultClass) -> FaultPoint {
        FaultPoint::moving(class)
    }

    fn fails(hit: Option<Hit>) -> Option<InjectedError> {
        hit.map(|(fault, _)| match fault {
            CallFault::Fails(error) => error,
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
        assert_eq!(on(&mut faults, Sync), Some(InjectedError::NoSpace));
        assert_eq!(on(&mut faults, Sync), None);
        assert_eq!(on(&mut faults, Write), Some(InjectedError::NoSpace));
        assert_eq!(on(&mut faults, Write), None);
    }

    #[test]
    fn the_write_after_a_short_one_fails_once() {
        let mut faults = Faults::new(vec![fault(0, Write, 1, 10)]);
        assert_eq!(faults.on(at(Write)), Some((CallFault::Short(10), FaultKind::FailedWrite)));
        assert_eq!(fails(faults.on(at(Sync))), None);
        assert_eq!(fails(faults.on(at(Write))), Some(InjectedError::NoSpace));
        assert_eq!(fails(faults.on(at(Write))), None);
    }

    #[test]
    fn a_lasting_fault_fails_every_call_from_its_own_on() {
        let lasting = Fault { always: true, ..Fault::new(InjectionKind::Io, FaultClass::Call, 2) };
        let mut faults = Faults::new(vec![lasting]);
        assert_eq!(fails(faults.on(at(Open))), None);
        for class in [Read, Write, Rename, Sync] {
            assert_eq!(fails(faults.on(at(class))), Some(InjectedError::Io));
        }
    }

    #[test]
    fn a_disk_that_turned_read_only_still_reads() {
        let mut faults = Faults::new(vec![Fault::new(InjectionKind::ReadOnly, Write, 2)]);
        assert_eq!(fails(faults.on(at(Rename))), None);
        assert_eq!(fails(faults.on(at(Write))), None);
        assert_eq!(fails(faults.on(at(Write))), Some(InjectedError::ReadOnly));
        assert_eq!(fails(faults.on(at(Read))), None);
        assert_eq!(fails(faults.on(at(Rename))), Some(InjectedError::ReadOnly));
        assert_eq!(fails(faults.on(at(Sync))), Some(InjectedError::ReadOnly));
    }

    #[test]
    fn an_error_is_injected_only_into_calls_that_a_kernel_may_fail_with_it() {
        let full = Fault { always: true, ..Fault::new(InjectionKind::Files, FaultClass::Call, 1) };
        let mut faults = Faults::new(vec![full]);
        assert_eq!(fails(faults.on(at(Write))), None);
        assert_eq!(fails(faults.on(at(Open))), Some(InjectedError::Files));
    }

    #[test]
    fn a_disk_that_stays_full_takes_part_of_one_write_only() {
        let full = Fault { always: true, ..fault(0, Write, 1, 10) };
        let mut faults = Faults::new(vec![full]);
        assert_eq!(faults.on(at(Write)), Some((CallFault::Short(10), FaultKind::FailedWrite)));
        assert_eq!(fails(faults.on(at(Write))), Some(InjectedError::NoSpace));
        assert_eq!(fails(faults.on(at(Write))), Some(InjectedError::NoSpace));
    }

    #[test]
    fn an_existing_name_needs_no_space() {
        let mut faults =
            Faults::new(vec![Fault::new(InjectionKind::NoSpace, FaultClass::Mkdir, 1)]);
        assert_eq!(faults.on(FaultPoint { takes_space: false, ..at(FaultClass::Mkdir) }), None);
    }

    #[test]
    fn a_listing_is_neither_short_nor_corrupt() {
        for error in [InjectionKind::Short, InjectionKind::Corrupt] {
            let mut faults = Faults::new(vec![Fault::new(error, Read, 1)]);
            assert_eq!(faults.on(FaultPoint::any(Read)), None);
        }
    }
}
