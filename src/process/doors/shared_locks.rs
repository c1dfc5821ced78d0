//! Locks that are in a mapped file. The C library would write the kernel's number of the thread
//! into them, and so into the file; here they hold the simulated one, in the C library's layout.
//!
//! A mutex is served wholly. The owner of a robust one may have died in an earlier epoch: the next
//! thread that takes it gets `EOWNERDEAD`, which the kernel provides for when a process ends. (In
//! a power loss a real kernel has no time for that, and the lock would be held for ever; an engine
//! has to make its locks anew then.) Of an rwlock only the number of its writer is replaced.

use std::ffi::c_int;

use libc::{pthread_mutex_t, pthread_rwlock_t};

use crate::process::seam;
use crate::process::seam::kernel::next;
use crate::process::threads::baton;
use crate::process::world::maps;
use crate::process::world::{self, World};

/// Whether an object is in a map from which stores reach a file.
#[inline]
pub(super) fn is_in_file<T>(object: *const T) -> bool {
    maps::is_shared(object.addr())
}

/// What a caller does about a mutex that it holds itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// It waits for it, or gets an error because that would have no end.
    Lock,
    /// It only tries.
    Try,
}

/// Bits of the kind of a mutex (glibc's `pthreadP.h`): two for how it treats its owner, then these.
const OWNER_RULE: u32 = 3;
const RECURSIVE: u32 = 1;
const CHECKING: u32 = 2;
const ROBUST: u32 = 16;
const INHERITING: u32 = 32;

/// Bits of the word of a robust mutex (the kernel's `futex.h`).
const OWNER_DIED: u32 = 0x4000_0000;
const TID: u32 = 0x3fff_ffff;

/// Owners of a robust mutex that are none (glibc's `pthreadP.h`).
const INCONSISTENT: u32 = 0x7fff_ffff;
const NOT_RECOVERABLE: u32 = 0x7fff_fffe;

/// The fields of a mutex, as far as they are used: `struct __pthread_mutex_s` on x86-64.
#[repr(C)]
#[derive(Clone, Copy)]
struct Fields {
    word: u32,
    count: u32,
    owner: u32,
    users: u32,
    kind: u32,
}

/// A mutex in a mapped file.
struct Shared(*mut Fields);

impl Shared {
    fn of(mutex: *mut pthread_mutex_t) -> Self {
        Self(mutex.cast())
    }

    fn get(&self) -> Fields {
        // SAFETY: the doors' functions take an initialised mutex, which begins with these fields.
        // Only the calling thread runs.
        unsafe { self.0.read_volatile() }
    }

    fn set(&self, fields: Fields) {
        // SAFETY: the same; what the functions take may be written.
        unsafe { self.0.write_volatile(fields) };
    }
}

impl Fields {
    fn is_robust(self) -> bool {
        self.kind & ROBUST != 0
    }

    /// Whether the word of the mutex holds its owner.
    fn word_is_owner(self) -> bool {
        self.kind & (ROBUST | INHERITING) != 0
    }

    /// The thread that holds it; 0 for none.
    fn holder(self) -> u32 {
        match self.word {
            0 => 0,
            word if self.word_is_owner() => word & TID,
            _ => self.owner,
        }
    }

    fn taken_by(self, own: u32) -> Self {
        let word = if self.word_is_owner() { own } else { 1 };
        Self { word, count: 1, owner: own, users: self.users.wrapping_add(1), ..self }
    }
}

/// The simulated number of the calling thread.
fn own(world: &World) -> u32 {
    let thread = libc::pid_t::try_from(baton::own()).unwrap_or(1).max(1);
    (world.pid + thread - 1).cast_unsigned()
}

/// Whether a simulated number is that of a thread that has not ended.
fn is_alive(world: &World, tid: u32) -> bool {
    let first = world.pid.cast_unsigned();
    tid.checked_sub(first).is_some_and(|after| {
        (after as usize) < world.schedule.count_started() && !world.schedule.has_ended(after + 1)
    })
}

/// Tries to take a mutex; `EBUSY` if another thread holds it.
pub(super) fn attempt(mutex: *mut pthread_mutex_t, ask: Ask) -> c_int {
    let shared = Shared::of(mutex);
    let now = shared.get();
    let holder = now.holder();
    let Some((own, alive)) = world::enter(|world| (own(world), is_alive(world, holder))) else {
        return libc::EBUSY;
    };
    if now.is_robust() && now.owner == NOT_RECOVERABLE {
        return libc::ENOTRECOVERABLE;
    }
    if now.is_robust() && (now.word & OWNER_DIED != 0 || holder != 0 && !alive) {
        shared.set(Fields { word: own, count: 1, owner: INCONSISTENT, ..now });
        return libc::EOWNERDEAD;
    }
    if holder == 0 && now.word == 0 {
        shared.set(now.taken_by(own));
        return 0;
    }
    if holder != own {
        return libc::EBUSY;
    }
    match now.kind & OWNER_RULE {
        RECURSIVE if now.count == u32::MAX => libc::EAGAIN,
        RECURSIVE => {
            shared.set(Fields { count: now.count + 1, ..now });
            0
        }
        CHECKING if ask == Ask::Lock || now.is_robust() => libc::EDEADLK,
        _ => libc::EBUSY,
    }
}

/// Releases a mutex.
pub(super) fn give_up(mutex: *mut pthread_mutex_t) -> c_int {
    let shared = Shared::of(mutex);
    let now = shared.get();
    let Some(own) = world::enter(|world| own(world)) else { return libc::EPERM };
    let checks = now.is_robust() || now.kind & OWNER_RULE != 0 || now.word_is_owner();
    if checks && now.holder() != own {
        return libc::EPERM;
    }
    if now.kind & OWNER_RULE == RECURSIVE && now.count > 1 && now.owner != INCONSISTENT {
        shared.set(Fields { count: now.count - 1, ..now });
        return 0;
    }
    // What the dead owner left was not made consistent.
    let owner = if now.owner == INCONSISTENT { NOT_RECOVERABLE } else { 0 };
    let users = now.users.saturating_sub(1);
    shared.set(Fields { word: 0, count: 0, owner, users, ..now });
    0
}

/// The owner of a robust mutex has repaired what its dead owner left.
pub(super) fn make_consistent(mutex: *mut pthread_mutex_t) -> c_int {
    let shared = Shared::of(mutex);
    let now = shared.get();
    let Some(own) = world::enter(|world| own(world)) else { return libc::EINVAL };
    if !now.is_robust() || now.owner != INCONSISTENT {
        return libc::EINVAL;
    }
    shared.set(Fields { owner: own, ..now });
    0
}

/// The number of the writer in an rwlock: the seventh `int` of `struct __pthread_rwlock_arch_t`.
fn writer(lock: *mut pthread_rwlock_t) -> *mut u32 {
    lock.cast::<u32>().wrapping_add(6)
}

/// Tries to take an rwlock for writing; `EBUSY` if another thread holds it.
pub(super) fn attempt_to_write(lock: *mut pthread_rwlock_t) -> c_int {
    let attempt = next!(pthread_rwlock_trywrlock(*mut pthread_rwlock_t) -> c_int);
    let Some(own) = world::enter(|world| own(world)) else { return libc::EBUSY };
    let _harness = seam::harness();
    // SAFETY: the doors' functions take an initialised lock, which has this field.
    unsafe {
        let result = attempt(lock);
        if result == 0 {
            writer(lock).write_volatile(own);
        }
        result
    }
}

/// Releases an rwlock.
pub(super) fn give_up_rwlock(lock: *mut pthread_rwlock_t) -> c_int {
    let give_up = next!(pthread_rwlock_unlock(*mut pthread_rwlock_t) -> c_int);
    let Some(own) = world::enter(|world| own(world)) else { return libc::EPERM };
    let _harness = seam::harness();
    // SAFETY: the doors' functions take an initialised lock, which has this field. The C library
    // compares it with its own number of the thread.
    unsafe {
        if writer(lock).read_volatile() == own {
            writer(lock).write_volatile(libc::gettid().cast_unsigned());
        }
        give_up(lock)
    }
}
