//! The check: is the state read after a crash one of those that were allowed?

use std::borrow::Cow;

use super::candidates::Oracle;
use super::diff::{ItemChange, differences};
use super::history::NodeId;
use super::observed::{Crash, Found, NoViolation, Observed, ReadBack};
use super::parts::{self, Places};
use super::reading::Reading;
use super::violation::{Class, ItemDiff, Signature, Violation};
use crate::base::time::Time;
use crate::sim::model::Model;
use crate::sim::promise::{AfterFault, CrashKind, Order};

impl<M: Model> Oracle<M> {
    /// Checks what was seen after a crash at this point of the run; changes nothing. With `Prefix`
    /// order and no times to live it is a lookup.
    ///
    /// # Errors
    /// The violation, named by comparison with the nearest allowed state. A wrong value outranks
    /// an error of the engine.
    pub fn check(&self, crash: &Crash, seen: &Observed) -> Result<NoViolation, Violation> {
        if self.answer == AfterFault::Nothing {
            return Ok(NoViolation::Unchecked);
        }
        let read = match &seen.found {
            Found::Failed(class, text) => return self.excuse(self.failure(crash, *class, text)),
            Found::Read(read) => read,
        };
        let reading = self.reading(seen, read);
        let kind = self.worst(crash.kind);
        if !self.lost_track && !self.allows(kind, crash.at, &reading) {
            self.shown_then_lost(kind, crash.at, &reading)?;
        }
        if let Some(text) = &read.inconsistent {
            return Err(Violation::new(Class::Inconsistent, text));
        }
        if let Some((item, text)) = read.failed.first() {
            let item = crate::base::text::quote(item);
            let message = format!("{item} cannot be read: {text}");
            return self.excuse(Violation::new(Class::ReadFailed, message));
        }
        Ok(if self.lost_track { NoViolation::Unchecked } else { NoViolation::Checked })
    }

    /// Where parts are judged one by one, items that expire during the read-back are left out;
    /// elsewhere [`Reading::fits`] accepts either value.
    pub(super) fn reading<'a>(&self, seen: &Observed, read: &'a ReadBack) -> Reading<'a> {
        let hidden = read.failed.iter().map(|(item, _)| item.clone()).collect();
        let mut reading = Reading { from: seen.from, to: seen.to, state: &read.state, hidden };
        if M::TIMED && matches!(self.promises.order, Order::PrefixPerPart(_) | Order::PerKey) {
            reading.hidden.extend(self.due(&reading));
        }
        reading
    }

    /// The items that expire, or otherwise change, during the read-back.
    pub(super) fn due(&self, reading: &Reading<'_>) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for candidate in self.candidates.iter().filter(|_| reading.from != reading.to) {
            let mut model = self.graph.model(candidate.id);
            let early = model.state(reading.from).clone();
            let changes = differences(&early, model.state(reading.to));
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

    /// After a fault that the engine survives loudly, it may return an error instead of a state.
    fn excuse(&self, violation: Violation) -> Result<NoViolation, Violation> {
        match violation.class() {
            Class::OpenFailed | Class::ReadFailed if self.answer == AfterFault::Loud => {
                Ok(NoViolation::Excused)
            }
            _ => Err(violation),
        }
    }

    pub(super) fn allows(&self, kind: CrashKind, at: Time, reading: &Reading<'_>) -> bool {
        match self.promises.order {
            Order::Prefix if M::TIMED || !reading.hidden.is_empty() => {
                !self.fitting(kind, at, reading).is_empty()
            }
            Order::Prefix => {
                let low = self.floors.low(None, kind, at);
                let mut shown = self.graph.showing(reading.state.digest());
                shown.any(|id| self.graph.nodes[id].reaches(&low))
            }
            Order::PrefixPerPart(_) | Order::PerKey => {
                let view = self.graph.view(reading.from);
                self.paths().any(|path| self.places(kind, at, &view, reading, &path).is_ok())
            }
            Order::Custom(allows) => {
                self.histories(kind, at).any(|history| allows(reading.state, &history))
            }
        }
    }

    /// The histories that contain all ops that must survive and show the state that was read.
    pub(super) fn fitting(&self, kind: CrashKind, at: Time, reading: &Reading<'_>) -> Vec<NodeId> {
        let low = self.floors.low(None, kind, at);
        let graph = &self.graph;
        let reaching = |id: &NodeId| graph.nodes[*id].reaches(&low);
        let mut fitting = Vec::new();
        let mut try_model = |id, model: &mut M| {
            if reading.fits(model) {
                fitting.push(id);
            }
        };
        if M::TIMED || !reading.hidden.is_empty() {
            graph.each_model(graph.kept().filter(reaching), try_model);
        } else {
            let mut shown: Vec<_> =
                graph.showing(reading.state.digest()).filter(reaching).collect();
            shown.sort_unstable();
            graph.each_model(shown.into_iter(), &mut try_model);
        }
        fitting
    }

    /// Checks that a second open, with nothing written since the first, shows the same state,
    /// except for items that have expired in between. The oracle must have been fed the first
    /// ([`Oracle::recovered`]). If one of the two could not be read, there is nothing to check.
    ///
    /// # Errors
    /// `NotIdempotent`, with the items that differ.
    pub fn check_idempotent(&self, first: &Observed, second: &Observed) -> Result<(), Violation> {
        let (Found::Read(was), Found::Read(is)) = (&first.found, &second.found) else {
            return Ok(());
        };
        let mut changes = differences(&was.state, &is.state);
        changes.retain(|change| {
            let in_change = |(item, _): &(Vec<u8>, String)| **item == *change.item;
            !was.failed.iter().chain(&is.failed).any(in_change)
        });
        let reading = self.reading(second, is);
        let mut ids = self.candidates.iter().map(|candidate| candidate.id);
        if changes.is_empty() || M::TIMED && ids.any(|id| reading.fits(&mut self.graph.model(id))) {
            return Ok(());
        }
        let details = changes.into_iter().map(|change| ItemDiff {
            item: change.item.to_vec(),
            expected: change.old.map(|value| value.to_vec()),
            found: change.new.map(|value| value.to_vec()),
            note: "expected is the value that the first open showed".into(),
        });
        let message = "two opens with nothing written in between show different states";
        let mut violation = Violation::new(Class::NotIdempotent, message);
        violation.details = details.collect();
        Err(violation)
    }

    /// Judges each part of the store on its own along one path: for each part the last place on
    /// the path that it may be at, or the first part that can be at none.
    pub(super) fn places(
        &self,
        kind: CrashKind,
        at: Time,
        view: &[Cow<'_, [ItemChange]>],
        reading: &Reading<'_>,
        path: &[NodeId],
    ) -> Result<Places, Vec<u8>> {
        let part = |item: &[u8]| self.promises.part(item).unwrap_or_default();
        let low = |part: &[u8]| self.floors.low(Some(part), kind, at);
        parts::places(part, low, &self.graph, view, reading, path)
    }
}
