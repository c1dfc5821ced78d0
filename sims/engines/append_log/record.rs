//! Encodes and parses one record; parsing does not copy.

use super::{Cursor, SnapshotError, TOKEN_MAX, Update, VersionToken};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CURSOR: u8 = 3;

/// The CRC and the type.
const PREFIX_LEN: usize = 5;

/// A record in a file's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Put { key: &'a str, value: &'a [u8], version: VersionToken },
    Delete { key: &'a str },
    Cursor(Cursor),
}

/// Why some bytes are not a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// The bytes end before the record does.
    Incomplete,
    /// The checksum does not match, or there is no such type. Only the first `seen` bytes were
    /// examined: if the damage is in a length, the real end of the record is unknown.
    Damaged { seen: usize },
    /// The checksum matches, so this was written on purpose, but not by a writer of this format.
    Foreign(String),
}

/// Checks that a record can hold an update.
pub(super) fn check(update: &Update) -> Result<(), SnapshotError> {
    match update {
        Update::Put(entry) => {
            key_len(&entry.key)?;
            value_len(&entry.value)?;
        }
        Update::Delete { key, .. } | Update::Purge { key, .. } => {
            key_len(key)?;
        }
    }
    Ok(())
}

/// Appends a put record.
pub(super) fn encode_put(
    out: &mut Vec<u8>,
    key: &str,
    value: &[u8],
    version: VersionToken,
) -> Result<(), SnapshotError> {
    let key_len = key_len(key)?;
    let value_len = value_len(value)?;
    sealed(out, PUT, |out| {
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(value);
        put_token(out, version);
    });
    Ok(())
}

/// Appends a delete record.
pub(super) fn encode_delete(
    out: &mut Vec<u8>,
    key: &str,
    version: VersionToken,
) -> Result<(), SnapshotError> {
    let key_len = key_len(key)?;
    sealed(out, DELETE, |out| {
        out.extend_from_slice(&key_len.to_le_bytes());
        out.extend_from_slice(key.as_bytes());
        put_token(out, version);
    });
    Ok(())
}

/// Appends a cursor record.
pub(super) fn encode_cursor(out: &mut Vec<u8>, cursor: Cursor) {
    sealed(out, CURSOR, |out| put_token(out, cursor.version()));
}

/// Parses the record that `bytes` start with; also returns its length.
pub(super) fn parse(bytes: &[u8]) -> Result<(Record<'_>, usize), ParseError> {
    let mut fields = Fields { bytes, at: 0 };
    let crc = fields.u32()?;
    let record = match fields.u8()? {
        PUT => Raw::Put { key: fields.key()?, value: fields.value()?, token: fields.token()? },
        DELETE => Raw::Delete { key: fields.key()?, token: fields.token()? },
        CURSOR => Raw::Cursor { token: fields.token()? },
        _ => return Err(ParseError::Damaged { seen: fields.at }),
    };
    let len = fields.at;
    if crc32fast::hash(&bytes[4..len]) != crc {
        return Err(ParseError::Damaged { seen: len });
    }
    Ok((record.checked().map_err(|error| ParseError::Foreign(error.to_string()))?, len))
}

/// A record whose checksum is not yet known to match.
enum Raw<'a> {
    Put { key: &'a [u8], value: &'a [u8], token: &'a [u8] },
    Delete { key: &'a [u8], token: &'a [u8] },
    Cursor { token: &'a [u8] },
}

impl<'a> Raw<'a> {
    fn checked(self) -> Result<Record<'a>, SnapshotError> {
        Ok(match self {
            Self::Put { key, value, token } => {
                Record::Put { key: utf8(key)?, value, version: VersionToken::from_bytes(token)? }
            }
            Self::Delete { key, token } => {
                VersionToken::from_bytes(token)?;
                Record::Delete { key: utf8(key)? }
            }
            Self::Cursor { token } => {
                Record::Cursor(Cursor::from_version(VersionToken::from_bytes(token)?))
            }
        })
    }
}

/// The fields of a record, in order.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let field = self.bytes[self.at..].get(..len).ok_or(ParseError::Incomplete)?;
        self.at += len;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        self.take(N)?.try_into().map_err(|_| ParseError::Incomplete)
    }

    fn u8(&mut self) -> Result<u8, ParseError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn key(&mut self) -> Result<&'a [u8], ParseError> {
        let len = u16::from_le_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn value(&mut self) -> Result<&'a [u8], ParseError> {
        let len = usize::try_from(self.u32()?).map_err(|_| ParseError::Incomplete)?;
        self.take(len)
    }

    /// The last field. A length over the limit that would end past the file is damage, not an
    /// incomplete record: no writer of this format writes one.
    fn token(&mut self) -> Result<&'a [u8], ParseError> {
        let len = usize::from(self.u8()?);
        let seen = self.at;
        self.take(len).map_err(|error| match error {
            ParseError::Incomplete if len > TOKEN_MAX => ParseError::Damaged { seen },
            error => error,
        })
    }
}

/// Appends a record of this type: its body, and the checksum before it.
fn sealed(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN - 1]);
    out.push(kind);
    body(out);
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn put_token(out: &mut Vec<u8>, token: VersionToken) {
    out.push(token.len());
    out.extend_from_slice(token.as_bytes());
}

fn key_len(key: &str) -> Result<u16, SnapshotError> {
    u16::try_from(key.len()).map_err(|_| too_long("key", key.len()))
}

fn value_len(value: &[u8]) -> Result<u32, SnapshotError> {
    u32::try_from(value.len()).map_err(|_| too_long("value", value.len()))
}

fn too_long(what: &str, len: usize) -> SnapshotError {
    SnapshotError::InvalidFormat(format!("{what} too long: {len} bytes"))
}

fn utf8(key: &[u8]) -> Result<&str, SnapshotError> {
    std::str::from_utf8(key)
        .map_err(|error| SnapshotError::InvalidFormat(format!("key is not UTF-8: {error}")))
}
