//! Doors of the C library's locks: mutexes, condition variables, rwlocks, semaphores, barriers,
//! spin locks and `pthread_once`. Inside the C library they would wait in the kernel, out of the
//! schedule's reach.
//!
//! The C library's objects still record what is held and by which thread: a door tries to take the
//! object, and while that fails it waits in the schedule. Condition variables and barriers hold
//! nothing; they exist in the schedule alone.

use std::ffi::{c_int, c_uint, c_void};

use libc::{
    clockid_t, pthread_barrier_t, pthread_barrierattr_t, pthread_cond_t, pthread_condattr_t,
    pthread_mutex_t, pthread_once_t, pthread_rwlock_t, pthread_spinlock_t, sem_t, timespec,
};

use crate::base::time::Time;
use crate::disk::Errno;
use crate::process::seam;
use crate::process::seam::kernel::{errno, next};
use crate::process::threads::baton;
use crate::process::world;
use crate::process::world::door::Door;
use crate::process::world::schedule::{WaitFor, Woken};

use super::shared_locks::{self, Ask};
use super::threads::time_at;
use super::{answer, doors};

doors! {
    fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int = lock;
    fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int = lock_now;
    fn pthread_mutex_consistent(mutex: *mut pthread_mutex_t) -> c_int = make_consistent;
    fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int
        = lock_until;
    fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec
    ) -> c_int = lock_on;
    fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int = unlock;
    fn pthread_cond_init(cond: *mut pthread_cond_t, attributes: *const pthread_condattr_t)
        -> c_int = begin_condition;
    fn pthread_cond_destroy(cond: *mut pthread_cond_t) -> c_int = end_condition;
    fn pthread_cond_wait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int
        = await_condition;
    fn pthread_cond_timedwait(
        cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: *const timespec
    ) -> c_int = await_condition_until;
    fn pthread_cond_clockwait(
        cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, clock: clockid_t,
        until: *const timespec
    ) -> c_int = await_condition_on;
    fn pthread_cond_signal(cond: *mut pthread_cond_t) -> c_int = signal;
    fn pthread_cond_broadcast(cond: *mut pthread_cond_t) -> c_int = broadcast;
    fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int = lock_shared;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int
        = lock_shared_until;
    fn pthread_rwlock_clockrdlock(
        lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec
    ) -> c_int = lock_shared_on;
    fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int = lock_alone;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, until: *const timespec) -> c_int
        = lock_alone_until;
    fn pthread_rwlock_clockwrlock(
        lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec
    ) -> c_int = lock_alone_on;
    fn pthread_rwlock_trywrlock(lock: *mut pthread_rwlock_t) -> c_int = lock_alone_now;
    fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int = unlock_shared;
    fn pthread_spin_lock(lock: *mut pthread_spinlock_t) -> c_int = spin;
    fn pthread_spin_unlock(lock: *mut pthread_spinlock_t) -> c_int = stop_spinning;
    fn sem_wait(semaphore: *mut sem_t) -> c_int = take;
    fn sem_timedwait(semaphore: *mut sem_t, until: *const timespec) -> c_int = take_until;
    fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec) -> c_int
        = take_on;
    fn sem_post(semaphore: *mut sem_t) -> c_int = post;
    fn pthread_barrier_init(
        barrier: *mut pthread_barrier_t, attributes: *const pthread_barrierattr_t, count: c_uint
    ) -> c_int = begin_barrier;
    fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int = meet;
    fn pthread_once(control: *mut pthread_once_t, routine: extern "C-unwind" fn()) -> c_int = once,
        may unwind;
}

/// Names of the objects that threads wait for.
const MUTEX: &str = "a mutex";
const RWLOCK: &str = "an rwlock";
const SPIN: &str = "a spin lock";
const SEMAPHORE: &str = "a semaphore";
const ONCE: &str = "a pthread_once";

/// When to give up waiting: never, at a time of the run, or `EINVAL` for an invalid time.
type Until = Result<Option<Time>, Errno>;

fn until(clock: clockid_t, until: *const timespec) -> Until {
    time_at(clock, until).map(Some).ok_or(Errno::EINVAL)
}

/// Retries `attempt` until it is not busy; `None` for a thread that is in no schedule.
fn acquire<T>(
    object: *mut T,
    name: &'static str,
    until: Until,
    attempt: impl Fn() -> c_int,
) -> Option<c_int> {
    if baton::own() == 0 {
        return None;
    }
    baton::point();
    let _harness = seam::harness();
    loop {
        let result = attempt();
        if result != libc::EBUSY {
            return Some(result);
        }
        match until {
            Err(errno) => return Some(errno.0),
            Ok(until)
                if baton::wait(WaitFor::Object(object.addr(), name), until) == Woken::TimedOut =>
            {
                return Some(libc::ETIMEDOUT);
            }
            Ok(_) => {}
        }
    }
}

/// Releases an object and wakes the threads that wait for it; `None` if no other thread can wait.
fn release<T>(object: *mut T, name: &'static str, give_up: impl Fn() -> c_int) -> Option<c_int> {
    let alone = !baton::several() && !shared_locks::is_in_file(object);
    if baton::own() == 0 || alone {
        return None;
    }
    let result = {
        let _harness = seam::harness();
        give_up()
    };
    if result == 0 {
        world::enter(|world| world.schedule.wake_all(WaitFor::Object(object.addr(), name)));
        baton::point();
    }
    Some(result)
}

/// Tries to lock a mutex without waiting; `EDEADLK` if it is error-checking and the caller's own.
fn try_lock(mutex: *mut pthread_mutex_t) -> c_int {
    /// The error-checking kind of mutex, and the mask for the kind's bits.
    const CHECKS: c_int = libc::PTHREAD_MUTEX_ERRORCHECK;
    const KINDS: c_int = 3;
    if shared_locks::is_in_file(mutex) {
        return shared_locks::attempt(mutex, Ask::Lock);
    }
    let attempt = next!(pthread_mutex_trylock(*mut pthread_mutex_t) -> c_int);
    // SAFETY: the callers' functions take an initialised mutex. Its third `int` is the owner and
    // its fifth the kind (`struct __pthread_mutex_s` on x86-64).
    unsafe {
        let result = attempt(mutex);
        let numbers = mutex.cast::<c_int>();
        let (owner, kind) = (numbers.add(2).read_volatile(), numbers.add(4).read_volatile());
        if result == libc::EBUSY && kind & KINDS == CHECKS && owner == libc::gettid() {
            return libc::EDEADLK;
        }
        result
    }
}

/// Releases a mutex.
fn unlock_mutex(mutex: *mut pthread_mutex_t) -> c_int {
    if shared_locks::is_in_file(mutex) {
        return shared_locks::give_up(mutex);
    }
    let give_up = next!(pthread_mutex_unlock(*mut pthread_mutex_t) -> c_int);
    // SAFETY: the callers' functions take an initialised mutex.
    unsafe { give_up(mutex) }
}

/// Waits for nothing: outside mapped files the C library serves it, and the object says whether it
/// is held.
pub(super) fn lock_now(_: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    if baton::own() == 0 || !shared_locks::is_in_file(mutex) {
        return None;
    }
    baton::point();
    Some(shared_locks::attempt(mutex, Ask::Try))
}

fn make_consistent(_: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    (baton::own() != 0 && shared_locks::is_in_file(mutex))
        .then(|| shared_locks::make_consistent(mutex))
}

pub(super) fn lock(_: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    acquire(mutex, MUTEX, Ok(None), || try_lock(mutex))
}

pub(super) fn lock_until(
    _: &'static Door,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> Option<c_int> {
    acquire(mutex, MUTEX, until(libc::CLOCK_REALTIME, time), || try_lock(mutex))
}

fn lock_on(
    _: &'static Door,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> Option<c_int> {
    acquire(mutex, MUTEX, until(clock, time), || try_lock(mutex))
}

pub(super) fn unlock(_: &'static Door, mutex: *mut pthread_mutex_t) -> Option<c_int> {
    release(mutex, MUTEX, || unlock_mutex(mutex))
}

/// Records the clock of the condition variable's timed waits.
fn begin_condition(
    _: &'static Door,
    cond: *mut pthread_cond_t,
    attributes: *const pthread_condattr_t,
) -> Option<c_int> {
    let mut clock = libc::CLOCK_REALTIME;
    if !attributes.is_null() {
        // SAFETY: pthread_cond_init(3) takes null or initialised attributes.
        unsafe { libc::pthread_condattr_getclock(attributes, &raw mut clock) };
    }
    world::enter(|world| match clock {
        libc::CLOCK_REALTIME => world.schedule.clocks.remove(&cond.addr()),
        clock => world.schedule.clocks.insert(cond.addr(), clock),
    });
    None
}

fn end_condition(_: &'static Door, cond: *mut pthread_cond_t) -> Option<c_int> {
    world::enter(|world| world.schedule.clocks.remove(&cond.addr()));
    None
}

/// Releases the mutex, waits, and locks the mutex again.
fn on_condition(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: Until,
) -> Option<c_int> {
    if baton::own() == 0 {
        return None;
    }
    let until = match until {
        Ok(until) => until,
        Err(errno) => return Some(errno.0),
    };
    {
        let _harness = seam::harness();
        let result = unlock_mutex(mutex);
        if result != 0 {
            return Some(result);
        }
    }
    world::enter(|world| world.schedule.wake_all(WaitFor::Object(mutex.addr(), MUTEX)));
    let woken = baton::wait(WaitFor::Condition(cond.addr()), until);
    let locked = acquire(mutex, MUTEX, Ok(None), || try_lock(mutex))?;
    Some(match (locked, woken) {
        (0, Woken::TimedOut) => libc::ETIMEDOUT,
        (result, _) => result,
    })
}

pub(super) fn await_condition(
    _: &'static Door,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
) -> Option<c_int> {
    on_condition(cond, mutex, Ok(None))
}

fn await_condition_until(
    _: &'static Door,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> Option<c_int> {
    let clock = world::enter(|world| world.schedule.clocks.get(&cond.addr()).copied())?;
    on_condition(cond, mutex, until(clock.unwrap_or(libc::CLOCK_REALTIME), time))
}

pub(super) fn await_condition_on(
    _: &'static Door,
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> Option<c_int> {
    on_condition(cond, mutex, until(clock, time))
}

fn notify(cond: *mut pthread_cond_t, most: usize) -> Option<c_int> {
    if baton::own() == 0 {
        return None;
    }
    baton::point();
    world::enter(|world| {
        world.schedule.wake(most, |on| *on == WaitFor::Condition(cond.addr()));
    });
    baton::point();
    Some(0)
}

pub(super) fn signal(_: &'static Door, cond: *mut pthread_cond_t) -> Option<c_int> {
    notify(cond, 1)
}

pub(super) fn broadcast(_: &'static Door, cond: *mut pthread_cond_t) -> Option<c_int> {
    notify(cond, usize::MAX)
}

fn share(lock: *mut pthread_rwlock_t, until: Until) -> Option<c_int> {
    let attempt = next!(pthread_rwlock_tryrdlock(*mut pthread_rwlock_t) -> c_int);
    // SAFETY: the callers' functions take an initialised lock.
    acquire(lock, RWLOCK, until, || unsafe { attempt(lock) })
}

fn exclude(lock: *mut pthread_rwlock_t, until: Until) -> Option<c_int> {
    if shared_locks::is_in_file(lock) {
        return acquire(lock, RWLOCK, until, || shared_locks::attempt_to_write(lock));
    }
    let attempt = next!(pthread_rwlock_trywrlock(*mut pthread_rwlock_t) -> c_int);
    // SAFETY: the callers' functions take an initialised lock.
    acquire(lock, RWLOCK, until, || unsafe { attempt(lock) })
}

fn lock_alone_now(_: &'static Door, lock: *mut pthread_rwlock_t) -> Option<c_int> {
    if baton::own() == 0 || !shared_locks::is_in_file(lock) {
        return None;
    }
    baton::point();
    Some(shared_locks::attempt_to_write(lock))
}

fn lock_shared(_: &'static Door, lock: *mut pthread_rwlock_t) -> Option<c_int> {
    share(lock, Ok(None))
}

fn lock_shared_until(
    _: &'static Door,
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> Option<c_int> {
    share(lock, until(libc::CLOCK_REALTIME, time))
}

fn lock_shared_on(
    _: &'static Door,
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> Option<c_int> {
    share(lock, until(clock, time))
}

fn lock_alone(_: &'static Door, lock: *mut pthread_rwlock_t) -> Option<c_int> {
    exclude(lock, Ok(None))
}

fn lock_alone_until(
    _: &'static Door,
    lock: *mut pthread_rwlock_t,
    time: *const timespec,
) -> Option<c_int> {
    exclude(lock, until(libc::CLOCK_REALTIME, time))
}

fn lock_alone_on(
    _: &'static Door,
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    time: *const timespec,
) -> Option<c_int> {
    exclude(lock, until(clock, time))
}

fn unlock_shared(_: &'static Door, lock: *mut pthread_rwlock_t) -> Option<c_int> {
    if shared_locks::is_in_file(lock) {
        return release(lock, RWLOCK, || shared_locks::give_up_rwlock(lock));
    }
    let give_up = next!(pthread_rwlock_unlock(*mut pthread_rwlock_t) -> c_int);
    // SAFETY: pthread_rwlock_unlock(3) takes an initialised lock.
    release(lock, RWLOCK, || unsafe { give_up(lock) })
}

fn spin(_: &'static Door, lock: *mut pthread_spinlock_t) -> Option<c_int> {
    let attempt = next!(pthread_spin_trylock(*mut pthread_spinlock_t) -> c_int);
    // SAFETY: pthread_spin_lock(3) takes an initialised lock.
    acquire(lock, SPIN, Ok(None), || unsafe { attempt(lock) })
}

fn stop_spinning(_: &'static Door, lock: *mut pthread_spinlock_t) -> Option<c_int> {
    let give_up = next!(pthread_spin_unlock(*mut pthread_spinlock_t) -> c_int);
    // SAFETY: pthread_spin_unlock(3) takes an initialised lock.
    release(lock, SPIN, || unsafe { give_up(lock) })
}

/// Semaphore functions return -1 and set `errno`, as system calls do.
fn decrement(semaphore: *mut sem_t, until: Until) -> Option<c_int> {
    let attempt = next!(sem_trywait(*mut sem_t) -> c_int);
    let attempt = || {
        // SAFETY: the callers' functions take an initialised semaphore.
        match unsafe { attempt(semaphore) } {
            0 => 0,
            _ if errno() == libc::EAGAIN => libc::EBUSY,
            _ => errno(),
        }
    };
    let result = acquire(semaphore, SEMAPHORE, until, attempt)?;
    Some(answer(if result == 0 { Ok(0) } else { Err(Errno(result)) }))
}

fn take(_: &'static Door, semaphore: *mut sem_t) -> Option<c_int> {
    decrement(semaphore, Ok(None))
}

fn take_until(_: &'static Door, semaphore: *mut sem_t, time: *const timespec) -> Option<c_int> {
    decrement(semaphore, until(libc::CLOCK_REALTIME, time))
}

fn take_on(
    _: &'static Door,
    semaphore: *mut sem_t,
    clock: clockid_t,
    time: *const timespec,
) -> Option<c_int> {
    decrement(semaphore, until(clock, time))
}

fn post(_: &'static Door, semaphore: *mut sem_t) -> Option<c_int> {
    let give_up = next!(sem_post(*mut sem_t) -> c_int);
    // SAFETY: sem_post(3) takes an initialised semaphore.
    release(semaphore, SEMAPHORE, || unsafe { give_up(semaphore) })
}

/// Records how many threads a barrier waits for.
fn begin_barrier(
    _: &'static Door,
    barrier: *mut pthread_barrier_t,
    _: *const pthread_barrierattr_t,
    count: c_uint,
) -> Option<c_int> {
    world::enter(|world| world.schedule.barriers.insert(barrier.addr(), count));
    None
}

fn meet(_: &'static Door, barrier: *mut pthread_barrier_t) -> Option<c_int> {
    let count = world::enter(|world| world.schedule.barriers.get(&barrier.addr()).copied())??;
    baton::point();
    let on = WaitFor::Barrier(barrier.addr());
    let others = world::enter(|world| world.schedule.waiting(on))?;
    if others + 1 < count as usize {
        baton::wait(on, None);
        return Some(0);
    }
    world::enter(|world| world.schedule.wake_all(on));
    baton::point();
    Some(libc::PTHREAD_BARRIER_SERIAL_THREAD)
}

/// A `pthread_once_t` whose routine the calling thread runs. Others wait for it here and not in the
/// C library.
struct Running(usize);

impl Running {
    /// Waits until no other thread runs the routine. `None` without a world.
    fn begin(control: usize) -> Option<Self> {
        while world::enter(|world| world.schedule.once.contains_key(&control))? {
            baton::wait(WaitFor::Object(control, ONCE), None);
        }
        world::enter(|world| world.schedule.once.insert(control, baton::own()))?;
        Some(Self(control))
    }
}

impl Drop for Running {
    /// Also if the routine throws or panics: the C library then lets another thread try again.
    fn drop(&mut self) {
        world::enter(|world| {
            world.schedule.once.remove(&self.0);
            world.schedule.wake_all(WaitFor::Object(self.0, ONCE));
        });
    }
}

pub(super) fn once(
    _: &'static Door,
    control: *mut pthread_once_t,
    routine: extern "C-unwind" fn(),
) -> Option<c_int> {
    /// The value that the C library leaves in the control when the routine has run.
    const DONE: c_int = 2;
    // SAFETY: pthread_once(3) takes an initialised control, which is an `int`.
    if baton::own() == 0 || unsafe { control.cast::<c_int>().read_volatile() } == DONE {
        return None;
    }
    let _running = Running::begin(control.addr())?;
    let run = next!(unwind pthread_once(*mut c_void, extern "C-unwind" fn()) -> c_int);
    // SAFETY: pthread_once(3) takes an initialised control and a routine. The routine runs on the
    // engine's side. No other thread of the engine gets here meanwhile, so none waits inside the C
    // library.
    Some(unsafe { run(control.cast(), routine) })
}
