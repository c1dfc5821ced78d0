//! Carries a case out as it is written: records it, crashes where it says, recovers, and so on.

use std::rc::Rc;

use crate::base::text::{TextError, Word, quote};
use crate::base::time::Time;
use crate::case::fault::Fault;
use crate::case::{Crash, Epoch, Position};
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::rot::{Rot, Rotting};
use crate::disk::tree::Tree;
use crate::log::{Mark, Payload, records};
use crate::oracle::{AfterFault, CrashKind, Violation};
use crate::sim::model::Model;

use super::calls::Calls;
use super::conditions::Conditions;
use super::crash_point::CrashPoint;
use super::crash_state::{Crashed, Left};
use super::describe;
use super::event::{event, injected};
use super::explorer::Explorer;
use super::finding::{CrashScene, Finding, Pieces};
use super::judge::Judge;
use super::keep::keep;
use super::lineage::{EVICTED, PAGES, within};
use super::message::{CasePart, Message, Recording, Refusal};
use super::runner::{PriorCrash, Recorded, steps};
use super::stop::Stop;
use crate::base::digest::Digest;
use std::collections::BTreeSet;

/// A replay under way.
struct Replay<M: Model> {
    judge: Judge<M>,
    /// The epoch that was run last.
    run: Recorded,
    /// The disk at the beginning of that epoch, with its pending pieces.
    pending: Pending,
    /// When it began.
    start: Time,
    /// The faults of the case that hit no call so far, by their place in it.
    idle: BTreeSet<usize>,
    /// The last crash.
    crash: Option<(CrashScene, Pieces)>,
}

/// Replays the case of a job. `trace` sends the log of each epoch; `debug` runs the last recovery
/// in this process.
pub(crate) fn replay<M: Model>(
    explorer: &mut Explorer<'_, M>,
    trace: bool,
    debug: bool,
) -> Result<(), Stop> {
    let conditions = Conditions::of(&explorer.job.case);
    let epochs = explorer.job.case.epochs.clone();
    let run = explorer.record(&conditions)?;
    explorer.reporter.tally.run = run.outcome.digest;
    explorer.reporter.note(Digest(0), run.outcome.digest);
    let mut replay = Replay {
        judge: Judge::new(
            explorer.promises(),
            explorer.runner.subject.created_apart,
            conditions.errors(&explorer.job.case),
        ),
        run,
        pending: Pending::new(Tree::of_a_run(), &explorer.runner.profile),
        start: Time::START,
        idle: (0..explorer.job.case.faults.len()).collect(),
        crash: None,
    };
    let nothing = Epoch::default();
    // A case that ends with a crash has one more epoch, without steps.
    for (index, epoch) in epochs.iter().chain([&nothing]).enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        replay.judge.begin(Rc::new(steps(epoch)?), conditions.lasting(number));
        if trace {
            replay.send_recording(explorer, number);
        }
        replay.note_faults(&explorer.job.case.faults, number, epoch);
        let Some(crash) = &epoch.crash else { return replay.finish(explorer) };
        explorer.runner.in_process = debug && index + 2 >= epochs.len();
        let next = epochs.get(index + 1).unwrap_or(&nothing);
        let ended = replay.crash(explorer, &conditions, crash, index, epoch, next);
        if let Some(violation) = ended? {
            return replay.report(explorer, violation);
        }
    }
    Ok(())
}

impl<M: Model> Replay<M> {
    fn crash(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        conditions: &Conditions,
        crash: &Crash,
        index: usize,
        epoch: &Epoch,
        next: &Epoch,
    ) -> Result<Option<Violation>, Stop> {
        let calls = Calls::index(&self.run.log, &mut explorer.runner.sites);
        let mut whole = self.judge.clone();
        let reached =
            reach(crash, epoch, &self.run.log, &calls, &mut self.pending, &mut self.judge);
        if let (Err(_), Err(violation)) = (&reached, whole.outcome(&self.run.outcome, self.start)) {
            // It never reached the crash because it broke a promise before.
            return Ok(Some(violation));
        }
        let blame =
            |refusal| Stop::Refused(Refusal { part: Some(CasePart::Crash(index)), ..refusal });
        let point = reached.map_err(|why| blame(Refusal::from(why)))?;
        let left = left(crash, &self.pending, explorer.runner.subject.after_rot).map_err(blame)?;
        let crashed = Crashed { kind: crash.kind, point: &point, left };
        let scene = describe::scene(&crashed, &calls, index > 0, &self.pending);
        self.crash = Some((scene, describe::pieces(&crashed, &self.pending, &calls)));
        self.pending = pending_after(&crashed, &self.run.log, &self.pending);
        let last = index + 2 >= explorer.job.case.epochs.len();
        if let Some(folder) = explorer.job.keep.as_ref().filter(|_| last) {
            keep(self.pending.live(), folder)?;
        }
        let number = u32::try_from(index + 2).unwrap_or(u32::MAX);
        let prior =
            PriorCrash { down: crash.down, ..crashed.prior(&self.judge, self.run.boot, number) };
        self.judge = crashed.judge_after(&self.judge);
        self.start = point.at + crash.down;
        let tree = self.pending.live().clone();
        let (runner, stacks) = (&mut explorer.runner, explorer.job.stacks);
        self.run = runner.recover_alone(&tree, &prior, conditions, next, stacks)?;
        explorer.reporter.note(tree.digest(), self.run.outcome.digest);
        Ok(None)
    }

    /// Notes which faults of an epoch hit a call before its crash.
    fn note_faults(&mut self, faults: &[Fault], number: u32, epoch: &Epoch) {
        let of_epoch = |(_, fault): &(usize, &Fault)| fault.epoch == number;
        let places: Vec<usize> =
            faults.iter().enumerate().filter(of_epoch).map(|(place, _)| place).collect();
        let mut point = CrashPoint::start(&self.run.log);
        for record in records(&self.run.log) {
            if let Some(crash) = &epoch.crash {
                if point.position == crash.position {
                    break;
                }
                point.pass(&record, counted_steps(crash, epoch));
            }
            if let Payload::Mark(Mark::Injected(place)) = record.payload
                && let Some(place) = places.get(place as usize)
            {
                self.idle.remove(place);
            }
        }
    }

    /// Judges the last epoch.
    fn finish(mut self, explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
        match self.judge.outcome(&self.run.outcome, self.start) {
            Ok(()) => self.idle.first().map_or(Ok(()), |fault| {
                let why = "this fault hits no call of the run, so the case does not test it: \
                           `replay --trace` lists the calls and their steps";
                let part = Some(CasePart::Fault(*fault));
                Err(Stop::Refused(Refusal { part, ..Refusal::from(why.to_owned()) }))
            }),
            Err(violation) => self.report(explorer, violation),
        }
    }

    fn report(self, explorer: &mut Explorer<'_, M>, violation: Violation) -> Result<(), Stop> {
        let (crash, pieces) = match self.crash {
            Some((crash, pieces)) => (Some(crash), pieces),
            None => (None, Pieces::default()),
        };
        explorer.reporter.found(Finding {
            case: explorer.job.case.clone(),
            violation,
            crash,
            pieces,
            digest: self.run.outcome.digest,
            relaxations: BTreeSet::new(),
            verdict: None,
        })
    }

    fn send_recording(&self, explorer: &mut Explorer<'_, M>, epoch: u32) {
        let log = self.run.log.clone();
        let sites = &mut explorer.runner.sites;
        let calls = records(&log).filter_map(|record| match record.payload {
            Payload::Call(call) => Some(sites.resolve(call.stack).into_iter().next()),
            Payload::Effect(_) | Payload::Mark(_) => None,
        });
        let lines = calls.collect();
        let ending = self.run.outcome.ending.clone();
        let recording = Recording { epoch, log, lines, ending };
        explorer.reporter.send(&Message::Recording(recording));
    }
}

/// Walks a log up to the crash point of a case.
fn reach<M: Model>(
    crash: &Crash,
    epoch: &Epoch,
    log: &[u8],
    calls: &Calls,
    pending: &mut Pending,
    judge: &mut Judge<M>,
) -> Result<CrashPoint, String> {
    let mut point = CrashPoint::start(log);
    let steps = counted_steps(crash, epoch);
    let mut records = records(log);
    while point.position != crash.position {
        let Some(record) = records.next() else {
            return Err(never_reached(crash, epoch, log));
        };
        point.pass(&record, steps);
        match record.payload {
            Payload::Effect(effect) => pending.apply(&effect, record.at),
            Payload::Mark(mark) => {
                if let Some(event) = event(record.at, &mark) {
                    judge.event(&event).map_err(|violation| {
                        format!("violated before the crash: {}", violation.message)
                    })?;
                }
            }
            Payload::Call(call) => {
                if let Some(event) = injected(record.at, &call) {
                    let _ = judge.event(&event);
                }
            }
        }
    }
    let now = within(calls, &point);
    // The next call may have belonged to a step that the case leaves out.
    let last = point.flight.is_none() && now.is_none();
    if crash.within.is_some() && crash.within.as_deref() != now && !last {
        let then = crash.within.as_deref().unwrap_or_default();
        let now = now.unwrap_or("the end");
        return Err(format!(
            "at {} the run is in {now}, not in {then}: the case no longer fits",
            crash.position
        ));
    }
    Ok(point)
}

/// The number of steps in the run that a crash point is counted in. The closing follows the last
/// step, unless the run had more steps, which a case leaves out.
fn counted_steps(crash: &Crash, epoch: &Epoch) -> usize {
    let last = crash.position.step as usize == epoch.steps.len();
    epoch.steps.len() + usize::from(crash.position.returned && last)
}

/// Why a run never reaches a crash point: it has fewer steps, or the step makes fewer changes.
fn never_reached(crash: &Crash, epoch: &Epoch, log: &[u8]) -> String {
    let Position { step, effect, replies, ended, .. } = crash.position;
    let steps = epoch.steps.len();
    if step as usize > steps + 1 {
        return format!(
            "the run never reaches step={step}: closing, step={}, is its last",
            steps + 1
        );
    }
    let mut point = CrashPoint::start(log);
    let most = records(log)
        .filter_map(|record| {
            point.pass(&record, counted_steps(crash, epoch));
            (point.position.step == step).then_some(point.position.effect)
        })
        .max();
    match most {
        Some(most) if most >= effect && replies > 0 => {
            format!("the run never reaches step={step} effect={effect} replies={replies}")
        }
        Some(most) if most >= effect && ended > 0 => {
            format!("step={step} effect={effect} never has ended={ended} openings and closings")
        }
        Some(most) if most >= effect => {
            format!("step={step} never returns: drop `returned`, or the case no longer fits")
        }
        Some(most) => {
            format!("the run never reaches step={step} effect={effect}: effect={most} is its last")
        }
        None => format!("the run never reaches step={step}"),
    }
}

/// The part of the written data that the crash of a case left.
fn left(
    crash: &Crash,
    pending: &Pending,
    after_rot: fn(&Rotting<'_>) -> AfterFault,
) -> Result<Left, Refusal> {
    if crash.kind == CrashKind::Power {
        let (last, rest) = match crash.fate.split_last() {
            Some((last, rest)) if last.bytes.starts_with(b"rot=") => (Some(last), rest),
            _ => (None, &crash.fate[..]),
        };
        let fate = Fate::parse(rest, pending).map_err(at_word)?;
        let Some(last) = last else { return Ok(Left::Fate(fate)) };
        let rot = Rot::parse(last).map_err(at_word)?;
        let answer = rot.asked(&pending.keep(&fate).tree, after_rot).ok_or_else(|| {
            let place = rot.place();
            Refusal::from(format!("the crash state has no {place}: nothing can rot there"))
        })?;
        return Ok(Left::Rotten(fate, rot, answer));
    }
    let wrong = |word: &Word, why: String| Refusal { column: Some(word.column), why, part: None };
    match crash.fate.as_slice() {
        [] => Ok(Left::All),
        [word] if word.bytes == EVICTED.as_bytes() => Ok(Left::Evicted),
        [word] => {
            let text = word.text();
            let pages = text.strip_prefix(PAGES).and_then(|number| number.parse().ok());
            pages.map(Left::Pages).ok_or_else(|| {
                let text = quote(&word.bytes);
                let why = format!(
                    "`{text}` does not belong to a process crash: expected {PAGES}N or {EVICTED}"
                );
                wrong(word, why)
            })
        }
        [_, extra, ..] => {
            let why = format!("a process crash takes at most {PAGES}N or {EVICTED}");
            Err(wrong(extra, why))
        }
    }
}

/// A refusal because of a word of a crash line.
fn at_word(error: TextError) -> Refusal {
    Refusal { part: None, column: Some(error.column), why: error.message }
}

/// The disk after the crash, with its pending pieces.
fn pending_after(crashed: &Crashed<'_>, log: &[u8], before: &Pending) -> Pending {
    match &crashed.left {
        Left::Fate(fate) => Pending::new(before.keep(fate).tree, before.profile()),
        Left::Rotten(fate, rot, _) => {
            let mut tree = before.keep(fate).tree;
            rot.apply(&mut tree);
            Pending::new(tree, before.profile())
        }
        Left::All => before.process_crash(crashed.point.at),
        Left::Evicted => before.evicted(crashed.point.at),
        Left::Pages(pages) => {
            let mut effects = records(log).filter_map(|record| match record.payload {
                Payload::Effect(effect) => Some((effect, record.at)),
                _ => None,
            });
            match effects.nth(crashed.point.effects as usize) {
                Some((effect, at)) => before.partial_write(&effect, *pages, at),
                None => before.process_crash(crashed.point.at),
            }
        }
    }
}
