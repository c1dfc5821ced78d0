//! The activity of an exploration: which faults, relaxations, ops and promises came up, how often,
//! and which behaviours it met.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{EventKind, Outcome};
use crate::base::digest::{Digest, Digester};
use crate::case::Step;
use crate::disk::relax::Relaxation;
use crate::oracle::{CrashKind, FaultKind};

/// How often each thing came up that a campaign should exercise, and the behaviours that were met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Faults that really hit a call, by kind, in runs and in recoveries; disks that rotted.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Power losses whose state needs this relaxation.
    pub relaxations: BTreeMap<Relaxation, u64>,
    /// Steps of recorded runs that returned without an error, by their first word.
    pub ops: BTreeMap<String, u64>,
    /// Crash states in which an acknowledged op had to survive, by the kind of the crash.
    pub at_stake: BTreeMap<CrashKind, u64>,
    /// What recoveries did until the store was open: the calls in their order, without the bytes.
    pub recoveries: BTreeSet<Digest>,
    /// The shapes of crash states: the relaxations that one needs, and the op that the crash hit.
    pub shapes: BTreeSet<Digest>,
}

impl Activity {
    /// A run was recorded.
    pub(crate) fn recorded(&mut self, outcome: &Outcome, steps: &[Step]) {
        self.injected(outcome);
        for event in &outcome.events {
            let EventKind::Returned(number, Ok(_)) = &event.kind else { continue };
            let index = (*number as usize).checked_sub(1);
            if let Some(step) = index.and_then(|index| steps.get(index)) {
                *self.ops.entry(word(step)).or_default() += 1;
            }
        }
    }

    /// A crash state was recovered; `at_stake` if an acknowledged op had to survive.
    pub(crate) fn recovered(&mut self, outcome: &Outcome, kind: CrashKind, at_stake: bool) {
        self.injected(outcome);
        self.recoveries.insert(outcome.acts);
        if at_stake {
            *self.at_stake.entry(kind).or_default() += 1;
        }
    }

    /// Bytes rotted while the machine was down.
    pub(crate) fn rotted(&mut self) {
        *self.faults.entry(FaultKind::BitRot).or_default() += 1;
        *self.relaxations.entry(Relaxation::BitRot).or_default() += 1;
    }

    /// The power was lost in step `step` of these, with these relaxations.
    pub(crate) fn lost_power(&mut self, used: &BTreeSet<Relaxation>, step: u32, steps: &[Step]) {
        let mut digester = Digester::default();
        for relaxation in used {
            *self.relaxations.entry(*relaxation).or_default() += 1;
            digester.add(relaxation.name().as_bytes());
        }
        let hit = (step as usize).checked_sub(1).and_then(|index| steps.get(index));
        digester.add(hit.map_or("open or close".to_owned(), word).as_bytes());
        self.shapes.insert(digester.finish());
    }

    fn injected(&mut self, outcome: &Outcome) {
        for event in &outcome.events {
            if let EventKind::Injected(kind) = &event.kind {
                *self.faults.entry(*kind).or_default() += 1;
            }
        }
    }
}

/// The kind of a step: the first word of an op, or the step's own word.
pub(crate) fn word(step: &Step) -> String {
    match step {
        Step::Op(words) => words.first().map_or_else(String::new, |word| word.text()),
        Step::Reopen => "reopen".to_owned(),
        Step::Sleep(_) => "sleep".to_owned(),
        Step::ReadBack => "read-back".to_owned(),
    }
}
