//! The events of a run, as data: the terminal and the JSON file show the same ones.

use serde::{Serialize, Serializer};

use crate::base::seed::Seed;
use crate::campaign::jobs::Part;
use crate::campaign::run::PartResult;
use crate::explore::finding::Finding;
use crate::explore::message::SyncSite;
use crate::explore::tally::Tally;
use crate::oracle::Class;
use crate::shrink::Shown;

/// The format of the JSON output. It changes when a field changes its meaning or goes away.
pub(crate) const FORMAT: u32 = 1;

/// An event of a run. In JSON it is an object with its name in `event`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    /// The run begins.
    Start {
        format: u32,
        #[serde(serialize_with = "text")]
        seed: Seed,
        sims: Vec<&'a str>,
        /// The model of the processor, to which the digests belong.
        processor: String,
    },
    /// A part is done.
    Part(PartDone<'a>),
    /// A part has a finding.
    Violation(Violated<'a>),
    /// A sync call site was muted.
    Muted(Muted<'a>),
    /// The canary was run.
    Canary { found: bool, states: u64 },
    /// The run ends.
    Summary(Summary<'a>),
}

/// A part and its results.
#[derive(Serialize)]
pub(crate) struct PartDone<'a> {
    pub(crate) sim: &'a str,
    pub(crate) profile: &'a str,
    pub(crate) workloads: u64,
    pub(crate) points: u64,
    pub(crate) states: u64,
    pub(crate) violations: u64,
    pub(crate) faults: u64,
    #[serde(skip)]
    pub(crate) result: &'a PartResult,
}

impl<'a> PartDone<'a> {
    pub(crate) fn new(part: &'a Part, result: &'a PartResult) -> Self {
        let tally = &result.tally;
        Self {
            sim: part.entry.name,
            profile: &part.profile,
            workloads: result.workloads,
            points: tally.points,
            states: tally.states,
            violations: tally.violations,
            faults: tally.faults,
            result,
        }
    }
}

/// A finding, and where its case was saved.
#[derive(Serialize)]
pub(crate) struct Violated<'a> {
    pub(crate) sim: &'a str,
    pub(crate) profile: &'a str,
    #[serde(serialize_with = "text")]
    pub(crate) class: Class,
    #[serde(serialize_with = "text")]
    pub(crate) signature: &'a crate::oracle::Signature,
    pub(crate) message: &'a str,
    /// The path of the case.
    pub(crate) case: String,
    /// What was shrunk to what, if it was shrunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shrunk: Option<&'a str>,
    #[serde(skip)]
    pub(crate) finding: &'a Finding,
    #[serde(skip)]
    pub(crate) verdict_of_first: bool,
}

impl<'a> Violated<'a> {
    pub(crate) fn new(part: &'a Part, shown: &'a Shown, case: String) -> Self {
        let finding = &shown.finding;
        let violation = &finding.violation;
        Self {
            sim: part.entry.name,
            profile: &part.profile,
            class: violation.class(),
            signature: &violation.signature,
            message: &violation.message,
            case,
            shrunk: shown.shrunk.as_deref(),
            finding,
            verdict_of_first: shown.verdict_of_first,
        }
    }
}

/// A muted sync call site and the result.
#[derive(Serialize)]
pub(crate) struct Muted<'a> {
    pub(crate) sim: &'a str,
    pub(crate) profile: &'a str,
    #[serde(serialize_with = "text")]
    pub(crate) site: &'a crate::explore::site::CallSite,
    pub(crate) syncs: &'a str,
    #[serde(serialize_with = "text")]
    pub(crate) verdict: MuteVerdict<'a>,
    pub(crate) states: u64,
    /// With the first site of a part: the number of its sites.
    #[serde(skip)]
    pub(crate) first_of: Option<usize>,
}

impl<'a> Muted<'a> {
    pub(crate) fn new(
        part: &'a Part,
        sync: &'a SyncSite,
        result: &PartResult,
        first_of: Option<usize>,
    ) -> Self {
        let states = result.tally.states;
        let verdict = match result.findings.first() {
            Some(finding) => MuteVerdict::Needed { class: finding.violation.class(), states },
            None if result.tally.muted == 0 => MuteVerdict::NotNeeded { profile: &part.profile },
            None => MuteVerdict::NotSeen { states },
        };
        let (sim, profile) = (part.entry.name, &part.profile);
        Self { sim, profile, site: &sync.site, syncs: &sync.call, verdict, states, first_of }
    }
}

/// Whether a sync call site is needed.
#[derive(Clone, Copy)]
pub(crate) enum MuteVerdict<'a> {
    /// Without it a promise is broken.
    Needed { class: Class, states: u64 },
    /// Nothing is pending there on this profile.
    NotNeeded { profile: &'a str },
    /// The sim does not show whether it is needed.
    NotSeen { states: u64 },
}

/// The end of a run.
#[derive(Serialize)]
pub(crate) struct Summary<'a> {
    #[serde(serialize_with = "text")]
    pub(crate) seed: Seed,
    /// The parts, in the order of the table.
    pub(crate) sims: Vec<Row<'a>>,
    pub(crate) canary: Canary,
}

/// A row of the table: one sim on one profile.
#[derive(Clone, Serialize)]
pub(crate) struct Row<'a> {
    pub(crate) sim: &'a str,
    pub(crate) profile: String,
    #[serde(flatten, serialize_with = "counts")]
    pub(crate) tally: Tally,
}

/// Whether the canary was found.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Canary {
    Found,
    Missed,
    None,
}

fn text<T: std::fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// The counts of a row by the names of the JSON format.
fn counts<S: Serializer>(tally: &Tally, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Counts {
        crash_points: u64,
        exhaustive_points: u64,
        states: u64,
        recoveries: u64,
        violations: u64,
        known: u64,
        shadowed: u64,
        unchecked: u64,
        digest: String,
        seconds: f64,
    }
    let counts = Counts {
        crash_points: tally.points,
        exhaustive_points: tally.exhaustive_points,
        states: tally.states,
        recoveries: tally.recoveries,
        violations: tally.violations,
        known: tally.known,
        shadowed: tally.shadowed,
        unchecked: tally.unchecked,
        digest: tally.digest.to_string(),
        seconds: tally.seconds,
    };
    counts.serialize(to)
}
