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
/// How many bytes of candidates are looked at for each recovery of the budget.
const BYTES: u64 = 512 << 10;
/// The recoveries that a child counts as that spun until its CPU time was used up: it costs
/// seconds, and others cost milliseconds.
const STUCK: u64 = 100;
/// A run of this many steps counts as one recovery more.
const LONG: u64 = 1000;

/// How hard a crash is looked for in a candidate whose own crash does not show the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Not at all.
    Still,
    /// At the same call of the same step.
    Near,
    /// Everywhere.
    Anywhere,
    /// Everywhere, in more states and schedules.
    Thorough,
}

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
    fn find_crash(&mut self, candidate: &Case, effort: Effort) -> Result<Tried, Problem>;
}

/// The result of a trial.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// The case that fails in the same way, if one does.
    pub(crate) failing: Option<Case>,
    /// The recoveries that were carried out.
    pub(crate) recoveries: u64,
    /// The runs and recoveries that used up their CPU time.
    pub(crate) stuck: u64,
}

impl Tried {
    /// With the cost of an earlier trial.
    pub(super) fn after(self, earlier: &Self) -> Self {
        Self {
            failing: self.failing,
            recoveries: self.recoveries + earlier.recoveries,
            stuck: self.stuck + earlier.stuck,
        }
    }
}

/// Why a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Each single step, fault and crash was left out, and the failure was not found without it.
    Minimal,
    /// The budget was spent before.
    Spent,
    /// The trial could not go on.
    Stopped(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minimal => f.write_str("each of these was needed"),
            Self::Spent => f.write_str("the budget was spent"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
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
    /// The candidates that were tried, and how hard a crash was looked for.
    tried: BTreeSet<(Digest, Effort)>,
    pub(super) effort: Effort,
    /// Whether no step, fault or crash of the best case can be left out.
    pub(super) minimal: bool,
    recoveries: u64,
    budget: u64,
    tries: u64,
    bytes: u64,
}

impl<'t> Search<'t> {
    /// A search from a case that fails; `progress` sees the best case after each trial, and the
    /// recoveries so far.
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
            effort: Effort::Still,
            minimal: false,
            recoveries: 0,
            budget,
            tries: 0,
            bytes: 0,
        }
    }

    /// Searches until no pass finds anything more, the budget is spent, or the trial cannot go on.
    pub(crate) fn run(&mut self) -> End {
        match self.passes() {
            Err(Stop::Problem(problem)) => End::Stopped(problem.to_string()),
            Ok(()) | Err(Stop::Spent) if self.minimal => End::Minimal,
            Ok(()) | Err(Stop::Spent) => End::Spent,
        }
    }

    /// Whether the best case is so small that a thorough search is not worth its time.
    pub(super) fn is_small(&self) -> bool {
        self.size.is_small()
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
        if self.attempt_still(candidate, change)? {
            return Ok(true);
        }
        if change == Change::Detail || self.effort == Effort::Still {
            return Ok(false);
        }
        let Some(candidate) = self.worth_trying(candidate, self.effort)? else { return Ok(false) };
        let threads = candidate.epochs.iter().any(|epoch| epoch.turns.is_some());
        if Counts::of(&candidate).crashes == 0 && !threads {
            return Ok(false);
        }
        let tried = self.trial.find_crash(&candidate, self.effort);
        let Some(found) = self.spend(&candidate, tried)? else { return Ok(false) };
        // What was found with a crash is only believed when it is replayed from its text.
        match self.worth_trying(&found, Effort::Still)? {
            Some(found) => self.replays(&found),
            None => Ok(false),
        }
    }

    /// Tries a candidate with its own crash; if other steps lead to that, with simple fates too.
    fn attempt_still(&mut self, candidate: &Case, change: Change) -> Result<bool, Stop> {
        let Some(candidate) = self.worth_trying(candidate, Effort::Still)? else {
            return Ok(false);
        };
        if self.replays(&candidate)? {
            return Ok(true);
        }
        if change == Change::Detail {
            return Ok(false);
        }
        let fates = ["keep=nothing", "keep=all"].map(|fate| with_last_fate(&candidate, fate));
        for other in fates.into_iter().chain([renumbered(&candidate)]).flatten() {
            let Some(other) = self.worth_trying(&other, Effort::Still)? else { continue };
            if self.replays(&other)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn replays(&mut self, candidate: &Case) -> Result<bool, Stop> {
        let tried = self.trial.replay(candidate);
        let Some(failing) = self.spend(candidate, tried)? else { return Ok(false) };
        self.size = Size::of(&failing);
        self.best = failing;
        self.minimal = false;
        (self.progress)(&self.best, self.recoveries);
        Ok(true)
    }

    /// The candidate as its text says, unless it is not smaller, was tried before with this effort,
    /// or is not in the grammar.
    fn worth_trying(&mut self, candidate: &Case, effort: Effort) -> Result<Option<Case>, Stop> {
        let candidate = trimmed(candidate.clone());
        let size = Size::of(&candidate);
        self.tries += 1;
        self.bytes += size.bytes() as u64;
        if self.recoveries >= self.budget
            || self.tries >= self.budget.saturating_mul(TRIES)
            || self.bytes >= self.budget.saturating_mul(BYTES)
        {
            return Err(Stop::Spent);
        }
        if size >= self.size {
            return Ok(None);
        }
        let text = candidate.to_string();
        if !self.tried.insert((Digest(hash(text.as_bytes())), effort)) {
            return Ok(None);
        }
        let read = Case::parse_with_lines(&text).ok().map(|(read, _)| read);
        let read = read.filter(|read| self.trial.reads(read));
        // A word that is not read back as it was written makes another case.
        Ok(read.filter(|read| Size::of(read) == size))
    }

    fn spend(
        &mut self,
        candidate: &Case,
        tried: Result<Tried, Problem>,
    ) -> Result<Option<Case>, Stop> {
        let tried = tried.map_err(Stop::Problem)?;
        let steps = Counts::of(candidate).steps as u64;
        self.recoveries += tried.recoveries.max(1) + tried.stuck * STUCK + steps / LONG;
        (self.progress)(&self.best, self.recoveries);
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

/// The case whose last crash is in the file with the number before, if its file has a number: an
/// engine that was opened once less has made one file less.
fn renumbered(case: &Case) -> Option<Case> {
    let mut case = case.clone();
    let crash = case.epochs.iter_mut().rev().find_map(|epoch| epoch.crash.as_mut())?;
    let (call, path) = crash.within.as_deref()?.split_once(':')?;
    let stem = path.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (start, number) = stem.split_at(stem.len() - digits);
    let before = number.parse::<u64>().ok()?.checked_sub(1)?;
    let other = format!("{start}{before:0digits$}{}", &path[stem.len()..]);
    for word in &mut crash.fate {
        let text = word.text().replace(path, &other);
        word.bytes = text.into_bytes();
    }
    crash.within = Some(format!("{call}:{other}"));
    Some(case)
}
