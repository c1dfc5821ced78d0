//! An explorer at work on one job.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::case::Epoch;
use crate::disk::profile::Profile;
use crate::oracle::{Promises, items_set_by};
use crate::process::world::schedule::Plan;
use crate::sim::Step;
use crate::sim::model::Model;

use super::calls::sync_sites;
use super::chooser::Chooser;
use super::conditions::Conditions;
use super::event::Outcome;
use super::job::Job;
use super::message::Message;
use super::reporter::Reporter;
use super::runner::{PriorCrash, Recorded, Runner, steps};
use super::stop::Stop;
use super::subject::Subject;
use super::tally::Tally;
use crate::disk::tree::Tree;

/// A key that no workload writes: a lookup of it must find nothing.
const NEVER_WRITTEN: &[u8] = b"never-written";

/// An explorer at work on one job: it never runs engine code itself.
pub(crate) struct Explorer<'r, M: Model> {
    /// The job. It does not change.
    pub(crate) job: Job,
    /// The steps of the case's first epoch.
    pub(crate) steps: Rc<Vec<Step<M::Op>>>,
    /// The epoch after each recovery, and its steps.
    pub(crate) continuation: Epoch,
    pub(crate) continuation_steps: Rc<Vec<Step<M::Op>>>,
    /// Runs the children.
    pub(crate) runner: Runner<M>,
    /// Counts and reports.
    pub(crate) reporter: Reporter<'r>,
    /// Draws what the job leaves open.
    pub(crate) chooser: Chooser,
    /// Recoveries spent so far on crashes inside recoveries.
    pub(crate) nested: u64,
}

impl<'r, M: Model> Explorer<'r, M> {
    /// Prepares for a job, whose messages go to `send`.
    pub(crate) fn new(
        subject: Subject<M>,
        job: Job,
        send: impl FnMut(&Message) + 'r,
    ) -> Result<Self, Stop> {
        let case = &job.case;
        let profile = Profile::find(&case.profile, subject.profiles).map_err(Stop::refused)?;
        if case.space.is_some_and(|space| space.delayed) && !profile.delays {
            return Err(Stop::refused(format!("{} does not delay its allocation", profile.name)));
        }
        let continuation = Epoch { steps: job.continuation.clone(), ..Epoch::default() };
        let items = items::<M>(case.epochs.iter().chain([&continuation]))?;
        Ok(Self {
            steps: Rc::new(steps(&case.epochs[0])?),
            continuation_steps: Rc::new(steps(&continuation)?),
            continuation,
            runner: Runner::new(subject, profile, case, items)?,
            reporter: Reporter::new(&job.budget, &job.known, send),
            chooser: Chooser::new(case.seed),
            nested: 0,
            job,
        })
    }

    /// The engine's promises.
    pub(crate) fn promises(&self) -> Promises<M> {
        (self.runner.subject.promises)()
    }

    /// Records the first epoch in the schedule of the case.
    pub(crate) fn record(&mut self, conditions: &Conditions) -> Result<Recorded, Stop> {
        let turns = self.job.case.epochs[0].turns.clone();
        self.record_in(conditions, turns.map(Plan::Listed))
    }

    /// Records the first epoch in this schedule, or in the first of the seed.
    pub(crate) fn record_in(
        &mut self,
        conditions: &Conditions,
        schedule: Option<Plan>,
    ) -> Result<Recorded, Stop> {
        let steps = Rc::clone(&self.steps);
        self.runner.record(&steps, conditions, self.job.stacks, schedule)
    }

    /// Recovers a crash state and continues.
    pub(crate) fn recover(
        &mut self,
        tree: &Tree,
        digest: Digest,
        crash: &PriorCrash,
        conditions: &Conditions,
    ) -> Result<Rc<Outcome>, Stop> {
        let steps = Rc::clone(&self.continuation_steps);
        self.runner.recover(tree, digest, crash, conditions, &steps, self.job.stacks)
    }

    /// Records the first epoch, and lists its sync call sites where the stacks are recorded.
    pub(crate) fn record_alone(&mut self) -> Result<(), Stop> {
        let conditions = Conditions::of(&self.job.case);
        let recorded = self.record(&conditions)?;
        self.reporter.tally.run = recorded.outcome.digest;
        for site in sync_sites(&recorded.log, &mut self.runner.sites) {
            self.reporter.send(&Message::Site(site));
        }
        Ok(())
    }

    /// Recoveries that may still be spent on crashes inside recoveries.
    pub(crate) fn nested_left(&self) -> u64 {
        self.job.budget.nested.saturating_sub(self.nested)
    }

    /// Reports the counts so far.
    pub(crate) fn progress(&mut self) {
        let tally = self.tally();
        self.reporter.send(&Message::Progress(tally));
    }

    /// The counts so far.
    pub(crate) fn tally(&self) -> Tally {
        let Runner { recoveries, calls, stuck, in_children, .. } = &self.runner;
        let counts = self.reporter.counts(*recoveries, *calls, in_children.as_secs_f64());
        Tally { stuck: *stuck, ..counts }
    }
}

/// Every item that a step of these epochs may set, and one that none does.
fn items<'e, M: Model>(epochs: impl Iterator<Item = &'e Epoch>) -> Result<BTreeSet<Vec<u8>>, Stop> {
    let mut ops = Vec::new();
    for epoch in epochs {
        ops.extend(steps::<M::Op>(epoch)?.into_iter().filter_map(|step| match step {
            Step::Op(op) => Some(op),
            Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
        }));
    }
    let mut items = items_set_by::<M>(ops);
    items.insert(NEVER_WRITTEN.to_vec());
    Ok(items)
}
