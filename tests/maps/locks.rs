//! Locks of the C library in a mapped file.
#![expect(unsafe_code, reason = "the C library's locks are unsafe to use")]

use std::fs::File;
use std::io::Result;
use std::thread;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::process::world::Setup;

use crate::harness::{Ran, at, run_in};
use crate::memory::Memory;

const SIZE: usize = 4096;
/// Where the locks are in the file.
const MUTEX: usize = 64;
const RWLOCK: usize = 512;

/// The tree and the process id of an epoch.
fn epoch(tree: Tree, pid: i32) -> impl FnOnce(&mut Setup) {
    move |setup| (setup.tree, setup.pid) = (tree, pid)
}

fn memory() -> Result<Memory> {
    let file =
        File::options().read(true).write(true).create(true).truncate(false).open(at("locks"))?;
    file.set_len(SIZE as u64)?;
    Memory::of(&file, SIZE)
}

/// Makes the mutex: robust or not, of a kind.
fn make(memory: &Memory, kind: i32, robust: i32) {
    // SAFETY: the attributes are initialised before they are used; the mutex is in the map.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_mutexattr_init(&raw mut attributes), 0);
        let shared = libc::PTHREAD_PROCESS_SHARED;
        assert_eq!(libc::pthread_mutexattr_setpshared(&raw mut attributes, shared), 0);
        assert_eq!(libc::pthread_mutexattr_settype(&raw mut attributes, kind), 0);
        assert_eq!(libc::pthread_mutexattr_setrobust(&raw mut attributes, robust), 0);
        assert_eq!(libc::pthread_mutex_init(memory.place(MUTEX), &raw const attributes), 0);
    }
}

/// Calls a function on the mutex.
fn on(memory: &Memory, call: unsafe extern "C" fn(*mut libc::pthread_mutex_t) -> i32) -> i32 {
    // SAFETY: the mutex is in the map, and initialised.
    unsafe { call(memory.place(MUTEX)) }
}

fn lock(memory: &Memory) -> i32 {
    on(memory, libc::pthread_mutex_lock)
}

fn unlock(memory: &Memory) -> i32 {
    on(memory, libc::pthread_mutex_unlock)
}

fn trylock(memory: &Memory) -> i32 {
    on(memory, libc::pthread_mutex_trylock)
}

/// The `int`s at a place of the file, as a run left them.
fn numbers(ran: &Ran<()>, offset: usize, count: usize) -> Vec<u32> {
    let node = ran.tree.node(ran.ino("locks")).and_then(|node| node.content());
    let bytes = node.expect("a file").to_vec();
    let numbers = bytes[offset..].chunks_exact(4).take(count);
    numbers.map(|four| u32::from_le_bytes(four.try_into().expect("four"))).collect()
}

const NORMAL: i32 = libc::PTHREAD_MUTEX_NORMAL;
const ROBUST: i32 = libc::PTHREAD_MUTEX_ROBUST;
const STALLED: i32 = libc::PTHREAD_MUTEX_STALLED;

#[test]
fn a_lock_in_a_file_holds_the_simulated_number_of_its_owner() {
    for robust in [STALLED, ROBUST] {
        let ran = run_in(epoch(Tree::new(), 4321), || {
            let memory = memory()?;
            make(&memory, NORMAL, robust);
            assert_eq!(lock(&memory), 0);
            assert_eq!(trylock(&memory), libc::EBUSY);
            std::mem::forget(memory);
            Ok(())
        });
        let word = if robust == ROBUST { 4321 } else { 1 };
        assert_eq!(numbers(&ran, MUTEX, 4), [word, 1, 4321, 1]);
        let list = numbers(&ran, MUTEX + 24, 4);
        assert_eq!(list, [0; 4], "no address of a thread is in the file");
    }
}

#[test]
fn the_kinds_of_mutexes_treat_their_owner_as_the_c_library_does() {
    run_in(epoch(Tree::new(), 1000), || {
        let memory = memory()?;
        for robust in [STALLED, ROBUST] {
            make(&memory, libc::PTHREAD_MUTEX_RECURSIVE, robust);
            assert_eq!((lock(&memory), trylock(&memory)), (0, 0));
            assert_eq!([unlock(&memory), unlock(&memory), unlock(&memory)], [0, 0, libc::EPERM]);
            make(&memory, libc::PTHREAD_MUTEX_ERRORCHECK, robust);
            assert_eq!((lock(&memory), lock(&memory)), (0, libc::EDEADLK));
            let busy = if robust == ROBUST { libc::EDEADLK } else { libc::EBUSY };
            assert_eq!(trylock(&memory), busy);
            assert_eq!((unlock(&memory), unlock(&memory)), (0, libc::EPERM));
            assert_eq!(on(&memory, libc::pthread_mutex_consistent), libc::EINVAL);
            assert_eq!(on(&memory, libc::pthread_mutex_destroy), 0);
        }
        Ok(())
    });
}

#[test]
fn threads_take_turns_at_a_lock_in_a_file() {
    let ran = run_in(epoch(Tree::new(), 1000), || {
        let memory = memory()?;
        make(&memory, NORMAL, ROBUST);
        let place = memory.place::<u8>(0).expose_provenance();
        let add = move || {
            let at = |offset: usize| std::ptr::with_exposed_provenance_mut::<u64>(place + offset);
            for _ in 0..50 {
                // SAFETY: the mutex and the counter are in the map until all threads are joined.
                unsafe {
                    assert_eq!(libc::pthread_mutex_lock(at(MUTEX).cast()), 0);
                    let before = at(0).read_volatile();
                    thread::yield_now();
                    at(0).write_volatile(before + 1);
                    assert_eq!(libc::pthread_mutex_unlock(at(MUTEX).cast()), 0);
                }
            }
        };
        thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(add))));
        Ok(())
    });
    assert_eq!(numbers(&ran, 0, 1), [150]);
}

#[test]
fn a_robust_lock_whose_owner_died_in_an_earlier_epoch_says_so() {
    let first = run_in(epoch(Tree::new(), 1000), || {
        let memory = memory()?;
        make(&memory, NORMAL, ROBUST);
        assert_eq!(lock(&memory), 0);
        std::mem::forget(memory);
        Ok(())
    });
    let second = run_in(epoch(first.tree.clone(), 2000), || {
        let memory = memory()?;
        assert_eq!(lock(&memory), libc::EOWNERDEAD);
        assert_eq!(on(&memory, libc::pthread_mutex_consistent), 0);
        assert_eq!([unlock(&memory), lock(&memory), unlock(&memory)], [0; 3]);
        Ok(())
    });
    assert_eq!(numbers(&second, MUTEX, 4), [0; 4]);
    run_in(epoch(first.tree, 2000), || {
        let memory = memory()?;
        assert_eq!([trylock(&memory), unlock(&memory)], [libc::EOWNERDEAD, 0]);
        assert_eq!(lock(&memory), libc::ENOTRECOVERABLE);
        Ok(())
    });
}

#[test]
fn an_rwlock_in_a_file_names_its_writer_by_the_simulated_number() {
    let ran = run_in(epoch(Tree::new(), 777), || {
        let memory = memory()?;
        let rwlock = memory.place::<libc::pthread_rwlock_t>(RWLOCK);
        // SAFETY: the lock is in the map, and made of zeros, as its initialiser is.
        unsafe {
            assert_eq!(libc::pthread_rwlock_wrlock(rwlock), 0);
            assert_eq!(libc::pthread_rwlock_unlock(rwlock), 0);
            assert_eq!(libc::pthread_rwlock_rdlock(rwlock), 0);
            assert_eq!(libc::pthread_rwlock_trywrlock(rwlock), libc::EBUSY);
            assert_eq!(libc::pthread_rwlock_unlock(rwlock), 0);
            assert_eq!(libc::pthread_rwlock_trywrlock(rwlock), 0);
            assert_eq!(libc::pthread_rwlock_tryrdlock(rwlock), libc::EBUSY);
        }
        std::mem::forget(memory);
        Ok(())
    });
    assert_eq!(numbers(&ran, RWLOCK + 24, 1), [777]);
}
