//! The parts of the disk that an engine sees: a remembered recovery is used only where they are the
//! same.

use crate::base::time::Time;
use crate::disk::Ino;
use crate::disk::clock::TICK;
use crate::disk::sight::Sight;
use crate::log::Mark;

use super::World;

/// The first tick of an epoch that begins at `start`. Ticks are counted from there: where they fall
/// in a second is decided when a machine boots.
pub(crate) fn first_tick(start: Time) -> Time {
    Time(start.0 / TICK * TICK)
}

impl World {
    /// The engine saw a part of the disk.
    pub(crate) fn see(&mut self, sight: Sight) {
        if self.sights.add(sight) {
            self.mark(Mark::Saw(sight));
        }
    }

    /// The engine saw the number of an inode.
    pub(crate) fn see_number(&mut self, ino: Ino) {
        let new = ino >= self.first_ino;
        self.see(if new { Sight::NewNumbers } else { Sight::Numbers });
    }

    /// The engine saw the times of an inode. A time of this epoch depends on when it began: one of
    /// the coarse clock on the tick, any other on the time itself.
    pub(crate) fn see_times(&mut self, ino: Ino, times: [Time; 4]) {
        self.disk.see_times(ino);
        self.see_other_times(times);
    }

    /// The engine saw times of an inode, but not when it last changed.
    pub(crate) fn see_other_times<const N: usize>(&mut self, times: [Time; N]) {
        self.see(Sight::Times);
        let first = self.first_tick;
        for time in times.into_iter().filter(|time| *time >= first) {
            if (time.since(first).as_nanos() as u64).is_multiple_of(TICK) {
                self.see(Sight::Tick);
            } else {
                self.clock.see();
            }
        }
    }
}
