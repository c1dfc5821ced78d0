//! Frames: a length, a checksum, and an event in MessagePack.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::StoreError;

/// The length of the prefix of the MessagePack: its length and its CRC-32, both `u32` big-endian.
pub(super) const PREFIX: usize = 8;

/// The longest MessagePack of a frame; more is damage.
pub(super) const BODY_MAX: usize = 256 * 1024 * 1024;

/// The kind of the frame before the items of a batch; its `payload_size` is their number.
pub(super) const BATCH_BEGIN: u16 = 0x0006;
/// The kind of the frame that makes a batch whole.
pub(super) const BATCH_COMMIT: u16 = 0x0007;

/// A 128-bit id, 16 bytes big-endian on disk.
pub(super) type Id = ByteArray<16>;

pub(super) fn id(id: u128) -> Id {
    ByteArray::new(id.to_be_bytes())
}

pub(super) fn number(id: &Id) -> u128 {
    u128::from_be_bytes(**id)
}

/// The position of an event in its entity's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) wall_ms: u64,
    pub(super) counter: u16,
    pub(super) depth: u32,
    pub(super) lane: u32,
    pub(super) sequence: u32,
}

/// All of an event except its payload, its place and its hash chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) event_id: Id,
    pub(super) correlation_id: Id,
    pub(super) causation_id: Option<Id>,
    pub(super) timestamp_us: i64,
    pub(super) position: Position,
    pub(super) payload_size: u32,
    pub(super) event_kind: u16,
    pub(super) flags: u8,
    #[serde(default)]
    pub(super) content_hash: [u8; 32],
}

/// The hash of an event's payload, and that of its predecessor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    pub(super) prev_hash: [u8; 32],
    pub(super) event_hash: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event<P> {
    pub(super) header: Header,
    pub(super) payload: P,
    pub(super) hash_chain: Option<Chain>,
}

/// The content of a frame. The payload is an array of numbers: the origin serialises a `Vec<u8>`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body<'a, P> {
    pub(super) event: Event<P>,
    pub(super) entity: &'a str,
    pub(super) scope: &'a str,
}

/// A body whose payload is not needed.
pub(super) type Outline<'a> = Body<'a, IgnoredAny>;

/// Why some bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// It would continue past the end of the bytes.
    Incomplete,
    /// The checksum does not match, or the length is 0; this many bytes were examined.
    Damaged(usize),
}

/// Appends a frame with this body.
///
/// # Errors
/// `InvalidEvent` if it is too long for the format.
pub(super) fn encode<P: Serialize>(
    out: &mut Vec<u8>,
    body: &Body<'_, P>,
) -> Result<(), StoreError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    rmp_serde::encode::write_named(out, body)
        .map_err(|error| StoreError::InvalidEvent(error.to_string()))?;
    let len = out.len() - start - PREFIX;
    if len > BODY_MAX {
        out.truncate(start);
        return Err(StoreError::InvalidEvent(format!("{len} bytes, more than {BODY_MAX}")));
    }
    let crc = crc32fast::hash(&out[start + PREFIX..]);
    out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes());
    out[start + 4..start + PREFIX].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Appends the frame before a batch of `items` items, or (with 0 items) the one after a batch.
/// `batch` identifies the batch.
///
/// # Errors
/// As [`encode`].
pub(super) fn encode_marker(
    out: &mut Vec<u8>,
    kind: u16,
    batch: u64,
    items: u32,
    timestamp_us: i64,
) -> Result<(), StoreError> {
    let header = Header {
        event_id: id(batch.into()),
        correlation_id: id(batch.into()),
        causation_id: None,
        timestamp_us,
        position: Position { wall_ms: millis(timestamp_us), ..Position::default() },
        payload_size: items,
        event_kind: kind,
        flags: 0,
        content_hash: [0; 32],
    };
    let payload: &[u8] = &[];
    let event = Event { header, payload, hash_chain: None };
    encode(out, &Body { event, entity: "_batch", scope: "_system" })
}

/// Microseconds since 1970 in whole milliseconds.
pub(super) fn millis(timestamp_us: i64) -> u64 {
    u64::try_from(timestamp_us / 1000).unwrap_or(0)
}

/// The MessagePack of the frame at the start of `data`.
///
/// # Errors
/// See [`ParseError`].
pub(super) fn body(data: &[u8]) -> Result<&[u8], ParseError> {
    let Some((prefix, rest)) = data.split_at_checked(PREFIX) else {
        return Err(ParseError::Incomplete);
    };
    let word = |at: usize| {
        u32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    let len = word(0) as usize;
    // A run of zeros would be an empty frame with the right checksum.
    if len == 0 {
        return Err(ParseError::Damaged(PREFIX));
    }
    if len > BODY_MAX || len > rest.len() {
        return Err(ParseError::Incomplete);
    }
    let body = &rest[..len];
    if crc32fast::hash(body) == word(4) { Ok(body) } else { Err(ParseError::Damaged(PREFIX + len)) }
}

/// Decodes a frame's MessagePack.
///
/// # Errors
/// The decoder's message.
pub(super) fn decode<'a, P: Deserialize<'a>>(body: &'a [u8]) -> Result<Body<'a, P>, String> {
    rmp_serde::from_slice(body).map_err(|error| error.to_string())
}
