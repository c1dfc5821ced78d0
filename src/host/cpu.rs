//! The lease of a CPU: it keeps the processes of one fork server on one CPU.
//!
//! At any time one thread of a case runs: the baton goes from thread to thread, and control from
//! the explorer to its child and back. On one CPU such a hand-over is a context switch; between two
//! it is an interrupt and cold caches, several times as expensive, and the kernel's scheduler
//! cannot know that. But two cases on the same CPU while another is idle would be worse. So a CPU
//! is leased, by a lock on a file. The client holds the lease: the fork server's memory does not
//! depend on which CPU was free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;

/// A CPU that no other fork server on this machine uses while this exists.
pub(crate) struct Lease {
    cpu: usize,
    _lock: File,
}

impl Lease {
    /// Leases the first free CPU of those allowed to this process; `None` if none is free.
    pub(crate) fn take() -> Option<Self> {
        allowed().into_iter().find_map(|cpu| Some(Self { cpu, _lock: lock(cpu).ok()? }))
    }

    /// The set of this CPU alone.
    pub(crate) fn set(&self) -> libc::cpu_set_t {
        let mut set = no_cpu();
        // SAFETY: `allowed` found the CPU in a set of this size.
        unsafe { libc::CPU_SET(self.cpu, &mut set) };
        set
    }
}

/// Keeps the calling thread, and threads and processes that it starts from now on, on a set of
/// CPUs. Nothing happens if that is refused: see [`is_pinned`]. Makes one system call and nothing
/// else.
pub(crate) fn pin(set: &libc::cpu_set_t) {
    // SAFETY: the kernel reads one structure.
    unsafe { libc::sched_setaffinity(0, size_of_val(set), set) };
}

/// Whether the calling thread runs on one CPU only.
pub(crate) fn is_pinned() -> bool {
    // SAFETY: counts the bits of a set.
    affinity().is_some_and(|set| unsafe { libc::CPU_COUNT(&set) } == 1)
}

/// The model of the processor, as its maker calls it, with family, model and stepping. Programs ask
/// the processor itself what it can do, without a call, and may choose other code by that: a digest
/// belongs to a model.
pub(crate) fn model() -> String {
    model_in(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn model_in(text: &str) -> String {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.trim() == name).map_or("?", |(_, value)| value.trim())
    };
    let [family, model, stepping] = ["cpu family", "model", "stepping"].map(value);
    format!("{} ({family}, {model}, {stepping})", value("model name"))
}

fn no_cpu() -> libc::cpu_set_t {
    // SAFETY: zero is a value of this plain structure.
    unsafe { mem::zeroed() }
}

/// The CPUs allowed to the calling thread.
fn affinity() -> Option<libc::cpu_set_t> {
    let mut set = no_cpu();
    // SAFETY: the kernel writes at most as many bytes as the structure has.
    let known = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } == 0;
    known.then_some(set)
}

fn allowed() -> Vec<usize> {
    let Some(set) = affinity() else { return Vec::new() };
    // SAFETY: the index is below the number of bits in the set.
    (0..8 * size_of_val(&set)).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Locks the file of a CPU. The file may be another user's: read access is enough for a lock, and
/// in a directory that everyone may write to, only the first user can create it.
fn lock(cpu: usize) -> io::Result<File> {
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
            // Another process may have created it meanwhile.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_the_processor_is_read_from_its_first_block() {
        let text = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: A: B\n\
                    stepping\t: 7\n\nprocessor\t: 1\nmodel\t\t: 9\n";
        assert_eq!(model_in(text), "A: B (6, 85, 7)");
        assert_eq!(model_in(""), "? (?, ?, ?)");
        assert!(!model().contains('?'), "{}", model());
    }

    #[test]
    fn a_cpu_is_leased_once_at_a_time() {
        // Other processes may hold leases too: this checks only that no two of ours are the same.
        let leases: Vec<Lease> = std::iter::from_fn(Lease::take).take(64).collect();
        assert!(leases.len() <= allowed().len());
        let mut cpus: Vec<usize> = leases.iter().map(|lease| lease.cpu).collect();
        cpus.dedup();
        assert_eq!(cpus.len(), leases.len());
    }
}
