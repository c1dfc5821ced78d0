//! One forward walk over a log: at each position where the disk or a promise has changed, the
//! crash states that may be found there, each recovered and judged.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::case::Epoch;
use crate::disk::content::PAGE;
use crate::disk::effect::Effect;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::relax::Relaxation;
use crate::disk::rot::{Rot, Rotting};
use crate::disk::tree::Tree;
use crate::log::{Mark, Payload, Phase, Record, records};
use crate::oracle::{AfterFault, CrashKind, FaultKind, Violation};
use crate::process::world::schedule::Turn;
use crate::sim::model::Model;

use super::calls::Calls;
use super::chooser::{Choice, Chooser};
use super::event::{Outcome, event, fault_kind};
use super::explorer::{After, Explorer, Recovered, Stop};
use super::failure::{self, Crashed, Left};
use super::fates;
use super::judge::Judge;
use super::protocol::Failure;
use super::recheck;
use super::verdict::{self, Scene};

/// How long the machine is down after a crash.
pub(crate) const DOWN: Duration = Duration::from_secs(1);
/// One recovery in so many has crashes placed in it, beside each whose calls are new.
const NESTED_SHARE: u64 = 12;
/// A process may die behind each of the first pages of a long write.
const PARTIAL_WRITES: usize = 8;
/// How many crash states rot at each point where any do.
const ROTS: u32 = 2;
/// Nanoseconds in which a model's deadlines are taken not to pass: what calls take. Sleeps are
/// longer.
const INSTANT: u64 = 10_000_000;
/// How many crash points are passed between two progress frames.
const PROGRESS_EVERY: u64 = 64;

/// Which run is walked.
pub(crate) struct Line {
    /// The lives before this one, each with the crash that ended it.
    pub(crate) epochs: Vec<Epoch>,
    /// The steps of this one.
    pub(crate) epoch: Epoch,
    /// How many crashes came before.
    pub(crate) depth: u32,
    /// How its threads were scheduled, if it has more than one.
    pub(crate) turns: Option<Vec<Turn>>,
    /// Whether a sync was muted in an earlier life.
    pub(crate) muted: bool,
}

/// A crash point: a position in a log, and the words for it.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) at: Time,
    /// The step under way; 0 is the opening.
    pub(crate) step: u32,
    /// How many changes were made within the step.
    pub(crate) effect: u32,
    /// Whether the step has returned.
    pub(crate) returned: bool,
    /// How many ops of clients have returned within the step.
    pub(crate) replies: u32,
    /// How many openings and closings have returned since the last change within the step, and
    /// which was the last.
    pub(crate) ended: u32,
    pub(crate) phase: Option<Phase>,
    /// How many changes were made in the whole log.
    pub(crate) effects: u64,
    /// The change whose call has not returned.
    pub(crate) flight: Option<u64>,
    /// How many turns were given out of order.
    pub(crate) turns: usize,
    /// Whether the store was opened: before that it may only have been created.
    pub(crate) begun: bool,
}

impl Point {
    /// Before all that a log tells: a recovery begins when its machine is up again.
    pub(crate) fn start(log: &[u8]) -> Self {
        let at = records(log).next().map_or(Time::START, |record| record.at);
        Self {
            at,
            step: 0,
            effect: 0,
            returned: false,
            replies: 0,
            ended: 0,
            phase: None,
            effects: 0,
            flight: None,
            turns: 0,
            begun: false,
        }
    }

    /// Goes on behind a record; says whether a crash there may leave something new.
    pub(crate) fn pass(&mut self, record: &Record<'_>, steps: usize) -> bool {
        self.at = record.at;
        match record.payload {
            Payload::Effect(_) => {
                self.flight = Some(self.effects);
                self.effect += 1;
                self.effects += 1;
                self.ended = 0;
                true
            }
            Payload::Call(_) => {
                self.flight = None;
                false
            }
            Payload::Mark(mark) => {
                let issued = matches!(mark, Mark::Issued(_));
                let returned = matches!(mark, Mark::Returned(..) | Mark::Refused(..));
                let begins = match mark {
                    Mark::Issued(step) => Some(step),
                    // What follows the last step is one more.
                    Mark::Returned(step, _) | Mark::Refused(step, _) if ends(&mark, steps) => {
                        Some(step + 1)
                    }
                    _ => None,
                };
                let replied = matches!(mark, Mark::ReturnedBy(..) | Mark::RefusedBy(..));
                // What was opened may be promised to survive, and what was closed.
                let ended = match mark {
                    Mark::End(phase @ (Phase::Open | Phase::Close), Ok(())) => Some(phase),
                    _ => None,
                };
                self.ended += u32::from(ended.is_some());
                self.phase = ended.or(self.phase);
                self.returned |= returned;
                self.replies = if returned { 0 } else { self.replies + u32::from(replied) };
                self.turns += usize::from(matches!(mark, Mark::Turn(_)));
                self.begun |= matches!(mark, Mark::Begin(Phase::Open));
                if let Some(step) = begins {
                    self.step = step;
                    self.effect = 0;
                    self.ended = 0;
                    self.returned = false;
                    self.replies = 0;
                }
                issued || returned || replied || ended.is_some()
            }
        }
    }
}

/// States that were judged, with the kind of crash and the bound they were judged by, and where the
/// answer hangs on the time, when.
pub(crate) type Judged = BTreeSet<(Digest, CrashKind, (u64, usize), u64)>;

/// What may be spent on one walk.
#[derive(Clone, Copy)]
pub(crate) struct Spend {
    /// Recoveries.
    pub(crate) recoveries: u64,
    /// A crash point with at most this many crash states has all of them visited.
    pub(crate) exhaustive: u64,
    /// Whether this log is the first of its workload: crashes inside recoveries are placed, and the
    /// crash points of a process are visited whatever is spent.
    pub(crate) first: bool,
}

/// What one walk has spent and seen.
struct Walk<'a, M: Model> {
    line: &'a Line,
    calls: Calls,
    judged: &'a mut Judged,
    /// What may be spent on this log, spread over its points. Where few points are visited, the
    /// states that are drawn at each.
    spend: Spend,
    points: u64,
    passed: u64,
    spent_before: u64,
    /// Digests of recoveries that had crashes placed in them.
    nested: BTreeSet<Digest>,
    judge: Judge<M>,
    /// Whether a sync was muted in this life or before: until then all is as in a run without.
    muted: bool,
    /// Whether bytes rot: the engine promises something about it.
    rots: bool,
    /// The disk that the log began with, unless something was pending on it: another file system
    /// would have left that in another way.
    origin: Option<Tree>,
    pending: Pending,
    log: &'a [u8],
}

/// Walks a log and visits each crash point.
pub(crate) fn walk<M: Model>(
    explorer: &mut Explorer<'_, M>,
    line: &Line,
    log: &[u8],
    pending: Pending,
    judge: Judge<M>,
    judged: &mut Judged,
    spend: Spend,
) -> Result<(), Stop> {
    let steps = line.epoch.steps.len();
    let mut point = Point::start(log);
    let points = records(log).filter(|record| point.pass(record, steps)).count() as u64 + 1;
    let mut walk = Walk {
        line,
        calls: Calls::index(log, &mut explorer.sites),
        judged,
        spend,
        points,
        passed: 0,
        spent_before: explorer.tally.recoveries,
        nested: BTreeSet::new(),
        muted: line.muted,
        rots: !explorer.sparse
            && explorer.promises().answer(FaultKind::BitRot) != AfterFault::Nothing,
        judge,
        origin: pending.is_empty().then(|| pending.live().clone()),
        pending,
        log,
    };
    walk.go(explorer)
}

/// Whether the last of so many steps has returned with this.
pub(crate) fn ends(mark: &Mark<'_>, steps: usize) -> bool {
    matches!(*mark, Mark::Returned(step, _) | Mark::Refused(step, _) if step as usize == steps)
}

impl<M: Model> Walk<'_, M> {
    fn go(&mut self, explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
        let steps = self.line.epoch.steps.len();
        let mut point = Point::start(self.log);
        let mut worth = false;
        let mut left = self.points - 1;
        self.pass(explorer, &point, left == 0)?;
        for record in records(self.log) {
            let before = point.clone();
            let changed = point.pass(&record, steps);
            match record.payload {
                Payload::Effect(effect) => self.effect(explorer, &before, &effect, record.at)?,
                Payload::Mark(mark) => {
                    worth |= ends(&mark, steps);
                    if let Some(event) = event(record.at, &mark) {
                        // The whole run was judged before it was walked.
                        let _ = self.judge.event(&event);
                    }
                }
                Payload::Call(call) => {
                    if let Some(event) = fault_kind(record.at, &call) {
                        let _ = self.judge.event(&event);
                        worth = true;
                    }
                }
            }
            if changed {
                left -= 1;
                self.pass(explorer, &point, std::mem::take(&mut worth) || left == 0)?;
            }
        }
        Ok(())
    }

    /// Visits a point, unless only those are to be visited that are worth it.
    fn pass(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &Point,
        worth: bool,
    ) -> Result<(), Stop> {
        if explorer.sparse && !worth {
            return Ok(());
        }
        if !self.may_crash(explorer, point) {
            self.passed += 1;
            return Ok(());
        }
        self.visit(explorer, point)
    }

    /// Whether the machine may stop here: not while the store is created apart, nor where all is
    /// still as in the run that mutes no sync.
    fn may_crash(&self, explorer: &Explorer<'_, M>, point: &Point) -> bool {
        if explorer.request.muted.is_some() && !self.muted {
            return false;
        }
        point.begun || self.line.depth > 0 || !explorer.created_apart()
    }

    /// The life that a recovery from a crash of this one begins.
    fn next_epoch(&self) -> u32 {
        self.line.depth + 2
    }

    fn effect(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        before: &Point,
        effect: &Effect<'_>,
        at: Time,
    ) -> Result<(), Stop> {
        if let (Effect::Sync(_), Some(muted)) = (effect, &explorer.request.muted)
            && self.calls.call_site(before.effects).as_ref() == Some(muted)
        {
            let mut synced = self.pending.clone();
            synced.apply(effect, at);
            explorer.tally.muted +=
                (self.pending.len() - synced.len().min(self.pending.len())) as u64;
            self.muted = true;
            return Ok(());
        }
        if !explorer.sparse && self.may_crash(explorer, before) {
            self.interrupt_write(explorer, before, effect, at)?;
        }
        self.pending.apply(effect, at);
        Ok(())
    }

    /// A process that is killed inside a write leaves some of its pages copied.
    fn interrupt_write(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        before: &Point,
        effect: &Effect<'_>,
        at: Time,
    ) -> Result<(), Stop> {
        let Effect::Write { offset, bytes, .. } = effect else { return Ok(()) };
        if !self.spend.first && !self.may_go_on(explorer) {
            return Ok(());
        }
        let page = PAGE as u64;
        let pages = (offset + bytes.len() as u64).div_ceil(page) - offset / page;
        for copied in (1..pages).take(PARTIAL_WRITES) {
            let partial = self.pending.partial_write(effect, copied, at);
            self.process(explorer, before, Left::Pages(copied), Some(partial))?;
        }
        Ok(())
    }

    /// Visits the crash states of one point, as far as the budget goes.
    fn visit(&mut self, explorer: &mut Explorer<'_, M>, point: &Point) -> Result<(), Stop> {
        self.passed += 1;
        if !self.spend.first && !self.may_go_on(explorer) {
            return Ok(());
        }
        explorer.tally.points += 1;
        if explorer.tally.points.is_multiple_of(PROGRESS_EVERY) {
            explorer.progress();
        }
        self.restart(explorer, point)?;
        let flight = point.flight;
        match fates::all(&self.pending, flight, self.spend.exhaustive) {
            Some(all) => {
                explorer.tally.exhaustive_points += 1;
                for fate in all {
                    self.power(explorer, point, fate)?;
                }
            }
            None => self.sample(explorer, point)?,
        }
        self.rot(explorer, point)
    }

    /// If the engine promises something about it: a power loss that keeps everything, when a step
    /// has returned, and bytes that rot while the machine is down.
    fn rot(&mut self, explorer: &mut Explorer<'_, M>, point: &Point) -> Result<(), Stop> {
        if !self.rots || !point.returned || point.flight.is_some() {
            return Ok(());
        }
        let after_rot = explorer.after_rot();
        for _ in 0..ROTS {
            let fate = Fate::all();
            let mut tree = self.pending.keep(&fate).tree;
            let mut draw = |options| explorer.chooser.choose(Choice::Rot, options);
            let promised = |at: &Rotting<'_>| after_rot(at) > AfterFault::Nothing;
            let Some(rot) = Rot::draw(&tree, &mut draw, promised) else { return Ok(()) };
            let answer = rot.asked(&tree, after_rot).unwrap_or(AfterFault::Nothing);
            rot.apply(&mut tree);
            let left = Left::Rotten(fate, rot, answer);
            let crashed = Crashed { kind: CrashKind::Power, point, left };
            let digest = tree.digest();
            self.state(explorer, &crashed, &tree, digest, None)?;
        }
        Ok(())
    }

    /// The process dies and is started again: with all that was written in the cache and, if a
    /// sync had failed, with the cache evicted. A file system that a failed sync stopped lets
    /// nobody in before it is mounted again, which leaves what a loss of power leaves.
    fn restart(&mut self, explorer: &mut Explorer<'_, M>, point: &Point) -> Result<(), Stop> {
        if self.pending.is_frozen() {
            return Ok(());
        }
        self.process(explorer, point, Left::All, None)?;
        if self.pending.has_undecided() {
            let evicted = self.pending.evicted(point.at);
            self.process(explorer, point, Left::Evicted, Some(evicted))?;
        }
        Ok(())
    }

    /// What was not spent at earlier points may be spent here.
    fn may_go_on(&self, explorer: &Explorer<'_, M>) -> bool {
        let may = self.spend.recoveries * self.passed / self.points.max(1);
        explorer.tally.recoveries - self.spent_before < may
    }

    fn sample(&mut self, explorer: &mut Explorer<'_, M>, point: &Point) -> Result<(), Stop> {
        let mut sampler = fates::Sampler::new(&self.pending, point.flight);
        if explorer.sparse {
            for _ in 0..self.spend.recoveries {
                let fate = sampler.next(&self.pending, point.flight, &mut explorer.chooser);
                self.power(explorer, point, fate)?;
            }
            return Ok(());
        }
        let mut tries = 0;
        while self.may_go_on(explorer) && tries < fates::TRIES {
            tries += 1;
            let fate = sampler.next(&self.pending, point.flight, &mut explorer.chooser);
            self.power(explorer, point, fate)?;
        }
        Ok(())
    }

    /// The process dies and the kernel goes on.
    fn process(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &Point,
        left: Left,
        partial: Option<Pending>,
    ) -> Result<(), Stop> {
        let crashed = Crashed { kind: CrashKind::Process, point, left };
        // Inodes that only descriptors held are still in this tree, where nothing leads to them.
        let tree = partial.as_ref().unwrap_or(&self.pending).live().clone();
        self.state(explorer, &crashed, &tree, tree.digest(), partial)
    }

    /// The power goes.
    fn power(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &Point,
        fate: Fate,
    ) -> Result<(), Stop> {
        let state = self.pending.keep(&fate);
        let crashed = Crashed { kind: CrashKind::Power, point, left: Left::Fate(fate) };
        self.state(explorer, &crashed, &state.tree, state.digest, None)
    }

    /// The disk after a crash that left `tree`, with what is pending on it.
    fn fallen(&self, crashed: &Crashed<'_>, tree: &Tree) -> Pending {
        match crashed.left {
            Left::Fate(_) | Left::Rotten(..) => Pending::new(tree.clone(), self.pending.profile()),
            Left::Evicted => self.pending.evicted(crashed.point.at),
            Left::All | Left::Pages(_) => self.pending.process_crash(crashed.point.at),
        }
    }

    /// Recovers one crash state and judges what came back.
    fn state(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        crashed: &Crashed<'_>,
        tree: &Tree,
        digest: Digest,
        partial: Option<Pending>,
    ) -> Result<(), Stop> {
        let crash = (crashed.judged_as(), crashed.point.at);
        let bound = self.judge.bound(crash.0, crash.1);
        let instant = if M::TIMED { crash.1.0 / INSTANT } else { 0 };
        if !self.judged.insert((digest, crash.0, bound, instant)) {
            return Ok(());
        }
        explorer.states.insert(digest);
        let acked = Rc::clone(self.judge.acked(crash.0));
        let epoch = self.next_epoch();
        let then = After { kind: crashed.kind, at: crash.1, epoch, down: DOWN, acked };
        let outcome = explorer.recover(tree, digest, &then)?;
        explorer.note(digest, outcome.digest);
        let mut judge = self.judge.clone();
        judge.crash(crash.0, crash.1);
        if let Left::Rotten(.., answer) = crashed.left {
            judge.rotten(answer);
        }
        judge.begin(Rc::clone(&explorer.continuation_steps), explorer.lasting(epoch));
        let mut after_all = judge.clone();
        let violated = after_all.outcome(&outcome, crash.1 + DOWN);
        let wanted = explorer.request.budget.recheck > explorer.tally.rechecked;
        if violated.is_err() || wanted {
            explorer.tally.rechecked += u64::from(wanted);
            self.again(explorer, tree, &then, outcome.digest)?;
        }
        match violated {
            Err(violation) => {
                let in_steps = after_all.in_steps();
                let failure = self.failure(explorer, crashed, in_steps, &violation, &outcome);
                let failure = self.weighed(explorer, crashed, &then, &violation, failure)?;
                explorer.violated(failure)
            }
            Ok(()) => {
                explorer.tally.unchecked += u64::from(after_all.unchecked());
                let injected = explorer.sparse && !explorer.faults_of(epoch).is_empty();
                let rotten = matches!(crashed.left, Left::Rotten(..));
                let nest = outcome.effects > 0 && outcome.finished() && !rotten && !explorer.sparse;
                let telling = crashed.kind == CrashKind::Process && self.pending.has_undecided();
                if injected || nest && self.nests(explorer, outcome.digest, telling) {
                    let recovered = self.again(explorer, tree, &then, outcome.digest)?;
                    let pending = partial.unwrap_or_else(|| self.fallen(crashed, tree));
                    self.nest(explorer, crashed, &recovered, pending, judge)?;
                }
                Ok(())
            }
        }
    }

    /// A failure that is to be reported, with a verdict if one was asked for, and with the mildest
    /// crash state that shows it.
    fn weighed(
        &self,
        explorer: &mut Explorer<'_, M>,
        crashed: &Crashed<'_>,
        then: &After,
        violation: &Violation,
        failure: Failure,
    ) -> Result<Failure, Stop> {
        let Left::Fate(fate) = &crashed.left else { return Ok(failure) };
        let muted = explorer.request.muted.is_some();
        let Some(origin) = self.origin.as_ref().filter(|_| !muted) else { return Ok(failure) };
        if !explorer.wants_verdict(&failure) {
            return Ok(failure);
        }
        let scene = Scene {
            log: self.log,
            origin,
            point: crashed.point,
            judge: &self.judge,
            then,
            violation,
        };
        let verdict = verdict::weigh(explorer, &scene, &self.pending, fate)?;
        let mut failure = failure;
        if let Some(mildest) = verdict.mildest {
            let left = Left::Fate(mildest.fate);
            let crashed = Crashed { kind: crashed.kind, point: crashed.point, left };
            let (violation, outcome) = (&mildest.violation, &mildest.outcome);
            failure = self.failure(explorer, &crashed, mildest.in_steps, violation, outcome);
            let names = mildest.relaxations.iter().map(|relaxation| relaxation.name().to_owned());
            failure.relaxations = names.collect();
        }
        failure.verdict = verdict.text;
        Ok(failure)
    }

    fn failure(
        &self,
        explorer: &Explorer<'_, M>,
        crashed: &Crashed<'_>,
        in_steps: bool,
        violation: &Violation,
        outcome: &Outcome,
    ) -> Failure {
        let epoch = failure::epoch(self.line, &self.calls, crashed, &self.pending);
        let mut failure =
            failure::after_crash(explorer, self.line, epoch, in_steps, violation, outcome);
        failure.point = failure::place(crashed, &self.calls, self.line.depth, &self.pending);
        if let Left::Rotten(..) = crashed.left {
            failure.relaxations = vec![Relaxation::BitRot.name().to_owned()];
        }
        if let Left::Fate(fate) | Left::Rotten(fate, ..) = &crashed.left {
            (failure.pieces, failure.counts) = failure::pieces(&self.pending, fate, &self.calls);
        }
        failure
    }

    /// Recovers a state once more and compares the digests.
    fn again(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        tree: &Tree,
        after: &After,
        digest: Digest,
    ) -> Result<Recovered, Stop> {
        let epoch = explorer.continuation.clone();
        let again = explorer.recover_alone(tree, after, &epoch, explorer.request.stacks)?;
        if again.outcome.digest == digest {
            return Ok(again);
        }
        let mut how = format!(
            "recovering the same crash state twice gave the digests {digest} and {}",
            again.outcome.digest
        );
        if let Some(difference) = recheck::difference(explorer, tree, after, &epoch)? {
            how.push_str(&format!("; the first difference: {difference}"));
        }
        Err(Stop::NotDeterministic(how))
    }

    /// Whether crashes are to be placed in a recovery: in each new one that finds pages in the
    /// cache which an earlier process failed to write (`telling`), in some of the others.
    fn nests(&mut self, explorer: &mut Explorer<'_, M>, digest: Digest, telling: bool) -> bool {
        if self.line.depth > 0 || !self.spend.first || explorer.nested_left() == 0 {
            return false;
        }
        let is_new = self.nested.insert(digest);
        is_new
            && (telling
                || self.nested.len() < 4
                || explorer.chooser.choose(Choice::Point, NESTED_SHARE) == 0)
    }

    /// Walks the log of a recovery and of the life behind it.
    fn nest(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        crashed: &Crashed<'_>,
        recovered: &Recovered,
        pending: Pending,
        judge: Judge<M>,
    ) -> Result<(), Stop> {
        explorer.tally.nested += 1;
        let mut epochs = self.line.epochs.clone();
        epochs.push(failure::epoch(self.line, &self.calls, crashed, &self.pending));
        let turns = recovered.outcome.turns.clone();
        let depth = self.line.depth + 1;
        let muted = self.muted;
        let line = Line { epochs, epoch: explorer.continuation.clone(), depth, turns, muted };
        let before = explorer.tally.recoveries;
        let recoveries = match explorer.sparse {
            true => self.spend.recoveries,
            false => explorer.nested_left().min(explorer.request.budget.nested / 4).max(1),
        };
        let spend = Spend { recoveries, ..self.spend };
        let mut judged = Judged::new();
        walk(explorer, &line, &recovered.log, pending, judge, &mut judged, spend)?;
        let spent = explorer.tally.recoveries - before;
        self.spent_before += spent;
        explorer.spend_nested(spent);
        Ok(())
    }
}
