//! Traps for the system calls that pass the doors: those of code that calls the kernel itself, and
//! those that the C library makes on its own behalf.
//!
//! A seccomp filter (`filter`) has the kernel raise `SIGSYS` for them. The handler serves the call
//! as a door would, if the thread is on the engine's side, and makes it otherwise.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::{fmt, io, ptr};

use libc::sock_fprog;

use crate::log::Mark;
use crate::process::seam::kernel::{Six, origin, system_call};
use crate::process::seam::{self, Side, library};
use crate::process::threads::inner_locks;
use crate::process::world::{self, EXIT_LEAKED, exit};

use super::calls::{Trap, find};
use super::filter::{Addresses, filter};
use super::syscall::raw;

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

/// Bytes from the start of a thread's control block in which the C library keeps the thread's id.
const CONTROL_BLOCK: usize = 4096;

/// Sets the traps for the calling thread and all that it starts from now on; they cannot be
/// removed again. The calling thread alone may fork from now on.
///
/// # Errors
/// What the kernel said: it is too old, or a container forbids it.
pub fn install() -> Result<(), TrapsRefused> {
    let _harness = seam::harness();
    let refused = |what| move |source| TrapsRefused { what, source };
    handle().map_err(refused("sigaction"))?;
    let unknown = || refused("looking for the C library")(io::ErrorKind::NotFound.into());
    // SAFETY: `pthread_self` has no precondition.
    let thread = unsafe { libc::pthread_self() } as usize;
    let addresses = Addresses {
        own: origin(),
        library: library::code().ok_or_else(unknown)?,
        thread: thread..thread + CONTROL_BLOCK,
    };
    if !addresses.fit() {
        return Err(unknown());
    }
    let filter = filter(&addresses);
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

fn handle() -> io::Result<()> {
    let handler: extern "C" fn(c_int, *const Info, *mut c_void) = on_trap;
    // SAFETY: all zeros are a valid action; the rest is set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    // The handler runs on the thread's own stack and may interrupt itself: a call may enter any
    // door, and another thread may run before it returns.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that `SA_SIGINFO` asks for.
    checked(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) })
}

/// The part of `siginfo_t` that the kernel fills for `SIGSYS`.
#[repr(C)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    address: *const c_void,
    number: c_int,
    architecture: u32,
}

thread_local! {
    /// The thread is serving a trapped call. A door that does not serve it passes it on to the C
    /// library, where it is trapped again: that time it is the kernel's.
    static SERVING: Cell<bool> = const { Cell::new(false) };
}

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;

/// Runs in a signal handler, on the thread that made the call and in its place.
extern "C" fn on_trap(_: c_int, info: *const Info, context: *mut c_void) {
    // SAFETY: the kernel gives the handler a valid `siginfo_t`, and `SIGSYS` fills this part.
    let (number, architecture) = unsafe { ((*info).number, (*info).architecture) };
    // SAFETY: the kernel gives the handler the registers of the call.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let arguments =
        [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9]
            .map(|name| registers[name as usize].cast_unsigned() as usize);
    let inside = registers[libc::REG_RIP as usize].cast_unsigned() as usize;
    let result = if architecture == X86_64 {
        // SAFETY: the call was made with these very arguments, so they are valid for it.
        unsafe { serve(number.into(), arguments, inside) }
    } else {
        world::enter(|world| world.not_simulated("a system call for 32 bits"));
        -i64::from(libc::ENOSYS)
    };
    registers[libc::REG_RAX as usize] = result;
    keep_settings(number.into(), context);
}

/// Serves or makes a trapped call of the code at `origin`; returns the kernel's kind of result.
///
/// # Safety
/// The arguments are valid for the number.
unsafe fn serve(number: i64, arguments: Six, origin: usize) -> i64 {
    if seam::side() == Side::Engine && !SERVING.replace(true) {
        // SAFETY: the arguments are valid for the number, by this function's contract.
        let result = unsafe {
            let inside = number == libc::SYS_futex && library::has(origin);
            if inside && inner_locks::is_of_a_lock(&arguments) {
                let _harness = seam::harness();
                inner_locks::futex(arguments).unwrap_or_else(|| system_call(number, arguments))
            } else {
                raw(number, arguments)
            }
        };
        SERVING.set(false);
        return result;
    }
    forbid_simulated(number, arguments);
    // SAFETY: the same. A call that returns twice is not trapped here: `clone` for a process is the
    // engine's, and is refused.
    unsafe { system_call(number, arguments) }
}

/// A call that goes to the kernel has no simulated descriptor: one of our own doors has lost it.
/// Reporting it must not allocate, for it may have come out of `malloc`.
fn forbid_simulated(number: i64, arguments: Six) {
    use crate::process::world::descriptors::is_simulated;
    let Some(row) = find(number) else { return };
    let Trap::Descriptor(positions) = row.trap else { return };
    if !positions.iter().any(|&at| is_simulated(arguments[usize::from(at)] as c_int)) {
        return;
    }
    let hook = world::try_enter(|world| {
        world.mark(Mark::NotSimulated(row.name(), &[]));
        world.hooks.leaked
    });
    match hook {
        Some(leaked) => leaked(row.name()),
        // The world is in use: one of its own doors made the call.
        None => exit(EXIT_LEAKED),
    }
}

/// The return from a handler restores the thread's signal mask and its alternate stack. A call that
/// has set one of them must last longer.
fn keep_settings(number: i64, context: &mut libc::ucontext_t) {
    match number {
        libc::SYS_rt_sigprocmask => {
            let to = (&raw mut context.uc_sigmask).addr();
            // SAFETY: reads the mask, of eight bytes, into one that is longer.
            unsafe { system_call(number, [0, 0, to, 8, 0, 0]) };
        }
        libc::SYS_sigaltstack => {
            let to = (&raw mut context.uc_stack).addr();
            // SAFETY: reads the stack's description into a place of its type.
            unsafe { system_call(number, [0, to, 0, 0, 0, 0]) };
        }
        _ => {}
    }
}
