//! Judges a store whose order is promised part by part, or item by item: each part is at its own
//! place of the history.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::diff::{ItemChange, Replica};
use super::history::{Graph, HistoryNode, NodeId};
use super::reading::Reading;
use crate::sim::model::Model;
use crate::sim::state::State;

/// For each part of the store, the place on a path that it is at; 0 is the empty store.
pub(super) type Places = BTreeMap<Vec<u8>, usize>;

/// How a part compares with the state that was read, at the current place of a walk along a path.
struct PartProgress {
    /// The number of items of the part that differ here.
    differing: usize,
    /// The last place that is allowed and shows what was read.
    place: Option<usize>,
    /// The last place that changed the part.
    changed: usize,
    low: Vec<u32>,
}

/// For each part the last place on the path that it may be at, or the first part that can be at
/// none. `low` gives the ops of a part that must survive, `view` what each history changes.
pub(super) fn places<M: Model>(
    part: impl Fn(&[u8]) -> Vec<u8>,
    low: impl Fn(&[u8]) -> Vec<u32>,
    graph: &Graph<M>,
    view: &[Cow<'_, [ItemChange]>],
    reading: &Reading<'_>,
    path: &[NodeId],
) -> Result<Places, Vec<u8>> {
    let fresh =
        |part: &Vec<u8>| PartProgress { differing: 0, place: None, changed: 0, low: low(part) };
    let nodes: Vec<&HistoryNode<M>> = path.iter().map(|id| &*graph.nodes[*id]).collect();
    let mut tallies: BTreeMap<Vec<u8>, PartProgress> = BTreeMap::new();
    for (item, _) in reading.state.iter() {
        let tally = tallies.entry(part(item)).or_insert_with_key(fresh);
        tally.differing += usize::from(!reading.hidden.contains(item));
    }
    for (place, id) in path.iter().enumerate() {
        for change in &*view[*id] {
            let tally = tallies.entry(part(&change.item)).or_insert_with_key(fresh);
            tally.leave(place, &nodes);
            if !reading.hidden.contains(&*change.item) {
                tally.step(change, reading.state);
            }
        }
    }
    let mut places = Places::new();
    for (part, mut tally) in tallies {
        tally.leave(nodes.len(), &nodes);
        match tally.place {
            Some(place) => places.insert(part, place),
            None => return Err(part),
        };
    }
    Ok(places)
}

impl PartProgress {
    /// The part changes at `place`: until there it was as counted so far.
    fn leave<M: Model>(&mut self, place: usize, nodes: &[&HistoryNode<M>]) {
        if self.changed < place {
            self.changed = place;
            if self.differing == 0 && nodes[place - 1].reaches(&self.low) {
                self.place = Some(place - 1);
            }
        }
    }

    fn step(&mut self, change: &ItemChange, seen: &State) {
        let seen = seen.get(&change.item);
        self.differing += usize::from(change.new.as_deref() != seen);
        self.differing -= usize::from(change.old.as_deref() != seen);
    }
}

/// Copies a path after a recovery that showed each part at its place: changes after that place are
/// gone for good. Returns a last node for the state that was shown, with its model; the caller
/// fills in what is settled there. `None` if there is no model of that state.
pub(super) fn cut<M: Model>(
    graph: &mut Graph<M>,
    path: &[NodeId],
    places: &Places,
    part: impl Fn(&[u8]) -> Vec<u8>,
    reading: &Reading<'_>,
) -> Option<(HistoryNode<M>, Arc<Replica<M>>)> {
    let shown = |place: usize, item: &[u8]| places.get(&part(item)).is_some_and(|at| place <= *at);
    let mut model = M::default();
    let mut last = path[0];
    for (place, id) in path.iter().enumerate().skip(1) {
        let whole = graph.nodes[*id].clone();
        let mut node = graph.child(last);
        node.issued = whole.issued;
        node.taken = whole.taken.clone();
        node.begun = whole.begun.clone();
        node.changes = whole.changes.clone();
        node.changes.retain(|change| shown(place, &change.item));
        if let Some((op, at)) = &whole.applied
            && node.changes.len() == whole.changes.len()
        {
            model.apply(op, *at);
            node.applied = whole.applied.clone();
        } else if M::TIMED && !node.changes.is_empty() {
            return None;
        }
        last = graph.push(node);
    }
    if !reading.fits(&mut model) {
        model = M::restored(reading.state)?;
        if !reading.fits(&mut model) {
            return None;
        }
    }
    let replica = Arc::new(Replica::new(model, reading.to));
    let mut node = graph.child(last);
    node.digest = replica.shown().digest();
    node.snapshot = Some(replica.clone());
    node.since = 0;
    Some((node, replica))
}
