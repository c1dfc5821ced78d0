//! The values of keys, and the text form of scores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A key, or a part of a value: any bytes.
pub type Bytes = Vec<u8>;

/// The value of a key. A collection is never empty: its key is removed with its last member.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes; a counter is its decimal digits.
    Str(Bytes),
    /// Values by field.
    Hash(BTreeMap<Bytes, Bytes>),
    /// Items in order.
    List(VecDeque<Bytes>),
    /// Members.
    Set(BTreeSet<Bytes>),
    /// Scores by member; no score is NaN.
    ZSet(BTreeMap<Bytes, f64>),
}

/// The five types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Str`].
    Str,
    /// [`Value::Hash`].
    Hash,
    /// [`Value::List`].
    List,
    /// [`Value::Set`].
    Set,
    /// [`Value::ZSet`].
    ZSet,
}

impl Kind {
    /// The name that the command `TYPE` replies with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
        }
    }
}

impl Value {
    /// The value's type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Str(_) => Kind::Str,
            Self::Hash(_) => Kind::Hash,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::ZSet(_) => Kind::ZSet,
        }
    }

    /// Whether it is a collection without members.
    pub(super) fn is_empty_collection(&self) -> bool {
        match self {
            Self::Str(_) => false,
            Self::Hash(hash) => hash.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::ZSet(scores) => scores.is_empty(),
        }
    }

    /// The members of a sorted set by score, equal scores by member. Empty for other types.
    pub fn ranked(&self) -> Vec<(&[u8], f64)> {
        let Self::ZSet(scores) = self else { return Vec::new() };
        let mut ranked: Vec<_> = scores.iter().map(|(m, score)| (m.as_slice(), *score)).collect();
        // By value, not by bits: -0 and 0 are one score.
        ranked.sort_by(|(_, one), (_, other)| {
            one.partial_cmp(other).unwrap_or_else(|| one.total_cmp(other))
        });
        ranked
    }
}

/// A key's value and its deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// The time from which on the key is gone, in milliseconds since 1970; `None` is never.
    pub deadline: Option<u64>,
}

/// The shortest text that reads back as exactly this score: `{:?}` of Rust, which C's `strtod`
/// (and so Redis) reads alike, infinities and the sign of zero included.
pub(super) fn score_text(score: f64) -> Bytes {
    let text = format!("{score:?}");
    text.strip_suffix(".0").unwrap_or(&text).as_bytes().to_vec()
}

/// Reads a score; `None` if it is no number or NaN.
pub(super) fn parse_score(text: &[u8]) -> Option<f64> {
    let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!score.is_nan()).then_some(score)
}

/// Reads a whole number as Redis writes it: digits, with an optional minus sign.
pub(super) fn parse_int(text: &[u8]) -> Option<i64> {
    let plain = text.first().is_some_and(|first| *first != b'+');
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_reads_back_bit_for_bit() {
        let some =
            [0.0, -0.0, 1.0, -17.0, 1e-20, 3.333_333_333_333_333_5e-6, 1e17, 1e300, 0.1 + 0.2];
        let edges = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::from_bits(1), f64::INFINITY];
        for score in some.into_iter().chain(edges).chain([f64::NEG_INFINITY]) {
            let text = score_text(score);
            let back = parse_score(&text).map(f64::to_bits);
            assert_eq!(back, Some(score.to_bits()), "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(score_text(3.0), b"3");
        assert_eq!(parse_score(b"nan"), None);
    }
}
