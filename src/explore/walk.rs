//! One forward walk over a log: at each position where the disk or a promise has changed, the
//! crash states that may be left there, each recovered and judged.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::disk::content::PAGE;
use crate::disk::effect::Effect;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::relax::Relaxation;
use crate::disk::rot::{Rot, Rotting};
use crate::disk::tree::Tree;
use crate::log::{Mark, Payload, Phase, Record, records};
use crate::oracle::{AfterFault, CrashKind, FaultKind, Violation};
use crate::sim::model::Model;

use super::calls::Calls;
use super::chooser::Choice;
use super::crash_point::{CrashPoint, ends};
use super::crash_state::{CrashState, Crashed, Left};
use super::event::{Outcome, event, injected};
use super::examine::{self, Examined, Judged};
use super::explorer::Explorer;
use super::finding::Finding;
use super::judge::Judge;
use super::lineage::{Lineage, within};
use super::runner::{PriorCrash, Recorded};
use super::stop::Stop;
use super::verdict::{self, Scene};
use super::{describe, fates, recheck};
use crate::case::{Creation, Epoch};

/// The first recoveries of a walk that are walked wholly; others are cut at a few points.
const WHOLLY: usize = 2;
/// What this many recoveries did at most counts as novel.
const NOVEL: u64 = 4;
/// The points at which a recovery is cut that did what is novel.
const NOVEL_CUTS: u64 = 4;
/// One recovery in this many that did nothing new is cut; more of those from a torn block.
const NESTED_SHARE: u64 = 12;
const TORN_SHARE: u64 = 3;
/// One recovery in this many is cut that was itself inside a recovery.
const THIRD_SHARE: u64 = 8;
/// The power losses at each point at which a recovery is cut.
const CUT_STATES: u64 = 4;
/// A process may die after each of the first pages of a long write, this many at most.
const PARTIAL_WRITES: usize = 8;
/// Crash states that rot at each point where any do.
const ROTS: u32 = 2;
/// Crash points between two progress messages.
const PROGRESS_EVERY: u64 = 64;

/// The effort of one walk.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Recoveries. Where few points are visited, the states that are drawn at each.
    pub(crate) recoveries: u64,
    /// A crash point with at most this many crash states has all of them visited.
    pub(crate) exhaustive: u64,
    /// Whether this log is the first of its workload: crashes inside recoveries are placed.
    pub(crate) first: bool,
    /// Whether all points are visited, whatever is spent. If not, those at which a name or a size
    /// has just changed still are.
    pub(crate) every: bool,
    /// Whether only these points are visited: after an injected error, at the end of the last
    /// step, and at the end.
    pub(crate) sparse: bool,
    /// If this is not 0, this many points that are drawn are visited, most of them before the store
    /// was open.
    pub(crate) cuts: u64,
}

/// A walk under way.
struct Walk<'a, M: Model> {
    lineage: &'a Lineage,
    calls: Calls,
    judged: &'a mut Judged,
    effort: Effort,
    /// The number of points in the log, and of those passed so far.
    points: u64,
    passed: u64,
    spent_before: u64,
    /// Digests of recoveries that had crashes placed in them, or might have had.
    nested: BTreeSet<Digest>,
    /// What recoveries did that had crashes placed in them, and in how many of them.
    acts: BTreeMap<Digest, u64>,
    /// The only points to visit, if not all are.
    chosen: Option<BTreeSet<u64>>,
    judge: Judge<M>,
    /// Whether a sync was muted in this epoch or before: until then the run is as without muting.
    muted: bool,
    /// Whether bytes rot: the engine promises something about that.
    rots: bool,
    /// The disk at the beginning of the log, unless something was pending on it: another file
    /// system would have left that in another way.
    origin: Option<Tree>,
    pending: Pending,
    log: &'a [u8],
}

/// Walks a log and visits each crash point.
pub(crate) fn walk<M: Model>(
    explorer: &mut Explorer<'_, M>,
    lineage: &Lineage,
    log: &[u8],
    pending: Pending,
    judge: Judge<M>,
    judged: &mut Judged,
    effort: Effort,
) -> Result<(), Stop> {
    let steps = lineage.epoch.steps.len();
    let mut point = CrashPoint::start(log);
    let points = records(log).filter(|record| point.pass(record, steps)).count() as u64 + 1;
    let chosen = (effort.cuts > 0).then(|| chosen(explorer, log, points, steps, effort.cuts));
    let rots = explorer.promises().answer(FaultKind::BitRot) != AfterFault::Nothing;
    let mut walk = Walk {
        lineage,
        calls: Calls::index(log, &mut explorer.runner.sites),
        judged,
        effort,
        points,
        passed: 0,
        spent_before: explorer.runner.recoveries,
        nested: BTreeSet::new(),
        acts: BTreeMap::new(),
        chosen,
        muted: lineage.muted,
        rots: !effort.sparse && rots,
        judge,
        origin: pending.is_empty().then(|| pending.live().clone()),
        pending,
        log,
    };
    walk.run(explorer)
}

/// Whether a record changes names, or cuts a file: what rotations and compactions do.
fn is_telling(payload: &Payload<'_>) -> bool {
    let Payload::Effect(effect) = payload else { return false };
    matches!(effect, Effect::Entry { .. } | Effect::Rename { .. } | Effect::Size { .. })
}

/// Draws the points at which a recovery is cut: three of four before the store was open.
fn chosen<M: Model>(
    explorer: &mut Explorer<'_, M>,
    log: &[u8],
    points: u64,
    steps: usize,
    cuts: u64,
) -> BTreeSet<u64> {
    let mut point = CrashPoint::start(log);
    let open =
        |record: &Record<'_>| matches!(record.payload, Payload::Mark(Mark::End(Phase::Open, _)));
    let opening = records(log).take_while(|record| !open(record));
    let opening = opening.filter(|record| point.pass(record, steps)).count() as u64 + 1;
    let mut draw = |options| explorer.chooser.choose(Choice::Point, options);
    (0..cuts).map(|_| if draw(4) == 0 { draw(points) } else { draw(opening) }).collect()
}

impl<M: Model> Walk<'_, M> {
    fn run(&mut self, explorer: &mut Explorer<'_, M>) -> Result<(), Stop> {
        let steps = self.lineage.epoch.steps.len();
        let mut point = CrashPoint::start(self.log);
        let (mut special, mut telling) = (false, false);
        let mut left = self.points - 1;
        self.pass(explorer, &point, left == 0, false)?;
        for record in records(self.log) {
            let before = point.clone();
            let changed = point.pass(&record, steps);
            telling |= is_telling(&record.payload);
            match record.payload {
                Payload::Effect(effect) => self.effect(explorer, &before, &effect, record.at)?,
                Payload::Mark(mark) => {
                    special |= ends(&mark, steps);
                    if let Some(event) = event(record.at, &mark) {
                        // The whole run was judged before it was walked.
                        let _ = self.judge.event(&event);
                    }
                }
                Payload::Call(call) => {
                    if let Some(event) = injected(record.at, &call) {
                        let _ = self.judge.event(&event);
                        special = true;
                    }
                }
            }
            if changed {
                left -= 1;
                let special = std::mem::take(&mut special) || left == 0;
                self.pass(explorer, &point, special, std::mem::take(&mut telling))?;
            }
        }
        Ok(())
    }

    /// Visits a point, unless only `special` ones are visited. A `telling` one is not skipped.
    fn pass(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &CrashPoint,
        special: bool,
        telling: bool,
    ) -> Result<(), Stop> {
        if self.effort.sparse && !special {
            return Ok(());
        }
        let number = self.passed;
        let is_chosen = self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&number));
        if !is_chosen || !self.may_crash(explorer, point) {
            self.passed += 1;
            return Ok(());
        }
        match self.chosen {
            Some(_) => self.cut(explorer, point),
            None => self.visit(explorer, point, telling),
        }
    }

    /// Whether the machine may crash here: not while the store is created apart, nor where the run
    /// is still as without muting, nor elsewhere than the job says.
    fn may_crash(&self, explorer: &Explorer<'_, M>, point: &CrashPoint) -> bool {
        if explorer.job.muted.is_some() && !self.muted {
            return false;
        }
        let near = explorer.job.near.as_ref().filter(|_| self.lineage.depth() == 0);
        if near.is_some_and(|near| !point.is_near(near, within(&self.calls, point))) {
            return false;
        }
        if self.lineage.depth() > 0 || !explorer.runner.subject.created_apart {
            return true;
        }
        match explorer.job.case.creation {
            Creation::InSession => point.phase.is_some(),
            Creation::Apart => point.begun,
        }
    }

    fn effect(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        before: &CrashPoint,
        effect: &Effect<'_>,
        at: Time,
    ) -> Result<(), Stop> {
        if let (Effect::Sync(_), Some(muted)) = (effect, &explorer.job.muted)
            && self.calls.site(before.effects) == Some(muted)
        {
            let mut synced = self.pending.clone();
            synced.apply(effect, at);
            explorer.reporter.tally.muted +=
                (self.pending.len() - synced.len().min(self.pending.len())) as u64;
            self.muted = true;
            return Ok(());
        }
        let all = !self.effort.sparse && self.chosen.is_none();
        if all && self.may_crash(explorer, before) {
            self.interrupt_write(explorer, before, effect, at)?;
        }
        self.pending.apply(effect, at);
        Ok(())
    }

    /// A process that is killed inside a write leaves some of its pages copied.
    fn interrupt_write(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        before: &CrashPoint,
        effect: &Effect<'_>,
        at: Time,
    ) -> Result<(), Stop> {
        let Effect::Write { offset, bytes, .. } = effect else { return Ok(()) };
        if !self.effort.every && !self.may_continue(explorer) {
            return Ok(());
        }
        let page = PAGE as u64;
        let pages = (offset + bytes.len() as u64).div_ceil(page) - offset / page;
        for copied in (1..pages).take(PARTIAL_WRITES) {
            let partial = self.pending.partial_write(effect, copied, at);
            self.process_crash(explorer, before, Left::Pages(copied), Some(partial))?;
        }
        Ok(())
    }

    /// Visits the crash states of one point, as far as the budget allows.
    fn visit(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &CrashPoint,
        telling: bool,
    ) -> Result<(), Stop> {
        self.passed += 1;
        if !(self.effort.every || self.may_continue(explorer) || telling && self.may_tell(explorer))
        {
            return Ok(());
        }
        explorer.reporter.tally.points += 1;
        if explorer.reporter.tally.points.is_multiple_of(PROGRESS_EVERY) {
            explorer.progress();
        }
        self.restart(explorer, point)?;
        self.power_losses(explorer, point)?;
        self.rot(explorer, point)
    }

    /// The power is lost in every way, if these are few; else with data that is written back torn
    /// in the most telling ways only, or in ways that are drawn.
    fn power_losses(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &CrashPoint,
    ) -> Result<(), Stop> {
        let (flight, limit) = (point.flight, self.effort.exhaustive);
        if let Some(all) = fates::all(&self.pending, flight, limit) {
            explorer.reporter.tally.exhaustive_points += 1;
            return all.into_iter().try_for_each(|fate| self.power_loss(explorer, point, fate));
        }
        let Some(calm) = fates::calm(&self.pending, flight, limit) else {
            return self.sample(explorer, point);
        };
        for fate in calm {
            self.power_loss(explorer, point, fate)?;
        }
        let torn = fates::written_back(&self.pending, flight, &mut explorer.chooser);
        for (at, fate) in torn.into_iter().enumerate() {
            if at >= fates::SURE && !self.may_continue(explorer) {
                break;
            }
            self.power_loss(explorer, point, fate)?;
        }
        Ok(())
    }

    /// Visits a few states of one point.
    fn cut(&mut self, explorer: &mut Explorer<'_, M>, point: &CrashPoint) -> Result<(), Stop> {
        self.passed += 1;
        explorer.reporter.tally.points += 1;
        self.restart(explorer, point)?;
        if let Some(all) = fates::all(&self.pending, point.flight, CUT_STATES) {
            explorer.reporter.tally.exhaustive_points += 1;
            return all.into_iter().try_for_each(|fate| self.power_loss(explorer, point, fate));
        }
        let mut sampler = fates::Sampler::new(&self.pending, point.flight);
        for _ in 0..CUT_STATES {
            let fate = sampler.next(&self.pending, point.flight, &mut explorer.chooser);
            self.power_loss(explorer, point, fate)?;
        }
        Ok(())
    }

    /// If the engine promises something about it, and a step has just returned: a power loss that
    /// keeps everything, and bytes that rot while the machine is down.
    fn rot(&mut self, explorer: &mut Explorer<'_, M>, point: &CrashPoint) -> Result<(), Stop> {
        if !self.rots || !point.position.returned || point.flight.is_some() {
            return Ok(());
        }
        let after_rot = explorer.runner.subject.after_rot;
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
            self.state(explorer, CrashState { crashed, tree, digest, pending: None })?;
        }
        Ok(())
    }

    /// The process dies and starts again: with everything in the cache that was written and, if a
    /// sync had failed, with the failed pages evicted. A file system that a failed sync stopped
    /// must be mounted again first, which leaves what a power loss leaves.
    fn restart(&mut self, explorer: &mut Explorer<'_, M>, point: &CrashPoint) -> Result<(), Stop> {
        let stores = point.flight.is_some_and(|effect| self.calls.is_inside_stores(effect));
        if self.pending.is_frozen() || stores {
            return Ok(());
        }
        self.process_crash(explorer, point, Left::All, None)?;
        if self.pending.has_undecided() {
            let evicted = self.pending.evicted(point.at);
            self.process_crash(explorer, point, Left::Evicted, Some(evicted))?;
        }
        Ok(())
    }

    /// Whether the budget allows more here; a later point may spend what earlier ones did not.
    fn may_continue(&self, explorer: &Explorer<'_, M>) -> bool {
        let allowed = self.effort.recoveries * self.passed / self.points.max(1);
        explorer.runner.recoveries - self.spent_before < allowed
    }

    /// Whether a telling point may be visited: in the first log of a workload these may spend a
    /// little more than their turn.
    fn may_tell(&self, explorer: &Explorer<'_, M>) -> bool {
        let allowed = self.effort.recoveries * self.passed / self.points.max(1);
        let spent = explorer.runner.recoveries - self.spent_before;
        self.effort.first && spent < allowed + self.effort.recoveries / 4
    }

    fn sample(&mut self, explorer: &mut Explorer<'_, M>, point: &CrashPoint) -> Result<(), Stop> {
        let mut sampler = fates::Sampler::new(&self.pending, point.flight);
        if self.effort.sparse {
            for _ in 0..self.effort.recoveries {
                let fate = sampler.next(&self.pending, point.flight, &mut explorer.chooser);
                self.power_loss(explorer, point, fate)?;
            }
            return Ok(());
        }
        let mut tries = 0;
        while self.may_continue(explorer) && tries < fates::TRIES {
            tries += 1;
            let fate = sampler.next(&self.pending, point.flight, &mut explorer.chooser);
            self.power_loss(explorer, point, fate)?;
        }
        Ok(())
    }

    /// The process dies and the kernel continues.
    fn process_crash(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &CrashPoint,
        left: Left,
        pending: Option<Pending>,
    ) -> Result<(), Stop> {
        let crashed = Crashed { kind: CrashKind::Process, point, left };
        let mut tree = pending.as_ref().unwrap_or(&self.pending).live().clone();
        // The kernel frees those that only descriptors held.
        tree.drop_unreachable();
        let digest = tree.digest();
        self.state(explorer, CrashState { crashed, tree, digest, pending })
    }

    /// The power is lost.
    fn power_loss(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        point: &CrashPoint,
        fate: Fate,
    ) -> Result<(), Stop> {
        if let Some(activity) = &mut explorer.reporter.activity {
            let (used, steps) = (self.pending.relaxations(&fate), &self.lineage.epoch.steps);
            activity.lost_power(&used, point.position.step, steps);
        }
        let state = self.pending.keep(&fate);
        let crashed = Crashed { kind: CrashKind::Power, point, left: Left::Fate(fate) };
        let (tree, digest) = (state.tree, state.digest);
        self.state(explorer, CrashState { crashed, tree, digest, pending: None })
    }

    /// Examines one crash state, unless an equal one was: reports a violation, or places crashes
    /// in the recovery.
    fn state(&mut self, explorer: &mut Explorer<'_, M>, state: CrashState<'_>) -> Result<(), Stop> {
        let key = examine::key(&state, &self.judge);
        if self.judged.has(&key, &state.tree) {
            return Ok(());
        }
        let prior = state.crashed.prior(&self.judge, self.lineage.boot, self.lineage.next_epoch());
        let conditions = &self.lineage.conditions;
        let examined = examine::examine(explorer, &state, &prior, &self.judge, conditions)?;
        self.judged.note(key, &state.tree, examined.outcome.sights);
        let wanted = explorer.job.budget.recheck > explorer.reporter.tally.rechecked;
        if examined.violation.is_some() || wanted {
            explorer.reporter.tally.rechecked += u64::from(wanted);
            recheck::recheck(explorer, &state.tree, &prior, conditions, &examined.outcome)?;
        }
        match &examined.violation {
            Some(violation) => {
                let finding = self.finding(
                    explorer,
                    &state.crashed,
                    examined.in_steps,
                    violation,
                    &examined.outcome,
                );
                let finding = self.weighed(explorer, &state, &prior, violation, finding)?;
                explorer.reporter.found(finding)
            }
            None => {
                explorer.reporter.tally.unchecked += u64::from(examined.unchecked);
                self.nest(explorer, state, &prior, examined)
            }
        }
    }

    /// A finding with a verdict, if it will be reported with one, and with the mildest crash state
    /// that shows it.
    fn weighed(
        &self,
        explorer: &mut Explorer<'_, M>,
        state: &CrashState<'_>,
        prior: &PriorCrash,
        violation: &Violation,
        mut finding: Finding,
    ) -> Result<Finding, Stop> {
        let crashed = &state.crashed;
        let Left::Fate(fate) = &crashed.left else { return Ok(finding) };
        let muted = explorer.job.muted.is_some();
        let Some(origin) = self.origin.as_ref().filter(|_| !muted) else { return Ok(finding) };
        if !explorer.reporter.wants_verdict(&finding.kind()) {
            return Ok(finding);
        }
        let scene = Scene {
            log: self.log,
            origin,
            point: crashed.point,
            judge: &self.judge,
            prior,
            conditions: &self.lineage.conditions,
            violation,
        };
        let (mildest, verdict) = verdict::weigh(explorer, &scene, &self.pending, fate)?;
        if let Some(mildest) = mildest {
            let left = Left::Fate(mildest.fate);
            let crashed = Crashed { left, ..crashed.clone() };
            let Examined { outcome, in_steps, .. } = &mildest.examined;
            finding = self.finding(explorer, &crashed, *in_steps, &mildest.violation, outcome);
            finding.relaxations = mildest.relaxations;
        }
        finding.verdict = Some(verdict);
        Ok(finding)
    }

    fn finding(
        &self,
        explorer: &Explorer<'_, M>,
        crashed: &Crashed<'_>,
        in_steps: bool,
        violation: &Violation,
        outcome: &Outcome,
    ) -> Finding {
        let ended = self.lineage.ended_by(crashed, &self.calls, &self.pending);
        let steps = match in_steps {
            true => explorer.continuation.steps.clone(),
            false => Vec::new(),
        };
        let next = Epoch { steps, turns: outcome.turns.clone(), crash: None };
        let rotten = matches!(crashed.left, Left::Rotten(..));
        let recovered = self.lineage.depth() > 0;
        Finding {
            case: self.lineage.case_after_crash(&explorer.job.case, ended, next, violation),
            violation: violation.clone(),
            crash: Some(describe::scene(crashed, &self.calls, recovered, &self.pending)),
            pieces: describe::pieces(crashed, &self.pending, &self.calls),
            digest: outcome.digest,
            relaxations: rotten.then_some(Relaxation::BitRot).into_iter().collect(),
            verdict: None,
        }
    }

    /// The effort for crashes in a recovery, if any are placed there: all of each new one that
    /// finds pages in the cache that an earlier process failed to write (`revealing`), and of the
    /// first ones; a few cuts in each that did what few did before, and in some of the others.
    fn nests(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        outcome: &Outcome,
        revealing: bool,
        torn: bool,
    ) -> Option<Effort> {
        let depth = self.lineage.depth();
        if depth > 1 || !self.effort.first || explorer.nested_left() == 0 {
            return None;
        }
        if !self.nested.insert(outcome.digest) {
            return None;
        }
        let mut one_in = |options| explorer.chooser.choose(Choice::Point, options) == 0;
        let cuts = if depth == 1 {
            u64::from(one_in(THIRD_SHARE))
        } else if revealing || self.nested.len() <= WHOLLY {
            let recoveries = explorer.nested_left().min(explorer.job.budget.nested / 4).max(1);
            *self.acts.entry(outcome.acts).or_default() += 1;
            return Some(Effort { recoveries, every: true, cuts: 0, ..self.effort });
        } else if self.acts.get(&outcome.acts).is_none_or(|times| *times < NOVEL) {
            *self.acts.entry(outcome.acts).or_default() += 1;
            NOVEL_CUTS
        } else {
            u64::from(one_in(if torn { TORN_SHARE } else { NESTED_SHARE }))
        };
        (cuts > 0).then_some(Effort { cuts, ..self.effort })
    }

    /// Places crashes in a recovery and its continuation, if this is one to place them in.
    fn nest(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        state: CrashState<'_>,
        prior: &PriorCrash,
        examined: Examined<M>,
    ) -> Result<(), Stop> {
        let sparse = self.effort.sparse;
        let crashed = &state.crashed;
        let outcome = &examined.outcome;
        let injected = sparse && !self.lineage.conditions.faults_of(prior.epoch).is_empty();
        let rotten = matches!(crashed.left, Left::Rotten(..));
        let nests = outcome.effects > 0 && outcome.finished() && !rotten && !sparse;
        let revealing = crashed.kind == CrashKind::Process && self.pending.has_undecided();
        let torn = matches!(&crashed.left, Left::Fate(fate) if fate.tear.is_some());
        let effort = match injected {
            true => Some(self.effort),
            false if nests => self.nests(explorer, outcome, revealing, torn),
            false => None,
        };
        let Some(effort) = effort else { return Ok(()) };
        let conditions = &self.lineage.conditions;
        let recovered = recheck::recheck(explorer, &state.tree, prior, conditions, outcome)?;
        let pending = match state.pending {
            Some(pending) => pending,
            None => crashed.pending_after(&state.tree, &self.pending),
        };
        let ended = self.lineage.ended_by(crashed, &self.calls, &self.pending);
        self.walk_recovery(explorer, ended, &recovered, pending, examined.judge, effort)
    }

    /// Walks the log of a recovery and of its continuation.
    fn walk_recovery(
        &mut self,
        explorer: &mut Explorer<'_, M>,
        ended: Epoch,
        recovered: &Recorded,
        pending: Pending,
        judge: Judge<M>,
        effort: Effort,
    ) -> Result<(), Stop> {
        explorer.reporter.tally.nested += 1;
        let mut before = self.lineage.before.clone();
        before.push(ended);
        let lineage = Lineage {
            before,
            epoch: explorer.continuation.clone(),
            turns: recovered.outcome.turns.clone(),
            conditions: self.lineage.conditions.clone(),
            muted: self.muted,
            boot: recovered.boot,
        };
        let spent = explorer.runner.recoveries;
        let judged = &mut Judged::default();
        walk(explorer, &lineage, &recovered.log, pending, judge, judged, effort)?;
        let spent = explorer.runner.recoveries - spent;
        self.spent_before += spent;
        if self.lineage.depth() == 0 {
            explorer.nested += spent;
        }
        Ok(())
    }
}
