//! Seeds: the one number that determines a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::digest::Digester;

/// A seed: 64 bits, written as `0x` and 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of one part of a run, such as workload `number` of a sim. Parts with different
    /// names or numbers have independent seeds.
    #[must_use]
    pub fn derive(self, name: &str, number: u64) -> Self {
        let mut digester = Digester::default();
        digester.add_number(self.0);
        digester.add(name.as_bytes());
        digester.add_number(number);
        Self(digester.finish().0)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:016x}", self.0)
    }
}

/// The error of a text that is not a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a seed: expected a number, 0x and up to 16 hexadecimal digits, or a 40-digit \
     Git hash"
)]
pub struct SeedError(String);

impl FromStr for Seed {
    type Err = SeedError;

    /// Accepts `0x` and up to 16 hexadecimal digits, exactly 16 hexadecimal digits, any other
    /// decimal number, and a Git commit hash of 40 digits, of which the first 16 count. A commit
    /// hash gives CI a new seed at each commit, and each can be run again.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |_| SeedError(text.to_owned());
        let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(digits) = text.strip_prefix("0x").filter(|digits| is_hex(digits)) {
            u64::from_str_radix(digits, 16).map(Self).map_err(wrong)
        } else if text.len() == 40 && is_hex(text) {
            u64::from_str_radix(&text[..16], 16).map(Self).map_err(wrong)
        } else if text.len() == 16 && is_hex(text) {
            u64::from_str_radix(text, 16).map(Self).map_err(wrong)
        } else if text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse().map(Self).map_err(wrong)
        } else {
            Err(SeedError(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reads_back_and_a_commit_hash_is_a_seed() {
        let seed = Seed(0x92c1_7f03_0000_0040);
        assert_eq!(seed.to_string().parse(), Ok(seed));
        assert_eq!("92c17f0300000040aaaaaaaaaaaaaaaaaaaaaaaa".parse(), Ok(seed));
        assert_eq!("17".parse(), Ok(Seed(17)));
        assert_eq!("92c17f0300000040".parse(), Ok(seed));
        for wrong in ["", "0x", "x", "-1", "0x12345678123456781", "99999999999999999999", "0x+1"] {
            assert!(wrong.parse::<Seed>().is_err(), "{wrong} is refused");
        }
    }
}
