//! Explores one workload: records it, cuts it everywhere, and does that again in other schedules if
//! the engine has threads.
//!
//! To record a workload costs little beside what its crash states cost. So it is recorded in
//! several schedules, and each is judged to its end; only where the order of changes and promises
//! is new is there something to cut, and there only states that no schedule before has left are
//! recovered.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::digest::{Digest, Digester};
use crate::disk::pending::Pending;
use crate::disk::tree::Tree;
use crate::log::{Event, Mark, records};
use crate::process::schedule::Plan;
use crate::sim::Sim;
use crate::time::Time;

use super::explorer::{Explorer, Recovered, Stop};
use super::failure;
use super::judge::Judge;
use super::walk::{self, Judged, Line, Spend};

/// The first schedule has all recoveries of a workload, each that comes behind one part in so many
/// of them, and of the states of a crash point.
const SHARE: u64 = 8;

/// What was found by the schedules so far.
struct Seen<S: Sim> {
    /// Their histories.
    histories: BTreeSet<Digest>,
    /// Crash states that were judged.
    judged: Judged,
    /// How many decisions the longest came to.
    decisions: Option<u64>,
    /// Before the workload.
    judge: Judge<S>,
}

/// Explores the workload of a request.
pub(crate) fn explore<S: Sim>(explorer: &mut Explorer<'_, S>) -> Result<(), Stop> {
    let mut judge = Judge::<S>::new();
    judge.begin(Rc::new(explorer.steps(&explorer.case.lives[0])?));
    let mut seen =
        Seen { histories: BTreeSet::new(), judged: Judged::new(), decisions: None, judge };
    let budget = explorer.request.budget;
    let all = Spend { recoveries: budget.recoveries, exhaustive: budget.exhaustive, first: true };
    let first = explorer.record(explorer.request.stacks)?;
    explorer.tally.run = first.outcome.digest;
    let has_threads = first.outcome.turns.is_some();
    cut(explorer, &mut seen, first, all)?;
    if !has_threads || explorer.case.lives[0].turns.is_some() {
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
        cut(explorer, &mut seen, again, share)?;
    }
    Ok(())
}

/// Judges a recorded run, and cuts it if no schedule before has led to the same history.
fn cut<S: Sim>(
    explorer: &mut Explorer<'_, S>,
    seen: &mut Seen<S>,
    recorded: Recovered,
    spend: Spend,
) -> Result<(), Stop> {
    let Recovered { outcome, log } = recorded;
    explorer.tally.schedules += 1;
    explorer.note(Digest(0), outcome.digest);
    seen.decisions = seen.decisions.max(outcome.decisions);
    if !seen.histories.insert(history(&log)) {
        return Ok(());
    }
    explorer.tally.histories += 1;
    if let Err(violation) = seen.judge.clone().outcome(&outcome, Time::START) {
        let failure = failure::without_crash(explorer, &violation, &outcome);
        return explorer.violated(failure);
    }
    let turns = outcome.turns.clone();
    // Each fork copies the page tables of what is still held.
    drop(outcome);
    let life = explorer.case.lives[0].clone();
    let line = Line { lives: Vec::new(), life, depth: 0, turns };
    let pending = Pending::new(Tree::new(), &explorer.profile);
    walk::walk(explorer, &line, &log, pending, seen.judge.clone(), &mut seen.judged, spend)
}

/// The changes and marks of a run in their order, without their times and without the turns that
/// led to it.
fn history(log: &[u8]) -> Digest {
    let mut digester = Digester::default();
    for record in records(log) {
        match record.event {
            Event::Call(_) | Event::Mark(Mark::Turn(_) | Mark::Decisions(_) | Mark::SawClock) => {}
            event => digester.add(&postcard::to_allocvec(&event).unwrap_or_default()),
        }
    }
    digester.finish()
}
