//! The loss of an op that only a recovery showed: whether it breaks a promise, and where the
//! history continues if it does not.

use std::sync::Arc;

use super::candidates::Oracle;
use super::floor::Floors;
use super::history::Issued;
use super::reading::Reading;
use super::violation::{Class, Violation};
use crate::base::time::Time;
use crate::sim::engine::Ack;
use crate::sim::model::Model;
use crate::sim::promise::CrashKind;

impl<M: Model> Oracle<M> {
    /// Judges a state that is not allowed: it may be allowed but for ops that a recovery showed.
    pub(super) fn shown_then_lost(
        &self,
        kind: CrashKind,
        at: Time,
        reading: &Reading<'_>,
    ) -> Result<(), Violation> {
        let allows = |floors| self.with_floors(floors).allows(kind, at, reading);
        let shown = self.shown.as_deref().filter(|_| kind == CrashKind::Power);
        if shown.and_then(|shown| shown.allowed(self.promises.shown)).is_some_and(allows) {
            return Ok(());
        }
        let mut violation = self.name(kind, at, reading);
        if shown.is_some_and(|shown| allows(shown.unpromised())) {
            let class = Class::ShownThenLost;
            let headline = violation.class().headline();
            violation.message = violation.message.replacen(headline, class.headline(), 1);
            violation.signature = violation.signature.of_class(class);
        }
        Err(violation)
    }

    /// A recovery showed this state, in which ops are lost that an earlier one had shown: the
    /// acknowledgements since then do not cover them.
    pub(super) fn take_loss(&mut self, kind: CrashKind, at: Time, reading: &Reading<'_>) {
        let Some(shown) = &self.shown else { return };
        if kind == CrashKind::Power
            && !self.allows(kind, at, reading)
            && let Some(floors) = shown.allowed(self.promises.shown)
        {
            self.floors = Arc::new(floors.clone());
        }
    }

    /// An op returned: it covers the ops that a recovery showed, or changed nothing.
    pub(super) fn cover_shown(
        &mut self,
        place: usize,
        parts: &[Option<Vec<u8>>],
        ack: Ack,
        at: Time,
    ) {
        let Some(shown) = &mut self.shown else { return };
        let Issued { client, index, ref op, nodes, .. } = self.issued[place];
        let graph = &self.graph.nodes;
        let changes = |id: usize| graph[id].issued == Some(place) && !graph[id].changes.is_empty();
        if (nodes..graph.len()).any(changes) {
            self.shown = None;
            return;
        }
        let sync = M::items(op).is_none_or(|items| items.is_empty());
        let shown = Arc::make_mut(shown);
        for part in parts {
            shown.promise(part.as_deref(), (client, index + 1), (ack, at), sync);
        }
    }

    fn with_floors(&self, floors: &Floors) -> Self {
        Self { floors: Arc::new(floors.clone()), ..self.clone() }
    }
}
