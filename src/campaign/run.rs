//! Runs the workloads of a part, and collects their results.

use super::client::{Client, JobResult};
use super::jobs::{FAILING, Part};
use super::problem::Problem;
use crate::base::seed::Seed;
use crate::explore::finding::Finding;
use crate::explore::job::{Job, Kind};
use crate::explore::tally::Tally;

/// The results of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartResult {
    /// The counts over all workloads.
    pub(crate) tally: Tally,
    /// The findings, one of each kind, in the order in which they were found.
    pub(crate) findings: Vec<Finding>,
    /// Notices for the user, each once.
    pub(crate) notices: Vec<String>,
    /// How many workloads were run.
    pub(crate) workloads: u64,
    /// Whether it was ended before its end: these are the results so far.
    pub(crate) interrupted: bool,
}

/// Runs a part; `progress` sees the number of workloads done and the counts so far.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn run(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[Kind],
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<PartResult, Problem> {
    let mut result = PartResult::default();
    for number in 0..part.workloads {
        let job = Job { known: known.to_vec(), ..part.job(seed, number) };
        result.run(client, part, &job, number, progress)?;
        if result.interrupted || (part.budget.stop && !result.findings.is_empty()) {
            break;
        }
    }
    Ok(result)
}

/// Fails every call of some short workloads of a part, and of a recovery after each; `progress` as
/// in [`run`].
///
/// # Errors
/// See [`Problem`].
pub(crate) fn fail_calls(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[Kind],
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<PartResult, Problem> {
    let mut result = PartResult::default();
    for (number, steps) in (0..).zip(FAILING) {
        let job = part.failing_job_of_run(seed, number, steps);
        let job = Job { known: known.to_vec(), ..job };
        result.run(client, part, &job, number, progress)?;
        if result.interrupted {
            break;
        }
    }
    Ok(result)
}

impl PartResult {
    /// Carries out the job of workload `number` and adds its results.
    pub(crate) fn run(
        &mut self,
        client: &mut Client,
        part: &Part,
        job: &Job,
        number: u64,
        progress: &mut dyn FnMut(u64, &Tally),
    ) -> Result<(), Problem> {
        let before = self.tally;
        let result = client.run(&part.entry, job, &mut |tally| {
            let mut sum = before;
            sum.add(tally);
            progress(number, &sum);
        })?;
        self.add(result);
        progress(number + 1, &self.tally);
        Ok(())
    }

    fn add(&mut self, result: JobResult) {
        self.workloads += u64::from(!result.interrupted);
        self.interrupted |= result.interrupted;
        self.tally.add(&result.tally);
        for finding in result.findings {
            let same = |seen: &Finding| seen.violation.signature == finding.violation.signature;
            if !self.findings.iter().any(same) {
                self.findings.push(finding);
            }
        }
        for notice in result.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }
}
