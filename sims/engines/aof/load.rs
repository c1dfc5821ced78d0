//! Loads a store from its two files.

use super::command::LogCommand;
use super::keyspace::Keyspace;
use super::scan::{Header, Scan, Seal, log_commands, scan};
use super::snapshot::{self, Name};
use super::{AofError, Bugs, unix_millis};

/// A loaded store, and how to continue its log.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) keyspace: Keyspace,
    /// The log, if it can be appended to as it is: its seal and its length.
    pub(super) log: Option<(Seal, u64)>,
    /// The generation of the existing log; 0 without one of ours.
    pub(super) generation: u64,
}

/// Reads the snapshot, if it turns out to be needed.
pub(super) type ReadSnapshot<'a> = &'a mut dyn FnMut() -> Result<Option<Vec<u8>>, AofError>;

/// Loads a store from the bytes of its files.
///
/// # Errors
/// `Format` or `Corrupt`, with the file and the place in it; `Io`.
pub(super) fn load(
    log: Option<&[u8]>,
    snapshot: ReadSnapshot<'_>,
    bugs: Bugs,
) -> Result<Loaded, AofError> {
    let log = log.unwrap_or_default();
    let scan = scan(log, bugs)?;
    let mut loaded = Loaded::default();
    let replayed = match scan.header {
        Some((header, seal)) => {
            loaded.generation = header.generation;
            let whole = !scan.damaged || bugs.tail_kept || bugs.torn_record_filled;
            let len = if scan.damaged { log.len() } else { scan.end };
            loaded.log = whole.then_some((seal, len as u64));
            base(&scan, header, snapshot, &mut loaded.keyspace, bugs)?
        }
        None => {
            if let Some(bytes) = snapshot()? {
                snapshot::read(&bytes, unix_millis(), &mut loaded.keyspace, false)?;
            }
            0
        }
    };
    replay(&scan.records[replayed..], &mut loaded.keyspace)?;
    Ok(loaded)
}

/// Loads the snapshot that the log follows; returns how many of the log's records it already holds.
fn base(
    scan: &Scan<'_>,
    header: Header,
    snapshot: ReadSnapshot<'_>,
    keyspace: &mut Keyspace,
    bugs: Bugs,
) -> Result<usize, AofError> {
    let mut read = |name: &Name, bytes: &[u8]| -> Result<(), AofError> {
        let saved = if bugs.ttl_restarted { unix_millis() } else { name.saved };
        snapshot::read(bytes, saved, keyspace, bugs.snapshot_unverified)
    };
    let bytes = match (header.follows, snapshot()?) {
        (None, Some(bytes)) if bugs.snapshot_not_paired => bytes,
        (None, _) => return Ok(0),
        (Some(_), Some(bytes)) => bytes,
        (Some(follows), None) => {
            let what = format!("the log follows the snapshot {follows}, which does not exist");
            return Err(AofError::Corrupt(what));
        }
    };
    // The last one: two snapshots that are identical byte for byte may differ in their times.
    let in_log = scan.snapshots.iter().rev().find(|(name, _)| name.matches(&bytes));
    match in_log {
        Some((name, _)) if bugs.snapshot_not_paired => read(name, &bytes).map(|()| 0),
        Some((name, records)) => read(name, &bytes).map(|()| *records),
        None => match header.follows {
            None => Ok(0),
            Some(name) if name.matches(&bytes) || bugs.snapshot_unverified => {
                read(&name, &bytes).map(|()| 0)
            }
            Some(follows) => Err(AofError::Corrupt(format!(
                "the snapshot is damaged, or is not the one that the log follows: {follows}"
            ))),
        },
    }
}

/// Carries out the commands of some records.
///
/// # Errors
/// `Format`, with the byte of the log where the record ends, if a record holds anything but
/// commands that can be carried out.
pub(super) fn replay(records: &[(&[u8], usize)], keyspace: &mut Keyspace) -> Result<(), AofError> {
    let mut now = None;
    let mut now = || *now.get_or_insert_with(unix_millis);
    for (commands, end) in records {
        let done = log_commands(commands, &mut now).and_then(|parsed| {
            for command in parsed {
                if let LogCommand::Change(command) = command {
                    keyspace.apply(&command)?;
                }
            }
            Ok(())
        });
        done.map_err(|error| AofError::Format(format!("log, before byte {end}: {error}")))?;
    }
    Ok(())
}
