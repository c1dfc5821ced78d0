//! The footer of a finished segment: its index entries, so that an open need not read its frames.
//!
//! ```text
//! footer  strings entry* strings_offset:u64le entries:u32le "SIDX"
//! strings MessagePack array of entity and scope names
//! entry   154 bytes, little-endian: id:16 entity:u32 scope:u32 kind:u16 wall_ms:u64 clock:u32
//!         prev_hash:32 event_hash:32 offset:u64 length:u32 sequence:u64 correlation:16
//!         causation:16 (0: none)
//! ```
//!
//! The origin has no checksum here. Ours is one more string at the end of the table,
//! `crc32:XXXXXXXX` over all bytes of the footer without it; the origin ignores it. A footer
//! without it is not trusted.

use std::collections::BTreeMap;

use super::StoreError;
use super::index::{At, Entry};

const MAGIC: [u8; 4] = *b"SIDX";
pub(super) const TRAILER: usize = 16;
const ENTRY: usize = 154;

/// A footer's entries, and the strings that they refer to by number.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) entries: Vec<Entry>,
    pub(super) strings: Vec<String>,
    /// Whether its checksum matches; `None` if it has none.
    pub(super) checked: Option<bool>,
}

/// The offset at which the footer of a segment of this length says that it starts; `trailer` is
/// the file's last bytes.
pub(super) fn start(trailer: &[u8], file_len: u64) -> Option<u64> {
    let trailer: &[u8; TRAILER] = trailer.last_chunk()?;
    let (offset, rest) = trailer.split_first_chunk::<8>()?;
    let (entries, magic) = rest.split_first_chunk::<4>()?;
    let entries = u64::from(u32::from_le_bytes(*entries)) * ENTRY as u64 + TRAILER as u64;
    let offset = u64::from_le_bytes(*offset);
    let fits = offset.checked_add(entries).is_some_and(|end| end < file_len);
    (*magic == MAGIC && fits).then_some(offset)
}

/// The footer of a segment that starts at `offset` and holds these events.
///
/// # Errors
/// `InvalidEvent` if there are more than the format can count.
pub(super) fn encode<'a>(
    offset: u64,
    events: impl Iterator<Item = (&'a Entry, &'a str, &'a str)>,
) -> Result<Vec<u8>, StoreError> {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut strings: Vec<&str> = Vec::new();
    let mut entries = Vec::new();
    let mut count = 0u32;
    for (entry, entity, scope) in events {
        let mut intern = |text: &'a str| {
            *numbers.entry(text).or_insert_with(|| {
                strings.push(text);
                strings.len() as u32 - 1
            })
        };
        let (entity, scope) = (intern(entity), intern(scope));
        put(&mut entries, entry, entity, scope);
        count = count
            .checked_add(1)
            .ok_or_else(|| StoreError::InvalidEvent("too many events for a footer".into()))?;
    }
    let mut trailer = offset.to_le_bytes().to_vec();
    trailer.extend_from_slice(&count.to_le_bytes());
    trailer.extend_from_slice(&MAGIC);
    let checksum = checksum(&strings, &entries, &trailer)?;
    strings.push(&checksum);
    let mut out = table(&strings)?;
    out.append(&mut entries);
    out.append(&mut trailer);
    Ok(out)
}

/// Decodes the footer of a segment; `None` if the bytes are no footer.
pub(super) fn decode(footer: &[u8], segment: u64) -> Option<Footer> {
    let (rest, trailer) = footer.split_last_chunk::<TRAILER>()?;
    let count = u32::from_le_bytes([trailer[8], trailer[9], trailer[10], trailer[11]]) as usize;
    let (strings, entries) = rest.split_at_checked(rest.len().checked_sub(count * ENTRY)?)?;
    let mut strings: Vec<String> = rmp_serde::from_slice(strings).ok()?;
    let checked = match strings.last() {
        Some(last) if last.starts_with("crc32:") => {
            let names: Vec<&str> =
                strings[..strings.len() - 1].iter().map(String::as_str).collect();
            let right = checksum(&names, entries, trailer).is_ok_and(|right| right == *last);
            strings.pop();
            Some(right)
        }
        _ => None,
    };
    let entries = entries.chunks_exact(ENTRY).map(|entry| take(entry, segment));
    let entries: Vec<Entry> = entries.collect::<Option<_>>()?;
    let known = |number: u32| (number as usize) < strings.len();
    let all_known = entries.iter().all(|entry| known(entry.entity) && known(entry.scope));
    all_known.then_some(Footer { entries, strings, checked })
}

fn table(strings: &[&str]) -> Result<Vec<u8>, StoreError> {
    rmp_serde::to_vec(strings).map_err(|error| StoreError::InvalidEvent(error.to_string()))
}

fn checksum(strings: &[&str], entries: &[u8], trailer: &[u8]) -> Result<String, StoreError> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&table(strings)?);
    crc.update(entries);
    crc.update(trailer);
    Ok(format!("crc32:{:08x}", crc.finalize()))
}

fn put(out: &mut Vec<u8>, entry: &Entry, entity: u32, scope: u32) {
    out.extend_from_slice(&entry.id.to_le_bytes());
    out.extend_from_slice(&entity.to_le_bytes());
    out.extend_from_slice(&scope.to_le_bytes());
    out.extend_from_slice(&entry.kind.to_le_bytes());
    out.extend_from_slice(&entry.wall_ms.to_le_bytes());
    out.extend_from_slice(&entry.clock.to_le_bytes());
    out.extend_from_slice(&entry.prev_hash);
    out.extend_from_slice(&entry.event_hash);
    out.extend_from_slice(&entry.at.offset.to_le_bytes());
    out.extend_from_slice(&entry.at.length.to_le_bytes());
    out.extend_from_slice(&entry.sequence.to_le_bytes());
    out.extend_from_slice(&entry.correlation.to_le_bytes());
    out.extend_from_slice(&entry.causation.unwrap_or(0).to_le_bytes());
}

/// Takes the first `N` bytes off `from`.
fn next<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

fn take(mut entry: &[u8], segment: u64) -> Option<Entry> {
    let from = &mut entry;
    let id = u128::from_le_bytes(next(from)?);
    let entity = u32::from_le_bytes(next(from)?);
    let scope = u32::from_le_bytes(next(from)?);
    let kind = u16::from_le_bytes(next(from)?);
    let wall_ms = u64::from_le_bytes(next(from)?);
    let clock = u32::from_le_bytes(next(from)?);
    let prev_hash = next(from)?;
    let event_hash = next(from)?;
    let offset = u64::from_le_bytes(next(from)?);
    let length = u32::from_le_bytes(next(from)?);
    let sequence = u64::from_le_bytes(next(from)?);
    let correlation = u128::from_le_bytes(next(from)?);
    let causation = Some(u128::from_le_bytes(next(from)?)).filter(|id| *id != 0);
    let at = At { segment, offset, length };
    Some(Entry {
        id,
        correlation,
        causation,
        kind,
        wall_ms,
        clock,
        prev_hash,
        event_hash,
        sequence,
        entity,
        scope,
        at,
    })
}
