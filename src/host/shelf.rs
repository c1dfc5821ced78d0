//! Address space that every leaf finds free: what a leaf maps is at the same place, whatever its
//! explorer has mapped.
//!
//! Linux maps at the highest gap that is large enough. A template takes a long stretch, so that
//! what its explorers map is below it, and each leaf begins with giving it back.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of address space: more than a leaf maps, and no whole number of huge pages, for which
/// Linux would leave a gap above.
const LENGTH: usize = (1 << 40) + 4096;

/// Where the stretch begins; null where there is none.
static SHELF: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Takes the stretch. Where address space is limited there is none, and what a leaf maps is below
/// what its explorer has mapped.
pub(crate) fn take() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the kernel picks touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), LENGTH, libc::PROT_NONE, flags, -1, 0) };
    if base != libc::MAP_FAILED {
        SHELF.store(base, Ordering::Relaxed);
    }
}

/// Gives the stretch back. From now on the harness's heap keeps out of it.
pub(crate) fn clear() {
    // SAFETY: sets a number.
    unsafe { libc::mallopt(libc::M_MMAP_MAX, 0) };
    let base = SHELF.load(Ordering::Relaxed);
    if !base.is_null() {
        // SAFETY: the mapping is `take`'s, and nobody uses it.
        unsafe { libc::munmap(base, LENGTH) };
    }
}
