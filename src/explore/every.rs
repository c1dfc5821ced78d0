//! Fail the Nth call, for every N: in the workload, and in a recovery from a crash behind it.
//!
//! SQLite's tests do so with every allocation and every call of its file system layer
//! (`do_faultsim_test`). A first run without faults says which calls there are. Then the same
//! workload is run once for each call and each way in which a kernel may fail it, as far as the
//! sim promises something for it ([`Promises::survives`]): once, and from then on. Behind each
//! such run the process dies, or the power, right after the error and at the end; the store is
//! opened again where nothing fails, and must show all that it promised.
//!
//! [`Promises::survives`]: crate::oracle::Promises::survives

use crate::disk::pending::Pending;
use crate::disk::tree::Tree;
use crate::fault::{Fault, FaultClass, FaultError, Harm};
use crate::log::{Event, records};
use crate::oracle::{Answer, CrashKind};
use crate::sim::Sim;
use crate::time::Time;

use super::explorer::{After, Explorer, Recovered, Stop};
use super::walk::DOWN;

/// Crash states of the power that are recovered at each point, where there are more.
const STATES: u64 = 4;
/// How long a slow call takes, in milliseconds: longer than any background work waits.
const SLOW: u64 = 5_000;

/// In which ways a call is made to fail, each once; the second word says whether also from then on.
const WAYS: [(FaultError, u64, bool); 8] = [
    (FaultError::Io, 0, true),
    (FaultError::NoSpace, 0, true),
    (FaultError::Quota, 0, false),
    (FaultError::Files, 0, true),
    (FaultError::Interrupted, 0, false),
    (FaultError::Short, 1, false),
    (FaultError::ReadOnly, 0, false),
    (FaultError::Slow, SLOW, false),
];

/// Fails every call in turn, as far as the budget goes: half of it for the workload, half for a
/// recovery. Where there are more faults than that, they are spread evenly.
pub(crate) fn every<S: Sim>(explorer: &mut Explorer<'_, S>) -> Result<(), Stop> {
    explorer.case.faults = Vec::new();
    explorer.sparse = true;
    explorer.request.budget.exhaustive = explorer.request.budget.exhaustive.min(STATES);
    let quiet = explorer.record(explorer.request.stacks)?;
    explorer.tally.run = quiet.outcome.digest;
    explorer.explore_recorded(&quiet, STATES)?;
    let may = explorer.request.budget.recoveries / 2;
    for fault in spread(plan::<S>(&quiet, 1), may) {
        explorer.case.faults = vec![fault];
        explorer.tally.faults += 1;
        let struck = explorer.record(explorer.request.stacks)?;
        explorer.explore_recorded(&struck, STATES)?;
        explorer.progress();
    }
    explorer.case.faults = Vec::new();
    let calm = recovery(explorer, &quiet)?;
    for fault in spread(plan::<S>(&calm, 2), may) {
        explorer.case.faults = vec![fault];
        explorer.tally.faults += 1;
        explorer.explore_recorded(&quiet, STATES)?;
        explorer.progress();
    }
    Ok(())
}

/// A recovery without a fault, from the death of the process at the end of a run.
fn recovery<S: Sim>(explorer: &mut Explorer<'_, S>, quiet: &Recovered) -> Result<Recovered, Stop> {
    let mut pending = Pending::new(Tree::new(), &explorer.profile);
    let mut at = Time::START;
    for record in records(&quiet.log) {
        at = record.at;
        if let Event::Effect(effect) = record.event {
            pending.apply(&effect, record.at);
        }
    }
    let after = After { kind: CrashKind::Process, at, life: 2, down: DOWN, acked: Vec::new() };
    let life = explorer.afterlife.clone();
    explorer.recover_alone(pending.live(), &after, &life, false)
}

/// Each way in which each call of a run may fail, as far as the sim promises something for it.
fn plan<S: Sim>(quiet: &Recovered, life: u32) -> Vec<Fault> {
    let promises = S::promises();
    let promised = |harm| promises.answer(harm) != Answer::Nothing;
    let of_every_call = Harm::ALL[..5].iter().all(|harm| promised(*harm));
    let mut plan = Vec::new();
    let mut counts = [0_u32; FaultClass::ALL.len()];
    let mut nth = 0;
    for record in records(&quiet.log) {
        let Event::Call(call) = record.event else { continue };
        let Some(class) = FaultClass::of(call.door) else { continue };
        nth += 1;
        counts[class as usize] += 1;
        let flags = i32::try_from(call.arguments[0]).unwrap_or(0);
        let makes = class == FaultClass::Open && flags & libc::O_CREAT != 0;
        let shown = if makes { FaultClass::Create } else { class };
        for (error, after, lasts) in WAYS {
            if !error.may_strike(shown) || !promised(error.harm(shown)) {
                continue;
            }
            let once = Fault { life, after, ..Fault::new(error, FaultClass::Call, nth) };
            plan.push(once);
            if lasts {
                let nth = counts[class as usize];
                plan.push(Fault { class, nth, always: true, ..once });
            }
        }
        if of_every_call {
            let all = Fault::new(FaultError::Io, FaultClass::Call, nth);
            plan.push(Fault { life, always: true, ..all });
        }
    }
    plan
}

/// So many of them at most, evenly spread.
fn spread(plan: Vec<Fault>, most: u64) -> Vec<Fault> {
    let (all, most) = (plan.len(), usize::try_from(most).unwrap_or(usize::MAX));
    if all <= most {
        return plan;
    }
    (0..most).map(|index| plan[index * all / most]).collect()
}
