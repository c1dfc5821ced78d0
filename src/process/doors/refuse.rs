//! Doors for what is not simulated: each is an error that names the call, so that a run says what
//! it could not follow and does not judge the engine by it.

use std::ffi::{c_char, c_int, c_short, c_void};
use std::ptr;
use std::time::Duration;

use libc::{FILE, dev_t, mode_t, nfds_t, off_t, pid_t, pollfd, sigset_t, timespec, timeval};

use crate::disk::Errno;
use crate::process::clock;
use crate::process::descriptors::is_simulated;
use crate::process::kernel::set_errno;
use crate::process::seam;
use crate::process::world;

use super::{Returned, answer, bytes, doors, note_outside, on_disk};

doors! {
    fn mmap(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn mmap64(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn fork() -> pid_t = process;
    fn posix_spawn(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int = spawn;
    fn posix_spawnp(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attributes: *const c_void,
        arguments: *const *mut c_char, environment: *const *mut c_char
    ) -> c_int = spawn;
    fn execve(
        path: *const c_char, arguments: *const *const c_char, environment: *const *const c_char
    ) -> c_int = execute;
    fn execvp(path: *const c_char, arguments: *const *const c_char) -> c_int = execute_found;
    fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int = execute_found;
    fn system(command: *const c_char) -> c_int = shell;
    fn popen(command: *const c_char, kind: *const c_char) -> *mut FILE = pipe_to_shell;
    fn kill(pid: pid_t, signal: c_int) -> c_int = signal;
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn freopen(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE = stream_anew;
    fn freopen64(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE
        = stream_anew;
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE = stream_on;
    fn scandir(path: *const c_char, list: *mut c_void, filter: *mut c_void, order: *mut c_void)
        -> c_int = scan;
    fn scandir64(path: *const c_char, list: *mut c_void, filter: *mut c_void, order: *mut c_void)
        -> c_int = scan;
    fn ftw(path: *const c_char, visit: *mut c_void, open: c_int) -> c_int = walk;
    fn ftw64(path: *const c_char, visit: *mut c_void, open: c_int) -> c_int = walk;
    fn nftw(path: *const c_char, visit: *mut c_void, open: c_int, flags: c_int) -> c_int
        = walk_with;
    fn nftw64(path: *const c_char, visit: *mut c_void, open: c_int, flags: c_int) -> c_int
        = walk_with;
    fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int = special;
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int = fifo;
    fn mkfifoat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int = fifo_at;
    fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int = watch;
    fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = poll;
    fn ppoll(
        list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t
    ) -> c_int = poll_until;
    fn select(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set,
        other: *mut libc::fd_set, timeout: *mut timeval) -> c_int = select;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int
        = watch_descriptor;
    fn epoll_wait(epoll: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int)
        -> c_int = await_events;
    fn epoll_pwait(epoll: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int,
        mask: *const sigset_t) -> c_int = await_events_masked;
}

/// `vfork` cannot be passed on: its child would return through our frame and destroy it. A fork
/// is all that its callers may count on.
// SAFETY: the C library declares the symbol with this type.
#[unsafe(no_mangle)]
extern "C" fn vfork() -> pid_t {
    // SAFETY: fork(2) has no precondition; this is the door above.
    unsafe { libc::fork() }
}

/// Notes that `call` is not simulated, and returns the error that it fails with.
pub(super) fn refused<R: Returned>(call: &str, errno: c_int) -> Option<R> {
    refusal(call, errno).map(|errno| answer(Err(errno)))
}

fn refusal(call: &str, errno: c_int) -> Option<Errno> {
    world::enter(|world| world.not_simulated(call))?;
    Some(Errno(errno))
}

/// The same for functions that return a pointer.
fn refused_pointer<T>(call: &str, errno: c_int, failure: *mut T) -> Option<*mut T> {
    let errno = refusal(call, errno)?;
    set_errno(errno.0);
    Some(failure)
}

fn map(
    door: &'static str,
    _: *mut c_void,
    _: usize,
    _: c_int,
    _: c_int,
    fd: c_int,
    _: off_t,
) -> Option<*mut c_void> {
    if !is_simulated(fd) {
        return None;
    }
    refused_pointer(door, libc::ENODEV, libc::MAP_FAILED)
}

fn process(door: &'static str) -> Option<pid_t> {
    refused(door, libc::ENOSYS)
}

fn spawn(
    door: &'static str,
    _: *mut pid_t,
    _: *const c_char,
    _: *const c_void,
    _: *const c_void,
    _: *const *mut c_char,
    _: *const *mut c_char,
) -> Option<c_int> {
    Some(refusal(door, libc::ENOSYS)?.0)
}

fn execute(
    door: &'static str,
    _: *const c_char,
    _: *const *const c_char,
    _: *const *const c_char,
) -> Option<c_int> {
    refused(door, libc::ENOSYS)
}

fn execute_found(door: &'static str, _: *const c_char, _: *const *const c_char) -> Option<c_int> {
    refused(door, libc::ENOSYS)
}

fn shell(door: &'static str, _: *const c_char) -> Option<c_int> {
    refused(door, libc::ENOSYS)
}

fn pipe_to_shell(door: &'static str, _: *const c_char, _: *const c_char) -> Option<*mut FILE> {
    refused_pointer(door, libc::ENOSYS, ptr::null_mut())
}

/// Passes a signal on, to this process if the engine means itself: the number that it knows
/// itself by may be anybody's on the host.
fn signal(_: &'static str, pid: pid_t, signal: c_int) -> Option<c_int> {
    if pid != super::entropy::IDENTITY {
        return None;
    }
    let _harness = seam::harness();
    // SAFETY: kill(2) has no precondition; on the harness's side `getpid` is the kernel's.
    Some(unsafe { libc::kill(libc::getpid(), signal) })
}

unsafe fn stream(
    door: &'static str,
    path: *const c_char,
    mode: *const c_char,
) -> Option<*mut FILE> {
    // SAFETY: fopen(3) takes two C strings.
    unsafe {
        if on_disk(path) {
            return refused_pointer(door, libc::ENOSYS, ptr::null_mut());
        }
        if bytes(mode).is_some_and(|mode| mode.iter().any(|b| b"wa+".contains(b))) {
            note_outside(path);
        }
    }
    None
}

unsafe fn stream_anew(
    door: &'static str,
    path: *const c_char,
    mode: *const c_char,
    _: *mut FILE,
) -> Option<*mut FILE> {
    // SAFETY: freopen(3) takes a C string or null, and a C string.
    unsafe { stream(door, path, mode) }
}

fn stream_on(door: &'static str, fd: c_int, _: *const c_char) -> Option<*mut FILE> {
    is_simulated(fd).then(|| refused_pointer(door, libc::ENOSYS, ptr::null_mut()))?
}

unsafe fn scan(
    door: &'static str,
    path: *const c_char,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> Option<c_int> {
    // SAFETY: scandir(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::ENOSYS))?
}

unsafe fn walk(door: &'static str, path: *const c_char, _: *mut c_void, _: c_int) -> Option<c_int> {
    // SAFETY: ftw(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::ENOSYS))?
}

unsafe fn walk_with(
    door: &'static str,
    path: *const c_char,
    _: *mut c_void,
    _: c_int,
    _: c_int,
) -> Option<c_int> {
    // SAFETY: nftw(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::ENOSYS))?
}

unsafe fn special(door: &'static str, path: *const c_char, _: mode_t, _: dev_t) -> Option<c_int> {
    // SAFETY: mknod(2) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::EPERM))?
}

unsafe fn fifo(door: &'static str, path: *const c_char, _: mode_t) -> Option<c_int> {
    // SAFETY: mkfifo(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::EPERM))?
}

unsafe fn fifo_at(
    door: &'static str,
    dirfd: c_int,
    path: *const c_char,
    _: mode_t,
) -> Option<c_int> {
    // SAFETY: mkfifoat(3) takes a C string.
    (is_simulated(dirfd) || unsafe { on_disk(path) }).then(|| refused(door, libc::EPERM))?
}

unsafe fn watch(door: &'static str, _: c_int, path: *const c_char, _: u32) -> Option<c_int> {
    // SAFETY: inotify_add_watch(2) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door, libc::ENOSYS))?
}

/// Refuses a call that would wait in the kernel for a descriptor of the host, where no schedule
/// could wake the thread; `None` if it would not wait.
pub(super) fn unless_ready(door: &str, fd: c_int, events: c_short) -> Option<Errno> {
    world::enter(|world| {
        let mut one = pollfd { fd, events, revents: 0 };
        // SAFETY: the list has one entry; on the harness's side this is the kernel's.
        let ready = unsafe { libc::poll(&raw mut one, 1, 0) };
        // SAFETY: this command takes no argument.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        if ready != 0 || flags & libc::O_NONBLOCK != 0 {
            return None;
        }
        world.not_simulated(&format!("{door} that waits for descriptor {fd}"));
        Some(Errno::EAGAIN)
    })?
}

/// Waits for descriptors: a simulated one is always ready, as a regular file is; without any this
/// is a sleep; and what the host would have to wake is refused.
///
/// # Safety
/// `list` points to `count` entries.
unsafe fn wait(
    door: &'static str,
    (list, count): (*mut pollfd, nfds_t),
    timeout: Option<Duration>,
) -> Option<c_int> {
    let count = usize::try_from(count).ok()?;
    let list: &mut [pollfd] = match count {
        0 => &mut [],
        // SAFETY: as the caller says.
        _ => unsafe { std::slice::from_raw_parts_mut(list, count) },
    };
    if !list.iter().any(|entry| is_simulated(entry.fd)) {
        return wait_for_host(door, list, timeout);
    }
    let mut ready = 0;
    for entry in list {
        entry.revents = 0;
        if is_simulated(entry.fd) {
            let open = world::enter(|world| world.descriptors.get(entry.fd).is_some())?;
            let both = libc::POLLIN | libc::POLLOUT;
            entry.revents = if open { entry.events & both } else { libc::POLLNVAL };
        }
        ready += c_int::from(entry.revents != 0);
    }
    Some(ready)
}

fn wait_for_host(
    door: &'static str,
    list: &mut [pollfd],
    timeout: Option<Duration>,
) -> Option<c_int> {
    let ready = {
        let _harness = seam::harness();
        // SAFETY: the list has that many entries; on the harness's side this is the kernel's.
        unsafe { libc::poll(list.as_mut_ptr(), list.len() as nfds_t, 0) }
    };
    match timeout {
        // Nobody is there to make the descriptors ready, so that time runs out.
        Some(timeout) if ready == 0 => Some(answer(super::time::pause(door, timeout)?)),
        None if ready == 0 => refused(door, libc::EINTR),
        _ => Some(ready),
    }
}

unsafe fn poll(
    door: &'static str,
    list: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
) -> Option<c_int> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    // SAFETY: poll(2) takes a list of `count` entries.
    unsafe { wait(door, (list, count), timeout) }
}

unsafe fn poll_until(
    door: &'static str,
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    _: *const sigset_t,
) -> Option<c_int> {
    // SAFETY: ppoll(2) takes a time or null.
    let timeout = unsafe { timeout.as_ref() }.copied().and_then(clock::duration);
    // SAFETY: ppoll(2) takes a list of `count` entries.
    unsafe { wait(door, (list, count), timeout) }
}

/// A set of descriptors holds 1024 of the host's. Without any this is a sleep.
unsafe fn select(
    door: &'static str,
    count: c_int,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    timeout: *mut timeval,
) -> Option<c_int> {
    if count > 0 {
        return refused(door, libc::ENOSYS);
    }
    // SAFETY: select(2) takes a time or null.
    let timeout = unsafe { timeout.as_ref() }.copied()?;
    let nanos = timeout.tv_usec.checked_mul(1000)?;
    let duration = clock::duration(timespec { tv_sec: timeout.tv_sec, tv_nsec: nanos })?;
    Some(answer(super::time::pause(door, duration)?))
}

/// Regular files cannot be watched (epoll_ctl(2)); the kernel says the same of its own.
fn watch_descriptor(
    _: &'static str,
    _: c_int,
    _: c_int,
    fd: c_int,
    _: *mut libc::epoll_event,
) -> Option<c_int> {
    is_simulated(fd).then(|| answer(Err(Errno::EPERM)))
}

fn await_events(
    door: &'static str,
    _: c_int,
    _: *mut libc::epoll_event,
    _: c_int,
    timeout: c_int,
) -> Option<c_int> {
    (timeout != 0).then(|| refused(door, libc::ENOSYS))?
}

fn await_events_masked(
    door: &'static str,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout: c_int,
    _: *const sigset_t,
) -> Option<c_int> {
    await_events(door, epoll, events, most, timeout)
}
