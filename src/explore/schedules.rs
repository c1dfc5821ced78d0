//! Explores one workload: records it, cuts it everywhere, and does that again where it may have
//! gone otherwise: with the cache evicted if a sync failed, in other schedules if the engine has
//! threads.
//!
//! To record a workload costs little beside what its crash states cost. So it is recorded in
//! several schedules, and each is judged to its end; only where the order of changes and promises
//! is new is there something to cut, and there only states that no schedule before has left are
//! recovered.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::{Digest, Digester};
use crate::base::time::Time;
use crate::disk::effect::Effect;
use crate::disk::pending::Pending;
use crate::disk::tree::Tree;
use crate::log::{Mark, Payload, records};
use crate::process::world::schedule::Plan;
use crate::sim::Step;
use crate::sim::model::Model;

use super::event::Outcome;
use super::explorer::{Explorer, Recovered, Stop};
use super::failure;
use super::judge::Judge;
use super::walk::{self, Judged, Line, Spend};

/// The first schedule has all recoveries of a workload, each that comes behind one part in so many
/// of them, and of the states of a crash point.
const SHARE: u64 = 8;

/// What was found by the schedules so far.
struct Seen {
    /// Their histories.
    histories: BTreeSet<Digest>,
    /// Crash states that were judged.
    judged: Judged,
    /// Whether a state that one schedule left may be judged otherwise in another: with several
    /// clients, the same number of promises may be about other ops.
    apart: bool,
    /// How many decisions the longest came to.
    decisions: Option<u64>,
}

/// Explores the workload of a request.
pub(crate) fn explore<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    let steps = explorer.steps(&explorer.case.epochs[0])?;
    let has_clients =
        steps.iter().any(|step| matches!(step, Step::Op(op) if M::clients(op).is_some()));
    let mut seen = Seen {
        histories: BTreeSet::new(),
        judged: Judged::new(),
        apart: has_clients,
        decisions: None,
    };
    let budget = explorer.request.budget;
    let all = Spend { recoveries: budget.recoveries, exhaustive: budget.exhaustive, first: true };
    let first = explorer.record(explorer.request.stacks)?;
    explorer.tally.run = first.outcome.digest;
    let kept = first.outcome.digest;
    let has_threads = first.outcome.turns.is_some();
    let sync_failed = failed_sync(&first.log);
    explorer.tally.schedules += 1;
    cut(explorer, &mut seen, first, all)?;
    if sync_failed && !explorer.case.evicts {
        evicted(explorer, kept, all)?;
    }
    if !has_threads || explorer.case.epochs[0].turns.is_some() {
        return Ok(());
    }
    let share = Spend {
        recoveries: budget.recoveries / SHARE,
        exhaustive: budget.exhaustive / SHARE,
        first: false,
    };
    for number in 1..budget.schedules {
        // Behind that of the recoveries.
        let seed = explorer.case.seed.derive("schedule", number + 1).0;
        let schedule = Plan::Drawn { seed, decisions: seen.decisions };
        let again = explorer.record_as(explorer.request.stacks, schedule)?;
        explorer.tally.schedules += 1;
        cut(explorer, &mut seen, again, share)?;
    }
    Ok(())
}

/// Once more with the cache evicted as soon as a sync had failed: the engine goes on, but finds on
/// reading what the medium has.
fn evicted<M: Model>(
    explorer: &mut Explorer<'_, M>,
    kept: Digest,
    spend: Spend,
) -> Result<(), Stop> {
    explorer.case.evicts = true;
    let Recovered { outcome, log } = explorer.record(explorer.request.stacks)?;
    // If it read nothing of it, its states are among those of the other run.
    if outcome.digest != kept {
        explorer.note(Digest(0), outcome.digest);
        explore_recorded(explorer, outcome, &log, &mut Judged::new(), spend)?;
    }
    explorer.case.evicts = false;
    Ok(())
}

/// Whether a sync failed in a run.
fn failed_sync(log: &[u8]) -> bool {
    records(log).any(|record| matches!(record.payload, Payload::Effect(Effect::SyncFailed(_))))
}

/// Judges a recorded run, and cuts it if no schedule before has led to the same history.
fn cut<M: Model>(
    explorer: &mut Explorer<'_, M>,
    seen: &mut Seen,
    recorded: Recovered,
    spend: Spend,
) -> Result<(), Stop> {
    let Recovered { outcome, log } = recorded;
    explorer.note(Digest(0), outcome.digest);
    seen.decisions = seen.decisions.max(outcome.decisions);
    if !seen.histories.insert(history(&log)) {
        return Ok(());
    }
    explorer.tally.histories += 1;
    if seen.apart {
        seen.judged.clear();
    }
    explore_recorded(explorer, outcome, &log, &mut seen.judged, spend)
}

/// Judges a first life and places crashes in it.
pub(crate) fn explore_recorded<M: Model>(
    explorer: &mut Explorer<'_, M>,
    outcome: Outcome,
    log: &[u8],
    judged: &mut Judged,
    spend: Spend,
) -> Result<(), Stop> {
    let epoch = explorer.case.epochs[0].clone();
    let mut judge = Judge::new(explorer.promises(), explorer.created_apart());
    judge.begin(Rc::new(explorer.steps(&epoch)?), explorer.lasting(1));
    if let Err(violation) = judge.clone().outcome(&outcome, Time::START) {
        let failure = failure::without_crash(explorer, &violation, &outcome);
        return explorer.violated(failure);
    }
    let turns = outcome.turns.clone();
    // Each fork copies the page tables of what is still held.
    drop(outcome);
    let line = Line { epochs: Vec::new(), epoch, depth: 0, turns, muted: false };
    let pending = Pending::new(Tree::new(), &explorer.profile);
    walk::walk(explorer, &line, log, pending, judge, judged, spend)
}

/// The changes and marks of a run in their order, without their times and without the turns that
/// led to it.
fn history(log: &[u8]) -> Digest {
    let mut digester = Digester::default();
    for record in records(log) {
        match record.payload {
            Payload::Call(_)
            | Payload::Mark(Mark::Turn(_) | Mark::Decisions(_) | Mark::SawClock) => {}
            event => digester.add(&postcard::to_allocvec(&event).unwrap_or_default()),
        }
    }
    digester.finish()
}
