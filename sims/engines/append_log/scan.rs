//! Replays a file's bytes, and finds where its history ends.
//!
//! Since no byte of a log is written twice, a crash leaves in place of each unsynced byte that
//! byte or zero, and the file may end early. Zeros come in sectors, the unit that a disk writes
//! whole: all of a sector if it was never written, or all from where the file ended when the
//! sector was last written. The writer ensures that this is the start of a record or of a sector.
//! [`judge`] distinguishes this from any other damage.

use std::collections::BTreeMap;

use super::record::{ParseError, Record, parse};
use super::{Bugs, Cursor, Entry, Snapshot, SnapshotError, VersionToken};

/// The start of every log: the magic and the version.
pub(super) const HEADER: [u8; 6] = *b"PGSS\x02\x00";

/// The unit that a disk writes whole, in bytes.
pub(super) const SECTOR: usize = 512;

/// The number of bytes that the search for a record after damage may check, per byte of the file.
const SEARCH_FACTOR: usize = 64;

/// The state that a log's records add up to, borrowed from its bytes.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    /// The live keys.
    pub(super) entries: BTreeMap<&'a str, (&'a [u8], VersionToken)>,
    /// The last cursor.
    pub(super) cursor: Cursor,
    /// The end of the history in the file; 0 if there is not even a header.
    pub(super) end: usize,
    /// Whether a rewrite would drop a record.
    redundant: bool,
    /// Whether there are bytes after the history.
    damaged: bool,
}

/// The kinds of bytes from which no record could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file ends inside the record.
    TornTail,
    /// A sector is zero where the record, or a part of it, was.
    LostPage,
    /// No crash leaves this, but no record follows, so nothing is known to be missing.
    Garbage,
    /// No crash leaves this, and records follow.
    Corrupt,
}

impl<'a> Scan<'a> {
    /// Whether there is nothing to load.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.cursor.is_none()
    }

    /// Whether a rewrite would neither drop a record nor repair anything.
    pub(super) fn is_compact(&self) -> bool {
        !self.redundant && self.is_whole()
    }

    /// Whether the file is a header and whole records, and nothing else.
    pub(super) fn is_whole(&self) -> bool {
        !self.damaged && self.end > 0
    }

    /// The state, copied out of the file's bytes.
    pub(super) fn to_snapshot(&self) -> Snapshot {
        let entry = |(key, (value, version)): (&&str, &(&[u8], VersionToken))| Entry {
            key: (*key).to_owned(),
            value: value.to_vec(),
            version: *version,
        };
        let entries = self.entries.iter().map(entry).map(|entry| (entry.key.clone(), entry));
        Snapshot { cursor: self.cursor, entries: entries.collect() }
    }

    fn apply(&mut self, record: Record<'a>) {
        self.redundant |= match record {
            Record::Put { key, value, version } => {
                self.entries.insert(key, (value, version)).is_some()
            }
            Record::Delete { key } => {
                self.entries.remove(key);
                true
            }
            Record::Cursor(cursor) => !std::mem::replace(&mut self.cursor, cursor).is_none(),
        };
    }
}

/// Replays a log.
///
/// # Errors
/// `InvalidFormat` if the bytes are not such a log, `Corrupted` if they are damaged in a way that
/// no crash explains.
pub(super) fn scan(data: &[u8], bugs: Bugs) -> Result<Scan<'_>, SnapshotError> {
    let mut scan = Scan::default();
    if !has_header(data, bugs)? {
        scan.damaged = !data.is_empty();
        return Ok(scan);
    }
    scan.end = HEADER.len();
    while scan.end < data.len() {
        match parse(&data[scan.end..]) {
            Ok((record, len)) => {
                scan.apply(record);
                scan.end += len;
            }
            Err(error) => {
                end_of_history(data, scan.end, error, bugs)?;
                scan.damaged = true;
                break;
            }
        }
    }
    Ok(scan)
}

/// Whether the file starts with its header; it does not if a crash tore its creation.
fn has_header(data: &[u8], bugs: Bugs) -> Result<bool, SnapshotError> {
    let invalid = |what: String| Err(SnapshotError::InvalidFormat(what));
    if data.starts_with(&HEADER) {
        return Ok(true);
    }
    if bugs.header_in_place && data.len() < HEADER.len() {
        return invalid("file too short".into());
    }
    let kept = data.iter().zip(HEADER).take_while(|(found, wanted)| **found == *wanted).count();
    if data[kept..data.len().min(SECTOR)].iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    match data {
        [b'P', b'G', b'S', b'S', low, high, ..] => {
            invalid(format!("unsupported version {}", u16::from_le_bytes([*low, *high])))
        }
        _ => invalid("bad magic".into()),
    }
}

/// Checks that the history may end at `at`, where no record could be parsed.
fn end_of_history(
    data: &[u8],
    at: usize,
    error: ParseError,
    bugs: Bugs,
) -> Result<(), SnapshotError> {
    let seen = match error {
        ParseError::Foreign(what) => return Err(SnapshotError::InvalidFormat(what)),
        ParseError::Incomplete => None,
        ParseError::Damaged { seen } => Some(seen),
    };
    let zeros_follow = data[at..].iter().all(|byte| *byte == 0);
    if bugs.zero_tail_is_an_error && zeros_follow && data.len() - at >= 5 {
        return Err(SnapshotError::InvalidFormat("unknown record type 0".into()));
    }
    match judge(data, at, seen) {
        Damage::LostPage if bugs.lost_page_is_an_error && !zeros_follow => {
            Err(SnapshotError::InvalidFormat("unknown record type".into()))
        }
        Damage::TornTail | Damage::LostPage | Damage::Garbage => Ok(()),
        Damage::Corrupt => Err(SnapshotError::Corrupted),
    }
}

/// Classifies the bytes at `at`, where no record could be read. `seen` is the number of them that
/// were examined, or `None` if the record continues past the end of the file.
pub(super) fn judge(data: &[u8], at: usize, seen: Option<usize>) -> Damage {
    match seen {
        // Even if a record can be read further on: it may be part of the torn record's value.
        None => Damage::TornTail,
        Some(seen) if has_lost_sector(data, at, at + seen) => Damage::LostPage,
        Some(_) if has_record_after(data, at) => Damage::Corrupt,
        Some(_) => Damage::Garbage,
    }
}

/// Whether some sector that has bytes in `start..stop` is all zeros from its first byte on, or from
/// `start` on if that is later.
///
/// It is enough to look at the sectors of the parsed bytes: a lost byte elsewhere has not misled
/// the parser, and one that has (in a length, say) is itself among them.
fn has_lost_sector(data: &[u8], start: usize, stop: usize) -> bool {
    (start / SECTOR..=(stop - 1) / SECTOR).any(|sector| {
        let from = start.max(sector * SECTOR);
        let to = data.len().min((sector + 1) * SECTOR);
        data[from..to].iter().all(|byte| *byte == 0)
    })
}

/// Whether a whole record can be read anywhere after `at`.
fn has_record_after(data: &[u8], at: usize) -> bool {
    let mut budget = data.len().saturating_mul(SEARCH_FACTOR);
    for start in at + 1..data.len() {
        match parse(&data[start..]) {
            Ok(_) | Err(ParseError::Foreign(_)) => return true,
            Err(ParseError::Incomplete) => {}
            // Hostile bytes can make every position look like a long record. Reporting corruption
            // without having looked at all of them loses nothing.
            Err(ParseError::Damaged { seen }) if seen > budget => return true,
            Err(ParseError::Damaged { seen }) => budget -= seen,
        }
    }
    false
}
