//! The op of the fold: a batch of changes with its cursor, and its line in a case.

use std::fmt;

use crashpoint::{Operation, TextError, Word, quote};

/// A batch and the position in the stream after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldOp {
    /// The position from which the stream continues.
    pub cursor: u64,
    /// The changes of the batch, in order.
    pub changes: Vec<Change>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key got a new value, with a version.
    Put(String, Vec<u8>, Vec<u8>),
    /// The key got a new value of incompressible bytes.
    Fill {
        /// The key.
        key: String,
        /// The seed of the value.
        number: u32,
        /// Its size in KiB.
        kib: u32,
    },
    /// The key was deleted.
    Delete(String),
    /// The key and its history were deleted.
    Purge(String),
}

impl Change {
    /// The key that changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, ..) | Self::Fill { key, .. } | Self::Delete(key) | Self::Purge(key) => {
                key
            }
        }
    }

    /// The version and value of the key after the change; `None` if it has no value then.
    pub fn value(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::Put(_, value, version) => Some((version.clone(), value.clone())),
            Self::Fill { number, kib, .. } => {
                Some((number.to_be_bytes().to_vec(), noise(u64::from(*number), *kib as usize)))
            }
            Self::Delete(_) | Self::Purge(_) => None,
        }
    }
}

/// Incompressible bytes, from splitmix64.
fn noise(seed: u64, kib: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(kib * 1024);
    for _ in 0..kib * 128 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}

impl fmt::Display for FoldOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apply {}", self.cursor)?;
        for (index, change) in self.changes.iter().enumerate() {
            f.write_str(if index == 0 { " " } else { " + " })?;
            let key = quote(change.key().as_bytes());
            match change {
                Change::Put(_, value, version) => {
                    write!(f, "put {key} {} {}", quote(value), quote(version))?;
                }
                Change::Fill { number, kib, .. } => write!(f, "fill {key} {number} {kib}")?,
                Change::Delete(_) => write!(f, "delete {key}")?,
                Change::Purge(_) => write!(f, "purge {key}")?,
            }
        }
        Ok(())
    }
}

impl Operation for FoldOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let column = words.first().map_or(1, |word| word.column);
        let [name, cursor, rest @ ..] = words else {
            return Err(TextError::new(column, "expected `apply CURSOR` and changes"));
        };
        if name.bytes != b"apply" {
            return Err(TextError::new(column, "expected `apply`"));
        }
        let mut op = Self { cursor: number(cursor)?, changes: Vec::new() };
        let (mut rest, mut previous) = (rest, cursor.column);
        while !rest.is_empty() || !op.changes.is_empty() {
            let (change, after) = parse_change(rest, previous)?;
            op.changes.push(change);
            match after {
                [] => break,
                [plus, more @ ..] if plus.bytes == b"+" => (rest, previous) = (more, plus.column),
                [other, ..] => {
                    return Err(TextError::new(other.column, "expected `+` and another change"));
                }
            }
        }
        Ok(op)
    }
}

fn number<N: std::str::FromStr>(word: &Word) -> Result<N, TextError> {
    word.text().parse().map_err(|_| TextError::new(word.column, "expected a number"))
}

fn key(word: &Word) -> Result<String, TextError> {
    String::from_utf8(word.bytes.clone()).map_err(|_| TextError::new(word.column, "a key is UTF-8"))
}

/// Parses one change at the front of the words; returns it and the words after it. `previous` is
/// the column of the word before them, for the error if they are empty.
fn parse_change(words: &[Word], previous: usize) -> Result<(Change, &[Word]), TextError> {
    let column = words.first().map_or(previous, |word| word.column);
    let name = words.first().map(|word| word.bytes.as_slice()).unwrap_or_default();
    match (name, words.get(1..).unwrap_or_default()) {
        (b"put", [_, _, version, ..]) if version.bytes.len() > 10 => {
            Err(TextError::new(version.column, "a version has at most 10 bytes"))
        }
        (b"put", [name, value, version, rest @ ..]) => {
            Ok((Change::Put(key(name)?, value.bytes.clone(), version.bytes.clone()), rest))
        }
        (b"fill", [name, seed, kib, rest @ ..]) => {
            let (number, kib) = (number(seed)?, number(kib)?);
            Ok((Change::Fill { key: key(name)?, number, kib }, rest))
        }
        (b"delete", [name, rest @ ..]) => Ok((Change::Delete(key(name)?), rest)),
        (b"purge", [name, rest @ ..]) => Ok((Change::Purge(key(name)?), rest)),
        _ => {
            let message = "expected `put KEY VALUE VERSION`, `fill KEY NUMBER KIB`, `delete KEY` \
                           or `purge KEY`, with `+` between two";
            Err(TextError::new(column, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::words;

    #[test]
    fn a_printed_op_parses_back() {
        let put = Change::Put("k 1".into(), b"+".to_vec(), vec![0, 255]);
        let fill = Change::Fill { key: "k".into(), number: 7, kib: 8192 };
        let all = vec![put, fill, Change::Delete("é".into()), Change::Purge("p".into())];
        for changes in [Vec::new(), all[..1].to_vec(), all] {
            let op = FoldOp { cursor: 12, changes };
            assert_eq!(FoldOp::parse(&words(&op.to_string()).expect("words")), Ok(op));
        }
    }

    #[test]
    fn a_wrong_line_is_refused_with_the_column_of_the_wrong_word() {
        let refused = |line: &str| FoldOp::parse(&words(line).expect("words")).expect_err(line);
        for (line, column) in [
            ("fold 1", 1),
            ("apply", 1),
            ("apply x", 7),
            ("apply 1 put k v", 9),
            ("apply 1 delete k + fill k 1 x", 29),
            ("apply 1 put k v 12345678901", 17),
            ("apply 1 delete k +", 18),
            ("apply 1 delete k k", 18),
        ] {
            assert_eq!(refused(line).column, column, "{line}");
        }
    }

    #[test]
    fn a_fill_has_its_size_and_depends_on_its_number() {
        let fill = |number| Change::Fill { key: "k".into(), number, kib: 3 }.value();
        let (version, value) = fill(1).expect("a value");
        assert_eq!((version.len(), value.len()), (4, 3072));
        assert_ne!(fill(2), fill(1));
    }
}
