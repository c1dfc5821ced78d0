//! Everything that a campaign could exercise: a row that stays at zero was never tested.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::Campaign;
use super::cell::{Activation, Group};
use super::total::Total;
use crate::base::seed::Seed;
use crate::campaign::entry::Entry;
use crate::disk::relax::Relaxation;
use crate::explore::activity::{Activity, word};
use crate::litmus::{Program, explore};
use crate::oracle::{AfterFault, CrashKind, FaultKind};

/// Workloads that are drawn to find the kinds of op that a sim has.
const DRAWN: u64 = 24;
/// The steps of each.
const STEPS: usize = 48;

/// Programs that together show every relaxation that a profile has.
const PROGRAMS: [&str; 7] = [
    "body\n append f 5000 n\n append f 5000 m\n",
    "setup\n write f 0 12288 o\nbody\n write f 0 4096 n\n write f 8192 4096 n\n",
    "setup\n write f 0 4096 o\nbody\n creat a\n creat b\n write f 0 4096 n\n",
    "body\n creat a\n write a 0 100 n\n fsync a\n mark m\n",
    "setup\n write f 0 100 o\n mkdir d\n\
     body\n write f 0 100 n\n rename f d/g\n fdatasync d/g\n mark m\n",
    "setup\n write f 0 100 o\nbody\n write t 0 5000 n\n rename t f\n creat h\n",
    "setup\n write f 0 8192 o\nbody\n truncate f 100\n write f 0 50 n\n append f 5000 m\n",
];

/// Every row of the activation table that must not stay at zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Universe(BTreeSet<(Group, String)>);

impl Universe {
    /// What these sims could exercise on their profiles.
    pub(crate) fn new(campaign: &Campaign, entries: &[Entry]) -> Self {
        let mut rows = BTreeSet::new();
        for planned in &campaign.sims {
            let Some(entry) = entries.iter().find(|entry| entry.name == planned.sim) else {
                continue;
            };
            for (kind, after) in (entry.survives)() {
                if after > AfterFault::Nothing {
                    rows.insert((Group::Fault, kind.to_string()));
                    rows.insert((Group::Promise, promise(entry.name, kind)));
                    if kind == FaultKind::BitRot {
                        rows.insert((Group::Relaxation, Relaxation::BitRot.name().to_owned()));
                    }
                }
            }
            for number in 0..DRAWN {
                let seed = Seed(0).derive("kinds of op", number);
                let steps = (entry.generate)(seed, STEPS);
                rows.extend(steps.iter().map(|step| (Group::Op, op(entry.name, &word(step)))));
            }
            for profile in &planned.profiles {
                rows.extend(relaxations(entry, profile));
            }
        }
        for kind in [CrashKind::Process, CrashKind::Power] {
            rows.insert((Group::Promise, at_stake(kind).to_owned()));
        }
        Self(rows)
    }

    /// The rows in order, with how often each came up; those that were not foreseen, too.
    pub(crate) fn table<'a>(&'a self, total: &'a Total) -> BTreeMap<&'a (Group, String), u64> {
        let mut table: BTreeMap<_, u64> = self.0.iter().map(|row| (row, 0)).collect();
        table.extend(total.activation.iter().map(|(row, times)| (row, *times)));
        table
    }

    /// The rows that never came up.
    pub(crate) fn missing<'a>(&'a self, total: &'a Total) -> Vec<&'a (Group, String)> {
        let table = self.table(total);
        table.into_iter().filter(|(_, times)| *times == 0).map(|(row, _)| row).collect()
    }
}

/// The relaxations that small programs show on a profile.
fn relaxations(entry: &Entry, profile: &str) -> BTreeSet<(Group, String)> {
    let Ok(profile) = entry.profile(profile) else { return BTreeSet::new() };
    let programs = PROGRAMS.iter().filter_map(|text| Program::parse(text).ok());
    let states = programs.filter_map(|program| explore(&program, &profile, true).ok()).flatten();
    let used = states.flat_map(|state| state.relaxations);
    used.map(|relaxation| (Group::Relaxation, relaxation.name().to_owned())).collect()
}

/// The rows of a cell's activity.
pub(crate) fn rows(sim: &str, activity: &Activity) -> Activation {
    let mut rows = Activation::new();
    for (kind, times) in &activity.faults {
        rows.insert((Group::Fault, kind.to_string()), *times);
        rows.insert((Group::Promise, promise(sim, *kind)), *times);
    }
    for (relaxation, times) in &activity.relaxations {
        rows.insert((Group::Relaxation, relaxation.name().to_owned()), *times);
    }
    for (name, times) in &activity.ops {
        rows.insert((Group::Op, op(sim, name)), *times);
    }
    for (kind, times) in &activity.at_stake {
        rows.insert((Group::Promise, at_stake(*kind).to_owned()), *times);
    }
    rows
}

fn op(sim: &str, name: &str) -> String {
    format!("{sim}: {name}")
}

fn promise(sim: &str, kind: FaultKind) -> String {
    format!("{sim}: {kind}")
}

fn at_stake(kind: CrashKind) -> &'static str {
    match kind {
        CrashKind::Process => "an acknowledged op survives the process",
        CrashKind::Power => "an acknowledged op survives a power loss",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::profile::Profile;

    #[test]
    fn the_programs_are_read_and_show_what_profiles_differ_in() {
        for text in PROGRAMS {
            Program::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let shown = |profile: &Profile| {
            let mut all = BTreeSet::new();
            for text in PROGRAMS {
                let program = Program::parse(text).expect("a program");
                let states = explore(&program, profile, true).expect("few fates");
                all.extend(states.into_iter().flat_map(|state| state.relaxations));
            }
            all
        };
        let posix = shown(&Profile::POSIX);
        let rotten = |relaxation: &Relaxation| {
            matches!(
                relaxation,
                Relaxation::BitRot | Relaxation::GarbageTail | Relaxation::GarbageSector
            )
        };
        for relaxation in Relaxation::ALL.iter().filter(|relaxation| !rotten(relaxation)) {
            assert!(posix.contains(relaxation), "no program shows {relaxation} on posix");
        }
        let ext4 = shown(&Profile::EXT4);
        assert!(ext4.is_subset(&posix) && ext4.len() < posix.len(), "{ext4:?}");
    }
}
