//! Version tokens and cursors: up to ten bytes with which a store names a point of its history.

use super::SnapshotError;

/// The maximum length of a token, in bytes.
pub const TOKEN_MAX: usize = 10;

/// A version as some store names it, held inline: eight bytes for a revision counter, ten for a
/// versionstamp, none where it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionToken {
    len: u8,
    bytes: [u8; TOKEN_MAX],
}

impl VersionToken {
    /// The token of an unknown version: no bytes.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A revision counter, as eight bytes, most significant first.
    #[must_use]
    pub fn from_u64(revision: u64) -> Self {
        let mut bytes = [0; TOKEN_MAX];
        bytes[..8].copy_from_slice(&revision.to_be_bytes());
        Self { len: 8, bytes }
    }

    /// A token of any bytes.
    ///
    /// # Errors
    /// `InvalidFormat` if it has more than [`TOKEN_MAX`] bytes: a truncated one would name another
    /// version.
    pub fn from_bytes(token: &[u8]) -> Result<Self, SnapshotError> {
        let mut bytes = [0; TOKEN_MAX];
        match (bytes.get_mut(..token.len()), u8::try_from(token.len())) {
            (Some(held), Ok(len)) => {
                held.copy_from_slice(token);
                Ok(Self { len, bytes })
            }
            _ => Err(SnapshotError::InvalidFormat(format!(
                "token of {} bytes (at most {TOKEN_MAX})",
                token.len()
            ))),
        }
    }

    /// The token's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The token's length, in bytes.
    pub(super) fn len(&self) -> u8 {
        self.len
    }

    /// The revision counter, if the token has eight bytes.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_bytes().try_into().ok().map(u64::from_be_bytes)
    }

    /// Whether the token is that of an unknown version.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.len == 0
    }
}

/// A position in the stream of updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(VersionToken);

impl Cursor {
    /// No position: the stream starts over.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The position right after a version.
    #[must_use]
    pub fn from_version(version: VersionToken) -> Self {
        Self(version)
    }

    /// The position right after a revision.
    #[must_use]
    pub fn from_u64(revision: u64) -> Self {
        Self(VersionToken::from_u64(revision))
    }

    /// The version that the position follows.
    #[must_use]
    pub fn version(&self) -> VersionToken {
        self.0
    }

    /// The revision that the position follows, if its token has eight bytes.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    /// Whether there is no position.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_unknown()
    }
}
