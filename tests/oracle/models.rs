//! Small models: a key-value store with counters, one with times to live, and a fold.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crashpoint::{History, Model, Operation, State, TextError, Time, Word};

/// `put K V`, `put K V MILLIS` (with a time to live), `del K`, `incr K`, `sync`,
/// `batch K=V K= ...` (atomic; an empty value deletes), `loose K=V ...` (each part may happen
/// alone), `fold N K V` (event N sets K and moves the cursor to N).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op(pub(crate) Vec<String>);

pub(crate) fn op(line: &str) -> Op {
    Op(line.split_whitespace().map(String::from).collect())
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Operation for Op {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        Ok(Self(words.iter().map(Word::text).collect()))
    }
}

impl Op {
    fn words(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// The state that a line such as `a=1 b=2` stands for.
pub(crate) fn state(line: &str) -> State {
    line.split_whitespace().map(|word| word.split_once('=').expect("item=value")).collect()
}

fn pairs<'a>(words: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().map(|word| word.split_once('=').expect("item=value"))
}

fn number(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| String::from_utf8_lossy(value).parse().expect("a number"))
}

/// A key-value store; the model is nothing but its state.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Kv(State);

impl Model for Kv {
    type Op = Op;

    fn apply(&mut self, op: &Op, _at: Time) {
        match op.words()[..] {
            ["put", key, value] => drop(self.0.set(key, value)),
            ["del", key] => drop(self.0.remove(key.as_bytes())),
            ["incr", key] => {
                let count = number(self.0.get(key.as_bytes())) + 1;
                self.0.set(key, count.to_string());
            }
            ["batch" | "loose", ref parts @ ..] => {
                for (key, value) in pairs(parts) {
                    match value {
                        "" => self.0.remove(key.as_bytes()),
                        value => self.0.set(key, value),
                    };
                }
            }
            ["fold", event, key, value] => {
                self.0.set(key, value);
                self.0.set("cursor", event);
            }
            _ => assert_eq!(op.0, ["sync"]),
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }

    fn partial(op: &Op) -> Vec<Op> {
        match op.words()[..] {
            ["loose", ref parts @ ..] => {
                parts.iter().map(|part| Op(vec!["loose".into(), (*part).into()])).collect()
            }
            _ => Vec::new(),
        }
    }

    fn items(op: &Op) -> Option<Vec<Vec<u8>>> {
        match op.words()[..] {
            ["put" | "del" | "incr", key, ..] => Some(vec![key.into()]),
            ["batch" | "loose", ref parts @ ..] => {
                Some(pairs(parts).map(|(key, _)| key.into()).collect())
            }
            _ => None,
        }
    }

    fn restored(state: &State) -> Option<Self> {
        Some(Self(state.clone()))
    }
}

/// A key-value store that gives no hints at all.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Plain(Kv);

impl Model for Plain {
    type Op = Op;

    fn apply(&mut self, op: &Op, at: Time) {
        self.0.apply(op, at);
    }

    fn state(&mut self, at: Time) -> &State {
        self.0.state(at)
    }
}

/// A key-value store whose hints are wrong.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Liar(Kv);

impl Model for Liar {
    type Op = Op;

    fn apply(&mut self, op: &Op, at: Time) {
        self.0.apply(op, at);
    }

    fn state(&mut self, at: Time) -> &State {
        self.0.state(at)
    }

    fn items(op: &Op) -> Option<Vec<Vec<u8>>> {
        Some(vec![b"z".to_vec(), op.words()[0].into()])
    }
}

/// A key-value store with times to live. Setting a value again without one clears it; counting
/// leaves it.
#[derive(Clone, Default)]
pub(crate) struct Ttl {
    items: BTreeMap<String, (String, Option<Time>)>,
    shown: State,
}

impl PartialEq for Ttl {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Ttl {
    fn expire(&mut self, at: Time) {
        self.items.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| at < deadline));
    }
}

impl Model for Ttl {
    type Op = Op;
    const TIMED: bool = true;

    fn apply(&mut self, op: &Op, at: Time) {
        self.expire(at);
        match op.words()[..] {
            ["put", key, value, ref millis @ ..] => {
                let millis = millis.first().map(|millis| millis.parse().expect("a number"));
                let deadline = millis.map(|millis| at + Duration::from_millis(millis));
                self.items.insert(key.into(), (value.into(), deadline));
            }
            ["incr", key] => {
                let (value, _) = self.items.entry(key.into()).or_default();
                *value = (value.parse().unwrap_or(0) + 1).to_string();
            }
            ["del", key] => drop(self.items.remove(key)),
            _ => assert_eq!(op.0, ["sync"]),
        }
    }

    fn state(&mut self, at: Time) -> &State {
        let alive = |deadline: &Option<Time>| deadline.is_none_or(|deadline| at < deadline);
        let items = self.items.iter().filter(|(_, (_, deadline))| alive(deadline));
        self.shown = items.map(|(key, (value, _))| (key.as_str(), value.as_str())).collect();
        &self.shown
    }
}

/// The promise of a fold without sync: the cursor is never ahead of the data, it keeps what must
/// survive, and folding again from it gives the final state of the run.
pub(crate) fn cursor_is_not_ahead(seen: &State, history: &History<'_, Kv>) -> bool {
    let cursor = number(seen.get(b"cursor"));
    let ops: Vec<_> = history.ops().collect();
    let kept = ops.iter().take_while(|(op, _)| number(Some(op.0[1].as_bytes())) <= cursor).count();
    let mut again = Kv::restored(seen).expect("the state is the model");
    for (op, _) in &ops[kept..] {
        again.apply(op, Time::START);
    }
    kept >= history.low() && again.state(Time::START) == history.states().last().expect("one")
}
