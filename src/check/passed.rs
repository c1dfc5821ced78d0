//! The text of a passing test: what was tried, how well, and what was not.

use crate::base::seed::Seed;
use crate::campaign::entry::Entry;
use crate::campaign::jobs::Part;
use crate::campaign::problem::Problem;
use crate::campaign::run::PartResult;
use crate::campaign::spend::Ended;
use crate::explore::tally::Tally;
use crate::host::cpu;
use crate::oracle::FaultKind;

/// The text of a test, as it passes part by part.
pub(super) struct Passed {
    entry: Entry,
    seed: Seed,
    text: String,
    /// The counts of the runs without a crash.
    uncut: Tally,
    /// Runs and recoveries with a failed call or a full disk.
    faults: u64,
    /// The counts of each part.
    tallies: Vec<Tally>,
}

impl Passed {
    /// The text before the first part, with these notices to the user.
    pub(super) fn new(entry: &Entry, seed: Seed, notices: Vec<String>) -> Self {
        let text = notices.iter().map(|text| note(text)).collect();
        let uncut = Tally::default();
        Self { entry: *entry, seed, text, uncut, faults: 0, tallies: Vec::new() }
    }

    /// Adds the runs without a crash.
    pub(super) fn uncut(&mut self, result: &PartResult) {
        self.uncut = result.tally;
        self.text.push_str(&notes(result));
        self.text.push_str(&format!(
            "{}: no violation in {} workloads without a crash\n",
            self.entry.name, result.workloads
        ));
    }

    /// Adds the runs with a failed call.
    pub(super) fn failing(&mut self, result: &PartResult) {
        self.faults = result.tally.faults;
        self.text.push_str(&notes(result));
    }

    /// Whether the runs without a crash left something to test.
    ///
    /// # Errors
    /// What the user has to change.
    pub(super) fn promises_something(&self) -> Result<(), Problem> {
        let why = if self.uncut.changes == 0 {
            "it never changed the simulated disk: is there an op in each workload, and does it write \
             below the directory that it was given?"
        } else if !(self.entry.durable)() && self.uncut.durable + self.uncut.flushed == 0 {
            "it acknowledged nothing as durable, so that a crash could lose everything: return \
             `Ack::DURABLE` from the op that syncs, or say what a close or a recovery promises in \
             `Promises` (two functions: call `acks.durable`)"
        } else {
            return Ok(());
        };
        Err(Problem::Environment(why.to_owned()))
    }

    /// Adds a part without a violation, which had `budget` recoveries.
    pub(super) fn part(&mut self, part: &Part, result: &PartResult, ended: Ended, budget: u64) {
        let tally = &result.tally;
        self.text.push_str(&notes(result));
        let schedules = if tally.schedules > result.workloads {
            format!(" in {} schedules ({} histories)", tally.schedules, tally.histories)
        } else {
            String::new()
        };
        self.text.push_str(&format!(
            "{}: no violation\n  seed {}, {} workloads{}, {} crash points, exhaustive at {}, \
             sampled at {}\n  {} distinct crash states, {} recoveries of {}, {} of them crashed \
             in turn\n",
            part.title(),
            self.seed,
            result.workloads,
            schedules,
            tally.points,
            tally.exhaustive_points,
            tally.points - tally.exhaustive_points,
            tally.states,
            tally.recoveries,
            budget,
            tally.nested,
        ));
        if let Some(why) = ended_early(ended, tally) {
            self.text.push_str(&format!("  ended early: {why}\n"));
        }
        self.text.push_str(&format!("  digest {}\n  processor {}\n", tally.digest, cpu::model()));
        self.tallies.push(*tally);
    }

    /// The whole text.
    pub(super) fn text(mut self) -> String {
        for (promise, source) in (self.entry.promises)() {
            self.text.push_str(&format!("  checked: {promise} ({source})\n"));
        }
        for what in self.untested() {
            self.text.push_str(&format!("  not tested: {what}\n"));
        }
        self.text
    }

    /// What a test like this leaves out.
    fn untested(&self) -> Vec<String> {
        let mut all = Tally::default();
        self.tallies.iter().for_each(|tally| all.add(tally));
        let mut untested = Vec::new();
        if self.uncut.durable == 0 {
            untested
                .push("what survives a power loss: no op was acknowledged as durable".to_owned());
        }
        let sampled = all.points - all.exhaustive_points;
        if sampled > 0 {
            untested.push(format!("all crash states at {sampled} of {} crash points", all.points));
        }
        if all.unchecked > 0 {
            let unchecked = all.unchecked;
            untested.push(format!("{unchecked} crash states that nothing was promised about"));
        }
        let survives = (self.entry.survives)();
        if survives.is_empty() {
            untested.push("errors of calls and full disks: none is listed as survived".to_owned());
        } else {
            untested.push(format!(
                "more failed calls and full disks than {} that were drawn: `check_faults` tries more",
                self.faults
            ));
        }
        if !survives.iter().any(|(kind, _)| *kind == FaultKind::BitRot) {
            untested.push("bit rot: it is not listed as survived".to_owned());
        }
        let profiles: Vec<&str> = self.entry.profiles.iter().map(|profile| profile.name).collect();
        untested.push(format!("other disks than {}", profiles.join(", ")));
        untested.push(format!("other seeds than {}", self.seed));
        untested
    }
}

/// Why a part did not spend its recoveries, if it did not.
fn ended_early(ended: Ended, tally: &Tally) -> Option<String> {
    match ended {
        Ended::Found | Ended::Spent => None,
        Ended::Workloads => Some("more workloads leave few new crash states".to_owned()),
        Ended::Calls => {
            Some(format!("the engine made {} calls; a larger budget allows more", tally.calls))
        }
    }
}

/// The notices to the user, for the end of a report.
pub(super) fn notes(result: &PartResult) -> String {
    result.notices.iter().map(|notice| note(notice)).collect()
}

pub(super) fn note(text: &str) -> String {
    format!("  note     {text}\n")
}
