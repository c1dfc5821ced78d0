//! Draws workloads until a budget of recoveries is spent.

use std::collections::BTreeMap;

use super::client::Client;
use super::jobs::{Part, size};
use super::problem::Problem;
use super::run::PartResult;
use crate::base::seed::Seed;
use crate::explore::job::{Budget, Job};

/// The most recoveries for one workload.
const WORKLOAD: u64 = 240;
/// The most of them for crashes inside its recoveries.
const NESTED: u64 = 80;
/// The most workloads in place of one that would use its share.
const WORKLOADS: u64 = 16;
/// The most steps of the workloads whose calls are failed.
const FAILING: [usize; 6] = [8, 64, 64, 16, 64, 64];
/// Recoveries of a budget for each failed call.
const FAULTS: u64 = 6;
/// Recoveries of a budget for each workload that is run without a crash.
const UNCUT: u64 = 20;
/// The most calls in place of one recovery.
const CALLS: u64 = 2_000;
/// The most workloads with the same steps: only their schedules and their samples differ.
const REPEATS: u64 = 6;
/// After this many workloads the length of the next ones is reconsidered.
const ROUND: u64 = 6;
/// The most steps after a recovery: a put and a sync are to be among them.
const CONTINUATION: usize = 8;
/// Workloads before this one are short: what needs few steps is reported with few.
const FIRST: u64 = 3;
/// The steps of the shortest of the long workloads.
const LONG: usize = 64;
/// The most doublings of the length.
const DOUBLINGS: u32 = 3;

/// Why no more workloads were drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A violation was found.
    Found,
    /// The recoveries are spent.
    #[default]
    Spent,
    /// The workloads left too few crash states.
    Workloads,
    /// The engine had made too many calls.
    Calls,
}

/// Runs workloads of a part without a crash, one for every [`UNCUT`] recoveries of a budget, until
/// a violation is found.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn uncut(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    budget: u64,
) -> Result<PartResult, Problem> {
    let mut result = PartResult::default();
    let mut drawn: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..budget.div_ceil(UNCUT) {
        let job = part.uncut_job(seed, number);
        if repeats(&mut drawn, &job) > REPEATS {
            continue;
        }
        result.run(client, part, &job, number, &mut |_, _| {})?;
        if !result.findings.is_empty() {
            break;
        }
    }
    Ok(result)
}

/// Fails calls of some short workloads of a part and of recoveries, a sample of one for every
/// [`FAULTS`] recoveries of a budget.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn failing(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    budget: u64,
) -> Result<PartResult, Problem> {
    let recoveries = (budget / FAULTS / FAILING.len() as u64).max(1);
    let part = Part { budget: Budget { recoveries, ..part.budget }, ..part.clone() };
    let mut result = PartResult::default();
    for (number, steps) in (0..).zip(FAILING) {
        let job = part.failing_job_of_run(seed, number, steps);
        result.run(client, &part, &job, number, &mut |_, _| {})?;
        if !result.findings.is_empty() {
            break;
        }
    }
    Ok(result)
}

/// How often a workload with the steps of this job was drawn by now.
fn repeats(drawn: &mut BTreeMap<String, u64>, job: &Job) -> u64 {
    let times = drawn.entry(format!("{:?}", job.case.epochs)).or_default();
    *times += 1;
    *times
}

/// Runs workloads of a part until its violation is found or about `budget` recoveries are carried
/// out. Two workloads in three are long; where they leave few crash states, half of these are
/// longer still. The part's own number of workloads does not matter.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn spend(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    budget: u64,
) -> Result<(PartResult, Ended), Problem> {
    let mut result = PartResult::default();
    let most = budget.div_ceil(WORKLOAD).saturating_mul(WORKLOADS);
    let mut doublings = 0;
    let mut drawn: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..most {
        let spent = result.tally.recoveries;
        if spent >= budget {
            return Ok((result, Ended::Spent));
        }
        if result.tally.calls > budget.saturating_mul(CALLS) {
            return Ok((result, Ended::Calls));
        }
        if number > 0 && number.is_multiple_of(ROUND) && spent < number * WORKLOAD / 2 {
            doublings = (doublings + 1).min(DOUBLINGS);
        }
        let seed = seed.derive(part.entry.name, number);
        let size = match number % 3 {
            _ if number < FIRST => size(seed),
            0 => size(seed),
            1 => LONG << doublings,
            _ => LONG << (number / 3 % 4),
        };
        let job = part.job_of(seed, size);
        if repeats(&mut drawn, &job) > REPEATS {
            continue;
        }
        let recoveries = WORKLOAD.min(budget - spent);
        let budget = Budget { recoveries, nested: NESTED, even: true, ..part.budget };
        let mut job = Job { budget, ..job };
        if number >= FIRST {
            job.continuation = part.continuation(seed, CONTINUATION);
        }
        result.run(client, part, &job, number, &mut |_, _| {})?;
        if !result.findings.is_empty() {
            return Ok((result, Ended::Found));
        }
    }
    Ok((result, Ended::Workloads))
}
