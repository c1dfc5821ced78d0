//! The order of cases: which of two is simpler to read.

use super::counts::Counts;
use crate::case::{Case, Crash, Step};
use crate::oracle::CrashKind;

/// How much there is to read in a case. The fields are compared in their order; a search accepts
/// smaller cases only, so it ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    crashes: usize,
    faults: usize,
    steps: usize,
    turns: usize,
    /// Surprises of the disk: how far the fates are from keeping everything.
    fates: usize,
    /// The bytes of all words, and of the lines of the conditions.
    bytes: usize,
    /// Nanoseconds that the machine is down or the workload sleeps.
    idle: u128,
    /// The lines themselves, so that simpler names come first.
    lines: Vec<Vec<u8>>,
}

impl Size {
    /// The size of a case.
    pub(super) fn of(case: &Case) -> Self {
        let Counts { steps, crashes, faults, turns } = Counts::of(case);
        let all = || case.epochs.iter().flat_map(|epoch| &epoch.steps);
        let ended = || case.epochs.iter().filter_map(|epoch| epoch.crash.as_ref());
        let mut lines: Vec<Vec<u8>> = case.conditions().into_iter().map(String::into).collect();
        lines.extend(all().filter_map(line));
        let in_fates = ended().flat_map(|crash| &crash.fate).map(|word| word.bytes.len());
        let bytes = lines.iter().map(Vec::len).sum::<usize>() + in_fates.sum::<usize>();
        let words = all().filter_map(|step| match step {
            Step::Op(words) => Some(words),
            Step::Sleep(_) | Step::Reopen | Step::ReadBack => None,
        });
        let empty = words.flatten().filter(|word| word.bytes.is_empty()).count();
        // An empty word is hard to read: it is worse than a letter.
        let bytes = bytes + 2 * empty;
        let sleeps = all().map(|step| match step {
            Step::Sleep(duration) => duration.as_nanos(),
            Step::Op(_) | Step::Reopen | Step::ReadBack => 0,
        });
        let idle = sleeps.chain(ended().map(|crash| crash.down.as_nanos()));
        Self {
            crashes,
            faults,
            steps,
            turns,
            fates: ended().map(surprises).sum(),
            bytes,
            idle: idle.fold(0, u128::saturating_add),
            lines,
        }
    }
}

impl Size {
    /// The bytes of all words and conditions.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it fits a glance: then no more is spent on it than it takes.
    pub(super) fn is_small(&self) -> bool {
        self.crashes <= 1 && self.faults == 0 && self.steps <= 2 && self.turns <= 4
    }
}

/// The words of an op, each ended by a byte that no word sorts before. A sleep is measured by its
/// length, and a reopen has no words.
fn line(step: &Step) -> Option<Vec<u8>> {
    let Step::Op(words) = step else { return None };
    let mut line = Vec::new();
    for word in words {
        line.extend_from_slice(&word.bytes);
        line.push(0);
    }
    Some(line)
}

/// A crash that keeps everything is no surprise, one that keeps nothing is a small one; each word
/// more names a piece with a fate of its own.
fn surprises(crash: &Crash) -> usize {
    let base = match crash.fate.first() {
        None => return 0,
        Some(word) if word.bytes == b"keep=all" => 0,
        Some(word) if word.bytes == b"keep=nothing" => 1,
        Some(_) => 2,
    };
    match crash.kind {
        CrashKind::Power => base + 2 * (crash.fate.len() - 1),
        CrashKind::Process => 2 * crash.fate.len(),
    }
}
