//! The verdict on a finding: the mildest crash state at the same point that shows it, the surprises
//! of the disk that this state needs, and which other file systems leave such a state.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::disk::fate::Fate;
use crate::disk::keep::CrashState as DiskState;
use crate::disk::pending::Pending;
use crate::disk::profile::Profile;
use crate::disk::relax::Relaxation;
use crate::disk::tree::Tree;
use crate::log::{Payload, records};
use crate::oracle::Violation;
use crate::sim::model::Model;

use super::chooser::Chooser;
use super::conditions::Conditions;
use super::crash_point::CrashPoint;
use super::examine::{Examined, judged};
use super::explorer::Explorer;
use super::fates;
use super::finding::{self, Verdict};
use super::judge::Judge;
use super::runner::PriorCrash;
use super::stop::Stop;

/// Where a finding was met.
pub(crate) struct Scene<'a, M: Model> {
    /// The log of the run, and the disk at its beginning.
    pub(crate) log: &'a [u8],
    pub(crate) origin: &'a Tree,
    pub(crate) point: &'a CrashPoint,
    pub(crate) judge: &'a Judge<M>,
    pub(crate) prior: &'a PriorCrash,
    pub(crate) conditions: &'a Conditions,
    /// The broken promise.
    pub(crate) violation: &'a Violation,
}

/// A crash state that shows a finding.
pub(crate) struct Witness<M: Model> {
    pub(crate) fate: Fate,
    pub(crate) relaxations: BTreeSet<Relaxation>,
    pub(crate) violation: Violation,
    pub(crate) examined: Examined<M>,
}

/// Tries the crash states of a point, on the profile of the run and on all others. Returns the
/// mildest state that shows the finding, and the verdict.
pub(crate) fn weigh<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    pending: &Pending,
    first: &Fate,
) -> Result<(Option<Witness<M>>, Verdict), Stop> {
    let mildest = mildest(explorer, scene, pending, Some(first))?.0;
    let ran = pending.profile().name;
    let mut verdict = Verdict::default();
    if Profile::all().iter().all(|profile| profile.name != ran) {
        verdict.lost.push(ran.to_owned());
    }
    for profile in Profile::all() {
        if profile.name == ran {
            verdict.lost.push(profile.name.to_owned());
            continue;
        }
        let pending = replay(scene, profile);
        if pending.is_frozen() {
            // There the run would have taken another course.
            continue;
        }
        let (found, all) = self::mildest(explorer, scene, &pending, None)?;
        let profile = profile.name.to_owned();
        match found {
            Some(_) => verdict.lost.push(profile),
            None => verdict.kept.push(finding::Kept { profile, sampled: !all }),
        }
    }
    verdict.decided_by =
        mildest.as_ref().map(|witness| decisive(&witness.relaxations)).unwrap_or_default();
    Ok((mildest, verdict))
}

/// The relaxations that explain a loss: that unsynced data was lost goes without saying where
/// another one explains it.
fn decisive(relaxations: &BTreeSet<Relaxation>) -> Vec<Relaxation> {
    let single = relaxations.len() == 1;
    let decides = |relaxation: &Relaxation| single || *relaxation != Relaxation::LostUnsyncedData;
    relaxations.iter().copied().filter(decides).collect()
}

/// The disk at the crash point, on another file system.
fn replay<M: Model>(scene: &Scene<'_, M>, profile: &Profile) -> Pending {
    let mut pending = Pending::new(scene.origin.clone(), profile);
    for record in records(scene.log) {
        if let Payload::Effect(effect) = record.payload {
            if pending.effects() == scene.point.effects {
                break;
            }
            pending.apply(&effect, record.at);
        }
    }
    pending
}

/// The state with the fewest relaxations and losses that shows the finding, and whether all states
/// were tried. Without a `first` fate, any state with a violation of the same class will do, and
/// the first one is taken.
fn mildest<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    pending: &Pending,
    first: Option<&Fate>,
) -> Result<(Option<Witness<M>>, bool), Stop> {
    let budget = explorer.job.budget.verdict;
    let flight = scene.point.flight;
    let mut tried = BTreeSet::new();
    let mut found: Option<Witness<M>> = None;
    let all = fates::all(pending, flight, budget);
    let whole = all.is_some();
    let listed = match all {
        Some(all) => first.cloned().into_iter().chain(all).collect(),
        None => sample(explorer, pending, flight, first, budget),
    };
    for fate in listed {
        let state = pending.keep(&fate);
        if !tried.insert(state.digest) {
            continue;
        }
        let Some((violation, examined)) = violated(explorer, scene, &state)? else { continue };
        let same = first.is_none() || violation.signature == scene.violation.signature;
        if !same || violation.class() != scene.violation.class() {
            continue;
        }
        let relaxations = pending.relaxations(&fate);
        let rank = |fate: &Fate, relaxations: &BTreeSet<Relaxation>| {
            (relaxations.len(), pending.losses(fate).len())
        };
        let milder = found
            .as_ref()
            .is_none_or(|best| rank(&fate, &relaxations) < rank(&best.fate, &best.relaxations));
        if milder {
            found = Some(Witness { fate, relaxations, violation, examined });
        }
        if first.is_none() {
            break;
        }
    }
    Ok((found, whole))
}

/// Fates from a separate seed, so that a verdict does not shift other draws.
fn sample<M: Model>(
    explorer: &Explorer<'_, M>,
    pending: &Pending,
    flight: Option<u64>,
    first: Option<&Fate>,
    budget: u64,
) -> Vec<Fate> {
    let mut chooser = Chooser::new(explorer.job.case.seed.derive("verdict", 0));
    let mut sampler = fates::Sampler::new(pending, flight);
    let calm = fates::calm(pending, flight, budget).into_iter().flatten();
    let drawn = (0..budget).map(|_| sampler.next(pending, flight, &mut chooser));
    first.cloned().into_iter().chain(calm).chain(drawn).take(budget as usize + 1).collect()
}

/// The promise that the recovery of a crash state breaks.
fn violated<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    state: &DiskState,
) -> Result<Option<(Violation, Examined<M>)>, Stop> {
    let prior = scene.prior;
    let outcome = explorer.recover(&state.tree, state.digest, prior, scene.conditions)?;
    let mut judge = scene.judge.clone();
    judge.crash(prior.kind, prior.at);
    let steps = Rc::clone(&explorer.continuation_steps);
    judge.begin(steps, scene.conditions.lasting(prior.epoch));
    let examined = judged(outcome, judge, prior);
    Ok(examined.violation.clone().map(|violation| (violation, examined)))
}
