//! The run that is walked: the epochs before, and the one whose log it is.

use crate::base::text::{Word, quote, words};
use crate::case::turn::Turn;
use crate::case::{Case, Crash, Epoch, Expect};
use crate::disk::pending::Pending;
use crate::oracle::Violation;

use super::boot::Boot;
use super::calls::Calls;
use super::conditions::Conditions;
use super::crash_point::CrashPoint;
use super::crash_state::{Crashed, DOWN, Left};

/// The case word for the number of pages that an interrupted write had copied.
pub(crate) const PAGES: &str = "pages=";

/// The case word for a cache that dropped the pages whose write had failed.
pub(crate) const EVICTED: &str = "cache=evicted";

/// The run that is walked: the epochs before, and the one whose log it is.
#[derive(Clone)]
pub(crate) struct Lineage {
    /// The epochs before this one, each with the crash that ended it.
    pub(crate) before: Vec<Epoch>,
    /// This one.
    pub(crate) epoch: Epoch,
    /// The scheduling decisions in this one, if its engine has more than one thread.
    pub(crate) turns: Option<Vec<Turn>>,
    /// The conditions of all epochs.
    pub(crate) conditions: Conditions,
    /// Whether a sync was muted in an earlier epoch.
    pub(crate) muted: bool,
    /// The boot that this epoch runs in.
    pub(crate) boot: Boot,
}

impl Lineage {
    /// The number of crashes before this epoch.
    pub(crate) fn depth(&self) -> u32 {
        u32::try_from(self.before.len()).unwrap_or(u32::MAX)
    }

    /// The number of the epoch that a recovery from a crash in this one begins; 1 is the first.
    pub(crate) fn next_epoch(&self) -> u32 {
        self.depth().saturating_add(2)
    }

    /// This epoch, ended by a crash.
    pub(crate) fn ended_by(
        &self,
        crashed: &Crashed<'_>,
        calls: &Calls,
        pending: &Pending,
    ) -> Epoch {
        let point = crashed.point;
        let steps = self.epoch.steps.iter().take(point.position.step as usize).cloned().collect();
        let crash = Crash {
            kind: crashed.kind,
            position: point.position,
            within: within(calls, point).map(str::to_owned),
            down: DOWN,
            fate: crashed.left.words(pending),
        };
        let turns = self.turns.as_ref().map(|turns| turns[..point.turns.min(turns.len())].to_vec());
        Epoch { steps, crash: Some(crash), turns }
    }

    /// The case of a violation that no crash preceded.
    pub(crate) fn case_without_crash(
        &self,
        case: &Case,
        turns: Option<Vec<Turn>>,
        violation: &Violation,
    ) -> Case {
        let epoch = Epoch { turns, ..self.epoch.clone() };
        self.case(case, vec![epoch], violation)
    }

    /// The case of a violation after a crash that ended this epoch. `next` has the steps after the
    /// recovery that belong to the case, and its scheduling decisions.
    pub(crate) fn case_after_crash(
        &self,
        case: &Case,
        ended: Epoch,
        next: Epoch,
        violation: &Violation,
    ) -> Case {
        let mut epochs = self.before.clone();
        epochs.push(ended);
        if !next.steps.is_empty() || next.turns.is_some() {
            epochs.push(next);
        }
        self.case(case, epochs, violation)
    }

    fn case(&self, case: &Case, epochs: Vec<Epoch>, violation: &Violation) -> Case {
        let expect = Expect::Violation(violation.class(), Some(violation.signature.clone()));
        Case { epochs, expect, known: None, ..self.conditions.in_case(case) }
    }
}

impl Left {
    /// Its words in a case.
    fn words(&self, pending: &Pending) -> Vec<Word> {
        let text = match self {
            Self::All => return Vec::new(),
            Self::Pages(pages) => format!("{PAGES}{pages}"),
            Self::Evicted => EVICTED.to_owned(),
            Self::Fate(fate) => fate.text(pending),
            Self::Rotten(fate, rot, _) => {
                format!("{} {}", fate.text(pending), quote(&rot.word()))
            }
        };
        words(&text).unwrap_or_default()
    }
}

/// The call in flight at a point, or the next one that changes something. After a step that
/// returned there is none: the next call belongs to a step that the case leaves out.
pub(crate) fn within<'c>(calls: &'c Calls, point: &CrashPoint) -> Option<&'c str> {
    if point.position.returned && point.flight.is_none() {
        return None;
    }
    calls.name_of_counted(point.flight.unwrap_or(point.effects))
}
