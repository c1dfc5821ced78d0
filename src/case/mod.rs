//! The case file: one run as text that a person can read, write and edit, and that replays.
//!
//! ```text
//! crashpoint-case 3
//! # Comment lines: the story of the failure.
//! sim append-log
//! profile posix
//! seed 0x92c17f0300000040
//! expect lost-write
//! fault ENOSPC step=2 write=1 after=100
//! put a 1
//! checkpoint 1
//! crash power step=2 effect=3 in=write:log keep=nothing down=1.5s
//! put b 2
//! ```
//!
//! The first line names the format. Older files are read as they were written:
//!
//! - A file without that line has format 0. Its fault lines say `life=N` where later ones say
//!   `epoch=N`, and all epochs have the same entropy and process id. A header line `identity
//!   shared` says so from format 1 on, where each epoch has its own.
//! - In formats 0 and 1 an op or a close that returns an error breaks no promise. A header line
//!   `errors uncertain` says so from format 2 on.
//! - In formats 0 to 2 a store that is created apart is closed after its creation and opened
//!   again. A header line `creation apart` says so from format 3 on.
//!
//! Header lines follow, in any order. `expect` names `pass`, or the class of the violation that
//! the case must show. Then come the steps, counted from 1: an op of the sim in its own words,
//! `reopen` (close and open), `sleep 50ms`, or `read-back`. A `crash` line ends an epoch; the steps
//! after it belong to the next epoch, which begins with a recovery.
//!
//! A crash names its [`Position`]: `step=0` is the opening of an epoch, and the step after the
//! last one is its closing. `effect=N` says that the step had changed the disk N times,
//! `returned` that the step had returned, `replies=N` that N ops of clients had returned within
//! it, and `ended=N` that N openings and closings of the store had returned since the last change.
//!
//! The rest of a `crash` line says what survives: the text form of a [`crate::disk::fate`], and
//! one word of [`crate::disk::rot`] if bytes rot. A process crash keeps everything, except with
//! `cache=evicted`, which drops the pages whose write had failed. The header line `cache evicted`
//! drops these pages as soon as a sync fails, while the engine runs; without it they stay in the
//! cache. The header line `space pages=40 inodes=9` limits the disk of the first epoch
//! (see [`crate::disk::space`]); later epochs have room.
//!
//! The seed schedules an engine with threads, unless an epoch has lines `turns 17>2 21>1`: then a
//! thread runs as long as it can, except at these decisions (see [`turn`]). `turns none` is that
//! rule without exceptions.

pub mod fault;
mod parse;
mod position;
mod print;
pub mod steps;
#[cfg(test)]
mod tests;
pub mod turn;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::seed::Seed;
use crate::base::text::Word;
use crate::case::fault::Fault;
use crate::case::turn::Turn;
use crate::disk::space::Space;
use crate::oracle::CrashKind;
use crate::oracle::{Class, Signature};

#[cfg(feature = "inner")]
pub use parse::CaseError;
pub use parse::CaseLines;
#[cfg(test)]
use parse::EpochLines;
pub use position::Position;

/// The format that is written. Formats 0 to this one are read.
pub const FORMAT: u32 = 3;

/// One run: its workload, its faults, its crashes, and what must come out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Comment lines at the head, without `# `.
    pub story: Vec<String>,
    /// The name of the sim.
    pub sim: String,
    /// The name of the profile.
    pub profile: String,
    /// The seed of the entropy that the engine gets.
    pub seed: Seed,
    /// The required outcome of a replay.
    pub expect: Expect,
    /// Set for a known finding: where it is reported or why it is accepted. Violations with the
    /// signature of `expect` are then counted as shadowed.
    pub known: Option<String>,
    /// Injected errors.
    pub faults: Vec<Fault>,
    /// The size of the first epoch's disk, if it is limited.
    pub space: Option<Space>,
    /// Whether the page cache drops pages whose write failed, as soon as the sync has failed.
    pub evicts: bool,
    /// The entropy and the process ids of its epochs.
    pub identity: Identity,
    /// What an error of an op or a close means.
    pub errors: Errors,
    /// How a store is created that no crash may interrupt.
    pub creation: Creation,
    /// The epochs: each runs from an opening of the store to a crash or to the end.
    pub epochs: Vec<Epoch>,
}

/// The entropy and the process ids of the epochs of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Each epoch has its own, as on a real machine.
    #[default]
    PerEpoch,
    /// All epochs have the same, as in cases of format 0.
    Shared,
}

/// What an error means that an op or a close returns though no fault was injected before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errors {
    /// A violation.
    #[default]
    Judged,
    /// The op may have happened, or may not; as in cases of formats 0 and 1.
    Uncertain,
}

/// How a store is created whose sim says that no crash may interrupt it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Creation {
    /// By the first opening of the run, which continues with the store as it is.
    #[default]
    InSession,
    /// By an opening and a close before the run, as in cases of formats 0 to 2.
    Apart,
}

/// The required outcome of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// No violation.
    Pass,
    /// A violation of this class, and of this signature if one is given.
    Violation(Class, Option<Signature>),
}

/// A part of a run, from an opening of the store to a crash or to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its steps; step 1 is the first.
    pub steps: Vec<Step>,
    /// The crash that ends it.
    pub crash: Option<Crash>,
    /// The scheduling decisions out of the default order; `None` leaves the schedule to the seed.
    pub turns: Option<Vec<Turn>>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// An op of the sim: its words.
    Op(Vec<Word>),
    /// Close the store and open it again.
    Reopen,
    /// Let virtual time pass.
    Sleep(Duration),
    /// Read the open store back.
    ReadBack,
}

/// Where and how an epoch ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// Process or power.
    pub kind: CrashKind,
    /// Where in the epoch.
    pub position: Position,
    /// The call in flight or the next one, as `call:path`: it shows when a case no longer fits
    /// its engine.
    pub within: Option<String>,
    /// How long the machine is down.
    pub down: Duration,
    /// The surviving data: the words of a fate.
    pub fate: Vec<Word>,
}

/// The words that a sim's ops must not begin with.
pub const RESERVED: [&str; 16] = [
    "sim",
    "profile",
    "seed",
    "expect",
    "known",
    "fault",
    "space",
    "cache",
    "identity",
    "errors",
    "turns",
    "crash",
    "reopen",
    "sleep",
    "creation",
    "read-back",
];

impl Case {
    /// An empty case for a sim.
    pub fn new(sim: &str, profile: &str, seed: Seed) -> Self {
        Self {
            story: Vec::new(),
            sim: sim.to_owned(),
            profile: profile.to_owned(),
            seed,
            expect: Expect::Pass,
            known: None,
            faults: Vec::new(),
            space: None,
            evicts: false,
            identity: Identity::PerEpoch,
            errors: Errors::Judged,
            creation: Creation::InSession,
            epochs: vec![Epoch::default()],
        }
    }
}
