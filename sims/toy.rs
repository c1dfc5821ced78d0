//! The sim of the toy store, without a bug and with each of its planted bugs.

use std::fmt;
use std::path::Path;

use crashpoint::{
    Ack, Engine, Entry, Error, Level, Model, Operation, Promises, Refused, Sim, State, Step,
    TextError, Time, Word, quote, sim,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::engines::toy::{Bug, Op, Toy};
use crate::support::{self, value};

/// One op of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum ToyOp {
    /// One change.
    One(Op),
    /// Several changes, all or none.
    Batch(Vec<Op>),
    /// Make all durable.
    Sync,
    /// Start a new generation.
    Checkpoint,
}

fn text(op: &Op) -> String {
    match op {
        Op::Put { key, value } => format!("put {} {}", quote(key), quote(value)),
        Op::Delete { key } => format!("delete {}", quote(key)),
        Op::Add { key, n } => format!("add {} {n}", quote(key)),
    }
}

/// Parses one change at the front of the words; returns it and the words after it.
fn parse_change(words: &[Word]) -> Result<(Op, &[Word]), TextError> {
    let column = words.first().map_or(1, |word| word.column);
    let name = words.first().map(|word| word.bytes.as_slice()).unwrap_or_default();
    match (name, words.get(1..).unwrap_or_default()) {
        (b"put", [key, value, rest @ ..]) => {
            Ok((Op::Put { key: key.bytes.clone(), value: value.bytes.clone() }, rest))
        }
        (b"delete", [key, rest @ ..]) => Ok((Op::Delete { key: key.bytes.clone() }, rest)),
        (b"add", [key, number, rest @ ..]) => {
            let n = number.text().parse();
            let n = n.map_err(|_| TextError::new(number.column, "expected a number"))?;
            Ok((Op::Add { key: key.bytes.clone(), n }, rest))
        }
        _ => Err(TextError::new(column, "expected `put KEY VALUE`, `delete KEY` or `add KEY N`")),
    }
}

impl fmt::Display for ToyOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(op) => f.write_str(&text(op)),
            Self::Batch(ops) => {
                let ops: Vec<String> = ops.iter().map(text).collect();
                write!(f, "batch {}", ops.join(" + "))
            }
            Self::Sync => f.write_str("sync"),
            Self::Checkpoint => f.write_str("checkpoint"),
        }
    }
}

impl Operation for ToyOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        match words {
            [word] if word.bytes == b"sync" => Ok(Self::Sync),
            [word] if word.bytes == b"checkpoint" => Ok(Self::Checkpoint),
            [word, rest @ ..] if word.bytes == b"batch" => {
                let (first, mut rest) = parse_change(rest)?;
                let mut ops = vec![first];
                while let [plus, more @ ..] = rest {
                    if plus.bytes != b"+" {
                        return Err(TextError::new(plus.column, "expected `+` and another change"));
                    }
                    let (op, after) = parse_change(more)?;
                    ops.push(op);
                    rest = after;
                }
                Ok(Self::Batch(ops))
            }
            _ => match parse_change(words)? {
                (op, []) => Ok(Self::One(op)),
                (_, [extra, ..]) => Err(TextError::new(extra.column, "one word too many")),
            },
        }
    }
}

/// The items that the toy should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToyModel(State);

impl ToyModel {
    fn change(&mut self, op: &Op) {
        match op {
            Op::Put { key, value } => {
                self.0.set(key.clone(), value.clone());
            }
            Op::Delete { key } => {
                self.0.remove(key);
            }
            Op::Add { key, n } => {
                let before = self.0.get(key).map(String::from_utf8_lossy);
                let before: i64 = before.and_then(|text| text.parse().ok()).unwrap_or(0);
                self.0.set(key.clone(), (before + n).to_string());
            }
        }
    }
}

fn key(op: &Op) -> Vec<u8> {
    match op {
        Op::Put { key, .. } | Op::Delete { key } | Op::Add { key, .. } => key.clone(),
    }
}

impl Model for ToyModel {
    type Op = ToyOp;

    fn apply(&mut self, op: &ToyOp, _at: Time) {
        match op {
            ToyOp::One(op) => self.change(op),
            ToyOp::Batch(ops) => ops.iter().for_each(|op| self.change(op)),
            ToyOp::Sync | ToyOp::Checkpoint => {}
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }

    fn items(op: &ToyOp) -> Option<Vec<Vec<u8>>> {
        match op {
            ToyOp::One(op) => Some(vec![key(op)]),
            ToyOp::Batch(ops) => Some(ops.iter().map(key).collect()),
            ToyOp::Sync | ToyOp::Checkpoint => None,
        }
    }
}

/// The adapter of the toy with bug number `BUG` of [`Bug::ALL`], counted from 1; 0 means no bug.
pub struct ToyEngine<const BUG: usize>(Toy);

const fn bug(number: usize) -> Option<Bug> {
    if number == 0 { None } else { Some(Bug::ALL[number - 1]) }
}

impl<const BUG: usize> Engine for ToyEngine<BUG> {
    type Op = ToyOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self(Toy::open(dir, bug(BUG))?))
    }

    fn apply(&mut self, op: &ToyOp) -> Result<Ack, Error> {
        let poisoned = self.0.is_poisoned();
        let done = match op {
            ToyOp::One(Op::Put { key, value }) => self.0.put(key, value),
            ToyOp::One(Op::Delete { key }) => self.0.delete(key),
            ToyOp::One(Op::Add { key, n }) => self.0.add(key, *n),
            ToyOp::Batch(ops) => self.0.batch(ops),
            ToyOp::Sync => self.0.sync(),
            ToyOp::Checkpoint => self.0.checkpoint(),
        };
        match done {
            Ok(()) if matches!(op, ToyOp::One(_)) => Ok(Ack::FLUSHED),
            Ok(()) => Ok(Ack::DURABLE),
            Err(error) if poisoned => Err(Refused::because(error).into()),
            Err(error) => Err(error.into()),
        }
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(self.0.scan().collect())
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        Some(Ok(self.0.get(item).map(<[u8]>::to_vec)))
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.0.len()))
    }
}

/// The sim of the toy with bug number `BUG`; 0 means no bug.
pub struct ToySim<const BUG: usize>;

impl<const BUG: usize> Sim for ToySim<BUG> {
    type Engine = ToyEngine<BUG>;
    type Model = ToyModel;

    const NAME: &'static str = match bug(BUG) {
        Some(bug) => bug.name(),
        None => "toy",
    };
    const ABOUT: &'static str = match bug(BUG) {
        Some(bug) => bug.pattern(),
        None => "a small store with log, snapshots and a pointer; the host of the planted bugs",
    };

    fn promises() -> Promises<ToyModel> {
        let quotes = [
            (
                "put, delete and add survive the process, with all before them",
                "survives the process, with all before it",
            ),
            (
                "batch, sync and checkpoint survive power loss, with all before them",
                "survives power loss, with all before it",
            ),
            ("what open shows survives power loss", "what it shows survives power loss"),
            (
                "what is refused after an error has no effect",
                "the store refuses every change until it is opened again",
            ),
            (
                "a crash leaves a prefix; a batch is atomic",
                "A crash leaves a prefix of the calls; of a batch all or nothing.",
            ),
        ];
        Promises {
            recovery: Level::Durable,
            close: Level::Flushed,
            survives: support::right_after_failed_calls(false),
            sources: support::sources("engines/toy.rs", quotes),
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<ToyOp>>> {
        vec(step(), 1..=steps.max(1)).boxed()
    }
}

/// Keys are `k0`, `k1`, ... for values and `n0`, `n1`, ... for numbers.
fn change() -> impl Strategy<Value = Op> {
    let name = |letter: char| {
        prop_oneof![5 => 0..3u16, 1 => 0..40u16]
            .prop_map(move |n| format!("{letter}{n}").into_bytes())
    };
    prop_oneof![
        6 => (name('k'), value()).prop_map(|(key, value)| Op::Put { key, value }),
        2 => name('k').prop_map(|key| Op::Delete { key }),
        3 => (name('n'), 1..100i64).prop_map(|(key, n)| Op::Add { key, n }),
    ]
}

fn step() -> impl Strategy<Value = Step<ToyOp>> {
    prop_oneof![
        10 => change().prop_map(|op| Step::Op(ToyOp::One(op))),
        3 => vec(change(), 2..5).prop_map(|ops| Step::Op(ToyOp::Batch(ops))),
        3 => Just(Step::Op(ToyOp::Sync)),
        2 => Just(Step::Op(ToyOp::Checkpoint)),
        1 => Just(Step::Reopen),
    ]
}

/// The toy with each of its bugs, in the order of [`Bug::ALL`].
pub fn planted() -> Vec<Entry> {
    macro_rules! entries {
        ($($number:literal)*) => { vec![$(sim::<ToySim<$number>>()),*] };
    }
    entries!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::words;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<ToySim<0>>();
    }

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<ToySim<0>>(24, 100);
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<ToySim<0>>(&crate::corpus());
    }

    #[test]
    fn every_bug_has_an_entry() {
        let names: Vec<&str> = planted().iter().map(|entry| entry.name).collect();
        assert_eq!(names, Bug::ALL.map(Bug::name));
    }

    #[test]
    fn a_printed_op_parses_back() {
        let put = Op::Put { key: b"k 1".to_vec(), value: b"+".to_vec() };
        let add = Op::Add { key: b"n1".to_vec(), n: -3 };
        let delete = Op::Delete { key: b"k".to_vec() };
        let ops = [
            ToyOp::One(put.clone()),
            ToyOp::Batch(vec![put, add, delete]),
            ToyOp::Sync,
            ToyOp::Checkpoint,
        ];
        for op in ops {
            let words = words(&op.to_string()).expect("words");
            assert_eq!(ToyOp::parse(&words), Ok(op));
        }
    }
}
