//! The boots of the simulated machine: a power loss ends one, a process crash does not.

use std::time::Duration;

use crate::base::time::Time;
use crate::oracle::CrashKind;

/// How long the machine has been up when a run begins.
const UPTIME: Duration = Duration::from_secs(100_000);
/// How long it has been up when an engine recovers from a power loss.
const BOOTED: Duration = Duration::from_secs(30);

/// A boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boot {
    /// The first epoch in it; 1 is the first of the run.
    pub(crate) epoch: u32,
    /// When that epoch began.
    start: Time,
}

impl Boot {
    /// The boot in which a run begins.
    pub(crate) const FIRST: Self = Self { epoch: 1, start: Time::START };

    /// The boot in which an epoch runs that begins at `start`, after a crash in this boot.
    pub(crate) fn after(self, crash: CrashKind, epoch: u32, start: Time) -> Self {
        match crash {
            CrashKind::Process => self,
            CrashKind::Power => Self { epoch, start },
        }
    }

    /// How long the machine has been up at a time in this boot.
    pub(crate) fn uptime(self, at: Time) -> Duration {
        let before = if self.epoch == Self::FIRST.epoch { UPTIME } else { BOOTED };
        before + at.since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_power_loss_begins_a_boot_and_its_uptime() {
        let at = |seconds| Time::START + Duration::from_secs(seconds);
        let same = Boot::FIRST.after(CrashKind::Process, 2, at(5));
        assert_eq!((same, same.uptime(at(5))), (Boot::FIRST, UPTIME + Duration::from_secs(5)));
        let new = same.after(CrashKind::Power, 3, at(9));
        assert_eq!((new.epoch, new.uptime(at(9))), (3, BOOTED));
        let still = new.after(CrashKind::Process, 4, at(20));
        assert_eq!((still, still.uptime(at(20))), (new, BOOTED + Duration::from_secs(11)));
    }
}
