//! A log of JSON documents: one line an entry, rewritten by compaction, with a snapshot beside it
//! that a load reads instead of the lines that it stands for.
//!
//! # Format
//!
//! | file | content |
//! |---|---|
//! | `NAME` | the log: entries, one a line, `{"cmd":..,"collection":..,"key":..,"value":..}` |
//! | `NAME.snapshot.bin` | what the log began with ("MOLTSNAP"), written by [`Storage::compact`] |
//! | `backup/NAME.snapshot.bin.SECOND.bak` | the last few snapshots before |
//!
//! ```text
//! BASE       key: sum of the lines that the log began with; value: their number and bytes
//! INSERT     the document `key` of `collection` is `value`
//! DELETE     it is gone                     DROP    the whole collection is
//! INDEX      the field `key` is indexed     SCHEMA  `value` is the collection's schema
//! TX_BEGIN   what follows counts once TX_COMMIT with the same key is there
//! ```
//!
//! The format is that of the crate `moltendb-core` 0.5.1, which passes over `BASE`, a command that
//! it does not know; its logs load here, and the other way round. So do its batches that stand
//! between each other. Encrypted logs are refused.
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
//! What a crash leaves is always a prefix of the writes; of a batch all or nothing. A snapshot that
//! is damaged is passed over: the log has all that it has.
//!
//! # How the log is written
//!
//! Only the process that wrote a file appends to it. The first write after an open, and the first
//! after one that failed half way, replace the log as a compaction does: by a new file, written
//! aside, synced, renamed over, its directory synced. So nothing ever follows a torn line, no byte
//! is written twice, and nothing hangs on what the page cache shows after a sync that failed in an
//! earlier process. Opening a log only reads.
//!
//! A compaction writes what is alive aside while others go on writing; what they wrote meanwhile
//! is added while the writers wait.
//!
//! # Limits of the format
//!
//! - Lines have no checksum. Damage inside a string that leaves the line whole is noticed in what
//!   the log began with, and nowhere else.
//! - Damage that looks like a lost sector or a torn last line is taken for one. Stale blocks, as
//!   some file systems expose them after a crash, do not: they are told as damage.
//! - A refused batch of the origin swallows what was written to its collection until the next
//!   batch, here as there: nothing in the log tells the two apart.

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

/// What the calls of this module fail with.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("document log I/O error")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("not a document log")]
    NotALog,
    /// The log was written by something that this version does not know.
    #[error("document log with {0}, which is not supported")]
    Unsupported(String),
    /// The log has damage that no crash explains.
    #[error("document log damaged at line {line}, byte {offset}: {what}")]
    Corrupted {
        /// The line, from 1.
        line: u64,
        /// Where it begins.
        offset: u64,
        /// What was wrong.
        what: String,
    },
    /// A line is not what it was when it was found.
    #[error("document log changed at byte {offset}: {what}")]
    Changed {
        /// Where the line begins.
        offset: u64,
        /// What was wrong.
        what: String,
    },
    /// What was asked cannot be written as such a log.
    #[error("invalid entry: {0}")]
    Invalid(String),
    /// The document that is there is not older.
    #[error("conflict: {collection}/{key} has version {stored}, the new one {given}")]
    Conflict {
        /// The collection.
        collection: String,
        /// The document.
        key: String,
        /// The version of the document that is there; 0 if it has none.
        stored: u64,
        /// The version of the one that was to take its place.
        given: u64,
    },
    /// An earlier error leaves it open what the disk has.
    #[error("document log refuses writes since an earlier error: {0}; open it again")]
    Refused(String),
}

/// How much a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often this process replaced the file.
    pub generation: u64,
    /// Lines, those in memory included.
    pub lines: u64,
    /// How many of them the log began with.
    pub base_lines: u64,
    /// Bytes, those in memory included.
    pub bytes: u64,
    /// How many of them are in memory only.
    pub queued: u64,
    /// Why the last snapshot could not be written: a load then reads the log alone.
    pub snapshot_error: Option<String>,
}

/// A log to write to and to read from, by several threads at once.
pub trait Storage: Send + Sync {
    /// Appends an entry; says where it is.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written, `Io` if the file system says no: then it is not in the
    /// log that this storage shows, but may be after it is opened again. `Refused` after an
    /// earlier error.
    fn write_entry(&self, entry: &LogEntry) -> Result<Pointer, LogError>;

    /// Appends all of these or none; says where each is.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn write_batch(&self, entries: &[LogEntry]) -> Result<Vec<Pointer>, LogError>;

    /// Hands out the entries that count, in their order, each with its place, until told to stop.
    /// Those of a batch come once it is whole; marks are left out. Says how many there were, the
    /// last not counted if it was told to stop there.
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

    /// The entry at a place, which stays right whatever is written since, compactions included.
    ///
    /// # Errors
    /// `Io`; `Changed` if there is no entry any more.
    fn read_at(&self, pointer: &Pointer) -> Result<LogEntry, LogError>;

    /// Hands all that was written to the kernel: it survives the process.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn flush(&self) -> Result<(), LogError>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// As [`write_entry`](Self::write_entry).
    fn sync(&self) -> Result<(), LogError>;

    /// Replaces the log by one that holds only what is alive, and writes a snapshot of it. Others
    /// may write meanwhile. All that was written is durable on return. A snapshot that cannot be
    /// written is no error: see [`Counts::snapshot_error`].
    ///
    /// # Errors
    /// `Io`, `Corrupted`: the log is as it was, or nothing more is written.
    fn compact(&self) -> Result<(), LogError>;

    /// How much the log holds.
    fn counts(&self) -> Counts;

    /// Closes the log as dropping it does, and says what dropping cannot say.
    ///
    /// # Errors
    /// `Refused` if what is queued could not be written out: it is lost.
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

    /// What is planted.
    #[doc(hidden)]
    fn bugs(&self) -> Bugs {
        Bugs::default()
    }
}
