//! Encodes and decodes a snapshot, all keys at one moment, in the format `KEVYSNAP` version 2.
//!
//! ```text
//! file   "KEVYSNAP" version:u8 entry* 0
//! entry  type:u8 ttl key payload          type 1 string, 2 hash, 3 list, 4 set, 5 sorted set
//! ttl    0 | 1 remaining:u64le            milliseconds from the time of saving
//! bytes  len:u32le byte*                  key, and each member of a payload
//! string bytes    hash count:u32le (bytes bytes)*    list, set count:u32le bytes*
//! sorted set  count:u32le (bytes score:u64le)*       the score's bits
//! ```
//!
//! The format has no checksum and no time of saving. A log that follows a snapshot has both, in
//! its [`Name`].

use std::fmt;
use std::io::{self, Write};

use super::AofError;
use super::keyspace::Keyspace;
use super::value::{Bytes, Entry, Kind, Value};

const MAGIC: &[u8; 8] = b"KEVYSNAP";
const VERSION: u8 = 2;
const END: u8 = 0;

/// Identifies a snapshot, and reveals damage to it: the checksum and the length of its bytes, and
/// the time when it was saved, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) crc: u32,
    pub(super) len: u64,
    pub(super) saved: u64,
}

impl Name {
    /// Whether a file's bytes have this checksum and length; they do not hold the time of saving.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len() as u64 && self.crc == crc32fast::hash(bytes)
    }

    /// Reads the form that `Display` writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (crc, rest) = text.split_once('-')?;
        let (len, saved) = rest.split_once('@')?;
        let crc = u32::from_str_radix(crc, 16).ok()?;
        Some(Self { crc, len: len.parse().ok()?, saved: saved.parse().ok()? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}@{}", self.crc, self.len, self.saved)
    }
}

/// Writes the keys that live at `now`; the same state at the same time gives the same bytes.
pub(super) fn write(out: impl Write, keyspace: &Keyspace, now: u64) -> Result<Name, AofError> {
    let mut out = ChecksumWriter { out, crc: crc32fast::Hasher::new(), len: 0 };
    out.put(&[&MAGIC[..], &[VERSION]].concat())?;
    let mut entry = Vec::new();
    for (key, Entry { value, deadline }) in keyspace.entries() {
        if deadline.is_some_and(|deadline| deadline <= now) {
            continue;
        }
        entry.clear();
        encode(&mut entry, key, value, deadline.map(|deadline| deadline - now))?;
        out.put(&entry)?;
    }
    out.put(&[END])?;
    out.out.flush()?;
    Ok(Name { crc: out.crc.finalize(), len: out.len, saved: now })
}

/// Passes bytes on, and computes their checksum and length.
struct ChecksumWriter<W> {
    out: W,
    crc: crc32fast::Hasher,
    len: u64,
}

impl<W: Write> ChecksumWriter<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

fn encode(out: &mut Vec<u8>, key: &[u8], value: &Value, ttl: Option<u64>) -> Result<(), AofError> {
    out.push(match value.kind() {
        Kind::Str => 1,
        Kind::Hash => 2,
        Kind::List => 3,
        Kind::Set => 4,
        Kind::ZSet => 5,
    });
    match ttl {
        None => out.push(0),
        Some(remaining) => {
            out.push(1);
            out.extend_from_slice(&remaining.to_le_bytes());
        }
    }
    put_bytes(out, key)?;
    match value {
        Value::Str(text) => put_bytes(out, text)?,
        Value::Hash(hash) => {
            put_len(out, hash.len())?;
            for (field, value) in hash {
                put_bytes(out, field)?;
                put_bytes(out, value)?;
            }
        }
        Value::List(list) => {
            put_len(out, list.len())?;
            list.iter().try_for_each(|item| put_bytes(out, item))?;
        }
        Value::Set(set) => {
            put_len(out, set.len())?;
            set.iter().try_for_each(|member| put_bytes(out, member))?;
        }
        Value::ZSet(_) => {
            let ranked = value.ranked();
            put_len(out, ranked.len())?;
            for (member, score) in ranked {
                put_bytes(out, member)?;
                out.extend_from_slice(&score.to_bits().to_le_bytes());
            }
        }
    }
    Ok(())
}

fn put_len(out: &mut Vec<u8>, len: usize) -> Result<(), AofError> {
    let len = u32::try_from(len).map_err(|_| {
        AofError::Format(format!("{len} is more than a snapshot can count (4,294,967,295)"))
    })?;
    out.extend_from_slice(&len.to_le_bytes());
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), AofError> {
    put_len(out, bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Adds the keys of a snapshot that was saved at `saved`; existing keys stay, except for those that
/// the snapshot has too. With `unverified` (K6) bytes after the end are ignored.
pub(super) fn read(
    bytes: &[u8],
    saved: u64,
    keyspace: &mut Keyspace,
    unverified: bool,
) -> Result<(), AofError> {
    if !bytes.starts_with(MAGIC) {
        return Err(AofError::Format("not a snapshot: it does not begin with KEVYSNAP".into()));
    }
    let mut fields = Fields { bytes, at: MAGIC.len() };
    let version = fields.u8()?;
    if version != VERSION {
        return Err(AofError::Format(format!("snapshot version {version}, not {VERSION}")));
    }
    loop {
        let start = fields.at;
        let kind = fields.u8()?;
        if kind == END {
            break;
        }
        if kind > 5 {
            return Err(damaged(start, &format!("unknown type {kind}")));
        }
        let deadline = match fields.u8()? {
            0 => None,
            1 => Some(saved.saturating_add(fields.u64()?)),
            flag => return Err(damaged(fields.at - 1, &format!("unknown flag {flag}"))),
        };
        let key = fields.bytes()?;
        let value = fields.value(kind)?;
        keyspace.insert(key, Entry { value, deadline });
    }
    if fields.at < bytes.len() && !unverified {
        return Err(damaged(fields.at, "bytes after the end"));
    }
    Ok(())
}

fn damaged(at: usize, what: &str) -> AofError {
    AofError::Corrupt(format!("snapshot, byte {at}: {what}"))
}

/// The fields of a snapshot, in order.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], AofError> {
        let left = self.bytes.len() - self.at;
        let field = self.bytes[self.at..].get(..len).ok_or_else(|| {
            damaged(self.at, &format!("{len} bytes expected, but only {left} left"))
        })?;
        self.at += len;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AofError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| damaged(at, "cut off"))
    }

    fn u8(&mut self) -> Result<u8, AofError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, AofError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn len(&mut self) -> Result<usize, AofError> {
        let at = self.at;
        usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| damaged(at, "too long"))
    }

    fn bytes(&mut self) -> Result<Bytes, AofError> {
        let len = self.len()?;
        Ok(self.take(len)?.to_vec())
    }

    /// A count of things that take at least `least` bytes each: never more than there is room for.
    fn count(&mut self, least: usize) -> Result<usize, AofError> {
        let (at, count) = (self.at, self.len()?);
        let room = (self.bytes.len() - self.at) / least;
        if count > room {
            let what = format!("a count of {count}, but there is only room for {room}");
            return Err(damaged(at, &what));
        }
        Ok(count)
    }

    fn value(&mut self, kind: u8) -> Result<Value, AofError> {
        Ok(match kind {
            1 => Value::Str(self.bytes()?),
            2 => {
                let count = self.count(8)?;
                Value::Hash(
                    (0..count)
                        .map(|_| Ok((self.bytes()?, self.bytes()?)))
                        .collect::<Result<_, AofError>>()?,
                )
            }
            3 => {
                let count = self.count(4)?;
                Value::List((0..count).map(|_| self.bytes()).collect::<Result<_, _>>()?)
            }
            4 => {
                let count = self.count(4)?;
                Value::Set((0..count).map(|_| self.bytes()).collect::<Result<_, _>>()?)
            }
            _ => {
                let count = self.count(12)?;
                Value::ZSet((0..count).map(|_| self.scored()).collect::<Result<_, _>>()?)
            }
        })
    }

    fn scored(&mut self) -> Result<(Bytes, f64), AofError> {
        let (member, at) = (self.bytes()?, self.at);
        let score = f64::from_bits(self.u64()?);
        if score.is_nan() {
            return Err(damaged(at, "a score that is not a number"));
        }
        Ok((member, score))
    }
}
