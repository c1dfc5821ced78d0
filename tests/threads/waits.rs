//! How threads wait: for std's locks, for virtual time, and in a deadlock.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crashpoint::inner::host::ending::Ending;

use crate::rig::{at, same_in_every_process, scenes};

#[expect(clippy::disallowed_methods, reason = "the clock of a world is virtual")]
fn now() -> Instant {
    Instant::now()
}

scenes! {
    Timeouts {
        let (lock, bell) = (Mutex::new(0), Condvar::new());
        let start = now();
        let guard = lock.lock().expect("no panic");
        let (guard, result) =
            bell.wait_timeout(guard, Duration::from_millis(50)).expect("no panic");
        drop(guard);
        let (sender, receiver) = channel::<u32>();
        let waited = receiver.recv_timeout(Duration::from_millis(20));
        drop(sender);
        thread::park_timeout(Duration::from_millis(5));
        let millis = start.elapsed().as_millis();
        format!("{} {} {millis}", result.timed_out(), waited == Err(RecvTimeoutError::Timeout))
    }
    Bell {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let other = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            for round in 0..5u32 {
                fs::write(at("f"), round.to_string()).expect("the disk works");
                other.0.lock().expect("no panic").push(round);
                other.1.notify_one();
            }
        });
        let mut guard = shared.0.lock().expect("no panic");
        while guard.len() < 5 {
            guard = shared.1.wait(guard).expect("no panic");
        }
        let said = format!("{guard:?}");
        drop(guard);
        writer.join().expect("it does not panic");
        said
    }
    AcrossInput {
        static ONCE: Once = Once::new();
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let shared = RwLock::new(0u32);
        let meet = Barrier::new(4);
        thread::scope(|scope| {
            for index in 0..4u32 {
                let (shared, meet) = (&shared, &meet);
                scope.spawn(move || {
                    meet.wait();
                    ONCE.call_once(|| {
                        fs::write(at("once"), b"x").expect("the disk works");
                        RUNS.fetch_add(1, Ordering::Relaxed);
                    });
                    let mut value = shared.write().expect("no panic");
                    fs::write(at("shared"), index.to_string()).expect("the disk works");
                    *value += 1;
                    drop(value);
                    let value = shared.read().expect("no panic");
                    fs::read(at("shared")).expect("it is there");
                    drop(value);
                });
            }
        });
        format!("{} {}", RUNS.load(Ordering::Relaxed), shared.into_inner().expect("no panic"))
    }
    LongSleeps {
        let start = now();
        let workers: Vec<_> = (1..=3u64)
            .map(|index| {
                thread::spawn(move || {
                    for _ in 0..index {
                        thread::sleep(Duration::from_secs(60 * index));
                    }
                    now()
                })
            })
            .collect();
        let ends = workers.into_iter().map(|worker| worker.join().expect("it does not panic"));
        let minutes: Vec<u64> =
            ends.map(|end| end.duration_since(start).as_secs() / 60).collect();
        format!("{minutes:?}")
    }
    Deadlock {
        let (one, two) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let (first, second) = (Arc::clone(&one), Arc::clone(&two));
        let worker = thread::spawn(move || {
            let _two = second.lock();
            thread::sleep(Duration::from_millis(1));
            let _one = first.lock();
        });
        let _one = one.lock();
        thread::sleep(Duration::from_millis(1));
        let _two = two.lock();
        drop(worker.join());
        String::new()
    }
    SpinsOnYield {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let spinner = thread::spawn(move || {
            let mut turns = 0u32;
            while !seen.load(Ordering::Acquire) {
                turns += 1;
                thread::yield_now();
            }
            turns
        });
        fs::write(at("f"), b"x").expect("the disk works");
        thread::sleep(Duration::from_millis(1));
        stop.store(true, Ordering::Release);
        format!("{}", spinner.join().expect("it does not panic") > 0)
    }
}

#[test]
fn timed_waits_end_on_the_virtual_clock() {
    for left in same_in_every_process::<Timeouts>(0..3) {
        assert_eq!(left.said, "true true 75");
    }
}

#[test]
fn a_condition_variable_wakes_its_waiter() {
    for left in same_in_every_process::<Bell>(0..10) {
        assert_eq!(left.said, "[0, 1, 2, 3, 4]");
    }
}

#[test]
fn a_once_an_rwlock_and_a_barrier_work_across_file_calls() {
    for left in same_in_every_process::<AcrossInput>(0..10) {
        assert_eq!(left.said, "1 4");
    }
}

#[test]
fn sleeps_of_several_threads_overlap_and_cost_no_time() {
    for left in same_in_every_process::<LongSleeps>(0..4) {
        assert_eq!(left.said, "[1, 4, 9]");
    }
}

#[test]
fn a_deadlock_report_says_what_each_thread_waits_for() {
    for left in same_in_every_process::<Deadlock>(0..4) {
        let why = "is in a deadlock: thread 1 waits for a futex, thread 2 waits for a futex";
        assert_eq!(left.hung.as_deref(), Some(why));
        assert_ne!(left.ending, Ending::Finished);
    }
}

#[test]
fn a_thread_that_yields_in_a_loop_lets_another_work() {
    for left in same_in_every_process::<SpinsOnYield>(0..12) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("true", None));
    }
}
