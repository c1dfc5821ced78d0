//! Shrinks a failure by replays: the same sim, the same class, the same broken promise.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::counts::Counts;
use super::search::{Effort, End, Search, Trial, Tried};
use crate::campaign::client::{Client, JobResult};
use crate::campaign::entry::Entry;
use crate::campaign::jobs::job;
use crate::campaign::problem::Problem;
use crate::campaign::replay::{ReplayOptions, replay};
use crate::case::{Case, Epoch, Expect, Position, Step};
use crate::explore::finding::Finding;
use crate::explore::job::{Budget, Job, Kind, Near, Task};
use crate::explore::site::SourceLine;
use crate::explore::tally::Tally;

/// The recoveries on each profile that weigh the smallest case.
const VERDICT: u64 = 64;
/// The recoveries of one search for a crash near the old one.
const NEAR: u64 = 48;
/// The recoveries of one search everywhere.
const ANYWHERE: u64 = 96;
/// The recoveries of a thorough search.
const THOROUGH: u64 = 384;
/// The schedules of one search, if the engine has threads; of a thorough one, this many times more.
const SCHEDULES: u64 = 16;
const MORE: u64 = 3;
/// The schedules of one search for a failure without a crash, which costs a run each; harder
/// searches try this many times more each.
const RUNS: u64 = 8;
const MORE_RUNS: u64 = 4;

/// A failure with its smallest case.
#[derive(Clone, Debug)]
pub(crate) struct Shrunk {
    /// The failure, as the replay of the smallest case shows it.
    pub(crate) finding: Finding,
    /// The counts of the first case.
    pub(crate) before: Counts,
    /// The recoveries that it took.
    pub(crate) recoveries: u64,
    /// Why the search ended.
    pub(crate) end: End,
    /// Whether the pieces that decide the smallest case were written elsewhere than those of the
    /// first: it may be another bug.
    pub(crate) elsewhere: bool,
}

/// What was shrunk to what.
impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = Counts::of(&self.finding.case);
        write!(f, "{} -> {after}; {} recoveries; {}", self.before, self.recoveries, self.end)
    }
}

/// Shrinks a case that fails as it expects, with a budget of recoveries. `progress` sees the best
/// case after each trial, and the recoveries so far.
///
/// # Errors
/// The case does not fail, or fails in another way; see [`Problem`].
pub(crate) fn shrink(
    client: &mut Client,
    entry: &Entry,
    case: &Case,
    budget: u64,
    progress: &mut dyn FnMut(&Case, u64),
) -> Result<Shrunk, Problem> {
    let first = replay(client, entry, case, ReplayOptions::default())?;
    let first = failure(case, &first)?;
    let sites = sites(&first);
    let mut replays = Replays { client, entry, kind: first.kind() };
    let mut search = Search::new(&mut replays, case.clone(), budget, progress);
    let end = search.run();
    let (best, recoveries) = (search.best().clone(), search.recoveries());
    let last = replay(client, entry, &best, ReplayOptions::default())?;
    let finding = failure(&best, &last)?;
    let elsewhere = is_elsewhere(&sites, &self::sites(&finding));
    Ok(Shrunk { finding, before: Counts::of(case), recoveries, end, elsewhere })
}

/// Explores the crash of a finding that has one, to have it weighed: the finding of the same kind
/// and crash point, with a verdict. None if it cannot be had.
pub(super) fn weigh(client: &mut Client, entry: &Entry, finding: &Finding) -> Option<Finding> {
    if Counts::of(&finding.case).crashes != 1 {
        return None;
    }
    let mut job = exploration(&finding.case, Effort::Near);
    job.budget = Budget { verdict: VERDICT, ..job.budget };
    if let (Some(Near::Call { effect, .. }), Some(crash)) = (&mut job.near, &finding.crash) {
        *effect = Some(crash.position.effect);
    }
    let position = |finding: &Finding| finding.crash.as_ref().map(|crash| crash.position);
    let result = client.run(entry, &job, &mut |_| {}).ok()?;
    result.findings.into_iter().find(|found| {
        found.verdict.is_some()
            && found.kind() == finding.kind()
            && position(found) == position(finding)
    })
}

/// The finding of a replay, if it is the expected one.
fn failure(case: &Case, result: &JobResult) -> Result<Finding, Problem> {
    crate::campaign::replay::as_expected(case, result).map_err(Problem::environment)?;
    result
        .findings
        .first()
        .cloned()
        .ok_or_else(|| Problem::environment("it shows no violation, so there is nothing to shrink"))
}

/// The source lines that wrote the pieces which a crash did not keep.
fn sites(finding: &Finding) -> BTreeSet<SourceLine> {
    finding.pieces.losses.iter().filter_map(|piece| piece.line.clone()).collect()
}

/// Whether a crash that loses what these lines wrote may show another bug than the first one.
fn is_elsewhere(first: &BTreeSet<SourceLine>, now: &BTreeSet<SourceLine>) -> bool {
    !now.is_empty() && now.is_disjoint(first)
}

/// Replays candidates.
struct Replays<'c> {
    client: &'c mut Client,
    entry: &'c Entry,
    kind: Kind,
}

impl Trial for Replays<'_> {
    fn reads(&self, candidate: &Case) -> bool {
        candidate.epochs.iter().all(|epoch| (self.entry.knows)(epoch).is_ok())
    }

    fn replay(&mut self, candidate: &Case) -> Result<Tried, Problem> {
        // The source lines are for the report: to find them costs more than the recovery.
        let task = Task::Replay { trace: false, debug: false };
        let job = job(candidate.clone(), task, Budget::default());
        let Some(result) = possible(self.client.run(self.entry, &job, &mut |_| {}))? else {
            return Ok(Tried::default());
        };
        let same = result.findings.first().is_some_and(|finding| finding.kind() == self.kind);
        let failing = same.then(|| candidate.clone());
        let Tally { recoveries, stuck, .. } = result.tally;
        Ok(Tried { failing, recoveries, stuck })
    }

    fn find_crash(&mut self, candidate: &Case, effort: Effort) -> Result<Tried, Problem> {
        let mut job = exploration(candidate, effort);
        let crashes = Counts::of(candidate).crashes;
        if crashes > 0 {
            let tried = self.explore(candidate, &mut job)?;
            if tried.failing.is_some() || effort == Effort::Near {
                return Ok(tried);
            }
            let threads = job.case.epochs.iter_mut().find_map(|epoch| epoch.turns.take());
            return match threads {
                // Without a step, the decisions of the others have other numbers.
                Some(_) => Ok(self.explore(candidate, &mut job)?.after(&tried)),
                None => Ok(tried),
            };
        }
        job.case.epochs.iter_mut().for_each(|epoch| epoch.turns = None);
        self.explore(candidate, &mut job)
    }
}

impl Replays<'_> {
    /// Explores until the first failure; if that is another one, as far as the budget goes.
    fn explore(&mut self, candidate: &Case, job: &mut Job) -> Result<Tried, Problem> {
        let mut tried = Tried::default();
        for stop in [true, false] {
            job.budget.stop = stop;
            let Some(result) = possible(self.client.run(self.entry, job, &mut |_| {}))? else {
                break;
            };
            let found = !result.findings.is_empty();
            let same = result.findings.into_iter().find(|finding| finding.kind() == self.kind);
            let failing = same.map(|finding| retold(candidate, finding.case));
            let Tally { recoveries, schedules, stuck, .. } = result.tally;
            let runs = recoveries + schedules.saturating_sub(1);
            tried = Tried { failing, recoveries: runs, stuck }.after(&tried);
            if tried.failing.is_some() || !found {
                break;
            }
        }
        Ok(tried)
    }
}

/// The exploration of a candidate's workload: with crashes inside recoveries where it has more than
/// one, and without any where it has none.
fn exploration(candidate: &Case, effort: Effort) -> Job {
    let crashes = Counts::of(candidate).crashes;
    let (recoveries, exhaustive, schedules, runs) = match effort {
        Effort::Still | Effort::Near => (NEAR, NEAR, 1, RUNS),
        Effort::Anywhere => (ANYWHERE, ANYWHERE / 6, SCHEDULES, RUNS * MORE_RUNS),
        Effort::Thorough => {
            (THOROUGH, THOROUGH / 6, SCHEDULES * MORE, RUNS * MORE_RUNS * MORE_RUNS)
        }
    };
    let budget = Budget {
        recoveries,
        exhaustive,
        nested: if crashes > 1 { recoveries / 2 } else { 0 },
        schedules: if crashes > 0 { schedules } else { runs },
        stop: true,
        recheck: 0,
        verdict: 0,
        even: false,
    };
    let near = match effort {
        _ if crashes == 0 => Some(Near::Nothing),
        Effort::Near => near(candidate),
        _ => None,
    };
    let mut case = Case { expect: Expect::Pass, known: None, ..candidate.clone() };
    let continuation = case.epochs.get(1).map(|epoch| epoch.steps.clone()).unwrap_or_default();
    case.epochs.truncate(1);
    let mut first = case.epochs.pop().unwrap_or_default();
    if matches!(near, Some(Near::Call { returned: true, .. })) {
        // After its last step a run closes the store; a case leaves that out as it does this step.
        first.steps.push(Step::Sleep(Duration::ZERO));
    }
    case.epochs.push(Epoch { crash: None, ..first });
    Job { continuation, near, ..job(case, Task::Explore, budget) }
}

/// Where the first crash of a candidate is.
fn near(candidate: &Case) -> Option<Near> {
    let crash = candidate.epochs.first()?.crash.as_ref()?;
    let Position { step, returned, .. } = crash.position;
    Some(Near::Call { step, returned, effect: None, within: crash.within.clone() })
}

/// The case of an exploration with what the candidate's author wrote about it.
fn retold(candidate: &Case, found: Case) -> Case {
    Case {
        story: candidate.story.clone(),
        expect: candidate.expect.clone(),
        known: candidate.known.clone(),
        ..found
    }
}

/// A candidate that cannot be carried out is not a failure of the search.
fn possible(result: Result<JobResult, Problem>) -> Result<Option<JobResult>, Problem> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(Problem::Refused(_)) => Ok(None),
        Err(problem) => Err(problem),
    }
}
