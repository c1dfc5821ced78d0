//! One history from the empty store on, as a sim's own order predicate sees it.

use rpds::VectorSync;

use super::history::{Graph, Issued, NodeId};
use crate::sim::model::Model;
use crate::sim::state::State;

/// One history that the store may have had: ops in their order, and which of them must survive.
pub struct Line<'a, M: Model> {
    pub(super) graph: &'a Graph<M>,
    pub(super) issued: &'a VectorSync<Issued<M::Op>>,
    pub(super) path: Vec<NodeId>,
    pub(super) low: Vec<u32>,
}

impl<'a, M: Model> Line<'a, M> {
    /// The ops that happened, in order; with each, whether it must survive. An op that failed
    /// and had no effect in this history is left out.
    pub fn ops(&self) -> impl Iterator<Item = (&'a M::Op, bool)> {
        self.path.iter().filter_map(|id| {
            let node = &self.graph.nodes[*id];
            let (op, _) = node.applied.as_ref()?;
            let issued = &self.issued[node.issued?];
            let low = self.low.get(issued.client).copied().unwrap_or(0);
            Some((&**op, issued.index < low))
        })
    }

    /// How many ops must survive: those up to the last that must.
    pub fn low(&self) -> usize {
        let musts = self.ops().enumerate().filter(|(_, (_, must))| *must);
        musts.map(|(at, _)| at + 1).last().unwrap_or(0)
    }

    /// The state after each number of ops, from none to all, as the model showed it when each
    /// op was issued.
    pub fn states(&self) -> Vec<State> {
        let mut states = Vec::new();
        let mut state = State::new();
        for id in &self.path {
            let node = &self.graph.nodes[*id];
            if node.applied.is_some() {
                states.push(state.clone());
            }
            for change in &node.changes {
                match &change.new {
                    Some(value) => state.set(&*change.item, &**value),
                    None => state.remove(&change.item),
                };
            }
        }
        states.push(state);
        states
    }
}
