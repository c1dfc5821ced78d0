//! The search for the smallest case that still fails in the same way.

use std::collections::BTreeSet;
use std::fmt;

use super::counts::Counts;
use super::edit::trimmed;
use super::size::Size;
use crate::base::digest::{Digest, hash};
use crate::base::text::words;
use crate::campaign::problem::Problem;
use crate::case::Case;
use crate::oracle::CrashKind;

/// How many candidates are looked at for each recovery of the budget: one that the sim cannot read
/// costs no recovery, and a huge case has many of them.
const TRIES: u64 = 8;

/// Judges candidates.
pub(crate) trait Trial {
    /// Whether the sim can read the ops of a candidate.
    fn reads(&self, candidate: &Case) -> bool;

    /// Carries a candidate out as it is written.
    ///
    /// # Errors
    /// It cannot go on.
    fn replay(&mut self, candidate: &Case) -> Result<Tried, Problem>;

    /// Looks for a crash in the workload of a candidate that fails in the same way, in other
    /// schedules too if it has threads.
    ///
    /// # Errors
    /// It cannot go on.
    fn find_crash(&mut self, candidate: &Case) -> Result<Tried, Problem>;
}

/// The result of a trial.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// The case that fails in the same way, if one does.
    pub(crate) failing: Option<Case>,
    /// The recoveries that were carried out.
    pub(crate) recoveries: u64,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// No pass found anything more.
    Quiet,
    /// The budget was spent.
    Spent,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quiet => "no step and no fault of it can be left out",
            Self::Spent => "the budget was spent",
        })
    }
}

/// Why a pass ends before it is done.
#[derive(Debug)]
pub(super) enum Stop {
    /// The budget was spent.
    Spent,
    /// The trial cannot go on.
    Problem(Problem),
}

/// How a candidate relates to the best case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The runs are the same but for a detail: the crash stays where it is.
    Detail,
    /// The run has other steps, faults or crashes: another crash may show the same failure.
    Structure,
}

/// A search under way.
pub(crate) struct Search<'t> {
    trial: &'t mut dyn Trial,
    progress: &'t mut dyn FnMut(&Case, u64),
    pub(super) best: Case,
    size: Size,
    /// The candidates that were tried, and whether a crash was looked for.
    tried: BTreeSet<(Digest, bool)>,
    pub(super) finds_crashes: bool,
    recoveries: u64,
    budget: u64,
    tries: u64,
}

impl<'t> Search<'t> {
    /// A search from a case that fails; `progress` sees each better case and the recoveries so far.
    pub(crate) fn new(
        trial: &'t mut dyn Trial,
        case: Case,
        budget: u64,
        progress: &'t mut dyn FnMut(&Case, u64),
    ) -> Self {
        let size = Size::of(&case);
        Self {
            trial,
            progress,
            best: case,
            size,
            tried: BTreeSet::new(),
            finds_crashes: false,
            recoveries: 0,
            budget,
            tries: 0,
        }
    }

    /// Searches until no pass finds anything more, or the budget is spent.
    ///
    /// # Errors
    /// The trial cannot go on. The best case so far is kept.
    pub(crate) fn run(&mut self) -> Result<End, Problem> {
        match self.passes() {
            Ok(()) => Ok(End::Quiet),
            Err(Stop::Spent) => Ok(End::Spent),
            Err(Stop::Problem(problem)) => Err(problem),
        }
    }

    /// The best case so far.
    pub(crate) fn best(&self) -> &Case {
        &self.best
    }

    /// The recoveries so far.
    pub(crate) fn recoveries(&self) -> u64 {
        self.recoveries
    }

    /// Whether a candidate is smaller than the best case and fails in the same way; it is the best
    /// case then. The candidate is read back from its text, as its user will.
    pub(super) fn attempt(&mut self, candidate: &Case, change: Change) -> Result<bool, Stop> {
        let Some(candidate) = self.worth_trying(candidate, false)? else {
            return match change {
                Change::Structure if self.finds_crashes => self.attempt_elsewhere(candidate),
                _ => Ok(false),
            };
        };
        if self.replays(&candidate)? {
            return Ok(true);
        }
        if change == Change::Detail {
            return Ok(false);
        }
        for fate in ["keep=nothing", "keep=all"] {
            let Some(other) = with_last_fate(&candidate, fate) else { continue };
            let Some(other) = self.worth_trying(&other, false)? else { continue };
            if self.replays(&other)? {
                return Ok(true);
            }
        }
        if self.finds_crashes { self.attempt_elsewhere(&candidate) } else { Ok(false) }
    }

    /// Looks for another crash in the workload of a candidate.
    fn attempt_elsewhere(&mut self, candidate: &Case) -> Result<bool, Stop> {
        let Some(candidate) = self.worth_trying(candidate, true)? else { return Ok(false) };
        let threads = candidate.epochs.iter().any(|epoch| epoch.turns.is_some());
        if Counts::of(&candidate).crashes == 0 && !threads {
            return Ok(false);
        }
        let tried = self.trial.find_crash(&candidate);
        match self.spend(tried)? {
            // What was found with a crash is only believed when it is replayed from its text.
            Some(found) => match self.worth_trying(&found, false)? {
                Some(found) => self.replays(&found),
                None => Ok(false),
            },
            None => Ok(false),
        }
    }

    fn replays(&mut self, candidate: &Case) -> Result<bool, Stop> {
        let tried = self.trial.replay(candidate);
        let Some(failing) = self.spend(tried)? else { return Ok(false) };
        self.size = Size::of(&failing);
        self.best = failing;
        (self.progress)(&self.best, self.recoveries);
        Ok(true)
    }

    /// The candidate as its text says, unless it is not smaller, was tried before, or is not in
    /// the grammar.
    fn worth_trying(&mut self, candidate: &Case, elsewhere: bool) -> Result<Option<Case>, Stop> {
        self.tries += 1;
        if self.recoveries >= self.budget || self.tries >= self.budget.saturating_mul(TRIES) {
            return Err(Stop::Spent);
        }
        let candidate = trimmed(candidate.clone());
        if Size::of(&candidate) >= self.size {
            return Ok(None);
        }
        let text = candidate.to_string();
        if !self.tried.insert((Digest(hash(text.as_bytes())), elsewhere)) {
            return Ok(None);
        }
        let read = Case::parse_with_lines(&text).ok().map(|(read, _)| read);
        let read = read.filter(|read| self.trial.reads(read));
        // A word that is not read back as it was written makes another case.
        Ok(read.filter(|read| Size::of(read) == Size::of(&candidate)))
    }

    fn spend(&mut self, tried: Result<Tried, Problem>) -> Result<Option<Case>, Stop> {
        let tried = tried.map_err(Stop::Problem)?;
        self.recoveries += tried.recoveries.max(1);
        Ok(tried.failing)
    }
}

/// The case with this fate at its last crash, if that is a loss of power with another one.
fn with_last_fate(case: &Case, fate: &str) -> Option<Case> {
    let mut case = case.clone();
    let crash = case.epochs.iter_mut().rev().find_map(|epoch| epoch.crash.as_mut())?;
    if crash.kind != CrashKind::Power
        || (crash.fate.len() == 1 && crash.fate[0].bytes == fate.as_bytes())
    {
        return None;
    }
    crash.fate = words(fate).unwrap_or_default();
    Some(case)
}
