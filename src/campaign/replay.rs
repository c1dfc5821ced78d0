//! Replays cases, and compares the outcomes with what they expect.

use std::fmt;
use std::path::PathBuf;

use super::client::{Client, JobResult};
use super::entry::Entry;
use super::jobs::job;
use super::problem::Problem;
use crate::case::{Case, Expect};
use crate::explore::finding::Finding;
use crate::explore::job::{Budget, Job, Kind, Task};
use crate::explore::message::{CasePart, Refusal};
use crate::process::world::Stacks;

/// How a case is replayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayOptions {
    /// Return the log of each epoch.
    pub(crate) trace: bool,
    /// Recover in the explorer itself, without limits.
    pub(crate) debug: bool,
    /// Write the files of the last crash state into this directory.
    pub(crate) keep: Option<PathBuf>,
}

/// Replays a case.
///
/// # Errors
/// See [`Problem`]; a refusal names the part of the case that is wrong.
pub(crate) fn replay(
    client: &mut Client,
    entry: &Entry,
    case: &Case,
    options: ReplayOptions,
) -> Result<JobResult, Problem> {
    for (number, epoch) in case.epochs.iter().enumerate() {
        (entry.knows)(epoch).map_err(|(step, error)| {
            let part = Some(CasePart::Step(number, step));
            let (column, why) = (Some(error.column), error.message);
            Problem::Refused(Refusal { part, column, why })
        })?;
    }
    let task = Task::Replay { trace: options.trace, debug: options.debug };
    let job = job(case.clone(), task, Budget::default());
    let job = Job { stacks: Stacks::All, keep: options.keep, ..job };
    client.run(entry, &job, &mut |_| {})
}

/// How the outcome of a replay differs from what its case expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surprise(Box<Difference>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Difference {
    expected: Expect,
    /// The violation that was found, and its message.
    found: Option<(Kind, String)>,
}

impl fmt::Display for Surprise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { expected, found } = &*self.0;
        match (expected, found) {
            (Expect::Pass, Some((kind, message))) => {
                write!(f, "expected no violation, found {}: {message}", kind.class)
            }
            (Expect::Violation(..), Some((kind, _))) => {
                write!(f, "expected {expected}, found {} ({})", kind.class, kind.signature)
            }
            (Expect::Violation(class, _), None) => {
                write!(f, "expected {class}, found no violation")
            }
            (Expect::Pass, None) => f.write_str("no violation, as expected"),
        }
    }
}

impl std::error::Error for Surprise {}

/// Compares the outcome of a replay with what its case expects.
///
/// # Errors
/// How they differ.
pub(crate) fn as_expected(case: &Case, result: &JobResult) -> Result<(), Surprise> {
    let found = result.findings.first();
    let same = match (&case.expect, found) {
        (Expect::Pass, found) => found.is_none(),
        (Expect::Violation(..), None) => false,
        (Expect::Violation(class, signature), Some(finding)) => {
            let of = &finding.violation.signature;
            *class == finding.violation.class()
                && signature.as_ref().is_none_or(|signature| signature == of)
        }
    };
    if same {
        return Ok(());
    }
    let found = found.map(|finding| (finding.kind(), finding.violation.message.clone()));
    Err(Surprise(Box::new(Difference { expected: case.expect.clone(), found })))
}

/// Replays a finding with the stacks of its calls, to name the source line that wrote each of its
/// lost and torn pieces: recording the stacks in every run would cost more than the runs. Returns
/// a notice if the replay does not show the finding again.
///
/// # Errors
/// See [`Problem`]. A case that cannot be replayed is only a notice.
pub(crate) fn name_lines(
    client: &mut Client,
    entry: &Entry,
    finding: &mut Finding,
) -> Result<Option<String>, Problem> {
    if finding.pieces.losses.iter().all(|piece| piece.line.is_some()) {
        return Ok(None);
    }
    let differs =
        |why: &str| Ok(Some(format!("the case of this finding replays differently: {why}")));
    let result = match replay(client, entry, &finding.case, ReplayOptions::default()) {
        Ok(result) => result,
        Err(problem @ Problem::NotDeterministic(_)) => return Err(problem),
        Err(problem) => return differs(&problem.to_string()),
    };
    if let Err(surprise) = as_expected(&finding.case, &result) {
        return differs(&surprise.to_string());
    }
    let again = result.findings.first().map_or(&[][..], |again| &again.pieces.losses);
    for (piece, again) in finding.pieces.losses.iter_mut().zip(again) {
        if (&piece.name, &piece.kept) == (&again.name, &again.kept) {
            piece.line.clone_from(&again.line);
        }
    }
    Ok(None)
}
