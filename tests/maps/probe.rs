//! Accesses to memory that may fault.
#![expect(unsafe_code, reason = "an access that faults has no safe form")]

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// The signal of the last access that faulted; 0 without one, -1 where none is expected.
static FAULT: AtomicI32 = AtomicI32::new(-1);

/// Both accesses are instructions of this many bytes.
const LENGTH: i64 = 2;

extern "C" fn skip(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if FAULT.swap(signal, Ordering::Relaxed) == -1 {
        // SAFETY: with the default restored, the fault ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: the kernel passes the context of the access, which is skipped.
    unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += LENGTH;
    }
}

/// Installs the handlers; to be called before anything is mapped.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: zero is a value of this plain structure; the handler has the right type.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = skip as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    });
}

fn outcome<T>(access: impl FnOnce() -> T) -> Result<T, c_int> {
    FAULT.store(0, Ordering::Relaxed);
    let value = access();
    match FAULT.swap(-1, Ordering::Relaxed) {
        0 => Ok(value),
        signal => Err(signal),
    }
}

/// Reads a byte; the signal if that faults.
pub(crate) fn load(at: usize) -> Result<u8, c_int> {
    outcome(|| {
        let byte: u8;
        // SAFETY: the access faults or has no effect but its value. `mov al, [rdi]` has two bytes.
        unsafe { asm!("mov al, byte ptr [rdi]", in("rdi") at, out("al") byte) };
        byte
    })
}

/// Writes a byte; the signal if that faults.
pub(crate) fn store(at: usize, byte: u8) -> Result<(), c_int> {
    outcome(|| {
        // SAFETY: the tests store only to memory that they have mapped. `mov [rdi], al` has two
        // bytes.
        unsafe { asm!("mov byte ptr [rdi], al", in("rdi") at, in("al") byte) };
    })
}
