//! Shared memory that a child writes its log into and its parent reads.

use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::note::EndNote;
use crate::log::{Record, encode};

/// Bytes of address space that [`Region::new`] maps for a log. Memory is used as it is written.
pub const CAPACITY: usize = 1 << 30;

/// A reset returns the pages of a log of at least this length to the system; those of a shorter one
/// are cheaper to keep than to fault in again.
const KEEP: usize = 4 << 20;

const PAGE: usize = 4096;

/// The part of the mapping before the log.
#[repr(C)]
struct Head {
    used: AtomicUsize,
    /// One thread at a time appends; under a schedule, no thread ever waits for that.
    busy: AtomicBool,
    note: EndNote,
}

/// Where the log begins.
const START: usize = size_of::<Head>().next_multiple_of(PAGE);

/// Shared memory: a log that grows, and a note about the end of the process that writes it.
///
/// Made before a fork; the child appends, and the parent reads once the child has ended.
pub struct Region {
    base: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the head is atomics; log bytes are written under `busy`, and read only below `used`,
// where nothing changes until `reset`, which takes the region for itself.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// A record did not fit: the log is at its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log of a run is full")]
pub struct Full;

impl Region {
    /// An empty region with space for a log of [`CAPACITY`] bytes.
    ///
    /// # Errors
    /// The error of `mmap`.
    pub fn new() -> io::Result<Self> {
        Self::with_capacity(CAPACITY)
    }

    /// An empty region with space for a log of `capacity` bytes.
    ///
    /// # Errors
    /// The error of `mmap`.
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        let length = START.saturating_add(capacity);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel picks touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, capacity })
    }

    fn head(&self) -> &Head {
        // SAFETY: the mapping begins with a head, page-aligned, zeroed by the kernel, and lives
        // as long as `self`; all of its fields are atomics, which other processes may change.
        unsafe { self.base.cast::<Head>().as_ref() }
    }

    /// The note about the end of the child.
    pub(crate) fn note(&self) -> &EndNote {
        &self.head().note
    }

    /// Prepares the region for a child that appends to the log: clears the note, and the flag of a
    /// writer that was killed inside `append`.
    pub(crate) fn prepare(&self) {
        self.head().busy.store(false, Ordering::Release);
        self.note().clear();
    }

    fn log(&self, range: Range<usize>) -> *mut [u8] {
        debug_assert!(range.start <= range.end && range.end <= self.capacity);
        // SAFETY: the log is `capacity` bytes long, and the range is within it.
        let start = unsafe { self.base.as_ptr().add(START + range.start) };
        ptr::slice_from_raw_parts_mut(start, range.len())
    }

    fn used(&self) -> usize {
        self.head().used.load(Ordering::Acquire).min(self.capacity)
    }

    /// Appends a record. It is visible as a whole or, if the process ends meanwhile, not at all.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; the log then does not change.
    pub fn append(&self, record: &Record<'_>) -> Result<(), Full> {
        let head = self.head();
        while head.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let used = self.used();
        // SAFETY: no other slice covers bytes beyond `used`, and `busy` excludes other writers.
        let space = unsafe { &mut *self.log(used..self.capacity) };
        let written = encode(record, space);
        head.used.store(used + written.unwrap_or(0), Ordering::Release);
        head.busy.store(false, Ordering::Release);
        written.map(drop).ok_or(Full)
    }

    /// The log so far, as [`crate::log::records`] takes it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: bytes below `used` were written whole and do not change until `reset`, which no
        // borrow outlives.
        unsafe { &*self.log(0..self.used()) }
    }

    /// Empties the log, for the next child. No other process may use the region meanwhile. Takes
    /// time for large logs only, whose pages are returned to the system.
    pub fn reset(&mut self) {
        let used = self.used();
        if used >= KEEP {
            let log = self.log(0..used.next_multiple_of(PAGE).min(self.capacity));
            // If the kernel refuses, the pages merely stay.
            // SAFETY: the pages belong to this mapping, and `&mut self` means that no slice of them
            // is borrowed.
            unsafe { libc::madvise(log.cast(), log.len(), libc::MADV_REMOVE) };
        }
        self.head().used.store(0, Ordering::Release);
        self.prepare();
    }
}

impl crate::process::world::Sink for Region {
    fn append(&self, record: &Record<'_>) -> bool {
        Self::append(self, record).is_ok()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), START + self.capacity) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;
    use crate::log::{Mark, Payload, records};

    fn observed(bytes: &[u8]) -> Record<'_> {
        Record { at: Time(7), payload: Payload::Mark(Mark::Observed(bytes)) }
    }

    #[test]
    fn records_are_read_in_the_order_in_which_they_were_appended() {
        let region = Region::with_capacity(1 << 20).expect("memory");
        for bytes in [&b"a"[..], b"", b"ccc"] {
            region.append(&observed(bytes)).expect("fits");
        }
        let log: Vec<_> = records(region.bytes()).collect();
        assert_eq!(log, [observed(b"a"), observed(b""), observed(b"ccc")]);
    }

    #[test]
    fn a_record_that_does_not_fit_changes_nothing() {
        let region = Region::with_capacity(64).expect("memory");
        region.append(&observed(b"fits")).expect("fits");
        let before = region.bytes().to_vec();
        assert_eq!(region.append(&observed(&[7; 64])), Err(Full));
        assert_eq!(region.bytes(), before);
        region.append(&observed(b"again")).expect("fits");
    }

    #[test]
    fn a_reset_leaves_nothing_of_a_small_or_a_large_log() {
        let mut region = Region::new().expect("memory");
        for size in [100, 8 << 20] {
            region.append(&observed(&vec![1; size])).expect("fits");
            region.reset();
            assert!(region.bytes().is_empty());
            region.append(&observed(b"new")).expect("fits");
            assert_eq!(records(region.bytes()).collect::<Vec<_>>(), [observed(b"new")]);
            region.reset();
        }
    }

    #[test]
    fn a_writer_that_was_killed_inside_append_does_not_block_the_next() {
        let region = Region::with_capacity(1 << 10).expect("memory");
        region.head().busy.store(true, Ordering::Release);
        region.prepare();
        region.append(&observed(b"next")).expect("fits");
        assert_eq!(records(region.bytes()).count(), 1);
    }

    #[test]
    fn threads_that_append_at_once_lose_nothing() {
        let region = Region::with_capacity(1 << 20).expect("memory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).try_for_each(|_| region.append(&observed(b"x"))));
            }
        });
        assert_eq!(records(region.bytes()).count(), 2000);
    }
}
