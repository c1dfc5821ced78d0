//! The lease of a CPU.
//!
//! At any moment one thread of a case runs: the baton goes from thread to thread, and from the
//! explorer to its leaf and back. On one CPU such a hand-over is a switch; between two it is an
//! interrupt and cold caches, several times as dear, and the scheduler cannot know. But two cases
//! on the same CPU while another is idle would be worse, so that a CPU is leased: by a lock on a
//! file, which ends with the last process that inherited it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;

/// A CPU that no other template on this machine has, for as long as this lives in any process.
pub(super) struct Lease {
    /// Its number.
    pub(super) cpu: u32,
    _lock: File,
}

impl Lease {
    /// Leases the first free CPU of those allowed to this process, and stays on it; `None` if
    /// none is free, or if locks or affinity are refused.
    pub(super) fn take() -> Option<Self> {
        allowed().into_iter().find_map(|cpu| {
            let lock = lock(cpu).ok()?;
            pin(cpu).then_some(Self { cpu, _lock: lock })
        })
    }
}

fn allowed() -> Vec<u32> {
    // SAFETY: zero is a value of this plain structure: no CPU.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most as many bytes as the structure has.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Vec::new();
    }
    let bits = u32::try_from(8 * size_of_val(&set)).unwrap_or(0);
    // SAFETY: the index is below the number of bits in the set.
    (0..bits).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) }).collect()
}

fn pin(cpu: u32) -> bool {
    // SAFETY: zero is a value of this plain structure: no CPU.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `allowed` found the CPU in a set of this size.
    unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    // SAFETY: the kernel reads one structure.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) == 0 }
}

/// Locks the file of a CPU. It may be another user's: to read it is enough for a lock, and in a
/// directory that all write to, only the first user may create it.
fn lock(cpu: u32) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("crashpoint-cpu-{cpu}.lock"));
    let open = |create: bool| {
        OpenOptions::new()
            .read(true)
            .write(create)
            .create_new(create)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
    };
    let file = match open(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Somebody else may have been faster.
            open(true).or_else(|_| open(false))?
        }
        other => other?,
    };
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}
