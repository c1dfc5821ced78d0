//! The auxiliary vector: what the kernel told the process about itself when it started.
//!
//! The C library reads it where the kernel wrote it, on the stack of the first thread
//! (getauxval(3)). In a fork server it is changed there before any other code reads it.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// An entry: a type and a value.
type Entry = [u64; 2];

/// The first entry; null if the vector was not changed.
static FIRST: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());
/// How many entries there are, with the last, which ends the vector.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Hides what differs between two users or machines for reasons that no engine needs: the user, and
/// the vDSO, through which clocks and the processor's number could be read without a call. Returns
/// the address of the vDSO, or 0.
///
/// # Safety
/// `first` is the first entry of the vector that the kernel gave this process. Nothing else uses
/// the vector meanwhile.
pub(crate) unsafe fn simulate(first: *mut [u64; 2]) -> u64 {
    let mut vdso = 0;
    let mut count = 0;
    loop {
        // SAFETY: the vector ends with an entry of the type `AT_NULL`, and the walk ends there, by
        // this function's contract.
        let entry = unsafe { &mut *first.add(count) };
        count += 1;
        match entry[0] {
            libc::AT_NULL => break,
            libc::AT_UID | libc::AT_EUID | libc::AT_GID | libc::AT_EGID => entry[1] = 0,
            libc::AT_SYSINFO_EHDR => {
                vdso = entry[1];
                *entry = [libc::AT_IGNORE, 0];
            }
            _ => {}
        }
    }
    FIRST.store(first, Ordering::Relaxed);
    COUNT.store(count, Ordering::Relaxed);
    vdso
}

/// The vector as the kernel would show it; empty if it was not changed.
pub(crate) fn bytes() -> Vec<u8> {
    let first = FIRST.load(Ordering::Relaxed);
    let count = if first.is_null() { 0 } else { COUNT.load(Ordering::Relaxed) };
    // SAFETY: `simulate` was given a vector of this many entries, which lies on the stack of the
    // first thread below all frames, as long as the process lives.
    let entry = |at| unsafe { *first.add(at) };
    (0..count).flat_map(|at| entry(at).into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// Sets the sixteen random bytes that the kernel gave the process.
pub(crate) fn set_random(bytes: [u8; 16]) {
    let first = FIRST.load(Ordering::Relaxed);
    if first.is_null() {
        return;
    }
    // SAFETY: `getauxval` takes a number. The address is that of sixteen bytes on the stack of the
    // first thread below all frames (getauxval(3)), which the C library has read when it started.
    unsafe {
        let to = std::ptr::with_exposed_provenance_mut::<[u8; 16]>(
            libc::getauxval(libc::AT_RANDOM) as usize,
        );
        if !to.is_null() {
            to.write(bytes);
        }
    }
}
