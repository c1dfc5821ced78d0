//! The in-memory reference that an engine is compared with.

use crate::engine::Operation;
use crate::state::State;
use crate::time::Time;

/// The in-memory reference: what a store must show after some ops.
pub trait Model: Clone + Default + 'static {
    /// One operation.
    type Op: Operation;

    /// Applies an op that was issued at `at`. An op with a time to live counts from there.
    fn apply(&mut self, op: &Self::Op, at: Time);

    /// What a read-back at `at` must show.
    fn state(&mut self, at: Time) -> &State;

    /// Whether [`Model::state`] depends on when one looks (times to live). Without this, states
    /// that were read at different times are compared once.
    const TIMED: bool = false;

    /// What an op that was interrupted or returned an error may have done instead of all or
    /// nothing: each entry is one more candidate. A batch that is not atomic lists its parts.
    fn partial(op: &Self::Op) -> Vec<Self::Op> {
        let _ = op;
        Vec::new()
    }
}
