//! Access to the engine's memory that may fail, as the kernel's own access does: a wild pointer is
//! an error of the call (`EFAULT`), and no fault of the harness.
//!
//! Two routines touch the memory, and the handler of the fault knows where they begin and end: it
//! makes them return early. So an access that succeeds costs no system call.

use std::arch::global_asm;
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::slice;

/// Bytes in a page of memory.
const PAGE: usize = 4096;

global_asm!(
    // Reads a byte at `rdi` and one in each page after it, up to `rsi`; returns the address where
    // it failed, or 0.
    ".p2align 4",
    ".globl crashpoint_touch, crashpoint_touch_failed, crashpoint_copy, crashpoint_copy_failed",
    ".hidden crashpoint_touch, crashpoint_touch_failed, crashpoint_copy, crashpoint_copy_failed",
    "crashpoint_touch:",
    "2:",
    "mov al, byte ptr [rdi]",
    "and rdi, -4096",
    "add rdi, 4096",
    "cmp rdi, rsi",
    "jbe 2b",
    "xor eax, eax",
    "ret",
    "crashpoint_touch_failed:",
    "mov rax, rdi",
    "ret",
    // Copies `rdx` bytes from `rsi` to `rdi`; returns how many it did not copy.
    ".p2align 4",
    "crashpoint_copy:",
    "mov rcx, rdx",
    "rep movsb",
    "crashpoint_copy_failed:",
    "mov rax, rcx",
    "ret",
);

unsafe extern "sysv64" {
    fn crashpoint_touch(from: usize, to: usize) -> usize;
    fn crashpoint_touch_failed();
    fn crashpoint_copy(to: *mut u8, from: *const u8, length: usize) -> usize;
    fn crashpoint_copy_failed();
}

/// How many of the bytes from an address on can be read.
#[inline]
pub(crate) fn readable(from: *const c_void, length: usize) -> usize {
    if length == 0 {
        return 0;
    }
    if !is_in_process(from, length) {
        return 0;
    }
    // SAFETY: the routine only reads, and a fault of it is caught (`fix_up`).
    match unsafe { crashpoint_touch(from.addr(), from.addr() + length - 1) } {
        0 => length,
        failed => failed - from.addr(),
    }
}

/// Whether all of these bytes have addresses that a process may have, as `access_ok` of the kernel
/// checks before anything else.
#[inline]
pub(crate) fn is_in_process(from: *const c_void, length: usize) -> bool {
    from.addr().checked_add(length).is_some_and(|end| end <= TOP)
}

/// The end of the addresses that a process may have.
const TOP: usize = (1 << 47) - PAGE;

/// Copies bytes to memory of the engine; returns how many it could copy.
///
/// # Safety
/// As far as it can be written to, nothing of the harness is in `to..to + from.len()`.
#[inline]
pub(crate) unsafe fn copy_out(to: *mut u8, from: &[u8]) -> usize {
    if !is_in_process(to.cast(), from.len()) {
        return 0;
    }
    // SAFETY: the routine writes only to `to`, whose bytes are the engine's, by this function's
    // contract; a fault of it is caught (`fix_up`).
    from.len() - unsafe { crashpoint_copy(to, from.as_ptr(), from.len()) }
}

/// A value in the engine's memory; `None` if it cannot be read, as at a null pointer.
///
/// # Safety
/// Any bytes are a valid `T`, and nothing changes these during the call.
pub(crate) unsafe fn value<T: Copy>(from: *const T) -> Option<T> {
    let size = size_of::<T>();
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the value is ours; a fault is caught (`fix_up`). Once all bytes are copied it is a
    // valid `T`, by this function's contract.
    unsafe {
        let left = crashpoint_copy(value.as_mut_ptr().cast(), from.cast(), size);
        (left == 0).then(|| value.assume_init())
    }
}

/// Stores a value in the engine's memory; returns whether that could be written to.
///
/// # Safety
/// Nothing of the harness is there.
pub(crate) unsafe fn store<T: Copy>(to: *mut T, value: T) -> bool {
    // SAFETY: the routine only writes to `to`, by this function's contract; a fault is caught.
    unsafe { crashpoint_copy(to.cast(), (&raw const value).cast(), size_of::<T>()) == 0 }
}

/// The bytes of a C string; `None` if it cannot be read to its end.
///
/// # Safety
/// Nothing changes the string during `'a`.
pub(crate) unsafe fn string<'a>(from: *const c_void) -> Option<&'a [u8]> {
    let start = from.cast::<u8>();
    let mut length = 0;
    loop {
        let at = start.wrapping_add(length);
        let part = PAGE - at.addr() % PAGE;
        if readable(at.cast(), part) < part {
            return None;
        }
        // SAFETY: these bytes were just read, and nothing changes them, by this function's
        // contract.
        let bytes = unsafe { slice::from_raw_parts(at, part) };
        if let Ok(rest) = CStr::from_bytes_until_nul(bytes) {
            // SAFETY: all bytes up to here were read.
            return Some(unsafe { slice::from_raw_parts(start, length + rest.count_bytes()) });
        }
        length += part;
    }
}

/// Whether a fault was one of the routines above, which then return early: the handler of the
/// signal is to return, too.
///
/// # Safety
/// `context` is the `ucontext_t` of the handler of a signal.
pub(crate) unsafe fn fix_up(signal: c_int, context: *mut c_void) -> bool {
    if !matches!(signal, libc::SIGSEGV | libc::SIGBUS) {
        return false;
    }
    // SAFETY: by this function's contract.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let counter = &mut registers[libc::REG_RIP as usize];
    let routines = [
        (crashpoint_touch as *const (), crashpoint_touch_failed as *const ()),
        (crashpoint_copy as *const (), crashpoint_copy_failed as *const ()),
    ];
    for (start, failed) in routines.map(|(start, failed)| (start as i64, failed as i64)) {
        if (start..failed).contains(counter) {
            *counter = failed;
            return true;
        }
    }
    false
}
