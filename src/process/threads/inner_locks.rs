//! Waits for the locks inside the C library: of a stream, of its heap, of the loader.
//!
//! The holder of such a lock may be a thread of the engine that waits for the baton: then the
//! waiter must yield it. Or it is a thread that runs without the baton (the harness's watch, a
//! thread that begins), which releases the lock in real time: then the waiter must only wait, and
//! the schedule must not notice, because real time decided that there was a wait at all. The two
//! are distinguished by whether any other thread of the process is awake.

use std::ffi::c_int;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use super::baton;
use crate::process::seam::kernel::{Six, system_call};
use crate::process::world;
use crate::process::world::schedule::WaitFor;

/// Whether a futex call from inside the C library is one of its locks'. Other waits (with a limit
/// of time, or by a mask, as of a semaphore) are for another thread of the engine: the schedule's.
pub(crate) fn is_of_a_lock(arguments: &Six) -> bool {
    let [_, operation, _, time, ..] = *arguments;
    match operation as c_int & !libc::FUTEX_PRIVATE_FLAG {
        libc::FUTEX_WAIT => time == 0,
        operation => operation == libc::FUTEX_WAKE,
    }
}

/// Serves a futex call of a lock; `None` if the kernel shall.
///
/// # Safety
/// The contract of futex(2).
pub(crate) unsafe fn futex(arguments: Six) -> Option<i64> {
    let [word, operation, value, ..] = arguments;
    let operation = operation as c_int & !libc::FUTEX_PRIVATE_FLAG;
    match operation {
        libc::FUTEX_WAIT if baton::several() && baton::own() != 0 => {
            // SAFETY: the word is valid and aligned, by the contract of futex(2).
            Some(unsafe { wait(word as *mut u32, value as u32) })
        }
        libc::FUTEX_WAKE if baton::own() != 0 => {
            let woken = wake(word, value);
            // SAFETY: the contract of futex(2).
            let others = unsafe { system_call(libc::SYS_futex, arguments) };
            Some(woken + others.max(0))
        }
        _ => None,
    }
}

/// Waits until the word may have changed.
///
/// # Safety
/// The word is valid and aligned.
unsafe fn wait(word: *mut u32, value: u32) -> i64 {
    // SAFETY: the word is valid and aligned, by this function's contract.
    let changed = || unsafe { AtomicU32::from_ptr(word) }.load(Ordering::SeqCst) != value;
    loop {
        if changed() {
            return -i64::from(libc::EAGAIN);
        }
        if others_sleep() {
            // They do nothing until they are woken, so this is their state for good.
            if changed() {
                return -i64::from(libc::EAGAIN);
            }
            baton::wait(WaitFor::Word(word.addr(), u32::MAX), None);
            return 0;
        }
        nap();
    }
}

/// Wakes threads that yielded the baton in [`wait`]. It is no scheduling point: whether there is
/// anything to wake may depend on real time.
fn wake(word: usize, most: usize) -> i64 {
    let waits = |on: &WaitFor| matches!(on, WaitFor::Word(at, _) if *at == word);
    let woken = world::enter(|world| world.schedule.wake(most, waits));
    world::length(woken.unwrap_or(0))
}

/// Lets the others run for a moment of real time.
fn nap() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000 };
    // SAFETY: reads one structure.
    unsafe { system_call(libc::SYS_nanosleep, [(&raw const time).addr(), 0, 0, 0, 0, 0]) };
}

/// Whether all other threads of the process are asleep in the kernel. The watch only sleeps while
/// it holds none of these locks.
fn others_sleep() -> bool {
    // SAFETY: neither call takes an argument.
    let (own, process) = unsafe {
        (
            system_call(libc::SYS_gettid, [0; 6]) as c_int,
            system_call(libc::SYS_getpid, [0; 6]) as c_int,
        )
    };
    baton::tids().chain([process]).filter(|&thread| thread != own).all(is_asleep)
}

/// Whether a thread sleeps, or is gone.
fn is_asleep(thread: c_int) -> bool {
    let mut path = [0_u8; 64];
    if write!(&mut path[..], "/proc/self/task/{thread}/stat\0").is_err() {
        return false;
    }
    let mut buffer = [0_u8; 512];
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let here = libc::AT_FDCWD as usize;
    // SAFETY: the path is a C string, and the buffer has room for as many bytes.
    let read = unsafe {
        let fd = system_call(libc::SYS_openat, [here, path.as_ptr().addr(), flags, 0, 0, 0]);
        if fd < 0 {
            return true;
        }
        let to = buffer.as_mut_ptr().expose_provenance();
        let read = system_call(libc::SYS_read, [fd as usize, to, buffer.len(), 0, 0, 0]);
        system_call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]);
        usize::try_from(read).unwrap_or(0)
    };
    // The name in parentheses may hold any byte; the state is the letter after it.
    let stat = &buffer[..read];
    let state = stat.iter().rposition(|&byte| byte == b')').and_then(|at| stat.get(at + 2));
    state.is_none_or(|state| b"SZX".contains(state))
}
