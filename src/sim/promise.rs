//! What a sim says its engine promises, and where the engine says so.

use serde::{Deserialize, Serialize};

use crate::sim::engine::Level;
use crate::sim::fault_kind::FaultKind;
use crate::sim::history::History;
use crate::sim::model::Model;
use crate::sim::state::State;

/// What ended the process. Of two, the later one in this order spares less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CrashKind {
    /// The process died; the kernel and all that was written live on.
    Process,
    /// The power failed; what was not durable may be lost.
    Power,
}

/// In which order ops must survive.
pub enum Order<M: Model> {
    /// What is recovered is a prefix of the history: there is no hole.
    Prefix,
    /// As `Prefix` within each part of the store, each part by itself; the function names the
    /// part that an item is in.
    PrefixPerPart(fn(&[u8]) -> Vec<u8>),
    /// As `Prefix` for each item by itself.
    PerKey,
    /// Whatever the sim's predicate lets pass: it is given the state that was read back and each
    /// history that may have been. It must let pass at least every prefix that keeps what must
    /// survive.
    Custom(fn(&State, &History<'_, M>) -> bool),
}

/// What an engine promises after a [`FaultKind`], the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AfterFault {
    /// Nothing: what follows is not checked, and does not count as passed.
    Nothing,
    /// It answers rightly or fails with an error; it never answers wrongly.
    Loud,
    /// It answers rightly.
    Right,
}

/// A promise, and the sentence of the engine's documentation that it restates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The promise, in the sim's words.
    pub promise: &'static str,
    /// The sentence of the documentation.
    pub sentence: &'static str,
    /// Where it stands: a page, a file, a version.
    pub at: &'static str,
}

/// What an engine promises, beside the [`Ack`](crate::sim::engine::Ack)s that it returns.
///
/// The default is what every store is asked for: `Prefix` order, and nothing else.
pub struct Promises<M: Model> {
    /// In which order ops survive.
    pub order: Order<M>,
    /// What a recovery that returned promises for the state that it showed; `Buffered` is
    /// nothing.
    pub recovery: Level,
    /// What a close that returned promises for all ops before it; `Buffered` is nothing.
    pub close: Level,
    /// What it survives, and how. What is not listed it need not survive.
    pub survives: Vec<(FaultKind, AfterFault)>,
    /// Where each promise comes from.
    pub sources: Vec<Source>,
}

impl<M: Model> Default for Promises<M> {
    fn default() -> Self {
        Self {
            order: Order::Prefix,
            recovery: Level::Buffered,
            close: Level::Buffered,
            survives: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl<M: Model> Promises<M> {
    /// What is promised after this harm.
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
