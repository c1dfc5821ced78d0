//! The configuration of a world: its disk, clocks, faults, limits, and where its log goes.

use std::ffi::c_int;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Time;
use crate::case::fault::Fault;
use crate::disk::profile::Profile;
use crate::disk::space::Space;
use crate::disk::tree::Tree;
use crate::log::Record;

use super::schedule::Plan;

/// The status that a process ends with when the default hook finds its engine hung.
pub const EXIT_HUNG: c_int = 113;

/// The status that a process ends with when a system call went past the doors.
pub const EXIT_LEAKED: c_int = 114;

/// Takes the records of a run.
pub trait Sink: Sync {
    /// Adds a record; returns whether there was room for it.
    fn append(&self, record: &Record<'_>) -> bool;
}

/// How long an engine may run before it counts as hung. Both limits replay exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Simulated calls.
    pub calls: u64,
    /// Virtual time since the process began.
    pub time: Duration,
}

impl Default for Budget {
    /// A million calls, one virtual day. That many calls take some seconds, well below the CPU time
    /// that a child may use, so an endless loop of calls ends at the same call each time.
    fn default() -> Self {
        Self { calls: 1_000_000, time: Duration::from_secs(24 * 60 * 60) }
    }
}

/// The process's reactions to events that end it or must outlive it.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// The engine used up its budget; the text says which. Must not return.
    pub hung: fn(&str) -> !,
    /// A system call of this name went past the doors. Must not return.
    pub leaked: fn(&str) -> !,
    /// The engine wrote these bytes to the standard error output.
    pub words: fn(&[u8]),
}

impl Default for Hooks {
    /// Ends the process with [`EXIT_HUNG`] or [`EXIT_LEAKED`]; keeps no words.
    fn default() -> Self {
        Self { hung: |_| exit(EXIT_HUNG), leaked: |_| exit(EXIT_LEAKED), words: |_| {} }
    }
}

/// The state that a world begins with.
pub struct Setup {
    /// The tree on the disk.
    pub tree: Tree,
    /// The run's time at which this process begins.
    pub start: Time,
    /// The monotonic clock's reading at that time.
    pub uptime: Duration,
    /// The real-time clock's reading at [`Time::START`], since 1970.
    pub wall_clock: Duration,
    /// The seed of the entropy.
    pub seed: u64,
    /// The seed of what the kernel drew when the machine booted.
    pub boot: u64,
    /// The id of the engine's process, and of its first thread.
    pub pid: libc::pid_t,
    /// The schedule of the threads.
    pub schedule: Plan,
    /// Which calls fail.
    pub faults: Vec<Fault>,
    /// The behavior of the file system when a sync fails.
    pub profile: Profile,
    /// The capacity of the disk, if it is limited.
    pub space: Option<Space>,
    /// Whether the cache drops pages whose write failed, as soon as it did.
    pub evicts: bool,
    /// Which calls are logged with their return addresses.
    pub stacks: Stacks,
    /// How many processors the engine sees.
    pub cpus: u32,
    /// When the engine counts as hung.
    pub budget: Budget,
    /// Reactions to a bad end, and to last words.
    pub hooks: Hooks,
    /// Where the log goes.
    pub sink: &'static dyn Sink,
}

/// Which calls are logged with their return addresses: to unwind at each costs a third of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stacks {
    /// None.
    #[default]
    None,
    /// Those that make changes durable.
    OfSyncs,
    /// All.
    All,
}

impl Stacks {
    /// Whether a call is logged with its return addresses; `synced` says that it made something
    /// durable.
    pub(super) fn has(self, synced: bool) -> bool {
        match self {
            Self::None => false,
            Self::OfSyncs => synced,
            Self::All => true,
        }
    }
}

impl Setup {
    /// A world at the beginning of a run, without faults, seed 0, one processor.
    pub fn new(tree: Tree, sink: &'static dyn Sink) -> Self {
        Self {
            tree,
            start: Time::START,
            uptime: Duration::from_secs(100_000),
            wall_clock: Duration::from_secs(1_700_000_000),
            seed: 0,
            boot: 0,
            pid: 1000,
            schedule: Plan::Listed(Vec::new()),
            faults: Vec::new(),
            profile: Profile::POSIX,
            space: None,
            evicts: false,
            stacks: Stacks::None,
            cpus: 1,
            budget: Budget::default(),
            hooks: Hooks::default(),
            sink,
        }
    }
}

/// Ends the process at once: no destructor and no exit function runs.
pub(crate) fn exit(status: c_int) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(status) }
}
