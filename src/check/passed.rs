//! The text of a passing test: what was tried, how well, and what was not.

use super::entry::{note, notes};
use crate::base::seed::Seed;
use crate::campaign::entry::Entry;
use crate::campaign::jobs::Part;
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
    /// The counts of each part.
    tallies: Vec<Tally>,
}

impl Passed {
    /// The text before the first part, with these notices to the user.
    pub(super) fn new(entry: &Entry, seed: Seed, notices: Vec<String>) -> Self {
        let text = notices.iter().map(|text| note(text)).collect();
        Self { entry: *entry, seed, text, tallies: Vec::new() }
    }

    /// The number of parts so far.
    pub(super) fn parts(&self) -> usize {
        self.tallies.len()
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
            untested.push("every call failed in turn: `check_faults` does that".to_owned());
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
