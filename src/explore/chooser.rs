//! Draws workloads, faults, crash points, fates and rot from a seed.
//!
//! Each kind of choice has its own stream of random numbers, so that a new kind of choice does not
//! shift the others. Schedules and entropy have their own derived seeds
//! ([`Seed::derive`]).

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::base::digest::Digester;
use crate::base::seed::Seed;

/// The subject of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// The steps of a workload.
    Workload,
    /// Which calls fail, and how.
    Fault,
    /// Which crash points are visited, where not all are.
    Point,
    /// What a crash keeps of each pending piece.
    Fate,
    /// Which bytes rot.
    Rot,
}

impl Choice {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 5] = [Self::Workload, Self::Fault, Self::Point, Self::Fate, Self::Rot];

    /// The key of the stream. A seed's numbers follow from these words: a new word for an old
    /// choice would change every run.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Workload => "Workload",
            Self::Fault => "Fault",
            Self::Point => "Point",
            Self::Fate => "Fate",
            Self::Rot => "Rot",
        }
    }
}

/// The stream of random numbers of a seed and a kind of choice, for a caller that needs a
/// generator.
pub fn stream(seed: Seed, kind: Choice) -> ChaCha8Rng {
    let mut digester = Digester::default();
    digester.add_number(seed.0);
    digester.add(kind.key().as_bytes());
    ChaCha8Rng::seed_from_u64(digester.finish().0)
}

/// Draws from a seed.
pub struct Chooser {
    seed: Seed,
    streams: BTreeMap<Choice, ChaCha8Rng>,
}

impl Chooser {
    /// All streams of this seed, at their beginnings.
    pub fn new(seed: Seed) -> Self {
        Self { seed, streams: BTreeMap::new() }
    }

    /// One of `0..options`; `options` is at least 1.
    pub fn choose(&mut self, kind: Choice, options: u64) -> u64 {
        let seed = self.seed;
        let stream = self.streams.entry(kind).or_insert_with(|| stream(seed, kind));
        // The high half of a product is uniform but for a bias below options / 2^64.
        ((u128::from(stream.next_u64()) * u128::from(options)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_does_not_depend_on_draws_of_other_kinds() {
        let (mut one, mut other) = (Chooser::new(Seed(1)), Chooser::new(Seed(1)));
        one.choose(Choice::Fault, 100);
        let draw = |chooser: &mut Chooser| -> Vec<u64> {
            (0..20).map(|_| chooser.choose(Choice::Fate, 1000)).collect()
        };
        assert_eq!(draw(&mut one), draw(&mut other));
    }

    #[test]
    fn the_numbers_of_a_seed_are_pinned() {
        let first = |choice| Chooser::new(Seed(1)).choose(choice, 1 << 32);
        expect_test::expect![[r#"
            [
                475373369,
                556671215,
                3678293827,
                1973466710,
                3957344097,
            ]
        "#]]
        .assert_debug_eq(&Choice::ALL.map(first));
    }
}
