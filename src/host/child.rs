//! A child: a forked process in which engine code runs, once, on a fresh thread.

use std::ffi::c_int;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use super::ending::{Ending, judge};
use super::note::{End, EndNote};
use super::region::Region;
use super::role;
use super::signals::{self, NOTED, leave, leave_now, note_panicked};
use super::{shelf, stderr, watch};
use crate::process::seam::altstack::AltStack;
use crate::process::seam::heap;
use crate::process::seam::kernel::next;
use crate::process::threads::holder;
use crate::process::world::timestamp;

pub use super::limits::Limits;

/// Bytes of private address space that a child may map and not use. The kernel counts both as one
/// (`RLIMIT_DATA`); the watch counts what is used.
const ADDRESSES: u64 = 1 << 40;

/// Bytes of a page, the unit in which the kernel counts memory on this machine.
const PAGE: u64 = 4096;

/// Runs `body` in a child and returns how that ended. The body sees a copy of the caller's memory
/// as it is now; it reports to the caller through `region`.
///
/// The child ends as soon as `body` returns: destructors of thread-locals do not run, and threads
/// that are still running end with it.
///
/// # Panics
/// If the caller is not an explorer of a [`ForkServer`](super::fork_server::ForkServer) on its only
/// thread, or if the system refuses another process.
pub fn run(region: &Region, limits: &Limits, body: impl FnOnce(&'static Region) + Send) -> Ending {
    assert!(role::is_fork_server(), "only an explorer of a fork server may fork a child");
    region.prepare();
    let (resident, private) = memory_in_use();
    let limit = private + limits.stack as u64 + limits.memory + ADDRESSES;
    match fork() {
        Err(error) => panic!("the system refused another process: {error}"),
        Ok(Fork::Child(parent)) => {
            // A panic that unwound out of here would run the explorer's code a second time.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                be(region, limits, (limit, resident), parent, body)
            }));
            leave_now(NOTED)
        }
        Ok(Fork::Parent(child)) => {
            let status = wait(child);
            stderr::drain(region.note());
            judge(status, region.note())
        }
    }
}

/// Runs `body` in this very process, on a fresh thread without limits, so that breakpoints work. If
/// it ends the process, it ends the caller too.
pub fn here(region: &Region, body: impl FnOnce(&'static Region) + Send) -> Ending {
    // SAFETY: the thread that borrows the region ends below, before this frame does; threads that
    // outlive the body must not use it, and a debugged explorer runs nothing afterwards.
    let region: &'static Region = unsafe { &*std::ptr::from_ref(region) };
    let ended = thread::scope(|scope| scope.spawn(move || body(region)).join());
    match ended {
        Ok(()) => Ending::Finished,
        Err(_) => {
            let note = signals::last_panic().unwrap_or_default();
            Ending::Panicked { message: note.message, location: note.location }
        }
    }
}

/// The main function of a child.
fn be(
    region: &Region,
    limits: &Limits,
    (memory, inherited): (u64, u64),
    parent: libc::pid_t,
    body: impl FnOnce(&'static Region) + Send,
) -> ! {
    // SAFETY: in this process the region is mapped until the end: it never returns to the frame
    // that owns it.
    let region: &'static Region = unsafe { &*std::ptr::from_ref(region) };
    let note = region.note();
    signals::write_into(note);
    die_with(parent);
    limit(libc::RLIMIT_DATA, memory, memory);
    heap::limit(limits.memory);
    shelf::free();
    // The watch ends a child long before: this is in case the watch cannot run.
    let seconds = limits.cpu.as_secs().saturating_add(10);
    limit(libc::RLIMIT_CPU, seconds, seconds.saturating_add(10));
    let engine = move || {
        holder::set_own();
        timestamp::arm();
        run_body(note, || body(region))
    };
    // SAFETY: the process ends before anything that the thread borrows.
    let started =
        unsafe { thread::Builder::new().stack_size(limits.stack).spawn_unchecked(engine) };
    if let Err(error) = started {
        note.set_panic(format_args!("a child's thread was refused: {error}"), format_args!(""));
        note.set_end(End::Panicked, 0);
        leave_now(NOTED);
    }
    watch::keep(limits, note, inherited)
}

/// The main function of its first thread. The thread ends the process itself, because waking
/// another one to do it would cost as much as all the rest.
fn run_body(note: &EndNote, body: impl FnOnce()) {
    // Without it a stack overflow is a plain SIGSEGV.
    let _stack = AltStack::new();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => {
            note.set_end(End::Finished, 0);
        }
        Err(payload) => {
            note_panicked(note, &*payload);
            // Its destructor is the engine's code, and might panic again.
            mem::forget(payload);
        }
    }
    leave(0)
}

/// The side of a fork that returned.
pub(crate) enum Fork {
    /// The parent, and its child's process id.
    Parent(libc::pid_t),
    /// The child, and its parent's process id.
    Child(libc::pid_t),
}

/// Forks the calling process, which has one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: `getpid` has no precondition.
    let own = unsafe { libc::getpid() };
    let fork = next!(fork() -> libc::pid_t);
    // SAFETY: fork servers and explorers have one thread, so no other thread holds a lock.
    match unsafe { fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child(own)),
        child => Ok(Fork::Parent(child)),
    }
}

/// Waits until a child has ended; returns its wait status.
pub(crate) fn wait(child: libc::pid_t) -> c_int {
    let mut status = 0;
    loop {
        let waitpid = next!(waitpid(libc::pid_t, *mut c_int, c_int) -> libc::pid_t);
        // SAFETY: the kernel writes one integer.
        if unsafe { waitpid(child, &mut status, 0) } == child {
            return status;
        }
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waiting for a child: {error}");
    }
}

/// Has the kernel kill this process when its parent ends, in whatever way.
pub(crate) fn die_with(parent: libc::pid_t) {
    // SAFETY: changes one attribute of the process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // The parent may have ended before that.
    // SAFETY: `getppid` has no precondition.
    if unsafe { libc::getppid() } != parent {
        leave_now(NOTED);
    }
}

fn limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // A limit that is refused stays as it was: the process may not raise a lower hard limit.
    // SAFETY: the kernel reads one structure.
    unsafe { libc::setrlimit(resource, &limit) };
}

/// Bytes of memory that this process has in use, and of private memory that it has mapped: a child
/// inherits both, and the engine did not allocate them.
fn memory_in_use() -> (u64, u64) {
    static FILE: AtomicI32 = AtomicI32::new(-1);
    if FILE.load(Ordering::Relaxed) < 0 {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: the path is a C string. The file stays open until the explorer ends.
        let fd = unsafe { libc::open(c"/proc/self/statm".as_ptr(), flags) };
        FILE.store(fd, Ordering::Relaxed);
    }
    let mut buffer = [0u8; 128];
    let fd = FILE.load(Ordering::Relaxed);
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let read = unsafe { libc::pread64(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    let text = buffer.get(..usize::try_from(read).unwrap_or(0)).unwrap_or_default();
    let pages = |at| {
        let number = text.split(|&b| b == b' ').nth(at).and_then(|n| std::str::from_utf8(n).ok());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * PAGE
    };
    // The second number of the file: pages in memory. The sixth: pages of data and stack.
    (pages(1), pages(5))
}
