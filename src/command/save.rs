//! Saves the case of a finding.

use std::path::PathBuf;

use crate::campaign::problem::Problem;
use crate::campaign::target;
use crate::explore::finding::Finding;

/// Saves the case of a finding; returns the path.
pub(super) fn save(finding: &Finding) -> Result<PathBuf, Problem> {
    target::write(&name(finding), &finding.case.to_string())
}

/// Saves the case of a finding; returns the path, or the one that it would have.
pub(super) fn save_or_name(finding: &Finding) -> (PathBuf, Result<(), Problem>) {
    match save(finding) {
        Ok(path) => (path, Ok(())),
        Err(problem) => (target::folder().join(name(finding)), Err(problem)),
    }
}

fn name(finding: &Finding) -> String {
    let (sim, class) = (&finding.case.sim, finding.violation.class());
    format!("{sim}-{class}-{}.case", finding.digest)
}
