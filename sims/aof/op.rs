//! The ops of the keyspace: Redis' commands in lower case, and the store's own calls.

use std::fmt;

use crashpoint::{Operation, TextError, Word, quote};

use crate::engines::aof::Bytes;

/// One op of a workload. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum AofOp {
    /// `set KEY VALUE [px MS]`.
    Set(Bytes, Bytes, Option<u64>),
    /// `append KEY VALUE`.
    Append(Bytes, Bytes),
    /// `incrby KEY N`.
    Incr(Bytes, i64),
    /// `hset KEY FIELD VALUE`.
    HSet(Bytes, Bytes, Bytes),
    /// `hincrby KEY FIELD N`.
    HIncr(Bytes, Bytes, i64),
    /// `hdel KEY FIELD`.
    HDel(Bytes, Bytes),
    /// `lpush KEY ITEM...` or `rpush KEY ITEM...`.
    Push(Side, Bytes, Vec<Bytes>),
    /// `lpop KEY` or `rpop KEY`.
    Pop(Side, Bytes),
    /// `sadd KEY MEMBER`.
    SAdd(Bytes, Bytes),
    /// `srem KEY MEMBER`.
    SRem(Bytes, Bytes),
    /// `zadd KEY SCORE MEMBER`.
    ZAdd(Bytes, f64, Bytes),
    /// `zincrby KEY N MEMBER`.
    ZIncr(Bytes, f64, Bytes),
    /// `zrem KEY MEMBER`.
    ZRem(Bytes, Bytes),
    /// `del KEY`.
    Del(Bytes),
    /// `pexpire KEY MS`.
    Expire(Bytes, u64),
    /// `persist KEY`.
    Persist(Bytes),
    /// `flushall`.
    Flush,
    /// Take a snapshot, and cut off the log that it covers.
    Save,
    /// Take a snapshot.
    Snapshot,
    /// Drop from the log what the last snapshot holds.
    Truncate,
    /// Rewrite the log.
    Rewrite,
    /// Make all durable.
    Sync,
    /// Serve no command for this long, while the service's loop keeps ticking.
    Wait(u64),
}

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The front.
    Left,
    /// The back.
    Right,
}

impl AofOp {
    /// The words of the op; those of a command are what Redis takes.
    pub fn words(&self) -> Vec<Bytes> {
        let all = |name: &str, rest: &[&[u8]]| {
            let mut words = vec![name.as_bytes().to_vec()];
            words.extend(rest.iter().map(|word| word.to_vec()));
            words
        };
        let text = |number: &dyn ToString| number.to_string().into_bytes();
        let score = |score: &f64| format!("{score:?}").into_bytes();
        match self {
            Self::Set(key, value, None) => all("set", &[key, value]),
            Self::Set(key, value, Some(ms)) => all("set", &[key, value, b"px", &text(ms)]),
            Self::Append(key, value) => all("append", &[key, value]),
            Self::Incr(key, by) => all("incrby", &[key, &text(by)]),
            Self::HSet(key, field, value) => all("hset", &[key, field, value]),
            Self::HIncr(key, field, by) => all("hincrby", &[key, field, &text(by)]),
            Self::HDel(key, field) => all("hdel", &[key, field]),
            Self::Push(side, key, items) => {
                let name = if *side == Side::Left { "lpush" } else { "rpush" };
                let rest: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
                all(name, &[&[key.as_slice()][..], &rest].concat())
            }
            Self::Pop(side, key) => all(if *side == Side::Left { "lpop" } else { "rpop" }, &[key]),
            Self::SAdd(key, member) => all("sadd", &[key, member]),
            Self::SRem(key, member) => all("srem", &[key, member]),
            Self::ZAdd(key, number, member) => all("zadd", &[key, &score(number), member]),
            Self::ZIncr(key, by, member) => all("zincrby", &[key, &score(by), member]),
            Self::ZRem(key, member) => all("zrem", &[key, member]),
            Self::Del(key) => all("del", &[key]),
            Self::Expire(key, ms) => all("pexpire", &[key, &text(ms)]),
            Self::Persist(key) => all("persist", &[key]),
            Self::Flush => all("flushall", &[]),
            Self::Save => all("save", &[]),
            Self::Snapshot => all("snapshot", &[]),
            Self::Truncate => all("truncate", &[]),
            Self::Rewrite => all("rewrite", &[]),
            Self::Sync => all("sync", &[]),
            Self::Wait(ms) => all("wait", &[&text(ms)]),
        }
    }

    /// The key that the op changes, if it changes one.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Set(key, ..)
            | Self::Append(key, _)
            | Self::Incr(key, _)
            | Self::HSet(key, ..)
            | Self::HIncr(key, ..)
            | Self::HDel(key, _)
            | Self::Push(_, key, _)
            | Self::Pop(_, key)
            | Self::SAdd(key, _)
            | Self::SRem(key, _)
            | Self::ZAdd(key, ..)
            | Self::ZIncr(key, ..)
            | Self::ZRem(key, _)
            | Self::Del(key)
            | Self::Expire(key, _)
            | Self::Persist(key) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for AofOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.words().iter().map(|word| quote(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// The words of an op, each parsed as the type that is expected in its place.
struct Arguments<'a>(&'a [Word]);

impl Arguments<'_> {
    fn bytes(&self, index: usize) -> Bytes {
        self.0[index].bytes.clone()
    }

    fn number<N: std::str::FromStr>(&self, index: usize) -> Result<N, TextError> {
        let word = &self.0[index];
        word.text().parse().map_err(|_| TextError::new(word.column, "expected a number"))
    }
}

impl Operation for AofOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let line = Arguments(words);
        let name = words.first().map(|word| word.text()).unwrap_or_default();
        let key = || line.bytes(1);
        let left = |yes: bool| if yes { Side::Left } else { Side::Right };
        Ok(match (name.as_str(), words.len()) {
            ("set", 3) => Self::Set(key(), line.bytes(2), None),
            ("set", 5) if line.bytes(3) == b"px" => {
                Self::Set(key(), line.bytes(2), Some(line.number(4)?))
            }
            ("append", 3) => Self::Append(key(), line.bytes(2)),
            ("incrby", 3) => Self::Incr(key(), line.number(2)?),
            ("hset", 4) => Self::HSet(key(), line.bytes(2), line.bytes(3)),
            ("hincrby", 4) => Self::HIncr(key(), line.bytes(2), line.number(3)?),
            ("hdel", 3) => Self::HDel(key(), line.bytes(2)),
            ("lpush" | "rpush", 3..) => {
                let items = words[2..].iter().map(|word| word.bytes.clone()).collect();
                Self::Push(left(name == "lpush"), key(), items)
            }
            ("lpop" | "rpop", 2) => Self::Pop(left(name == "lpop"), key()),
            ("sadd", 3) => Self::SAdd(key(), line.bytes(2)),
            ("srem", 3) => Self::SRem(key(), line.bytes(2)),
            ("zadd", 4) => Self::ZAdd(key(), line.number(2)?, line.bytes(3)),
            ("zincrby", 4) => Self::ZIncr(key(), line.number(2)?, line.bytes(3)),
            ("zrem", 3) => Self::ZRem(key(), line.bytes(2)),
            ("del", 2) => Self::Del(key()),
            ("pexpire", 3) => Self::Expire(key(), line.number(2)?),
            ("persist", 2) => Self::Persist(key()),
            ("wait", 2) => Self::Wait(line.number(1)?),
            ("flushall", 1) => Self::Flush,
            ("save", 1) => Self::Save,
            ("snapshot", 1) => Self::Snapshot,
            ("truncate", 1) => Self::Truncate,
            ("rewrite", 1) => Self::Rewrite,
            ("sync", 1) => Self::Sync,
            _ => {
                let column = words.first().map_or(1, |word| word.column);
                let message = "expected a command such as `set KEY VALUE [px MS]`, `incrby KEY N`, \
                               `rpush KEY ITEM...`, or `save`, `snapshot`, `truncate`, `rewrite`, \
                               `sync`, `wait MS`";
                return Err(TextError::new(column, message));
            }
        })
    }
}
