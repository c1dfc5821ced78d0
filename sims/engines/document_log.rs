//! A log of JSON documents: one line per entry, rewritten by compaction, with a snapshot next to it
//! that a load reads instead of the lines that it covers.
//!
//! # Format
//!
//! | file | content |
//! |---|---|
//! | `NAME` | the log: entries, one per line, `{"cmd":..,"collection":..,"key":..,"value":..}` |
//! | `NAME.snapshot.bin` | the entries that the log began with ("MOLTSNAP"), written by [`Storage::compact`] |
//! | `backup/NAME.snapshot.bin.SECOND.bak` | the last few snapshots before that |
//!
//! ```text
//! BASE       key: sum of the lines that the log began with; value: their number and bytes
//! INSERT     the document `key` of `collection` is `value`
//! DELETE     it is gone                     DROP    the whole collection is
//! INDEX      the field `key` is indexed     SCHEMA  `value` is the collection's schema
//! TX_BEGIN   the following entries count once there is a TX_COMMIT with the same key
//! ```
//!
//! The format is that of the crate `moltendb-core` 0.5.1, which skips `BASE`, a command that it
//! does not know; its logs load here, interleaved batches included, and the other way round.
//! Encrypted logs are refused.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | a write to a [`SyncStorage`] | survives power loss, with all before it |
//! | a write to an [`AsyncStorage`] | survives the process after at most 50 ms and the time of a write, with all before it |
//! | [`Storage::flush`] | survives the process, with all before it |
//! | [`Storage::sync`], [`Storage::compact`] | survives power loss, with all before it |
//!
//! A crash always leaves a prefix of the writes; of a batch all or nothing. A damaged snapshot is
//! ignored: the log has all that it has.
//!
//! # How the log is written
//!
//! Only the process that wrote a file appends to it. The first write after an open, and the first
//! after one that failed half way, replace the log as a compaction does: a new file is written
//! aside, synced, renamed over the old one, and the directory synced. So nothing ever follows a
//! torn line, no byte is written twice, and nothing depends on the page cache's content after a
//! sync that failed in an earlier process. Opening a log only reads.
//!
//! A compaction writes the live lines aside while other threads continue to write; their lines are
//! added at the end, while the writers wait.
//!
//! # Limits of the format
//!
//! - Lines have no checksum. Damage inside a string that leaves the line valid is noticed in the
//!   lines that the log began with, and nowhere else.
//! - Damage that looks like a lost sector or a torn last line is treated as one. Stale blocks,
//!   which some file systems expose after a crash, do not look like that: they are reported.
//! - A refused batch of the origin swallows the entries written to its collection until the next
//!   batch, here as in the origin: nothing in the log distinguishes them.

mod background;
mod batch;
mod bugs;
mod core;
mod documents;
mod entry;
mod generation;
mod history;
mod lines;
mod live;
mod place;
mod renewal;
mod snapshot;
mod sync;

use std::io;
use std::ops::ControlFlow;

pub use background::{AsyncStorage, FLUSH_AFTER};
pub use bugs::Bugs;
pub use documents::{Documents, Item};
pub use entry::LogEntry;
pub use generation::Pointer;
pub use sync::SyncStorage;

/// An error of this module's calls.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("document log I/O error")]
    Io(#[from] io::Error),
    /// The file is not a document log.
    #[error("not a document log")]
    NotALog,
    /// The log has a feature that this version does not support.
    #[error("document log with {0}, which is not supported")]
    Unsupported(String),
    /// The log has damage that no crash explains.
    #[error("document log damaged at line {line}, byte {offset}: {what}")]
    Corrupted {
        /// The line, from 1.
        line: u64,
        /// The byte where it begins.
        offset: u64,
        /// The kind of damage.
        what: String,
    },
    /// A line has changed since it was found.
    #[error("document log changed at byte {offset}: {what}")]
    Changed {
        /// The byte where the line begins.
        offset: u64,
        /// The difference.
        what: String,
    },
    /// The entry or the path is not possible for such a log.
    #[error("invalid entry: {0}")]
    Invalid(String),
    /// The stored document is not older.
    #[error("conflict: {collection}/{key} has version {stored}, the new one {given}")]
    Conflict {
        /// The collection.
        collection: String,
        /// The document.
        key: String,
        /// The version of the stored document; 0 if it has none.
        stored: u64,
        /// The version of the one that was to replace it.
        given: u64,
    },
    /// The call is refused because of an earlier error.
    #[error("document log refuses writes after an earlier error: {0}; open it again")]
    Refused(String),
}

/// The size of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of times that this process replaced the file.
    pub generation: u64,
    /// Lines, including those in memory.
    pub lines: u64,
    /// Lines that the log began with.
    pub base_lines: u64,
    /// Bytes, including those in memory.
    pub bytes: u64,
    /// Bytes that are in memory only.
    pub queued: u64,
    /// Why the last snapshot could not be written: a load then reads the log alone.
    pub snapshot_error: Option<String>,
}

/// A log to write to and to read from, by several threads at once.
pub trait Storage: Send + Sync {
    /// Appends an entry; returns its place.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written; `Io` if the file system returned an error: the entry is
    /// not in the log that this storage shows, but may be there when it is opened again. `Refused`
    /// after an earlier error.
    fn write_entry(&self, entry: &LogEntry) -> Result<Pointer, LogError>;

    /// Appends all of these or none; returns the place of each.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn write_batch(&self, entries: &[LogEntry]) -> Result<Vec<Pointer>, LogError>;

    /// Passes the entries that count to `visit`, in their order, each with its place, until `visit`
    /// breaks. Those of a batch come once it is whole, without the marks. Returns their number, not
    /// counting one at which `visit` broke.
    ///
    /// # Errors
    /// `Io`, `Corrupted`.
    fn replay(
        &self,
        visit: &mut dyn FnMut(LogEntry, Pointer) -> ControlFlow<()>,
    ) -> Result<u64, LogError>;

    /// All entries that count, in their order.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    fn read_log(&self) -> Result<Vec<LogEntry>, LogError> {
        let mut entries = Vec::new();
        self.replay(&mut |entry, _| {
            entries.push(entry);
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }

    /// The entry at a place, which stays valid whatever is written later, compactions included.
    ///
    /// # Errors
    /// `Io`; `Changed` if there is no entry any more.
    fn read_at(&self, pointer: &Pointer) -> Result<LogEntry, LogError>;

    /// Passes all that was written to the kernel: it survives the process.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn flush(&self) -> Result<(), LogError>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn sync(&self) -> Result<(), LogError>;

    /// Replaces the log with one that holds only the live lines, and writes a snapshot of it. Other
    /// threads may write meanwhile. All that was written is durable on return. A snapshot that
    /// cannot be written is no error: see [`Counts::snapshot_error`].
    ///
    /// # Errors
    /// `Io`, `Corrupted`: the log is as it was, or all further writes are refused.
    fn compact(&self) -> Result<(), LogError>;

    /// The size of the log.
    fn counts(&self) -> Counts;

    /// Closes the log as dropping it does, and reports the error that dropping cannot report.
    ///
    /// # Errors
    /// `Refused` if the queue could not be written out: it is lost.
    fn close(self) -> Result<(), LogError>
    where
        Self: Sized,
    {
        Ok(())
    }

    /// The planted M6: a batch of this collection was refused.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    #[doc(hidden)]
    fn refused(&self, collection: &str) -> Result<(), LogError> {
        let _ = collection;
        Ok(())
    }

    /// The planted bugs.
    #[doc(hidden)]
    fn bugs(&self) -> Bugs {
        Bugs::default()
    }
}
