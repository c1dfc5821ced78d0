//! Fails the Nth call, for every N: in the workload, and in a recovery from a crash after it.
//!
//! SQLite's tests do so with every allocation and every call of its file system layer
//! (`do_faultsim_test`). A first run without faults says which calls there are. Then the same
//! workload is run once for each call and each way in which a kernel may fail it, as far as the
//! sim promises something for it ([`Promises::survives`]): once, and from then on. In each such
//! run the process dies, or the power is lost, right after the error, after the last step, and at
//! the end. The store is then opened again without faults, and must show all that it promised.
//!
//! A full disk is more than a call that fails: room comes back when something is deleted. So the
//! workload is also run on a disk of each size at which it becomes full.
//!
//! [`Promises::survives`]: crate::oracle::Promises::survives

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::case::fault::{Fault, FaultClass, InjectionKind};
use crate::disk::Errno;
use crate::disk::pending::Pending;
use crate::disk::space::Space;
use crate::disk::tree::Tree;
use crate::log::{Call, Payload, records};
use crate::oracle::{AfterFault, CrashKind, Promises};
use crate::process::doors::fault_class;
use crate::process::world::{RANDOM, Stacks};
use crate::sim::fault_kind::FaultKind;
use crate::sim::model::Model;

use super::boot::Boot;
use super::chooser::Choice;
use super::conditions::Conditions;
use super::crash_point::ends;
use super::crash_state::DOWN;
use super::event::{EventKind, Outcome};
use super::examine::Judged;
use super::explorer::Explorer;
use super::runner::{PriorCrash, Recorded};
use super::schedules::explore_recorded;
use super::stop::Stop;
use super::walk::Effort;

/// The most states of a power loss that are recovered at each crash point.
const STATES: u64 = 4;
/// How long a slow call takes, in milliseconds: longer than any background thread waits.
const SLOW: u64 = 5_000;

/// The ways in which a call is made to fail once, and whether it is also made to fail from then on.
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

/// Fails every call in turn, as far as the budget allows: half of it for the workload, half for a
/// recovery. If there are more faults than that, some are drawn. Full disks come in addition.
pub(crate) fn fail_calls<M: Model>(explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
    let none = Conditions::default();
    let faultless = explorer.record(&none)?;
    explorer.reporter.tally.run = faultless.outcome.digest;
    cut(explorer, &none, faultless.outcome.clone(), &faultless.log)?;
    let most = explorer.job.budget.recoveries / 2;
    let faults = draw(explorer, faults(&explorer.promises(), &faultless, 1), most);
    for fault in faults {
        record_and_cut(explorer, &Conditions::with_fault(fault))?;
    }
    full_disks(explorer, most)?;
    let recovery = recovery(explorer, &faultless)?;
    let faults = draw(explorer, self::faults(&explorer.promises(), &recovery, 2), most);
    for fault in faults {
        explorer.reporter.tally.faults += 1;
        cut(explorer, &Conditions::with_fault(fault), faultless.outcome.clone(), &faultless.log)?;
        explorer.progress();
    }
    Ok(())
}

/// Records the workload under these conditions and cuts it, if they made a call fail.
fn record_and_cut<M: Model>(
    explorer: &mut Explorer<'_, M>,
    conditions: &Conditions,
) -> Result<(), Stop> {
    let recorded = explorer.record(conditions)?;
    if was_injected(&recorded.outcome) {
        explorer.reporter.tally.faults += 1;
        cut(explorer, conditions, recorded.outcome, &recorded.log)?;
        explorer.progress();
    }
    Ok(())
}

/// Small disks: of this many pages, of this many inodes, and of this many pages that are allocated
/// by a sync only.
const SMALL: [fn(u64) -> Space; 3] = [
    |pages| Space { pages, ..UNLIMITED },
    |inodes| Space { inodes, ..UNLIMITED },
    |pages| Space { pages, delayed: true, ..UNLIMITED },
];

/// A disk that is never full.
const UNLIMITED: Space =
    Space { pages: u64::MAX, inodes: u64::MAX, error: Errno::ENOSPC, delayed: false };

/// The most pages (16 TiB) or inodes that are tried.
const LARGE: u64 = 1 << 32;

/// Runs the workload on a disk of each size at which it becomes full: of each kind of small disk at
/// most an equal share of `most`, and none unless the sim promises something whichever call fails.
fn full_disks<M: Model>(explorer: &mut Explorer<'_, M>, most: u64) -> Result<(), Stop> {
    let promises = explorer.promises();
    if FaultKind::OF_EVERY_CALL.into_iter().any(|kind| promises.answer(kind) == AfterFault::Nothing)
    {
        return Ok(());
    }
    for small in SMALL {
        if small(1).delayed && !explorer.runner.profile.delays {
            continue;
        }
        let enough = enough(explorer, small)?;
        for size in sizes(explorer, enough, most / SMALL.len() as u64) {
            record_and_cut(explorer, &with_space(small(size)))?;
        }
    }
    Ok(())
}

/// A run on a disk of this size.
fn with_space(space: Space) -> Conditions {
    Conditions { space: Some(space), ..Conditions::default() }
}

/// The sizes below `enough`; if there are more than `most`, that many draws.
fn sizes<M: Model>(explorer: &mut Explorer<'_, M>, enough: u64, most: u64) -> BTreeSet<u64> {
    if enough <= most {
        return (1..enough).collect();
    }
    (0..most).map(|_| 1 + explorer.chooser.choose(Choice::Fault, enough - 1)).collect()
}

/// The least size at which the disk is never full in this workload; [`LARGE`] if the engine fills
/// every smaller one.
fn enough<M: Model>(explorer: &mut Explorer<'_, M>, small: fn(u64) -> Space) -> Result<u64, Stop> {
    let mut is_full = |size| Ok(was_injected(&explorer.record(&with_space(small(size)))?.outcome));
    let (mut full, mut enough) = (0, 1);
    while enough < LARGE && is_full(enough)? {
        (full, enough) = (enough, enough * 2);
    }
    while full + 1 < enough {
        let middle = full.midpoint(enough);
        if is_full(middle)? { full = middle } else { enough = middle }
    }
    Ok(enough)
}

/// Judges a run and places a few crashes in it.
fn cut<M: Model>(
    explorer: &mut Explorer<'_, M>,
    conditions: &Conditions,
    outcome: Outcome,
    log: &[u8],
) -> Result<(), Stop> {
    explorer.reporter.note(Digest(0), outcome.digest);
    let exhaustive = explorer.job.budget.exhaustive.min(STATES);
    let effort =
        Effort { recoveries: STATES, exhaustive, first: true, every: true, sparse: true, cuts: 0 };
    explore_recorded(explorer, conditions, outcome, log, &mut Judged::default(), effort)
}

/// Whether a fault was injected.
fn was_injected(outcome: &Outcome) -> bool {
    outcome.events.iter().any(|event| matches!(event.kind, EventKind::Injected(_)))
}

/// A recovery without a fault, after the process died at the end of the last step.
fn recovery<M: Model>(
    explorer: &mut Explorer<'_, M>,
    faultless: &Recorded,
) -> Result<Recorded, Stop> {
    let steps = explorer.steps.len();
    let mut pending = Pending::new(Tree::of_a_run(), &explorer.runner.profile);
    let mut at = Time::START;
    for record in records(&faultless.log) {
        at = record.at.max(at);
        match record.payload {
            Payload::Effect(effect) => pending.apply(&effect, record.at),
            Payload::Mark(mark) if ends(&mark, steps) => break,
            Payload::Mark(_) | Payload::Call(_) => {}
        }
    }
    let kind = CrashKind::Process;
    let (boot, acked) = (Boot::FIRST, Rc::default());
    let prior = PriorCrash { kind, at, epoch: 2, down: DOWN, boot, acked };
    let (none, epoch) = (Conditions::default(), &explorer.continuation);
    explorer.runner.recover_alone(pending.live(), &prior, &none, epoch, Stacks::None)
}

/// Each way in which each call of a run may fail, as far as the sim promises something for it.
fn faults<M: Model>(promises: &Promises<M>, faultless: &Recorded, epoch: u32) -> Vec<Fault> {
    let promised = |fault_kind| promises.answer(fault_kind) != AfterFault::Nothing;
    let of_every_call = FaultKind::OF_EVERY_CALL.into_iter().all(promised);
    let mut faults = Vec::new();
    let mut counts = [0_u32; FaultClass::ALL.len()];
    let mut nth = 0;
    for record in records(&faultless.log) {
        let Payload::Call(call) = record.payload else { continue };
        let Some(class) = fault_class(call.door).filter(|_| call.path != RANDOM) else {
            continue;
        };
        nth += 1;
        counts[class as usize] += 1;
        let flags = i32::try_from(call.arguments[0]).unwrap_or(0);
        let creates = class == FaultClass::Open && flags & libc::O_CREAT != 0;
        let class_of_call = if creates { FaultClass::Create } else { class };
        for (error, lasts) in WAYS {
            if !error.applies_to(class_of_call) || !promised(error.fault_kind(class_of_call)) {
                continue;
            }
            for after in places(error, class_of_call, &call) {
                let once = Fault { epoch, ..Fault::new(error.with(after), FaultClass::Call, nth) };
                faults.push(once);
                if lasts {
                    let nth = counts[class as usize];
                    faults.push(Fault { class, nth, always: true, ..once });
                }
            }
        }
        if of_every_call {
            let all = Fault::new(InjectionKind::Io, FaultClass::Call, nth);
            faults.push(Fault { epoch, always: true, ..all });
        }
    }
    faults
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

/// At most `most` of the faults, in their order; drawn if there are more.
fn draw<M: Model>(explorer: &mut Explorer<'_, M>, mut faults: Vec<Fault>, most: u64) -> Vec<Fault> {
    while faults.len() as u64 > most {
        let place = explorer.chooser.choose(Choice::Fault, faults.len() as u64);
        faults.remove(usize::try_from(place).unwrap_or(0));
    }
    faults
}
