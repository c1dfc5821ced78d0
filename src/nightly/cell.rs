//! A cell, the unit of a campaign: one workload of one sim on one profile in one lane, and its
//! outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::digest::{Digest, Digester};
use crate::base::seed::Seed;
use crate::explore::job::Kind;

/// The way in which a workload is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lane {
    /// Crashes at every point.
    Crashes,
    /// Every call fails in turn, and disks are full; for sims that promise something about that.
    FailedCalls,
    /// Many schedules of threads; for a sim without threads as [`Lane::Crashes`].
    Threads,
}

impl Lane {
    /// Every lane, in the order of their shares.
    pub(crate) const ALL: [Self; 3] = [Self::Crashes, Self::FailedCalls, Self::Threads];

    /// Its name in arguments and reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crashes => "crashes",
            Self::FailedCalls => "failed-calls",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The identity of a cell. Cells of one counter come after each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The number of the workload: a shard has every n-th one.
    pub(crate) counter: u64,
    /// The sim.
    pub(crate) sim: String,
    /// The profile.
    pub(crate) profile: String,
    /// The lane; it follows from the campaign, the sim and the counter.
    pub(crate) lane: Lane,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counter, sim, profile, lane } = self;
        write!(f, "{sim} on {profile}, {lane}, {counter}")
    }
}

/// The seed of a workload: all profiles cut the same one.
pub(crate) fn seed(campaign: &str, sim: &str, counter: u64) -> Seed {
    let mut digester = Digester::default();
    digester.add(b"campaign");
    digester.add(campaign.as_bytes());
    Seed(digester.finish().0).derive(sim, counter)
}

/// The counts of a cell, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Cells.
    pub(crate) cells: u64,
    /// Crash points visited.
    pub(crate) points: u64,
    /// Those at which every state was visited.
    pub(crate) exhaustive_points: u64,
    /// Crash states.
    pub(crate) states: u64,
    /// Recoveries.
    pub(crate) recoveries: u64,
    /// Recoveries in which a crash was placed in turn.
    pub(crate) nested: u64,
    /// Schedules.
    pub(crate) schedules: u64,
    /// Schedules with a new history.
    pub(crate) histories: u64,
    /// Runs and recoveries with one failed call or a full disk.
    pub(crate) faults: u64,
    /// Crash states that broke a promise.
    pub(crate) violations: u64,
    /// Crash states that only show a known finding.
    pub(crate) shadowed: u64,
    /// Crash states that could not be compared with anything.
    pub(crate) unchecked: u64,
}

impl Counts {
    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        self.cells += other.cells;
        self.points += other.points;
        self.exhaustive_points += other.exhaustive_points;
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.nested += other.nested;
        self.schedules += other.schedules;
        self.histories += other.histories;
        self.faults += other.faults;
        self.violations += other.violations;
        self.shadowed += other.shadowed;
        self.unchecked += other.unchecked;
    }
}

/// A group of things that a campaign should exercise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Group {
    /// Fault kinds.
    Fault,
    /// Relaxations of the disk.
    Relaxation,
    /// Kinds of op, with the sim.
    Op,
    /// Promises: what had to survive.
    Promise,
}

impl Group {
    /// Its heading.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault kinds",
            Self::Relaxation => "relaxations",
            Self::Op => "ops",
            Self::Promise => "promises",
        }
    }
}

/// How often each thing came up.
pub(crate) type Activation = BTreeMap<(Group, String), u64>;

/// A kind of behaviour whose rest is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Species {
    /// Signatures of findings.
    Signature,
    /// What recoveries did until the store was open.
    Recovery,
    /// The relaxations that a crash state needs, and the op that the crash hit.
    Shape,
}

impl Species {
    /// All, in the order of reports.
    pub(crate) const ALL: [Self; 3] = [Self::Signature, Self::Recovery, Self::Shape];

    /// What it is, in the plural.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signature => "signatures",
            Self::Recovery => "recovery behaviours",
            Self::Shape => "crash-state shapes",
        }
    }
}

/// The outcome of a cell: a pure function of the cell and of the build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The counts.
    pub(crate) counts: Counts,
    /// The digest of everything that was run.
    pub(crate) digest: Digest,
    /// The kinds of its findings.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) findings: BTreeSet<Kind>,
    /// How often each thing came up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) activation: Vec<(Group, String, u64)>,
    /// Why the cell could not be carried out: the engine made a call that is not simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// How it differed when it was done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) differs: Option<String>,
}

/// What a cell met, and the case of each of its findings: too much to keep for every cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    /// The behaviours.
    pub(crate) species: BTreeMap<Species, BTreeSet<Digest>>,
    /// The text of the case of each finding, and of its report.
    pub(crate) cases: BTreeMap<Kind, Shown>,
    /// Notices for the user.
    pub(crate) notices: Vec<String>,
}

/// A finding as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The case.
    pub(crate) case: String,
    /// The report, without commands.
    pub(crate) report: String,
}

/// A cell that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The cell.
    pub(crate) cell: Cell,
    /// Its outcome.
    pub(crate) outcome: Outcome,
    /// Of the behaviours that it met, those that the ledger had of less than two workloads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) new: BTreeMap<Species, BTreeSet<Digest>>,
    /// Of its findings, the cases that are smaller than those that the ledger had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cases: Vec<(Kind, Shown)>,
}
