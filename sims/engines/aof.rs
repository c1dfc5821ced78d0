//! A keyspace as Redis has it, kept by an append-only log of commands and by snapshots.
//!
//! Strings, hashes, lists, sets and sorted sets, each with a time to live if it is given one. All
//! of it is in memory; what makes it last is in two files of one directory:
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
//! What a command, a [`tick`](Database::tick) or a [`close`](Database::close) that has returned
//! `Ok` promises for itself and all before it, by [`Fsync`]:
//!
//! | | command | tick | close |
//! |---|---|---|---|
//! | `Always` | survives power loss | | |
//! | `EverySec` | survives the process; within a second and the time to the next tick, power loss | | survives power loss |
//! | `No` | survives the process | | |
//!
//! [`save`](Database::save), [`snapshot`](Database::snapshot), [`truncate`](Database::truncate),
//! [`rewrite`](Database::rewrite) and [`sync`](Database::sync) that have returned `Ok`: all before
//! survives power loss. What a crash leaves is always a prefix of the commands, in their order,
//! each whole. A failed call takes nothing back: all that earlier calls promised still holds, and
//! nothing later is acknowledged that does not. Damage that no crash explains is told when the
//! store is opened, and changes no file.
//!
//! # What the formats lack, and where it is
//!
//! A log of ours has lines that begin with `#`, which Redis 7 skips:
//!
//! ```text
//! #aof 1 generation=G follows=NAME CRC    the first line; NAME is a snapshot's or `none`
//! #record LENGTH CRC                      the next LENGTH bytes are commands that happen together
//! #snapshot NAME CRC                      the snapshot of this name holds all up to here
//! ```
//!
//! A snapshot's `NAME` is `CRC-LENGTH@TIME`: of its bytes, and when it was saved, in milliseconds
//! since 1970. With it, a time to live that the snapshot holds as what remained is a deadline. The
//! checksum of a line begins with that of the first line and the line's own place in the file.
//!
//! **Two files agree** because the log says what it follows. `save` writes the snapshot aside,
//! appends its name to the log and syncs both; then gives the snapshot its name and syncs the
//! directory; then replaces the log by an empty one that follows this snapshot. Whichever of the
//! two snapshots is found with whichever log, the log says from where on it is to be replayed. A
//! log that was rewritten follows none: it is replayed alone.
//!
//! **No byte of a file is ever written twice.** A log that needs any repair, or has to be cut, is
//! replaced: written aside, synced, renamed over, its directory synced. So is, before it is relied
//! on, a log that an earlier process wrote: that one may have had a failed sync, after which the
//! kernel shows what the disk does not have. After a failed sync, or when it is unknown which file
//! has a name, the store is poisoned: every call that changes something is refused until the store
//! is opened again.
//!
//! # Limits of the formats
//!
//! - A log without our lines (of the origin, of Redis) has no checksums: damage inside a value goes
//!   unnoticed, and whether it belongs to the snapshot beside it is not known; it is replayed over
//!   it, as the origin does. The next opening of a store replaces it by one of ours.
//! - Damage in the last record of a log looks like a torn write: the record is dropped. In a log
//!   with a sector of zeros in a value any damage may look like a lost page: what follows is
//!   dropped.
//! - [`load_snapshot`] alone cannot tell a flipped bit in a value; a store can, as long as its log
//!   follows the snapshot.
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
pub use scan::told_up_to;
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

/// What the calls of this module fail with.
#[derive(Debug, thiserror::Error)]
pub enum AofError {
    /// The file system said no. All that earlier calls promised still holds.
    #[error("{what}: {source}")]
    Io {
        /// What could not be done, and to which file.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The command cannot be carried out; nothing has changed. The words are mostly Redis'.
    #[error("{0}")]
    Command(String),
    /// The file is not of this format, or what was asked cannot be written in it.
    #[error("invalid format: {0}")]
    Format(String),
    /// The file is of this format, with damage that no crash explains.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// An earlier call failed in a way that leaves it open what is on the disk.
    #[error("poisoned by an earlier error: open the store again")]
    Poisoned,
}

impl From<io::Error> for AofError {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "cannot write".to_owned(), source }
    }
}

/// Writes what lives in a keyspace to a file of its own, durably and all or nothing.
///
/// # Errors
/// `Io`; `Format` if something is too long for the format. The file is then as it was.
pub fn save_snapshot(keyspace: &Keyspace, path: &Path) -> Result<(), AofError> {
    let place = place::Place::of(path)?;
    database::write_snapshot(&place, keyspace, unix_millis())?;
    place.rename_temp()?;
    place.sync_dir()
}

/// Adds the keys of a snapshot to a keyspace; what is there already stays, but for the keys that
/// the snapshot has too. Times to live count from now on.
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

/// Carries out the commands of a log; a torn tail is left out. A log that is missing is empty, one
/// that follows a snapshot is refused: [`Database::open`] reads those.
///
/// # Errors
/// `Io`; `Format` if it is no log, or follows a snapshot; `Corrupt` if it is damaged; `Command` if
/// it has a command that this store does not have.
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

/// Writes what lives in a keyspace as a log without any line of ours, as the origin writes it:
/// times to live are what remains.
///
/// # Errors
/// `Io`. The file is then as it was.
pub fn export_plain_log(keyspace: &Keyspace, path: &Path) -> Result<RewriteStats, AofError> {
    database::export(keyspace, &place::Place::of(path)?, unix_millis())
}

/// What the real-time clock shows, in milliseconds since 1970.
fn unix_millis() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "times to live end by the real-time clock")]
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
