//! The engine's random bytes: a stream that the seed decides.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The stream of one process.
pub(crate) struct Entropy(ChaCha8Rng);

impl Entropy {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Fills `space` with the next bytes.
    pub(crate) fn fill(&mut self, space: &mut [u8]) {
        self.0.fill_bytes(space);
    }
}
