//! Which of the engine's calls fail: the planned faults, counted off as the calls come.

use crate::fault::{Fault, FaultClass, FaultError};

/// The faults of one process and how far their counters are.
pub(crate) struct Faults {
    planned: Vec<Fault>,
    step: u32,
    writes: u32,
    syncs: u32,
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
    /// Faults that are counted from step 0 on.
    pub(crate) fn new(planned: Vec<Fault>) -> Self {
        Self { planned, step: 0, writes: 0, syncs: 0, owed: None }
    }

    /// A step of the workload begins: the calls are counted from 1 again.
    pub(crate) fn step(&mut self, step: u32) {
        (self.step, self.writes, self.syncs) = (step, 0, 0);
    }

    /// Counts a write.
    pub(crate) fn on_write(&mut self) -> Option<WriteFault> {
        self.writes += 1;
        if let Some(error) = self.owed.take() {
            return Some(WriteFault::Fails(error));
        }
        let fault = *self.planned(FaultClass::Write, self.writes)?;
        if fault.after == 0 {
            return Some(WriteFault::Fails(fault.error));
        }
        self.owed = Some(fault.error);
        Some(WriteFault::Short(fault.after))
    }

    /// Counts a sync.
    pub(crate) fn on_sync(&mut self) -> Option<FaultError> {
        self.syncs += 1;
        self.planned(FaultClass::Sync, self.syncs).map(|fault| fault.error)
    }

    fn planned(&self, class: FaultClass, nth: u32) -> Option<&Fault> {
        self.planned.iter().find(|f| f.class == class && f.step == self.step && f.nth == nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(step: u32, class: FaultClass, nth: u32, after: u64) -> Fault {
        Fault { step, class, nth, error: FaultError::NoSpace, after }
    }

    #[test]
    fn calls_are_counted_within_their_step_and_class() {
        let mut faults =
            Faults::new(vec![fault(2, FaultClass::Write, 2, 0), fault(2, FaultClass::Sync, 1, 0)]);
        assert_eq!((faults.on_write(), faults.on_write(), faults.on_sync()), (None, None, None));
        faults.step(2);
        assert_eq!(faults.on_write(), None);
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
