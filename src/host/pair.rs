//! The two-function form, for the first minute: one function runs and acknowledges, the other
//! reopens what a crash left and checks it.

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

/// What was acknowledged in this process, or must survive in it: given before it begins.
static ACKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes what the first function acknowledged; the second is given what must have survived.
#[derive(Debug)]
pub struct Acks(());

impl Acks {
    /// This survives power loss from now on.
    pub fn durable(&mut self, what: impl Into<String>) {
        self.note(Level::Durable, what.into());
    }

    /// This survives the process from now on.
    pub fn flushed(&mut self, what: impl Into<String>) {
        self.note(Level::Flushed, what.into());
    }

    fn note(&mut self, level: Level, what: String) {
        world::mark(Mark::Acked(level, &what));
        ACKED.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

/// What a child that recovers is told of the lives before it.
pub(crate) fn given(acked: &[String]) {
    *ACKED.lock().unwrap_or_else(PoisonError::into_inner) = acked.to_vec();
}

/// The first function: works in a directory and acknowledges.
pub trait Run: Fn(&Path, &mut Acks) -> Result<(), Error> + Copy + 'static {}
impl<F: Fn(&Path, &mut Acks) -> Result<(), Error> + Copy + 'static> Run for F {}

/// The second function: reopens what is in the directory and looks for what was acknowledged.
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

/// A model of nothing: the second function knows what is right.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Nothing(State);

impl Model for Nothing {
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
    type Model = Nothing;

    const NAME: &'static str = "functions";
    const ABOUT: &'static str = "two functions: one runs and acknowledges, one reopens and checks";
    const AFTER_RECOVERY: bool = false;

    fn promises() -> Promises<Nothing> {
        Promises::default()
    }

    fn workload(_steps: usize) -> BoxedStrategy<Vec<Step<RunOp>>> {
        Just(vec![Step::Op(RunOp)]).boxed()
    }
}
