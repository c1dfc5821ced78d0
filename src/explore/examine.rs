//! Examines one crash state: recovers it and judges what came back.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::disk::sight::Sights;
use crate::disk::tree::Tree;
use crate::oracle::{CrashKind, Violation};
use crate::sim::model::Model;

use super::conditions::Conditions;
use super::crash_state::{CrashState, Left};
use super::event::Outcome;
use super::explorer::Explorer;
use super::judge::Judge;
use super::runner::PriorCrash;
use super::stop::Stop;

/// Nanoseconds within which a model's deadlines are taken not to pass: the time that calls take.
/// Sleeps are longer.
const INSTANT: u64 = 10_000_000;

/// A judgement: the state, the kind of crash and the bound that it is judged by and, where the
/// answer depends on the time, the time.
pub(crate) type Key = (Digest, CrashKind, (u64, usize), u64);

/// The parts of a tree that a recovery saw beyond its digest, and their digest.
type Seen = (Sights, Digest);

/// States that were judged, each with the parts that its recovery saw. Two states are one if these
/// are the same in both. The clock is left out: a model that depends on it says so
/// ([`Model::TIMED`]).
#[derive(Default)]
pub(crate) struct Judged(BTreeMap<Key, Vec<Seen>>);

impl Judged {
    /// Whether a state was judged that the recovery of this one cannot distinguish from it.
    pub(crate) fn has(&self, key: &Key, tree: &Tree) -> bool {
        let seen = self.0.get(key).map(Vec::as_slice).unwrap_or_default();
        seen.iter().any(|(sights, parts)| tree.digest_of(*sights) == *parts)
    }

    /// Notes a state, and the parts of it that its recovery saw.
    pub(crate) fn note(&mut self, key: Key, tree: &Tree, sights: Sights) {
        self.0.entry(key).or_default().push((sights, tree.digest_of(sights)));
    }

    /// Forgets all states.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The inputs of the judgement of a crash state.
pub(crate) fn key<M: Model>(state: &CrashState<'_>, judge: &Judge<M>) -> Key {
    let (kind, at) = (state.crashed.judged_as(), state.crashed.point.at);
    let instant = if M::TIMED { at.0 / INSTANT } else { 0 };
    (state.digest, kind, judge.bound(kind, at), instant)
}

/// A crash state's recovery, and the judgement on it.
pub(crate) struct Examined<M: Model> {
    /// The recovery and its continuation.
    pub(crate) outcome: Rc<Outcome>,
    /// The promise that they broke.
    pub(crate) violation: Option<Violation>,
    /// Whether a step of the continuation had been issued by then.
    pub(crate) in_steps: bool,
    /// Whether some read-back had nothing to be compared with.
    pub(crate) unchecked: bool,
    /// The judge before the recovery, for the crashes inside it.
    pub(crate) judge: Judge<M>,
}

/// Recovers a crash state and judges what came back. `judge` is where the crash came.
pub(crate) fn examine<M: Model>(
    explorer: &mut Explorer<'_, M>,
    state: &CrashState<'_>,
    prior: &PriorCrash,
    judge: &Judge<M>,
    conditions: &Conditions,
) -> Result<Examined<M>, Stop> {
    explorer.reporter.state(state.digest);
    let outcome = explorer.recover(&state.tree, state.digest, prior, conditions)?;
    explorer.reporter.note(state.digest, outcome.digest);
    if let Some(activity) = &mut explorer.reporter.activity {
        let (kind, at) = (state.crashed.judged_as(), state.crashed.point.at);
        activity.recovered(&outcome, kind, judge.bound(kind, at).0 > 0);
        if matches!(state.crashed.left, Left::Rotten(..)) {
            activity.rotted();
        }
    }
    let mut judge = state.crashed.judge_after(judge);
    let steps = Rc::clone(&explorer.continuation_steps);
    judge.begin(steps, conditions.lasting(prior.epoch));
    Ok(judged(outcome, judge, prior))
}

/// Judges a recovery.
pub(crate) fn judged<M: Model>(
    outcome: Rc<Outcome>,
    judge: Judge<M>,
    prior: &PriorCrash,
) -> Examined<M> {
    let mut end = judge.clone();
    let violation = end.outcome(&outcome, prior.at + prior.down).err();
    Examined { outcome, violation, in_steps: end.in_steps(), unchecked: end.unchecked(), judge }
}
