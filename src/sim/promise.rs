//! The promises of an engine, as its sim states them, and their sources.

use serde::{Deserialize, Serialize};

use crate::sim::engine::Level;
use crate::sim::fault_kind::FaultKind;
use crate::sim::history::History;
use crate::sim::model::Model;
use crate::sim::state::State;

/// A kind of crash. The later one in this order destroys more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CrashKind {
    /// The process died; the kernel and everything that was written to it live on.
    Process,
    /// The power failed; what was not durable may be lost.
    Power,
}

/// Which ops may survive a crash while others are lost. The ops that must survive by their
/// [`Ack`](crate::sim::engine::Ack)s are there in any case.
pub enum Order<M: Model> {
    /// A prefix of the history: no op is missing that a surviving one follows.
    Prefix,
    /// A prefix for each part of the store, independent of the others; the function maps an item
    /// to the name of its part.
    PrefixPerPart(fn(&[u8]) -> Vec<u8>),
    /// A prefix for each item, independent of the others.
    PerKey,
    /// Whatever the sim's predicate accepts, called with the state that was read back and a
    /// history that the store may have had. Where there are several such histories, because ops
    /// failed or overlapped, it is enough that it accepts the state for one of them.
    ///
    /// It must accept at least the state of every prefix that contains the ops that must survive,
    /// which are `history.states()[history.low()..]`; that these ops are there is for the
    /// predicate to check.
    ///
    /// ```
    /// use crashpoint::{History, Model, State};
    ///
    /// /// The same as `Order::Prefix`.
    /// fn is_prefix<M: Model>(read: &State, history: &History<'_, M>) -> bool {
    ///     history.states()[history.low()..].contains(read)
    /// }
    /// ```
    Custom(fn(&State, &History<'_, M>) -> bool),
}

/// Whether ops survive a power loss that were in flight when the process died, and that its
/// recovery showed. They never returned, so no acknowledgement is their own. A later one covers
/// them: always that of an op that changed the store, since the engine wrote and synced for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownOps {
    /// Any acknowledgement covers them, also that of an op that found nothing to do.
    Kept,
    /// That of an op that is about no item ([`Model::items`]), a sync, covers them; that of a
    /// delete of an absent key, say, does not: most engines write and sync nothing for it.
    #[default]
    KeptBySync,
    /// None covers them until an op changes the store.
    MayBeLost,
}

/// The promise of an engine after a fault; the weakest is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AfterFault {
    /// Nothing: whatever follows is not checked, and does not count as passed.
    Nothing,
    /// It shows the right state or returns an error; it never shows a wrong one.
    Loud,
    /// It opens, and shows the right state.
    Right,
}

/// A promise, and the sentence of the engine's documentation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The promise, in the sim's words.
    pub promise: &'static str,
    /// The sentence of the documentation.
    pub sentence: &'static str,
    /// Where to find it: a page, a file, a version.
    pub at: &'static str,
}

/// The promises of an engine in addition to the [`Ack`](crate::sim::engine::Ack)s that it returns.
///
/// The default is the least that every store is held to: `Prefix` order, and nothing else.
pub struct Promises<M: Model> {
    /// Which ops may survive a crash without others.
    pub order: Order<M>,
    /// How durable an open that recovers makes the state that it shows; `Buffered` promises
    /// nothing.
    pub recovery: Level,
    /// Which acknowledgements cover ops that never returned, and that a recovery from the death of
    /// the process showed. Losing one that is covered is the violation `shown-then-lost`.
    pub shown: ShownOps,
    /// How durable a close that returned makes all ops before it; `Buffered` promises nothing.
    pub close: Level,
    /// The faults that the engine survives, and how. After a fault that is not listed nothing is
    /// promised.
    pub survives: Vec<(FaultKind, AfterFault)>,
    /// The source of each promise.
    pub sources: Vec<Source>,
}

impl<M: Model> Default for Promises<M> {
    fn default() -> Self {
        Self {
            order: Order::Prefix,
            recovery: Level::Buffered,
            shown: ShownOps::default(),
            close: Level::Buffered,
            survives: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl<M: Model> Promises<M> {
    /// The promise after a fault of this kind: `Nothing` if it is not listed.
    pub fn answer(&self, fault_kind: FaultKind) -> AfterFault {
        let listed = self.survives.iter().find(|(listed, _)| *listed == fault_kind);
        listed.map_or(AfterFault::Nothing, |(_, answer)| *answer)
    }

    /// The part of the store that an item is in, where the order is promised part by part.
    pub(crate) fn part(&self, item: &[u8]) -> Option<Vec<u8>> {
        match self.order {
            Order::Prefix | Order::Custom(_) => None,
            Order::PrefixPerPart(part) => Some(part(item)),
            Order::PerKey => Some(item.to_vec()),
        }
    }
}
