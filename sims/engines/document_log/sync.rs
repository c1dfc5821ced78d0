//! The storage whose writes are durable when they return.

use std::ops::ControlFlow;
use std::path::Path;

use super::batch::{Lines, mark};
use super::core::Core;
use super::generation::Pointer;
use super::{Bugs, Counts, LogEntry, LogError, Storage};

/// Every write is durable when it returns.
///
/// After a failed fsync, or a failure that leaves it unknown which file has the log's name, every
/// write is refused until the log is opened again.
#[derive(Debug)]
pub struct SyncStorage {
    core: Core,
}

impl SyncStorage {
    /// Opens the log at `path`; a missing one is empty, and is created by the first write. Opening
    /// only reads.
    ///
    /// # Errors
    /// `Io` if it cannot be read; `NotALog`, `Corrupted` or `Unsupported` if it is not such a log,
    /// or not a whole one; `Invalid` if the path has no file name.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_with(path, Bugs::default())
    }

    /// [`open`](Self::open) with planted bugs.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_with(path: &Path, bugs: Bugs) -> Result<Self, LogError> {
        Ok(Self { core: Core::open(path, bugs)? })
    }

    fn write(&self, lines: &Lines) -> Result<Vec<Pointer>, LogError> {
        let writing = self.core.writing();
        let pointers = self.core.append(&lines.bytes, &lines.extents)?;
        match self.core.write_out(&writing) {
            Ok(true) => {}
            Ok(false) => self.core.sync(&writing)?,
            Err(error) => {
                self.core.retract(&pointers, &lines.bytes);
                return Err(error);
            }
        }
        Ok(pointers)
    }
}

impl Storage for SyncStorage {
    fn write_entry(&self, entry: &LogEntry) -> Result<Pointer, LogError> {
        let mut pointers = self.write(&Lines::of(entry)?)?;
        Ok(pointers.remove(0))
    }

    fn write_batch(&self, entries: &[LogEntry]) -> Result<Vec<Pointer>, LogError> {
        let lines = Lines::batch(entries, self.core.next_batch(), self.core.bugs)?;
        if self.core.bugs.batches_interleave {
            let parts = lines.split(entries)?;
            let written: Result<Vec<_>, _> = parts.iter().map(|part| self.write(part)).collect();
            return Ok(written?.concat());
        }
        self.write(&lines)
    }

    fn refused(&self, collection: &str) -> Result<(), LogError> {
        match self.core.bugs.refused_batch_begun {
            true => self.write(&mark(collection)?).map(drop),
            false => Ok(()),
        }
    }

    fn replay(
        &self,
        visit: &mut dyn FnMut(LogEntry, Pointer) -> ControlFlow<()>,
    ) -> Result<u64, LogError> {
        self.core.replay(visit)
    }

    fn read_at(&self, pointer: &Pointer) -> Result<LogEntry, LogError> {
        self.core.read_at(pointer)
    }

    fn flush(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        // The lines that this process wrote are durable; those that it found need not be.
        let writing = self.core.writing();
        if self.core.generation().own() { Ok(()) } else { self.core.sync(&writing) }
    }

    fn compact(&self) -> Result<(), LogError> {
        self.core.compact()
    }

    fn counts(&self) -> Counts {
        self.core.counts()
    }

    fn bugs(&self) -> Bugs {
        self.core.bugs
    }
}
