//! A finding as it is shown: with its smallest case, and with the source lines of its pieces.

use super::counts::Counts;
use super::{BUDGET, trial};
use crate::campaign::client::Client;
use crate::campaign::entry::Entry;
use crate::campaign::problem::Problem;
use crate::campaign::replay::name_lines;
use crate::case::Case;
use crate::explore::finding::Finding;

/// A finding as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The finding, with its smallest case.
    pub(crate) finding: Finding,
    /// What was shrunk to what, if it was shrunk.
    pub(crate) shrunk: Option<String>,
    /// The finding as it was found, if its smallest case may show another bug: both are kept.
    pub(crate) first: Option<Finding>,
    /// A notice if the finding replays differently, or could not be shrunk.
    pub(crate) notice: Option<String>,
}

/// Shrinks a finding, unless `shrinks` is false, and names the source lines of its pieces.
/// `progress` sees the counts of the best case after each trial.
///
/// # Errors
/// The finding itself is not deterministic. A case that cannot be replayed is only a notice.
pub(crate) fn shown(
    client: &mut Client,
    entry: &Entry,
    mut finding: Finding,
    shrinks: bool,
    progress: &mut dyn FnMut(&Counts),
) -> Result<Shown, Problem> {
    let mut why = None;
    if shrinks {
        let mut better = |case: &Case, _| progress(&Counts::of(case));
        match trial::shrink(client, entry, &finding.case, BUDGET, &mut better) {
            Ok(shrunk) => {
                let text = shrunk.to_string();
                let smallest = told_as(&finding, shrunk.finding);
                let first = shrunk.elsewhere.then_some(finding);
                return Ok(Shown { finding: smallest, shrunk: Some(text), first, notice: None });
            }
            Err(problem) => why = Some(format!("this finding was not shrunk: {problem}")),
        }
    }
    let notice = name_lines(client, entry, &mut finding)?.or(why);
    Ok(Shown { finding, shrunk: None, first: None, notice })
}

/// The smallest finding with what only the exploration that found the first one knows: the verdict
/// over the profiles, and the surprises that it needs.
fn told_as(first: &Finding, smallest: Finding) -> Finding {
    Finding { relaxations: first.relaxations.clone(), verdict: first.verdict.clone(), ..smallest }
}
