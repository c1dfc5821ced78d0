//! An append-only snapshot log of a key-value store: one file, replaced whole by compaction.
//!
//! A service that follows a stream of updates appends each one here, and from time to time its
//! position in the stream (the *cursor*); after a restart it continues from there.
//!
//! # Format (`PGSS`, version 2)
//!
//! ```text
//! file    "PGSS" version:u16le record*
//! record  crc32:u32le type:u8 body          the CRC covers the type and the body
//! type 1  put     key_len:u16le key value_len:u32le value version_len:u8 version
//! type 2  delete  key_len:u16le key version_len:u8 version
//! type 3  cursor  cursor_len:u8 cursor
//! ```
//!
//! The format is that of the crate `beyond-slipstream` (0.1.0 to 0.3.2): its files load here, and
//! the other way round. A purge is written as a delete. Versions and cursors have at most 10 bytes.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | [`SnapshotWriter::write_update`] | queued in the process |
//! | [`SnapshotWriter::checkpoint`], [`SnapshotWriter::flush`] | survives the process, with all before it |
//! | [`SnapshotWriter::compact`], [`SnapshotWriter::sync`] | survives power loss, with all before it |
//!
//! A crash always leaves a prefix of the records in the order in which they were written.
//!
//! # How the file is written
//!
//! **No byte of a log file is ever written twice.** Records are only appended. A file that needs
//! any repair (a torn header or tail, a lost page, a write that failed half way) is replaced by a
//! new one: written aside, synced, renamed over the old one, and the directory synced. A file is
//! never truncated in place: a truncation inside a block is a size change and a zeroing write,
//! which reach the disk separately, so bytes of the old tail may reappear after, or in the middle
//! of, records appended later, even after a failed fsync. Without truncation, a crash can leave
//! only two things in place of a byte: that byte, or zero.
//!
//! A process does not know whether an earlier one had a failed fsync, after which the kernel shows
//! data that the disk does not have and reports the next fsync as successful. So a file that this
//! writer did not write itself is never made durable by syncing it: the first
//! [`sync`](SnapshotWriter::sync) compacts instead.
//!
//! # Limits of the format
//!
//! A record's length has no checksum of its own, and records have no sequence numbers, so some
//! damage cannot be distinguished from a crash. A crash is then assumed: everything before the
//! damage is recovered, the rest is dropped.
//!
//! - A damaged length that points past the end of the file looks like a torn last record.
//! - Damage in a record that has a sector of zeros in its value looks like a lost page.
//! - Damage in the last record looks like a torn write.
//! - A file system that exposes stale blocks after a crash (ext4 with `data=writeback`) may leave
//!   *old* records of another file in the unsynced tail. They carry valid checksums: nothing in
//!   the format distinguishes them from records of this log. Other stale bytes are judged like any
//!   other damage.
//!
//! One writer at a time; [`load`] is safe while a writer is open.

mod bugs;
mod place;
mod record;
mod scan;
mod store;
mod token;
mod writer;

#[cfg(test)]
mod crash_images;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

pub use bugs::Bugs;
pub use store::AppendLogStore;
pub use token::{Cursor, TOKEN_MAX, VersionToken};
pub use writer::SnapshotWriter;

/// An error of this module's calls.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("snapshot I/O error")]
    Io(#[from] io::Error),
    /// The file is not such a log, or the format cannot hold the given data.
    #[error("invalid snapshot format: {0}")]
    InvalidFormat(String),
    /// The file is such a log, with damage that no crash explains.
    #[error("snapshot corrupted: a record's checksum does not match, and no crash explains it")]
    Corrupted,
    /// The underlying storage engine returned an error.
    #[error("snapshot backend error")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// At most 65,535 bytes.
    pub key: String,
    /// At most 4,294,967,295 bytes.
    pub value: Vec<u8>,
    /// The version that the store gave the value.
    pub version: VersionToken,
}

/// One step of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The key now has this value.
    Put(Entry),
    /// The key is gone.
    Delete {
        /// At most 65,535 bytes.
        key: String,
        /// The version of the deletion.
        version: VersionToken,
    },
    /// The key and its history are gone; in the log this is a delete.
    Purge {
        /// At most 65,535 bytes.
        key: String,
        /// The version of the purge.
        version: VersionToken,
    },
}

/// The content of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the last checkpoint.
    pub cursor: Cursor,
    /// The live keys.
    pub entries: BTreeMap<String, Entry>,
}

impl Snapshot {
    /// The keys of this snapshot, in order, that are not among `current_keys`: those that were
    /// deleted while nothing followed the stream.
    pub fn stale_keys<'a>(
        &'a self,
        current_keys: impl IntoIterator<Item = &'a str>,
    ) -> Vec<&'a str> {
        let current: BTreeSet<&str> = current_keys.into_iter().collect();
        self.entries.keys().map(String::as_str).filter(|key| !current.contains(key)).collect()
    }
}

/// Reads the log at `path`; `None` if there is no log or it holds nothing.
///
/// It only reads: it works on a full or read-only disk, and leaves a damaged tail for
/// [`SnapshotWriter::open`] to repair.
///
/// # Errors
/// `Io` if the file cannot be read, `InvalidFormat` if it is not such a log, `Corrupted` if it has
/// damage that no crash explains.
pub fn load(path: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    load_with(path, Bugs::default())
}

/// [`load`] with planted bugs.
///
/// # Errors
/// As [`load`].
#[doc(hidden)]
pub fn load_with(path: &Path, bugs: Bugs) -> Result<Option<Snapshot>, SnapshotError> {
    let data = match std::fs::read(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let scan = scan::scan(&data, bugs)?;
    if scan.is_empty() {
        return Ok(None);
    }
    if bugs.load_must_write && !scan.is_compact() {
        writer::rewrite(&place::Place::of(path)?, &scan, bugs)?;
    }
    Ok(Some(scan.to_snapshot()))
}
