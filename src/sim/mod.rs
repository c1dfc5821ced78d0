//! A sim: an engine, a workload for it, the model that it is compared with, and its promises.

pub mod engine;
pub mod fault_kind;
pub mod history;
pub mod model;
pub mod promise;
pub mod state;
pub mod store;

use std::time::Duration;

use proptest::strategy::BoxedStrategy;

use crate::disk::profile::Profile;
use crate::disk::rot::Rotting;
use crate::sim::engine::Engine;
use crate::sim::fault_kind::FaultKind;
use crate::sim::model::Model;
use crate::sim::promise::{AfterFault, Promises};

/// One step of a workload.
#[derive(Clone, Debug)]
pub enum Step<Op> {
    /// An op of the engine.
    Op(Op),
    /// Close the store cleanly and open it again.
    Reopen,
    /// Let this much virtual time pass.
    Sleep(Duration),
    /// Read the open store back and compare it with the model.
    ReadBack,
}

/// The ops of a sim.
pub type OpOf<S> = <<S as Sim>::Engine as Engine>::Op;

/// An engine under test, with everything that a test of it needs. The constants have defaults that
/// suit most engines.
///
/// A key-value store needs no more than a [`Store`](store::Store). For any other engine, write four
/// things: the ops of a workload ([`Operation`](engine::Operation)), the adapter that applies them
/// and reads the store back ([`Engine`]), the model that says what the store must then show
/// ([`Model`]), and the `Sim` that ties them together. A counter in a file:
///
/// ```
/// use std::fmt;
/// use std::fs::{self, File};
/// use std::path::{Path, PathBuf};
///
/// use crashpoint::{
///     Ack, Engine, Error, Model, Operation, Promises, Sim, State, Step, TextError, Time, Word,
/// };
/// use proptest::prelude::*;
///
/// /// The one op: `add N`.
/// #[derive(Clone, Debug)]
/// struct Add(u8);
///
/// impl fmt::Display for Add {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "add {}", self.0)
///     }
/// }
///
/// impl Operation for Add {
///     fn parse(words: &[Word]) -> Result<Self, TextError> {
///         let number = words.get(1).and_then(|word| word.text().parse().ok());
///         number.map(Self).ok_or_else(|| TextError::new(1, "expected `add N`, N up to 255"))
///     }
/// }
///
/// /// Keeps its sum in the file `sum`, which it replaces with each op.
/// struct Counter {
///     dir: PathBuf,
///     sum: u64,
/// }
///
/// impl Engine for Counter {
///     type Op = Add;
///
///     fn open(dir: &Path) -> Result<Self, Error> {
///         let sum = match fs::read_to_string(dir.join("sum")) {
///             Ok(text) => text.parse()?,
///             Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
///             Err(error) => return Err(error.into()),
///         };
///         Ok(Self { dir: dir.to_owned(), sum })
///     }
///
///     fn apply(&mut self, op: &Add) -> Result<Ack, Error> {
///         let sum = self.sum + u64::from(op.0);
///         fs::write(self.dir.join("new"), sum.to_string())?;
///         File::open(self.dir.join("new"))?.sync_all()?;
///         fs::rename(self.dir.join("new"), self.dir.join("sum"))?;
///         File::open(&self.dir)?.sync_all()?;
///         self.sum = sum;
///         Ok(Ack::DURABLE)
///     }
///
///     fn scan(&mut self) -> Result<State, Error> {
///         Ok(State::from_iter([("sum", self.sum.to_string())]))
///     }
/// }
///
/// #[derive(Clone, PartialEq)]
/// struct CounterModel(State);
///
/// impl Default for CounterModel {
///     fn default() -> Self {
///         Self(State::from_iter([("sum", "0")]))
///     }
/// }
///
/// impl Model for CounterModel {
///     type Op = Add;
///
///     fn apply(&mut self, op: &Add, _at: Time) {
///         let sum = String::from_utf8_lossy(self.0.get(b"sum").unwrap_or_default());
///         let sum = sum.parse::<u64>().unwrap_or_default() + u64::from(op.0);
///         self.0.set("sum", sum.to_string());
///     }
///
///     fn state(&mut self, _at: Time) -> &State {
///         &self.0
///     }
/// }
///
/// struct CounterSim;
///
/// impl Sim for CounterSim {
///     type Engine = Counter;
///     type Model = CounterModel;
///
///     const NAME: &'static str = "counter";
///     const ABOUT: &'static str = "a counter in a file";
///
///     fn promises() -> Promises<CounterModel> {
///         Promises::default()
///     }
///
///     fn workload(steps: usize) -> BoxedStrategy<Vec<Step<Add>>> {
///         let add = any::<u8>().prop_map(|number| Step::Op(Add(number)));
///         let step = prop_oneof![9 => add, 1 => Just(Step::Reopen)];
///         proptest::collection::vec(step, 1..=steps.max(1)).boxed()
///     }
/// }
///
/// // In a #[test]:
/// // crashpoint::check::<CounterSim>();
/// # let _: fn() = crashpoint::check::<CounterSim>;
/// ```
pub trait Sim: 'static {
    /// The adapter to the engine.
    type Engine: Engine;
    /// The model that the engine is compared with.
    type Model: Model<Op = OpOf<Self>>;

    /// The name in commands, cases and reports: lower case, with hyphens.
    const NAME: &'static str;
    /// One line for `crashpoint list`.
    const ABOUT: &'static str;

    /// The CPU time that one epoch may take, from an opening of the store to the next crash or to
    /// the end. An engine that uses more is reported as hung.
    const CPU: Duration = Duration::from_secs(10);

    /// The number of workloads that `crashpoint run` draws for each profile if this is the only
    /// sim. Several sims share this number, so that a run takes about a minute. Lower it, and
    /// [`Sim::RECOVERIES`], for an engine that is slow to open.
    const WORKLOADS: u64 = 50;

    /// The number of recoveries that `crashpoint run` spends on a workload.
    const RECOVERIES: u64 = 600;

    /// Whether threads may outlive a close of the store, as those of a thread pool in a `static`
    /// do. If not, a thread that does is a violation, and never runs again.
    const THREADS_MAY_STAY: bool = false;

    /// Whether the store is created and synced before the first crash may come, by the first
    /// opening of a run, which continues with it: for an engine that cannot open what a crash
    /// during its creation left. If not, such a crash is a violation of the class
    /// `create-interrupted`, which may hide others.
    const CREATED_APART: bool = false;

    /// The profiles of disks that the sim is tested on, unless another one is asked for by name.
    /// A profile is a value: to test on one of your own, list it here under its own name.
    const PROFILES: &'static [Profile] = Profile::usual();

    /// Whether the run continues with a few ops after a recovery.
    const AFTER_RECOVERY: bool = true;

    /// The promises of the engine, each with the sentence of its documentation that makes it.
    fn promises() -> Promises<Self::Model>;

    /// The promise of the engine after bit rot at this place. By default it is the one that
    /// [`Promises::survives`] lists for [`FaultKind::BitRot`]; if that is none, no bytes rot at
    /// all, and this is not asked. Override it where the place matters: an engine may detect
    /// damage in a snapshot that has a checksum, do without a damaged index, and mistake damage
    /// in the last record of a log for a torn write.
    fn after_rot(_at: &Rotting<'_>) -> AfterFault {
        Self::promises().answer(FaultKind::BitRot)
    }

    /// A strategy for workloads of 1 to `steps` steps, weighted so that they reach all paths of
    /// the engine.
    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<OpOf<Self>>>>;
}
