//! One sim as the command and the tests see it: its name and what can be done with it.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand_chacha::rand_core::Rng;

use crate::base::seed::Seed;
use crate::base::text::TextError;
use crate::case::Epoch;
#[cfg(feature = "inner")]
use crate::case::RESERVED;
use crate::case::fault::Fault;
use crate::disk::profile::Profile;
use crate::disk::profiles::UnknownProfile;
use crate::disk::space::Space;
use crate::explore::chooser::{Choice, stream};
use crate::explore::fault_plan;
use crate::explore::serve;
use crate::host::fork_server::Reply;
use crate::oracle::{AfterFault, FaultKind, Source};
use crate::sim::engine::Level;
#[cfg(feature = "inner")]
use crate::sim::engine::Operation;
use crate::sim::{OpOf, Sim, Step};

/// A sim without its types.
#[derive(Clone, Copy)]
pub struct Entry {
    /// [`Sim::NAME`].
    pub name: &'static str,
    /// [`Sim::ABOUT`].
    pub about: &'static str,
    /// [`Sim::AFTER_RECOVERY`].
    pub continuation: bool,
    /// [`Sim::WORKLOADS`].
    pub workloads: u64,
    /// [`Sim::RECOVERIES`].
    pub recoveries: u64,
    /// [`Sim::PROFILES`].
    pub profiles: &'static [Profile],
    /// The promises and where they come from, a line each.
    pub promises: fn() -> Vec<(String, String)>,
    /// The faults that it survives besides a crash, and how ([`Promises::survives`]).
    ///
    /// [`Promises::survives`]: crate::oracle::Promises::survives
    pub survives: fn() -> Vec<(FaultKind, AfterFault)>,
    /// Whether a close or a recovery makes something survive.
    pub durable: fn() -> bool,
    /// Draws the steps of a workload from a seed.
    pub generate: fn(Seed, usize) -> Vec<crate::case::Step>,
    /// Draws faults for a workload of this many steps, if the sim promises something after them.
    pub faults: fn(Seed, usize) -> Vec<Fault>,
    /// Draws the size of the disk for a workload without faults; `true` on a profile that delays
    /// its allocation.
    pub space: fn(Seed, bool) -> Option<Space>,
    /// Checks that the sim can read the ops of an epoch; an error names the step, counted from 0.
    pub knows: fn(&Epoch) -> Result<(), (usize, TextError)>,
    /// Serves one job in an explorer.
    pub explore: fn(&[u8], &mut Reply<'_>),
}

/// The entry of a sim.
pub const fn sim<S: Sim>() -> Entry {
    Entry {
        name: S::NAME,
        about: S::ABOUT,
        continuation: S::AFTER_RECOVERY,
        workloads: S::WORKLOADS,
        recoveries: S::RECOVERIES,
        profiles: S::PROFILES,
        promises: promises::<S>,
        survives: || S::promises().survives,
        durable: || S::promises().close.max(S::promises().recovery) > Level::Buffered,
        generate: |seed, size| {
            generate::<S>(seed, size).iter().map(crate::case::steps::to_case).collect()
        },
        faults: fault_plan::faults::<S>,
        space: fault_plan::space::<S>,
        knows: knows::<S>,
        explore: serve::serve::<S>,
    }
}

impl Entry {
    /// The profile of this name: one of the sim's own, or any.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn profile(&self, name: &str) -> Result<Profile, UnknownProfile> {
        Profile::find(name, self.profiles)
    }
}

fn promises<S: Sim>() -> Vec<(String, String)> {
    let row = |source: &Source| {
        (source.promise.to_owned(), format!("{}: \"{}\"", source.at, source.sentence))
    };
    S::promises().sources.iter().map(row).collect()
}

/// Draws the steps of a workload from a seed.
pub(crate) fn generate<S: Sim>(seed: Seed, size: usize) -> Vec<Step<OpOf<S>>> {
    let mut key = [0; 32];
    stream(seed, Choice::Workload).fill_bytes(&mut key);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let mut runner =
        TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    match S::workload(size).new_tree(&mut runner) {
        Ok(tree) => tree.current(),
        Err(reason) => panic!("the workload of {} rejects everything: {reason}", S::NAME),
    }
}

fn knows<S: Sim>(epoch: &Epoch) -> Result<(), (usize, TextError)> {
    for (index, step) in epoch.steps.iter().enumerate() {
        crate::case::steps::from_case::<OpOf<S>>(step).map_err(|error| (index, error))?;
    }
    Ok(())
}

/// Checks that the ops of a sim do not begin with a word of the case grammar.
#[cfg(feature = "inner")]
pub fn reserved<Op: Operation>(op: &Op) -> Option<&'static str> {
    let text = op.to_string();
    let first = text.split(' ').next().unwrap_or_default();
    RESERVED.into_iter().find(|word| *word == first)
}
