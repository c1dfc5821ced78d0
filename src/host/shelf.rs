//! Address space that is free in every child: a child's maps get the same addresses, whatever its
//! explorer has mapped.
//!
//! Linux maps at the highest gap that is large enough. A fork server reserves a long range, so that
//! the maps of its explorers are below it, and each child begins by unmapping it.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of address space: more than a child maps, and no whole number of huge pages, for which
/// Linux would leave a gap above.
const LENGTH: usize = (1 << 40) + 4096;

/// The start of the range; null if there is none.
static SHELF: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Reserves the range. Where address space is limited there is none, and a child's maps are below
/// those of its explorer.
pub(crate) fn reserve() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the kernel picks touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), LENGTH, libc::PROT_NONE, flags, -1, 0) };
    if base != libc::MAP_FAILED {
        SHELF.store(base, Ordering::Relaxed);
    }
}

/// Whether the range is reserved.
pub(crate) fn exists() -> bool {
    !SHELF.load(Ordering::Relaxed).is_null()
}

/// Unmaps the range. From now on the harness's heap keeps out of it.
pub(crate) fn free() {
    // SAFETY: `mallopt` takes two numbers.
    unsafe { libc::mallopt(libc::M_MMAP_MAX, 0) };
    let base = SHELF.load(Ordering::Relaxed);
    if !base.is_null() {
        // SAFETY: the mapping is `reserve`'s, and unused.
        unsafe { libc::munmap(base, LENGTH) };
    }
}
