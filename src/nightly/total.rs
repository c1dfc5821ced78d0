//! The total of a campaign so far: what its cells add up to, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::Header;
use super::cell::{Activation, Cell, Counts, Done, Lane, Met, Outcome, Shown, Species};
use crate::base::digest::{Digest, hash};
use crate::explore::job::Kind;

/// A workload: all profiles of a sim cut the same one, so it is the unit of an estimate.
pub(crate) type Workload = (u64, String);

/// What cells add up to. The order in which they are added does not matter, except for the curve.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    /// The campaign.
    pub(crate) header: Header,
    /// The cells, each with a digest of its outcome.
    pub(crate) cells: BTreeMap<Cell, u64>,
    /// The counts of each sim and profile.
    pub(crate) rows: BTreeMap<(String, String), Counts>,
    /// The counts of each lane.
    pub(crate) lanes: BTreeMap<Lane, Counts>,
    /// The findings of each sim.
    pub(crate) findings: BTreeMap<(String, Kind), Found>,
    /// How often each thing came up.
    pub(crate) activation: Activation,
    /// For each behaviour, the workload that showed it if only one did.
    pub(crate) species: BTreeMap<Species, BTreeMap<Digest, Seen>>,
    /// Sims that made a call that is not simulated, and the number of such cells.
    pub(crate) refused: BTreeMap<(String, String), u64>,
    /// Cells that differed when they were done twice.
    pub(crate) differing: BTreeMap<Cell, String>,
    /// New behaviours after each cell, in the order in which cells were done.
    pub(crate) curve: Vec<u32>,
}

/// Which workloads showed a behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// One.
    Once(Workload),
    /// More than one.
    Often,
}

/// A finding over all cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The number of cells that have it.
    pub(crate) cells: u64,
    /// The first of them.
    pub(crate) first: Cell,
    /// The profiles on which it was found.
    pub(crate) profiles: BTreeSet<String>,
    /// The smallest case, and its cell.
    pub(crate) best: Option<Best>,
}

/// The smallest case of a finding: the least of these wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Best {
    /// Bytes of the case.
    pub(crate) length: usize,
    /// The cell that has it.
    pub(crate) cell: Cell,
    /// Its text.
    pub(crate) shown: Shown,
}

impl Best {
    fn new(cell: &Cell, shown: &Shown) -> Self {
        Self { length: shown.case.len(), cell: cell.clone(), shown: shown.clone() }
    }
}

impl Total {
    /// Nothing yet.
    pub(crate) fn new(header: Header) -> Self {
        Self {
            header,
            cells: BTreeMap::new(),
            rows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            findings: BTreeMap::new(),
            activation: Activation::new(),
            species: BTreeMap::new(),
            refused: BTreeMap::new(),
            differing: BTreeMap::new(),
            curve: Vec::new(),
        }
    }

    /// Whether a cell was added.
    #[cfg(test)]
    pub(crate) fn has(&self, cell: &Cell) -> bool {
        self.cells.contains_key(cell)
    }

    /// All counts.
    pub(crate) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.rows.values().for_each(|counts| all.add(counts));
        all
    }

    /// Adds a cell. One that was added before is not counted twice.
    ///
    /// # Errors
    /// The cell was added with another outcome.
    pub(crate) fn add(&mut self, done: &Done) -> Result<(), String> {
        let Done { cell, outcome, new, cases } = done;
        let digest = digest(outcome);
        match self.cells.insert(cell.clone(), digest) {
            Some(before) if before != digest => {
                return Err(format!("{cell}: two ledgers have different outcomes of this cell"));
            }
            Some(_) => {}
            None => self.count(cell, outcome),
        }
        let mut fresh = 0;
        for (species, digests) in new {
            for digest in digests {
                fresh += u32::from(self.see(*species, *digest, workload(cell)));
            }
        }
        let last = self.curve.last().copied().unwrap_or(0);
        self.curve.push(last + fresh);
        for (kind, shown) in cases {
            let Some(found) = self.findings.get_mut(&(cell.sim.clone(), kind.clone())) else {
                return Err(format!("{cell}: a case of {} without its finding", kind.signature));
            };
            let best = Best::new(cell, shown);
            if found.best.as_ref().is_none_or(|known| best < *known) {
                found.best = Some(best);
            }
        }
        Ok(())
    }

    fn count(&mut self, cell: &Cell, outcome: &Outcome) {
        let counts = Counts { cells: 1, ..outcome.counts };
        self.rows.entry((cell.sim.clone(), cell.profile.clone())).or_default().add(&counts);
        self.lanes.entry(cell.lane).or_default().add(&counts);
        for (group, name, times) in &outcome.activation {
            *self.activation.entry((*group, name.clone())).or_default() += times;
        }
        for kind in &outcome.findings {
            let found =
                || Found { cells: 0, first: cell.clone(), profiles: BTreeSet::new(), best: None };
            let found = self.findings.entry((cell.sim.clone(), kind.clone())).or_insert_with(found);
            found.cells += 1;
            found.profiles.insert(cell.profile.clone());
            if *cell < found.first {
                found.first = cell.clone();
            }
        }
        if let Some(why) = &outcome.refused {
            *self.refused.entry((cell.sim.clone(), why.clone())).or_default() += 1;
        }
        if let Some(how) = &outcome.differs {
            self.differing.insert(cell.clone(), how.clone());
        }
    }

    /// Notes that a workload showed a behaviour; returns whether it is new.
    fn see(&mut self, species: Species, digest: Digest, workload: Workload) -> bool {
        let seen = self.species.entry(species).or_default();
        match seen.get_mut(&digest) {
            None => {
                seen.insert(digest, Seen::Once(workload));
                true
            }
            Some(seen) => {
                if *seen != Seen::Once(workload) {
                    *seen = Seen::Often;
                }
                false
            }
        }
    }

    /// The line of the ledger for a cell: of what it met, only what the total still needs to count
    /// right in any order. A behaviour that two workloads showed needs no third.
    pub(crate) fn line(&self, cell: Cell, outcome: Outcome, met: Met) -> Done {
        let own = Seen::Once(workload(&cell));
        let mut new = met.species;
        for (species, digests) in &mut new {
            let known = self.species.get(species);
            digests.retain(|digest| {
                let seen = known.and_then(|known| known.get(digest));
                seen.is_none_or(|seen| *seen != Seen::Often && *seen != own)
            });
        }
        new.retain(|_, digests| !digests.is_empty());
        let mut cases = met.cases;
        cases.retain(|kind, shown| {
            let found = self.findings.get(&(cell.sim.clone(), kind.clone()));
            let best = found.and_then(|found| found.best.as_ref());
            best.is_none_or(|known| Best::new(&cell, shown) < *known)
        });
        Done { cell, outcome, new, cases: cases.into_iter().collect() }
    }
}

/// The workload of a cell.
pub(crate) fn workload(cell: &Cell) -> Workload {
    (cell.counter, cell.sim.clone())
}

/// A digest of an outcome; two shards on other models of processor may have other digests of a
/// run, so these are left out.
fn digest(outcome: &Outcome) -> u64 {
    let outcome = Outcome { digest: Digest::default(), ..outcome.clone() };
    hash(&postcard::to_allocvec(&outcome).unwrap_or_default())
}
