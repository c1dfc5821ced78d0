//! The explorer: a process that never runs engine code. It has the engine recorded in a child,
//! walks the log, and forks a child for each recovery.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::base::digest::{Digest, Digester};
use crate::base::time::Time;
use crate::case::fault::Fault;
use crate::case::{Case, Epoch, Lines};
use crate::disk::profile::Profile;
use crate::disk::rot::Rotting;
use crate::disk::tree::Tree;
use crate::host::child::{self, Limits};
use crate::host::ending::Ending;
use crate::host::fork_server::Reply;
use crate::host::probe;
use crate::host::region::Region;
use crate::host::script::Script;
use crate::oracle::{Answer, CrashKind, Promises, items_set_by};
use crate::process::doors::traps;
use crate::process::world::schedule::Plan;
use crate::process::world::{Setup, Stacks, World};
use crate::sim::model::Model;
use crate::sim::{Sim, Step};

use super::acked::Acked;
use super::calls::{Sites, sync_sites};
use super::chooser::Random;
use super::event::Outcome;
use super::fail_calls;
use super::protocol::{Failure, Frame, Request, Tally, Task};
use super::remembered::Remembered;
use super::subject::{Subject, subject};
use super::{replay, schedules};

/// The real-time clock at the beginning of a run: 2026-01-01.
const WALL_CLOCK: Duration = Duration::from_secs(1_767_225_600);
/// How long the machine has been up when a run begins, and after a process crash.
const UPTIME: Duration = Duration::from_secs(100_000);
/// How long it has been up when an engine recovers from a power loss.
const BOOTED: Duration = Duration::from_secs(30);
/// How often an open is tried again in a life with injected errors.
const RETRIES: u32 = 2;
/// Schedules of a seed: the first that its workload is recorded in, and that of all recoveries.
/// Those that the workload is recorded in again come behind.
const RECORDED: u64 = 0;
const RECOVERIES: u64 = 1;
/// A key that no workload writes: a lookup of it must find nothing.
const NEVER_WRITTEN: &[u8] = b"never-written";

/// Why an exploration ends before its end.
pub(crate) enum Stop {
    /// The request cannot be carried out.
    Refused(String),
    /// The same thing was done twice with different calls.
    NotDeterministic(String),
    /// The caller asked to stop at the first violation.
    Found,
}

/// Serves one request; the entry of an explorer process.
pub fn serve<S: Sim>(request: &[u8], reply: &mut Reply<'_>) {
    serve_subject(subject::<S>(), request, reply);
}

fn serve_subject<M: Model>(subject: Subject<M>, request: &[u8], reply: &mut Reply<'_>) {
    let last = match explore(subject, request, reply) {
        Ok(tally) => Frame::Done(tally),
        Err(Stop::Refused(why)) => Frame::Refused(why),
        Err(Stop::NotDeterministic(how)) => Frame::NotDeterministic(how),
        Err(Stop::Found) => Frame::Refused("stopped outside a task".to_owned()),
    };
    send(reply, &last);
}

fn explore<M: Model>(
    subject: Subject<M>,
    request: &[u8],
    reply: &mut Reply<'_>,
) -> Result<Tally, Stop> {
    let request: Request = serde_json::from_slice(request)
        .map_err(|error| Stop::Refused(format!("the request: {error}")))?;
    arm(reply)?;
    let mut explorer = Explorer::new(subject, request, |frame| send(reply, frame))?;
    let done = match explorer.request.task {
        Task::Explore => schedules::explore(&mut explorer),
        Task::Replay { .. } => replay::replay(&mut explorer),
        Task::Record => explorer.record_alone(),
        Task::Faults => fail_calls::fail_calls(&mut explorer),
    };
    match done {
        Ok(()) | Err(Stop::Found) => Ok(explorer.finish()),
        Err(stop) => Err(stop),
    }
}

/// Makes sure that no call can slip past the doors unseen.
fn arm(reply: &mut Reply<'_>) -> Result<(), Stop> {
    if let Some(probe::StrayCall { called, reached }) = probe::self_test().into_iter().next() {
        return Err(Stop::Refused(format!("`{called}` leads to {reached}, not to crashpoint")));
    }
    if let Err(refused) = traps::install() {
        let text = format!("{refused}: calls that slip past the doors are not noticed");
        send(reply, &Frame::Notice(text));
    }
    let region = Region::with_capacity(0).map_err(|error| Stop::Refused(error.to_string()))?;
    if !probe::raw_calls_arrive(&region) {
        let text = "raw system calls pass the doors: an engine that makes them is not followed";
        send(reply, &Frame::Notice(text.to_owned()));
    }
    Ok(())
}

fn send(reply: &mut Reply<'_>, frame: &Frame) {
    if let Ok(bytes) = serde_json::to_vec(frame) {
        reply.send(&bytes);
    }
}

/// The crash that a recovery follows.
pub(crate) struct After {
    pub(crate) kind: CrashKind,
    pub(crate) at: Time,
    /// The life that the recovery begins; 1 is the first.
    pub(crate) epoch: u32,
    /// How long the machine is down.
    pub(crate) down: Duration,
    /// What was acknowledged, outside of the steps' own promises, to survive it.
    pub(crate) acked: Rc<Acked>,
}

/// A recovery that was carried out.
pub(crate) struct Recovered {
    pub(crate) outcome: Outcome,
    /// Its log, for the crashes inside it.
    pub(crate) log: Vec<u8>,
}

/// What a child is to be given.
pub(crate) struct Child<'a, Op> {
    pub(crate) tree: &'a Tree,
    /// When it begins.
    pub(crate) start: Time,
    /// How long the machine has been up then.
    pub(crate) uptime: Duration,
    pub(crate) faults: &'a [Fault],
    /// Whether the cache drops pages whose write failed.
    pub(crate) evicts: bool,
    pub(crate) stacks: Stacks,
    /// How its threads are scheduled.
    pub(crate) schedule: Plan,
    pub(crate) script: Script<'a, Op>,
}

/// An explorer at work on one request.
pub(crate) struct Explorer<'r, M: Model> {
    pub(crate) request: Request,
    pub(crate) case: Case,
    /// Where in the request's text the parts of the case are.
    pub(crate) lines: Lines,
    pub(crate) profile: Profile,
    pub(crate) chooser: Random,
    pub(crate) tally: Tally,
    pub(crate) sites: Sites,
    pub(crate) continuation: Epoch,
    pub(crate) continuation_steps: Rc<Vec<Step<M::Op>>>,
    /// Distinct crash states so far.
    pub(crate) states: BTreeSet<Digest>,
    /// Signatures that were reported.
    pub(crate) reported: BTreeSet<(String, String)>,
    recovered: Remembered,
    items: Rc<BTreeSet<Vec<u8>>>,
    region: Region,
    digester: Digester,
    sent: Box<dyn FnMut(&Frame) + 'r>,
    started: Instant,
    in_children: Duration,
    in_debug: bool,
    /// Walks visit only where a fault has just struck, the end of the last step, and the end.
    pub(crate) sparse: bool,
    /// Recoveries spent inside recoveries.
    nested: u64,
    subject: Subject<M>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "what an exploration costs is real time; it decides nothing"
)]
fn now() -> Instant {
    Instant::now()
}

impl<'r, M: Model> Explorer<'r, M> {
    fn new(
        subject: Subject<M>,
        mut request: Request,
        sent: impl FnMut(&Frame) + 'r,
    ) -> Result<Self, Stop> {
        let refuse = |error: &dyn std::fmt::Display| Stop::Refused(error.to_string());
        let (case, lines) = Case::parse_with_lines(&std::mem::take(&mut request.case))
            .map_err(|error| refuse(&error))?;
        let profile = Profile::find(&case.profile, subject.profiles).map_err(Stop::Refused)?;
        if case.space.is_some_and(|space| space.delayed) && !profile.delays {
            let name = profile.name;
            return Err(Stop::Refused(format!("{name} does not delay its allocation")));
        }
        let continuation = Case::parse(&format!(
            "{}crash power step=0 effect=0\n{}",
            Case::new(subject.name, profile.name, case.seed),
            request.continuation.join("\n")
        ))
        .map_err(|error| refuse(&error))?;
        let continuation = continuation.epochs.into_iter().nth(1).unwrap_or_default();
        let region = Region::new().map_err(|error| refuse(&error))?;
        let mut explorer = Self {
            chooser: Random::new(case.seed),
            case,
            lines,
            profile,
            tally: Tally::default(),
            sites: Sites::default(),
            continuation,
            continuation_steps: Rc::default(),
            states: BTreeSet::new(),
            reported: BTreeSet::new(),
            recovered: Remembered::default(),
            items: Rc::default(),
            region,
            digester: Digester::default(),
            sent: Box::new(sent),
            started: now(),
            in_children: Duration::ZERO,
            in_debug: false,
            sparse: false,
            nested: 0,
            request,
            subject,
        };
        explorer.items = Rc::new(explorer.all_items()?);
        explorer.continuation_steps = Rc::new(explorer.steps(&explorer.continuation)?);
        Ok(explorer)
    }

    /// Every item that any step of the case may set, and one that none does.
    fn all_items(&self) -> Result<BTreeSet<Vec<u8>>, Stop> {
        let mut ops = Vec::new();
        for epoch in self.case.epochs.iter().chain([&self.continuation]) {
            ops.extend(self.steps(epoch)?.into_iter().filter_map(|step| match step {
                Step::Op(op) => Some(op),
                Step::Reopen | Step::Sleep(_) => None,
            }));
        }
        let mut items = items_set_by::<M>(ops);
        items.insert(NEVER_WRITTEN.to_vec());
        Ok(items)
    }

    /// The steps of a life, read by the sim.
    pub(crate) fn steps(&self, epoch: &Epoch) -> Result<Vec<Step<M::Op>>, Stop> {
        let read = |(index, step): (usize, &crate::case::Step)| {
            Step::from_case(step)
                .map_err(|error| Stop::Refused(format!("step {} (`{step}`), {error}", index + 1)))
        };
        epoch.steps.iter().enumerate().map(read).collect()
    }

    /// The faults of a life; 1 is the first.
    pub(crate) fn faults_of(&self, epoch: u32) -> Vec<Fault> {
        self.case.faults.iter().filter(|fault| fault.epoch == epoch).copied().collect()
    }

    /// Whether a fault of a life lasts to its end.
    pub(crate) fn lasting(&self, epoch: u32) -> bool {
        self.faults_of(epoch).iter().any(Fault::lasts)
    }

    /// What the sim promises where bytes rot.
    pub(crate) fn after_rot(&self) -> fn(&Rotting<'_>) -> Answer {
        self.subject.after_rot
    }

    /// Whether the store is there before the power may go.
    pub(crate) fn created_apart(&self) -> bool {
        self.subject.created_apart
    }

    /// What the engine promises.
    pub(crate) fn promises(&self) -> Promises<M> {
        (self.subject.promises)()
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        (self.sent)(frame);
    }

    /// Records the first life as its turns say, or in the first schedule, and returns its log.
    pub(crate) fn record(&mut self, stacks: Stacks) -> Result<Recovered, Stop> {
        let schedule = match &self.case.epochs[0].turns {
            Some(turns) => Plan::Listed(turns.clone()),
            None => self.drawn(RECORDED),
        };
        self.record_as(stacks, schedule)
    }

    /// A schedule of the seed.
    fn drawn(&self, number: u64) -> Plan {
        Plan::Drawn { seed: self.case.seed.derive("schedule", number).0, decisions: None }
    }

    /// Records the first life in this schedule and returns its log.
    pub(crate) fn record_as(&mut self, stacks: Stacks, schedule: Plan) -> Result<Recovered, Stop> {
        let steps = self.steps(&self.case.epochs[0].clone())?;
        let items = Rc::clone(&self.items);
        let faults = self.faults_of(1);
        let harmless = faults.is_empty() && self.case.space.is_none();
        let retries = if harmless { 0 } else { RETRIES };
        let script = Script {
            recovery: false,
            steps: &steps,
            items: &items,
            acked: &[],
            retries,
            threads_may_stay: self.subject.threads_may_stay,
            created_apart: self.subject.created_apart,
        };
        let tree = Tree::new();
        let child = Child {
            tree: &tree,
            start: Time::START,
            uptime: UPTIME,
            faults: &faults,
            evicts: self.case.evicts,
            stacks,
            schedule,
            script,
        };
        let outcome = self.run_child(&child)?;
        Ok(self.with_log(outcome))
    }

    /// Recovers a crash state, or remembers how it was recovered before: a recovery hangs on the
    /// state alone and, if the engine looked at a clock, on the time.
    pub(crate) fn recover(
        &mut self,
        tree: &Tree,
        digest: Digest,
        after: &After,
    ) -> Result<Rc<Outcome>, Stop> {
        if !self.faults_of(after.epoch).is_empty() {
            return Ok(Rc::new(self.recover_as_drawn(tree, after)?));
        }
        let timed = Some((after.at, after.kind == CrashKind::Power));
        let key = |timed| (digest, after.acked.digest(), timed);
        for key in [key(None), key(timed)] {
            if let Some(outcome) = self.recovered.get(&key) {
                return Ok(outcome);
            }
        }
        let outcome = Rc::new(self.recover_as_drawn(tree, after)?);
        let timed = timed.filter(|_| outcome.timed);
        self.recovered.insert(key(timed), Rc::clone(&outcome));
        Ok(outcome)
    }

    /// Recovers a crash state, and goes on with the steps that were drawn for it.
    fn recover_as_drawn(&mut self, tree: &Tree, after: &After) -> Result<Outcome, Stop> {
        let steps = Rc::clone(&self.continuation_steps);
        let schedule = self.drawn(RECOVERIES);
        self.recover_by(tree, after, &steps, self.request.stacks, schedule)
    }

    /// Recovers a crash state and goes on as a life says, and returns the log.
    pub(crate) fn recover_alone(
        &mut self,
        tree: &Tree,
        after: &After,
        epoch: &Epoch,
        stacks: Stacks,
    ) -> Result<Recovered, Stop> {
        let steps = self.steps(epoch)?;
        let schedule = match &epoch.turns {
            Some(turns) => Plan::Listed(turns.clone()),
            None => self.drawn(RECOVERIES),
        };
        let outcome = self.recover_by(tree, after, &steps, stacks, schedule)?;
        Ok(self.with_log(outcome))
    }

    /// Recovers a crash state in a child of its own.
    fn recover_by(
        &mut self,
        tree: &Tree,
        after: &After,
        steps: &[Step<M::Op>],
        stacks: Stacks,
        schedule: Plan,
    ) -> Result<Outcome, Stop> {
        let items = Rc::clone(&self.items);
        let start = after.at + after.down;
        let uptime = match after.kind {
            CrashKind::Process => UPTIME + start.since(Time::START),
            CrashKind::Power => BOOTED,
        };
        let acked = after.acked.texts();
        let faults = self.faults_of(after.epoch);
        let script = Script {
            recovery: true,
            steps,
            items: &items,
            acked,
            retries: if faults.is_empty() { 0 } else { RETRIES },
            threads_may_stay: self.subject.threads_may_stay,
            created_apart: false,
        };
        let evicts = false;
        let child =
            Child { tree, start, uptime, faults: &faults, evicts, stacks, schedule, script };
        self.tally.recoveries += 1;
        self.run_child(&child)
    }

    /// What came of the last child, with its log: a copy, which costs more than to read it.
    fn with_log(&self, outcome: Outcome) -> Recovered {
        Recovered { outcome, log: self.region.bytes().to_vec() }
    }

    fn run_child(&mut self, child: &Child<'_, M::Op>) -> Result<Outcome, Stop> {
        self.region.reset();
        let started = now();
        let seed = self.case.seed.derive("entropy", 0).0;
        let body = |region: &'static Region| {
            let setup = Setup {
                start: child.start,
                uptime: child.uptime,
                wall_clock: WALL_CLOCK,
                seed,
                schedule: child.schedule.clone(),
                faults: child.faults.to_vec(),
                profile: self.profile,
                evicts: child.evicts,
                space: if child.script.recovery { None } else { self.case.space },
                stacks: child.stacks,
                ..Setup::new(child.tree.clone(), region)
            };
            World::install(setup);
            (self.subject.live)(&child.script);
        };
        let ending = if self.in_debug {
            child::here(&self.region, body)
        } else {
            let limits = Limits { cpu: self.subject.cpu, ..Limits::default() };
            child::run(&self.region, &limits, body)
        };
        self.in_children += now().duration_since(started);
        let place = self.sites.resolve(&ending.backtrace());
        let mut outcome = Outcome::read(self.region.bytes(), ending, child.start);
        outcome.place = outcome.place.or(place.into_iter().next());
        for path in &outcome.outside {
            let text =
                format!("the engine opened a file outside its directory for writing: {path}");
            (self.sent)(&Frame::Notice(text));
        }
        if let Some(call) = &outcome.refused {
            return Err(Stop::Refused(format!(
                "{} called {call}, which is not simulated",
                self.subject.name
            )));
        }
        if let Ending::Asleep { syscall } = &outcome.ending
            && *syscall != libc::SYS_futex
        {
            // It waits for somebody outside: that says nothing about the engine. A futex is its
            // own, and nobody is there to wake it.
            return Err(Stop::Refused(format!("{} is {}", self.subject.name, outcome.ending)));
        }
        if let Ending::Killed { .. } = &outcome.ending {
            return Err(Stop::Refused(format!("{} was {}", self.subject.name, outcome.ending)));
        }
        Ok(outcome)
    }

    /// From now on recoveries run in this process, without limits.
    pub(crate) fn debug(&mut self) {
        self.in_debug = true;
    }

    /// How many recoveries may still be spent on crashes inside recoveries.
    pub(crate) fn nested_left(&self) -> u64 {
        self.request.budget.nested.saturating_sub(self.nested)
    }

    /// So many of them were spent.
    pub(crate) fn spend_nested(&mut self, recoveries: u64) {
        self.nested += recoveries;
    }

    /// Adds a recovery to the digest of the exploration.
    pub(crate) fn note(&mut self, state: Digest, recovered: Digest) {
        self.digester.add_number(state.0);
        self.digester.add_number(recovered.0);
    }

    /// Records the run, and lists its sync call sites where the stacks are noted.
    fn record_alone(&mut self) -> Result<(), Stop> {
        let recorded = self.record(self.request.stacks)?;
        self.tally.run = recorded.outcome.digest;
        for (site, what) in sync_sites(&recorded.log, &mut self.sites) {
            self.send(&Frame::Site(site, what));
        }
        Ok(())
    }

    /// Whether a failure will be reported, and with a verdict.
    pub(crate) fn wants_verdict(&self, failure: &Failure) -> bool {
        let name = (failure.class.clone(), failure.signature.clone());
        let is_new = !self.reported.contains(&name) && !self.request.known.contains(&name);
        is_new && self.request.budget.verdict > 0
    }

    /// Counts a violation, reports the first of each signature.
    pub(crate) fn violated(&mut self, failure: Failure) -> Result<(), Stop> {
        let name = (failure.class.clone(), failure.signature.clone());
        if self.request.known.contains(&name) {
            self.tally.shadowed += 1;
            self.tally.known += u64::from(self.reported.insert(name));
            return Ok(());
        }
        let mut failure = failure;
        if self.case.evicts {
            let cache = "cache evicted when a sync had failed";
            let comma = if failure.point.is_empty() { "" } else { ", " };
            failure.point += &format!("{comma}{cache}");
        }
        self.tally.violations += 1;
        if self.reported.insert(name) {
            self.send(&Frame::Violation(Box::new(failure)));
        }
        if self.request.budget.stop { Err(Stop::Found) } else { Ok(()) }
    }

    /// Tells the caller how far it is.
    pub(crate) fn progress(&mut self) {
        let tally = self.tally;
        self.send(&Frame::Progress(tally));
    }

    fn finish(&mut self) -> Tally {
        self.tally.states = self.states.len() as u64;
        self.tally.digest = self.digester.finish();
        self.tally.seconds = now().duration_since(self.started).as_secs_f64();
        self.tally.harness_seconds = self.tally.seconds - self.in_children.as_secs_f64();
        self.tally
    }
}
