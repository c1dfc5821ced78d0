//! Runs children: each records a workload or recovers a crash state, and leaves its log.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use crate::base::digest::Digest;
use crate::base::seed::Seed;
use crate::base::time::Time;
use crate::case::fault::Fault;
use crate::case::{Case, Creation, Epoch, Identity};
use crate::disk::profile::Profile;
use crate::disk::space::Space;
use crate::disk::tree::Tree;
use crate::host::child::{self, Limits};
use crate::host::ending::Ending;
use crate::host::region::Region;
use crate::host::script::Script;
use crate::oracle::CrashKind;
use crate::process::world::schedule::Plan;
use crate::process::world::{Setup, Stacks, World};
use crate::sim::Step;
use crate::sim::model::Model;

use super::acked::Acked;
use super::boot::Boot;
use super::conditions::Conditions;
use super::event::Outcome;
use super::refusal::unserved;
use super::remembered::{Inputs, Remembered};
use super::reporter::now;
use super::site::{CallSite, Sites};
use super::stop::Stop;
use super::subject::Subject;

/// The real-time clock at the beginning of a run: 2026-01-01.
const WALL_CLOCK: Duration = Duration::from_secs(1_767_225_600);
/// How often an open is tried again in an epoch with injected errors.
const RETRIES: u32 = 2;
/// The schedules of a seed: the first recording of its workload, and all recoveries. Further
/// recordings have the numbers after these.
const RECORDED: u64 = 0;
const RECOVERIES: u64 = 1;

/// The crash that a recovery follows.
#[derive(Clone)]
pub(crate) struct PriorCrash {
    pub(crate) kind: CrashKind,
    pub(crate) at: Time,
    /// The epoch that the recovery begins; 1 is the first.
    pub(crate) epoch: u32,
    /// How long the machine is down.
    pub(crate) down: Duration,
    /// The boot that it happened in.
    pub(crate) boot: Boot,
    /// The acknowledgements outside of the steps' own promises that cover it.
    pub(crate) acked: Rc<Acked>,
}

impl PriorCrash {
    /// When the recovery begins.
    fn recovery(&self) -> Time {
        self.at + self.down
    }

    /// The boot that the recovery runs in.
    pub(crate) fn next_boot(&self) -> Boot {
        self.boot.after(self.kind, self.epoch, self.recovery())
    }
}

/// The outcome of a child, with its log.
pub(crate) struct Recorded {
    pub(crate) outcome: Outcome,
    /// The log, for the crashes inside it.
    pub(crate) log: Vec<u8>,
    /// The boot that it ran in.
    pub(crate) boot: Boot,
}

/// The input of a child.
struct Launch<'a, Op> {
    /// The epoch that it runs; 1 is the first.
    epoch: u32,
    tree: &'a Tree,
    /// When it begins.
    start: Time,
    /// The boot of the machine that it runs in.
    boot: Boot,
    faults: Vec<Fault>,
    space: Option<Space>,
    evicts: bool,
    stacks: Stacks,
    schedule: Plan,
    script: Script<'a, Op>,
}

/// Runs children for one case.
pub(crate) struct Runner<M: Model> {
    pub(crate) subject: Subject<M>,
    pub(crate) profile: Profile,
    /// Source lines of the engine.
    pub(crate) sites: Sites,
    /// Recoveries carried out so far.
    pub(crate) recoveries: u64,
    /// Children so far that used up their CPU time, or slept for real.
    pub(crate) stuck: u64,
    /// Calls of the engine so far.
    pub(crate) calls: u64,
    /// Real time spent in children.
    pub(crate) in_children: Duration,
    /// Notices for the user about the engine's calls.
    pub(crate) notices: BTreeSet<String>,
    /// Recover in this process, without limits, for a debugger.
    pub(crate) in_process: bool,
    seed: Seed,
    identity: Identity,
    creation: Creation,
    /// The items that a read-back looks up.
    items: Rc<BTreeSet<Vec<u8>>>,
    remembered: Remembered,
    region: Region,
}

impl<M: Model> Runner<M> {
    /// A runner for a case of this seed; a read-back looks up these items.
    pub(crate) fn new(
        subject: Subject<M>,
        profile: Profile,
        case: &Case,
        items: BTreeSet<Vec<u8>>,
    ) -> Result<Self, Stop> {
        Ok(Self {
            subject,
            profile,
            sites: Sites::default(),
            recoveries: 0,
            stuck: 0,
            calls: 0,
            in_children: Duration::ZERO,
            notices: BTreeSet::new(),
            in_process: false,
            seed: case.seed,
            identity: case.identity,
            creation: case.creation,
            items: Rc::new(items),
            remembered: Remembered::default(),
            region: Region::new().map_err(Stop::refused)?,
        })
    }

    /// The seed of the entropy of an epoch. An engine that draws names must not meet its own old
    /// names again.
    fn entropy(&self, epoch: u32) -> u64 {
        let number = match self.identity {
            Identity::PerEpoch => u64::from(epoch) - 1,
            Identity::Shared => 0,
        };
        self.seed.derive("entropy", number).0
    }

    /// The process id of an epoch. No two epochs of a run have the same: the step and the number of
    /// ids have no common divisor.
    fn pid(&self, epoch: u32) -> libc::pid_t {
        const IDS: u64 = 31_000;
        const STEP: u64 = 4_999;
        match self.identity {
            Identity::PerEpoch => {
                let first = self.seed.derive("pid", 0).0 % IDS;
                let id = (first + u64::from(epoch) * STEP) % IDS;
                1_000 + libc::pid_t::try_from(id).unwrap_or(0)
            }
            Identity::Shared => 1_000,
        }
    }

    /// The seed of what the kernel draws when it boots.
    fn boot(&self, boot: Boot) -> u64 {
        let number = match self.identity {
            Identity::PerEpoch => u64::from(boot.epoch),
            Identity::Shared => 0,
        };
        self.seed.derive("boot", number).0
    }

    /// A drawn schedule of the seed.
    fn drawn(&self, number: u64) -> Plan {
        Plan::Drawn { seed: self.seed.derive("schedule", number).0, decisions: None }
    }

    /// Another schedule to record the workload in, counted from 1. `decisions` is the number of
    /// decisions in the longest recording.
    pub(crate) fn another_schedule(&self, number: u64, decisions: Option<u64>) -> Plan {
        let seed = self.seed.derive("schedule", RECOVERIES + number).0;
        Plan::Drawn { seed, decisions }
    }

    /// Records an epoch from an empty disk, in this schedule or the first one of the seed.
    pub(crate) fn record(
        &mut self,
        steps: &[Step<M::Op>],
        conditions: &Conditions,
        stacks: Stacks,
        schedule: Option<Plan>,
    ) -> Result<Recorded, Stop> {
        let faults = conditions.faults_of(1);
        let is_faultless = faults.is_empty() && conditions.space.is_none();
        let items = Rc::clone(&self.items);
        let launch = Launch {
            epoch: 1,
            tree: &Tree::of_a_run(),
            start: Time::START,
            boot: Boot::FIRST,
            faults,
            space: conditions.space,
            evicts: conditions.evicts,
            stacks,
            schedule: schedule.unwrap_or_else(|| self.drawn(RECORDED)),
            script: Script {
                recovery: false,
                steps,
                items: &items,
                acked: &[],
                retries: if is_faultless { 0 } else { RETRIES },
                threads_may_stay: self.subject.threads_may_stay,
                creation: self.subject.created_apart.then_some(self.creation),
            },
        };
        let outcome = self.run(&launch)?;
        Ok(self.with_log(outcome, Boot::FIRST))
    }

    /// Recovers a crash state and continues with `steps`, or returns the remembered outcome: a
    /// recovery depends on the state, the acknowledgements and, if the engine saw them, the time
    /// and the parts of the disk that are not in the digest of the state.
    pub(crate) fn recover(
        &mut self,
        tree: &Tree,
        digest: Digest,
        crash: &PriorCrash,
        conditions: &Conditions,
        steps: &[Step<M::Op>],
        stacks: Stacks,
    ) -> Result<Rc<Outcome>, Stop> {
        if !conditions.faults_of(crash.epoch).is_empty() {
            let schedule = self.drawn(RECOVERIES);
            let outcome = self.recover_in(tree, crash, conditions, steps, stacks, schedule)?;
            return Ok(Rc::new(outcome));
        }
        let key = (digest, crash.acked.digest(), crash.epoch);
        let clock = (crash.at, crash.next_boot());
        let inputs = Inputs { tree, clock, start: crash.recovery() };
        if let Some(outcome) = self.remembered.get(&key, &inputs) {
            return Ok(outcome);
        }
        let schedule = self.drawn(RECOVERIES);
        let outcome = self.recover_in(tree, crash, conditions, steps, stacks, schedule)?;
        let outcome = Rc::new(outcome);
        self.remembered.insert(key, &inputs, Rc::clone(&outcome));
        Ok(outcome)
    }

    /// Recovers a crash state, continues as an epoch says, and returns the log.
    pub(crate) fn recover_alone(
        &mut self,
        tree: &Tree,
        crash: &PriorCrash,
        conditions: &Conditions,
        epoch: &Epoch,
        stacks: Stacks,
    ) -> Result<Recorded, Stop> {
        let steps = steps(epoch)?;
        let schedule = match &epoch.turns {
            Some(turns) => Plan::Listed(turns.clone()),
            None => self.drawn(RECOVERIES),
        };
        let outcome = self.recover_in(tree, crash, conditions, &steps, stacks, schedule)?;
        Ok(self.with_log(outcome, crash.next_boot()))
    }

    fn recover_in(
        &mut self,
        tree: &Tree,
        crash: &PriorCrash,
        conditions: &Conditions,
        steps: &[Step<M::Op>],
        stacks: Stacks,
        schedule: Plan,
    ) -> Result<Outcome, Stop> {
        let faults = conditions.faults_of(crash.epoch);
        let items = Rc::clone(&self.items);
        let launch = Launch {
            epoch: crash.epoch,
            tree,
            start: crash.recovery(),
            boot: crash.next_boot(),
            // Only the first epoch has a small disk and an evicting cache.
            space: None,
            evicts: false,
            stacks,
            schedule,
            script: Script {
                recovery: true,
                steps,
                items: &items,
                acked: crash.acked.texts(),
                retries: if faults.is_empty() { 0 } else { RETRIES },
                threads_may_stay: self.subject.threads_may_stay,
                creation: None,
            },
            faults,
        };
        self.recoveries += 1;
        self.run(&launch)
    }

    /// The outcome of the last child with a copy of its log, which costs more than reading it.
    fn with_log(&self, outcome: Outcome, boot: Boot) -> Recorded {
        Recorded { outcome, log: self.region.bytes().to_vec(), boot }
    }

    fn run(&mut self, launch: &Launch<'_, M::Op>) -> Result<Outcome, Stop> {
        self.region.reset();
        let started = now();
        let (profile, run_script) = (self.profile, self.subject.run_script);
        let (seed, pid) = (self.entropy(launch.epoch), self.pid(launch.epoch));
        let boot = self.boot(launch.boot);
        let body = |region: &'static Region| {
            World::install(Setup { seed, pid, boot, ..setup(launch, profile, region) });
            run_script(&launch.script);
        };
        let ending = if self.in_process && launch.script.recovery {
            child::here(&self.region, body)
        } else {
            let limits = Limits { cpu: self.subject.cpu, ..Limits::default() };
            child::run(&self.region, &limits, body)
        };
        self.in_children += now().duration_since(started);
        self.stuck += u64::from(matches!(ending, Ending::HungSpin { .. } | Ending::Asleep { .. }));
        let place = self.sites.resolve(&ending.backtrace()).into_iter().next();
        let mut outcome = Outcome::read(self.region.bytes(), ending, launch.start);
        self.calls += outcome.made;
        outcome.place = outcome.place.or(place.map(|line| line.to_string()));
        for path in &outcome.outside {
            self.notices.insert(format!(
                "the engine opened a file outside its directory for writing: {path}"
            ));
        }
        for what in &outcome.host {
            self.notices.insert(format!("the engine read from the host: {what}"));
        }
        self.simulated(outcome)
    }

    /// An outcome that says something about the engine; any other one stops the exploration.
    fn simulated(&mut self, outcome: Outcome) -> Result<Outcome, Stop> {
        let name = self.subject.name;
        if let Some(refusal) = &outcome.refused {
            let site = CallSite(self.sites.resolve(&refusal.stack));
            return Err(Stop::refused(refusal.text(name, &site)));
        }
        if let Some(text) = unserved(name, &outcome.ending) {
            return Err(Stop::refused(text));
        }
        match &outcome.ending {
            // A futex belongs to the engine, and no other thread is left to wake it. Any other
            // call waits for something outside, which says nothing about the engine.
            Ending::Asleep { syscall } if *syscall != libc::SYS_futex => {
                Err(Stop::refused(format!("{name} is {}", outcome.ending)))
            }
            Ending::Killed { .. } => Err(Stop::refused(format!("{name} was {}", outcome.ending))),
            _ => Ok(outcome),
        }
    }
}

/// The world that a child sees.
fn setup<Op>(launch: &Launch<'_, Op>, profile: Profile, region: &'static Region) -> Setup {
    Setup {
        start: launch.start,
        uptime: launch.boot.uptime(launch.start),
        wall_clock: WALL_CLOCK,
        schedule: launch.schedule.clone(),
        faults: launch.faults.clone(),
        profile,
        evicts: launch.evicts,
        space: launch.space,
        stacks: launch.stacks,
        ..Setup::new(launch.tree.clone(), region)
    }
}

/// The steps of an epoch, read by the sim.
pub(crate) fn steps<Op: crate::sim::engine::Operation>(
    epoch: &Epoch,
) -> Result<Vec<Step<Op>>, Stop> {
    let read = |(index, step): (usize, &crate::case::Step)| {
        crate::case::steps::from_case(step)
            .map_err(|error| Stop::refused(format!("step {} (`{step}`), {error}", index + 1)))
    };
    epoch.steps.iter().enumerate().map(read).collect()
}
