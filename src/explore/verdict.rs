//! The verdict on a failure: the mildest crash state at the same point that shows it, by which
//! surprises of the disk that state comes about, and which other file systems leave one too.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::profile::Profile;
use crate::disk::relax::Relaxation;
use crate::disk::tree::Tree;
use crate::log::{Payload, records};
use crate::oracle::Violation;
use crate::sim::model::Model;

use super::chooser::Random;
use super::event::Outcome;
use super::explorer::{After, Explorer, Stop};
use super::fates;
use super::judge::Judge;
use super::walk::{DOWN, Point};

/// Where a failure was met.
pub(crate) struct Scene<'a, M: Model> {
    /// The log of the run, and the disk that it began with.
    pub(crate) log: &'a [u8],
    pub(crate) origin: &'a Tree,
    pub(crate) point: &'a Point,
    pub(crate) judge: &'a Judge<M>,
    pub(crate) then: &'a After,
    /// What was violated.
    pub(crate) violation: &'a Violation,
}

/// A crash state that shows a failure.
pub(crate) struct Shown {
    pub(crate) fate: Fate,
    pub(crate) relaxations: BTreeSet<Relaxation>,
    pub(crate) violation: Violation,
    pub(crate) outcome: Rc<Outcome>,
    pub(crate) in_steps: bool,
}

/// What was found about a failure.
pub(crate) struct Verdict {
    /// The mildest state that shows it, if another than the first was tried.
    pub(crate) mildest: Option<Shown>,
    /// In words.
    pub(crate) text: String,
}

/// Tries the crash states of a point, on the profile of the run and on all others.
pub(crate) fn weigh<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    pending: &Pending,
    first: &Fate,
) -> Result<Verdict, Stop> {
    let mildest = mildest(explorer, scene, pending, Some(first))?.0;
    let ran = pending.profile().name;
    let mut lost = Vec::new();
    if Profile::all().iter().all(|profile| profile.name != ran) {
        lost.push(ran.to_owned());
    }
    let mut kept = Vec::new();
    for profile in Profile::all() {
        if profile.name == ran {
            lost.push(profile.name.to_owned());
            continue;
        }
        let pending = replay(scene, profile);
        if pending.is_frozen() {
            // There the run would have gone on in another way.
            continue;
        }
        match mildest_of_class(explorer, scene, &pending)? {
            (true, _) => lost.push(profile.name.to_owned()),
            (false, true) => kept.push(profile.name.to_owned()),
            (false, false) => kept.push(format!("{} (sampled)", profile.name)),
        }
    }
    let relaxations = mildest.as_ref().map(|shown| shown.relaxations.clone()).unwrap_or_default();
    Ok(Verdict { mildest, text: text(&lost, &kept, &relaxations) })
}

fn text(lost: &[String], kept: &[String], relaxations: &BTreeSet<Relaxation>) -> String {
    let mut text = match kept {
        [] => "lost on every profile".to_owned(),
        _ => format!("lost on {}; kept on {}", lost.join(", "), kept.join(", ")),
    };
    let names: Vec<&str> = decisive(relaxations).map(Relaxation::name).collect();
    if !names.is_empty() {
        text += &format!("; decided by {}", names.join(", "));
    }
    text
}

/// That something was lost goes without saying where something else explains it.
fn decisive(relaxations: &BTreeSet<Relaxation>) -> impl Iterator<Item = Relaxation> {
    let plain = relaxations.len() == 1;
    let relaxations = relaxations.iter().copied();
    relaxations.filter(move |relaxation| plain || *relaxation != Relaxation::LostUnsyncedData)
}

/// The disk at the crash point, had the file system been another one.
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

/// Whether some state of the point breaks a promise in the same way, and whether all were tried.
fn mildest_of_class<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    pending: &Pending,
) -> Result<(bool, bool), Stop> {
    let (found, all) = mildest(explorer, scene, pending, None)?;
    Ok((found.is_some(), all))
}

/// The state with the fewest relaxations and losses that shows the failure, and whether all states
/// were tried. Without a `first` fate, one of the same class is enough, and the first is taken.
fn mildest<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    pending: &Pending,
    first: Option<&Fate>,
) -> Result<(Option<Shown>, bool), Stop> {
    let budget = explorer.request.budget.verdict;
    let flight = scene.point.flight;
    let mut tried = BTreeSet::new();
    let mut found: Option<Shown> = None;
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
        let Some(shown) = judge(explorer, scene, &state.tree, state.digest)? else { continue };
        let same = match first {
            Some(_) => shown.0.signature == scene.violation.signature,
            None => true,
        };
        if !same || shown.0.class() != scene.violation.class() {
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
            let (violation, outcome, in_steps) = shown;
            found = Some(Shown { fate, relaxations, violation, outcome, in_steps });
        }
        if first.is_none() {
            break;
        }
    }
    Ok((found, whole))
}

/// Fates from a stream of their own, so that a verdict shifts nothing else that is drawn.
fn sample<M: Model>(
    explorer: &Explorer<'_, M>,
    pending: &Pending,
    flight: Option<u64>,
    first: Option<&Fate>,
    budget: u64,
) -> Vec<Fate> {
    let mut chooser = Random::new(explorer.case.seed.derive("verdict", 0));
    let mut sampler = fates::Sampler::new(pending, flight);
    let drawn = (0..budget).map(|_| sampler.next(pending, flight, &mut chooser));
    first.cloned().into_iter().chain(drawn).collect()
}

/// What a recovery of a crash state violates.
fn judge<M: Model>(
    explorer: &mut Explorer<'_, M>,
    scene: &Scene<'_, M>,
    tree: &Tree,
    digest: Digest,
) -> Result<Option<(Violation, Rc<Outcome>, bool)>, Stop> {
    let outcome = explorer.recover(tree, digest, scene.then)?;
    let mut judge = scene.judge.clone();
    judge.crash(scene.then.kind, scene.then.at);
    judge.begin(Rc::clone(&explorer.continuation_steps), explorer.lasting(scene.then.epoch));
    let violated = judge.outcome(&outcome, scene.then.at + DOWN);
    Ok(violated.err().map(|violation| (violation, outcome, judge.in_steps())))
}
