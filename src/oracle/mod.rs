//! The oracle: what a store promised, and whether the state after a crash keeps it.
//!
//! The oracle is pure: it is fed the ops that were issued and how they returned
//! ([`Oracle::issue`], [`Oracle::returned`]), and asked whether the state read after a crash was
//! allowed ([`Oracle::check`]). A crash may leave any prefix of the history of ops, from the one
//! that ends with the last op that must survive ([`Ack`](crate::sim::engine::Ack)) to all ops
//! that were issued. The state must be what the [`Model`] shows after one of these prefixes. The
//! rules:
//!
//! 1. An op that was in flight at the crash, or returned an error, may have happened or not, or
//!    in one of the parts that the model lists ([`Model::partial`]). These parts may also end any
//!    prefix that the crash leaves: an op that may be torn when it fails may be torn when it is
//!    lost. An op that was refused ([`Refused`](crate::sim::engine::Refused)) did not happen.
//! 2. `Flushed` survives a process crash, `Durable` every crash, `Buffered` none; an
//!    acknowledgement also covers all ops before it. `Within` counts once its time has passed,
//!    unless the process ended or an op failed before.
//! 3. After a recovery ([`Oracle::recovered`]) the history continues from the state that it
//!    showed, and what it did not show may never come back. A recovery that was cut short by
//!    another crash ([`Oracle::interrupted`]) settles nothing.
//!    An op that was in flight when the process died, and that the recovery showed, is covered by
//!    later acknowledgements as [`ShownOps`](crate::sim::promise::ShownOps) says.
//! 4. With several clients, one op comes before another if it returned before the other was
//!    issued. Ops that overlap may have happened in any order. A history that may be recovered
//!    contains, with an op, all that came before it.
//! 5. Ops apply at the time of their issue; the model is asked for the state at the time of the
//!    read-back.
//!
//! A state that was not allowed is compared with the nearest state that was. The first line that
//! holds names the violation:
//!
//! | found | class |
//! |---|---|
//! | only ops are missing that had not returned, and that a recovery showed | `shown-then-lost` |
//! | an item shows a value that no op ever wrote to it | `phantom-value` |
//! | the state is as it was after an earlier op, before the last that must survive | `lost-write` |
//! | an item shows a value that a recovery had not shown, or that has expired | `resurrected` |
//! | an item shows a value that was written to it, but not in this history | `wrong-value` |
//! | an op changed several items, and only some show it | `torn-batch` |
//! | all items that differ have been deleted since, and later ops are there | `resurrected` |
//! | after bit rot: an op is missing | `lost-write` |
//! | an op is missing, and a later one is there | `hole` |
//!
//! Where the order is promised part by part, the same holds for each part on its own.

mod candidates;
mod check;
mod custom;
mod diff;
mod floor;
mod history;
mod loss;
mod naming;
mod observed;
mod parts;
mod reading;
mod settle;
mod shown;
mod violation;

pub use crate::sim::fault_kind::FaultKind;
pub use crate::sim::model::Model;
#[cfg(feature = "inner")]
pub use crate::sim::promise::ShownOps;
pub use crate::sim::promise::{AfterFault, CrashKind, Promises, Source};
#[cfg(feature = "inner")]
pub use candidates::MOST_CANDIDATES;
pub use candidates::{Bound, Oracle};
pub(crate) use diff::items_set_by;
pub use observed::{Crash, Found, NoViolation, Observed, ReadBack};
pub use violation::{Class, ItemDiff, Signature, SignatureError, Violation};
