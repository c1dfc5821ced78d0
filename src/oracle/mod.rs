//! What a store promised, and whether what came back keeps it.
//!
//! The oracle is pure: it is told what was issued and how it returned ([`Oracle::issue`],
//! [`Oracle::returned`]), and asked whether what was read after a crash was allowed
//! ([`Oracle::check`]). A crash maps a history of ops to its prefixes: at least up to the last op
//! that must survive ([`Ack`](crate::sim::engine::Ack)), at most all that were issued. What was read
//! must be what the [`Model`] shows after one of them. The rules:
//!
//! 1. An op in flight at the crash, or returned as an error, happened or did not; or in one of
//!    the parts that the model lists ([`Model::partial`]). The same parts may be the last op of
//!    any prefix that the crash leaves: what may be torn when it fails may be torn when it is
//!    lost.
//!    An op that was refused ([`Refused`](crate::sim::engine::Refused)) did not happen.
//! 2. `Flushed` survives a process crash, `Durable` every crash, `Buffered` none; an
//!    acknowledgement covers what came before it too. `Within` counts once its time has passed,
//!    unless the process ended or an op failed before.
//! 3. After a recovery ([`Oracle::recovered`]) the history goes on from what it showed, and what
//!    it did not show may never come back. A recovery that was cut ([`Oracle::interrupted`])
//!    settles nothing.
//! 4. With several clients, one op comes before another if it returned before the other was
//!    issued. Ops that overlap may have happened in any order. A history that may be recovered
//!    contains, with an op, all that came before it.
//! 5. Ops apply at the time of their issue; what the store must show is asked for the time of the
//!    read-back.
//!
//! A state that was not allowed is named by comparing it with the nearest state that was, the
//! first line that holds:
//!
//! | what was found | class |
//! |---|---|
//! | an item shows a value that no op ever wrote to it | `phantom-value` |
//! | all is as it was after an earlier op, before the last that must survive | `lost-write` |
//! | a value that a recovery had not shown, or that has expired | `resurrected` |
//! | a value that was written to the item, but not in this history | `wrong-value` |
//! | an op changed several items, and only some show it | `torn-batch` |
//! | all that differs was deleted since, and later ops are there | `resurrected` |
//! | after bit rot: an op is missing | `lost-write` |
//! | an op is missing, and a later one is there | `hole` |
//!
//! Where the order is promised part by part, the same holds for each part by itself.

mod candidates;
mod check;
mod custom;
mod diff;
mod floor;
mod history;
mod naming;
mod observed;
mod parts;
mod reading;
mod settle;
mod violation;

pub use crate::sim::fault_kind::FaultKind;
pub use crate::sim::history::History;
pub use crate::sim::model::{self, Model};
pub use crate::sim::promise::{AfterFault, CrashKind, Order, Promises, Source};
pub use candidates::{Bound, MOST_CANDIDATES, Oracle};
pub(crate) use diff::items_set_by;
pub use observed::{Crash, Found, NoViolation, Observed, ReadBack};
pub use violation::{Class, ItemDiff, Signature, SignatureError, Violation};
