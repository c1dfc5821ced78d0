//! The parts of a run: which sims on which profiles, and how much of each.

use super::args::RunArgs;
use crate::campaign::corpus;
use crate::campaign::entry::Entry;
use crate::campaign::jobs::Part;
use crate::campaign::problem::Problem;
use crate::campaign::registry::Registry;
use crate::explore::job::{Budget, Kind};

/// What `run` does with a sim on one profile, when `sharing` sims share its time.
pub(super) fn part(entry: Entry, profile: String, sharing: usize) -> Part {
    let budget = Budget::of_run(entry.recoveries);
    let workloads = (entry.workloads / (sharing.max(1) as u64)).max(1);
    Part { entry, profile, workloads, budget }
}

/// The profiles that a sim is run on.
pub(super) fn profiles(entry: &Entry, args: &RunArgs) -> Result<Vec<String>, Problem> {
    Ok(match &args.profile {
        Some(name) => {
            entry.profile(name).map_err(Problem::environment)?;
            vec![name.clone()]
        }
        None => entry.profiles.iter().map(|profile| profile.name.to_owned()).collect(),
    })
}

/// A part, and the known findings of its sim.
pub(super) struct Planned {
    pub(super) part: Part,
    pub(super) known: Vec<Kind>,
}

/// The parts of a run in the order of its table, when `sharing` sims share its time.
pub(super) fn planned(
    registry: &Registry,
    sims: &[Entry],
    args: &RunArgs,
    sharing: usize,
) -> Result<Vec<Planned>, Problem> {
    let mut planned = Vec::new();
    for entry in sims {
        let known = corpus::known(&corpus::corpus(&registry.corpus, entry.name)?);
        for profile in profiles(entry, args)? {
            planned.push(Planned { part: part(*entry, profile, sharing), known: known.clone() });
        }
    }
    Ok(planned)
}
