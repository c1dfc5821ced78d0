//! Doors for calls that are not simulated: other processes, threads that the C library starts
//! itself, timers and clocks of the host. Each fails with an error and names the call, so that a
//! run reports the calls that it could not follow and does not judge the engine by them.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;

use libc::{FILE, clockid_t, itimerspec, itimerval, key_t, mode_t, pid_t, pthread_t, timespec};

use crate::disk::Errno;
use crate::process::seam::kernel::set_errno;
use crate::process::world;
use crate::process::world::door::Door;

use super::{Returned, answer, doors};

/// Defines doors that refuse a call: they return a value and set an error, where a condition holds
/// if one is given. The condition may rely on the contract of the function.
macro_rules! refusals {
    ($(
        fn $symbol:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty
            = ($failure:expr, $errno:ident) $(if $when:expr)? $(, may $unwind:ident)?;
    )*) => {
        doors! { $(fn $symbol($($arg: $ty),*) -> $ret = $symbol $(, may $unwind)?;)* }

        $(
            #[allow(
                non_snake_case,
                unused_variables,
                clippy::too_many_arguments,
                reason = "as C declares it"
            )]
            unsafe fn $symbol(
                door: &'static $crate::process::world::door::Door,
                $($arg: $ty),*
            ) -> Option<$ret> {
                $(
                    // SAFETY: the caller keeps the contract of the function, and no condition
                    // relies on more.
                    #[allow(unused_unsafe, reason = "some conditions are safe")]
                    if !unsafe { $when } {
                        return None;
                    }
                )?
                $crate::process::doors::refuse::give_up(door, libc::$errno)?;
                Some($failure)
            }
        )*
    };
}
pub(super) use refusals;

refusals! {
    fn fork() -> pid_t = (-1, ENOSYS);
    fn __fork() -> pid_t = (-1, ENOSYS);
    fn _Fork() -> pid_t = (-1, ENOSYS);
    // Variadic: some flags ask for the last three arguments.
    fn clone(
        start: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void,
        parent: usize, storage: usize, child: usize
    ) -> c_int = (-1, ENOSYS);
    fn __clone(
        start: *const c_void, stack: *mut c_void, flags: c_int, argument: *mut c_void,
        parent: usize, storage: usize, child: usize
    ) -> c_int = (-1, ENOSYS);
    fn daemon(stays: c_int, keeps: c_int) -> c_int = (-1, ENOSYS);
    fn forkpty(
        terminal: *mut c_int, name: *mut c_char, settings: *const c_void, size: *const c_void
    ) -> c_int = (-1, ENOSYS);
    fn posix_spawn(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int = (libc::ENOSYS, ENOSYS);
    fn posix_spawnp(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int = (libc::ENOSYS, ENOSYS);
    // `execl`, `execle` and `execlp` have no fixed number of arguments: they are trapped (`traps`).
    fn execve(
        path: *const c_char, arguments: *const *const c_char, environment: *const *const c_char
    ) -> c_int = (-1, ENOSYS);
    fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int = (-1, ENOSYS);
    fn execvp(path: *const c_char, arguments: *const *const c_char) -> c_int = (-1, ENOSYS);
    fn execvpe(
        path: *const c_char, arguments: *const *const c_char, environment: *const *const c_char
    ) -> c_int = (-1, ENOSYS);
    fn execveat(
        dirfd: c_int, path: *const c_char, arguments: *const *const c_char,
        environment: *const *const c_char, flags: c_int
    ) -> c_int = (-1, ENOSYS);
    fn fexecve(
        fd: c_int, arguments: *const *const c_char, environment: *const *const c_char
    ) -> c_int = (-1, ENOSYS);
    fn system(command: *const c_char) -> c_int = (-1, ENOSYS);
    fn popen(command: *const c_char, kind: *const c_char) -> *mut FILE = (ptr::null_mut(), ENOSYS);
    fn _IO_popen(command: *const c_char, kind: *const c_char) -> *mut FILE
        = (ptr::null_mut(), ENOSYS);

    // The id by which the engine knows itself may belong to another process of the host.
    fn tgkill(process: pid_t, thread: pid_t, signal: c_int) -> c_int
        = (-1, ENOSYS) if is_own(process);
    fn sigqueue(process: pid_t, signal: c_int, value: *mut c_void) -> c_int
        = (-1, ENOSYS) if is_own(process);
    fn pidfd_open(process: pid_t, flags: c_uint) -> c_int
        = (-1, ENOSYS) if is_own(process);
    fn pthread_sigqueue(thread: pthread_t, signal: c_int, value: *mut c_void) -> c_int
        = (libc::ENOSYS, ENOSYS) if signal != 0;

    // The C library serves these on threads that it starts itself.
    fn aio_read(request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn aio_read64(request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn aio_write(request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn aio_write64(request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn aio_fsync(operation: c_int, request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn aio_fsync64(operation: c_int, request: *mut c_void) -> c_int = (-1, ENOSYS);
    fn lio_listio(mode: c_int, list: *const *mut c_void, count: c_int, event: *mut c_void) -> c_int
        = (-1, ENOSYS);
    fn lio_listio64(mode: c_int, list: *const *mut c_void, count: c_int, event: *mut c_void)
        -> c_int = (-1, ENOSYS);
    fn mq_notify(queue: c_int, event: *const c_void) -> c_int = (-1, ENOSYS) if !event.is_null();
    fn getaddrinfo_a(mode: c_int, list: *mut *mut c_void, count: c_int, event: *mut c_void)
        -> c_int = (libc::EAI_SYSTEM, ENOSYS);

    // Timers run in the time of the host. To stop one that cannot have been started is harmless.
    fn timer_create(clock: clockid_t, event: *mut c_void, timer: *mut c_void) -> c_int
        = (-1, ENOSYS);
    fn timerfd_settime(
        fd: c_int, flags: c_int, new: *const itimerspec, old: *mut itimerspec
    ) -> c_int = (-1, ENOSYS) if starts(new);
    fn setitimer(which: c_int, new: *const itimerval, old: *mut itimerval) -> c_int
        = (-1, ENOSYS) if starts_old(new);
    fn alarm(seconds: c_uint) -> c_uint = (0, ENOSYS) if seconds != 0;
    fn ualarm(first: c_uint, interval: c_uint) -> c_uint = (0, ENOSYS) if first != 0;
    fn sigtimedwait(set: *const c_void, found: *mut c_void, limit: *const timespec) -> c_int
        = (-1, ENOSYS) if waits(limit);

    // Memory, semaphores and queues of the host with names: they would outlive a crash.
    fn shm_open(name: *const c_char, flags: c_int, mode: mode_t) -> c_int = (-1, ENOSYS);
    fn sem_open(name: *const c_char, flags: c_int, mode: mode_t, value: c_uint) -> *mut c_void
        = (ptr::null_mut(), ENOSYS);
    fn mq_open(name: *const c_char, flags: c_int, mode: mode_t, attributes: *const c_void) -> c_int
        = (-1, ENOSYS);
    fn __mq_open_2(name: *const c_char, flags: c_int) -> c_int = (-1, ENOSYS);
    fn shmget(key: key_t, size: usize, flags: c_int) -> c_int = (-1, ENOSYS);
    fn semget(key: key_t, count: c_int, flags: c_int) -> c_int = (-1, ENOSYS);
    fn msgget(key: key_t, flags: c_int) -> c_int = (-1, ENOSYS);

    // They read or set the clock of the host.
    fn adjtimex(clock: *mut c_void) -> c_int = (-1, ENOSYS);
    fn __adjtimex(clock: *mut c_void) -> c_int = (-1, ENOSYS);
    fn ntp_adjtime(clock: *mut c_void) -> c_int = (-1, ENOSYS);
    fn ntp_gettime(time: *mut c_void) -> c_int = (-1, ENOSYS);
    fn ntp_gettimex(time: *mut c_void) -> c_int = (-1, ENOSYS);
    fn clock_adjtime(which: clockid_t, clock: *mut c_void) -> c_int = (-1, ENOSYS);
    fn adjtime(delta: *const c_void, old: *mut c_void) -> c_int = (-1, ENOSYS);
    fn clock_settime(which: clockid_t, time: *const timespec) -> c_int = (-1, ENOSYS);
    fn settimeofday(time: *const c_void, zone: *const c_void) -> c_int = (-1, ENOSYS);
    fn ftime(time: *mut c_void) -> c_int = (-1, ENOSYS);
}

/// Whether this is the id by which the engine knows its own process.
fn is_own(process: pid_t) -> bool {
    world::enter(|world| world.pid == process).unwrap_or(false)
}

/// Whether a timer that is set to this time starts.
///
/// # Safety
/// `time` is null or points to a time.
unsafe fn starts(time: *const itimerspec) -> bool {
    // SAFETY: by this function's contract.
    unsafe { time.as_ref() }.is_some_and(|time| !is_zero(time.it_value))
}

/// As [`starts`], for a time in microseconds.
///
/// # Safety
/// As [`starts`].
unsafe fn starts_old(time: *const itimerval) -> bool {
    // SAFETY: by this function's contract.
    unsafe { time.as_ref() }
        .is_some_and(|time| time.it_value.tv_sec != 0 || time.it_value.tv_usec != 0)
}

/// Whether a limit lets the call wait, but not for ever: a wait without a limit is found asleep.
///
/// # Safety
/// `limit` is null or points to a time.
unsafe fn waits(limit: *const timespec) -> bool {
    // SAFETY: by this function's contract.
    unsafe { limit.as_ref() }.is_some_and(|limit| !is_zero(*limit))
}

fn is_zero(time: timespec) -> bool {
    time.tv_sec == 0 && time.tv_nsec == 0
}

/// `vfork` cannot be passed on: its child would return through our frame and destroy it. Its
/// callers may rely on no more than `fork` does.
// SAFETY: the C library declares the symbol with this type.
#[unsafe(no_mangle)]
extern "C" fn vfork() -> pid_t {
    // SAFETY: fork(2) has no precondition; this is the door above.
    unsafe { libc::fork() }
}

/// Another name of `vfork`.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn __vfork() -> pid_t {
    vfork()
}

/// The symbols above that no table lists.
pub(super) const UNLISTED: [&str; 2] = ["vfork", "__vfork"];

/// Notes that `call` is not simulated, and makes it fail with `errno`.
pub(super) fn refused<R: Returned>(call: &str, errno: c_int) -> Option<R> {
    refusal(call, errno).map(|errno| answer(Err(errno)))
}

fn refusal(call: &str, errno: c_int) -> Option<Errno> {
    world::enter(|world| world.not_simulated(call))?;
    Some(Errno(errno))
}

/// Notes that the call of a door is not simulated, and sets the error that it fails with.
pub(super) fn give_up(door: &Door, errno: c_int) -> Option<()> {
    set_errno(refusal(door.name, errno)?.0);
    Some(())
}
