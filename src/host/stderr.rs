//! Standard error inside a fork server: a small file in memory, of which the end is kept.
//!
//! The C library's words before it aborts go there without passing any door.

use std::ffi::c_int;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use super::note::EndNote;

/// The watch empties the file beyond this length: a chatty engine must not fill the memory.
const LONGEST: i64 = 1 << 20;

/// Whether standard error is kept in memory.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Keeps standard error in memory from now on. Returns whether that was possible.
pub(crate) fn capture() -> bool {
    let kept = keep_in_memory();
    KEPT.store(kept, Ordering::Relaxed);
    kept
}

fn status(fd: c_int) -> Option<libc::stat64> {
    // SAFETY: zero is a value of this plain structure.
    let mut status: libc::stat64 = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes into a structure of the type that it expects.
    let known = unsafe { libc::fstat64(fd, &mut status) } == 0;
    known.then_some(status)
}

fn keep_in_memory() -> bool {
    // SAFETY: the name is a C string; the descriptors are this function's own, except 2, which
    // nothing else in a process that just began uses.
    unsafe {
        let file = libc::memfd_create(c"stderr".as_ptr(), 0);
        if file < 0 {
            return false;
        }
        let moved = libc::dup2(file, 2);
        libc::close(file);
        // Several processes write to it, each at its end.
        moved == 2 && libc::fcntl(2, libc::F_SETFL, libc::O_APPEND) == 0
    }
}

/// Writes to the process's standard error.
pub(crate) fn write(bytes: &[u8]) {
    // Bytes that cannot be written are lost, as on a closed pipe.
    // SAFETY: the kernel reads from a slice.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// Moves a child's output from the file into its note.
pub(crate) fn drain(note: &EndNote) {
    if !KEPT.load(Ordering::Relaxed) {
        return;
    }
    let Some(size) = status(2).map(|s| s.st_size).filter(|&size| size > 0) else { return };
    let mut tail = [0; 4096];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let read = unsafe {
        libc::pread64(2, tail.as_mut_ptr().cast(), tail.len(), (size - tail.len() as i64).max(0))
    };
    note.add_words(&tail[..usize::try_from(read).unwrap_or(0)]);
    empty();
}

/// Empties the file if it has become too long.
pub(crate) fn bound() {
    if KEPT.load(Ordering::Relaxed) && status(2).is_some_and(|s| s.st_size > LONGEST) {
        empty();
    }
}

fn empty() {
    // SAFETY: the file is ours, and every writer appends.
    unsafe { libc::ftruncate64(2, 0) };
}
