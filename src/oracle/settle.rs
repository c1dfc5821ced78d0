//! Continues the histories after a recovery, from the state that it showed.

use std::sync::Arc;

use super::candidates::{Candidate, Oracle};
use super::diff::{Replica, differences};
use super::history::{HistoryNode, NodeId};
use super::observed::{Crash, Found, NoViolation, Observed};
use super::reading::Reading;
use super::shown::Shown;
use super::violation::Violation;
use crate::base::time::Time;
use crate::sim::history::History;
use crate::sim::model::Model;
use crate::sim::promise::{CrashKind, Order};

/// A history that continues after a recovery.
type Settled<M> = (HistoryNode<M>, Arc<Replica<M>>);

impl<M: Model> Oracle<M> {
    /// A recovery returned and showed this state: checks it as [`Oracle::check`] does, and
    /// continues with the histories that fit it. Ops that it did not show may never come back. Ops
    /// that had to survive before must still survive; whether more must is up to
    /// [`Promises::recovery`](crate::sim::promise::Promises::recovery). Ops in flight are settled.
    ///
    /// If the order is not `Prefix`, there may be no model of the state (see [`Model::restored`]).
    /// Then this and all later checks return `Unchecked`.
    ///
    /// # Errors
    /// The violation; the oracle is then unchanged.
    pub fn recovered(&mut self, crash: &Crash, seen: &Observed) -> Result<NoViolation, Violation> {
        let passed = self.check(crash, seen)?;
        let Found::Read(read) = &seen.found else { return Ok(passed) };
        if passed == NoViolation::Unchecked {
            self.lost_track = true;
            self.candidates.clear();
            return Ok(passed);
        }
        let reading = self.reading(seen, read);
        self.take_loss(self.worst(crash.kind), crash.at, &reading);
        let settled = self.settled(self.worst(crash.kind), crash.at, &reading);
        self.go_on(settled, crash, seen.to);
        Ok(if self.lost_track { NoViolation::Unchecked } else { passed })
    }

    /// A recovery after this crash returned, the store could not be read after it because of a
    /// fault, and yet it is used from now on: the history continues from each state that the crash
    /// may have left. If these may be more than the prefixes of a history, the oracle
    /// [loses track](Oracle::lost_track).
    pub fn recovered_unread(&mut self, crash: &Crash, at: Time) {
        let countable = matches!(self.promises.order, Order::Prefix) && !self.rotten;
        let settled = match countable && !self.lost_track {
            true => {
                let low = self.floors.low(None, self.worst(crash.kind), crash.at);
                let reaching = |id: &NodeId| self.graph.nodes[*id].reaches(&low);
                self.settled_at(self.graph.kept().filter(reaching), at)
            }
            false => Vec::new(),
        };
        self.go_on(settled, crash, at);
        self.overflow();
    }

    /// Continues with these histories only, from a recovery that returned at `at`.
    fn go_on(&mut self, settled: Vec<Settled<M>>, crash: &Crash, at: Time) {
        self.candidates.clear();
        for (mut node, replica) in settled {
            node.issued = None;
            node.applied = None;
            node.taken.clone_from(&self.counts);
            node.begun.clear();
            self.add(node, Some(replica));
        }
        let ids: Vec<_> = self.candidates.iter().map(|candidate| candidate.id).collect();
        Arc::make_mut(&mut self.graph).keep(&ids);
        let kind = self.worst(crash.kind);
        self.worst = None;
        self.creating = false;
        self.show(kind);
        self.in_flight.clear();
        Arc::make_mut(&mut self.floors).settle(crash.at);
        if let Some(shown) = &mut self.shown {
            Arc::make_mut(shown).settle(crash.at);
        }
        self.promise_all(self.promises.recovery, at);
        self.lost_track |= self.candidates.is_empty();
    }

    /// A recovery returned after this crash: it showed ops that were in flight, or not. After a
    /// power loss these come from the medium, where they stay.
    fn show(&mut self, kind: CrashKind) {
        let cut_short = self.returned_counts();
        self.cut_short = None;
        match (kind, cut_short) {
            (CrashKind::Power, _) => self.shown = None,
            (CrashKind::Process, Some(returned)) if self.shown.is_none() => {
                self.shown = Some(Arc::new(Shown::new(returned, &self.floors)));
            }
            (CrashKind::Process, _) => {}
        }
    }

    fn settled(&mut self, kind: CrashKind, at: Time, reading: &Reading<'_>) -> Vec<Settled<M>> {
        match self.promises.order {
            Order::Prefix => self.settled_prefixes(kind, at, reading),
            Order::PrefixPerPart(_) | Order::PerKey => self.settled_parts(kind, at, reading),
            Order::Custom(_) => self.settled_custom(kind, at, reading),
        }
    }

    fn settled_prefixes(
        &self,
        kind: CrashKind,
        at: Time,
        reading: &Reading<'_>,
    ) -> Vec<Settled<M>> {
        self.settled_at(self.fitting(kind, at, reading).into_iter(), reading.to)
    }

    /// The longest first: of two histories that will always show the same, reports name the longer.
    fn settled_at(
        &self,
        ids: impl DoubleEndedIterator<Item = NodeId>,
        at: Time,
    ) -> Vec<Settled<M>> {
        let settle = |id| {
            let replica = Arc::new(Replica::new(self.graph.model(id), at));
            let mut node = self.graph.child(id);
            node.digest = replica.shown().digest();
            node.snapshot = Some(replica.clone());
            node.since = 0;
            (node, replica)
        };
        ids.rev().map(settle).collect()
    }

    fn settled_parts(
        &mut self,
        kind: CrashKind,
        at: Time,
        reading: &Reading<'_>,
    ) -> Vec<Settled<M>> {
        let mut cuts = Vec::new();
        let view = self.graph.view(reading.from);
        for path in self.paths() {
            if let Ok(places) = self.places(kind, at, &view, reading, &path) {
                cuts.push((path, places));
            }
        }
        drop(view);
        let promises = self.promises.clone();
        let part = |item: &[u8]| promises.part(item).unwrap_or_default();
        let graph = Arc::make_mut(&mut self.graph);
        let cut =
            |(path, places): (Vec<_>, _)| super::parts::cut(graph, &path, &places, part, reading);
        cuts.into_iter().filter_map(cut).collect()
    }

    /// A sim's predicate names no place in a history: those that it accepts continue whole, and
    /// the state that was shown comes after them.
    fn settled_custom(&self, kind: CrashKind, at: Time, reading: &Reading<'_>) -> Vec<Settled<M>> {
        let Order::Custom(allows) = self.promises.order else { return Vec::new() };
        let histories = self.candidates.iter().zip(self.histories(kind, at));
        let accepted = histories.filter(|(_, history)| allows(reading.state, history));
        let settle = |(candidate, _): (&Candidate<M>, History<'_, M>)| {
            let id = candidate.id;
            let mut model = self.graph.model(id);
            let before = model.state(reading.to).clone();
            if before != *reading.state {
                model = M::restored(reading.state)?;
            }
            let replica = Arc::new(Replica::new(model, reading.to));
            let node = HistoryNode {
                changes: differences(&before, reading.state),
                digest: replica.shown().digest(),
                snapshot: Some(replica.clone()),
                since: 0,
                ..self.graph.child(id)
            };
            Some((node, replica))
        };
        accepted.filter_map(settle).collect()
    }
}
