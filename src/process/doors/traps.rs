//! Traps for system calls that bypass the doors, from code that calls the kernel directly.
//!
//! A seccomp filter catches each call of two tables: some calls wherever they are made, others if
//! their first argument is a simulated descriptor. The kernel would only return `EBADF`, and an
//! engine might continue as if the disk had failed.

use std::ffi::{c_int, c_void};
use std::{fmt, io, ptr};

use libc::{sock_filter, sock_fprog};

use crate::log::Mark;

use crate::process::seam::{self, dispatch};
use crate::process::world::descriptors::FIRST;
use crate::process::world::{self, EXIT_LEAKED, exit};

use super::descriptor_calls::{DESCRIPTOR_CALLS, TRAPPED, trapped_call};
use super::syscall;

/// Why the traps could not be set. A run continues without them.
#[derive(Debug, thiserror::Error)]
pub struct TrapsRefused {
    what: &'static str,
    source: io::Error,
}

impl fmt::Display for TrapsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system calls past the doors go unnoticed: {} failed: {}", self.what, self.source)
    }
}

/// Sets the traps for the calling thread and all that it starts from now on; they cannot be
/// removed again. A trapped call is marked in the log as not simulated, and ends the process
/// through the world's hook.
///
/// # Errors
/// What the kernel said: it is too old, or a container forbids it.
pub fn install() -> Result<(), TrapsRefused> {
    let _harness = seam::harness();
    let refused = |what| move |source| TrapsRefused { what, source };
    handle().map_err(refused("sigaction"))?;
    dispatch::prepare();
    let filter = filter();
    let program = sock_fprog {
        len: u16::try_from(filter.len()).expect("the filter is short"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: both calls take numbers, and the second also the filter, which the kernel copies.
    unsafe {
        checked(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
            .map_err(refused("PR_SET_NO_NEW_PRIVS"))?;
        checked(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program))
            .map_err(refused("PR_SET_SECCOMP"))
    }
}

fn checked(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The offsets of a system call's parts in `struct seccomp_data`, which the filter reads.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;

/// The filter. Most calls have a small first argument, or a pointer, and pass after a few steps.
fn filter() -> Vec<sock_filter> {
    let (always, calls) = (TRAPPED.len() as u8, DESCRIPTOR_CALLS.len() as u8);
    let load = |offset| step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, offset);
    let jump = |kind, yes, no, k| step((libc::BPF_JMP | kind | libc::BPF_K) as u16, yes, no, k);
    let end = |verdict| step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, verdict);
    let mut filter =
        vec![load(ARCHITECTURE), jump(libc::BPF_JEQ, 0, always + calls + 5, X86_64), load(NUMBER)];
    for (at, &(number, _)) in TRAPPED.iter().enumerate() {
        let left = always - at as u8;
        filter.push(jump(libc::BPF_JEQ, left + calls + 4, 0, number as u32));
    }
    filter.extend([
        load(FIRST_ARGUMENT),
        jump(libc::BPF_JGE, 0, calls + 2, FIRST.cast_unsigned()),
        // From this number on the argument is a negative `int`.
        jump(libc::BPF_JGE, calls + 1, 0, 1 << 31),
        load(NUMBER),
    ]);
    for (at, &(number, _)) in DESCRIPTOR_CALLS.iter().enumerate() {
        let left = calls - at as u8;
        filter.push(jump(libc::BPF_JEQ, left, 0, number as u32));
    }
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    filter.push(end(libc::SECCOMP_RET_TRAP));
    filter
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn handle() -> io::Result<()> {
    let handler: extern "C" fn(c_int, *const Trap, *mut c_void) = on_trap;
    // SAFETY: all zeros are a valid action; the rest is set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    // The handler runs on the thread's own stack and may interrupt itself: a call that is handed
    // over may enter any door, and another thread may run before it returns.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that `SA_SIGINFO` asks for.
    checked(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) })
}

/// The part of `siginfo_t` that the kernel fills for `SIGSYS`.
#[repr(C)]
struct Trap {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    address: *const c_void,
    number: c_int,
    architecture: u32,
}

/// Runs in a signal handler. A call that is handed over goes to its door, like any other. Reporting
/// a trapped call must not allocate, for the call may have come out of `malloc`.
extern "C" fn on_trap(_: c_int, trap: *const Trap, context: *mut c_void) {
    /// `SYS_USER_DISPATCH`: the call was not trapped, only handed over.
    const HANDED_OVER: c_int = 2;
    // SAFETY: the kernel gives the handler a valid `siginfo_t`, and `SIGSYS` fills this part.
    let (number, code) = unsafe { ((*trap).number, (*trap).code) };
    if code == HANDED_OVER {
        // SAFETY: the kernel gives the handler the registers of the call.
        unsafe { dispatch::answer(context, syscall::raw) };
        return;
    }
    let name = trapped_call(number.into()).unwrap_or("raw system call");
    let hook = world::try_enter(|world| {
        world.mark(Mark::NotSimulated(name));
        world.hooks.leaked
    });
    match hook {
        Some(leaked) => leaked(name),
        // The world is in use: one of its own doors made the call.
        None => exit(EXIT_LEAKED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_ends_in_both_verdicts_and_no_jump_leaves_it() {
        let filter = filter();
        for (at, step) in filter.iter().enumerate() {
            if u32::from(step.code) & 0x07 == libc::BPF_JMP {
                let farthest = at + 1 + usize::from(step.jt.max(step.jf));
                assert!(farthest < filter.len(), "step {at}");
            }
        }
    }
}
