//! The kernel's number of the thread that holds the baton: the watch looks at that thread first.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

static HOLDER: AtomicI32 = AtomicI32::new(0);

/// The thread that runs, as `gettid` numbers it; 0 before there is one.
pub(crate) fn get() -> c_int {
    HOLDER.load(Ordering::Relaxed)
}

/// The thread of this number runs from now on.
pub(crate) fn set(thread: c_int) {
    HOLDER.store(thread, Ordering::Relaxed);
}

/// The calling thread runs from now on.
pub(crate) fn set_own() {
    // SAFETY: `gettid` has no precondition.
    set(unsafe { libc::gettid() });
}
