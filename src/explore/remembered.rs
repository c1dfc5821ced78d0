//! What came of recoveries, remembered so that none is made twice, within a bound.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::time::Time;

use super::event::Outcome;

/// Bytes that all remembered outcomes take together, about. What an explorer holds is what each
/// fork of it copies the page tables of, so it must not grow with the run. States that come again
/// do so at the next crash points: those of some thousand recoveries fit.
const MOST: usize = 4 << 20;

/// What a recovery hangs on: the state, what it is told was acknowledged and, if the engine looked
/// at a clock, the time and the kind of the crash.
pub(crate) type Key = (Digest, Digest, Option<(Time, bool)>, u32);

/// The outcomes of recoveries. The oldest are forgotten first: what is forgotten follows from the
/// order of the recoveries alone, so a run that is repeated makes the same recoveries again.
#[derive(Default)]
pub(crate) struct Remembered {
    outcomes: BTreeMap<Key, Rc<Outcome>>,
    /// In the order in which they came.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Remembered {
    /// What came of such a recovery, if that is still known.
    pub(crate) fn get(&self, key: &Key) -> Option<Rc<Outcome>> {
        self.outcomes.get(key).map(Rc::clone)
    }

    /// Remembers an outcome, and forgets the oldest ones if that makes too many.
    pub(crate) fn insert(&mut self, key: Key, outcome: Rc<Outcome>) {
        self.bytes += bytes(&outcome);
        if let Some(before) = self.outcomes.insert(key, outcome) {
            self.bytes -= bytes(&before);
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

/// About what an outcome takes, with what finds it.
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
        // The digests fall, so that the oldest is not the smallest.
        (0..fit + 5).rev().for_each(|number| remembered.insert(key(number), outcome()));
        assert!(remembered.bytes <= MOST);
        assert_eq!(remembered.outcomes.len() as u64, fit);
        for number in 0..fit + 5 {
            assert_eq!(remembered.get(&key(number)).is_some(), number < fit, "{number}");
        }
    }

    #[test]
    fn what_is_remembered_again_counts_once() {
        let mut remembered = Remembered::default();
        (0..3).for_each(|_| remembered.insert(key(1), outcome()));
        assert_eq!(remembered.bytes, bytes(&outcome()));
        assert_eq!(remembered.order.len(), 1);
    }
}
