//! A history that a store may have had, as a sim's own order predicate sees it.

use crate::sim::model::Model;
use crate::sim::state::State;

/// One history that the store may have had: its ops in order, and which of them must survive.
///
/// A predicate of [`Order::Custom`](crate::sim::promise::Order::Custom) compares it with the
/// state that was read back after a crash.
pub struct History<'a, M: Model> {
    ops: Vec<(&'a M::Op, bool)>,
    states: Box<dyn Fn() -> Vec<State> + 'a>,
}

impl<'a, M: Model> History<'a, M> {
    /// A history of these ops, each with whether it must survive. `states` makes the answer of
    /// [`History::states`], and is called only when a predicate asks for it.
    pub fn new(ops: Vec<(&'a M::Op, bool)>, states: impl Fn() -> Vec<State> + 'a) -> Self {
        Self { ops, states: Box::new(states) }
    }

    /// The ops that happened, in order, each with whether it must survive. An op that failed and
    /// had no effect in this history is left out.
    pub fn ops(&self) -> impl Iterator<Item = (&'a M::Op, bool)> {
        self.ops.iter().copied()
    }

    /// The least number of ops that a prefix must have: up to the last one that must survive.
    pub fn low(&self) -> usize {
        self.ops.iter().rposition(|(_, must_survive)| *must_survive).map_or(0, |last| last + 1)
    }

    /// The states of the store: after no op, after the first, and so on to after the last, each
    /// as the model showed it when that op was issued. So `states()[n]` is the state after `n`
    /// ops.
    ///
    /// It is computed anew by each call, at a cost of the number of ops times the size of the
    /// store.
    pub fn states(&self) -> Vec<State> {
        (self.states)()
    }
}
