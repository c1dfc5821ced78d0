//! Crash testing for storage engines.
#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(all(simulated, feature = "command")),
    allow(dead_code, unused_imports, reason = "only the simulation or the command uses it")
)]

#[cfg(all(target_os = "linux", any(target_env = "musl", target_feature = "crt-static")))]
compile_error!(
    "crashpoint needs a dynamically linked glibc: in a static binary the engine's calls into the \
     C library cannot be taken over"
);

// The wings; `tests/wings.rs` has their order.
mod base;
#[cfg(simulated)]
mod campaign;
mod case;
mod check;
#[cfg(all(simulated, feature = "command"))]
mod command;
mod disk;
#[cfg(simulated)]
mod explore;
#[cfg(simulated)]
mod host;
mod litmus;
mod log;
#[cfg(all(simulated, feature = "command"))]
mod nightly;
mod oracle;
#[cfg(simulated)]
mod process;
#[cfg(simulated)]
mod report;
#[cfg(simulated)]
mod shrink;
mod sim;

// What a sim is made of.
pub use base::digest::{Digest, Digester};
pub use base::seed::{Seed, SeedError};
pub use base::text::{TextError, Word, quote, words};
pub use base::time::Time;
pub use disk::profile::{Profile, TearRule};
pub use disk::rot::{Damage, Rot, Rotting};
pub use oracle::{Class, Signature, SignatureError};
pub use sim::engine::{Ack, Engine, Error, Level, Operation, Refused, Uncertain};
pub use sim::fault_kind::FaultKind;
pub use sim::history::History;
pub use sim::model::Model;
pub use sim::promise::{AfterFault, CrashKind, Order, Promises, ShownOps, Source};
pub use sim::state::State;
pub use sim::store::{Bytes, KeyValue, Store};
pub use sim::{OpOf, Sim, Step};

// What tests call.
pub use check::{Acks, as_client, check, check_corpus, check_faults, check_pair, check_store};
#[cfg(simulated)]
pub use check::{
    CaseFailed, FailedCalls, Found, check_case, check_on_real_disk, fail_every_call, find, record,
};

// What a command is made of.
#[cfg(all(not(simulated), feature = "command"))]
pub use check::main;
pub use check::{Entry, Registry, sim};
#[cfg(all(simulated, feature = "command"))]
pub use command::main;

/// The simulated disk on its own, for an engine that has a file-system trait: it needs neither
/// the C library nor processes.
///
/// A [`Disk`](simulated_disk::Disk) serves calls and reports each change to a
/// [`Journal`](simulated_disk::Journal). [`Pending`](simulated_disk::Pending) takes the changes
/// and knows what a crash may keep: a [`Fate`](simulated_disk::Fate) chooses.
pub mod simulated_disk {
    pub use crate::disk::effect::{Effect, Kind, Sync};
    pub use crate::disk::failure::{FailedSync, MountState, Reported, Shows, Sizes};
    pub use crate::disk::fate::Fate;
    pub use crate::disk::io::{SIZE_MAX, TRANSFER_MAX};
    pub use crate::disk::keep::CrashState;
    pub use crate::disk::linux;
    pub use crate::disk::pending::Pending;
    pub use crate::disk::profile::{Home, Need, PieceClass, Required, SyncRule};
    pub use crate::disk::relax::Relaxation;
    pub use crate::disk::space::Space;
    pub use crate::disk::tree::Tree;
    pub use crate::disk::{Disk, Errno, Handle, Ino, Journal, Listed, Stat};
}

/// The wings, for this project's own tests: nothing in here is part of the interface.
#[cfg(all(simulated, feature = "inner"))]
#[doc(hidden)]
pub mod inner {
    macro_rules! open {
        ($($wing:ident)*) => {
            $(pub mod $wing {
                pub use crate::$wing::*;
            })*
        };
    }
    open! { base disk litmus sim oracle case log process host explore campaign check }
    #[cfg(feature = "command")]
    open! { command nightly }
}
