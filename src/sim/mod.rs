//! A sim: an engine, a workload for it, the model it is compared with, and what it promises.

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
    /// Close the store in good order and open it again.
    Reopen,
    /// Let this much virtual time pass.
    Sleep(Duration),
}

/// The ops of a sim.
pub type OpOf<S> = <<S as Sim>::Engine as Engine>::Op;

/// An engine under test, with all that it takes to test it.
pub trait Sim: 'static {
    /// The adapter to the engine.
    type Engine: Engine;
    /// What the engine is compared with.
    type Model: Model<Op = OpOf<Self>>;

    /// The name in commands, cases and reports: lower case, with hyphens.
    const NAME: &'static str;
    /// One line for `crashpoint list`.
    const ABOUT: &'static str;

    /// CPU time that one life may take: a workload, or a recovery and what follows it. An engine
    /// that uses more counts as hung.
    const CPU: Duration = Duration::from_secs(10);

    /// How many workloads `crashpoint run` draws for each profile if this is the only sim; several
    /// share their time, so that a run takes about a minute. A sim whose engine takes long to open
    /// has fewer, of fewer recoveries.
    const WORKLOADS: u64 = 50;

    /// How many recoveries `crashpoint run` spends on a workload.
    const RECOVERIES: u64 = 600;

    /// Whether threads may outlive a close of the store, as those of a pool in a `static` do.
    /// Otherwise one that does is a violation, and never runs again.
    const THREADS_MAY_STAY: bool = false;

    /// Whether the store is created, closed and synced before the power may go: for an engine that
    /// never opens what a crash in its creation left. Otherwise such a crash is a violation of the
    /// class `create-interrupted`.
    const CREATED_APART: bool = false;

    /// The profiles that it is tested on unless another is asked for by name. A profile is a value:
    /// one that is built on another is listed here, under a name of its own.
    const PROFILES: &'static [Profile] = Profile::usual();

    /// Whether ops may follow a recovery.
    const AFTER_RECOVERY: bool = true;

    /// What the engine promises, each promise with the sentence of its documentation.
    fn promises() -> Promises<Self::Model>;

    /// What the engine promises after bit rot in this place, if it promises anything after
    /// [bit rot](FaultKind::BitRot): the same everywhere, unless the sim says otherwise. An engine may
    /// tell damage in a snapshot, which has a checksum, do without an index, and take damage in
    /// the last record of a log for what a crash has torn.
    fn after_rot(_at: &Rotting<'_>) -> AfterFault {
        Self::promises().answer(FaultKind::BitRot)
    }

    /// Workloads of up to `steps` steps, weighted so that all the engine's paths are reached.
    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<OpOf<Self>>>>;
}
