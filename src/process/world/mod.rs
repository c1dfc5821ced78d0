//! The simulated world of one process: a disk, descriptors, clocks and entropy, and the log of
//! the engine's calls on them.
//!
//! There is one world per process. Doors reach it through `enter`, or, for a call that other
//! threads may see, through the baton's `serve`, which adds a scheduling point before and after it.
//! The harness installs it before the engine runs.

pub(crate) mod actions;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod door;
pub(crate) mod entropy;
pub(crate) mod faults;
pub(crate) mod inject;
pub(crate) mod limits;
pub(crate) mod maps;
pub(crate) mod mounts;
pub(crate) mod panics;
mod policy;
pub(crate) mod room;
pub mod schedule;
pub mod setup;
pub(crate) mod sights;
pub(crate) mod streams;
pub(crate) mod timestamp;
pub(crate) mod views;
mod wait_for;

use std::borrow::Cow;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::time::Time;
use crate::case::fault::{FaultClass, InjectionKind};
use crate::disk::effect::{Effect, Ino};
use crate::disk::sight::Sights;
use crate::disk::space::Space;
#[cfg(feature = "inner")]
use crate::disk::tree::Tree;
use crate::disk::{Disk, Errno, Handle, Journal};
use crate::log::{Call, Mark, Payload, Record};
use crate::process::seam;
use crate::process::seam::auxv;
use crate::process::seam::kernel::{errno, set_errno};
use crate::process::seam::lock::Lock;
use crate::sim::fault_kind::FaultKind;

use self::actions::Actions;
use self::clock::{CALL, Clock};
use self::descriptors::{Descriptor, Descriptors};
use self::door::Door;
use self::entropy::Entropy;
use self::faults::Faults;
use self::limits::ResourceLimits;
use self::panics::Panics;
use self::schedule::{Schedule, WaitFor};
pub(crate) use self::sights::first_tick;
use self::streams::Streams;

#[cfg(feature = "inner")]
pub use self::setup::EXIT_HUNG;
pub(crate) use self::setup::exit;
pub use self::setup::{Budget, EXIT_LEAKED, Hooks, Setup, Sink, Stacks};

/// Where the simulated disk is mounted: a path that not even root can create on the host, so that
/// a call which goes past the doors fails.
pub const MOUNT: &str = "/proc/crashpoint";

/// The store's folder in a run. The engine may rename it, remove it, and make others next to it.
pub const STORE: &str = "/proc/crashpoint/store";

/// How many return addresses of a call are kept.
const FRAMES: usize = 32;

/// A remark about a run that its verdict must mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The engine changed this path, which is outside the mount.
    Outside(Vec<u8>),
    /// The engine made this call, which is not simulated.
    NotSimulated(String),
    /// The engine read this file or property of the host.
    Host(Vec<u8>),
}

/// The thing that a simulated descriptor refers to.
#[derive(Clone, Copy)]
pub(crate) enum Referent {
    /// An open file or directory of the disk.
    File(Handle),
    /// `/dev/urandom`.
    Random,
}

/// A call as a door got it.
pub(crate) struct Called<'a> {
    pub(super) door: &'static Door,
    pub(super) fd: c_int,
    pub(super) path: &'a [u8],
    pub(super) other: &'a [u8],
    pub(super) arguments: [u64; 2],
}

impl<'a> Called<'a> {
    /// A call on a descriptor.
    pub(crate) fn on(door: &'static Door, fd: c_int, arguments: [u64; 2]) -> Self {
        Self { door, fd, path: b"", other: b"", arguments }
    }

    /// A call on a path.
    pub(crate) fn at(door: &'static Door, path: &'a [u8], arguments: [u64; 2]) -> Self {
        Self { door, fd: -1, path, other: b"", arguments }
    }

    /// Its second path.
    pub(crate) fn with(self, other: &'a [u8]) -> Self {
        Self { other, ..self }
    }

    /// The path of a descriptor that the call closes.
    pub(crate) fn closing(self, path: &'a [u8]) -> Self {
        Self { path, ..self }
    }
}

/// The result of a call: a number, or an error.
pub(crate) type CallResult = Result<i64, Errno>;

/// The simulated world of one process.
pub struct World {
    pub(crate) disk: Disk,
    pub(crate) descriptors: Descriptors<Referent>,
    pub(crate) streams: Streams,
    /// The engine's actions for faults.
    pub(crate) actions: Actions,
    pub(crate) limits: ResourceLimits,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    /// The seed of what the kernel drew when the machine booted.
    boot: u64,
    /// The id of the engine's process.
    pub(crate) pid: libc::pid_t,
    /// The priority that the process gave itself (nice(2)).
    pub(crate) priority: c_int,
    pub(crate) schedule: Schedule,
    /// Panics on threads of the engine that nothing has dealt with yet.
    pub(crate) panics: Panics,
    /// The working directory, while it is on the disk.
    pub(crate) directory: Option<Handle>,
    pub(crate) umask: u32,
    /// The name of the disk's profile.
    pub(crate) profile: &'static str,
    pub(crate) cpus: u32,
    pub(crate) hooks: Hooks,
    /// The digest of the bytes that the current call moves.
    pub(crate) bytes: u64,
    pub(super) faults: Faults,
    pub(super) evicts: bool,
    space: Option<Space>,
    /// A call found no room.
    full: bool,
    /// The fault that was injected into the current call.
    pub(super) fault: Option<FaultKind>,
    budget: Budget,
    calls: u64,
    unrecorded: u64,
    last: &'static str,
    stacks: Stacks,
    /// The current call made something durable.
    synced: Arc<AtomicBool>,
    notes: Vec<Note>,
    /// The parts of the disk that the engine saw, beyond those that every digest holds.
    sights: Sights,
    /// The first tick of the disk's clock, and the first number of a new inode.
    first_tick: Time,
    first_ino: Ino,
    sink: &'static dyn Sink,
}

static WORLD: Lock<Option<Box<World>>> = Lock::new(None);

/// How often the world was entered.
static ENTERED: AtomicU64 = AtomicU64::new(0);

/// Runs `serve` in the world, on the harness's side of the seam; `None` if there is no world.
///
/// Every door that serves a call passes here. The harness leaves `errno` unchanged inside: callers
/// of `readdir` distinguish the end of a directory from an error by it.
#[inline]
pub(crate) fn enter<R>(serve: impl FnOnce(&mut World) -> R) -> Option<R> {
    let _harness = seam::harness();
    let before = errno();
    // Only one thread at a time writes: an atomic addition would cost several times as much.
    ENTERED.store(entered().wrapping_add(1), Ordering::Relaxed);
    let served = WORLD.take().as_deref_mut().map(serve);
    set_errno(before);
    served
}

/// How often the world was entered: as long as this stays the same, no call is made.
#[inline]
pub(super) fn entered() -> u64 {
    ENTERED.load(Ordering::Relaxed)
}

/// As [`enter`], for a signal handler: returns `None` also if the world is in use.
pub(crate) fn try_enter<R>(serve: impl FnOnce(&mut World) -> R) -> Option<R> {
    let _harness = seam::harness();
    WORLD.try_take()?.as_deref_mut().map(serve)
}

/// Replaces the present world by another one, or by none.
pub(super) fn replace(world: Option<World>) {
    let mut world = world.map(Box::new);
    maps::reset();
    std::mem::swap(&mut *WORLD.take(), &mut world);
    // The lock is free again: dropping the old world may enter it.
    drop(world);
}

/// Begins a step of the workload, within which faults are counted.
pub fn step(step: u32) {
    enter(|world| world.faults.step(step));
}

/// Logs a mark of the harness.
pub fn mark(mark: Mark<'_>) {
    enter(|world| {
        world.stores();
        world.mark(mark);
    });
}

/// Whether the engine read any clock since the world was installed.
pub fn saw_clock() -> bool {
    enter(|world| world.clock.was_read()).unwrap_or(false)
}

/// How often more than one thread could run and one was chosen.
pub fn decisions() -> u64 {
    enter(|world| world.schedule.decisions()).unwrap_or(0)
}

/// The remarks that the run's verdict must mention, each once, in the order of their first time.
#[cfg(feature = "inner")]
pub fn notes() -> Vec<Note> {
    enter(|world| world.notes.clone()).unwrap_or_default()
}

/// The run's time.
pub fn now() -> Time {
    enter(|world| world.clock.now()).unwrap_or_default()
}

/// How many simulated calls there were, and which door served the last one.
pub fn calls() -> (u64, &'static str) {
    enter(|world| (world.calls, world.last)).unwrap_or_default()
}

/// The tree of the disk as it is now.
#[cfg(feature = "inner")]
pub fn tree() -> Option<Tree> {
    enter(|world| {
        world.stores();
        world.disk.tree().clone()
    })
}

impl World {
    /// Removes the world: from here on the doors pass every call to the kernel.
    pub fn remove() {
        replace(None);
    }

    /// A world that no call was made in.
    pub(super) fn new(setup: Setup) -> Self {
        let mut disk = match setup.faults.is_empty() && setup.space.is_none() {
            true => Disk::new(setup.tree),
            false => Disk::mounted(setup.tree, &setup.profile),
        };
        disk.set_time(setup.start);
        let first_tick = first_tick(setup.start);
        disk.set_first_tick(first_tick);
        let next_ino = disk.tree().next_ino();
        auxv::set_random(random_of_start(setup.seed));
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let directory = disk.open(disk.tree().root(), b".", flags, 0).ok();
        if let Some(space) = setup.space {
            disk.limit(space);
        }
        let synced = Arc::new(AtomicBool::new(false));
        disk.set_journal(Box::new(Effects {
            sink: setup.sink,
            evicts: setup.space.is_some_and(|space| space.delayed),
            hung: setup.hooks.hung,
            synced: Arc::clone(&synced),
        }));
        Self {
            disk,
            descriptors: Descriptors::new(),
            streams: Streams::default(),
            actions: Actions::default(),
            limits: ResourceLimits::default(),
            clock: Clock::new(setup.start, setup.uptime, setup.wall_clock),
            entropy: Entropy::new(setup.seed),
            boot: setup.boot,
            pid: setup.pid,
            priority: 0,
            schedule: Schedule::new(setup.schedule),
            panics: Panics::default(),
            directory,
            umask: 0o022,
            profile: setup.profile.name,
            cpus: setup.cpus,
            hooks: setup.hooks,
            bytes: 0,
            faults: Faults::new(setup.faults),
            evicts: setup.evicts,
            space: setup.space,
            full: false,
            fault: None,
            budget: setup.budget,
            calls: 0,
            unrecorded: 0,
            last: "",
            stacks: setup.stacks,
            synced,
            notes: Vec::new(),
            sights: Sights::default(),
            first_tick,
            first_ino: next_ino,
            sink: setup.sink,
        }
    }

    /// Carries out a call: time passes, `act` has its effects, and the log gets a record.
    pub(crate) fn call(
        &mut self,
        called: &Called<'_>,
        act: impl FnOnce(&mut Self) -> CallResult,
    ) -> CallResult {
        self.begin(called.door.name);
        let outcome = match self.refusal(called) {
            Some(error) => Err(Errno(error.errno())),
            None => act(self),
        };
        self.end(called, outcome)
    }

    /// A call begins: time passes.
    pub(crate) fn begin(&mut self, door: &'static str) {
        self.stores();
        self.count(door, CALL);
        self.disk.set_time(self.clock.now());
        (self.bytes, self.fault) = (0, None);
    }

    /// A call ends: the log gets a record.
    pub(crate) fn end(&mut self, called: &Called<'_>, outcome: CallResult) -> CallResult {
        if self.space.is_some_and(|space| outcome == Err(space.error)) {
            self.fault = self.fault.or(Some(no_room(called.door)));
            if !std::mem::replace(&mut self.full, true) {
                self.mark(Mark::Full);
            }
        }
        self.record(called, outcome);
        if maps::any() {
            self.follow_changes();
        }
        outcome
    }

    /// No thread can run before this time.
    pub(crate) fn pass_time(&mut self, until: Time) {
        self.clock.advance(until.since(self.clock.now()));
        self.check_time();
    }

    /// No thread but the calling one runs from now on, and if there were others, all descriptors
    /// are closed. Returns how many there were.
    pub(super) fn freeze_other_threads(&mut self) -> usize {
        let frozen = self.schedule.freeze_others();
        if frozen > 0 {
            for descriptor in self.descriptors.take_all() {
                self.close(descriptor.referent);
            }
        }
        frozen
    }

    /// Carries out a call that is too frequent for its own record and does not change the disk: a
    /// digest of its `numbers` goes into the next record.
    pub(crate) fn call_unrecorded(
        &mut self,
        door: &'static str,
        cost: Duration,
        numbers: [u64; 3],
    ) {
        self.count(door, cost);
        for number in numbers {
            self.unrecorded = (self.unrecorded ^ number)
                .wrapping_add(0x9e37_79b9_7f4a_7c15)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
                .rotate_left(31);
        }
    }

    #[inline]
    fn count(&mut self, door: &'static str, cost: Duration) {
        self.clock.advance(cost);
        self.calls += 1;
        self.last = door;
        if !self.panics.is_empty() {
            self.outlived_panics();
        }
        if self.calls > self.budget.calls {
            self.hang(&format!("does not end within {} calls", self.budget.calls));
        }
        self.check_time();
    }

    /// A call of a thread that panicked: if it has unwound, the panic was caught.
    #[cold]
    fn outlived_panics(&mut self) {
        if !std::thread::panicking() {
            self.panics.forget(self.schedule.current());
        }
    }

    #[inline]
    pub(super) fn check_time(&mut self) {
        if self.clock.running() > self.budget.time {
            self.hang(&format!("does not end within {:?} of virtual time", self.budget.time));
        }
    }

    #[cold]
    pub(super) fn hang(&mut self, what: &str) -> ! {
        let mut what = what.to_owned();
        for panic in self.panics.unseen(&self.schedule) {
            what.push_str(&format!("; before that, {panic}"));
        }
        self.mark(Mark::Hung(&what));
        (self.hooks.hung)(&what)
    }

    fn record(&mut self, called: &Called<'_>, outcome: CallResult) {
        let mut space;
        let stack: &[u8] = if self.stacks.has(self.synced.swap(false, Ordering::Relaxed)) {
            space = [0; FRAMES * 8];
            return_addresses(&mut space)
        } else {
            &[]
        };
        let unrecorded = std::mem::take(&mut self.unrecorded);
        let opened;
        let call = Call {
            door: called.door.name,
            fd: called.fd,
            path: if called.path.is_empty() {
                opened = self.opened_as(called.fd);
                &opened
            } else {
                called.path
            },
            other: called.other,
            arguments: called.arguments,
            result: outcome.unwrap_or_else(|errno| -i64::from(errno.0)),
            bytes: self.bytes,
            unrecorded,
            fault: self.fault,
            thread: self.schedule.current(),
            stack,
        };
        self.append(Payload::Call(call));
    }

    pub(super) fn mark(&mut self, mark: Mark<'_>) {
        self.append(Payload::Mark(mark));
    }

    fn append(&self, payload: Payload<'_>) {
        if !self.sink.append(&Record { at: self.clock.now(), payload }) {
            (self.hooks.hung)(LOG_FULL);
        }
    }

    /// The engine made a call that is not simulated.
    #[cold]
    pub(crate) fn not_simulated(&mut self, call: &str) {
        let mut space = [0; FRAMES * 8];
        self.mark(Mark::NotSimulated(call, return_addresses(&mut space)));
        self.note(Note::NotSimulated(call.to_owned()));
    }

    /// The engine changes something outside the mount.
    #[cold]
    pub(crate) fn outside(&mut self, path: &[u8]) {
        self.mark(Mark::Outside(path));
        self.note(Note::Outside(path.to_owned()));
    }

    /// The engine reads a file or a property of the host. A file that the engine wrote is noted
    /// already.
    #[cold]
    pub(crate) fn reads_host(&mut self, what: &[u8]) {
        if self.notes.contains(&Note::Outside(what.to_owned())) {
            return;
        }
        self.mark(Mark::Host(what));
        self.note(Note::Host(what.to_owned()));
    }

    /// What the kernel drew when the machine booted. An answer depends on the boot, as it depends
    /// on the time where a clock was read.
    pub(crate) fn boot(&mut self) -> u64 {
        self.clock.see();
        self.boot
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The open file of a descriptor.
    #[inline]
    pub(crate) fn file(&self, fd: c_int) -> Result<Handle, Errno> {
        match self.descriptors.get(fd) {
            Some(Descriptor { referent: Referent::File(handle), .. }) => Ok(*handle),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }

    /// The path that a descriptor was opened by, from the store's folder; empty if it is closed.
    pub(crate) fn opened_as(&self, fd: c_int) -> Cow<'_, [u8]> {
        match self.descriptors.get(fd) {
            Some(Descriptor { referent: Referent::File(file), .. }) => {
                self.logged(self.disk.opened_as(*file).unwrap_or_default())
            }
            Some(Descriptor { referent: Referent::Random, .. }) => Cow::Borrowed(RANDOM),
            None => Cow::Borrowed(b""),
        }
    }

    /// An absolute path of the disk as the log writes it: from the store's folder.
    pub(crate) fn logged<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        self.disk.tree().from_store(relative(path))
    }

    /// Gives an opened file the lowest free descriptor from `least` on.
    pub(crate) fn give(
        &mut self,
        least: c_int,
        referent: Referent,
        close_on_exec: bool,
    ) -> CallResult {
        match self.descriptors.add(least, Descriptor { referent, close_on_exec }) {
            Some(fd) => Ok(fd.into()),
            None => {
                self.let_go(referent);
                Err(Errno::EMFILE)
            }
        }
    }

    /// Closes what a removed descriptor referred to. The process's range locks on a file go with
    /// any descriptor of it (fcntl(2)).
    pub(super) fn close(&mut self, referent: Referent) {
        if let Referent::File(file) = referent
            && let Ok(ino) = self.disk.ino(file)
        {
            self.disk.drop_process_locks(ino, self.pid);
        }
        self.let_go(referent);
        self.schedule.wake_all(WaitFor::FileLock);
    }

    /// Drops one descriptor's reference.
    pub(crate) fn let_go(&mut self, referent: Referent) {
        if let Referent::File(handle) = referent {
            let closed = self.disk.close(handle);
            debug_assert!(closed.is_ok(), "a descriptor refers to an open file");
        }
    }

    /// The path of a name on the disk, from the store's folder.
    pub(crate) fn name<'a>(&self, base: Ino, path: &'a [u8]) -> Cow<'a, [u8]> {
        if path.starts_with(b"/") {
            return self.logged(path);
        }
        let whole = self.disk.path_of(base).unwrap_or_default();
        if path.is_empty() && whole == b"/" {
            return Cow::Borrowed(path);
        }
        let whole = [&whole, &b"/"[..], path].concat();
        Cow::Owned(self.logged(&whole).into_owned())
    }
}

const LOG_FULL: &str = "does not end before its log is full";

/// The device that the entropy stream can also be read from.
pub(crate) const RANDOM: &[u8] = b"/dev/urandom";

/// A path without its leading slashes.
fn relative(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    &path[slashes..]
}

/// A count of bytes as a call returns it.
pub(crate) fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Passes the disk's effects on to the log.
struct Effects {
    sink: &'static dyn Sink,
    /// Whether the cache drops the pages that a sync found no room for.
    evicts: bool,
    hung: fn(&str) -> !,
    synced: Arc<AtomicBool>,
}

impl Journal for Effects {
    fn record(&mut self, at: Time, effect: &Effect<'_>) {
        if self.evicts && matches!(effect, Effect::SyncFailed(_)) {
            // Marked first: a crash may fall between the two.
            self.append(at, Payload::Mark(Mark::Evicted));
        }
        self.append(at, Payload::Effect(*effect));
        if let Effect::Sync(_) = effect {
            self.synced.store(true, Ordering::Relaxed);
        }
    }
}

impl Effects {
    fn append(&self, at: Time, payload: Payload<'_>) {
        if !self.sink.append(&Record { at, payload }) {
            (self.hung)(LOG_FULL);
        }
    }
}

/// Writes the return addresses of the calling door into `space`, innermost first.
#[cold]
fn return_addresses(space: &mut [u8; FRAMES * 8]) -> &[u8] {
    let mut used = 0;
    backtrace::trace(|frame| {
        let address = (frame.ip() as u64).to_le_bytes();
        space[used..used + 8].copy_from_slice(&address);
        used += 8;
        used < space.len()
    });
    &space[..used]
}

/// The bytes that the kernel gives a process when it starts. The entropy that the process asks for
/// is another stream.
fn random_of_start(seed: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    Entropy::new(!seed).fill(&mut bytes);
    bytes
}

/// The fault kind, in the terms of a sim's promises, of a call that found no room.
fn no_room(door: &Door) -> FaultKind {
    let class = match door.faults.class() {
        // An open needs room for a file that it creates.
        Some(FaultClass::Open) => FaultClass::Create,
        class => class.unwrap_or(FaultClass::Write),
    };
    InjectionKind::NoSpace.fault_kind(class)
}
