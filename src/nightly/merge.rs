//! Merges ledgers: the union of their cells, whatever their order and however often.

use std::collections::BTreeMap;
use std::path::Path;

use super::arguments::Header;
use super::cell::{Cell, Done, Outcome, Shown};
use super::ledger;
use super::total::Total;
use crate::base::digest::Digest;
use crate::campaign::problem::Problem;
use crate::explore::job::Kind;

/// The cells of one campaign, from any number of ledgers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Union {
    header: Header,
    cells: BTreeMap<Cell, Done>,
}

impl Union {
    /// Nothing of a campaign.
    pub(crate) fn new(mut header: Header) -> Self {
        header.shards.clear();
        Self { header, cells: BTreeMap::new() }
    }

    /// Adds the ledger of a directory.
    ///
    /// # Errors
    /// It cannot be read, or it is of another campaign.
    pub(crate) fn add_folder(into: &mut Option<Self>, folder: &Path) -> Result<(), Problem> {
        let (header, cells) = ledger::read(folder)?;
        let union = into.get_or_insert_with(|| Self::new(header.clone()));
        let wrong = |why: String| Problem::Environment(format!("{}: {why}", folder.display()));
        union.add_header(&header).map_err(wrong)?;
        cells.into_iter().try_for_each(|done| union.add(done)).map_err(wrong)
    }

    /// Adds the shards of another ledger of the campaign.
    ///
    /// # Errors
    /// It is of another campaign.
    pub(crate) fn add_header(&mut self, header: &Header) -> Result<(), String> {
        if let Some(difference) = header.campaign.difference(&self.header.campaign) {
            return Err(format!("it is of another campaign than the first: {difference}"));
        }
        self.header.shards.extend(&header.shards);
        self.header.shards.sort();
        self.header.shards.dedup();
        Ok(())
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// It is there with another outcome.
    pub(crate) fn add(&mut self, done: Done) -> Result<(), String> {
        let Some(there) = self.cells.get_mut(&done.cell) else {
            self.cells.insert(done.cell.clone(), done);
            return Ok(());
        };
        let digest = there.outcome.digest.min(done.outcome.digest);
        let plain = |outcome: &Outcome| Outcome { digest: Digest::default(), ..outcome.clone() };
        if plain(&there.outcome) != plain(&done.outcome) {
            return Err(format!(
                "{}: another ledger has a different outcome of this cell, though both are of one \
                 build",
                done.cell
            ));
        }
        there.outcome.digest = digest;
        for (species, digests) in done.new {
            there.new.entry(species).or_default().extend(digests);
        }
        let mut cases: BTreeMap<Kind, Shown> = there.cases.drain(..).collect();
        for (kind, shown) in done.cases {
            let least = cases.remove(&kind).map_or(shown.clone(), |known| known.min(shown));
            cases.insert(kind, least);
        }
        there.cases = cases.into_iter().collect();
        Ok(())
    }

    /// What the cells add up to.
    ///
    /// # Errors
    /// The ledgers contradict each other.
    pub(crate) fn total(&self) -> Result<Total, String> {
        let mut total = Total::new(self.header.clone());
        self.cells.values().try_for_each(|done| total.add(done))?;
        Ok(total)
    }

    /// The text of the ledger.
    pub(crate) fn text(&self) -> String {
        ledger::text(&self.header, self.cells.values())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::nightly::arguments::{Campaign, FORMAT, SHARES};
    use crate::nightly::cell::{Counts, Group, Lane, Met, Species};
    use crate::nightly::shard::Shard;
    use crate::oracle::{Class, Signature};

    fn header(index: u64) -> Header {
        let campaign = Campaign {
            format: FORMAT,
            name: "n".to_owned(),
            build: "b".to_owned(),
            sims: Vec::new(),
            shares: SHARES,
        };
        Header { campaign, shards: vec![Shard { index, of: 8 }] }
    }

    /// What a cell of this number met: a pure function of it.
    fn cell(number: u64) -> (Cell, Outcome, Met) {
        let sim = ["one", "two"][(number % 2) as usize].to_owned();
        let cell = Cell {
            counter: number / 4,
            sim,
            profile: ["ext4", "posix"][(number / 2 % 2) as usize].to_owned(),
            lane: Lane::Crashes,
        };
        let kinds = (0..number % 3).map(|kind| {
            let class = Class::ALL[(kind + number / 7 % 2) as usize];
            Kind { class, signature: Signature::new(class) }
        });
        let kinds: BTreeSet<Kind> = kinds.collect();
        let case = |kind: &Kind| {
            let case = "x".repeat((number * 7 % 5) as usize);
            (kind.clone(), Shown { case, report: number.to_string() })
        };
        let met = Met {
            cases: kinds.iter().map(case).collect(),
            species: BTreeMap::from([(
                Species::Recovery,
                (0..number % 5).map(|n| Digest(n * number % 11)).collect(),
            )]),
            notices: Vec::new(),
        };
        let outcome = Outcome {
            counts: Counts { cells: 1, states: number, ..Counts::default() },
            findings: kinds,
            activation: vec![(Group::Op, "put".to_owned(), number)],
            ..Outcome::default()
        };
        (cell, outcome, met)
    }

    /// The ledger of these cells, done in this order by this shard.
    fn ledger(shard: u64, numbers: &[u64]) -> Union {
        let mut total = Total::new(header(shard));
        let mut union = Union::new(header(shard));
        union.add_header(&header(shard)).expect("the same campaign");
        for number in numbers {
            let (cell, outcome, met) = cell(*number);
            if !total.has(&cell) {
                let line = total.line(cell, outcome, met);
                total.add(&line).expect("new");
                union.add(line).expect("new");
            }
        }
        union
    }

    fn merged(ledgers: &[&Union]) -> Union {
        let mut all = Union::new(header(0));
        for ledger in ledgers {
            all.add_header(&ledger.header).expect("the same campaign");
            ledger.cells.values().for_each(|done| all.add(done.clone()).expect("the same outcome"));
        }
        all
    }

    /// Everything of a total that a summary shows.
    fn shown(union: &Union) -> String {
        let mut total = union.total().expect("no contradiction");
        total.curve.clear();
        total.header.shards.clear();
        format!("{total:?}")
    }

    proptest! {
        #[test]
        fn merging_is_order_free_idempotent_and_associative(
            a in vec(0..60_u64, 0..30),
            b in vec(0..60_u64, 0..30),
            c in vec(0..60_u64, 0..30),
        ) {
            let (a, b, c) = (ledger(0, &a), ledger(1, &b), ledger(2, &c));
            let all = merged(&[&a, &b, &c]);
            prop_assert_eq!(&merged(&[&c, &a, &b]), &all);
            prop_assert_eq!(&merged(&[&a, &b, &a, &c, &c]), &all);
            prop_assert_eq!(&merged(&[&merged(&[&a, &b]), &c]), &all);
            prop_assert_eq!(&merged(&[&a, &merged(&[&b, &c])]), &all);
            prop_assert_eq!(&merged(&[&all]), &all);
            prop_assert_eq!(merged(&[&c, &b, &a]).text(), all.text());
        }

        #[test]
        fn merged_shards_show_what_the_whole_shows_in_whatever_order_cells_were_done(
            numbers in Just((0..60_u64).collect::<Vec<_>>()).prop_shuffle(),
            of in 1..8_u64,
        ) {
            let whole = ledger(0, &(0..60).collect::<Vec<_>>());
            let shard = |index: u64| {
                let own: Vec<u64> =
                    numbers.iter().copied().filter(|n| n / 4 % of == index).collect();
                ledger(index, &own)
            };
            let shards: Vec<Union> = (0..of).map(shard).collect();
            let all = merged(&shards.iter().collect::<Vec<_>>());
            prop_assert_eq!(shown(&all), shown(&whole));
        }
    }

    #[test]
    fn two_outcomes_of_one_cell_are_an_error() {
        let mut union = ledger(0, &[1]);
        let (cell, outcome, _) = cell(1);
        let counts = Counts { states: 99, ..outcome.counts };
        let outcome = Outcome { counts, ..outcome };
        let done = Done { cell, outcome, new: BTreeMap::new(), cases: Vec::new() };
        assert!(union.add(done).expect_err("they differ").contains("two on ext4"));
    }
}
