//! Ops that were in flight when the process died, and that its recovery showed.
//!
//! They never returned, so nothing was promised for them. A later acknowledgement covers all ops
//! before it, and so these too. But an op that finds nothing to do writes and syncs nothing, and
//! may return while what the recovery showed is in the page cache alone: a delete of an absent
//! key, say. The floors here are those without such acknowledgements, until an op changes the
//! store.

use super::floor::Floors;
use crate::base::time::Time;
use crate::sim::engine::{Ack, Level};
use crate::sim::promise::ShownOps;

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
