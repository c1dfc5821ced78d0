//! Parses a segment's bytes, and finds where its history ends.
//!
//! No byte of a segment is written twice, and each write starts with a frame or a footer. So a
//! crash leaves in place of each unsynced byte that byte or zero, and the file may end early.
//! Zeros come in sectors: all of a sector, or all of it from where a write began. Other damage is
//! an error if a frame can be read after it; if not, nothing is known to be missing, and it is
//! treated as a torn write. A length that points past the end of the file is damage like any other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::footer::{self, Footer};
use super::frame::{self, BATCH_BEGIN, BATCH_COMMIT, Outline, PREFIX, ParseError};
use super::index::{At, Entry};
use super::{Bugs, StoreError};

const MAGIC: [u8; 4] = *b"FBAT";
const VERSION: u16 = 1;
/// The unit that a disk writes whole, in bytes.
const SECTOR: usize = 512;
/// The number of bytes that the search for a frame after damage may check, per byte of the file.
const SEARCH_FACTOR: usize = 64;

/// The header of a segment, which follows the magic and the header's length.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u16,
    flags: u16,
    created_ns: i64,
    segment_id: u64,
    /// A field that the origin does not have, and skips: the segment holds all events of the
    /// segments from this number up to its own. Those are dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merges_from: Option<u64>,
}

/// The header of a new segment, with magic and length.
pub(super) fn header(
    segment: u64,
    created_ns: i64,
    merges_from: Option<u64>,
) -> Result<Vec<u8>, StoreError> {
    let header =
        Header { version: VERSION, flags: 0, created_ns, segment_id: segment, merges_from };
    let header = rmp_serde::to_vec_named(&header)
        .map_err(|error| StoreError::InvalidEvent(error.to_string()))?;
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(&header);
    Ok(out)
}

/// The first of the segments that a segment was merged from; `data` is its front.
pub(super) fn merges_from(data: &[u8]) -> Option<u64> {
    let header: Header = rmp_serde::from_slice(data.strip_prefix(&MAGIC)?.get(4..)?).ok()?;
    header.merges_from
}

/// A batch that has begun: its items so far, and the number of those missing.
#[derive(Debug)]
pub(super) struct Batch {
    id: u128,
    items: Vec<(Entry, String, String)>,
    missing: u32,
}

/// A segment, to be scanned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) id: u64,
    pub(super) data: &'a [u8],
    /// Whether it is the last one, which a crash may have torn.
    pub(super) last: bool,
    pub(super) bugs: Bugs,
}

/// Where a segment's history ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The end of the header and of all frames that count; 0 if there is not even a header.
    pub(super) frames: u64,
    /// Whether the footer begins there.
    pub(super) finished: bool,
    /// Whether there is any frame that counts.
    pub(super) any: bool,
}

/// Accepts an event with its entity and its scope. Its sequence is 0 if the segment has none.
pub(super) type Sink<'a> = dyn FnMut(Entry, &str, &str) + 'a;

impl Segment<'_> {
    fn corrupt<T>(&self, offset: usize, what: impl Into<String>) -> Result<T, StoreError> {
        Err(StoreError::Corrupt { segment: self.id, offset: offset as u64, what: what.into() })
    }

    /// The length of magic, length and header; `None` if a crash tore the segment's creation.
    pub(super) fn header_len(&self) -> Result<Option<usize>, StoreError> {
        let data = self.data;
        let whole = |len: &usize| (1..=data.len().saturating_sub(PREFIX)).contains(len);
        let len = match data.split_first_chunk::<PREFIX>() {
            Some(([b'F', b'B', b'A', b'T', len @ ..], _)) => {
                Some(u32::from_be_bytes(*len) as usize)
            }
            _ => None,
        };
        let parsed = len.filter(whole).and_then(|len| {
            let header: Header = rmp_serde::from_slice(&data[PREFIX..PREFIX + len]).ok()?;
            Some((header, PREFIX + len))
        });
        match parsed {
            // This comes first: zeros may be a valid number in a torn header.
            _ if self.last && !self.bugs.headerless_is_an_error && self.is_torn_header(len) => {
                Ok(None)
            }
            Some((header, _)) if header.version != VERSION => {
                self.corrupt(0, format!("unsupported version {}", header.version))
            }
            Some((header, _)) if header.segment_id != self.id => {
                self.corrupt(0, format!("the header is that of segment {}", header.segment_id))
            }
            Some((_, len)) => Ok(Some(len)),
            None => self.corrupt(0, "no header"),
        }
    }

    /// Whether a crash can have left this of a header: its front, followed by nothing or zeros. No
    /// segment has a header that does not fit into a sector.
    fn is_torn_header(&self, len: Option<usize>) -> bool {
        if len.is_some_and(|len| len > SECTOR - PREFIX) {
            return false;
        }
        let front = &self.data[..self.data.len().min(SECTOR)];
        let kept = front.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let known = front[..kept].iter().zip(MAGIC).all(|(found, wanted)| *found == wanted);
        known && kept < len.map_or(PREFIX, |len| PREFIX + len)
    }

    /// Passes to `sink` the events whose frames begin at `from` or later. A batch in `batch`
    /// continues here; one that is open at the end is left in it.
    ///
    /// # Errors
    /// `Corrupt` for damage that no crash explains.
    pub(super) fn scan(
        &self,
        from: Option<u64>,
        batch: &mut Option<Batch>,
        sink: &mut Sink<'_>,
    ) -> Result<End, StoreError> {
        let Some(header) = self.header_len()? else {
            return Ok(End { frames: 0, finished: false, any: false });
        };
        let mut at = from.map_or(header, |from| from as usize);
        let footer = footer::start(self.data, self.data.len() as u64);
        let (checked, numbers) = footer.map(|start| self.footer(start)).unwrap_or_default();
        let mut end = End { frames: at as u64, finished: false, any: at > header };
        while at < self.data.len() {
            if footer == Some(at as u64) {
                end.finished = true;
                break;
            }
            let body = match frame::body(&self.data[at..]) {
                Ok(body) => body,
                Err(error) => {
                    self.end_of_history(at, &error, checked)?;
                    break;
                }
            };
            let outline = match frame::decode(body) {
                Ok(outline) => outline,
                Err(error) => return self.corrupt(at, error),
            };
            let offset = at as u64;
            at += PREFIX + body.len();
            let at_frame = At { segment: self.id, offset, length: (PREFIX + body.len()) as u32 };
            let number = numbers.get(&offset).copied();
            take(&outline, at_frame, number, batch, sink);
            if batch.is_none() {
                end.frames = at as u64;
                end.any = true;
            }
        }
        Ok(end)
    }

    /// Whether a footer has a checksum that matches; and unless it has one that does not, the ids
    /// and sequences of its entries, by offset.
    fn footer(&self, start: u64) -> (bool, BTreeMap<u64, (u128, u64)>) {
        match footer::decode(&self.data[start as usize..], self.id) {
            Some(Footer { entries, checked, .. }) if checked != Some(false) => {
                let number = |entry: &Entry| (entry.at.offset, (entry.id, entry.sequence));
                (checked.is_some(), entries.iter().map(number).collect())
            }
            _ => (false, BTreeMap::new()),
        }
    }

    /// Checks that the history may end at `at`, where no frame could be read.
    fn end_of_history(
        &self,
        at: usize,
        error: &ParseError,
        finished: bool,
    ) -> Result<(), StoreError> {
        if !self.last && finished {
            return self.corrupt(at, "a frame of a finished segment is damaged");
        }
        let stop = match error {
            ParseError::Incomplete => self.data.len(),
            ParseError::Damaged(seen) => at + seen,
        };
        if has_lost_sector(self.data, at, stop) || !has_frame_after(self.data, at) {
            return Ok(());
        }
        self.corrupt(at, "a frame is damaged, and frames follow it")
    }
}

/// The byte of a segment, other than the last one, up to which damage is reported: the one where
/// its footer begins, if that has a checksum that matches; else 0. A segment without one may be the
/// origin's, which a crash may have torn.
pub fn reported_up_to(segment: u64, data: &[u8]) -> usize {
    let start = footer::start(data, data.len() as u64).map_or(0, |start| start as usize);
    let footer = footer::decode(&data[start..], segment);
    if footer.is_some_and(|footer| footer.checked == Some(true)) { start } else { 0 }
}

/// Passes a frame's event to `sink`, or adds it to the open batch. The items of a batch that is not
/// whole, or is interrupted by a marker, are dropped.
fn take(
    outline: &Outline<'_>,
    at: At,
    number: Option<(u128, u64)>,
    batch: &mut Option<Batch>,
    sink: &mut Sink<'_>,
) {
    let header = &outline.event.header;
    let id = frame::number(&header.event_id);
    match (header.event_kind, batch.take()) {
        (BATCH_BEGIN, _) => {
            *batch = Some(Batch { id, items: Vec::new(), missing: header.payload_size });
        }
        (BATCH_COMMIT, Some(whole)) if whole.missing == 0 && whole.id == id => {
            for (entry, entity, scope) in whole.items {
                sink(entry, &entity, &scope);
            }
        }
        (BATCH_COMMIT, _) => {}
        (_, Some(mut open)) if open.missing > 0 => {
            let entry = entry(outline, at, number);
            open.items.push((entry, outline.entity.to_owned(), outline.scope.to_owned()));
            open.missing -= 1;
            *batch = Some(open);
        }
        _ => sink(entry(outline, at, number), outline.entity, outline.scope),
    }
}

/// The entry of a frame. The footer's sequence counts if it belongs to the same event.
pub(super) fn entry(outline: &Outline<'_>, at: At, number: Option<(u128, u64)>) -> Entry {
    let header = &outline.event.header;
    let chain = outline.event.hash_chain.unwrap_or_default();
    let id = frame::number(&header.event_id);
    Entry {
        id,
        correlation: frame::number(&header.correlation_id),
        causation: header.causation_id.as_ref().map(frame::number),
        kind: header.event_kind,
        wall_ms: header.position.wall_ms,
        clock: header.position.sequence,
        prev_hash: chain.prev_hash,
        event_hash: chain.event_hash,
        sequence: number.filter(|(of, _)| *of == id).map_or(0, |(_, sequence)| sequence),
        entity: 0,
        scope: 0,
        at,
    }
}

/// Whether some sector that has bytes in `start..stop` is all zeros from its first byte on, or from
/// `start` on if that is later.
fn has_lost_sector(data: &[u8], start: usize, stop: usize) -> bool {
    (start / SECTOR..=(stop - 1) / SECTOR).any(|sector| {
        let from = start.max(sector * SECTOR);
        let to = data.len().min((sector + 1) * SECTOR);
        data[from..to].iter().all(|byte| *byte == 0)
    })
}

/// Whether a frame can be read anywhere after `at`.
fn has_frame_after(data: &[u8], at: usize) -> bool {
    let mut budget = data.len().saturating_mul(SEARCH_FACTOR);
    for start in at + 1..data.len() {
        match frame::body(&data[start..]) {
            Ok(body) if frame::decode::<serde::de::IgnoredAny>(body).is_ok() => return true,
            Ok(_) | Err(ParseError::Incomplete) => {}
            // Reporting corruption without having looked everywhere loses nothing.
            Err(ParseError::Damaged(seen)) if seen > budget => return true,
            Err(ParseError::Damaged(seen)) => budget -= seen,
        }
    }
    false
}
