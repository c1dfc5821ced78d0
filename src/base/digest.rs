//! Digests: 64-bit hashes that are the same on every machine and in every run.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The 64-bit hash of some bytes.
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The digest of a sequence, shown as 16 hexadecimal digits.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Builds the digest of a sequence piece by piece.
#[derive(Clone, Default)]
pub struct Digester(Xxh3);

impl Digester {
    /// Adds bytes and their length, so that `ab`, `c` differs from `a`, `bc`.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// The digest of everything added so far.
    pub fn finish(&self) -> Digest {
        Digest(self.0.digest())
    }
}
