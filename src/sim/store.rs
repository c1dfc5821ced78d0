//! A ready-made sim for key-value stores: it brings the workload and the model.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::text::{TextError, Word, quote};
use crate::base::time::Time;
use crate::disk::profile::Profile;
use crate::sim::engine::{Ack, Engine, Error, Level, Operation};
use crate::sim::fault_kind::FaultKind;
use crate::sim::model::Model;
use crate::sim::promise::{AfterFault, Promises, Source};
use crate::sim::state::State;
use crate::sim::{Sim, Step};

/// A key-value store under test; [`check_store`](crate::check_store) tests it. The
/// [front page](crate) has a complete example.
///
/// A crash may take ops from the end of the history, never from its middle. `sync` promises that
/// everything before it survives power loss; [`Store::WRITES`] is the promise of `put` and
/// `delete`. To promise more, write a [`Sim`].
///
/// Any error type converts into [`Error`] with `?`. An op that returns an error breaks a promise,
/// unless the error is [`Refused`](crate::sim::engine::Refused) (it did not happen) or
/// [`Uncertain`](crate::sim::engine::Uncertain) (it may have happened), or a fault was injected
/// before.
pub trait Store: Sized + 'static {
    /// The name in reports and cases: lower case, with hyphens.
    const NAME: &'static str = "store";

    /// The level that `put` and `delete` have reached when they return; `sync` always makes all
    /// ops before it durable.
    const WRITES: Level = Level::Buffered;

    /// The faults that the store survives in addition to crashes, and how; it need not survive
    /// those not listed. [`check_faults`](crate::check_faults) tests it.
    const SURVIVES: &'static [(FaultKind, AfterFault)] = &[];

    /// The CPU time that a workload may take, or a recovery with the ops that follow it. A store
    /// that uses more is reported as hung.
    const CPU: Duration = Duration::from_secs(10);

    /// Whether the store is created before the first crash may come: see [`Sim::CREATED_APART`].
    const CREATED_APART: bool = false;

    /// The profiles of disks that the store is tested on: see [`Sim::PROFILES`].
    const PROFILES: &'static [Profile] = Profile::usual();

    /// Whether threads may outlive the store: see [`Sim::THREADS_MAY_STAY`].
    const THREADS_MAY_STAY: bool = false;

    /// Opens the store in this directory, which exists; creates the store if it is not there.
    /// To close a store it is dropped.
    ///
    /// # Errors
    /// The store's error. It is a violation, except after faults that [`Store::SURVIVES`] lists
    /// as [`AfterFault::Loud`] or not at all.
    fn open(dir: &Path) -> Result<Self, Error>;

    /// Sets a key.
    ///
    /// # Errors
    /// The store's error.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error>;

    /// Removes a key, if it exists.
    ///
    /// # Errors
    /// The store's error.
    fn delete(&mut self, key: &[u8]) -> Result<(), Error>;

    /// Makes all ops before it durable.
    ///
    /// # Errors
    /// The store's error.
    fn sync(&mut self) -> Result<(), Error>;

    /// Reads all keys and values, in any order, each key once.
    ///
    /// # Errors
    /// The store's error; judged as one of [`Store::open`].
    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error>;
}

/// A key or a value.
pub type Bytes = Vec<u8>;

/// The sim of a [`Store`].
pub struct KeyValue<S>(PhantomData<S>);

/// One operation of a key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOp {
    /// Set a key to a value.
    Put(Vec<u8>, Vec<u8>),
    /// Remove a key.
    Delete(Vec<u8>),
    /// Make all ops before it durable.
    Sync,
}

impl fmt::Display for KeyOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "put {} {}", quote(key), quote(value)),
            Self::Delete(key) => write!(f, "delete {}", quote(key)),
            Self::Sync => f.write_str("sync"),
        }
    }
}

impl Operation for KeyOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let texts: Vec<&[u8]> = words.iter().map(|word| word.bytes.as_slice()).collect();
        match texts.as_slice() {
            [b"put", key, value] => Ok(Self::Put(key.to_vec(), value.to_vec())),
            [b"delete", key] => Ok(Self::Delete(key.to_vec())),
            [b"sync"] => Ok(Self::Sync),
            _ => {
                let column = words.first().map_or(1, |word| word.column);
                Err(TextError::new(column, "expected `put KEY VALUE`, `delete KEY` or `sync`"))
            }
        }
    }
}

/// A map of keys to values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyModel(State);

impl Model for KeyModel {
    type Op = KeyOp;

    fn apply(&mut self, op: &KeyOp, _at: Time) {
        match op {
            KeyOp::Put(key, value) => drop(self.0.set(key.clone(), value.clone())),
            KeyOp::Delete(key) => drop(self.0.remove(key)),
            KeyOp::Sync => {}
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }

    fn items(op: &KeyOp) -> Option<Vec<Vec<u8>>> {
        match op {
            KeyOp::Put(key, _) | KeyOp::Delete(key) => Some(vec![key.clone()]),
            KeyOp::Sync => None,
        }
    }
}

/// The adapter of a [`Store`].
pub struct StoreEngine<S>(S);

impl<S: Store> Engine for StoreEngine<S> {
    type Op = KeyOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        S::open(dir).map(Self)
    }

    fn apply(&mut self, op: &KeyOp) -> Result<Ack, Error> {
        match op {
            KeyOp::Put(key, value) => self.0.put(key, value)?,
            KeyOp::Delete(key) => self.0.delete(key)?,
            KeyOp::Sync => {
                self.0.sync()?;
                return Ok(Ack::DURABLE);
            }
        }
        Ok(Ack::Now(S::WRITES))
    }

    fn scan(&mut self) -> Result<State, Error> {
        let items = self.0.scan()?;
        let mut seen = BTreeMap::new();
        for (key, value) in items {
            if seen.insert(key.clone(), value).is_some() {
                return Err(format!("the scan lists {} twice", quote(&key)).into());
            }
        }
        Ok(seen.into_iter().collect())
    }
}

impl<S: Store> Sim for KeyValue<S> {
    type Engine = StoreEngine<S>;
    type Model = KeyModel;

    const NAME: &'static str = S::NAME;
    const ABOUT: &'static str = "a key-value store";
    const CPU: Duration = S::CPU;
    const CREATED_APART: bool = S::CREATED_APART;
    const THREADS_MAY_STAY: bool = S::THREADS_MAY_STAY;
    const PROFILES: &'static [Profile] = S::PROFILES;

    fn promises() -> Promises<KeyModel> {
        let sources = vec![
            Source {
                promise: "sync makes all ops before it durable",
                sentence: "Makes all ops before it durable.",
                at: "crashpoint::Store::sync",
            },
            Source {
                promise: "a crash leaves a prefix of the history",
                sentence: "A crash may take ops from the end of the history, never from its middle.",
                at: "crashpoint::Store",
            },
        ];
        Promises { survives: S::SURVIVES.to_vec(), sources, ..Promises::default() }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        let plain = vec(key_step(), 1..=steps.max(1));
        if steps <= SHORT {
            return plain.boxed();
        }
        prop_oneof![
            2 => plain,
            2 => bursts(steps, 0..MANY_KEYS, small().boxed()),
            2 => bursts(steps, 0..FEW_KEYS, small().boxed()),
            1 => bursts(steps, 0..FEW_KEYS, large().boxed()),
        ]
        .boxed()
    }
}

/// Workloads of more steps may be about many keys, large values or long rests.
const SHORT: usize = 48;
/// The keys of a workload in which a store grows, and of one in which it is overwritten.
const MANY_KEYS: u16 = 500;
const FEW_KEYS: u16 = 8;

/// Steps in bursts: of puts to drawn keys, of deletes, and one step of each other kind between
/// them.
fn bursts(
    steps: usize,
    keys: Range<u16>,
    value: BoxedStrategy<Vec<u8>>,
) -> BoxedStrategy<Vec<Step<KeyOp>>> {
    let key = keys.prop_map(|number| format!("k{number}").into_bytes());
    let put = (key.clone(), value).prop_map(|(key, value)| Step::Op(KeyOp::Put(key, value)));
    let delete = key.prop_map(|key| Step::Op(KeyOp::Delete(key)));
    let rested = (vec(put.clone(), 1..4usize), rest(), vec(put.clone(), 1..4usize));
    let burst = prop_oneof![
        4 => vec(put.clone(), 1..40usize),
        4 => vec(put, 1..4usize),
        2 => vec(delete, 1..4usize),
        6 => vec(Just(Step::Op(KeyOp::Sync)), 1..3usize),
        2 => Just(vec![Step::Reopen]),
        3 => rested.prop_map(|(before, rest, after)| {
            let sync = Step::Op(KeyOp::Sync);
            before.into_iter().chain([Step::Sleep(rest)]).chain(after).chain([sync]).collect()
        }),
    ];
    let cut = move |bursts: Vec<Vec<_>>| bursts.into_iter().flatten().take(steps).collect();
    vec(burst, 1..=steps.max(1)).prop_map(cut).boxed()
}

/// Short and long enough for what a store does by the clock.
fn rest() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => (1..2_000u64).prop_map(Duration::from_millis),
        2 => (1..200u64).prop_map(|minutes| Duration::from_secs(60 * minutes)),
    ]
}

/// Values that fit into a block.
fn small() -> impl Strategy<Value = Vec<u8>> {
    value(prop_oneof![1 => Just(0usize), 6 => 1..40usize, 3 => 100..1200usize])
}

/// Values up to some hundred KiB, the longest rarely.
fn large() -> impl Strategy<Value = Vec<u8>> {
    value(prop_oneof![
        8 => 1..400usize,
        4 => 4_000..9_000usize,
        2 => 10_000..70_000usize,
        1 => 100_000..300_000usize,
    ])
}

/// Values that begin with a random number, so that an old one differs from a new one.
fn value(length: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), length).prop_map(|(number, length)| {
        let mut value = if length == 0 { Vec::new() } else { format!("{number}-").into_bytes() };
        value.resize(length.max(value.len()), b'v');
        value
    })
}

/// Few keys, so that they are overwritten and deleted. Values are empty to three blocks long.
fn key_step() -> impl Strategy<Value = Step<KeyOp>> {
    let key = prop_oneof![4 => 0..4u8, 1 => 0..40u8].prop_map(|n| format!("k{n}").into_bytes());
    let length = prop_oneof![1 => Just(0usize), 6 => 1..40usize, 2 => 300..1200usize,
        1 => 4000..9000usize];
    let value = value(length);
    prop_oneof![
        10 => (key.clone(), value).prop_map(|(key, value)| Step::Op(KeyOp::Put(key, value))),
        3 => key.prop_map(|key| Step::Op(KeyOp::Delete(key))),
        4 => Just(Step::Op(KeyOp::Sync)),
        1 => Just(Step::Reopen),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::words;

    #[test]
    fn an_op_reads_back() {
        let ops = [
            KeyOp::Put(b"a b".to_vec(), b"v".repeat(5000)),
            KeyOp::Delete(b"k1".to_vec()),
            KeyOp::Sync,
        ];
        for op in ops {
            let words = words(&op.to_string()).expect("words");
            assert_eq!(KeyOp::parse(&words), Ok(op));
        }
    }
}
