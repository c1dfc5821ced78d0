//! Explores one workload: records it, cuts it everywhere, and repeats that where the run may have
//! taken another course: with the cache evicted if a sync failed, and in other schedules if the
//! engine has threads.
//!
//! Recording a workload is cheap compared with its crash states. So it is recorded in several
//! schedules, and each recording is judged to its end. Only where the order of changes and
//! promises is new is there something to cut, and there only the states are recovered that no
//! earlier schedule has left.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::{Digest, Digester};
use crate::base::time::Time;
use crate::disk::effect::Effect;
use crate::disk::pending::Pending;
use crate::disk::tree::Tree;
use crate::log::{Mark, Payload, records};
use crate::sim::Step;
use crate::sim::engine::Level;
use crate::sim::model::Model;

use super::boot::Boot;
use super::conditions::Conditions;
use super::event::Outcome;
use super::examine::Judged;
use super::explorer::Explorer;
use super::finding::{Finding, Pieces};
use super::judge::Judge;
use super::lineage::Lineage;
use super::runner::Recorded;
use super::stop::Stop;
use super::walk::{self, Effort};

/// The first schedule gets all recoveries of a workload; each later one gets this fraction of them,
/// and of the states of a crash point.
const SHARE: u64 = 8;

/// A workload of more steps has more crash points than its recoveries can visit.
const LONG: usize = 64;

/// Recoveries for each step of a workload with which all its crash points can be visited.
const STEP: u64 = 12;

/// The results of the schedules so far.
struct Seen {
    /// Their histories.
    histories: BTreeSet<Digest>,
    /// Crash states that were judged.
    judged: Judged,
    /// Whether a state that one schedule left may be judged differently in another: with several
    /// clients, the same number of promises may be about other ops.
    judges_apart: bool,
    /// The largest number of decisions in one schedule.
    decisions: Option<u64>,
}

/// Explores the workload of a job.
pub(crate) fn explore<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    let conditions = Conditions::of(&explorer.job.case);
    let has_clients =
        explorer.steps.iter().any(|step| matches!(step, Step::Op(op) if M::clients(op).is_some()));
    let mut seen = Seen {
        histories: BTreeSet::new(),
        judged: Judged::default(),
        judges_apart: has_clients,
        decisions: None,
    };
    let budget = explorer.job.budget;
    let (recoveries, exhaustive) = (budget.recoveries, budget.exhaustive);
    let steps = explorer.steps.len();
    let every = steps <= LONG && (!budget.even || steps as u64 * STEP <= recoveries);
    let all = Effort { recoveries, exhaustive, first: true, every, sparse: false, cuts: 0 };
    let first = explorer.record(&conditions)?;
    explorer.reporter.tally.run = first.outcome.digest;
    let kept = first.outcome.digest;
    let has_threads = first.outcome.turns.is_some();
    let sync_failed = failed_sync(&first.log);
    explorer.reporter.tally.schedules += 1;
    cut(explorer, &conditions, &mut seen, first, all)?;
    if sync_failed && !conditions.evicts {
        evicted(explorer, &Conditions { evicts: true, ..conditions.clone() }, kept, all)?;
    }
    if !has_threads || explorer.job.case.epochs[0].turns.is_some() {
        return Ok(());
    }
    let share = Effort {
        recoveries: recoveries / SHARE,
        exhaustive: exhaustive / SHARE,
        first: false,
        every: false,
        sparse: false,
        cuts: 0,
    };
    for number in 1..budget.schedules {
        let schedule = explorer.runner.another_schedule(number, seen.decisions);
        let again = explorer.record_in(&conditions, Some(schedule))?;
        explorer.reporter.tally.schedules += 1;
        cut(explorer, &conditions, &mut seen, again, share)?;
    }
    Ok(())
}

/// Explores the workload again with the cache evicted as soon as a sync had failed: the engine
/// continues, but reads what the medium has.
fn evicted<M: Model>(
    explorer: &mut Explorer<'_, M>,
    conditions: &Conditions,
    kept: Digest,
    effort: Effort,
) -> Result<(), Stop> {
    let Recorded { outcome, log, .. } = explorer.record(conditions)?;
    // If it read nothing of that, its states are among those of the other run.
    if outcome.digest != kept {
        explorer.reporter.note(Digest(0), outcome.digest);
        explore_recorded(explorer, conditions, outcome, &log, &mut Judged::default(), effort)?;
    }
    Ok(())
}

/// Whether a sync failed in a run.
fn failed_sync(log: &[u8]) -> bool {
    records(log).any(|record| matches!(record.payload, Payload::Effect(Effect::SyncFailed(_))))
}

/// Judges a recorded run, and cuts it if no earlier schedule had the same history.
fn cut<M: Model>(
    explorer: &mut Explorer<'_, M>,
    conditions: &Conditions,
    seen: &mut Seen,
    recorded: Recorded,
    effort: Effort,
) -> Result<(), Stop> {
    let Recorded { outcome, log, .. } = recorded;
    explorer.reporter.note(Digest(0), outcome.digest);
    seen.decisions = seen.decisions.max(outcome.decisions);
    if !seen.histories.insert(history(&log)) {
        return Ok(());
    }
    explorer.reporter.tally.histories += 1;
    if seen.judges_apart {
        seen.judged.clear();
    }
    explore_recorded(explorer, conditions, outcome, &log, &mut seen.judged, effort)
}

/// Judges a first epoch and places crashes in it.
pub(crate) fn explore_recorded<M: Model>(
    explorer: &mut Explorer<'_, M>,
    conditions: &Conditions,
    outcome: Outcome,
    log: &[u8],
    judged: &mut Judged,
    effort: Effort,
) -> Result<(), Stop> {
    let (judge, lineage) = begun(explorer, conditions, &outcome);
    if let Some(activity) = &mut explorer.reporter.activity {
        activity.recorded(&outcome, &explorer.job.case.epochs[0].steps);
    }
    if let Some(finding) = judged_whole(explorer, &judge, &lineage, &outcome) {
        return explorer.reporter.found(finding);
    }
    // Each fork copies the page tables of what is still held.
    drop(outcome);
    let pending = Pending::new(Tree::of_a_run(), &explorer.runner.profile);
    walk::walk(explorer, &lineage, log, pending, judge, judged, effort)
}

/// Records the workload of a job in its first schedule and judges it, without a crash.
pub(crate) fn run_uncut<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    let conditions = Conditions::of(&explorer.job.case);
    let Recorded { outcome, .. } = explorer.record(&conditions)?;
    explorer.reporter.note(Digest(0), outcome.digest);
    let tally = &mut explorer.reporter.tally;
    tally.run = outcome.digest;
    tally.schedules += 1;
    tally.changes += outcome.effects;
    for event in &outcome.events {
        match event.kind.acknowledged() {
            Some(Level::Durable) => tally.durable += 1,
            Some(Level::Flushed) => tally.flushed += 1,
            Some(Level::Buffered) | None => {}
        }
    }
    let (judge, lineage) = begun(explorer, &conditions, &outcome);
    match judged_whole(explorer, &judge, &lineage, &outcome) {
        Some(finding) => explorer.reporter.found(finding),
        None => Ok(()),
    }
}

/// The judge at the beginning of a first epoch, and its lineage.
fn begun<M: Model>(
    explorer: &Explorer<'_, M>,
    conditions: &Conditions,
    outcome: &Outcome,
) -> (Judge<M>, Lineage) {
    let mut judge = Judge::new(
        explorer.promises(),
        explorer.runner.subject.created_apart,
        conditions.errors(&explorer.job.case),
    );
    judge.begin(Rc::clone(&explorer.steps), conditions.lasting(1));
    let lineage = Lineage {
        before: Vec::new(),
        epoch: explorer.job.case.epochs[0].clone(),
        turns: outcome.turns.clone(),
        conditions: conditions.clone(),
        muted: false,
        boot: Boot::FIRST,
    };
    (judge, lineage)
}

/// The violation of a run to its end, without a crash.
fn judged_whole<M: Model>(
    explorer: &Explorer<'_, M>,
    judge: &Judge<M>,
    lineage: &Lineage,
    outcome: &Outcome,
) -> Option<Finding> {
    let violation = judge.clone().outcome(outcome, Time::START).err()?;
    let case = &explorer.job.case;
    let case = lineage.case_without_crash(case, outcome.turns.clone(), &violation);
    Some(Finding {
        case,
        violation,
        crash: None,
        pieces: Pieces::default(),
        digest: outcome.digest,
        relaxations: BTreeSet::new(),
        verdict: None,
    })
}

/// The changes and marks of a run in their order, without their times and without the scheduling
/// decisions.
fn history(log: &[u8]) -> Digest {
    let mut digester = Digester::default();
    for record in records(log) {
        match record.payload {
            Payload::Call(_)
            | Payload::Mark(Mark::Turn(_) | Mark::Decisions(_) | Mark::SawClock | Mark::Saw(_)) => {
            }
            event => digester.add(&postcard::to_allocvec(&event).unwrap_or_default()),
        }
    }
    digester.finish()
}
