//! Saves the case of a finding.

use std::path::PathBuf;

use crate::campaign::problem::Problem;
use crate::campaign::target;
use crate::explore::finding::Finding;

/// Saves the case of a finding; returns the path.
pub(super) fn save(finding: &Finding) -> Result<PathBuf, Problem> {
    let (sim, class) = (&finding.case.sim, finding.violation.class());
    let name = format!("{sim}-{class}-{}.case", finding.digest);
    target::write(&name, &finding.case.to_string())
}
