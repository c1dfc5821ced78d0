//! What a segment's bytes hold, and where its history ends.
//!
//! No byte of a segment is written twice, and each write starts with a frame or a footer. So a
//! crash leaves in place of each unsynced byte that byte or zero, and the file may end early.
//! Zeros come by sectors: all of a sector, or all of it from where a write began. Other damage is
//! an error if a frame can be read behind it; if not, nothing is known to be missing, and it is
//! taken for a torn write. A length that points past the end of the file is damage like any other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::footer::{self, Footer};
use super::frame::{self, BATCH_BEGIN, BATCH_COMMIT, Fault, Outline, PREFIX};
use super::index::{At, Entry};
use super::{Bugs, StoreError};

const MAGIC: [u8; 4] = *b"FBAT";
const VERSION: u16 = 1;
/// The unit that a disk writes whole, in bytes.
const SECTOR: usize = 512;
/// How many bytes the search for a frame behind damage may check, per byte of the file.
const SEARCH_FACTOR: usize = 64;

/// What a segment begins with, behind the magic and its own length.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u16,
    flags: u16,
    created_ns: i64,
    segment_id: u64,
    /// Not the origin's, which reads past it: the segment holds all that those from this one up to
    /// it held. They are dead.
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

/// The first of the segments that this one, of which `data` is the front, was merged from.
pub(super) fn merges_from(data: &[u8]) -> Option<u64> {
    let header: Header = rmp_serde::from_slice(data.strip_prefix(&MAGIC)?.get(4..)?).ok()?;
    header.merges_from
}

/// A batch that has begun: its items so far, and how many are missing.
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
    /// Behind the header and all frames that count; 0 if there is not even a header.
    pub(super) frames: u64,
    /// Whether the footer begins there.
    pub(super) finished: bool,
    /// Whether there is any frame that counts.
    pub(super) any: bool,
}

/// Takes an event with its entity and its scope. Its sequence is 0 if the segment does not say.
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
            // Before the header is asked: zeros may be a number in it.
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

    /// Whether a crash can have made this of a header: its front, and then nothing or zeros. One
    /// that does not fit into a sector is none of a segment.
    fn is_torn_header(&self, len: Option<usize>) -> bool {
        if len.is_some_and(|len| len > SECTOR - PREFIX) {
            return false;
        }
        let front = &self.data[..self.data.len().min(SECTOR)];
        let kept = front.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let known = front[..kept].iter().zip(MAGIC).all(|(found, wanted)| *found == wanted);
        known && kept < len.map_or(PREFIX, |len| PREFIX + len)
    }

    /// Gives `sink` the events whose frames begin at `from` or behind. A batch that `batch` holds
    /// goes on here; one that is open at the end is left there.
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
                Err(fault) => {
                    self.end_of_history(at, &fault, checked)?;
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

    /// Whether a footer's checksum is right; and unless it is wrong, the ids and sequences of its
    /// entries, by offset.
    fn footer(&self, start: u64) -> (bool, BTreeMap<u64, (u128, u64)>) {
        match footer::decode(&self.data[start as usize..], self.id) {
            Some(Footer { entries, checked, .. }) if checked != Some(false) => {
                let number = |entry: &Entry| (entry.at.offset, (entry.id, entry.sequence));
                (checked.is_some(), entries.iter().map(number).collect())
            }
            _ => (false, BTreeMap::new()),
        }
    }

    /// Says whether the history may end at `at`, where no frame could be read.
    fn end_of_history(&self, at: usize, fault: &Fault, finished: bool) -> Result<(), StoreError> {
        if !self.last && finished {
            return self.corrupt(at, "a frame of a finished segment is damaged");
        }
        let stop = match fault {
            Fault::Incomplete => self.data.len(),
            Fault::Damaged(seen) => at + seen,
        };
        if has_lost_sector(self.data, at, stop) || !has_frame_after(self.data, at) {
            return Ok(());
        }
        self.corrupt(at, "a frame is damaged, and frames follow it")
    }
}

/// Up to which byte of a segment that is not the last one damage is told: to where its footer
/// begins, if that has a checksum, and a right one. The others may be those of the origin, which a
/// crash may have torn.
pub fn told_up_to(segment: u64, data: &[u8]) -> usize {
    let start = footer::start(data, data.len() as u64).map_or(0, |start| start as usize);
    let footer = footer::decode(&data[start..], segment);
    if footer.is_some_and(|footer| footer.checked == Some(true)) { start } else { 0 }
}

/// Takes a frame's event, or puts it into the open batch. Items of a batch that is not whole, a
/// marker out of place among them, are dropped.
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

/// The entry of a frame. The footer's sequence counts if it is of the same event.
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
/// `start` on where that is later.
fn has_lost_sector(data: &[u8], start: usize, stop: usize) -> bool {
    (start / SECTOR..=(stop - 1) / SECTOR).any(|sector| {
        let from = start.max(sector * SECTOR);
        let to = data.len().min((sector + 1) * SECTOR);
        data[from..to].iter().all(|byte| *byte == 0)
    })
}

/// Whether a frame can be read anywhere behind `at`.
fn has_frame_after(data: &[u8], at: usize) -> bool {
    let mut budget = data.len().saturating_mul(SEARCH_FACTOR);
    for start in at + 1..data.len() {
        match frame::body(&data[start..]) {
            Ok(body) if frame::decode::<serde::de::IgnoredAny>(body).is_ok() => return true,
            Ok(_) | Err(Fault::Incomplete) => {}
            // To say "damaged" without having looked everywhere is the answer that loses nothing.
            Err(Fault::Damaged(seen)) if seen > budget => return true,
            Err(Fault::Damaged(seen)) => budget -= seen,
        }
    }
    false
}
