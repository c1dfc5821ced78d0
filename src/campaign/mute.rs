//! Mutes sync call sites: a site that does nothing must break a promise, or is not needed.

use std::collections::BTreeMap;

use super::client::Client;
use super::jobs::Part;
use super::problem::Problem;
use super::run::PartResult;
use crate::base::seed::Seed;
use crate::explore::job::{Job, Kind, Task};
use crate::explore::message::SyncSite;
use crate::explore::tally::Tally;
use crate::process::world::Stacks;

/// A sync call site, and the workloads that reach it: in the others there is nothing to mute.
#[derive(Clone, Debug)]
pub(crate) struct ReachedSite {
    /// The site.
    pub(crate) sync: SyncSite,
    /// Numbers of workloads.
    pub(crate) workloads: Vec<u64>,
}

/// The sync call sites that the workloads of a part reach, in order.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn sync_sites(
    client: &mut Client,
    part: &Part,
    seed: Seed,
) -> Result<Vec<ReachedSite>, Problem> {
    let mut sites: BTreeMap<SyncSite, Vec<u64>> = BTreeMap::new();
    for number in 0..part.workloads {
        let (task, stacks) = (Task::Record, Stacks::OfSyncs);
        let job = Job { task, stacks, ..part.job(seed, number) };
        for site in client.run(&part.entry, &job, &mut |_| {})?.sites {
            sites.entry(site).or_default().push(number);
        }
    }
    let reached = |(sync, workloads)| ReachedSite { sync, workloads };
    Ok(sites.into_iter().map(reached).collect())
}

/// Runs a part with one sync call site muted, to the first violation; `progress` sees the number of
/// workloads done. Known findings say nothing about a site and do not count.
///
/// # Errors
/// See [`Problem`].
pub(crate) fn mute(
    client: &mut Client,
    part: &Part,
    seed: Seed,
    known: &[Kind],
    site: &ReachedSite,
    progress: &mut dyn FnMut(u64, &Tally),
) -> Result<PartResult, Problem> {
    let mut result = PartResult::default();
    for (done, number) in (0..).zip(&site.workloads) {
        let mut job = part.job(seed, *number);
        job.known = known.to_vec();
        job.muted = Some(site.sync.site.clone());
        job.stacks = Stacks::OfSyncs;
        job.budget.stop = true;
        result.run(client, part, &job, done, progress)?;
        if !result.findings.is_empty() {
            break;
        }
    }
    Ok(result)
}
