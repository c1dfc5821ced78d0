//! The in-memory reference that an engine is compared with.

use crate::base::time::Time;
use crate::sim::engine::Operation;
use crate::sim::state::State;

/// The in-memory reference: what a store must show after some ops.
///
/// Equal models are one candidate from then on, so `==` must compare all that decides what a
/// model will ever show, deadlines included. A derived `PartialEq` does.
pub trait Model: Clone + Default + PartialEq + 'static {
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

    /// The ops of each client, if the op stands for clients at work at the same time: then it is
    /// these that are told to the oracle, as the adapter carries them out by
    /// [`as_client`](crate::as_client), and not the op itself.
    fn clients(op: &Self::Op) -> Option<&[Vec<Self::Op>]> {
        let _ = op;
        None
    }

    /// The items that an op is about, or `None` for the whole store (a sync, a clear). Two uses:
    /// changes are found without comparing whole states (a wrong answer costs time, not truth),
    /// and, where the order is promised per key or per part, the acknowledgement of an op covers
    /// the parts of these items alone.
    fn items(op: &Self::Op) -> Option<Vec<Vec<u8>>> {
        let _ = op;
        None
    }

    /// A model that shows this state, if the state is all there is to it. Needed only where a
    /// recovery may show what no prefix of the history shows
    /// ([`Order::Custom`](crate::oracle::Order::Custom), or atomic ops across parts): without
    /// it, what happens after such a recovery is not checked.
    fn restored(state: &State) -> Option<Self> {
        let _ = state;
        None
    }
}
