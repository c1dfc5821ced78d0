//! System calls by number, from the door `syscall` and from the traps. The table of calls says what
//! serves each.

use std::ffi::c_long;

use crate::process::seam::kernel::{Six, errno, set_errno, system_call};
use crate::process::seam::{self, Side};
use crate::process::world::door::Door;
use crate::process::world::maps;

use super::calls::find;
use super::doors;

// The function is variadic. By the calling convention of x86-64 it may be defined with as many
// register arguments as the longest call has; those that the caller left out are not read.
doors! {
    fn syscall(
        number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize
    ) -> c_long = by_number;
}

#[expect(clippy::too_many_arguments, reason = "a system call has six")]
unsafe fn by_number(
    _: &'static Door,
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> Option<c_long> {
    // SAFETY: the caller of syscall(2) gives the arguments that the kernel documents for the
    // number: its pointers are valid for what the call reads and writes.
    unsafe { (find(number)?.serve)([a, b, c, d, e, f]) }
}

/// Serves a system call that did not come through the C library's functions. Returns the kernel's
/// kind of result, with an error as a negative number.
///
/// # Safety
/// The arguments are those that the kernel documents for the number: their pointers are valid for
/// what the call reads and writes.
pub(super) unsafe fn raw(number: c_long, arguments: Six) -> i64 {
    let before = errno();
    let row = find(number).filter(|_| seam::side() == Side::Engine);
    // SAFETY: the arguments are valid for the number, by this function's contract.
    let served = row.and_then(|row| unsafe { (row.serve)(arguments) });
    let pass = || {
        // SAFETY: the same; the kernel gets what the engine would have given it.
        let result = unsafe { system_call(number, arguments) };
        if result < 0 {
            set_errno(i32::try_from(-result).unwrap_or(0));
        }
        result
    };
    let answer = match served {
        Some(-1) => -i64::from(errno()),
        Some(result) => result,
        None if seam::side() == Side::Engine && maps::any() => {
            maps::host_call(&arguments, pass, true)
        }
        None => pass(),
    };
    set_errno(before);
    answer
}
