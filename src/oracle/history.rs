//! The histories that a store may have had, as a graph.
//!
//! A node is a history: its parent's and one more op. The node without a parent is the empty
//! store. With one client and no error the graph is a chain, and its nodes are the prefixes of
//! the run. An op that is in flight or failed branches it, because the op may have happened or
//! not; clients whose ops overlap branch it by the orders in which these may have happened.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{RedBlackTreeSetSync, VectorSync};

use super::diff::{ItemChange, Replica, differences};
use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::sim::engine::Ack;
use crate::sim::model::Model;
use crate::sim::state::State;

/// The index of a node in its graph; a parent's is smaller than its children's.
pub(super) type NodeId = usize;

/// Models are kept at least this many ops apart, and at least as many as the model has items. So
/// all kept models together cost no more than the history, and the model of any node is a short
/// replay away.
const STRIDE: usize = 64;

/// An op that was issued.
#[derive(Clone)]
pub(super) struct Issued<Op> {
    pub(super) step: u32,
    pub(super) client: usize,
    /// Its number among the client's ops, from 0.
    pub(super) index: u32,
    pub(super) op: Arc<Op>,
    /// The time at which it was issued.
    pub(super) at: Time,
    /// The number of nodes in the graph before it was issued.
    pub(super) nodes: NodeId,
    /// Its result and when it returned; `None` while it is in flight.
    pub(super) result: Option<(Result<Ack, ()>, Time)>,
}

/// One history.
pub(super) struct HistoryNode<M: Model> {
    pub(super) parent: Option<NodeId>,
    /// The last op, as an index into the list of all ops issued; `None` for the empty store and
    /// for the state that a recovery showed.
    pub(super) issued: Option<usize>,
    /// The op or part of it that happened, with the time of its issue; `None` if none did.
    pub(super) applied: Option<(Arc<M::Op>, Time)>,
    /// For each client, the number of its ops that are settled in this history: they happened here
    /// or they did not. All ops before the last recovery are settled.
    pub(super) taken: Vec<u32>,
    /// The clients whose next op has happened in part.
    pub(super) begun: Vec<usize>,
    /// How the state that it shows differs from that of its parent.
    pub(super) changes: Vec<ItemChange>,
    pub(super) digest: Digest,
    pub(super) snapshot: Option<Arc<Replica<M>>>,
    /// The number of ops since the last node with a snapshot.
    pub(super) since: usize,
}

impl<M: Model> HistoryNode<M> {
    /// Whether it contains at least these numbers of ops of each client.
    pub(super) fn reaches(&self, low: &[u32]) -> bool {
        low.iter().enumerate().all(|(client, low)| self.count(client) >= *low)
    }

    /// The number of ops of a client that are settled here.
    pub(super) fn count(&self, client: usize) -> u32 {
        self.taken.get(client).copied().unwrap_or(0)
    }
}

/// All histories that a store may have had, including those that a recovery has ruled out.
///
/// A clone shares all nodes, and its first change copies only a few. One is made for each crash
/// state, so it must not cost more the longer the run was.
#[derive(Clone)]
pub(super) struct Graph<M: Model> {
    pub(super) nodes: VectorSync<Arc<HistoryNode<M>>>,
    /// For each node, whether the store may still have had that history.
    pub(super) kept: VectorSync<bool>,
    /// Further parents of nodes that can be reached in several ways.
    further_parents: BTreeMap<NodeId, Vec<NodeId>>,
    /// The nodes that are kept, by the state that they show.
    index: RedBlackTreeSetSync<(Digest, NodeId)>,
    /// The node up to which the graph is a chain: the kept nodes that are not younger are this one
    /// and its ancestors, each the only child of the one before. A recovery keeps all nodes up to
    /// some node of the chain, so it need not look at them.
    trunk: NodeId,
    /// The number of kept nodes that are younger than the trunk.
    beyond: usize,
}

impl<M: Model> Graph<M> {
    /// The graph of the empty store alone.
    pub(super) fn new() -> Self {
        let start = Replica::new(M::default(), Time::START);
        let mut graph = Self {
            nodes: VectorSync::new_sync(),
            kept: VectorSync::new_sync(),
            further_parents: BTreeMap::new(),
            index: RedBlackTreeSetSync::new_sync(),
            trunk: 0,
            beyond: 0,
        };
        graph.push(HistoryNode {
            parent: None,
            issued: None,
            applied: None,
            taken: Vec::new(),
            begun: Vec::new(),
            changes: differences(&State::new(), start.shown()),
            digest: start.shown().digest(),
            snapshot: Some(Arc::new(start)),
            since: 0,
        });
        graph
    }

    pub(super) fn push(&mut self, node: HistoryNode<M>) -> NodeId {
        let id = self.nodes.len();
        if self.beyond == 0 && node.parent.is_none_or(|parent| parent == self.trunk) {
            self.trunk = id;
        } else {
            self.beyond += 1;
        }
        self.index.insert_mut((node.digest, id));
        self.nodes.push_back_mut(Arc::new(node));
        self.kept.push_back_mut(true);
        id
    }

    /// Adds a further way to reach a node.
    pub(super) fn add_parent(&mut self, id: NodeId, parent: Option<NodeId>) {
        self.further_parents.entry(id).or_default().extend(parent);
        if id <= self.trunk && parent.is_some_and(|parent| parent > self.trunk) {
            self.cut_trunk(0);
        }
    }

    /// The graph may stop being a chain after node `most`.
    fn cut_trunk(&mut self, most: NodeId) {
        let kept = |id: &NodeId| self.kept[*id];
        self.trunk = (0..=self.trunk.min(most)).rev().find(kept).unwrap_or(0);
        self.beyond = (self.trunk + 1..self.nodes.len()).filter(kept).count();
    }

    fn drop_node(&mut self, id: NodeId) {
        self.kept.set_mut(id, false);
        self.index.remove_mut(&(self.nodes[id].digest, id));
    }

    /// A child of `parent` that shows the same state; the caller fills in what happened.
    pub(super) fn child(&self, parent: NodeId) -> HistoryNode<M> {
        let above = &self.nodes[parent];
        HistoryNode {
            parent: Some(parent),
            issued: None,
            applied: None,
            taken: above.taken.clone(),
            begun: above.begun.clone(),
            changes: Vec::new(),
            digest: above.digest,
            snapshot: None,
            since: above.since,
        }
    }

    /// Whether a node is so far from the last snapshot that it should get one.
    pub(super) fn wants_snapshot(node: &HistoryNode<M>, replica: &Replica<M>) -> bool {
        node.since >= STRIDE.max(replica.shown().len())
    }

    /// The kept nodes that show a state with this digest, the youngest first. States with equal
    /// digests count as equal: a digest has 64 bits, a night of testing makes fewer than 10^13
    /// comparisons, and no engine aims at a collision, so one wrong pass is to be expected in about
    /// 10^6 nights. Where a match has a lasting effect (a recovery), the states themselves are
    /// compared.
    pub(super) fn showing(&self, digest: Digest) -> impl Iterator<Item = NodeId> {
        self.index.range((digest, 0)..=(digest, NodeId::MAX)).rev().map(|(_, id)| *id)
    }

    /// The nodes that are kept.
    pub(super) fn kept(&self) -> impl DoubleEndedIterator<Item = NodeId> {
        (0..self.nodes.len()).filter(|id| self.kept[*id])
    }

    /// The nodes from the empty store to this one, in order.
    pub(super) fn path(&self, to: NodeId) -> Vec<NodeId> {
        let above = |id: &NodeId| self.nodes[*id].parent;
        let mut path: Vec<NodeId> = std::iter::successors(Some(to), above).collect();
        path.reverse();
        path
    }

    /// Keeps these nodes and all their ancestors, and rules out all others. The cost is the number
    /// of nodes younger than the last node of the chain that they descend from.
    pub(super) fn keep(&mut self, ids: &[NodeId]) {
        let (mut last, mut younger) = (0, BTreeSet::new());
        let mut open = ids.to_vec();
        while let Some(id) = open.pop() {
            if id <= self.trunk {
                last = last.max(id);
            } else if younger.insert(id) {
                open.extend(self.nodes[id].parent);
                open.extend(self.further_parents.get(&id).into_iter().flatten());
            }
        }
        for id in last + 1..self.nodes.len() {
            if self.kept[id] && !younger.contains(&id) {
                self.drop_node(id);
            }
        }
        let mut end = last;
        let mut follows = |id: &NodeId| {
            let before = std::mem::replace(&mut end, *id);
            self.nodes[*id].parent == Some(before)
        };
        let one_chain = younger.iter().all(&mut follows);
        (self.trunk, self.beyond) = if one_chain { (end, 0) } else { (last, younger.len()) };
    }

    /// Rules out each history in which an op happened, whole or in part; none of them is older
    /// than `first`. None has been merged with a history in which the op did not happen, because
    /// the op is not settled yet.
    pub(super) fn rule_out(&mut self, place: usize, first: NodeId) {
        for id in first..self.nodes.len() {
            let node = &self.nodes[id];
            let here = node.issued == Some(place) && node.applied.is_some();
            let above = node.parent.is_some_and(|parent| parent >= first && !self.kept[parent]);
            if here || above {
                self.drop_node(id);
            }
        }
        self.cut_trunk(first.saturating_sub(1));
    }

    /// The model of a node, replayed from the nearest snapshot above it.
    pub(super) fn model(&self, id: NodeId) -> M {
        let mut replay = Vec::new();
        let mut at = Some(id);
        let mut model = M::default();
        while let Some(node) = at.map(|id| &self.nodes[id]) {
            if let Some(snapshot) = &node.snapshot {
                model = snapshot.model().clone();
                break;
            }
            replay.extend(&node.applied);
            at = node.parent;
        }
        for (op, at) in replay.into_iter().rev() {
            model.apply(op, *at);
        }
        model
    }

    /// Visits these nodes, in the order given, each with its model. Along a chain, from a node to
    /// its descendants, each op is applied once.
    pub(super) fn each_model(
        &self,
        ids: impl Iterator<Item = NodeId>,
        mut visit: impl FnMut(NodeId, &mut M),
    ) {
        let mut last: Option<(NodeId, M)> = None;
        for id in ids {
            let node = &self.nodes[id];
            let mut model = match last.take() {
                Some((parent, mut model))
                    if node.parent == Some(parent) && node.snapshot.is_none() =>
                {
                    if let Some((op, at)) = &node.applied {
                        model.apply(op, *at);
                    }
                    model
                }
                _ => self.model(id),
            };
            visit(id, &mut model);
            last = Some((id, model));
        }
    }

    /// By id, how the state that each kept node shows at `at` differs from that of its parent.
    pub(super) fn view(&self, at: Time) -> Vec<Cow<'_, [ItemChange]>> {
        if !M::TIMED {
            return self.nodes.iter().map(|node| Cow::Borrowed(&node.changes[..])).collect();
        }
        let mut view = vec![Cow::Borrowed(&[][..]); self.nodes.len()];
        let mut last = (NodeId::MAX, State::new());
        self.each_model(self.kept(), |id, model| {
            let state = model.state(at).clone();
            let before = match self.nodes[id].parent {
                Some(parent) if parent != last.0 => self.model(parent).state(at).clone(),
                Some(_) => std::mem::take(&mut last.1),
                None => State::new(),
            };
            view[id] = Cow::Owned(differences(&before, &state));
            last = (id, state);
        });
        view
    }
}
