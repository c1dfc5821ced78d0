//! The check: is what was read after a crash one of the states that were allowed?

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::candidates::Oracle;
use super::diff::{Change, differences};
use super::history::NodeId;
use super::observed::{Crash, Found, Observed, Passed, ReadBack};
use super::parts::{self, Places};
use super::violation::{Class, ItemDiff, Signature, Violation};
use crate::base::time::Time;
use crate::sim::model::Model;
use crate::sim::promise::{Answer, CrashKind, Order};
use crate::sim::state::State;

/// What a read-back lets one compare.
#[derive(Clone)]
pub(super) struct Sight<'a> {
    pub(super) from: Time,
    pub(super) to: Time,
    pub(super) state: &'a State,
    /// Items that say nothing: they could not be read, or their deadline was just then.
    pub(super) hidden: BTreeSet<Vec<u8>>,
}

impl Sight<'_> {
    /// Whether a model shows this, at some moment of the read-back for each item.
    pub(super) fn fits<M: Model>(&self, model: &mut M) -> bool {
        let early = model.state(self.from);
        if early.digest() == self.state.digest() && early == self.state {
            return true;
        }
        if !M::TIMED && self.hidden.is_empty() {
            return false;
        }
        let early = early.clone();
        let late = model.state(self.to);
        differences(&early, self.state).iter().all(|change| {
            self.hidden.contains(&*change.item)
                || late.get(&change.item) == self.state.get(&change.item)
        })
    }
}

impl<M: Model> Oracle<M> {
    /// Checks what was seen after a crash at the present point of the run. Changes nothing: with
    /// a plain history (`Prefix` order, no times to live) it is a lookup.
    ///
    /// # Errors
    /// The violation, named after the nearest state that was allowed. A wrong value outranks an
    /// error of the engine.
    pub fn check(&self, crash: &Crash, seen: &Observed) -> Result<Passed, Violation> {
        if self.answer == Answer::Nothing {
            return Ok(Passed::Unchecked);
        }
        let read = match &seen.found {
            Found::Failed(class, text) => return self.excuse(self.failure(crash, *class, text)),
            Found::Read(read) => read,
        };
        let sight = self.sight(seen, read);
        let kind = self.worst(crash.kind);
        if !self.lost_track && !self.allows(kind, crash.at, &sight) {
            return Err(self.name(kind, crash.at, &sight));
        }
        if let Some(text) = &read.inconsistent {
            return Err(Violation::new(Class::Inconsistent, text));
        }
        if let Some((item, text)) = read.failed.first() {
            let item = crate::base::text::quote(item);
            let message = format!("{item} cannot be read: {text}");
            return self.excuse(Violation::new(Class::ReadFailed, message));
        }
        Ok(if self.lost_track { Passed::Unchecked } else { Passed::Checked })
    }

    /// Where parts are judged by themselves, an item whose deadline lies inside the read-back is
    /// left out; elsewhere [`Sight::fits`] takes either answer.
    pub(super) fn sight<'a>(&self, seen: &Observed, read: &'a ReadBack) -> Sight<'a> {
        let hidden = read.failed.iter().map(|(item, _)| item.clone()).collect();
        let mut sight = Sight { from: seen.from, to: seen.to, state: &read.state, hidden };
        if M::TIMED && matches!(self.promises.order, Order::PrefixPerPart(_) | Order::PerKey) {
            sight.hidden.extend(self.due(&sight));
        }
        sight
    }

    /// The items whose deadline lies inside the read-back.
    pub(super) fn due(&self, sight: &Sight<'_>) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for candidate in self.candidates.iter().filter(|_| sight.from != sight.to) {
            let mut model = self.graph.model(candidate.id);
            let early = model.state(sight.from).clone();
            let changes = differences(&early, model.state(sight.to));
            due.extend(changes.into_iter().map(|change| change.item.to_vec()));
        }
        due
    }

    fn failure(&self, crash: &Crash, class: Class, text: &str) -> Violation {
        if !(crash.creating || self.creating) {
            return Violation::new(class, text);
        }
        let signature = Signature::new(Class::CreateInterrupted).with_payload(class.name());
        Violation { signature, details: Vec::new(), message: text.into() }
    }

    /// After what was done to the engine it may fail, if it says so in an error.
    fn excuse(&self, violation: Violation) -> Result<Passed, Violation> {
        match violation.class() {
            Class::OpenFailed | Class::ReadFailed if self.answer == Answer::Loud => {
                Ok(Passed::Excused)
            }
            _ => Err(violation),
        }
    }

    fn allows(&self, kind: CrashKind, at: Time, sight: &Sight<'_>) -> bool {
        match self.promises.order {
            Order::Prefix if M::TIMED || !sight.hidden.is_empty() => {
                !self.fitting(kind, at, sight).is_empty()
            }
            Order::Prefix => {
                let low = self.floors.low(None, kind, at);
                let mut shown = self.graph.showing(sight.state.digest());
                shown.any(|id| self.graph.nodes[id].reaches(&low))
            }
            Order::PrefixPerPart(_) | Order::PerKey => {
                let view = self.graph.view(sight.from);
                self.paths().any(|path| self.places(kind, at, &view, sight, &path).is_ok())
            }
            Order::Custom(allows) => {
                self.histories(kind, at).any(|history| allows(sight.state, &history))
            }
        }
    }

    /// The histories that contain what must survive and show what was read.
    pub(super) fn fitting(&self, kind: CrashKind, at: Time, sight: &Sight<'_>) -> Vec<NodeId> {
        let low = self.floors.low(None, kind, at);
        let graph = &self.graph;
        let reaching = |id: &NodeId| graph.nodes[*id].reaches(&low);
        let mut fitting = Vec::new();
        let mut try_model = |id, model: &mut M| {
            if sight.fits(model) {
                fitting.push(id);
            }
        };
        if M::TIMED || !sight.hidden.is_empty() {
            graph.each_model(graph.kept().filter(reaching), try_model);
        } else {
            let mut shown: Vec<_> = graph.showing(sight.state.digest()).filter(reaching).collect();
            shown.sort_unstable();
            graph.each_model(shown.into_iter(), &mut try_model);
        }
        fitting
    }

    /// What a second reopen shows, with nothing written since the first one, must be what the
    /// first one showed, but for deadlines that passed between. To be asked of an oracle that was
    /// told of the first one ([`Oracle::recovered`]); both recoveries must have returned.
    ///
    /// # Errors
    /// `NotIdempotent`, with the items that differ.
    pub fn same(&self, first: &Observed, second: &Observed) -> Result<(), Violation> {
        let (Found::Read(was), Found::Read(is)) = (&first.found, &second.found) else {
            return Ok(());
        };
        let mut changes = differences(&was.state, &is.state);
        changes.retain(|change| {
            let in_change = |(item, _): &(Vec<u8>, String)| **item == *change.item;
            !was.failed.iter().chain(&is.failed).any(in_change)
        });
        let sight = self.sight(second, is);
        let mut ids = self.candidates.iter().map(|candidate| candidate.id);
        if changes.is_empty() || M::TIMED && ids.any(|id| sight.fits(&mut self.graph.model(id))) {
            return Ok(());
        }
        let details = changes.into_iter().map(|change| ItemDiff {
            item: change.item.to_vec(),
            expected: change.old.map(|value| value.to_vec()),
            found: change.new.map(|value| value.to_vec()),
            note: "expected is what the first reopen showed".into(),
        });
        let message = "two reopens with nothing written between show two states";
        let mut violation = Violation::new(Class::NotIdempotent, message);
        violation.details = details.collect();
        Err(violation)
    }

    /// Judges each part of the store by itself along one history: for each part the last place
    /// on the history that it may be at, or the first part that is at none.
    pub(super) fn places(
        &self,
        kind: CrashKind,
        at: Time,
        view: &[Cow<'_, [Change]>],
        sight: &Sight<'_>,
        path: &[NodeId],
    ) -> Result<Places, Vec<u8>> {
        let part = |item: &[u8]| self.promises.part(item).unwrap_or_default();
        let low = |part: &[u8]| self.floors.low(Some(part), kind, at);
        parts::places(part, low, &self.graph, view, sight, path)
    }
}
