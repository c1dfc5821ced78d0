//! The two-function form, for a quick start: one function runs and acknowledges, the other reopens
//! the directory after a crash and checks it.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::item::item;
use crate::base::text::{TextError, Word};
use crate::base::time::Time;
use crate::log::Mark;
use crate::oracle::{Model, Promises};
use crate::process::world;
use crate::sim::engine::{Ack, Engine, Error, Level, Operation};
use crate::sim::state::State;
use crate::sim::{Sim, Step};

/// What was acknowledged in this process, or in earlier epochs: those are set before it begins.
static ACKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The acknowledgements of the first function; the second gets those that must have survived.
#[derive(Debug)]
pub struct Acks(());

impl Acks {
    /// From now on this survives a power loss.
    pub fn durable(&mut self, what: impl Into<String>) {
        self.note(Level::Durable, what.into());
    }

    /// From now on this survives the end of the process.
    pub fn flushed(&mut self, what: impl Into<String>) {
        self.note(Level::Flushed, what.into());
    }

    fn note(&mut self, level: Level, what: String) {
        world::mark(Mark::Acked(level, &what));
        ACKED.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// Sets what earlier epochs acknowledged, for a child that recovers.
pub(crate) fn set_acked(acked: &[String]) {
    *ACKED.lock().unwrap_or_else(PoisonError::into_inner) = acked.to_vec();
}

/// The first function: works in a directory and acknowledges.
pub trait Run: Fn(&Path, &mut Acks) -> Result<(), Error> + Copy + 'static {}
impl<F: Fn(&Path, &mut Acks) -> Result<(), Error> + Copy + 'static> Run for F {}

/// The second function: reopens the directory and checks everything that was acknowledged.
pub trait Check: Fn(&Path, &[String]) -> Result<(), Error> + Copy + 'static {}
impl<F: Fn(&Path, &[String]) -> Result<(), Error> + Copy + 'static> Check for F {}

/// The sim of two functions.
pub(crate) struct Pair<R, C>(PhantomData<(R, C)>);

/// The one op of a pair.
#[derive(Clone, Debug)]
pub(crate) struct RunOp;

impl fmt::Display for RunOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("run")
    }
}

impl Operation for RunOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        match words {
            [word] if word.bytes == b"run" => Ok(Self),
            _ => Err(TextError::new(words.first().map_or(1, |word| word.column), "expected `run`")),
        }
    }
}

/// A model without a state: the second function checks instead.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct PairModel(State);

impl Model for PairModel {
    type Op = RunOp;

    fn apply(&mut self, _op: &RunOp, _at: Time) {}

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }
}

/// Calls the two functions as if they were a store.
pub(crate) struct PairEngine<R, C> {
    dir: PathBuf,
    functions: PhantomData<(R, C)>,
}

impl<R: Run, C: Check> Engine for PairEngine<R, C> {
    type Op = RunOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self { dir: dir.to_owned(), functions: PhantomData })
    }

    fn apply(&mut self, _op: &RunOp) -> Result<Ack, Error> {
        item::<R>()(&self.dir, &mut Acks(()))?;
        Ok(Ack::BUFFERED)
    }

    fn scan(&mut self) -> Result<State, Error> {
        let acked = ACKED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        item::<C>()(&self.dir, &acked)?;
        Ok(State::new())
    }
}

impl<R: Run, C: Check> Sim for Pair<R, C> {
    type Engine = PairEngine<R, C>;
    type Model = PairModel;

    const NAME: &'static str = "functions";
    const ABOUT: &'static str = "two functions: one runs and acknowledges, one reopens and checks";
    const AFTER_RECOVERY: bool = false;

    fn promises() -> Promises<PairModel> {
        Promises::default()
    }

    fn workload(_steps: usize) -> BoxedStrategy<Vec<Step<RunOp>>> {
        Just(vec![Step::Op(RunOp)]).boxed()
    }
}
