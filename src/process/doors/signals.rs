//! Doors of signals: to whom they are sent, and those that the harness needs.
//!
//! The traps, the watch of threads that spin and the maps of files live from signals. The engine
//! may not block these. An action of its own for a fault is kept, and the harness's handler runs
//! it.

use std::ffi::{c_int, c_long};

use libc::{pid_t, sigset_t};

use crate::disk::Errno;

use crate::process::seam;
use crate::process::seam::kernel::{Six, set_errno, system_call};
use crate::process::seam::reach;
use crate::process::threads::spin;
use crate::process::world;
use crate::process::world::CallResult;
use crate::process::world::actions::{Action, FAULTS};
use crate::process::world::door::Door;

use super::{answer, doors, error_number};

doors! {
    fn kill(pid: pid_t, signal: c_int) -> c_int = signal;
    fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int = mask_process;
    fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int
        = mask_thread;
}

/// A set of signals as the kernel has it: signal 1 is the lowest bit.
type Set = u64;

/// The bytes of a set.
const SET: usize = size_of::<Set>();

fn bit(signal: c_int) -> Set {
    1 << (signal - 1)
}

/// The signals that the engine cannot block: the harness's, and the two that the C library never
/// lets a program block (nptl(7)).
fn reserved() -> Set {
    let faults = FAULTS.into_iter().map(bit).fold(0, |set, signal| set | signal);
    faults | bit(libc::SIGSYS) | bit(spin::signal()) | bit(32) | bit(33)
}

unsafe fn mask_process(
    _: &'static Door,
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> Option<c_int> {
    // SAFETY: sigprocmask(2) takes two sets, each of which may be null.
    Some(answer(unsafe { change_mask(how, set.cast(), old.cast()) }))
}

unsafe fn mask_thread(
    _: &'static Door,
    how: c_int,
    set: *const sigset_t,
    old: *mut sigset_t,
) -> Option<c_int> {
    // SAFETY: pthread_sigmask(3) takes two sets, each of which may be null.
    Some(error_number(unsafe { change_mask(how, set.cast(), old.cast()) }))
}

/// rt_sigprocmask(2), by number.
///
/// # Safety
/// The contract of the call.
pub(super) unsafe fn mask([how, set, old, size, ..]: Six) -> Option<c_long> {
    if size != SET {
        return Some(answer::<i64>(Err(Errno::EINVAL)));
    }
    // SAFETY: the call takes two sets of that size, each of which may be null.
    Some(answer(unsafe { change_mask(how as c_int, set as *const Set, old as *mut Set) }))
}

/// Changes the signal mask of the calling thread, which keeps the reserved signals.
///
/// # Safety
/// `set` is null or a set, and `old` is null or has room for one, as far as there is memory.
unsafe fn change_mask(how: c_int, set: *const Set, old: *mut Set) -> CallResult {
    let number = libc::SYS_rt_sigprocmask;
    let wanted = if set.is_null() {
        None
    } else {
        // SAFETY: any bytes are a set, which nothing changes meanwhile.
        let set = unsafe { reach::value(set) }.ok_or(Errno::EFAULT)?;
        Some(if how == libc::SIG_UNBLOCK { set } else { set & !reserved() })
    };
    let set = wanted.as_ref().map_or(0, |set| std::ptr::from_ref(set).addr());
    // SAFETY: the set is null or our own, and there is room for the old one.
    kernel(unsafe { system_call(number, [how as usize, set, old as usize, SET, 0, 0]) })
}

/// The result of a system call.
fn kernel(result: i64) -> CallResult {
    if result < 0 { Err(Errno(i32::try_from(-result).unwrap_or(libc::EINVAL))) } else { Ok(result) }
}

/// rt_sigaction(2), in which all functions that set an action end.
///
/// # Safety
/// The contract of the call.
pub(super) unsafe fn action([signal, new, old, size, ..]: Six) -> Option<c_long> {
    let signal = signal as c_int;
    if size != SET {
        return Some(answer::<i64>(Err(Errno::EINVAL)));
    }
    let new = match new {
        0 => None,
        // SAFETY: any bytes are an action, which nothing changes meanwhile.
        new => match unsafe { reach::value(new as *const Action) } {
            Some(action) => Some(action),
            None => return Some(answer::<i64>(Err(Errno::EFAULT))),
        },
    };
    let outcome = if FAULTS.contains(&signal) {
        let kept = world::enter(|world| world.actions.replace(signal, new))?;
        // SAFETY: the call takes room for an action, or null.
        let stored = old == 0 || unsafe { reach::store(old as *mut Action, kept) };
        if stored { Ok(0) } else { Err(Errno::EFAULT) }
    } else if (signal == libc::SIGSYS || signal == spin::signal()) && new.is_some() {
        let name = if signal == libc::SIGSYS { "SIGSYS" } else { "SIGRTMAX-3" };
        world::enter(|world| world.not_simulated(&format!("sigaction of {name}")))?;
        Err(Errno::EINVAL)
    } else {
        let new = new.map(|new| Action { mask: new.mask & !reserved(), ..new });
        let new = new.as_ref().map_or(0, |new| std::ptr::from_ref(new).addr());
        let call = [signal as usize, new, old, SET, 0, 0];
        // SAFETY: the new action is null or a copy of the caller's, which differs in its mask.
        kernel(unsafe { system_call(libc::SYS_rt_sigaction, call) })
    };
    Some(answer(outcome))
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
