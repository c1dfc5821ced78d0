//! The baton: of the engine's real threads, only the one that holds it runs.
//!
//! Every thread that the engine starts begins in `begin`, waits for the baton, and passes it on at
//! its end, after its thread-locals were destroyed. The `schedule` of the world decides which
//! thread gets it; this file makes the threads follow. A thread that does not hold the baton sleeps
//! on its own futex, in the kernel.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use libc::pthread_t;

use crate::base::time::Time;
use crate::log::Mark;

use super::holder;
use crate::process::seam;
use crate::process::seam::altstack::AltStack;
use crate::process::seam::kernel::{errno, next, set_errno, system_call};
use crate::process::world::schedule::{FIRST, Next, ThreadId, WaitFor, Woken};
use crate::process::world::{self, Setup, World};

/// How many threads a process may ever start.
const MOST: usize = 4096;

/// The state of a thread that other threads use.
struct Slot {
    /// 1 when it is given the baton.
    turn: AtomicU32,
    /// Its number in the kernel.
    tid: AtomicI32,
    /// Its handle in the C library.
    handle: AtomicU64,
}

static SLOTS: [Slot; MOST] =
    [const { Slot { turn: AtomicU32::new(0), tid: AtomicI32::new(0), handle: AtomicU64::new(0) } };
        MOST];

/// How many threads are alive. With one there is nothing to schedule.
static ALIVE: AtomicU32 = AtomicU32::new(0);

/// The thread that has passed on the baton for the last time. The next holder waits until it is
/// gone, since the C library's work at the end of a thread (freeing memory) would otherwise happen
/// at any time.
static DYING: AtomicU32 = AtomicU32::new(0);

/// The key whose destructor is the last of a thread, plus one; 0 before there is one.
static LAST_KEY: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The calling thread; 0 if it belongs to no world.
    static OWN: Cell<ThreadId> = const { Cell::new(0) };
}

fn slot(id: ThreadId) -> &'static Slot {
    &SLOTS[id as usize % MOST]
}

/// The number of the calling thread; 0 if it belongs to no world.
pub(crate) fn own() -> ThreadId {
    OWN.get()
}

/// Whether more than one thread is alive.
#[inline(always)]
pub(crate) fn several() -> bool {
    ALIVE.load(Ordering::Relaxed) > 1
}

impl World {
    /// Installs the world of this process in place of the one before. The engine's descriptors
    /// from before are gone. The calling thread is the first of the new world.
    pub fn install(setup: Setup) {
        world::replace(Some(Self::new(setup)));
        hold_as_first();
    }
}

/// The calling thread is the first of a new world, and holds the baton.
fn hold_as_first() {
    OWN.set(FIRST);
    // SAFETY: neither call has a precondition.
    let (tid, handle) = unsafe { (libc::gettid(), libc::pthread_self()) };
    slot(FIRST).tid.store(tid, Ordering::Relaxed);
    slot(FIRST).handle.store(handle, Ordering::Relaxed);
    ALIVE.store(1, Ordering::Relaxed);
    DYING.store(0, Ordering::Relaxed);
}

/// The kernel's numbers of the threads of the world, of ended ones among them.
pub(crate) fn tids() -> impl Iterator<Item = c_int> {
    let started = world::enter(|world| world.schedule.count_started()).unwrap_or(0);
    SLOTS.iter().skip(1).take(started).map(|slot| slot.tid.load(Ordering::Relaxed))
}

/// A scheduling point: another thread may run before this returns.
#[inline]
pub(crate) fn point() {
    if several() {
        switch(false);
    }
}

/// As [`point`], but in the default order another thread runs, if one can.
pub(crate) fn yield_turn() {
    if several() {
        switch(true);
    }
}

/// As [`world::enter`], for a call that other threads may see: another one may run before it and
/// after it.
#[inline]
pub(crate) fn serve<R>(serve: impl FnOnce(&mut World) -> R) -> Option<R> {
    point();
    let served = world::enter(serve);
    point();
    served
}

/// Waits until the thread is woken or until a time has come.
///
/// A thread that belongs to no world cannot yield: time passes at once.
pub(crate) fn wait(on: WaitFor, until: Option<Time>) -> Woken {
    if OWN.get() == 0 {
        if let Some(until) = until {
            world::enter(|world| world.pass_time(until));
        }
        return Woken::TimedOut;
    }
    world::enter(|world| world.schedule.wait(on, until));
    switch(false);
    world::enter(|world| world.schedule.woken()).unwrap_or(Woken::Came)
}

/// The calling thread spins until another one does something: another one runs, if one can. To be
/// called in the handler of a signal that has interrupted the engine.
pub(crate) fn yield_spinning() {
    let own = OWN.get();
    if own != 0 && world::enter(|world| world.schedule.spin(own)) == Some(true) {
        switch(false);
    }
}

/// Lets the schedule decide which thread runs, and waits if that is another one.
fn switch(yields: bool) {
    let own = OWN.get();
    if own == 0 {
        return;
    }
    let Some(next) = world::enter(|world| world.next_thread(yields)) else { return };
    if next != own {
        let _harness = seam::harness();
        let before = errno();
        give(next);
        take(own);
        set_errno(before);
    }
}

impl World {
    /// The thread that runs next. If none can run before a time, the clock advances to that time.
    fn next_thread(&mut self, yields: bool) -> ThreadId {
        loop {
            let next = self.schedule.next(self.clock.now(), yields);
            match next {
                Next::Thread(id) => {
                    if let Some(turn) = self.schedule.take_turn() {
                        self.mark(Mark::Turn(turn));
                    }
                    return id;
                }
                Next::At(time) => self.pass_time(time),
                Next::Never => {
                    if let Some(call) = self.schedule.awaits_host() {
                        self.not_simulated(&format!("{call} that waits for the host"));
                    }
                    let waits = self.schedule.waits();
                    self.hang(&format!("is in a deadlock: {waits}"));
                }
            }
        }
    }
}

/// Gives the baton to a thread.
fn give(to: ThreadId) {
    let slot = slot(to);
    slot.turn.store(1, Ordering::Release);
    let word = slot.turn.as_ptr().expose_provenance();
    let wake = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: wakes the thread that sleeps on the word of a static.
    unsafe { system_call(libc::SYS_futex, [word, wake, 1, 0, 0, 0]) };
}

/// Sleeps until the calling thread is given the baton.
fn take(own: ThreadId) {
    let slot = slot(own);
    let word = slot.turn.as_ptr().expose_provenance();
    let wait = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    while slot.turn.swap(0, Ordering::Acquire) == 0 {
        // SAFETY: sleeps while the word of a static is 0; there is no time limit.
        unsafe { system_call(libc::SYS_futex, [word, wait, 0, 0, 0, 0]) };
    }
    holder::set(slot.tid.load(Ordering::Relaxed));
    await_dying();
}

/// Waits until the thread that ended last is gone.
fn await_dying() {
    let dead = DYING.swap(0, Ordering::Acquire);
    if dead == 0 {
        return;
    }
    let slot = slot(dead);
    // SAFETY: signal 0 asks whether the thread exists. Its number is not reused so soon: the kernel
    // counts them up.
    unsafe {
        let tid = slot.tid.load(Ordering::Relaxed);
        while libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) == 0 {
            libc::sched_yield();
        }
    }
    let detached = world::enter(|world| world.schedule.is_detached(dead)).unwrap_or(false);
    if detached {
        join(slot.handle.load(Ordering::Relaxed), ptr::null_mut());
    }
}

/// Joins a thread that is gone: the C library frees its stack.
fn join(handle: pthread_t, result: *mut *mut c_void) -> c_int {
    let join = next!(pthread_join(pthread_t, *mut *mut c_void) -> c_int);
    // SAFETY: each thread is started joinable, and joined once: when it is gone, by the engine or,
    // if it is detached, in `await_dying` or `detach_thread`.
    unsafe { join(handle, result) }
}

/// A function that a thread of POSIX begins with.
pub(crate) type StartPosix = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// A function that a thread of C11 begins with.
pub(crate) type StartPlain = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;

/// The function that a thread begins with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    Posix(StartPosix),
    Plain(StartPlain),
}

/// The arguments of a new thread.
struct NewThread {
    id: ThreadId,
    start: Start,
    argument: *mut c_void,
}

/// Starts a thread of the engine.
///
/// # Safety
/// The contract of pthread_create(3): `handle` has room for a handle, the attributes are null or
/// initialised, and `start` may be called with `argument` on another thread.
pub(crate) unsafe fn create(
    handle: *mut pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let _harness = seam::harness();
    if !make_last_key() || ALIVE.load(Ordering::Relaxed) == 0 {
        return libc::EAGAIN;
    }
    let started = world::enter(|world| {
        (world.schedule.count_started() < MOST - 1).then(|| world.schedule.start())
    });
    let Some(Some(id)) = started else { return libc::EAGAIN };
    let new = Box::into_raw(Box::new(NewThread { id, start, argument }));
    // SAFETY: the handle has room and the attributes are null or initialised, by this function's
    // contract; `begin` owns the box.
    let result = unsafe { create_joinable(handle, attributes, new) };
    if result == 0 {
        // SAFETY: the C library has written the handle.
        slot(id).handle.store(unsafe { *handle }, Ordering::Relaxed);
        ALIVE.fetch_add(1, Ordering::Relaxed);
    } else {
        // SAFETY: no thread was started that could own the box.
        drop(unsafe { Box::from_raw(new) });
        world::enter(|world| world.schedule.forget(id));
    }
    result
}

/// Starts a joinable thread, whatever the attributes say: it is joined when it is gone.
///
/// # Safety
/// As [`create`].
unsafe fn create_joinable(
    handle: *mut pthread_t,
    attributes: *const libc::pthread_attr_t,
    new: *mut NewThread,
) -> c_int {
    type Attributes = libc::pthread_attr_t;
    let create =
        next!(pthread_create(*mut pthread_t, *const Attributes, StartPosix, *mut c_void) -> c_int);
    let getdetachstate = next!(pthread_attr_getdetachstate(*const Attributes, *mut c_int) -> c_int);
    let argument = new.cast();
    // SAFETY: the attributes are null or initialised, and outlive the call; so the copy, of which
    // only the state of being detached changes, is initialised too. What the attributes refer to is
    // theirs: the copy is not destroyed, and lives no longer.
    unsafe {
        let mut state = libc::PTHREAD_CREATE_JOINABLE;
        if !attributes.is_null() {
            getdetachstate(attributes, &raw mut state);
        }
        if state != libc::PTHREAD_CREATE_DETACHED {
            return create(handle, attributes, begin, argument);
        }
        // The engine's own may be shared, and are not written to.
        let mut joinable = attributes.read();
        libc::pthread_attr_setdetachstate(&raw mut joinable, libc::PTHREAD_CREATE_JOINABLE);
        let id = (*new).id;
        let result = create(handle, &raw const joinable, begin, argument);
        if result == 0 {
            world::enter(|world| world.schedule.detach(id));
        }
        result
    }
}

/// The first function of a thread. Before the thread holds the baton it must leave no trace: it
/// allocates nothing and maps nothing.
unsafe extern "C-unwind" fn begin(new: *mut c_void) -> *mut c_void {
    let new = new.cast::<NewThread>();
    // SAFETY: `create` made the box for this thread.
    let id = unsafe { (*new).id };
    OWN.set(id);
    // SAFETY: `gettid` has no precondition.
    slot(id).tid.store(unsafe { libc::gettid() }, Ordering::Relaxed);
    take(id);
    // SAFETY: as above.
    let NewThread { start, argument, .. } = *unsafe { Box::from_raw(new) };
    let key = LAST_KEY.load(Ordering::Relaxed) - 1;
    // SAFETY: the key was made before the first thread; the value is a count, never followed.
    unsafe { libc::pthread_setspecific(key, ptr::without_provenance(1)) };
    // With it an overflow of the thread's stack can be noted; the thread keeps it until its end.
    if let Ok(stack) = AltStack::new() {
        stack.keep();
    }
    seam::become_engine();
    match start {
        // SAFETY: the engine asked for exactly this call. If it unwinds (`pthread_exit`), there is
        // nothing here to drop.
        Start::Posix(start) => unsafe { start(argument) },
        Start::Plain(start) => {
            // SAFETY: the same.
            let number = unsafe { start(argument) };
            // As the C library returns it: in the low half of the pointer.
            ptr::without_provenance_mut(number as usize)
        }
    }
}

/// Makes the key whose destructor ends a thread, once.
fn make_last_key() -> bool {
    if LAST_KEY.load(Ordering::Relaxed) == 0 {
        let mut key = 0;
        // SAFETY: the C library writes a number; the destructor takes the value that `begin`
        // stored.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(last_destructor)) } != 0 {
            return false;
        }
        LAST_KEY.store(key + 1, Ordering::Relaxed);
    }
    true
}

/// How often the C library runs the destructors of a thread's keys
/// (`PTHREAD_DESTRUCTOR_ITERATIONS`).
const ROUNDS: usize = 4;

/// Runs once a round, after the destructors of `thread_local!`. In the last round the thread has
/// nothing left to do that the engine could see, and passes on the baton.
unsafe extern "C" fn last_destructor(round: *mut c_void) {
    let side = seam::harness();
    let round = round.addr();
    if round < ROUNDS {
        let key = LAST_KEY.load(Ordering::Relaxed) - 1;
        // SAFETY: as in `begin`.
        unsafe { libc::pthread_setspecific(key, ptr::without_provenance(round + 1)) };
        return;
    }
    // From here on it is on the harness's side for good.
    std::mem::forget(side);
    AltStack::drop_kept();
    let own = OWN.replace(0);
    ALIVE.fetch_sub(1, Ordering::Relaxed);
    let next = world::enter(|world| {
        world.schedule.end();
        world.next_thread(false)
    });
    DYING.store(own, Ordering::Release);
    if let Some(next) = next {
        give(next);
    }
}

/// The thread that has this handle in the engine, if it is one of the world's.
fn known(handle: pthread_t) -> Option<ThreadId> {
    let started = world::enter(|world| world.schedule.count_started())?;
    // The newest: a handle may have been another thread's before.
    (1..=started).rev().find_map(|id| {
        let id = ThreadId::try_from(id).ok()?;
        (slot(id).handle.load(Ordering::Relaxed) == handle).then_some(id)
    })
}

/// Waits for the end of a thread and joins it; `None` if it is not one of the world's.
pub(crate) fn join_thread(
    handle: pthread_t,
    result: *mut *mut c_void,
    until: Option<Time>,
) -> Option<c_int> {
    let id = known(handle)?;
    let _harness = seam::harness();
    if id == own() {
        return Some(libc::EDEADLK);
    }
    while !world::enter(|world| world.schedule.has_ended(id))? {
        if wait(WaitFor::End(id), until) == Woken::TimedOut {
            return Some(libc::ETIMEDOUT);
        }
    }
    world::enter(|world| world.panics.forget(id));
    Some(join(handle, result))
}

/// This thread will not be joined; `None` if it is not one of the world's.
pub(crate) fn detach_thread(handle: pthread_t) -> Option<c_int> {
    let id = known(handle)?;
    let _harness = seam::harness();
    let (was, ended) =
        world::enter(|world| (world.schedule.is_detached(id), world.schedule.detach(id)))?;
    if was {
        return Some(libc::EINVAL);
    }
    if ended {
        join(handle, ptr::null_mut());
    }
    Some(0)
}

/// Whether a thread that was not joined has ended; `None` if it is not one of the world's.
pub(crate) fn has_ended(handle: pthread_t) -> Option<bool> {
    let id = known(handle)?;
    world::enter(|world| world.schedule.has_ended(id))
}

/// Lets the other threads run until they have ended, or until this time. Those that are left then
/// never run again, and their open descriptors are closed; returns how many those are.
pub fn settle(until: Time) -> usize {
    while several() {
        let now = world::now();
        if now >= until {
            break;
        }
        wait(WaitFor::Settled, Some(until));
    }
    if !several() {
        return 0;
    }
    let frozen = world::enter(World::freeze_other_threads).unwrap_or(0);
    ALIVE.store(1, Ordering::Relaxed);
    frozen
}
