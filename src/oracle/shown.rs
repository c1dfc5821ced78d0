//! Ops that were in flight when the process died, and that its recovery showed.
//!
//! They never returned, so nothing was promised for them. A later acknowledgement covers all ops
//! before it, and so these too. But an op that finds nothing to do writes and syncs nothing, and
//! may return while what the recovery showed is in the page cache alone: a delete of an absent
//! key, say. The floors here are those without such acknowledgements, until an op changes the
//! store.

use std::sync::Arc;

use super::candidates::Oracle;
use super::floor::Floors;
use super::history::Issued;
use super::reading::Reading;
use super::violation::{Class, Violation};
use crate::base::time::Time;
use crate::sim::engine::{Ack, Level};
use crate::sim::model::Model;
use crate::sim::promise::{CrashKind, ShownOps};

/// The floors of a store that do not count ops which a recovery showed.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// For each client, the number of its ops before the first that was in flight.
    returned: Vec<u32>,
    /// Without the acknowledgements of all ops that changed nothing.
    acked: Floors,
    /// Without those of ops that are about items, but with those of syncs.
    synced: Floors,
}

impl Shown {
    /// The floors after a recovery, where these numbers of ops had returned before the crash.
    pub(super) fn new(returned: Vec<u32>, floors: &Floors) -> Self {
        Self { returned, acked: floors.clone(), synced: floors.clone() }
    }

    /// An op that changed nothing returned. A sync is an op about no item.
    pub(super) fn promise(
        &mut self,
        part: Option<&[u8]>,
        (client, count): (usize, u32),
        (ack, at): (Ack, Time),
        sync: bool,
    ) {
        let returned = self.returned.get(client).copied().unwrap_or(0).min(count);
        let part = || part.map(<[u8]>::to_vec);
        self.acked.promise(part(), client, returned, ack, at);
        let synced = if sync { count } else { returned };
        self.synced.promise(part(), client, synced, ack, at);
    }

    /// Every op that returned is promised, as by a close or a recovery: nothing here is weaker.
    pub(super) fn promise_all(&mut self, counts: &[u32], level: Level, at: Time) {
        for (client, count) in counts.iter().enumerate() {
            for floors in [&mut self.acked, &mut self.synced] {
                floors.promise(None, client, *count, Ack::Now(level), at);
            }
        }
    }

    /// What was promised for later is void.
    pub(super) fn settle(&mut self, at: Time) {
        self.acked.settle(at);
        self.synced.settle(at);
    }

    /// The floors of a power loss, where losing a shown op is a violation of its own class.
    pub(super) fn unpromised(&self) -> &Floors {
        &self.acked
    }

    /// The floors of a power loss below which even that is allowed; `None` if it never is.
    pub(super) fn allowed(&self, promised: ShownOps) -> Option<&Floors> {
        match promised {
            ShownOps::Kept => None,
            ShownOps::KeptBySync => Some(&self.synced),
            ShownOps::MayBeLost => Some(&self.acked),
        }
    }
}

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
