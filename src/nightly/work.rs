//! Carries out one cell, and a few of them twice.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::Campaign;
use super::cell::{Cell, Counts, Lane, Met, Outcome, Shown, Species, seed};
use super::universe;
use crate::base::digest::{Digest, Digester};
use crate::campaign::client::{Client, JobResult};
use crate::campaign::entry::Entry;
use crate::campaign::jobs::{FAILING, Part};
use crate::campaign::problem::Problem;
use crate::campaign::replay::name_lines;
use crate::explore::activity::Activity;
use crate::explore::job::{Budget, Job, Kind};
use crate::explore::tally::Tally;
use crate::report::text::described;

/// The schedules in which the workload of a cell in the lane of threads is recorded.
const SCHEDULES: u64 = 64;
/// One cell in this many is carried out twice.
const TWICE: u64 = 64;

/// What is known about a sim of a campaign.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The sim.
    pub(crate) entry: Entry,
    /// Its known findings.
    pub(crate) known: Vec<Kind>,
}

/// Carries out a cell; `None` if it was interrupted.
///
/// # Errors
/// The machine does not allow it.
pub(crate) fn work(
    client: &mut Client,
    subject: &Subject,
    campaign: &Campaign,
    cell: &Cell,
    progress: &mut dyn FnMut(&Tally),
) -> Result<Option<(Outcome, Met)>, Problem> {
    let Some(first) = once(client, subject, campaign, cell, progress)? else { return Ok(None) };
    if !is_twice(campaign, cell) || first.0.refused.is_some() || first.0.differs.is_some() {
        return Ok(Some(first));
    }
    let Some(again) = once(client, subject, campaign, cell, progress)? else { return Ok(None) };
    Ok(Some(compared(first, &again)))
}

/// The first of two outcomes, with how the other one differed.
fn compared((mut outcome, met): (Outcome, Met), (again, other): &(Outcome, Met)) -> (Outcome, Met) {
    if outcome != *again || met.cases != other.cases || met.species != other.species {
        let text = |outcome: &Outcome| serde_json::to_string(outcome).unwrap_or_default();
        outcome.differs = Some(format!("first: {}\nagain: {}", text(&outcome), text(again)));
    }
    (outcome, met)
}

/// Whether a cell is one of those that are carried out twice.
pub(crate) fn is_twice(campaign: &Campaign, cell: &Cell) -> bool {
    let mut digester = Digester::default();
    digester.add(b"twice");
    for text in [&campaign.name, &cell.sim, &cell.profile] {
        digester.add(text.as_bytes());
    }
    digester.add_number(cell.counter);
    digester.finish().0.is_multiple_of(TWICE)
}

/// The job of a cell.
fn job(subject: &Subject, campaign: &Campaign, cell: &Cell) -> Job {
    let entry = subject.entry;
    let mut budget = Budget::of_run(entry.recoveries);
    if cell.lane == Lane::Threads {
        budget.schedules = SCHEDULES;
    }
    let part = Part { entry, profile: cell.profile.clone(), workloads: 1, budget };
    let seed = seed(&campaign.name, &cell.sim, cell.counter);
    let job = match cell.lane {
        Lane::FailedCalls => {
            part.failing_job(seed, FAILING[(seed.0 % FAILING.len() as u64) as usize])
        }
        Lane::Crashes | Lane::Threads => part.job_for(seed),
    };
    Job { known: subject.known.clone(), activity: true, ..job }
}

fn once(
    client: &mut Client,
    subject: &Subject,
    campaign: &Campaign,
    cell: &Cell,
    progress: &mut dyn FnMut(&Tally),
) -> Result<Option<(Outcome, Met)>, Problem> {
    let mut result = match client.run(&subject.entry, &job(subject, campaign, cell), progress) {
        Ok(result) if result.interrupted => return Ok(None),
        Ok(result) => result,
        Err(Problem::Refused(refusal)) => {
            let outcome = Outcome { refused: Some(refusal.why), ..Outcome::default() };
            return Ok(Some((outcome, Met::default())));
        }
        Err(Problem::NotDeterministic(how)) => {
            let outcome = Outcome { differs: Some(how.to_string()), ..Outcome::default() };
            return Ok(Some((outcome, Met::default())));
        }
        Err(problem) => return Err(problem),
    };
    let mut cases = BTreeMap::new();
    for finding in &mut result.findings {
        result.notices.extend(name_lines(client, &subject.entry, finding)?);
        let report = described(finding);
        cases.insert(finding.kind(), Shown { case: finding.case.to_string(), report });
    }
    let interrupted = crate::host::interrupt::requested().is_some();
    Ok((!interrupted).then(|| outcome(&cell.sim, result, cases)))
}

fn outcome(sim: &str, result: JobResult, cases: BTreeMap<Kind, Shown>) -> (Outcome, Met) {
    let (tally, activity) = (&result.tally, &result.activity);
    let findings: BTreeSet<Kind> = cases.keys().cloned().collect();
    let activation = universe::rows(sim, activity);
    let activation = activation.into_iter().map(|((group, name), times)| (group, name, times));
    let outcome = Outcome {
        counts: counts(tally),
        digest: tally.digest,
        findings,
        activation: activation.collect(),
        refused: None,
        differs: None,
    };
    let species = species(sim, activity, &cases);
    (outcome, Met { species, cases, notices: result.notices })
}

fn counts(tally: &Tally) -> Counts {
    Counts {
        cells: 1,
        points: tally.points,
        exhaustive_points: tally.exhaustive_points,
        states: tally.states,
        recoveries: tally.recoveries,
        nested: tally.nested,
        schedules: tally.schedules,
        histories: tally.histories,
        faults: tally.faults,
        violations: tally.violations,
        shadowed: tally.shadowed,
        unchecked: tally.unchecked,
    }
}

/// The behaviours of a cell; those of two sims are never the same.
fn species(
    sim: &str,
    activity: &Activity,
    cases: &BTreeMap<Kind, Shown>,
) -> BTreeMap<Species, BTreeSet<Digest>> {
    let own = |bytes: &[u8]| {
        let mut digester = Digester::default();
        digester.add(sim.as_bytes());
        digester.add(bytes);
        digester.finish()
    };
    let of = |digests: &BTreeSet<Digest>| {
        digests.iter().map(|digest| own(&digest.0.to_le_bytes())).collect::<BTreeSet<_>>()
    };
    let signatures = cases.keys().map(|kind| own(kind.signature.to_string().as_bytes()));
    let mut species = BTreeMap::from([
        (Species::Signature, signatures.collect()),
        (Species::Recovery, of(&activity.recoveries)),
        (Species::Shape, of(&activity.shapes)),
    ]);
    species.retain(|_, digests: &mut BTreeSet<Digest>| !digests.is_empty());
    species
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_outcomes_that_differ_are_both_kept() {
        let outcome = |states| Outcome {
            counts: Counts { states, ..Counts::default() },
            ..Outcome::default()
        };
        let first = (outcome(1), Met::default());
        assert_eq!(compared(first.clone(), &(outcome(1), Met::default())), first);
        let (differing, _) = compared(first.clone(), &(outcome(2), Met::default()));
        let how = differing.differs.expect("they differ");
        assert!(how.contains("\"states\":1") && how.contains("\"states\":2"), "{how}");
        let shape = BTreeMap::from([(Species::Shape, BTreeSet::from([Digest(1)]))]);
        let other = Met { species: shape, ..Met::default() };
        assert!(compared(first, &(outcome(1), other)).0.differs.is_some());
    }
}
