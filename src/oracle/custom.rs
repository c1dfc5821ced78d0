//! The candidates as histories that a sim's own order predicate can judge.

use super::candidates::Oracle;
use super::history::{Graph, NodeId};
use crate::base::time::Time;
use crate::sim::history::History;
use crate::sim::model::Model;
use crate::sim::promise::CrashKind;
use crate::sim::state::State;

impl<M: Model> Oracle<M> {
    /// The histories of all candidates, each from the empty store on, for a crash of this kind at
    /// this time.
    pub(super) fn histories(
        &self,
        kind: CrashKind,
        at: Time,
    ) -> impl Iterator<Item = History<'_, M>> {
        let low = self.floors.low(None, kind, at);
        self.paths().map(move |path| {
            let ops = self.ops(&path, &low);
            History::new(ops, move || states(&self.graph, &path))
        })
    }

    /// The ops that happened along a path, each with whether it must survive.
    fn ops(&self, path: &[NodeId], low: &[u32]) -> Vec<(&M::Op, bool)> {
        let happened = path.iter().filter_map(|id| {
            let node = &self.graph.nodes[*id];
            let (op, _) = node.applied.as_ref()?;
            let issued = &self.issued[node.issued?];
            let low = low.get(issued.client).copied().unwrap_or(0);
            Some((&**op, issued.index < low))
        });
        happened.collect()
    }
}

/// The state after each number of the ops that happened along a path.
fn states<M: Model>(graph: &Graph<M>, path: &[NodeId]) -> Vec<State> {
    let mut states = Vec::new();
    let mut state = State::new();
    for id in path {
        let node = &graph.nodes[*id];
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
