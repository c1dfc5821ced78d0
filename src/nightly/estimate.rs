//! An estimate of what is left to find: the Good-Turing share of workloads that show something new.

use std::collections::BTreeSet;

use super::cell::Species;
use super::total::{Seen, Total, Workload};

/// What is known about the rest of one kind of behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// The kind.
    pub(crate) species: Species,
    /// Workloads: a sim and a counter. All profiles cut the same one.
    pub(crate) workloads: u64,
    /// Behaviours seen.
    pub(crate) seen: u64,
    /// Those that one workload showed.
    pub(crate) once: u64,
    /// Workloads that showed a behaviour that no other one did.
    pub(crate) fresh: u64,
}

impl Estimate {
    /// The estimates of a campaign, one for each kind of behaviour.
    pub(crate) fn all(total: &Total) -> Vec<Self> {
        let workloads: BTreeSet<(u64, &str)> =
            total.cells.keys().map(|cell| (cell.counter, cell.sim.as_str())).collect();
        let workloads = workloads.len() as u64;
        let estimate = |species| {
            let seen = total.species.get(&species);
            let once: Vec<&Workload> = seen
                .into_iter()
                .flatten()
                .filter_map(|(_, seen)| match seen {
                    Seen::Once(workload) => Some(workload),
                    Seen::Often => None,
                })
                .collect();
            let fresh: BTreeSet<&Workload> = once.iter().copied().collect();
            Self {
                species,
                workloads,
                seen: seen.map_or(0, |seen| seen.len() as u64),
                once: once.len() as u64,
                fresh: fresh.len() as u64,
            }
        };
        Species::ALL.into_iter().map(estimate).collect()
    }

    /// The chance that the next workload shows something new: the share of workloads that did so
    /// when each is looked at as the last one (Good and Turing; Good 1953). Where there are none,
    /// it is below 3/n with 95 % confidence. `true` says that it is that bound.
    pub(crate) fn chance(&self) -> Option<(f64, bool)> {
        match (self.workloads, self.fresh) {
            (0, _) => None,
            (all, 0) => Some(((3.0 / all as f64).min(1.0), true)),
            (all, fresh) => Some((fresh as f64 / all as f64, false)),
        }
    }

    /// The chance in words.
    pub(crate) fn words(&self) -> String {
        match self.chance() {
            None => "nothing is known yet".to_owned(),
            Some((chance, true)) => format!("below {}", percent(chance)),
            Some((chance, false)) => format!("about {}", percent(chance)),
        }
    }
}

/// A share in percent, with two digits that say something.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent >= 9.95 {
        0
    } else if percent >= 0.995 {
        1
    } else {
        3
    };
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(workloads: u64, once: u64, fresh: u64) -> Estimate {
        Estimate { species: Species::Signature, workloads, seen: once, once, fresh }
    }

    #[test]
    fn a_chance_is_a_share_of_workloads_or_a_bound_and_never_more_than_all() {
        assert_eq!(estimate(0, 0, 0).chance(), None);
        assert_eq!(estimate(200, 9, 5).chance(), Some((0.025, false)));
        assert_eq!(estimate(300, 0, 0).chance(), Some((0.01, true)));
        assert_eq!(estimate(2, 0, 0).chance(), Some((1.0, true)));
        assert_eq!(estimate(0, 0, 0).words(), "nothing is known yet");
        assert_eq!(estimate(200, 9, 5).words(), "about 2.5 %");
        assert_eq!(estimate(300, 0, 0).words(), "below 1.0 %");
        assert_eq!(estimate(30_000, 0, 0).words(), "below 0.010 %");
        assert_eq!(estimate(8, 4, 3).words(), "about 38 %");
    }
}
