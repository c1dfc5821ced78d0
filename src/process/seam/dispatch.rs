//! Syscall user dispatch: raw system calls, which use no symbol, reach the doors anyway.
//!
//! The kernel hands every system call of a thread that is made outside the C library to a signal
//! handler, which passes it to the door of its number (see
//! Documentation/admin-guide/syscall-user-dispatch.rst). That is set per thread, and every clone
//! and fork switches it off again.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use super::kernel::next;

const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_ON: c_int = 1;

/// The byte that the kernel reads at each call from outside: `SYSCALL_DISPATCH_FILTER_BLOCK`, hand
/// it over.
static SELECTOR: u8 = 1;

/// The start and the length of the C library's code: calls from there pass.
static LIBRARY: OnceLock<(usize, usize)> = OnceLock::new();

/// Looks for the C library's code; done once in the fork server, so that no child has to.
pub(crate) fn prepare() {
    LIBRARY.get_or_init(|| find_library().unwrap_or((0, 0)));
}

/// Has the kernel hand over the raw system calls of the calling thread from now on. If it refuses,
/// they go past the doors; the fork server has reported that.
pub(crate) fn arm() {
    let Some(&(start, length)) = LIBRARY.get() else { return };
    if length > 0 {
        let prctl = next!(prctl(c_int, c_int, usize, usize, *const u8) -> c_int);
        // SAFETY: the selector is a static, and the handler of the signal is installed.
        unsafe {
            prctl(
                PR_SET_SYSCALL_USER_DISPATCH,
                PR_SYS_DISPATCH_ON,
                start,
                length,
                &raw const SELECTOR,
            );
        }
    }
}

/// The executable part of the object that holds the C library's `syscall`.
fn find_library() -> Option<(usize, usize)> {
    let inside = next!(syscall(i64) -> i64) as *const () as usize;
    let mut search = Search { inside, found: None };
    // SAFETY: the visitor gets the pointer that is passed here, and is its only user.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

struct Search {
    inside: usize,
    found: Option<(usize, usize)>,
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid entry, and `data` is the search.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader gives the number of the headers.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let segment = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
        .map(|header| {
            let start = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
            (start, header.p_memsz as usize)
        })
        .find(|&(start, length)| (start..start + length).contains(&search.inside));
    search.found = segment;
    c_int::from(segment.is_some())
}

/// A system call as it was made: its number and its six arguments.
pub(crate) type RawCall = [i64; 7];

/// Serves a system call that was handed over: `serve` gets the call from the registers, and its
/// answer becomes the call's result.
///
/// # Safety
/// `context` is the `ucontext_t` of a handler of this dispatch's signal.
pub(crate) unsafe fn answer(context: *mut c_void, serve: unsafe fn(RawCall) -> i64) {
    // SAFETY: the caller passes the context that the kernel gave its handler.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let call = [
        libc::REG_RAX,
        libc::REG_RDI,
        libc::REG_RSI,
        libc::REG_RDX,
        libc::REG_R10,
        libc::REG_R8,
        libc::REG_R9,
    ]
    .map(|name| registers[name as usize]);
    // SAFETY: the engine made this very call, and so keeps its contract.
    registers[libc::REG_RAX as usize] = unsafe { serve(call) };
}
