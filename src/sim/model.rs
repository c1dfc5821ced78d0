//! The in-memory reference that an engine is compared with.

use crate::base::time::Time;
use crate::sim::engine::Operation;
use crate::sim::state::State;

/// The in-memory reference: what a store must show after some ops. `Default` is the empty store.
///
/// Two histories whose models are equal are treated as one from then on. So `==` must compare
/// everything that determines what a model will ever show, deadlines included; a derived
/// `PartialEq` does.
pub trait Model: Clone + Default + PartialEq + 'static {
    /// One operation.
    type Op: Operation;

    /// Applies an op that was issued at `at`. A time to live counts from there.
    fn apply(&mut self, op: &Self::Op, at: Time);

    /// The items that a read-back at `at` must show.
    fn state(&mut self, at: Time) -> &State;

    /// Whether [`Model::state`] depends on its `at`, as it does with times to live. If not, equal
    /// read-backs at different times are checked once.
    const TIMED: bool = false;

    /// The effects, other than all or nothing, that an op may have had if it was interrupted or
    /// returned an error. Each entry is one possibility, as an op. A batch that is not atomic lists
    /// its parts.
    fn partial(op: &Self::Op) -> Vec<Self::Op> {
        let _ = op;
        Vec::new()
    }

    /// The ops of each client, if this op is several clients at work at the same time.
    /// The adapter then carries out each of them by [`as_client`](crate::as_client), and the
    /// store is judged by them instead of by the op itself.
    fn clients(op: &Self::Op) -> Option<&[Vec<Self::Op>]> {
        let _ = op;
        None
    }

    /// The items that an op is about, or `None` (the default) for an op about the whole store,
    /// such as a sync or a clear. It serves two purposes. Changes are found without comparing
    /// whole states; a wrong answer costs time there, not correctness. And where the order is
    /// promised [per key or per part](crate::sim::promise::Order), the acknowledgement of an op
    /// covers only the parts that these items are in.
    fn items(op: &Self::Op) -> Option<Vec<Vec<u8>>> {
        let _ = op;
        None
    }

    /// A model that shows this state, if the state is all there is to a model; by default `None`.
    /// It is needed only where a recovery may show what no prefix of the history shows: with
    /// [`Order::Custom`](crate::sim::promise::Order::Custom), or with atomic ops across parts.
    /// Without it, nothing is checked after such a recovery.
    fn restored(state: &State) -> Option<Self> {
        let _ = state;
        None
    }
}
