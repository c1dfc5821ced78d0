//! The one interface through which everything that a run leaves open is drawn.
//!
//! Three implementations: [`Random`] draws from the seed, with a stream of its own for each kind
//! of choice, so that a new kind does not shift the others; [`Exhaustive`] goes through all
//! combinations, depth first, by running the same code again and again; [`Replay`] repeats what
//! was drawn before.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::base::digest::Digester;
use crate::base::seed::Seed;

/// What a choice is about. Each kind has its own stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Choice {
    /// The steps of a workload.
    Workload,
    /// What the engine draws from the system: `getrandom`, `/dev/urandom`.
    Entropy,
    /// Which calls fail, and how.
    Fault,
    /// Which crash points are visited, where not all are.
    Point,
    /// What a crash keeps of each pending piece.
    Fate,
    /// How long the machine stays down.
    Downtime,
    /// What happens after a recovery.
    Epoch,
    /// What rots on the disk.
    Rot,
}

/// Draws numbers.
pub trait Chooser {
    /// One of `0..options`; `options` is at least 1.
    fn choose(&mut self, kind: Choice, options: u64) -> u64;
}

/// The stream of random numbers of a seed and a kind of choice, for what wants a generator of its
/// own.
pub fn stream(seed: Seed, kind: Choice) -> ChaCha8Rng {
    let mut digester = Digester::default();
    digester.add_number(seed.0);
    digester.add(format!("{kind:?}").as_bytes());
    ChaCha8Rng::seed_from_u64(digester.finish().0)
}

/// Draws from a seed.
pub struct Random {
    seed: Seed,
    streams: BTreeMap<Choice, ChaCha8Rng>,
}

impl Random {
    /// All streams of this seed, at their beginnings.
    pub fn new(seed: Seed) -> Self {
        Self { seed, streams: BTreeMap::new() }
    }
}

impl Chooser for Random {
    fn choose(&mut self, kind: Choice, options: u64) -> u64 {
        let seed = self.seed;
        let stream = self.streams.entry(kind).or_insert_with(|| stream(seed, kind));
        // The high half of a product is uniform but for a bias below options / 2^64.
        ((u128::from(stream.next_u64()) * u128::from(options)) >> 64) as u64
    }
}

/// Goes through every combination of choices, depth first.
#[derive(Default)]
pub struct Exhaustive {
    /// What is to be drawn in this run, with the number of options met there.
    path: Vec<(Choice, u64, u64)>,
    at: usize,
    differs: Option<Differs>,
}

/// A run met other choices than the run before it, after the same draws: something in it does not
/// hang on the chooser alone. This is the harness's fault or the engine's, and ends with exit 3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("choice {at} was {before:?} before and is {now:?} now, after the same choices")]
pub struct Differs {
    /// Which choice, counted from 0.
    pub at: usize,
    /// Kind and options before.
    pub before: (Choice, u64),
    /// Kind and options now.
    pub now: (Choice, u64),
}

impl Exhaustive {
    /// Runs `body` once for each combination of choices that it meets.
    ///
    /// # Errors
    /// [`Differs`], when `body` is not a function of its choices.
    pub fn each(mut body: impl FnMut(&mut dyn Chooser)) -> Result<u64, Differs> {
        let mut chooser = Self::default();
        let mut runs = 0;
        loop {
            chooser.at = 0;
            body(&mut chooser);
            runs += 1;
            if let Some(differs) = chooser.differs {
                return Err(differs);
            }
            chooser.path.truncate(chooser.at);
            while let Some((_, options, drawn)) = chooser.path.last_mut() {
                *drawn += 1;
                if drawn < options {
                    break;
                }
                chooser.path.pop();
            }
            if chooser.path.is_empty() {
                return Ok(runs);
            }
        }
    }
}

impl Chooser for Exhaustive {
    fn choose(&mut self, kind: Choice, options: u64) -> u64 {
        let at = self.at;
        self.at += 1;
        let Some(&(before, had, drawn)) = self.path.get(at) else {
            self.path.push((kind, options, 0));
            return 0;
        };
        if (before, had) != (kind, options) {
            let differs = Differs { at, before: (before, had), now: (kind, options) };
            self.differs.get_or_insert(differs);
        }
        drawn.min(options - 1)
    }
}

/// Repeats what was drawn before.
pub struct Replay {
    draws: Vec<(Choice, u64, u64)>,
    at: usize,
    differs: Option<Differs>,
}

impl Replay {
    /// The draws, each with its kind and the number of options it was drawn from.
    pub fn new(draws: Vec<(Choice, u64, u64)>) -> Self {
        Self { draws, at: 0, differs: None }
    }

    /// Where the run left the recorded draws, if it did.
    pub fn differs(&self) -> Option<&Differs> {
        self.differs.as_ref()
    }
}

impl Chooser for Replay {
    fn choose(&mut self, kind: Choice, options: u64) -> u64 {
        let at = self.at;
        self.at += 1;
        let (before, had, drawn) = self.draws.get(at).copied().unwrap_or((kind, options, 0));
        if (before, had) != (kind, options) {
            let differs = Differs { at, before: (before, had), now: (kind, options) };
            self.differs.get_or_insert(differs);
        }
        drawn.min(options - 1)
    }
}

/// Passes choices on and writes them down, for [`Replay`].
pub struct Recorder<'a> {
    inner: &'a mut dyn Chooser,
    /// What was drawn so far: kind, options, draw.
    pub draws: Vec<(Choice, u64, u64)>,
}

impl<'a> Recorder<'a> {
    /// Writes down what `inner` draws.
    pub fn new(inner: &'a mut dyn Chooser) -> Self {
        Self { inner, draws: Vec::new() }
    }
}

impl Chooser for Recorder<'_> {
    fn choose(&mut self, kind: Choice, options: u64) -> u64 {
        let drawn = self.inner.choose(kind, options);
        self.draws.push((kind, options, drawn));
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(chooser: &mut dyn Chooser) -> Vec<u64> {
        let first = chooser.choose(Choice::Fate, 3);
        let mut all = vec![first];
        all.extend((0..first).map(|_| chooser.choose(Choice::Point, 2)));
        all
    }

    #[test]
    fn exhaustive_visits_each_combination_once() {
        let mut seen = Vec::new();
        let runs = Exhaustive::each(|chooser| seen.push(draws(chooser))).expect("a function");
        assert_eq!(runs, 1 + 2 + 4);
        assert_eq!(seen[0], [0]);
        assert_eq!(seen[6], [2, 1, 1]);
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }

    #[test]
    fn exhaustive_tells_a_body_that_is_no_function_of_its_choices() {
        let mut options = 2;
        let differs = Exhaustive::each(|chooser| {
            chooser.choose(Choice::Fate, options);
            options += 1;
        });
        assert_eq!(differs.unwrap_err().now, (Choice::Fate, 3));
    }

    #[test]
    fn replay_repeats_what_was_recorded() {
        let mut random = Random::new(Seed(7));
        let mut recorder = Recorder::new(&mut random);
        let first = draws(&mut recorder);
        let mut replay = Replay::new(recorder.draws);
        assert_eq!(draws(&mut replay), first);
        assert_eq!(replay.differs(), None);
        replay.choose(Choice::Fate, 3);
        replay.at = 0;
        replay.choose(Choice::Fate, 4);
        assert!(replay.differs().is_some());
    }

    #[test]
    fn a_stream_does_not_hang_on_what_other_kinds_drew() {
        let (mut one, mut other) = (Random::new(Seed(1)), Random::new(Seed(1)));
        one.choose(Choice::Fault, 100);
        let draw = |random: &mut Random| -> Vec<u64> {
            (0..20).map(|_| random.choose(Choice::Fate, 1000)).collect()
        };
        assert_eq!(draw(&mut one), draw(&mut other));
    }
}
