//! Syscall user dispatch: raw system calls, which no symbol leads to, reach the doors all the same.
//!
//! The kernel hands every system call of a thread that does not come out of the C library to a
//! signal handler, which leads it to the door of its number (see
//! Documentation/admin-guide/syscall-user-dispatch.rst). That is per thread, and every clone and
//! fork switches it off again.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use super::kernel::next;

const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_ON: c_int = 1;

/// What the kernel reads at each call from elsewhere: `SYSCALL_DISPATCH_FILTER_BLOCK`, hand it
/// over.
static SELECTOR: u8 = 1;

/// Where the C library's code is, and how long: calls from there pass.
static LIBRARY: OnceLock<(usize, usize)> = OnceLock::new();

/// Looks for the C library's code; done once in the template, so that no leaf has to.
pub(crate) fn prepare() {
    LIBRARY.get_or_init(|| find_library().unwrap_or((0, 0)));
}

/// Hands the raw system calls of the calling thread over, from now on. Where the kernel refuses,
/// they go past the doors: the template has said so.
pub(crate) fn arm() {
    let Some(&(start, length)) = LIBRARY.get() else { return };
    if length > 0 {
        let prctl = next!(prctl(c_int, c_int, usize, usize, *const u8) -> c_int);
        // SAFETY: the selector is there for ever; the handler of the signal is in place.
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
    // SAFETY: the visitor gets the pointer that is passed here, and nobody else has it.
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
    // SAFETY: the loader says how many headers there are.
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
