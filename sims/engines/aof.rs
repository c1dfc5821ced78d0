//! A keyspace like that of Redis, made durable by an append-only log of commands and by snapshots.
//!
//! Strings, hashes, lists, sets and sorted sets, each with an optional time to live. All of it is
//! in memory, and persisted in two files of one directory:
//!
//! | file | |
//! |---|---|
//! | `append.aof` | the log: each command that changed something, in the form in which Redis logs it |
//! | `dump.snap` | the snapshot, in the format `KEVYSNAP` 2, if one was ever taken |
//!
//! Both formats are those of the crate `kevy-persist` (1.0.4), whose files load here, as do Redis'
//! append-only files without an RDB preamble; and Redis 7 loads our log.
//!
//! # Promises
//!
//! A command, a [`tick`](Database::tick) or a [`close`](Database::close) that has returned `Ok`
//! promises this for itself and all before it, by [`Fsync`]:
//!
//! | | command | tick | close |
//! |---|---|---|---|
//! | `Always` | survives power loss | | |
//! | `EverySec` | survives the process; within a second and the time to the next tick, power loss | | survives power loss |
//! | `No` | survives the process | | |
//!
//! [`save`](Database::save), [`snapshot`](Database::snapshot), [`truncate`](Database::truncate),
//! [`rewrite`](Database::rewrite) and [`sync`](Database::sync) that have returned `Ok`: all before
//! survives power loss. A crash always leaves a prefix of the commands, in their order, each whole.
//! A failed call takes nothing back: all that earlier calls promised still holds, and nothing later
//! is acknowledged unless it holds too. Damage that no crash explains is reported when the store is
//! opened, and changes no file.
//!
//! # Annotations: what the formats lack
//!
//! A log of ours has lines that begin with `#`, which Redis 7 skips:
//!
//! ```text
//! #aof 1 generation=G follows=NAME CRC    the first line; NAME is a snapshot's or `none`
//! #record LENGTH CRC                      the next LENGTH bytes are commands, applied atomically
//! #snapshot NAME CRC                      the snapshot of this name holds all up to here
//! ```
//!
//! A snapshot's `NAME` is `CRC-LENGTH@TIME`: the checksum and the length of its bytes, and the time
//! when it was saved, in milliseconds since 1970. The time turns the remaining times to live that a
//! snapshot holds into deadlines. The checksum of a line also covers the first line's checksum and
//! the line's own place in the file.
//!
//! **The two files agree** because the log says what it follows. `save` writes the snapshot aside,
//! appends its name to the log and syncs both; then gives the snapshot its name and syncs the
//! directory; then replaces the log with an empty one that follows this snapshot. Whichever of the
//! two snapshots is found with whichever log, the log says from where it is to be replayed. A
//! rewritten log follows none: it is replayed alone.
//!
//! **No byte of a file is ever written twice.** A log that needs any repair, or has to be cut, is
//! replaced: a new one is written aside, synced, renamed over it, and the directory synced. A log
//! that an earlier process wrote is also replaced before it is relied on: that process may have had
//! a failed sync, after which the kernel shows data that the disk does not have. After a failed
//! sync, or when it is unknown which file has a name, the store is poisoned: every call that
//! changes something is refused until the store is opened again.
//!
//! # Limits of the formats
//!
//! - A log without our lines (of the origin, of Redis) has no checksums, so damage inside a value
//!   goes unnoticed. It does not say whether it belongs to the snapshot next to it; it is replayed
//!   over that one, as the origin does. The next opening of a store replaces it with one of ours.
//! - Damage in the last record of a log looks like a torn write: the record is dropped. In a log
//!   with a sector of zeros in a value any damage may look like a lost page: the rest is dropped.
//! - [`load_snapshot`] alone cannot detect a flipped bit in a value; a store can, as long as its
//!   log follows the snapshot.
//!
//! One process at a time.

mod bugs;
mod command;
mod database;
mod keyspace;
mod load;
mod log;
mod place;
mod resp;
mod scan;
mod snapshot;
mod value;

#[cfg(test)]
mod crash_images;

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

pub use bugs::Bugs;
pub use database::{Database, LOG, RewriteStats, SNAPSHOT};
pub use keyspace::{Keyspace, Reply};
pub use scan::reported_up_to;
pub use value::{Bytes, Entry, Kind, Value};

/// When the log is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// After each command.
    Always,
    /// Once a second, by [`Database::tick`].
    EverySec,
    /// When the kernel likes.
    No,
}

/// An error of this module's calls.
#[derive(Debug, thiserror::Error)]
pub enum AofError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed, and its file.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The command cannot be carried out; nothing has changed. The wording is mostly Redis'.
    #[error("{0}")]
    Command(String),
    /// The file is not of this format, or the format cannot hold the given data.
    #[error("invalid format: {0}")]
    Format(String),
    /// The file is of this format, with damage that no crash explains.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// An earlier call failed in a way that leaves the content of the disk unknown.
    #[error("poisoned by an earlier error: open the store again")]
    Poisoned,
}

impl From<io::Error> for AofError {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "cannot write".to_owned(), source }
    }
}

/// Writes the live keys of a keyspace to a file of their own, durably and all or nothing.
///
/// # Errors
/// `Io`; `Format` if something is too long for the format. The file is then as it was.
pub fn save_snapshot(keyspace: &Keyspace, path: &Path) -> Result<(), AofError> {
    let place = place::Place::of(path)?;
    database::write_snapshot(&place, keyspace, unix_millis())?;
    place.rename_temp()?;
    place.sync_dir()
}

/// Adds the keys of a snapshot to a keyspace; existing keys stay, except for those that the
/// snapshot has too. Times to live count from now on.
///
/// # Errors
/// `Io`; `Format` if it is no snapshot; `Corrupt` if it is damaged. The keyspace is then as it was.
pub fn load_snapshot(keyspace: &mut Keyspace, path: &Path) -> Result<(), AofError> {
    let place = place::Place::of(path)?;
    let bytes = place.read()?.ok_or_else(|| AofError::Io {
        what: format!("cannot read {}", path.display()),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let mut loaded = keyspace.clone();
    snapshot::read(&bytes, unix_millis(), &mut loaded, false)?;
    *keyspace = loaded;
    Ok(())
}

/// Carries out the commands of a log, without a torn tail. A missing log is empty; one that follows
/// a snapshot is refused: [`Database::open`] reads those.
///
/// # Errors
/// `Io`; `Format` if it is no log, follows a snapshot, or has a command that cannot be carried out;
/// `Corrupt` if it is damaged.
pub fn replay_aof(keyspace: &mut Keyspace, path: &Path) -> Result<(), AofError> {
    let Some(bytes) = place::Place::of(path)?.read()? else { return Ok(()) };
    let scan = scan::scan(&bytes, Bugs::default())?;
    if let Some((scan::Header { follows: Some(name), .. }, _)) = scan.header {
        return Err(AofError::Format(format!("this log follows the snapshot {name}")));
    }
    let mut replayed = keyspace.clone();
    load::replay(&scan.records, &mut replayed)?;
    *keyspace = replayed;
    Ok(())
}

/// Writes the live keys of a keyspace as a log without any line of ours, as the origin writes it:
/// with the remaining times to live.
///
/// # Errors
/// `Io`. The file is then as it was.
pub fn export_plain_log(keyspace: &Keyspace, path: &Path) -> Result<RewriteStats, AofError> {
    database::export(keyspace, &place::Place::of(path)?, unix_millis())
}

/// The real-time clock, in milliseconds since 1970.
fn unix_millis() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "times to live end by the real-time clock")]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
