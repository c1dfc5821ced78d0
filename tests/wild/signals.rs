//! Signals as engines in C use them.
#![expect(unsafe_code, reason = "the C library's functions are unsafe to call")]

use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::c::raw;

/// Blocks all signals in two ways, and makes a raw call after each.
pub(crate) fn raw_call_with_all_blocked(file: &str) -> String {
    let path = std::ffi::CString::new(file).expect("no NUL in it");
    let all = u64::MAX;
    let mut results = Vec::new();
    // SAFETY: sets of signals, of eight bytes for the kernel.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, null_mut());
        let (here, at) = (libc::AT_FDCWD as usize, path.as_ptr() as usize);
        results.push(raw(libc::SYS_faccessat, [here, at, 0, 0, 0, 0]));
        let block = libc::SIG_BLOCK as usize;
        raw(libc::SYS_rt_sigprocmask, [block, (&raw const all) as usize, 0, 8, 0, 0]);
        results.push(raw(libc::SYS_faccessat, [here, at, 0, 0, 0, 0]));
        let mut now: libc::sigset_t = zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut now);
        let blocked = libc::sigismember(&raw const now, libc::SIGUSR1) == 1;
        format!("{results:?} {blocked}")
    }
}

static PAGE: AtomicUsize = AtomicUsize::new(0);
static FAULTS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn mend(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes the place of the fault, which is on our page.
    unsafe {
        let page = PAGE.load(Ordering::Relaxed);
        let is_ours = (*info).si_addr().addr() & !4095 == page && signal == libc::SIGSEGV;
        FAULTS.fetch_add(usize::from(is_ours), Ordering::Relaxed);
        libc::mprotect(page as *mut c_void, 4096, libc::PROT_READ | libc::PROT_WRITE);
    }
}

/// Handles its own faults, as a garbage collector's write barrier does.
pub(crate) fn own_handler() -> String {
    // SAFETY: a page of our own, and a handler of that type.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(null_mut(), 4096, libc::PROT_READ, flags, -1, 0);
        PAGE.store(page.addr(), Ordering::Relaxed);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = mend as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSEGV, &raw const action, null_mut());
        for _ in 0..2 {
            libc::mprotect(page, 4096, libc::PROT_READ);
            page.cast::<u8>().write_volatile(7);
        }
        let mut kept: libc::sigaction = zeroed();
        libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut kept);
        let same = kept.sa_sigaction == action.sa_sigaction;
        format!("{} {same}", FAULTS.load(Ordering::Relaxed))
    }
}

/// Handles the signals that the harness needs.
pub(crate) fn reserved() -> String {
    let set = |signal| {
        // SAFETY: an action of that type.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = mend as *const () as usize;
            libc::sigaction(signal, &raw const action, null_mut());
        }
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
    };
    format!("{} {}", set(libc::SIGSYS), set(libc::SIGRTMAX() - 3))
}
