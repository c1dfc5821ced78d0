//! The candidates: the histories that a store may have had so far, updated by each event of a run.

use std::collections::VecDeque;
use std::sync::Arc;

use rpds::VectorSync;

use super::diff::Replica;
use super::floor::Floors;
use super::history::{Graph, HistoryNode, Issued, NodeId};
use super::observed::{Crash, NoViolation, Observed};
use super::shown::Shown;
use super::violation::Violation;
use crate::base::time::Time;
use crate::sim::engine::{Ack, Level};
use crate::sim::fault_kind::FaultKind;
use crate::sim::model::Model;
use crate::sim::promise::{AfterFault, CrashKind, Order, Promises};

/// The most candidates that are followed: see `lost_track`.
pub const MOST_CANDIDATES: usize = 256;

/// A history that the next op may extend.
pub(super) struct Candidate<M> {
    pub(super) id: NodeId,
    /// Its model, unless a longer history has taken it over; then it can be replayed.
    pub(super) replica: Option<Arc<Replica<M>>>,
}

impl<M> Clone for Candidate<M> {
    fn clone(&self) -> Self {
        Self { id: self.id, replica: self.replica.clone() }
    }
}

/// The promises of a store so far, and the states that it may show after a crash.
///
/// It is fed the events of a run in their order. At a crash point, [`Oracle::check`] judges a
/// state and changes nothing. To continue after a recovery, clone the oracle and call
/// [`Oracle::recovered`]. Clones share the history that they have in common.
pub struct Oracle<M: Model> {
    pub(super) promises: Arc<Promises<M>>,
    pub(super) graph: Arc<Graph<M>>,
    /// The histories that contain every op that returned. They are closed under the ops in flight:
    /// if one of these may extend a history, the longer history is a candidate too.
    pub(super) candidates: Vec<Candidate<M>>,
    pub(super) issued: VectorSync<Issued<M::Op>>,
    /// For each client, the number of its ops that were issued.
    pub(super) counts: Vec<u32>,
    /// The ops that have not returned, as indexes into `issued`.
    pub(super) in_flight: Vec<usize>,
    pub(super) floors: Arc<Floors>,
    /// The floors without ops that only a recovery showed, until an op changes the store.
    pub(super) shown: Option<Arc<Shown>>,
    /// For each client, the number of its ops before the first that was in flight when the process
    /// died, until a recovery returns.
    pub(super) cut_short: Option<Vec<u32>>,
    /// The worst crash since a recovery returned: if a recovery is cut short, its crash still
    /// counts for the next.
    pub(super) worst: Option<CrashKind>,
    /// No open of the store has returned yet.
    pub(super) creating: bool,
    pub(super) answer: AfterFault,
    /// Bytes at rest were changed: an op that is missing was lost, not reordered.
    pub(super) rotten: bool,
    pub(super) lost_track: bool,
}

impl<M: Model> Clone for Oracle<M> {
    fn clone(&self) -> Self {
        Self {
            promises: self.promises.clone(),
            graph: self.graph.clone(),
            candidates: self.candidates.clone(),
            issued: self.issued.clone(),
            counts: self.counts.clone(),
            in_flight: self.in_flight.clone(),
            floors: self.floors.clone(),
            shown: self.shown.clone(),
            cut_short: self.cut_short.clone(),
            ..*self
        }
    }
}

/// All that a check depends on, apart from the state that was read: for two crashes of one run, of
/// the same kind and at the same bound, it has the same result, unless the model is
/// [`Model::TIMED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bound {
    /// The number of ops that must survive, summed over clients, and over parts where the order is
    /// promised part by part.
    pub low: u64,
    /// The number of ops that were issued.
    pub issued: u64,
    /// Whether ops that only a recovery showed may be lost in spite of `low`: no more after an op
    /// that changed the store.
    pub shown: bool,
}

impl<M: Model> Oracle<M> {
    /// The oracle of an empty store with these promises.
    pub fn new(promises: Promises<M>) -> Self {
        let graph = Graph::new();
        let replica = graph.nodes[0].snapshot.clone();
        Self {
            promises: Arc::new(promises),
            graph: Arc::new(graph),
            candidates: vec![Candidate { id: 0, replica }],
            issued: VectorSync::new_sync(),
            counts: Vec::new(),
            in_flight: Vec::new(),
            floors: Arc::default(),
            shown: None,
            cut_short: None,
            worst: None,
            creating: false,
            answer: AfterFault::Right,
            rotten: false,
            lost_track: false,
        }
    }

    /// A client issued step `step` of the workload. Clients are counted from 0, and each waits for
    /// its op to return before it issues the next.
    pub fn issue(&mut self, step: u32, client: usize, op: &M::Op, at: Time) {
        if self.counts.len() <= client {
            self.counts.resize(client + 1, 0);
        }
        let index = self.counts[client];
        self.counts[client] += 1;
        let (place, op) = (self.issued.len(), Arc::new(op.clone()));
        let nodes = self.graph.nodes.len();
        let issued = Issued { step, client, index, op, at, nodes, result: None };
        self.issued.push_back_mut(issued);
        self.in_flight.push(place);
        if self.lost_track {
            return;
        }
        // The existing candidates are already closed under the ops issued before.
        let mut open: VecDeque<(usize, bool)> =
            (0..self.candidates.len()).map(|old| (old, false)).collect();
        while let Some((candidate, all)) = open.pop_front() {
            let before = self.candidates.len();
            for flight in self.in_flight.clone() {
                if all || flight == place {
                    self.add_op(candidate, flight);
                }
            }
            open.extend((before..self.candidates.len()).map(|new| (new, true)));
            if self.overflow() {
                return;
            }
        }
    }

    /// Step `step` returned an acknowledgement or an error. A return of a step that was in flight
    /// at a crash is ignored.
    pub fn returned(&mut self, step: u32, result: Result<Ack, ()>, at: Time) {
        self.record_return(|issued| issued.step == step, result, at);
    }

    /// As [`Oracle::returned`], for the op that a client waits for; in one step several clients may
    /// be at work.
    pub fn returned_by(&mut self, client: usize, result: Result<Ack, ()>, at: Time) {
        self.record_return(|issued| issued.client == client, result, at);
    }

    fn record_return(
        &mut self,
        wanted: impl Fn(&Issued<M::Op>) -> bool,
        result: Result<Ack, ()>,
        at: Time,
    ) {
        let Some(place) = self.take_in_flight(wanted, result, at) else { return };
        match result {
            Ok(ack) => self.succeeded(place, ack, at),
            Err(()) => self.failed(place, at),
        }
        self.overflow();
    }

    /// Step `step` was refused: it returned an error and had no effect. As after any error,
    /// promises for later are void.
    pub fn refused(&mut self, step: u32, at: Time) {
        self.record_refusal(|issued| issued.step == step, at);
    }

    /// As [`Oracle::refused`], for the op that a client waits for.
    pub fn refused_by(&mut self, client: usize, at: Time) {
        self.record_refusal(|issued| issued.client == client, at);
    }

    fn record_refusal(&mut self, wanted: impl Fn(&Issued<M::Op>) -> bool, at: Time) {
        let Some(place) = self.take_in_flight(wanted, Err(()), at) else { return };
        Arc::make_mut(&mut self.floors).settle(at);
        let graph = Arc::make_mut(&mut self.graph);
        graph.rule_out(place, self.issued[place].nodes);
        let left = self.candidates.drain(..).filter(|candidate| graph.kept[candidate.id]);
        let left = left.collect();
        self.skip(place, left);
    }

    /// Records how an op in flight returned; returns its index in `issued`.
    fn take_in_flight(
        &mut self,
        wanted: impl Fn(&Issued<M::Op>) -> bool,
        result: Result<Ack, ()>,
        at: Time,
    ) -> Option<usize> {
        let slot = self.in_flight.iter().position(|place| wanted(&self.issued[*place]))?;
        let place = self.in_flight.remove(slot);
        let issued = Issued { result: Some((result, at)), ..self.issued[place].clone() };
        self.issued.set_mut(place, issued);
        Some(place)
    }

    /// The store was closed cleanly.
    pub fn closed(&mut self, at: Time) {
        self.promise_all(self.promises.close, at);
    }

    /// Checks the state that the open store shows, with no crash before it: every op that returned
    /// must be there, whatever is promised for a crash.
    ///
    /// # Errors
    /// As [`Oracle::check`].
    pub fn check_live(&self, seen: &Observed) -> Result<NoViolation, Violation> {
        let mut live = self.clone();
        live.promise_all(Level::Flushed, seen.from);
        live.check(&Crash { kind: CrashKind::Process, at: seen.from, creating: false }, seen)
    }

    /// A fault was injected. From here on the weakest of the promises after each such fault holds.
    /// If the fault refused a call, promises for later are void, as when an op fails: an engine
    /// that writes in the background has no op to fail, and cannot keep a deadline when the disk
    /// refuses. The next acknowledgement covers all ops before it again.
    pub fn injected(&mut self, fault_kind: FaultKind, at: Time) {
        if fault_kind.refuses() {
            Arc::make_mut(&mut self.floors).settle(at);
        }
        self.answer = self.answer.min(self.promises.answer(fault_kind));
    }

    /// Bytes at rest were changed, at a place for which this is promised.
    pub fn rotten(&mut self, answer: AfterFault) {
        self.answer = self.answer.min(answer);
        self.rotten = true;
    }

    /// The kernel dropped pages that it could not write, which only the error of a sync reports.
    /// Until a recovery returns, a crash of the process may lose as much as a power loss.
    pub fn evicted(&mut self) {
        self.worst = Some(CrashKind::Power);
    }

    /// The promise after all faults so far.
    pub fn answer(&self) -> AfterFault {
        self.answer
    }

    /// The recovery after this crash was itself cut short by a crash, so it settles nothing. Ops in
    /// flight will not return, and promises for later are void. A power loss counts for the next
    /// recovery that returns, even if that one follows a mere process crash.
    pub fn interrupted(&mut self, crash: &Crash) {
        self.worst = self.worst.max(Some(crash.kind));
        self.creating |= crash.creating;
        self.cut_short = self.returned_counts();
        self.in_flight.clear();
        Arc::make_mut(&mut self.floors).settle(crash.at);
    }

    /// The worst kind of crash that the store has to recover from.
    pub(super) fn worst(&self, kind: CrashKind) -> CrashKind {
        self.worst.map_or(kind, |worst| worst.max(kind))
    }

    /// All that a check depends on now, apart from the state that is read.
    pub fn bound(&self, kind: CrashKind, at: Time) -> Bound {
        let low = self.floors.sum(self.worst(kind), at);
        Bound { low, issued: self.issued.len() as u64, shown: self.shown.is_some() }
    }

    /// The number of histories that the next op may extend.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Whether it is no longer known what the store may show, because there were more candidates
    /// than [`MOST_CANDIDATES`] or the run continued from a state that was not checked. From then
    /// on no state is compared, and checks return
    /// [`Unchecked`](super::observed::NoViolation::Unchecked).
    #[cfg(any(test, feature = "inner"))]
    pub fn lost_track(&self) -> bool {
        self.lost_track
    }

    pub(super) fn overflow(&mut self) -> bool {
        self.lost_track |= self.candidates.len() > MOST_CANDIDATES;
        if self.lost_track {
            self.candidates.clear();
        }
        self.lost_track
    }

    /// Extends a candidate by an op, whole and in each of its parts, if the op comes next there.
    fn add_op(&mut self, candidate: usize, place: usize) {
        let Issued { client, index, ref op, at, .. } = self.issued[place];
        let op = op.clone();
        let node = &self.graph.nodes[self.candidates[candidate].id];
        if node.count(client) != index || node.begun.contains(&client) {
            return;
        }
        // The whole op comes last: it takes over the candidate's own model, and reports take
        // the youngest of the longest histories.
        for part in M::partial(&op) {
            let replica = self.replica(candidate, at);
            self.apply(candidate, place, replica, (Arc::new(part), at), true);
        }
        let replica = self.replica(candidate, at);
        self.candidates[candidate].replica = None;
        self.apply(candidate, place, replica, (op, at), false);
    }

    /// The model of a candidate, which keeps it too.
    fn replica(&mut self, candidate: usize, at: Time) -> Arc<Replica<M>> {
        let Candidate { id, replica } = &mut self.candidates[candidate];
        let model = || Arc::new(Replica::new(self.graph.model(*id), at));
        replica.get_or_insert_with(model).clone()
    }

    fn apply(
        &mut self,
        candidate: usize,
        place: usize,
        mut replica: Arc<Replica<M>>,
        applied: (Arc<M::Op>, Time),
        part: bool,
    ) {
        let Issued { client, index, .. } = self.issued[place];
        let mut node = self.graph.child(self.candidates[candidate].id);
        node.changes = Arc::make_mut(&mut replica).apply(&applied.0, applied.1);
        node.digest = replica.shown().digest();
        node.issued = Some(place);
        node.applied = Some(applied);
        node.since += 1;
        if part {
            node.begun.push(client);
            node.begun.sort_unstable();
        } else {
            take(&mut node, client, index + 1);
        }
        if Graph::wants_snapshot(&node, &replica) {
            node.since = 0;
            node.snapshot = Some(replica.clone());
        }
        self.add(node, Some(replica));
    }

    /// Adds a node as a candidate, or, if a candidate shows and will always show the same, as a
    /// further way to reach that one.
    pub(super) fn add(&mut self, node: HistoryNode<M>, replica: Option<Arc<Replica<M>>>) {
        // Where parts are judged one by one, and for a sim's predicate, the way to a state matters.
        let same = matches!(self.promises.order, Order::Prefix).then(|| self.find(&node, &replica));
        let graph = Arc::make_mut(&mut self.graph);
        match same.flatten() {
            Some(same) => graph.add_parent(same, node.parent),
            None => {
                let id = graph.push(node);
                self.candidates.push(Candidate { id, replica });
            }
        }
    }

    fn find(&self, node: &HistoryNode<M>, replica: &Option<Arc<Replica<M>>>) -> Option<NodeId> {
        let alike = |candidate: &&Candidate<M>| {
            let other = &self.graph.nodes[candidate.id];
            (&other.taken, &other.begun, other.digest) == (&node.taken, &node.begun, node.digest)
        };
        let mut alike = self.candidates.iter().filter(alike).peekable();
        alike.peek()?;
        let replayed = || node.parent.map(|parent| self.graph.model(parent));
        let model = replica.as_ref().map(|replica| replica.model().clone()).or_else(replayed)?;
        let equal = |candidate: &&Candidate<M>| match &candidate.replica {
            Some(replica) => *replica.model() == model,
            None => self.graph.model(candidate.id) == model,
        };
        alike.find(equal).map(|candidate| candidate.id)
    }

    fn succeeded(&mut self, place: usize, ack: Ack, at: Time) {
        let Issued { client, index, ref op, .. } = self.issued[place];
        let parts = self.parts_of(place, op);
        let graph = &self.graph;
        self.candidates.retain(|candidate| graph.nodes[candidate.id].count(client) > index);
        self.cover_shown(place, &parts, ack, at);
        let floors = Arc::make_mut(&mut self.floors);
        for part in parts {
            floors.promise(part, client, index + 1, ack, at);
        }
    }

    /// The parts of the store that an op's acknowledgement covers; `None` is the whole of it. If
    /// the model does not say which items the op is about, they are those it changed; an op that
    /// changed none is a sync.
    fn parts_of(&self, place: usize, op: &M::Op) -> Vec<Option<Vec<u8>>> {
        if matches!(self.promises.order, Order::Prefix | Order::Custom(_)) {
            return vec![None];
        }
        let changed = || {
            let ids = self.candidates.iter().map(|candidate| candidate.id);
            let nodes = ids.map(|id| &self.graph.nodes[id]);
            let changes = nodes.filter(|node| node.issued == Some(place)).flat_map(|n| &n.changes);
            changes.map(|change| change.item.to_vec()).collect()
        };
        let items = M::items(op).unwrap_or_else(changed);
        let mut parts: Vec<_> = items.iter().map(|item| self.promises.part(item)).collect();
        if parts.is_empty() {
            parts.push(None);
        }
        parts.sort();
        parts.dedup();
        parts
    }

    /// An op failed: it may have happened or not. Promises for later are void, because no engine
    /// can keep them once the sync that they relied on has failed; the next acknowledgement covers
    /// the same ops again.
    fn failed(&mut self, place: usize, at: Time) {
        let Issued { client, index, .. } = self.issued[place];
        Arc::make_mut(&mut self.floors).settle(at);
        let graph = self.graph.clone();
        let with = |candidate: &Candidate<M>| graph.nodes[candidate.id].count(client) > index;
        let (with, without): (Vec<_>, _) = self.candidates.drain(..).partition(with);
        self.candidates = with;
        drop(graph);
        self.skip(place, without);
    }

    /// These candidates continue after an op as if it had not been issued.
    fn skip(&mut self, place: usize, without: Vec<Candidate<M>>) {
        let Issued { client, index, .. } = self.issued[place];
        for Candidate { id, replica } in without {
            let mut node = self.graph.child(id);
            node.issued = Some(place);
            node.begun.retain(|begun| *begun != client);
            take(&mut node, client, index + 1);
            self.add(node, replica);
        }
    }

    /// For each client, the number of its ops before the first that is in flight; what an earlier
    /// crash of the process found in flight counts too. `None` if all ops returned.
    pub(super) fn returned_counts(&self) -> Option<Vec<u32>> {
        let mut counts = self.cut_short.clone().unwrap_or_else(|| self.counts.clone());
        for place in &self.in_flight {
            let Issued { client, index, .. } = self.issued[*place];
            counts[client] = counts[client].min(index);
        }
        (self.cut_short.is_some() || !self.in_flight.is_empty()).then_some(counts)
    }

    /// Promises every op that returned.
    pub(super) fn promise_all(&mut self, level: Level, at: Time) {
        let mut counts = self.counts.clone();
        for place in &self.in_flight {
            let Issued { client, index, .. } = self.issued[*place];
            counts[client] = counts[client].min(index);
        }
        if let Some(shown) = &mut self.shown {
            Arc::make_mut(shown).promise_all(&counts, level, at);
        }
        let floors = Arc::make_mut(&mut self.floors);
        for (client, count) in counts.into_iter().enumerate() {
            floors.promise(None, client, count, Ack::Now(level), at);
        }
    }

    /// For each candidate, the nodes of its history from the empty store on.
    pub(super) fn paths(&self) -> impl Iterator<Item = Vec<NodeId>> {
        self.candidates.iter().map(|candidate| self.graph.path(candidate.id))
    }
}

/// Marks the first `count` ops of a client as settled in a node.
fn take<M: Model>(node: &mut HistoryNode<M>, client: usize, count: u32) {
    if node.taken.len() <= client {
        node.taken.resize(client + 1, 0);
    }
    node.taken[client] = count;
}
