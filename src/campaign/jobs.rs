//! The jobs of a run: which workload of a sim has which case and budget.

use super::entry::Entry;
use crate::base::seed::Seed;
use crate::case::{Case, Epoch, Step};
use crate::explore::chooser::{Choice, Chooser};
use crate::explore::job::{Budget, Job, Task};
use crate::process::world::Stacks;

/// The maximum number of steps of a workload; its seed chooses. Short workloads are explored
/// exhaustively, long ones reach what only large stores do.
pub(crate) const SIZES: [usize; 6] = [3, 6, 12, 8, 24, 48];
/// The number of steps after a recovery.
const CONTINUATION: usize = 3;
/// The maximum number of steps of the workloads in which every call is failed in turn.
pub(crate) const FAILING: [usize; 3] = [4, 8, 16];

/// A run without a crash has two read-backs and one more opening for this many steps.
const READ_BACKS: u64 = 12;

/// One sim on one profile: how many workloads, and how deep.
#[derive(Clone)]
pub(crate) struct Part {
    /// The sim.
    pub(crate) entry: Entry,
    /// The profile.
    pub(crate) profile: String,
    /// How many workloads.
    pub(crate) workloads: u64,
    /// The budget of each.
    pub(crate) budget: Budget,
}

impl Part {
    /// `sim on profile`.
    pub(crate) fn title(&self) -> String {
        format!("{} on {}", self.entry.name, self.profile)
    }

    /// The job for workload `number` of a run.
    pub(crate) fn job(&self, seed: Seed, number: u64) -> Job {
        self.job_for(seed.derive(self.entry.name, number))
    }

    /// The job for the workload of a seed, as a report names it.
    pub(crate) fn job_for(&self, seed: Seed) -> Job {
        self.job_of(seed, size(seed))
    }

    /// The job for a workload of up to `size` steps.
    pub(crate) fn job_of(&self, seed: Seed, size: usize) -> Job {
        let steps = (self.entry.generate)(seed, size);
        let mut case = Case::new(self.entry.name, &self.profile, seed);
        case.faults = (self.entry.faults)(seed, steps.len());
        if case.faults.is_empty() {
            let delays = self.entry.profile(&self.profile).is_ok_and(|profile| profile.delays);
            case.space = (self.entry.space)(seed, delays);
        }
        case.epochs = vec![Epoch { steps, ..Epoch::default() }];
        Job {
            continuation: self.continuation(seed, CONTINUATION),
            ..job(case, Task::Explore, self.budget)
        }
    }

    /// The job that runs workload `number` of a run without a crash: longer ones among them, and
    /// each with read-backs and more openings at places that are drawn.
    pub(crate) fn uncut_job(&self, seed: Seed, number: u64) -> Job {
        let seed = seed.derive("uncut", number);
        let size = size(seed) << (number % 4);
        let mut chooser = Chooser::new(seed.derive("read-backs", 0));
        let mut steps = Vec::new();
        for step in (self.entry.generate)(seed, size) {
            steps.push(step);
            match chooser.choose(Choice::Workload, READ_BACKS) {
                0 | 1 => steps.push(Step::ReadBack),
                2 => steps.push(Step::Reopen),
                _ => {}
            }
        }
        let mut case = Case::new(self.entry.name, &self.profile, seed);
        case.epochs = vec![Epoch { steps, ..Epoch::default() }];
        job(case, Task::Run, self.budget)
    }

    /// The job that fails every call of a workload of up to `size` steps.
    pub(crate) fn failing_job(&self, seed: Seed, size: usize) -> Job {
        let mut case = Case::new(self.entry.name, &self.profile, seed);
        let steps = (self.entry.generate)(seed, size);
        case.epochs = vec![Epoch { steps, ..Epoch::default() }];
        Job {
            continuation: self.continuation(seed, CONTINUATION),
            ..job(case, Task::Faults, self.budget)
        }
    }

    /// The job that fails every call of workload `number` of a run, of up to `size` steps.
    pub(crate) fn failing_job_of_run(&self, seed: Seed, number: u64, size: usize) -> Job {
        self.failing_job(seed.derive("faults", number), size)
    }

    /// The steps after each recovery of the workload of a seed, up to `steps`.
    pub(crate) fn continuation(&self, seed: Seed, steps: usize) -> Vec<Step> {
        match self.entry.continuation {
            // The word is part of every seed: it names the continuation.
            true => (self.entry.generate)(seed.derive("afterlife", 0), steps),
            false => Vec::new(),
        }
    }
}

/// The maximum number of steps of the workload of a seed.
pub(crate) fn size(seed: Seed) -> usize {
    SIZES[(seed.0 % SIZES.len() as u64) as usize]
}

/// A job without a continuation and without known findings.
pub(crate) fn job(case: Case, task: Task, budget: Budget) -> Job {
    Job {
        case,
        task,
        near: None,
        continuation: Vec::new(),
        budget,
        known: Vec::new(),
        muted: None,
        stacks: Stacks::None,
        keep: None,
        activity: false,
    }
}
