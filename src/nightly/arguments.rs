//! The arguments of a campaign that decide which cells it has, and those cells in order.

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Lane};
use super::shard::Shard;
use crate::base::digest::Digester;

/// The format of the ledger. It changes when a field changes its meaning or goes away.
pub(crate) const FORMAT: u32 = 1;

/// The shares of the lanes, in the order of [`Lane::ALL`].
pub(crate) type Shares = [u32; Lane::ALL.len()];

/// The shares if none are given.
pub(crate) const SHARES: Shares = [6, 1, 1];

/// A sim and the profiles that it is run on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// The sim.
    pub(crate) sim: String,
    /// Its profiles.
    pub(crate) profiles: Vec<String>,
    /// Whether it promises something after failed calls.
    pub(crate) survives: bool,
}

/// What two ledgers must agree on to be of one campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Campaign {
    /// The format of the ledger.
    pub(crate) format: u32,
    /// The campaign's name: another name has other workloads.
    pub(crate) name: String,
    /// The digest of the binary and of the known findings: another build has other outcomes.
    pub(crate) build: String,
    /// The sims.
    pub(crate) sims: Vec<Planned>,
    /// The shares of the lanes.
    pub(crate) shares: Shares,
}

/// The first line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The campaign.
    pub(crate) campaign: Campaign,
    /// The parts of it that the ledger may have cells of.
    pub(crate) shards: Vec<Shard>,
}

impl Campaign {
    /// How this campaign differs from another; `None` if it is the same.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let names = |planned: &[Planned]| {
            let one = |at: &Planned| format!("{} on {}", at.sim, at.profiles.join(", "));
            planned.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        if self.format != other.format {
            return Some(format!("format {}, and not {}", self.format, other.format));
        }
        if self.name != other.name {
            return Some(format!("--name `{}`, and not `{}`", self.name, other.name));
        }
        if self.build != other.build {
            return Some(format!(
                "build {}, and not {}: the binary or the known findings are others",
                self.build, other.build
            ));
        }
        if self.shares != other.shares {
            return Some(format!("--shares {:?}, and not {:?}", self.shares, other.shares));
        }
        (self.sims != other.sims)
            .then(|| format!("{}, and not {}", names(&self.sims), names(&other.sims)))
    }

    /// The lane of a workload.
    pub(crate) fn lane(&self, planned: &Planned, counter: u64) -> Lane {
        let all: u64 = self.shares.iter().map(|share| u64::from(*share)).sum();
        let mut digester = Digester::default();
        digester.add(b"lane");
        digester.add(self.name.as_bytes());
        digester.add(planned.sim.as_bytes());
        digester.add_number(counter);
        let mut drawn = digester.finish().0 % all.max(1);
        for (lane, share) in Lane::ALL.into_iter().zip(self.shares) {
            let share = u64::from(share);
            if drawn < share {
                let nothing = lane == Lane::FailedCalls && !planned.survives;
                return if nothing { Lane::Crashes } else { lane };
            }
            drawn -= share;
        }
        Lane::Crashes
    }

    /// The cells of a shard in order, of the first `most` of the whole campaign.
    pub(crate) fn cells(&self, shard: Shard, most: Option<u64>) -> impl Iterator<Item = Cell> + '_ {
        let per_counter: u64 = self.sims.iter().map(|planned| planned.profiles.len() as u64).sum();
        let counters = match most {
            Some(most) => most.div_ceil(per_counter.max(1)),
            None => u64::MAX,
        };
        let counters = (0..counters).filter(move |counter| shard.has(*counter));
        counters.flat_map(move |counter| {
            let before = counter.saturating_mul(per_counter);
            let left = most.map_or(u64::MAX, |most| most.saturating_sub(before));
            let cells = self.sims.iter().flat_map(move |planned| {
                let lane = self.lane(planned, counter);
                planned.profiles.iter().map(move |profile| Cell {
                    counter,
                    sim: planned.sim.clone(),
                    profile: profile.clone(),
                    lane,
                })
            });
            cells.take(usize::try_from(left).unwrap_or(usize::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn campaign(name: &str) -> Campaign {
        let planned = |sim: &str, survives| Planned {
            sim: sim.to_owned(),
            profiles: vec!["posix".to_owned(), "ext4".to_owned()],
            survives,
        };
        Campaign {
            format: FORMAT,
            name: name.to_owned(),
            build: "b".to_owned(),
            sims: vec![planned("one", true), planned("two", false), planned("three", true)],
            shares: SHARES,
        }
    }

    #[test]
    fn shards_divide_the_cells_without_overlap_whatever_their_number() {
        let campaign = campaign("n");
        for most in [0, 1, 5, 6, 7, 40] {
            let whole: Vec<Cell> = campaign.cells(Shard::WHOLE, Some(most)).collect();
            assert_eq!(whole.len() as u64, most);
            for of in [1, 2, 3, 7] {
                let shard = |index| campaign.cells(Shard { index, of }, Some(most));
                let mut parts: Vec<Cell> = (0..of).flat_map(shard).collect();
                parts.sort_by_key(|cell| whole.iter().position(|other| other == cell));
                assert_eq!(parts, whole, "{of} shards of {most} cells");
            }
        }
    }

    #[test]
    fn lanes_have_their_shares_and_profiles_share_a_workload() {
        let campaign = campaign("n");
        let mut lanes: BTreeMap<(String, Lane), u64> = BTreeMap::new();
        let mut of_workload: BTreeMap<(u64, String), BTreeSet<Lane>> = BTreeMap::new();
        for cell in campaign.cells(Shard::WHOLE, Some(6 * 4_000)) {
            *lanes.entry((cell.sim.clone(), cell.lane)).or_default() += 1;
            of_workload.entry((cell.counter, cell.sim)).or_default().insert(cell.lane);
        }
        assert!(of_workload.values().all(|lanes| lanes.len() == 1));
        let near = |sim: &str, lane, share: u64| {
            let cells = lanes.get(&(sim.to_owned(), lane)).copied().unwrap_or(0);
            assert!(cells.abs_diff(share * 1_000) < 120, "{sim} {lane}: {cells}");
        };
        near("one", Lane::Crashes, 6);
        near("one", Lane::FailedCalls, 1);
        near("one", Lane::Threads, 1);
        near("two", Lane::Crashes, 7);
        near("two", Lane::FailedCalls, 0);
    }

    #[test]
    fn another_name_has_other_lanes_and_seeds() {
        let lanes = |name: &str| {
            let campaign = campaign(name);
            let cells: Vec<Cell> = campaign.cells(Shard::WHOLE, Some(60)).collect();
            cells.iter().map(|cell| cell.lane).collect::<Vec<_>>()
        };
        assert_ne!(lanes("monday"), lanes("tuesday"));
        let seed = crate::nightly::cell::seed;
        assert_ne!(seed("monday", "one", 0), seed("tuesday", "one", 0));
        assert_ne!(seed("monday", "one", 0), seed("monday", "two", 0));
        assert_ne!(seed("monday", "one", 0), seed("monday", "one", 1));
    }

    #[test]
    fn a_difference_names_the_argument() {
        let one = campaign("n");
        assert_eq!(one.difference(&one.clone()), None);
        let named = |other: Campaign| other.difference(&one).expect("a difference");
        assert!(named(Campaign { name: "m".into(), ..one.clone() }).contains("--name `m`"));
        assert!(named(Campaign { build: "c".into(), ..one.clone() }).contains("build c"));
        assert!(named(Campaign { shares: [1, 0, 0], ..one.clone() }).contains("--shares"));
        let sims = one.sims[..1].to_vec();
        assert!(named(Campaign { sims, ..one.clone() }).contains("one on posix, ext4"));
    }
}
