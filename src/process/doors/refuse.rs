//! Doors for calls that are not simulated. Each fails with an error and names the call, so that a
//! run reports the calls that it could not follow and does not judge the engine by them.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use libc::{FILE, dev_t, mode_t, pid_t};

use crate::disk::Errno;
use crate::process::seam;
use crate::process::seam::kernel::set_errno;
use crate::process::world;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;

use super::{Returned, answer, bytes, doors, note_outside, on_disk};

doors! {
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
        -> c_int = scan, may unwind;
    fn scandir64(path: *const c_char, list: *mut c_void, filter: *mut c_void, order: *mut c_void)
        -> c_int = scan, may unwind;
    fn ftw(path: *const c_char, visit: *mut c_void, open: c_int) -> c_int = walk, may unwind;
    fn ftw64(path: *const c_char, visit: *mut c_void, open: c_int) -> c_int = walk, may unwind;
    fn nftw(path: *const c_char, visit: *mut c_void, open: c_int, flags: c_int) -> c_int
        = walk_with, may unwind;
    fn nftw64(path: *const c_char, visit: *mut c_void, open: c_int, flags: c_int) -> c_int
        = walk_with, may unwind;
    fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int = special;
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int = fifo;
    fn mkfifoat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int = fifo_at;
    fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int = watch;
}

/// `vfork` cannot be passed on: its child would return through our frame and destroy it. Its
/// callers may rely on no more than `fork` does.
// SAFETY: the C library declares the symbol with this type.
#[unsafe(no_mangle)]
extern "C" fn vfork() -> pid_t {
    // SAFETY: fork(2) has no precondition; this is the door above.
    unsafe { libc::fork() }
}

/// Notes that `call` is not simulated, and makes it fail with `errno`.
pub(super) fn refused<R: Returned>(call: &str, errno: c_int) -> Option<R> {
    refusal(call, errno).map(|errno| answer(Err(errno)))
}

fn refusal(call: &str, errno: c_int) -> Option<Errno> {
    world::enter(|world| world.not_simulated(call))?;
    Some(Errno(errno))
}

/// As [`refused`], for functions that return a pointer.
fn refused_pointer<T>(call: &str, errno: c_int, failure: *mut T) -> Option<*mut T> {
    let errno = refusal(call, errno)?;
    set_errno(errno.0);
    Some(failure)
}

fn process(door: &'static Door) -> Option<pid_t> {
    refused(door.name, libc::ENOSYS)
}

fn spawn(
    door: &'static Door,
    _: *mut pid_t,
    _: *const c_char,
    _: *const c_void,
    _: *const c_void,
    _: *const *mut c_char,
    _: *const *mut c_char,
) -> Option<c_int> {
    Some(refusal(door.name, libc::ENOSYS)?.0)
}

fn execute(
    door: &'static Door,
    _: *const c_char,
    _: *const *const c_char,
    _: *const *const c_char,
) -> Option<c_int> {
    refused(door.name, libc::ENOSYS)
}

fn execute_found(door: &'static Door, _: *const c_char, _: *const *const c_char) -> Option<c_int> {
    refused(door.name, libc::ENOSYS)
}

fn shell(door: &'static Door, _: *const c_char) -> Option<c_int> {
    refused(door.name, libc::ENOSYS)
}

fn pipe_to_shell(door: &'static Door, _: *const c_char, _: *const c_char) -> Option<*mut FILE> {
    refused_pointer(door.name, libc::ENOSYS, ptr::null_mut())
}

/// Passes on a signal that the engine sends to itself, or to a group. The simulated machine has no
/// other process: a stored id of an earlier epoch leads to none.
fn signal(_: &'static Door, pid: pid_t, signal: c_int) -> Option<c_int> {
    let own = world::enter(|world| world.pid)?;
    if pid != own && pid > 0 {
        set_errno(libc::ESRCH);
        return Some(-1);
    }
    let _harness = seam::harness();
    // SAFETY: kill(2) has no precondition; on the harness's side `getpid` is the kernel's.
    Some(unsafe { libc::kill(if pid == own { libc::getpid() } else { pid }, signal) })
}

unsafe fn stream(
    door: &'static Door,
    path: *const c_char,
    mode: *const c_char,
) -> Option<*mut FILE> {
    // SAFETY: fopen(3) takes two C strings.
    unsafe {
        if on_disk(path) {
            return refused_pointer(door.name, libc::ENOSYS, ptr::null_mut());
        }
        if bytes(mode).is_some_and(|mode| mode.iter().any(|b| b"wa+".contains(b))) {
            note_outside(path);
        }
    }
    None
}

unsafe fn stream_anew(
    door: &'static Door,
    path: *const c_char,
    mode: *const c_char,
    _: *mut FILE,
) -> Option<*mut FILE> {
    // SAFETY: freopen(3) takes a C string or null, and a C string.
    unsafe { stream(door, path, mode) }
}

fn stream_on(door: &'static Door, fd: c_int, _: *const c_char) -> Option<*mut FILE> {
    is_simulated(fd).then(|| refused_pointer(door.name, libc::ENOSYS, ptr::null_mut()))?
}

unsafe fn scan(
    door: &'static Door,
    path: *const c_char,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> Option<c_int> {
    // SAFETY: scandir(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::ENOSYS))?
}

unsafe fn walk(
    door: &'static Door,
    path: *const c_char,
    _: *mut c_void,
    _: c_int,
) -> Option<c_int> {
    // SAFETY: ftw(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::ENOSYS))?
}

unsafe fn walk_with(
    door: &'static Door,
    path: *const c_char,
    _: *mut c_void,
    _: c_int,
    _: c_int,
) -> Option<c_int> {
    // SAFETY: nftw(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::ENOSYS))?
}

unsafe fn special(door: &'static Door, path: *const c_char, _: mode_t, _: dev_t) -> Option<c_int> {
    // SAFETY: mknod(2) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::EPERM))?
}

unsafe fn fifo(door: &'static Door, path: *const c_char, _: mode_t) -> Option<c_int> {
    // SAFETY: mkfifo(3) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::EPERM))?
}

unsafe fn fifo_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    _: mode_t,
) -> Option<c_int> {
    // SAFETY: mkfifoat(3) takes a C string.
    (is_simulated(dirfd) || unsafe { on_disk(path) }).then(|| refused(door.name, libc::EPERM))?
}

unsafe fn watch(door: &'static Door, _: c_int, path: *const c_char, _: u32) -> Option<c_int> {
    // SAFETY: inotify_add_watch(2) takes a C string.
    unsafe { on_disk(path) }.then(|| refused(door.name, libc::ENOSYS))?
}
