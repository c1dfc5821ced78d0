//! Fail the Nth call, for every N: in the workload, and in a recovery from a crash behind it.
//!
//! SQLite's tests do so with every allocation and every call of its file system layer
//! (`do_faultsim_test`). A first run without faults says which calls there are. Then the same
//! workload is run once for each call and each way in which a kernel may fail it, as far as the
//! sim promises something for it ([`Promises::survives`]): once, and from then on. Behind each
//! such run the process dies, or the power, right after the error, behind the last step, and at
//! the end; the store is opened again where nothing fails, and must show all that it promised.
//!
//! A full disk is more than a call that fails: room comes back when something is deleted. So the
//! workload is also run on a disk of each size at which it comes to be full.
//!
//! [`Promises::survives`]: crate::oracle::Promises::survives

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::case::fault::{Fault, FaultClass, FaultKind, InjectionKind};
use crate::disk::Errno;
use crate::disk::pending::Pending;
use crate::disk::space::Space;
use crate::disk::tree::Tree;
use crate::log::{Call, Payload, records};
use crate::oracle::{Answer, CrashKind, Promises};
use crate::process::doors::fault_class;
use crate::process::world::{RANDOM, Stacks};
use crate::sim::model::Model;

use super::chooser::{Choice, Chooser};
use super::event::{EventKind, Outcome};
use super::explorer::{After, Explorer, Recovered, Stop};
use super::schedules::explore_recorded;
use super::walk::{DOWN, Judged, Spend, ends};

/// Crash states of the power that are recovered at each point, where there are more.
const STATES: u64 = 4;
/// How long a slow call takes, in milliseconds: longer than any background work waits.
const SLOW: u64 = 5_000;

/// In which ways a call is made to fail, each once; the second word says whether also from then on.
const WAYS: [(InjectionKind, bool); 9] = [
    (InjectionKind::Io, true),
    (InjectionKind::NoSpace, true),
    (InjectionKind::Quota, false),
    (InjectionKind::Files, true),
    (InjectionKind::Interrupted, false),
    (InjectionKind::Short, false),
    (InjectionKind::ReadOnly, false),
    (InjectionKind::Slow, false),
    (InjectionKind::Corrupt, false),
];

/// Fails every call in turn, as far as the budget goes: half of it for the workload, half for a
/// recovery. Where there are more faults than that, some are drawn. Full disks come on top.
pub(crate) fn fail_calls<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    explorer.case.faults = Vec::new();
    explorer.sparse = true;
    explorer.request.budget.exhaustive = explorer.request.budget.exhaustive.min(STATES);
    let quiet = explorer.record(explorer.request.stacks)?;
    explorer.tally.run = quiet.outcome.digest;
    cut(explorer, quiet.outcome.clone(), &quiet.log)?;
    let may = explorer.request.budget.recoveries / 2;
    let plan = draw(explorer, plan(&explorer.promises(), &quiet, 1), may);
    for fault in plan {
        explorer.case.faults = vec![fault];
        let injected = explorer.record(explorer.request.stacks)?;
        if !was_injected(&injected.outcome) {
            continue;
        }
        explorer.tally.faults += 1;
        cut(explorer, injected.outcome, &injected.log)?;
        explorer.progress();
    }
    explorer.case.faults = Vec::new();
    full(explorer, may)?;
    let calm = recovery(explorer, &quiet)?;
    let plan = draw(explorer, self::plan(&explorer.promises(), &calm, 2), may);
    for fault in plan {
        explorer.case.faults = vec![fault];
        explorer.tally.faults += 1;
        cut(explorer, quiet.outcome.clone(), &quiet.log)?;
        explorer.progress();
    }
    Ok(())
}

/// A disk of so many pages; of so many inodes; of so many pages that only a sync looks for.
const SMALL: [fn(u64) -> Space; 3] = [
    |pages| Space { pages, ..ENDLESS },
    |inodes| Space { inodes, ..ENDLESS },
    |pages| Space { pages, delayed: true, ..ENDLESS },
];

/// A disk that is never full.
const ENDLESS: Space =
    Space { pages: u64::MAX, inodes: u64::MAX, error: Errno::ENOSPC, delayed: false };

/// No larger disk is tried: 16 TiB.
const LARGE: u64 = 1 << 32;

/// Runs the workload on a disk of each size at which it is full at some time: of each kind a part
/// of `may` of them, and none if the sim does not promise something whichever call fails.
fn full<M: Model>(explorer: &mut Explorer<'_, M>, may: u64) -> Result<(), Stop> {
    let promises = explorer.promises();
    if FaultKind::OF_EVERY_CALL
        .into_iter()
        .any(|fault_kind| promises.answer(fault_kind) == Answer::Nothing)
    {
        return Ok(());
    }
    for small in SMALL {
        if small(1).delayed && !explorer.profile.delays {
            continue;
        }
        let least = enough(explorer, small)?;
        for size in sizes(explorer, least, may / SMALL.len() as u64) {
            explorer.case.space = Some(small(size));
            let injected = explorer.record(explorer.request.stacks)?;
            if was_injected(&injected.outcome) {
                explorer.tally.faults += 1;
                cut(explorer, injected.outcome, &injected.log)?;
                explorer.progress();
            }
        }
    }
    explorer.case.space = None;
    Ok(())
}

/// The sizes below this one, or so many of them, drawn.
fn sizes<M: Model>(explorer: &mut Explorer<'_, M>, least: u64, most: u64) -> BTreeSet<u64> {
    if least <= most {
        return (1..least).collect();
    }
    (0..most).map(|_| 1 + explorer.chooser.choose(Choice::Fault, least - 1)).collect()
}

/// The least size at which the disk is never full in this workload; [`LARGE`] if an engine fills
/// any.
fn enough<M: Model>(explorer: &mut Explorer<'_, M>, small: fn(u64) -> Space) -> Result<u64, Stop> {
    let mut is_full = |size| {
        explorer.case.space = Some(small(size));
        let recorded = explorer.record(explorer.request.stacks)?;
        Ok(was_injected(&recorded.outcome))
    };
    let (mut little, mut much) = (0, 1);
    while much < LARGE && is_full(much)? {
        (little, much) = (much, much * 2);
    }
    while little + 1 < much {
        let middle = little.midpoint(much);
        if is_full(middle)? { little = middle } else { much = middle }
    }
    Ok(much)
}

/// Judges a run and places the few crashes behind it.
fn cut<M: Model>(explorer: &mut Explorer<'_, M>, outcome: Outcome, log: &[u8]) -> Result<(), Stop> {
    explorer.note(Digest(0), outcome.digest);
    let exhaustive = explorer.request.budget.exhaustive;
    let spend = Spend { recoveries: STATES, exhaustive, first: true };
    explore_recorded(explorer, outcome, log, &mut Judged::new(), spend)
}

/// Whether a fault struck.
fn was_injected(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|event| matches!(event.what, EventKind::Injected(_)))
}

/// A recovery without a fault, from the death of the process behind the last step of a run.
fn recovery<M: Model>(
    explorer: &mut Explorer<'_, M>,
    quiet: &Recovered,
) -> Result<Recovered, Stop> {
    let steps = explorer.case.epochs[0].steps.len();
    let mut pending = Pending::new(Tree::new(), &explorer.profile);
    let mut at = Time::START;
    for record in records(&quiet.log) {
        at = record.at;
        match record.payload {
            Payload::Effect(effect) => pending.apply(&effect, record.at),
            Payload::Mark(mark) if ends(&mark, steps) => break,
            Payload::Mark(_) | Payload::Call(_) => {}
        }
    }
    let after = After { kind: CrashKind::Process, at, epoch: 2, down: DOWN, acked: Rc::default() };
    let epoch = explorer.continuation.clone();
    explorer.recover_alone(pending.live(), &after, &epoch, Stacks::None)
}

/// Each way in which each call of a run may fail, as far as the sim promises something for it.
fn plan<M: Model>(promises: &Promises<M>, quiet: &Recovered, epoch: u32) -> Vec<Fault> {
    let promised = |fault_kind| promises.answer(fault_kind) != Answer::Nothing;
    let of_every_call = FaultKind::OF_EVERY_CALL.into_iter().all(promised);
    let mut plan = Vec::new();
    let mut counts = [0_u32; FaultClass::ALL.len()];
    let mut nth = 0;
    for record in records(&quiet.log) {
        let Payload::Call(call) = record.payload else { continue };
        let Some(class) = fault_class(call.door).filter(|_| call.path != RANDOM) else {
            continue;
        };
        nth += 1;
        counts[class as usize] += 1;
        let flags = i32::try_from(call.arguments[0]).unwrap_or(0);
        let makes = class == FaultClass::Open && flags & libc::O_CREAT != 0;
        let shown = if makes { FaultClass::Create } else { class };
        for (error, lasts) in WAYS {
            if !error.applies_to(shown) || !promised(error.fault_kind(shown)) {
                continue;
            }
            for after in places(error, shown, &call) {
                let once = Fault { epoch, ..Fault::new(error.with(after), FaultClass::Call, nth) };
                plan.push(once);
                if lasts {
                    let nth = counts[class as usize];
                    plan.push(Fault { class, nth, always: true, ..once });
                }
            }
        }
        if of_every_call {
            let all = Fault::new(InjectionKind::Io, FaultClass::Call, nth);
            plan.push(Fault { epoch, always: true, ..all });
        }
    }
    plan
}

/// Where inside a call a fault is injected, as [`InjectionKind::with`] counts: a write before it
/// and in its middle, a read at its first, its middle and its last byte.
fn places(error: InjectionKind, class: FaultClass, call: &Call<'_>) -> Vec<u64> {
    let moved = u64::try_from(call.result).unwrap_or(0);
    match (error, class) {
        (InjectionKind::Slow, _) => vec![SLOW],
        (InjectionKind::Short, _) if moved < 2 => Vec::new(),
        (InjectionKind::Short, _) => vec![moved / 2],
        (InjectionKind::Corrupt, _) if moved == 0 => Vec::new(),
        (InjectionKind::Corrupt, _) => {
            let mut places = vec![0, moved / 2, moved - 1];
            places.dedup();
            places
        }
        (InjectionKind::NoSpace, FaultClass::Write) if moved >= 2 => vec![0, moved / 2],
        _ => vec![0],
    }
}

/// So many of them at most, drawn where there are more, in their order.
fn draw<M: Model>(explorer: &mut Explorer<'_, M>, mut plan: Vec<Fault>, most: u64) -> Vec<Fault> {
    while plan.len() as u64 > most {
        let place = explorer.chooser.choose(Choice::Fault, plan.len() as u64);
        plan.remove(usize::try_from(place).unwrap_or(0));
    }
    plan
}
