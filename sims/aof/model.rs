//! The model of the keyspace: written independently of the engine, with times to live measured by
//! the clock of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crashpoint::{Model, State, Time, quote};

use super::op::{AofOp, Side};
use crate::engines::aof::Bytes;

/// Remaining times to live are rounded down to multiples of this many milliseconds. Workloads wait
/// for whole multiples, and times to live are half a multiple longer, so that the time which the
/// calls themselves take never changes what is shown.
pub(super) const STEP: u64 = 50;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    /// A string or a counter.
    Str(Bytes),
    /// Values by field.
    Hash(BTreeMap<Bytes, Bytes>),
    /// Items in order.
    List(Vec<Bytes>),
    /// Members.
    Set(BTreeSet<Bytes>),
    /// Scores by member.
    ZSet(BTreeMap<Bytes, f64>),
}

/// The value of an item: the value of a key, and roughly how long the key still lives.
pub(super) fn shown(held: &Held, remaining: Option<Duration>) -> Vec<u8> {
    let listed =
        |name: &str, words: Vec<String>| format!("{name} {}", words.join(" ")).into_bytes();
    let pair = |one: &Bytes, other: &str| format!("{}={other}", quote(one));
    let mut text = match held {
        Held::Str(value) => [b"string ", value.as_slice()].concat(),
        Held::Hash(hash) => listed("hash", hash.iter().map(|(f, v)| pair(f, &quote(v))).collect()),
        Held::List(list) => listed("list", list.iter().map(|item| quote(item)).collect()),
        Held::Set(set) => listed("set", set.iter().map(|member| quote(member)).collect()),
        Held::ZSet(scores) => {
            listed("zset", scores.iter().map(|(m, s)| pair(m, &format!("{s:?}"))).collect())
        }
    };
    if let Some(remaining) = remaining {
        let steps = remaining.as_millis() / u128::from(STEP);
        text.extend_from_slice(format!(", {} ms left", steps * u128::from(STEP)).as_bytes());
    }
    text
}

/// The keyspace.
#[derive(Clone, Debug, Default)]
pub struct AofModel {
    keys: BTreeMap<Bytes, (Held, Option<Time>)>,
    shown: State,
}

/// Ignores `shown`, which follows from the keys.
impl PartialEq for AofModel {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl AofModel {
    fn show(&mut self, key: &Bytes, at: Time) {
        let live = self.keys.get(key).filter(|(_, deadline)| deadline.is_none_or(|end| end > at));
        match live {
            Some((held, deadline)) => {
                let text = shown(held, deadline.map(|end| end.since(at)));
                self.shown.set(key.clone(), text);
            }
            None => drop(self.shown.remove(key)),
        }
    }

    /// The value of a key, for a command that creates the key, with `empty`, if it is missing.
    fn held(&mut self, key: &Bytes, empty: Held) -> &mut Held {
        &mut self.keys.entry(key.clone()).or_insert((empty, None)).0
    }

    fn change(&mut self, op: &AofOp) {
        match op {
            AofOp::Append(key, value) => {
                if let Held::Str(text) = self.held(key, Held::Str(Bytes::new())) {
                    text.extend_from_slice(value);
                }
            }
            AofOp::Incr(key, by) => {
                if let Held::Str(text) = self.held(key, Held::Str(b"0".to_vec())) {
                    add(text, *by);
                }
            }
            AofOp::HSet(key, field, value) => {
                if let Held::Hash(hash) = self.held(key, Held::Hash(BTreeMap::new())) {
                    hash.insert(field.clone(), value.clone());
                }
            }
            AofOp::HIncr(key, field, by) => {
                if let Held::Hash(hash) = self.held(key, Held::Hash(BTreeMap::new())) {
                    add(hash.entry(field.clone()).or_insert_with(|| b"0".to_vec()), *by);
                }
            }
            AofOp::Push(side, key, items) => {
                if let Held::List(list) = self.held(key, Held::List(Vec::new())) {
                    for item in items.iter().cloned() {
                        list.insert(if *side == Side::Left { 0 } else { list.len() }, item);
                    }
                }
            }
            AofOp::SAdd(key, member) => {
                if let Held::Set(set) = self.held(key, Held::Set(BTreeSet::new())) {
                    set.insert(member.clone());
                }
            }
            AofOp::ZAdd(key, score, member) => {
                if let Held::ZSet(scores) = self.held(key, Held::ZSet(BTreeMap::new()))
                    && scores.get(member) != Some(score)
                {
                    scores.insert(member.clone(), *score);
                }
            }
            AofOp::ZIncr(key, by, member) => {
                if let Held::ZSet(scores) = self.held(key, Held::ZSet(BTreeMap::new())) {
                    let sum = scores.get(member).map_or(*by, |score| score + by);
                    scores.insert(member.clone(), sum);
                }
            }
            _ => self.remove(op),
        }
    }

    /// Applies an op that removes a member; the key is removed with its last member.
    fn remove(&mut self, op: &AofOp) {
        let Some((held, _)) = op.key().and_then(|key| self.keys.get_mut(key)) else { return };
        let empty = match (op, held) {
            (AofOp::HDel(_, field), Held::Hash(hash)) => {
                hash.remove(field);
                hash.is_empty()
            }
            (AofOp::Pop(side, _), Held::List(list)) => {
                list.remove(if *side == Side::Left { 0 } else { list.len() - 1 });
                list.is_empty()
            }
            (AofOp::SRem(_, member), Held::Set(set)) => {
                set.remove(member);
                set.is_empty()
            }
            (AofOp::ZRem(_, member), Held::ZSet(scores)) => {
                scores.remove(member);
                scores.is_empty()
            }
            _ => false,
        };
        if let Some(key) = op.key().filter(|_| empty) {
            self.keys.remove(key);
        }
    }
}

fn add(text: &mut Bytes, by: i64) {
    let old: i64 = String::from_utf8_lossy(text).parse().unwrap_or_default();
    *text = (old + by).to_string().into_bytes();
}

impl Model for AofModel {
    type Op = AofOp;

    const TIMED: bool = true;

    fn apply(&mut self, op: &AofOp, at: Time) {
        if let AofOp::Flush = op {
            *self = Self::default();
        }
        let Some(key) = op.key() else { return };
        if self.keys.get(key).is_some_and(|(_, deadline)| deadline.is_some_and(|end| end <= at)) {
            self.keys.remove(key);
        }
        let end = |ms: &u64| at + Duration::from_millis(*ms);
        match op {
            AofOp::Set(key, value, ms) => {
                let held = Held::Str(value.clone());
                self.keys.insert(key.clone(), (held, ms.as_ref().map(end)));
            }
            AofOp::Del(key) => drop(self.keys.remove(key)),
            AofOp::Expire(key, ms) => {
                if let Some((_, deadline)) = self.keys.get_mut(key) {
                    *deadline = Some(end(ms));
                }
            }
            AofOp::Persist(key) => {
                if let Some((_, deadline)) = self.keys.get_mut(key) {
                    *deadline = None;
                }
            }
            _ => self.change(op),
        }
        self.show(&key.clone(), at);
    }

    fn state(&mut self, at: Time) -> &State {
        let timed = self.keys.iter().filter(|(_, (_, deadline))| deadline.is_some());
        let timed: Vec<Bytes> = timed.map(|(key, _)| key.clone()).collect();
        for key in &timed {
            self.show(key, at);
        }
        &self.shown
    }

    fn items(op: &AofOp) -> Option<Vec<Vec<u8>>> {
        op.key().map(|key| vec![key.clone()])
    }
}
