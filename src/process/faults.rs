//! Which of the engine's calls fail: the planned faults, counted off as the calls come.

use crate::fault::{Fault, FaultClass, FaultError};

/// The faults of one process and how far their counters are.
pub(crate) struct Faults {
    /// Each with the calls that were counted for it.
    planned: Vec<(Fault, u32)>,
    step: u32,
    /// A short write happened: the next write fails with this.
    owed: Option<FaultError>,
}

/// What is to happen to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteFault {
    /// It takes no byte.
    Fails(FaultError),
    /// It takes that many bytes at most.
    Short(u64),
}

impl Faults {
    /// Faults of a process that is at step 0.
    pub(crate) fn new(planned: Vec<Fault>) -> Self {
        Self { planned: planned.into_iter().map(|fault| (fault, 0)).collect(), step: 0, owed: None }
    }

    /// A step of the workload begins.
    pub(crate) fn step(&mut self, step: u32) {
        self.step = step;
    }

    /// Counts a write.
    pub(crate) fn on_write(&mut self) -> Option<WriteFault> {
        let fault = self.count(FaultClass::Write);
        if let Some(error) = self.owed.take() {
            return Some(WriteFault::Fails(error));
        }
        let fault = fault?;
        if fault.after == 0 {
            return Some(WriteFault::Fails(fault.error));
        }
        self.owed = Some(fault.error);
        Some(WriteFault::Short(fault.after))
    }

    /// Counts a sync.
    pub(crate) fn on_sync(&mut self) -> Option<FaultError> {
        self.count(FaultClass::Sync).map(|fault| fault.error)
    }

    /// Counts a call for each fault that is waiting for it; returns the one whose turn it is.
    fn count(&mut self, class: FaultClass) -> Option<Fault> {
        let mut due = None;
        for (fault, counted) in &mut self.planned {
            if fault.class == class && fault.step <= self.step {
                *counted += 1;
                due = due.or((*counted == fault.nth).then_some(*fault));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(step: u32, class: FaultClass, nth: u32, after: u64) -> Fault {
        Fault { step, class, nth, error: FaultError::NoSpace, after }
    }

    #[test]
    fn calls_are_counted_by_class_from_their_step_on() {
        let mut faults =
            Faults::new(vec![fault(2, FaultClass::Write, 2, 0), fault(2, FaultClass::Sync, 1, 0)]);
        assert_eq!((faults.on_write(), faults.on_write(), faults.on_sync()), (None, None, None));
        faults.step(2);
        assert_eq!(faults.on_write(), None);
        faults.step(3);
        assert_eq!(faults.on_sync(), Some(FaultError::NoSpace));
        assert_eq!(faults.on_sync(), None);
        assert_eq!(faults.on_write(), Some(WriteFault::Fails(FaultError::NoSpace)));
        assert_eq!(faults.on_write(), None);
    }

    #[test]
    fn the_write_after_a_short_one_fails_once() {
        let mut faults = Faults::new(vec![fault(0, FaultClass::Write, 1, 10)]);
        assert_eq!(faults.on_write(), Some(WriteFault::Short(10)));
        assert_eq!(faults.on_write(), Some(WriteFault::Fails(FaultError::NoSpace)));
        assert_eq!(faults.on_write(), None);
    }
}
