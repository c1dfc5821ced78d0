//! Doors of C11's threads and locks (`<threads.h>`). The C library keeps them in the objects of
//! POSIX's functions and locks those inside itself, where it would wait out of the schedule's
//! reach; here they share the handlers of the POSIX doors.
//!
//! `mtx_trylock` waits for nothing: its door is for mutexes in mapped files alone, like that of
//! `pthread_mutex_trylock`.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::time::Duration;

use libc::{pthread_cond_t, pthread_mutex_t, pthread_once_t, pthread_t, timespec};

use crate::process::threads::baton::{self, Start, StartPlain};
use crate::process::world::clock;
use crate::process::world::door::Door;

use super::{doors, locks, threads, time};

doors! {
    fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int = lock;
    fn mtx_trylock(mutex: *mut pthread_mutex_t) -> c_int = lock_now;
    fn mtx_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int = lock_until;
    fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int = unlock;
    fn cnd_wait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int = await_condition;
    fn cnd_timedwait(
        cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: *const timespec
    ) -> c_int = await_condition_until;
    fn cnd_signal(cond: *mut pthread_cond_t) -> c_int = signal;
    fn cnd_broadcast(cond: *mut pthread_cond_t) -> c_int = broadcast;
    fn call_once(flag: *mut pthread_once_t, routine: extern "C-unwind" fn()) -> () = once,
        may unwind;
    fn thrd_create(thread: *mut pthread_t, start: Option<StartPlain>, argument: *mut c_void)
        -> c_int = create;
    fn thrd_join(thread: pthread_t, result: *mut c_int) -> c_int = join;
    fn thrd_detach(thread: pthread_t) -> c_int = detach;
    fn thrd_yield() -> () = let_others_run;
    fn thrd_sleep(duration: *const timespec, rest: *mut timespec) -> c_int = sleep;
}

/// The result of a C11 function, for the error number of a POSIX function (glibc's `threads.h`).
fn result(errno: c_int) -> c_int {
    const SUCCESS: c_int = 0;
    const BUSY: c_int = 1;
    const ERROR: c_int = 2;
    const NO_MEMORY: c_int = 3;
    const TIMED_OUT: c_int = 4;
    match errno {
        0 => SUCCESS,
        libc::EBUSY => BUSY,
        libc::ENOMEM => NO_MEMORY,
        libc::ETIMEDOUT => TIMED_OUT,
        _ => ERROR,
    }
}

fn lock(door: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    locks::lock(door, mutex).map(result)
}

fn lock_now(door: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    locks::lock_now(door, mutex).map(result)
}

fn lock_until(
    door: &'static Door,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> Option<c_int> {
    locks::lock_until(door, mutex, until).map(result)
}

fn unlock(door: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    locks::unlock(door, mutex).map(result)
}

fn await_condition(
    door: &'static Door,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> Option<c_int> {
    locks::await_condition(door, cond, mutex).map(result)
}

/// The time is always one of `TIME_UTC`.
fn await_condition_until(
    door: &'static Door,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> Option<c_int> {
    locks::await_condition_on(door, cond, mutex, libc::CLOCK_REALTIME, until).map(result)
}

fn signal(door: &'static Door, cond: *mut pthread_cond_t) -> Option<c_int> {
    locks::signal(door, cond).map(result)
}

fn broadcast(door: &'static Door, cond: *mut pthread_cond_t) -> Option<c_int> {
    locks::broadcast(door, cond).map(result)
}

fn once(
    door: &'static Door,
    flag: *mut pthread_once_t,
    routine: extern "C-unwind" fn(),
) -> Option<()> {
    locks::once(door, flag, routine).map(|_| ())
}

unsafe fn create(
    door: &'static Door,
    thread: *mut pthread_t,
    start: Option<StartPlain>,
    argument: *mut c_void,
) -> Option<c_int> {
    // SAFETY: thrd_create(3) takes room for a handle, and the thread's function.
    unsafe { threads::start(door, thread, ptr::null(), Start::Plain(start?), argument) }.map(result)
}

unsafe fn join(_: &'static Door, thread: pthread_t, number: *mut c_int) -> Option<c_int> {
    let mut returned = ptr::null_mut();
    baton::point();
    let joined = baton::join_thread(thread, &raw mut returned, None)?;
    if joined == 0 && !number.is_null() {
        // As the C library stores it: in the low half of the pointer.
        // SAFETY: thrd_join(3) takes null or room for a number.
        unsafe { number.write(returned.addr() as c_int) };
    }
    Some(result(joined))
}

fn detach(_: &'static Door, thread: pthread_t) -> Option<c_int> {
    baton::detach_thread(thread).map(result)
}

fn let_others_run(door: &'static Door) -> Option<()> {
    threads::let_others_run(door).map(|_| ())
}

unsafe fn sleep(door: &'static Door, request: *const timespec, _: *mut timespec) -> Option<c_int> {
    /// The result for an invalid time; -1 would mean a signal.
    const INVALID: c_int = -2;
    // SAFETY: thrd_sleep(3) takes a time.
    let duration = unsafe { request.as_ref() }.copied().and_then(clock::duration);
    let Some(duration): Option<Duration> = duration else { return Some(INVALID) };
    time::pause(door, duration).map(|_| 0)
}
