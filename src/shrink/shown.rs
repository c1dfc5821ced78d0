//! A finding as it is shown: with its smallest case, and with the source lines of its pieces.

use super::BUDGET;
use super::counts::Counts;
use super::trial::{self, Shrunk};
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
    /// Whether its verdict is that of the finding before it was shrunk.
    pub(crate) verdict_of_first: bool,
    /// The finding as it was found, if its smallest case may show another bug: both are kept.
    pub(crate) first: Option<Finding>,
    /// A notice if the finding replays differently, or could not be shrunk.
    pub(crate) notice: Option<String>,
}

impl Shown {
    /// A finding as it was found: there was no time to replay it.
    pub(crate) fn unreplayed(finding: Finding) -> Self {
        Self { finding, shrunk: None, verdict_of_first: false, first: None, notice: None }
    }
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
            Ok(shrunk) => return Ok(weighed(client, entry, finding, shrunk)),
            Err(problem) => why = Some(format!("this finding was not shrunk: {problem}")),
        }
    }
    let notice = name_lines(client, entry, &mut finding)?.or(why);
    Ok(Shown { finding, shrunk: None, verdict_of_first: false, first: None, notice })
}

/// The smallest finding with a verdict, if the first one has one: that of its own crash if this is
/// found again by an exploration, which weighs it.
fn weighed(client: &mut Client, entry: &Entry, first: Finding, shrunk: Shrunk) -> Shown {
    let text = shrunk.to_string();
    let mut finding = shrunk.finding;
    let own = first.verdict.as_ref().and_then(|_| trial::weigh(client, entry, &finding));
    let verdict_of_first = own.is_none() && first.verdict.is_some();
    let weighed = own.as_ref().unwrap_or(&first);
    finding.verdict.clone_from(&weighed.verdict);
    finding.relaxations.clone_from(&weighed.relaxations);
    let first = shrunk.elsewhere.then_some(first);
    Shown { finding, shrunk: Some(text), verdict_of_first, first, notice: None }
}
