//! Encodes and decodes the records of the toy's logs and snapshots.
//!
//! ```text
//! record  crc32:u32le len:u32le payload     the CRC covers the length and the payload
//! payload kind:u8 key_len:u16le key rest    rest: the value, or the number as i64le
//! ```
//!
//! The kind's high bit says that the next record belongs to the same batch. A zero header is no
//! record: the CRC of a zero length is not zero.

use super::Bug;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const ADD: u8 = 3;
const MORE: u8 = 0x80;
const HEADER_LEN: usize = 8;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The key now has this value.
    Put {
        /// At most 65,535 bytes.
        key: Vec<u8>,
        /// At most 1 GiB.
        value: Vec<u8>,
    },
    /// The key is gone.
    Delete {
        /// At most 65,535 bytes.
        key: Vec<u8>,
    },
    /// The key's value, a decimal number (0 if there is none), grows by this much.
    Add {
        /// At most 65,535 bytes.
        key: Vec<u8>,
        /// By how much; may be negative.
        n: i64,
    },
}

impl Op {
    /// The key that changes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Add { key, .. } => key,
        }
    }
}

/// Appends a batch, record by record; returns where its last record starts.
pub(in crate::engines) fn encode(out: &mut Vec<u8>, batch: &[Op], bug: Option<Bug>) -> usize {
    let mut last = out.len();
    for (i, op) in batch.iter().enumerate() {
        last = out.len();
        let more = i + 1 < batch.len() && bug != Some(Bug::BatchNotAtomic);
        encode_op(out, op, more);
    }
    last
}

/// The content of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engines) struct Replay {
    /// The ops of all whole batches, in order.
    pub(in crate::engines) ops: Vec<Op>,
    /// Where the last whole batch ends.
    pub(in crate::engines) end: usize,
}

/// Reads batches up to the first that is incomplete or damaged. The bytes after that were never
/// acknowledged as durable, and may have been written later than the missing ones.
pub(in crate::engines) fn replay(log: &[u8], bug: Option<Bug>) -> Replay {
    let mut replay = Replay::default();
    let mut batch = Vec::new();
    let mut at = 0;
    while at < log.len() {
        match decode(&log[at..], bug) {
            Some((op, more, len)) => {
                at += len;
                batch.push(op);
                if !more {
                    replay.ops.append(&mut batch);
                    replay.end = at;
                }
            }
            None if bug == Some(Bug::DamageSkipped) => at += 1,
            None => break,
        }
    }
    replay
}

fn encode_op(out: &mut Vec<u8>, op: &Op, more: bool) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    let number;
    let (kind, rest): (u8, &[u8]) = match op {
        Op::Put { value, .. } => (PUT, value),
        Op::Delete { .. } => (DELETE, &[]),
        Op::Add { n, .. } => {
            number = n.to_le_bytes();
            (ADD, &number)
        }
    };
    out.push(if more { kind | MORE } else { kind });
    // The lengths were checked when the op was accepted.
    out.extend_from_slice(&(op.key().len() as u16).to_le_bytes());
    out.extend_from_slice(op.key());
    out.extend_from_slice(rest);
    let len = (out.len() - start - HEADER_LEN) as u32;
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The first record: its op, whether its batch continues, and its length.
fn decode(bytes: &[u8], bug: Option<Bug>) -> Option<(Op, bool, usize)> {
    let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let len = u32::from_le_bytes(bytes.get(4..HEADER_LEN)?.try_into().ok()?);
    if bug == Some(Bug::ZerosAreRecords) && (crc, len) == (0, 0) {
        return Some((Op::Put { key: Vec::new(), value: Vec::new() }, false, HEADER_LEN));
    }
    let mut end = HEADER_LEN.checked_add(usize::try_from(len).ok()?)?;
    let cut = bug == Some(Bug::CutRecordAccepted) && end > bytes.len();
    if cut {
        end = bytes.len();
    }
    let checked = bytes.get(4..end)?;
    if crc32fast::hash(checked) != crc && !cut && bug != Some(Bug::ChecksumIgnored) {
        return None;
    }
    let (kind, key_len) = (*checked.get(4)?, checked.get(5..7)?.try_into().ok()?);
    let (key, rest) = checked[7..].split_at_checked(u16::from_le_bytes(key_len).into())?;
    let key = key.to_vec();
    let op = match kind & !MORE {
        PUT => Op::Put { key, value: rest.to_vec() },
        DELETE => Op::Delete { key },
        ADD => Op::Add { key, n: i64::from_le_bytes(rest.try_into().ok()?) },
        _ => return None,
    };
    Some((op, kind & MORE != 0, end))
}
