//! Remembers the outcomes of recoveries, within a bound, so that none is carried out twice.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::time::Time;

use super::boot::Boot;
use super::event::Outcome;

/// The most bytes of all remembered outcomes together, approximately. Each fork of the explorer
/// copies the page tables of its memory, so this must not grow with the run. A state that recurs
/// does so within the next crash points; the outcomes of some thousand recoveries fit.
const MOST: usize = 4 << 20;

/// The inputs of a recovery: the digests of the state and of the acknowledgements that it is given
/// and, if the engine read a clock or asked for the boot, the time of the crash and the boot that
/// follows it; and the number of the epoch.
pub(crate) type Key = (Digest, Digest, Option<(Time, Boot)>, u32);

/// The outcomes of recoveries. The oldest are forgotten first. This depends on the order of the
/// recoveries alone, so a repeated run makes the same recoveries.
#[derive(Default)]
pub(crate) struct Remembered {
    outcomes: BTreeMap<Key, Rc<Outcome>>,
    /// Oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Remembered {
    /// The outcome of a recovery with these inputs, if it is still remembered.
    pub(crate) fn get(&self, key: &Key) -> Option<Rc<Outcome>> {
        self.outcomes.get(key).map(Rc::clone)
    }

    /// Remembers an outcome, and forgets the oldest ones to stay within the bound.
    pub(crate) fn insert(&mut self, key: Key, outcome: Rc<Outcome>) {
        self.bytes += bytes(&outcome);
        if let Some(previous) = self.outcomes.insert(key, outcome) {
            self.bytes -= bytes(&previous);
        } else {
            self.order.push_back(key);
        }
        while self.bytes > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(outcome) = self.outcomes.remove(&oldest) {
                self.bytes -= bytes(&outcome);
            }
        }
    }
}

/// The approximate size of an outcome with its keys, in bytes.
fn bytes(outcome: &Outcome) -> usize {
    2 * size_of::<Key>() + outcome.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::ending::Ending;

    fn outcome() -> Rc<Outcome> {
        Rc::new(Outcome::read(&[], Ending::Finished, Time::START))
    }

    fn key(number: u64) -> Key {
        (Digest(number), Digest(0), None, 2)
    }

    #[test]
    fn it_forgets_the_oldest_first_and_stays_within_its_bound() {
        let mut remembered = Remembered::default();
        let fit = (MOST / bytes(&outcome())) as u64;
        // The digests decrease, so that the oldest is not the smallest.
        (0..fit + 5).rev().for_each(|number| remembered.insert(key(number), outcome()));
        assert!(remembered.bytes <= MOST);
        assert_eq!(remembered.outcomes.len() as u64, fit);
        for number in 0..fit + 5 {
            assert_eq!(remembered.get(&key(number)).is_some(), number < fit, "{number}");
        }
    }

    #[test]
    fn an_outcome_that_is_remembered_again_counts_once() {
        let mut remembered = Remembered::default();
        (0..3).for_each(|_| remembered.insert(key(1), outcome()));
        assert_eq!(remembered.bytes, bytes(&outcome()));
        assert_eq!(remembered.order.len(), 1);
    }
}
