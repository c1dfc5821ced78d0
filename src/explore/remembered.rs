//! Remembers the outcomes of recoveries, within a bound, so that none is carried out twice.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::disk::sight::{Sight, Sights};
use crate::disk::tree::Tree;
use crate::process::world::first_tick;

use super::boot::Boot;
use super::event::Outcome;

/// The most bytes of all remembered outcomes together, approximately. Each fork of the explorer
/// copies the page tables of its memory, so this must not grow with the run. A state that recurs
/// does so within the next crash points; the outcomes of some thousand recoveries fit.
const MOST: usize = 4 << 20;

/// The inputs of a recovery that it depends on in any case: the digests of the state and of the
/// acknowledgements that it is given, and the number of the epoch.
pub(crate) type Key = (Digest, Digest, u32);

/// The other inputs of a recovery, on which it depends if it sees them.
pub(crate) struct Inputs<'a> {
    pub(crate) tree: &'a Tree,
    /// When the crash was, and the boot that follows it.
    pub(crate) clock: (Time, Boot),
    /// When the recovery begins.
    pub(crate) start: Time,
}

impl Inputs<'_> {
    /// The part of these inputs that a recovery with this outcome saw.
    fn seen_by(&self, outcome: &Outcome) -> Seen {
        Seen {
            sights: outcome.sights,
            parts: self.tree.digest_of(outcome.sights),
            clock: outcome.timed.then_some(self.clock),
            tick: outcome.sights.has(Sight::Tick).then(|| first_tick(self.start)),
        }
    }

    /// Whether a recovery that saw this in its own inputs would see the same in these.
    fn have(&self, seen: &Seen) -> bool {
        seen.clock.is_none_or(|clock| clock == self.clock)
            && seen.tick.is_none_or(|tick| tick == first_tick(self.start))
            && self.tree.digest_of(seen.sights) == seen.parts
    }
}

/// The part of its inputs that a recovery saw.
struct Seen {
    /// The parts of the tree beyond its digest, and their digest.
    sights: Sights,
    parts: Digest,
    /// If the engine read a clock or asked for the boot.
    clock: Option<(Time, Boot)>,
    /// If it saw a time that a change of this epoch left.
    tick: Option<Time>,
}

/// The outcomes of recoveries. The oldest are forgotten first. This depends on the order of the
/// recoveries alone, so a repeated run makes the same recoveries.
#[derive(Default)]
pub(crate) struct Remembered {
    /// Of each key the oldest first.
    outcomes: BTreeMap<Key, VecDeque<(Seen, Rc<Outcome>)>>,
    /// Oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Remembered {
    /// The outcome of a recovery that saw the same as one with these inputs would, if there was
    /// one and it is still remembered.
    pub(crate) fn get(&self, key: &Key, inputs: &Inputs<'_>) -> Option<Rc<Outcome>> {
        let mut outcomes = self.outcomes.get(key)?.iter();
        outcomes.find(|(seen, _)| inputs.have(seen)).map(|(_, outcome)| Rc::clone(outcome))
    }

    /// Remembers an outcome, and forgets the oldest ones to stay within the bound.
    pub(crate) fn insert(&mut self, key: Key, inputs: &Inputs<'_>, outcome: Rc<Outcome>) {
        self.bytes += bytes(&outcome);
        let seen = inputs.seen_by(&outcome);
        self.outcomes.entry(key).or_default().push_back((seen, outcome));
        self.order.push_back(key);
        while self.bytes > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            let Some(outcomes) = self.outcomes.get_mut(&oldest) else { continue };
            if let Some((_, outcome)) = outcomes.pop_front() {
                self.bytes -= bytes(&outcome);
            }
            if outcomes.is_empty() {
                self.outcomes.remove(&oldest);
            }
        }
    }
}

/// The approximate size of an outcome with its keys, in bytes.
fn bytes(outcome: &Outcome) -> usize {
    2 * size_of::<Key>() + size_of::<Seen>() + outcome.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::effect::{Effect, Ino};
    use crate::host::ending::Ending;

    fn outcome(sights: &[Sight]) -> Rc<Outcome> {
        let mut outcome = Outcome::read(&[], Ending::Finished, Time::START);
        for sight in sights {
            outcome.sights.add(*sight);
        }
        Rc::new(outcome)
    }

    fn key(number: u64) -> Key {
        (Digest(number), Digest(0), 2)
    }

    fn inputs(tree: &Tree, at: u64) -> Inputs<'_> {
        Inputs { tree, clock: (Time(at), Boot::FIRST), start: Time(at) }
    }

    #[test]
    fn it_forgets_the_oldest_first_and_stays_within_its_bound() {
        let tree = Tree::new();
        let mut remembered = Remembered::default();
        let fit = (MOST / bytes(&outcome(&[]))) as u64;
        // The digests decrease, so that the oldest is not the smallest.
        for number in (0..fit + 5).rev() {
            remembered.insert(key(number), &inputs(&tree, 0), outcome(&[]));
        }
        assert!(remembered.bytes <= MOST);
        assert_eq!(remembered.outcomes.len() as u64, fit);
        for number in 0..fit + 5 {
            let found = remembered.get(&key(number), &inputs(&tree, 0)).is_some();
            assert_eq!(found, number < fit, "{number}");
        }
    }

    #[test]
    fn an_outcome_is_used_where_the_parts_that_it_saw_are_the_same() {
        let tree = Tree::new();
        let mut later = tree.clone();
        let changed = Effect::Times { ino: Ino::ROOT, accessed: None, modified: Some(Time(9)) };
        later.apply(&changed, Time(9));
        assert_eq!(tree.digest(), later.digest());
        for (sights, same) in [
            (&[][..], true),
            (&[Sight::Numbers, Sight::Holes, Sight::NewNumbers], true),
            (&[Sight::Times], false),
        ] {
            let mut remembered = Remembered::default();
            remembered.insert(key(1), &inputs(&tree, 0), outcome(sights));
            assert!(remembered.get(&key(1), &inputs(&tree, 0)).is_some());
            let found = remembered.get(&key(1), &inputs(&later, 0)).is_some();
            assert_eq!(found, same, "{sights:?}");
        }
    }

    #[test]
    fn a_time_of_the_epoch_depends_on_the_tick_and_a_clock_on_the_time() {
        let tree = Tree::new();
        let mut timed = Outcome::clone(&outcome(&[]));
        timed.timed = true;
        for (outcome, [same, next]) in
            [(outcome(&[Sight::Tick]), [true, false]), (Rc::new(timed), [false, false])]
        {
            let mut remembered = Remembered::default();
            remembered.insert(key(1), &inputs(&tree, 0), outcome);
            for (at, found) in [(0, true), (1, same), (crate::disk::clock::TICK, next)] {
                assert_eq!(remembered.get(&key(1), &inputs(&tree, at)).is_some(), found, "{at}");
            }
        }
    }
}
