//! The passes of the search: what is left out, and what is made simpler, in which order.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::counts::Counts;
use super::edit::{joined, without_epoch, without_steps};
use super::search::{Change, Effort, Search, Stop};
use super::simpler::{number, simpler};
use crate::base::text::{Word, words};
use crate::case::fault::Fault;
use crate::case::{Case, Step};

/// The most words of a case that are tried in place of a longer one.
const NAMES: usize = 4;
/// The most numbers of a case that are lowered two at a time.
const PAIRS: usize = 8;

/// The steps of a case whose details are made simple early.
const FEW: usize = 8;

/// A pass, or a few of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Structure(Effort),
    DetailsOfFew,
    Details,
}

/// The passes in the order of their cost. After each success it begins again.
const PASSES: [Pass; 6] = [
    Pass::Structure(Effort::Still),
    Pass::DetailsOfFew,
    Pass::Structure(Effort::Near),
    Pass::Structure(Effort::Anywhere),
    Pass::Details,
    Pass::Structure(Effort::Thorough),
];

impl Search<'_> {
    /// All passes until all are quiet: with the crash where it is first, which is cheap. When
    /// nothing more can be left out like that, a crash is looked for, ever harder.
    pub(super) fn passes(&mut self) -> Result<(), Stop> {
        let mut level = 0;
        while let Some(pass) = PASSES.get(level) {
            let better = self.pass(*pass)?;
            level = if better { 0 } else { level + 1 };
            self.minimal |= !better && *pass == Pass::Structure(Effort::Anywhere);
        }
        Ok(())
    }

    fn pass(&mut self, pass: Pass) -> Result<bool, Stop> {
        match pass {
            Pass::Structure(Effort::Thorough) if self.is_small() => Ok(false),
            Pass::Structure(effort) => {
                self.effort = effort;
                Ok(self.structure()? | self.words()?)
            }
            // Most of the details of many steps will go with their steps.
            Pass::DetailsOfFew if Counts::of(&self.best).steps > FEW => Ok(false),
            Pass::DetailsOfFew | Pass::Details => {
                self.effort = Effort::Still;
                self.details()
            }
        }
    }

    fn structure(&mut self) -> Result<bool, Stop> {
        Ok(self.epochs()? | self.conditions()? | self.steps()? | self.fates()?)
    }

    fn details(&mut self) -> Result<bool, Stop> {
        let first = self.turns()? | self.idle()? | self.faults()?;
        Ok(first | self.values()? | self.pairs()? | self.order()?)
    }

    /// Two crashes become one, or an epoch goes with its steps.
    fn epochs(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        let mut epoch = self.best.epochs.len();
        while epoch > 0 {
            epoch -= 1;
            if self.best.epochs.get(epoch).is_none_or(|epoch| epoch.crash.is_none()) {
                continue;
            }
            let candidates = [without_epoch(&self.best, epoch), joined(&self.best, epoch)];
            for candidate in candidates {
                if self.attempt(&candidate, Change::Structure)? {
                    better = true;
                    break;
                }
            }
        }
        Ok(better)
    }

    fn conditions(&mut self) -> Result<bool, Stop> {
        let mut better = self.spans(
            |case| case.faults.len(),
            |case, span| {
                let mut case = case.clone();
                case.faults.drain(span);
                case
            },
        )?;
        for edit in [|case: &mut Case| case.space = None, |case: &mut Case| case.evicts = false] {
            better |= self.edited(edit, Change::Structure)?;
        }
        for index in 0..self.best.faults.len() {
            let once = |case: &mut Case| {
                if let Some(fault) = case.faults.get_mut(index) {
                    fault.always = false;
                }
            };
            better |= self.edited(once, Change::Structure)?;
        }
        Ok(better)
    }

    /// Faults with smaller numbers: earlier calls, earlier steps, fewer bytes. The grammar decides
    /// which of them are faults.
    fn faults(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for index in 0..self.best.faults.len() {
            while self.simpler_fault(index)? {
                better = true;
            }
        }
        Ok(better)
    }

    fn simpler_fault(&mut self, index: usize) -> Result<bool, Stop> {
        let Some(fault) = self.best.faults.get(index) else { return Ok(false) };
        let all = words(&fault.to_string()).unwrap_or_default();
        for (at, word) in all.iter().enumerate().skip(1) {
            let Some(equals) = word.bytes.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = word.bytes.split_at(equals + 1);
            for number in simpler(value) {
                let mut other = all.clone();
                other[at].bytes = [name, &number[..]].concat();
                let Ok(fault) = Fault::parse(&other[1..]) else { continue };
                if self.edited(|case| case.faults[index] = fault, Change::Structure)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn steps(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        let mut epoch = self.best.epochs.len();
        while epoch > 0 {
            epoch -= 1;
            better |= self.spans(
                |case| case.epochs.get(epoch).map_or(0, |epoch| epoch.steps.len()),
                |case, span| without_steps(case, epoch, span),
            )?;
        }
        Ok(better)
    }

    /// Leaves spans out, from the end: half of all first, half as many after a failure, and twice
    /// as many after a success. It ends when each single one was tried.
    fn spans(
        &mut self,
        length: impl Fn(&Case) -> usize,
        without: impl Fn(&Case, Range<usize>) -> Case,
    ) -> Result<bool, Stop> {
        let mut better = false;
        let mut end = length(&self.best);
        let mut span = end.div_ceil(2);
        while end > 0 {
            span = span.clamp(1, end);
            let candidate = without(&self.best, end - span..end);
            if self.attempt(&candidate, Change::Structure)? {
                better = true;
                // A crash that was found anew may have come with fewer steps.
                end = (end - span).min(length(&self.best));
                span *= 2;
            } else if span > 1 {
                span /= 2;
            } else {
                end = (end - 1).min(length(&self.best));
            }
        }
        Ok(better)
    }

    fn turns(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for epoch in 0..self.best.epochs.len() {
            let turns = |case: &Case| {
                case.epochs.get(epoch).and_then(|epoch| epoch.turns.as_ref()).map_or(0, Vec::len)
            };
            better |= self.spans(turns, |case, span| {
                let mut case = case.clone();
                if let Some(turns) = case.epochs.get_mut(epoch).and_then(|e| e.turns.as_mut()) {
                    turns.drain(span);
                }
                case
            })?;
        }
        Ok(better)
    }

    /// Fates with fewer surprises.
    fn fates(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for epoch in 0..self.best.epochs.len() {
            for fate in ["", "keep=all", "keep=nothing"] {
                better |=
                    self.fate(epoch, |words_now| *words_now = words(fate).unwrap_or_default())?;
            }
            let length = |case: &Case| {
                let crash = case.epochs.get(epoch).and_then(|epoch| epoch.crash.as_ref());
                crash.map_or(0, |crash| crash.fate.len())
            };
            let mut index = length(&self.best);
            while index > 1 {
                index -= 1;
                better |= self.fate(epoch, |words| {
                    if index < words.len() {
                        words.remove(index);
                    }
                })?;
            }
        }
        Ok(better)
    }

    fn fate(&mut self, epoch: usize, edit: impl FnOnce(&mut Vec<Word>)) -> Result<bool, Stop> {
        let edit = |case: &mut Case| {
            if let Some(crash) = case.epochs.get_mut(epoch).and_then(|e| e.crash.as_mut()) {
                edit(&mut crash.fate);
            }
        };
        self.edited(edit, Change::Detail)
    }

    /// Shorter sleeps, and less time between a crash and its recovery.
    fn idle(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for epoch in 0..self.best.epochs.len() {
            for share in [0, 2] {
                let shorter = |duration: Duration| duration.checked_div(share).unwrap_or_default();
                let down = |case: &mut Case| {
                    if let Some(crash) = case.epochs.get_mut(epoch).and_then(|e| e.crash.as_mut()) {
                        crash.down = shorter(crash.down);
                    }
                };
                better |= self.edited(down, Change::Detail)?;
                for index in 0..self.best.epochs.get(epoch).map_or(0, |epoch| epoch.steps.len()) {
                    let sleep = |case: &mut Case| {
                        if let Some(Step::Sleep(duration)) = step_of(case, epoch, index) {
                            *duration = shorter(*duration);
                        }
                    };
                    better |= self.edited(sleep, Change::Detail)?;
                }
            }
        }
        Ok(better)
    }

    /// Ops with fewer words, such as a batch of fewer changes.
    fn words(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for (epoch, index) in places(&self.best) {
            let mut end = op_of(&self.best, epoch, index).map_or(0, <[Word]>::len);
            // A change of a batch has a few words: one alone can rarely go.
            while end > 1 {
                for span in (1..=4.min(end - 1)).rev() {
                    let fewer = |case: &mut Case| {
                        if let Some(Step::Op(words)) = step_of(case, epoch, index) {
                            words.drain(end - span..end);
                        }
                    };
                    if self.edited(fewer, Change::Structure)? {
                        better = true;
                        break;
                    }
                }
                let length = op_of(&self.best, epoch, index).map_or(0, <[Word]>::len);
                end = (end - 1).min(length);
            }
        }
        Ok(better)
    }

    /// Simpler words: each in all ops that have it first, because what is written under a name is
    /// read under it; then each alone.
    fn values(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for word in values_of(&self.best) {
            let mut now = word;
            while let Some(next) = self.simpler_everywhere(&now)? {
                better = true;
                now = next;
            }
        }
        for (epoch, index) in places(&self.best) {
            for at in 1..op_of(&self.best, epoch, index).map_or(0, <[Word]>::len) {
                while self.simpler_at(epoch, index, at)? {
                    better = true;
                }
            }
        }
        Ok(better)
    }

    fn simpler_everywhere(&mut self, word: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
        for other in candidates(&self.best, word) {
            let everywhere = |case: &mut Case| {
                let steps = case.epochs.iter_mut().flat_map(|epoch| &mut epoch.steps);
                let ops = steps.filter_map(|step| match step {
                    Step::Op(words) => words.get_mut(1..),
                    Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
                });
                ops.flatten().filter(|old| old.bytes == word).for_each(|old| {
                    old.bytes.clone_from(&other);
                });
            };
            if self.edited(everywhere, Change::Detail)? {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    fn simpler_at(&mut self, epoch: usize, index: usize, at: usize) -> Result<bool, Stop> {
        let Some(word) = op_of(&self.best, epoch, index).and_then(|words| words.get(at)) else {
            return Ok(false);
        };
        for other in candidates(&self.best, &word.bytes.clone()) {
            let here = |case: &mut Case| {
                if let Some(Step::Op(words)) = step_of(case, epoch, index) {
                    words[at].bytes.clone_from(&other);
                }
            };
            if self.edited(here, Change::Detail)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Two numbers lowered together: what matters may be their difference.
    fn pairs(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        let all = values_of(&self.best);
        let numbers: Vec<i128> = all.iter().filter_map(|word| number(word)).take(PAIRS).collect();
        for (position, &one) in numbers.iter().enumerate() {
            for &other in &numbers[position + 1..] {
                let mut less = one.min(other);
                while less > 0 {
                    let lowered = |case: &mut Case| lower(case, [one, other], less);
                    if self.edited(lowered, Change::Detail)? {
                        better = true;
                        break;
                    }
                    less /= 2;
                }
            }
        }
        Ok(better)
    }

    /// Two neighbours change places where the simpler op can come first.
    fn order(&mut self) -> Result<bool, Stop> {
        let mut better = false;
        for (epoch, index) in places(&self.best) {
            let swapped = |case: &mut Case| {
                let Some(epoch) = case.epochs.get_mut(epoch) else { return };
                if index + 1 < epoch.steps.len() {
                    epoch.steps.swap(index, index + 1);
                }
            };
            better |= self.edited(swapped, Change::Detail)?;
        }
        Ok(better)
    }

    fn edited(&mut self, edit: impl FnOnce(&mut Case), change: Change) -> Result<bool, Stop> {
        let mut candidate = self.best.clone();
        edit(&mut candidate);
        self.attempt(&candidate, change)
    }
}

/// Makes two numbers less, wherever they are words of an op.
fn lower(case: &mut Case, numbers: [i128; 2], less: i128) {
    for step in case.epochs.iter_mut().flat_map(|epoch| &mut epoch.steps) {
        let Step::Op(words) = step else { continue };
        for word in words.iter_mut().skip(1) {
            if let Some(number) = number(&word.bytes).filter(|number| numbers.contains(number)) {
                word.bytes = (number - less).to_string().into_bytes();
            }
        }
    }
}

/// The steps of a case: epoch and index.
fn places(case: &Case) -> Vec<(usize, usize)> {
    let epochs = case.epochs.iter().enumerate();
    epochs.flat_map(|(epoch, of)| (0..of.steps.len()).map(move |index| (epoch, index))).collect()
}

fn step_of(case: &mut Case, epoch: usize, index: usize) -> Option<&mut Step> {
    case.epochs.get_mut(epoch)?.steps.get_mut(index)
}

fn op_of(case: &Case, epoch: usize, index: usize) -> Option<&[Word]> {
    match case.epochs.get(epoch)?.steps.get(index)? {
        Step::Op(words) => Some(words),
        Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
    }
}

/// The words of the ops after their names, each once, the longest first.
fn values_of(case: &Case) -> Vec<Vec<u8>> {
    let ops = places(case).into_iter().filter_map(|(epoch, index)| op_of(case, epoch, index));
    let words = ops.filter_map(|words| words.get(1..)).flatten();
    let distinct: BTreeSet<(usize, &[u8])> =
        words.map(|word| (word.bytes.len(), &word.bytes[..])).collect();
    distinct.into_iter().rev().map(|(_, bytes)| bytes.to_vec()).collect()
}

/// The words to try in place of a word: simpler ones, and the simplest ones of the case.
fn candidates(case: &Case, word: &[u8]) -> Vec<Vec<u8>> {
    let mut all = simpler(word);
    let names = values_of(case).into_iter().rev().take(NAMES);
    let alike = |name: &Vec<u8>| number(name).is_some() == number(word).is_some();
    let names =
        names.filter(|name| !name.is_empty() && (name.len(), &name[..]) < (word.len(), word));
    all.extend(names.filter(alike));
    all
}
