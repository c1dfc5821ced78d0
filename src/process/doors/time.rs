//! Doors that read clocks and that sleep. Time is virtual: a sleep only moves the clock forward.

use std::ffi::{c_int, c_uint, c_void};
use std::time::Duration;

use libc::{clockid_t, time_t, timespec, timeval, useconds_t};

use crate::disk::Errno;
use crate::process::threads::baton;
use crate::process::world::clock;
use crate::process::world::door::Door;
use crate::process::world::schedule::WaitFor;
use crate::process::world::{self, CallResult, Called};

use super::{answer, bits, doors};

doors! {
    fn clock_gettime(clock: clockid_t, now: *mut timespec) -> c_int = read_clock;
    fn clock_getres(clock: clockid_t, resolution: *mut timespec) -> c_int = read_resolution;
    fn gettimeofday(now: *mut timeval, zone: *mut c_void) -> c_int = read_time_of_day;
    fn __gettimeofday(now: *mut timeval, zone: *mut c_void) -> c_int = read_time_of_day;
    fn time(now: *mut time_t) -> time_t = read_seconds;
    fn timespec_get(now: *mut timespec, base: c_int) -> c_int = read_base;
    fn clock() -> i64 = read_processor_time;
    fn nanosleep(request: *const timespec, rest: *mut timespec) -> c_int = sleep_for;
    fn __nanosleep(request: *const timespec, rest: *mut timespec) -> c_int
        = sleep_for;
    fn clock_nanosleep(
        clock: clockid_t, flags: c_int, request: *const timespec, rest: *mut timespec
    ) -> c_int = sleep_on;
    fn usleep(microseconds: useconds_t) -> c_int = sleep_microseconds;
    fn sleep(seconds: c_uint) -> c_uint = sleep_seconds;
}

/// Writes an answer that may not be asked for.
///
/// # Safety
/// `to` is null or has room for the value, which may be uninitialised.
unsafe fn write<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: it is not null, so it has room for the value, by this function's contract.
        unsafe { to.write(value) };
    }
}

/// Reads a clock of the world; `None` if there is no world, an error if there is no such clock.
pub(super) fn reading(door: &'static Door, clock: clockid_t) -> Option<Result<Duration, Errno>> {
    world::enter(|world| {
        let shown = world.clock.read(clock);
        world.call_unrecorded(door.name, Duration::ZERO, [bits(clock), 0, 0]);
        shown.ok_or(Errno::EINVAL)
    })
}

unsafe fn read_clock(door: &'static Door, clock: clockid_t, now: *mut timespec) -> Option<c_int> {
    let outcome = reading(door, clock)?.map(|shown| {
        // SAFETY: clock_gettime(2) takes room for the time.
        unsafe { now.write(clock::timespec(shown)) };
        0
    });
    Some(answer(outcome))
}

unsafe fn read_resolution(
    _: &'static Door,
    clock: clockid_t,
    resolution: *mut timespec,
) -> Option<c_int> {
    let known = world::enter(|world| world.clock.show(clock).is_some())?;
    if !known {
        return Some(answer(Err(Errno::EINVAL)));
    }
    // SAFETY: clock_getres(2) takes null or room for the resolution.
    unsafe { write(resolution, clock::timespec(Duration::from_nanos(1))) };
    Some(0)
}

unsafe fn read_time_of_day(
    door: &'static Door,
    now: *mut timeval,
    _: *mut c_void,
) -> Option<c_int> {
    let shown = reading(door, libc::CLOCK_REALTIME)?.unwrap_or_default();
    // SAFETY: gettimeofday(2) takes null or room for the time.
    unsafe {
        write(
            now,
            timeval {
                tv_sec: clock::timespec(shown).tv_sec,
                tv_usec: shown.subsec_micros().into(),
            },
        );
    }
    Some(0)
}

unsafe fn read_seconds(door: &'static Door, now: *mut time_t) -> Option<time_t> {
    let shown = reading(door, libc::CLOCK_REALTIME)?.unwrap_or_default();
    let seconds = clock::timespec(shown).tv_sec;
    // SAFETY: time(2) takes null or room for the time.
    unsafe { write(now, seconds) };
    Some(seconds)
}

unsafe fn read_base(door: &'static Door, now: *mut timespec, base: c_int) -> Option<c_int> {
    const TIME_UTC: c_int = 1;
    if base != TIME_UTC {
        return Some(0);
    }
    // SAFETY: timespec_get(3) takes room for the time.
    unsafe { read_clock(door, libc::CLOCK_REALTIME, now) }.map(|_| base)
}

fn read_processor_time(door: &'static Door) -> Option<i64> {
    let shown = reading(door, libc::CLOCK_PROCESS_CPUTIME_ID)?.unwrap_or_default();
    Some(i64::try_from(shown.as_micros()).unwrap_or(i64::MAX))
}

/// Sleeps in virtual time, while other threads run.
pub(super) fn pause(door: &'static Door, duration: Duration) -> Option<CallResult> {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let until = world::enter(|world| {
        world.begin(door.name);
        world.clock.now() + duration
    })?;
    baton::wait(WaitFor::Time, Some(until));
    world::enter(|world| world.end(&Called::on(door, -1, [nanos, 0]), Ok(0)))
}

unsafe fn sleep_for(
    door: &'static Door,
    request: *const timespec,
    _: *mut timespec,
) -> Option<c_int> {
    // SAFETY: nanosleep(2) takes a time.
    let duration = unsafe { request.as_ref() }.copied().and_then(clock::duration);
    let outcome = match duration {
        Some(duration) => pause(door, duration)?,
        None => Err(Errno::EINVAL),
    };
    Some(answer(outcome))
}

unsafe fn sleep_on(
    door: &'static Door,
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    _: *mut timespec,
) -> Option<c_int> {
    // SAFETY: clock_nanosleep(2) takes a time.
    let until = unsafe { request.as_ref() }.copied().and_then(clock::duration);
    let shown = world::enter(|world| world.clock.show(clock))?;
    let outcome = match (until, shown) {
        (Some(until), Some(shown)) if flags & libc::TIMER_ABSTIME != 0 => {
            pause(door, until.saturating_sub(shown))?
        }
        (Some(duration), Some(_)) => pause(door, duration)?,
        _ => Err(Errno::EINVAL),
    };
    Some(super::error_number(outcome))
}

fn sleep_microseconds(door: &'static Door, microseconds: useconds_t) -> Option<c_int> {
    let duration = Duration::from_micros(microseconds.into());
    Some(answer(pause(door, duration)?))
}

fn sleep_seconds(door: &'static Door, seconds: c_uint) -> Option<c_uint> {
    let duration = Duration::from_secs(seconds.into());
    pause(door, duration).map(|_| 0)
}
