//! The checkpoint's file: the whole index, so that an open need not replay the segments.
//!
//! ```text
//! file  "FBATCK" version:u16le crc32:u32le body     the CRC covers the body
//! body  MessagePack map: next sequence, watermark (segment, offset), strings, entries
//! ```

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frame::{self, Id};
use super::index::{At, Entry, Index};
use super::place::Place;
use super::{Bugs, StoreError};

const MAGIC: [u8; 6] = *b"FBATCK";
const VERSION: u16 = 2;
const HEADER: usize = 12;

/// Why a checkpoint is ignored. The store is then recovered from the segments alone.
#[derive(Debug)]
pub enum Ignored {
    /// The configuration says to ignore it.
    Asked,
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Its name is a symbolic link.
    Symlink,
    /// It has only this many bytes, fewer than a header.
    Short(usize),
    /// It does not begin with `FBATCK`.
    Magic,
    /// It has another version.
    Version(u16),
    /// Its checksum does not match its body.
    Checksum,
    /// Its body cannot be decoded.
    Undecodable(String),
    /// It refers to a string, by number, that it does not hold.
    StringMissing(u32),
    /// Its entries are not in order.
    Disorder,
    /// It refers to a segment that does not exist.
    SegmentMissing(u64),
    /// It covers more than this segment holds.
    PastTheEnd(u64),
    /// This segment holds a different event than the checkpoint says.
    Foreign(u64),
    /// This segment holds events that the checkpoint should know and does not.
    NotCovered(u64),
    /// The events after it cannot be replayed.
    Tail(Box<StoreError>),
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("disabled"),
            Self::Missing => f.write_str("there is none"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Symlink => f.write_str("its name is a symbolic link"),
            Self::Short(len) => write!(f, "{len} bytes, fewer than a header's {HEADER}"),
            Self::Magic => f.write_str("bad magic"),
            Self::Version(version) => write!(f, "version {version}, not {VERSION}"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Undecodable(error) => write!(f, "cannot be decoded: {error}"),
            Self::StringMissing(number) => write!(f, "it has no string {number}"),
            Self::Disorder => f.write_str("its entries are out of order"),
            Self::SegmentMissing(id) => write!(f, "segment {id} does not exist"),
            Self::PastTheEnd(id) => write!(f, "it reaches past the end of segment {id}"),
            Self::Foreign(id) => write!(f, "segment {id} holds a different event than it says"),
            Self::NotCovered(id) => write!(f, "segment {id} holds events that it does not know"),
            Self::Tail(error) => write!(f, "the events after it cannot be replayed: {error}"),
        }
    }
}

/// The end of a checkpoint's coverage: it covers all earlier segments, and this one up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    global_sequence: u64,
    watermark_segment_id: u64,
    watermark_offset: u64,
    #[serde(borrow)]
    interner_strings: Vec<&'a str>,
    entries: Vec<Saved>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    event_id: Id,
    correlation_id: Id,
    causation_id: Option<Id>,
    entity_id: u32,
    scope_id: u32,
    kind: u16,
    wall_ms: u64,
    clock: u32,
    prev_hash: [u8; 32],
    event_hash: [u8; 32],
    segment_id: u64,
    offset: u64,
    length: u32,
    global_sequence: u64,
}

impl From<&Entry> for Saved {
    fn from(entry: &Entry) -> Self {
        Self {
            event_id: frame::id(entry.id),
            correlation_id: frame::id(entry.correlation),
            causation_id: entry.causation.map(frame::id),
            entity_id: entry.entity,
            scope_id: entry.scope,
            kind: entry.kind,
            wall_ms: entry.wall_ms,
            clock: entry.clock,
            prev_hash: entry.prev_hash,
            event_hash: entry.event_hash,
            segment_id: entry.at.segment,
            offset: entry.at.offset,
            length: entry.at.length,
            global_sequence: entry.sequence,
        }
    }
}

impl From<Saved> for Entry {
    fn from(saved: Saved) -> Self {
        Self {
            id: frame::number(&saved.event_id),
            correlation: frame::number(&saved.correlation_id),
            causation: saved.causation_id.as_ref().map(frame::number),
            kind: saved.kind,
            wall_ms: saved.wall_ms,
            clock: saved.clock,
            prev_hash: saved.prev_hash,
            event_hash: saved.event_hash,
            sequence: saved.global_sequence,
            entity: saved.entity_id,
            scope: saved.scope_id,
            at: At { segment: saved.segment_id, offset: saved.offset, length: saved.length },
        }
    }
}

/// Replaces the checkpoint with one of this index.
///
/// # Errors
/// `Io`. The checkpoint is then the old or the new one, both of which are good.
pub(super) fn save(place: &Place, index: &Index, watermark: Watermark) -> Result<(), StoreError> {
    let path = place.checkpoint();
    if is_symlink(&path) {
        let message = format!("{} is a symbolic link", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, message).into());
    }
    let body = Body {
        global_sequence: index.next_sequence,
        watermark_segment_id: watermark.segment,
        watermark_offset: watermark.offset,
        interner_strings: index.interner.strings().collect(),
        entries: index.entries.iter().map(Saved::from).collect(),
    };
    let body = rmp_serde::to_vec_named(&body)
        .map_err(|error| StoreError::InvalidEvent(error.to_string()))?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    let write = || {
        let mut file = place.create_temp(&path)?;
        file.write_all(&header)?;
        file.write_all(&body)?;
        file.sync_all()?;
        place.rename(&path)
    };
    write().inspect_err(|_| place.remove_temp(&path))?;
    Ok(place.sync()?)
}

fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_symlink())
}

/// Reads the checkpoint into an index. Whether it agrees with the segments is still to be checked.
///
/// # Errors
/// The reason why it is ignored.
pub(super) fn load(place: &Place, bugs: Bugs) -> Result<(Index, Watermark), Ignored> {
    let path = place.checkpoint();
    if is_symlink(&path) {
        return Err(Ignored::Symlink);
    }
    let data = fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Ignored::Missing,
        _ => Ignored::Unreadable(error),
    })?;
    let Some((header, body)) = data.split_first_chunk::<HEADER>() else {
        return Err(Ignored::Short(data.len()));
    };
    if !header.starts_with(&MAGIC) {
        return Err(Ignored::Magic);
    }
    let version = u16::from_le_bytes([header[6], header[7]]);
    if version != VERSION {
        return Err(Ignored::Version(version));
    }
    let crc = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if crc != crc32fast::hash(body) && !bugs.checksum_unchecked {
        return Err(Ignored::Checksum);
    }
    let body: Body<'_> =
        rmp_serde::from_slice(body).map_err(|error| Ignored::Undecodable(error.to_string()))?;
    restore(body)
}

fn restore(body: Body<'_>) -> Result<(Index, Watermark), Ignored> {
    let mut index = Index::default();
    let numbers: Vec<u32> =
        body.interner_strings.iter().map(|text| index.interner.intern(text)).collect();
    // Number 0 is the empty string, which names neither an entity nor a scope.
    let number = |saved: u32| {
        let number = numbers.get(saved as usize).copied().filter(|number| *number != 0);
        number.ok_or(Ignored::StringMissing(saved))
    };
    let watermark = Watermark { segment: body.watermark_segment_id, offset: body.watermark_offset };
    let mut last: Option<(u64, At)> = None;
    for saved in body.entries {
        let mut entry = Entry::from(saved);
        entry.entity = number(entry.entity)?;
        entry.scope = number(entry.scope)?;
        let follows = last.is_none_or(|(sequence, at)| {
            let after = (at.segment, at.end()) <= (entry.at.segment, entry.at.offset);
            sequence < entry.sequence && after
        });
        if !follows || entry.sequence == u64::MAX || index.get(entry.id).is_some() {
            return Err(Ignored::Disorder);
        }
        if (entry.at.segment, entry.at.end()) > (watermark.segment, watermark.offset) {
            return Err(Ignored::PastTheEnd(entry.at.segment));
        }
        last = Some((entry.sequence, entry.at));
        index.add(entry);
    }
    index.next_sequence = index.next_sequence.max(body.global_sequence);
    Ok((index, watermark))
}
