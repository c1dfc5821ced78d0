//! A sim as the explorer knows it: without the engine's type.
//!
//! So the explorer's code is compiled once for each model, not once for each engine.

use std::time::Duration;

use crate::disk::profile::Profile;
use crate::disk::rot::Rotting;
use crate::host::script::{self, Script};
use crate::oracle::{AfterFault, Promises};
use crate::sim::Sim;
use crate::sim::model::Model;

/// A sim without the type of its engine.
pub(crate) struct Subject<M: Model> {
    /// [`Sim::NAME`].
    pub(crate) name: &'static str,
    /// [`Sim::CPU`].
    pub(crate) cpu: Duration,
    /// [`Sim::THREADS_MAY_STAY`].
    pub(crate) threads_may_stay: bool,
    /// [`Sim::CREATED_APART`].
    pub(crate) created_apart: bool,
    /// [`Sim::PROFILES`].
    pub(crate) profiles: &'static [Profile],
    /// [`Sim::after_rot`].
    pub(crate) after_rot: fn(&Rotting<'_>) -> AfterFault,
    /// [`Sim::promises`].
    pub(crate) promises: fn() -> Promises<M>,
    /// Has the engine carry out a script, in a child.
    pub(crate) run_script: fn(&Script<'_, M::Op>),
}

/// The subject of a sim.
pub(crate) fn subject<S: Sim>() -> Subject<S::Model> {
    Subject {
        name: S::NAME,
        cpu: S::CPU,
        threads_may_stay: S::THREADS_MAY_STAY,
        created_apart: S::CREATED_APART,
        profiles: S::PROFILES,
        after_rot: S::after_rot,
        promises: S::promises,
        run_script: script::run::<S::Engine>,
    }
}
