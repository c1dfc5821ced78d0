//! An append-only snapshot log of a key-value store: one file, replaced whole by compaction.
//!
//! A service that follows a stream of updates writes each one here, now and then the position in
//! the stream (the *cursor*), and after a restart goes on from there.
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
//! The format is that of the crate `beyond-slipstream` (0.1.0 to 0.3.2), whose files load here and
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
//! What a crash leaves is always a prefix of the records in the order in which they were written.
//!
//! # How the file is written
//!
//! **No byte of a log file is ever written twice.** Records are only appended. A file that needs
//! any repair (a torn header or tail, a lost page, a write that failed half way) is replaced by a
//! new one: written aside, synced, renamed over, its directory synced. Nothing is ever cut off in
//! place: a truncation inside a block is a size change and a zeroing write, which reach the disk
//! separately, so that bytes of the old tail may come back behind, or in the middle of, records
//! appended later, even a failed fsync later. As it is, a crash can leave only two things where a
//! byte was: that byte, or zero.
//!
//! A process does not know whether an earlier one had a failed fsync, after which the kernel shows
//! data that the disk does not have and reports the next fsync as good. So a file that this writer
//! did not write itself is never made durable by syncing it: the first
//! [`sync`](SnapshotWriter::sync) compacts instead.
//!
//! # Limits of the format
//!
//! Records have no length of their own under a checksum, and no sequence number, so some damage
//! cannot be told from a crash. The crash is then what is assumed: what precedes the damage is
//! recovered, the rest is dropped.
//!
//! - A damaged length that points past the end of the file looks like a torn last record.
//! - Damage in a record that has a sector of zeros in its value looks like a lost page.
//! - Damage in the last record looks like a torn write.
//! - A file system that exposes stale blocks after a crash (ext4 with `data=writeback`) may leave
//!   *old* records of another file in the unsynced tail. They carry valid checksums: nothing in
//!   the format tells them from records of this log. What else it leaves there is told as damage.
//!
//! One writer at a time; [`load`] beside a live writer is safe.

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

/// What the calls of this module fail with.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("snapshot I/O error")]
    Io(#[from] io::Error),
    /// The file is not such a log, or what was asked cannot be written as one.
    #[error("invalid snapshot format: {0}")]
    InvalidFormat(String),
    /// The file is such a log, with damage that no crash explains.
    #[error("snapshot corrupted: a record's checksum does not match, and no crash explains it")]
    Corrupted,
    /// The storage engine below said no.
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

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the last checkpoint.
    pub cursor: Cursor,
    /// The live keys.
    pub entries: BTreeMap<String, Entry>,
}

impl Snapshot {
    /// The keys of this snapshot, in order, that are not among `current_keys`: those that were
    /// deleted while nobody followed the stream.
    pub fn stale_keys<'a>(
        &'a self,
        current_keys: impl IntoIterator<Item = &'a str>,
    ) -> Vec<&'a str> {
        let current: BTreeSet<&str> = current_keys.into_iter().collect();
        self.entries.keys().map(String::as_str).filter(|key| !current.contains(key)).collect()
    }
}

/// Reads what the log at `path` holds; `None` if there is no log or nothing in it.
///
/// Only reads: it answers on a full or read-only disk, and a damaged tail stays for
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
