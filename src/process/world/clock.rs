//! The engine's clocks: they show virtual time, which only calls and sleeps advance.

use std::time::Duration;

use libc::{clockid_t, timespec};

use crate::base::time::Time;

/// The virtual time that a call takes.
pub(crate) const CALL: Duration = Duration::from_micros(1);
/// The virtual time that reading a clock takes: enough that a loop which polls for a deadline ends.
pub(crate) const READING: Duration = Duration::from_nanos(100);

/// The clocks of one process.
pub(crate) struct Clock {
    now: Time,
    start: Time,
    /// The monotonic clock's reading at `start`.
    uptime: Duration,
    /// The real-time clock's reading at [`Time::START`].
    wall_clock: Duration,
    read: bool,
}

impl Clock {
    /// Clocks that begin at `start`.
    pub(crate) fn new(start: Time, uptime: Duration, wall_clock: Duration) -> Self {
        Self { now: start, start, uptime, wall_clock, read: false }
    }

    /// The run's own time.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// How long this process has run.
    pub(crate) fn running(&self) -> Duration {
        self.now.since(self.start)
    }

    /// Whether the engine read any clock.
    pub(crate) fn was_read(&self) -> bool {
        self.read
    }

    /// The engine saw something that depends on when it runs.
    pub(crate) fn see(&mut self) {
        self.read = true;
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Reads a clock for the engine; `None` if there is no such clock.
    pub(crate) fn read(&mut self, clock: clockid_t) -> Option<Duration> {
        self.read = true;
        self.advance(READING);
        self.show(clock)
    }

    /// A clock's present reading; `None` if there is no such clock.
    pub(crate) fn show(&self, clock: clockid_t) -> Option<Duration> {
        match clock {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => {
                Some(self.real(self.now))
            }
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME => Some(self.uptime + self.running()),
            libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => Some(self.running()),
            _ => None,
        }
    }

    /// The run's time at which a clock shows `shown`, or now if that is past; `None` if there is no
    /// such clock.
    pub(crate) fn when(&self, clock: clockid_t, shown: Duration) -> Option<Time> {
        Some(self.now + shown.saturating_sub(self.show(clock)?))
    }

    /// The real-time clock's reading at a time of the run.
    pub(crate) fn real(&self, at: Time) -> Duration {
        self.wall_clock + at.since(Time::START)
    }

    /// A time that is given to a file, as ext4 keeps it: clamped to its range, from 1901 to 2446. A
    /// run's times have no sign, so a time before the run is counted modulo 2^64 ns, which is more
    /// than that range.
    pub(crate) fn file_time(&self, given: timespec) -> Time {
        let seconds = given.tv_sec.clamp(FILE_SECONDS.0, FILE_SECONDS.1);
        let fraction =
            if (FILE_SECONDS.0 + 1..FILE_SECONDS.1).contains(&seconds) { given.tv_nsec } else { 0 };
        let nanos = i128::from(seconds) * SECOND + i128::from(fraction);
        Time((nanos - self.wall_clock.as_nanos() as i128) as u64)
    }

    /// A time of a file, as stat(2) shows it: the inverse of [`Clock::file_time`].
    pub(crate) fn shown_time(&self, at: Time) -> timespec {
        let after = self.wall_clock.as_nanos() as i128 + i128::from(at.0);
        let last = i128::from(FILE_SECONDS.1 + 1) * SECOND;
        let nanos = if after < last { after } else { after - (1 << 64) };
        timespec {
            tv_sec: nanos.div_euclid(SECOND) as i64,
            tv_nsec: nanos.rem_euclid(SECOND) as i64,
        }
    }
}

/// The first and the last second that a time of a file can have, counted from 1970: those of ext4
/// with inodes of 256 bytes.
const FILE_SECONDS: (i64, i64) = (-(1 << 31), (1 << 34) - (1 << 31) - 1);
/// A second in nanoseconds.
const SECOND: i128 = 1_000_000_000;

/// A duration as the C library writes it.
pub(crate) fn timespec(duration: Duration) -> timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    timespec { tv_sec: seconds, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// A duration as the C library wrote it; `None` if it is negative or malformed.
pub(crate) fn duration(timespec: timespec) -> Option<Duration> {
    let nanos = u32::try_from(timespec.tv_nsec).ok().filter(|&nanos| nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(timespec.tv_sec).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_share_one_time_and_differ_in_their_start() {
        let (uptime, wall_clock) = (Duration::from_secs(50), Duration::from_secs(1_000_000));
        let mut clock = Clock::new(Time(5_000_000_000), uptime, wall_clock);
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.show(libc::CLOCK_MONOTONIC), Some(Duration::from_secs(52)));
        assert_eq!(clock.show(libc::CLOCK_REALTIME), Some(Duration::from_secs(1_000_007)));
        assert_eq!(clock.show(libc::CLOCK_PROCESS_CPUTIME_ID), Some(Duration::from_secs(2)));
        assert_eq!(clock.show(12345), None);
        assert!(!clock.was_read());
    }

    #[test]
    fn a_reading_advances_time_so_that_a_waiting_loop_ends() {
        let mut clock = Clock::new(Time::START, Duration::ZERO, Duration::ZERO);
        let first = clock.read(libc::CLOCK_MONOTONIC);
        assert!(clock.read(libc::CLOCK_MONOTONIC) > first);
        assert!(clock.was_read());
    }

    #[test]
    fn a_time_of_a_file_reads_back_clamped_as_ext4_does() {
        let clock = Clock::new(Time::START, Duration::ZERO, Duration::from_secs(1_767_225_600));
        let at = Time(123_456_789);
        assert_eq!(clock.file_time(clock.shown_time(at)), at);
        let back = |tv_sec, tv_nsec| {
            let shown = clock.shown_time(clock.file_time(timespec { tv_sec, tv_nsec }));
            (shown.tv_sec, shown.tv_nsec)
        };
        // As ext4 of Linux 6.18 was seen to show them.
        for time in [(0, 1), (5, 999_999_999), (-1, 5), (-100, 7), (1_767_225_599, 1)] {
            assert_eq!(back(time.0, time.1), time);
        }
        let (first, last) = ((-2_147_483_648, 0), (15_032_385_535, 0));
        for (seconds, shown) in [
            (-3_000_000_000, first),
            (i64::MIN, first),
            (-2_147_483_648, first),
            (-2_147_483_647, (-2_147_483_647, 5)),
            (15_032_385_534, (15_032_385_534, 5)),
            (15_032_385_535, last),
            (20_000_000_000, last),
            (i64::MAX, last),
        ] {
            assert_eq!(back(seconds, 5), shown);
        }
    }
}
