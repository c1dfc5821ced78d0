//! Things that a faulty engine may do to its process and that safe code cannot.
#![expect(unsafe_code, reason = "the tests do to a process what a faulty engine might do")]

use std::mem;
use std::ptr;
use std::time::Duration;

pub(crate) fn write_to_null() {
    // SAFETY: none: the write is meant to end the process.
    unsafe { ptr::without_provenance_mut::<u32>(std::hint::black_box(8)).write_volatile(7) };
}

pub(crate) fn kill_self() {
    kill(std::process::id());
}

pub(crate) fn kill(process: u32) {
    // SAFETY: sends a signal.
    unsafe { libc::kill(process as libc::pid_t, libc::SIGKILL) };
}

pub(crate) fn poll_for_ever(fd: i32) {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: reads and writes one structure.
    unsafe { libc::poll(&mut polled, 1, -1) };
}

/// Uses CPU time.
pub(crate) fn burn(time: Duration) {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    while Duration::new(used.tv_sec as u64, used.tv_nsec as u32) < time {
        // SAFETY: writes one structure.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut used) };
    }
}

/// Whether the system lets this thread switch address-space randomisation off; the setting is
/// restored.
pub(crate) fn may_fix_addresses() -> bool {
    // SAFETY: changes an attribute of the calling thread, which matters to `exec` alone.
    unsafe {
        let before = libc::personality(0xffff_ffff);
        let may = libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) >= 0;
        libc::personality(before as libc::c_ulong);
        may
    }
}

pub(crate) fn let_children_inherit(fd: i32) {
    // SAFETY: changes a flag of a descriptor.
    unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
}

/// Limits the private memory of another process, or lifts the limit.
pub(crate) fn limit_memory(process: u32, bytes: Option<u64>) {
    let limit = libc::rlimit {
        rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: libc::RLIM_INFINITY,
    };
    let process = process as libc::pid_t;
    // SAFETY: reads one structure.
    let set = unsafe { libc::prlimit(process, libc::RLIMIT_DATA, &limit, ptr::null_mut()) };
    assert_eq!(set, 0);
}

pub(crate) fn signals_and_limits() -> String {
    let disposition = |signal| {
        // SAFETY: zero is a value of this plain structure, and the kernel writes one.
        let action = unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            libc::sigaction(signal, ptr::null(), &mut action);
            action
        };
        if action.sa_sigaction == libc::SIG_IGN { "ignored" } else { "default" }
    };
    let limit = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes one structure.
        unsafe { libc::getrlimit(resource, &mut limit) };
        limit.rlim_cur
    };
    format!(
        "pipe {}, child {}, core {}, stack {}",
        disposition(libc::SIGPIPE),
        disposition(libc::SIGCHLD),
        limit(libc::RLIMIT_CORE),
        limit(libc::RLIMIT_STACK),
    )
}
