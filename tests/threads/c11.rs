//! The threads and locks of C11 (`<threads.h>`), which the C library keeps apart from POSIX's.
#![expect(unsafe_code, reason = "the C library's functions are unsafe to call")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::fs;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{pthread_cond_t, pthread_mutex_t, pthread_t, timespec};

use crate::c::add_one;
use crate::rig::{Left, at, same_in_every_process, scenes};

const SUCCESS: c_int = 0;
const BUSY: c_int = 1;
const TIMED_OUT: c_int = 4;

// glibc's `mtx_t` and `cnd_t` are the POSIX types under other names, and `once_flag` is an `int`.
unsafe extern "C-unwind" {
    fn mtx_init(mutex: *mut pthread_mutex_t, kind: c_int) -> c_int;
    fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int;
    fn mtx_trylock(mutex: *mut pthread_mutex_t) -> c_int;
    fn mtx_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec) -> c_int;
    fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int;
    fn cnd_wait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
    fn cnd_timedwait(
        cond: *mut pthread_cond_t,
        mutex: *mut pthread_mutex_t,
        until: *const timespec,
    ) -> c_int;
    fn cnd_signal(cond: *mut pthread_cond_t) -> c_int;
    fn cnd_broadcast(cond: *mut pthread_cond_t) -> c_int;
    fn call_once(flag: *mut c_int, routine: extern "C-unwind" fn());
    fn thrd_create(
        thread: *mut pthread_t,
        start: extern "C-unwind" fn(*mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn thrd_join(thread: pthread_t, result: *mut c_int) -> c_int;
    fn thrd_detach(thread: pthread_t) -> c_int;
    fn thrd_exit(result: c_int) -> !;
    fn thrd_yield();
    fn thrd_sleep(duration: *const timespec, rest: *mut timespec) -> c_int;
}

/// A count under a mutex, with a condition for it.
struct Shared {
    mutex: UnsafeCell<pthread_mutex_t>,
    cond: UnsafeCell<pthread_cond_t>,
    count: AtomicU32,
}

// SAFETY: the C library's objects may be used from any thread.
unsafe impl Sync for Shared {}

impl Shared {
    const fn new() -> Self {
        Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            cond: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            count: AtomicU32::new(0),
        }
    }

    fn with<R>(&self, body: impl FnOnce(&AtomicU32) -> R) -> R {
        // SAFETY: the mutex is initialised.
        assert_eq!(unsafe { mtx_lock(self.mutex.get()) }, SUCCESS);
        let result = body(&self.count);
        // SAFETY: it is held.
        assert_eq!(unsafe { mtx_unlock(self.mutex.get()) }, SUCCESS);
        result
    }

    fn wait_for(&self, wanted: u32) {
        self.with(|count| {
            while count.load(Ordering::Relaxed) < wanted {
                // SAFETY: the mutex is held.
                assert_eq!(unsafe { cnd_wait(self.cond.get(), self.mutex.get()) }, SUCCESS);
            }
        });
    }

    fn lock_within(&self, millis: i64) -> c_int {
        // SAFETY: the mutex is initialised.
        unsafe { mtx_timedlock(self.mutex.get(), &within(millis)) }
    }
}

/// The time in `millis` milliseconds, as `TIME_UTC` counts.
fn within(millis: i64) -> timespec {
    let mut until = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills a structure in.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut until) };
    until.tv_nsec += millis * 1_000_000;
    until.tv_sec += until.tv_nsec / 1_000_000_000;
    until.tv_nsec %= 1_000_000_000;
    until
}

fn start(body: extern "C-unwind" fn(*mut c_void) -> c_int, argument: usize) -> pthread_t {
    let mut thread = 0;
    // SAFETY: the argument is a number.
    let result = unsafe { thrd_create(&mut thread, body, ptr::without_provenance_mut(argument)) };
    assert_eq!(result, SUCCESS);
    thread
}

fn join(thread: pthread_t) -> c_int {
    let mut result = -1;
    // SAFETY: it was started, and is joined once.
    assert_eq!(unsafe { thrd_join(thread, &mut result) }, SUCCESS);
    result
}

scenes! {
    Mutexes {
        static SHARED: Shared = Shared::new();
        extern "C-unwind" fn work(index: *mut c_void) -> c_int {
            for _ in 0..3 {
                SHARED.with(|count| {
                    fs::write(at(&format!("f{}", index.addr())), b"x").expect("the disk works");
                    add_one(count);
                });
            }
            -7
        }
        let workers = [0, 1, 2].map(|index| start(work, index));
        let results = workers.map(join);
        SHARED.with(|count| format!("{count:?} {results:?}"))
    }
    Conditions {
        static SHARED: Shared = Shared::new();
        extern "C-unwind" fn wait(_: *mut c_void) -> c_int {
            SHARED.wait_for(3);
            0
        }
        let waiters = [0, 1].map(|index| start(wait, index));
        for round in 0..3 {
            fs::write(at("f"), b"x").expect("the disk works");
            SHARED.with(add_one);
            let notify: unsafe extern "C-unwind" fn(_) -> _ =
                if round == 1 { cnd_signal } else { cnd_broadcast };
            // SAFETY: it is initialised.
            assert_eq!(unsafe { notify(SHARED.cond.get()) }, SUCCESS);
        }
        assert_eq!(waiters.map(join), [0; 2]);
        SHARED.with(|_| {
            let until = within(30_000);
            // SAFETY: the mutex is held.
            let timed = unsafe { cnd_timedwait(SHARED.cond.get(), SHARED.mutex.get(), &until) };
            (timed == TIMED_OUT).to_string()
        })
    }
    TimedAndTried {
        static SHARED: Shared = Shared::new();
        extern "C-unwind" fn contend(_: *mut c_void) -> c_int {
            // SAFETY: the mutex is initialised.
            let tried = unsafe { mtx_trylock(SHARED.mutex.get()) };
            c_int::from(tried == BUSY && SHARED.lock_within(20_000) == TIMED_OUT)
        }
        // SAFETY: the mutex is unused; 1 is `mtx_timed`.
        assert_eq!(unsafe { mtx_init(SHARED.mutex.get(), 1) }, SUCCESS);
        let refused = SHARED.with(|_| join(start(contend, 0)));
        assert_eq!(SHARED.lock_within(20_000), SUCCESS);
        format!("{refused}")
    }
    Once {
        struct Flag(UnsafeCell<c_int>);
        // SAFETY: the C library's flag may be used from any thread.
        unsafe impl Sync for Flag {}
        static FLAG: Flag = Flag(UnsafeCell::new(0));
        extern "C-unwind" fn work() {
            fs::write(at("once"), b"done").expect("the disk works");
        }
        extern "C-unwind" fn run(_: *mut c_void) -> c_int {
            // SAFETY: the flag is a static.
            unsafe { call_once(FLAG.0.get(), work) };
            assert_eq!(fs::read(at("once")).expect("it is there"), b"done");
            0
        }
        assert_eq!([0, 1, 2].map(|index| start(run, index)).map(join), [0; 3]);
        "once".to_owned()
    }
    Threads {
        static DONE: AtomicU32 = AtomicU32::new(0);
        extern "C-unwind" fn sleep(_: *mut c_void) -> c_int {
            let minute = timespec { tv_sec: 60, tv_nsec: 0 };
            // SAFETY: reads one structure.
            let slept = unsafe { thrd_sleep(&minute, ptr::null_mut()) };
            add_one(&DONE);
            // SAFETY: nothing in this frame is dropped.
            unsafe { thrd_exit(40 + slept) }
        }
        let sleeper = start(sleep, 0);
        // SAFETY: it is started, and is not joined.
        assert_eq!(unsafe { thrd_detach(start(sleep, 1)) }, SUCCESS);
        let result = join(sleeper);
        while DONE.load(Ordering::Relaxed) < 2 {
            // SAFETY: it has no precondition.
            unsafe { thrd_yield() };
        }
        result.to_string()
    }
}

/// Each seed's outcome is this text.
fn says(all: Vec<Left>, text: &str) {
    for left in all {
        assert_eq!(left.said, text, "{left:?}");
    }
}

#[test]
fn threads_wait_for_a_c11_mutex_under_the_schedule() {
    says(same_in_every_process::<Mutexes>(0..8), "9 [-7, -7, -7]");
}

#[test]
fn a_c11_condition_is_signalled_and_times_out_on_the_virtual_clock() {
    says(same_in_every_process::<Conditions>(0..8), "true");
}

#[test]
fn a_held_c11_mutex_is_busy_and_times_out_on_the_virtual_clock() {
    says(same_in_every_process::<TimedAndTried>(0..4), "1");
}

#[test]
fn call_once_runs_its_routine_once_and_others_wait_for_it() {
    let all = same_in_every_process::<Once>(0..8);
    for left in &all {
        let opened = left.calls.iter().filter(|call| call.contains("write once")).count();
        assert_eq!(opened, 1, "{left:?}");
    }
    says(all, "once");
}

#[test]
fn c11_threads_sleep_on_the_virtual_clock_and_return_a_number() {
    says(same_in_every_process::<Threads>(0..4), "40");
}
