//! Doors that start threads, wait until they end, and let other threads run.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use libc::{clockid_t, pthread_attr_t, pthread_t, timespec};

use crate::base::time::Time;
use crate::process::seam;
use crate::process::threads::baton::{self, Start, StartPosix};
use crate::process::world;
use crate::process::world::clock::{self, READING};
use crate::process::world::door::Door;

use super::doors;
use super::refuse::refused;

doors! {
    fn pthread_create(
        thread: *mut pthread_t, attributes: *const pthread_attr_t, start: Option<StartPosix>,
        argument: *mut c_void
    ) -> c_int = create;
    fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int = join;
    fn pthread_tryjoin_np(thread: pthread_t, result: *mut *mut c_void) -> c_int = join_now;
    fn pthread_timedjoin_np(thread: pthread_t, result: *mut *mut c_void, until: *const timespec)
        -> c_int = join_until;
    fn pthread_clockjoin_np(
        thread: pthread_t, result: *mut *mut c_void, clock: clockid_t, until: *const timespec
    ) -> c_int = join_on;
    fn pthread_detach(thread: pthread_t) -> c_int = detach;
    fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int = set_name;
    fn pthread_getname_np(thread: pthread_t, name: *mut c_char, size: usize) -> c_int = name_of;
    fn pthread_cancel(thread: pthread_t) -> c_int = signal;
    fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int = signal_with;
    fn sched_yield() -> c_int = let_others_run;
    fn __sched_yield() -> c_int = let_others_run;
}

unsafe fn create(
    door: &'static Door,
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    function: Option<StartPosix>,
    argument: *mut c_void,
) -> Option<c_int> {
    // SAFETY: pthread_create(3) takes room for a handle, attributes or null, and the thread's
    // function.
    unsafe { start(door, thread, attributes, Start::Posix(function?), argument) }
}

/// Starts a thread; `None` for a caller that is in no schedule.
///
/// # Safety
/// As [`baton::create`]: `thread` has room for a handle, the attributes are null or initialised,
/// and `function` may be called with `argument` on another thread.
pub(super) unsafe fn start(
    door: &'static Door,
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    function: Start,
    argument: *mut c_void,
) -> Option<c_int> {
    if baton::own() == 0 {
        return None;
    }
    world::enter(|world| world.call_unrecorded(door.name, Duration::ZERO, [0; 3]));
    // SAFETY: this function has the same contract.
    let result = unsafe { baton::create(thread, attributes, function, argument) };
    baton::point();
    Some(result)
}

/// The time of the run at which `clock` shows `until`; `None` if either is invalid.
pub(super) fn time_at(clock: clockid_t, until: *const timespec) -> Option<Time> {
    // SAFETY: the callers' functions take a time, or null.
    let until = unsafe { until.as_ref() }.copied().and_then(clock::duration)?;
    world::enter(|world| world.clock.when(clock, until))?
}

fn join(_: &'static Door, thread: pthread_t, result: *mut *mut c_void) -> Option<c_int> {
    baton::point();
    baton::join_thread(thread, result, None)
}

fn join_now(_: &'static Door, thread: pthread_t, result: *mut *mut c_void) -> Option<c_int> {
    let joined = baton::join_thread(thread, result, Some(Time::START))?;
    Some(if joined == libc::ETIMEDOUT { libc::EBUSY } else { joined })
}

fn join_until(
    door: &'static Door,
    thread: pthread_t,
    result: *mut *mut c_void,
    until: *const timespec,
) -> Option<c_int> {
    join_on(door, thread, result, libc::CLOCK_REALTIME, until)
}

fn join_on(
    _: &'static Door,
    thread: pthread_t,
    result: *mut *mut c_void,
    clock: clockid_t,
    until: *const timespec,
) -> Option<c_int> {
    if baton::own() == 0 {
        return None;
    }
    if until.is_null() {
        return baton::join_thread(thread, result, None);
    }
    let Some(until) = time_at(clock, until) else { return Some(libc::EINVAL) };
    baton::join_thread(thread, result, Some(until))
}

fn detach(_: &'static Door, thread: pthread_t) -> Option<c_int> {
    baton::detach_thread(thread)
}

/// The C library names another thread through a file of `/proc`, whose path has the host's number
/// of the thread: the engine does not make these calls.
unsafe fn set_name(_: &'static Door, thread: pthread_t, name: *const c_char) -> Option<c_int> {
    if baton::has_ended(thread)? {
        return Some(libc::ENOENT);
    }
    let _harness = seam::harness();
    // SAFETY: pthread_setname_np(3) takes a thread, which has not been joined, and a string.
    Some(unsafe { libc::pthread_setname_np(thread, name) })
}

unsafe fn name_of(
    _: &'static Door,
    thread: pthread_t,
    name: *mut c_char,
    size: usize,
) -> Option<c_int> {
    if baton::has_ended(thread)? {
        return Some(libc::ENOENT);
    }
    let _harness = seam::harness();
    // SAFETY: pthread_getname_np(3) takes a thread, which has not been joined, and room for `size`
    // bytes.
    Some(unsafe { libc::pthread_getname_np(thread, name, size) })
}

fn signal(door: &'static Door, _: pthread_t) -> Option<c_int> {
    refused::<c_int>(door.name, libc::ENOSYS).map(|_| libc::ENOSYS)
}

fn signal_with(door: &'static Door, thread: pthread_t, number: c_int) -> Option<c_int> {
    if number == 0 {
        return None;
    }
    signal(door, thread)
}

/// Costs time, so that a loop that yields until a deadline ends.
pub(super) fn let_others_run(door: &'static Door) -> Option<c_int> {
    world::enter(|world| world.call_unrecorded(door.name, READING, [0; 3]))?;
    baton::yield_turn();
    Some(0)
}
