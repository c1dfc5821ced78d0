//! Waits without a call: a thread that spins on a word lets others run, one that computes does not.

use std::fs;
use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crashpoint::inner::host::ending::Ending;

use crate::rig::{By, at, left, same_in_every_process, scenes};

/// A minimal lock, with the word that it guards.
#[derive(Default)]
struct Plain {
    taken: AtomicBool,
    word: AtomicU32,
}

impl Plain {
    /// Adds to the word, with a call between the load and the store.
    fn add(&self, name: &str) {
        while self.taken.swap(true, Ordering::Acquire) {}
        let before = self.word.load(Ordering::Relaxed);
        fs::write(at(name), b"x").expect("the disk works");
        self.word.store(before + 1, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
    }
}

/// Spins for longer each time, as crossbeam's `Backoff::spin` does.
fn back_off_until(flag: &AtomicBool) {
    let mut step = 0;
    while !flag.load(Ordering::Acquire) {
        for _ in 0..1 << step {
            hint::spin_loop();
        }
        step = (step + 1).min(6);
    }
}

/// Takes about a second of CPU time, and makes no call.
fn compute() -> u64 {
    let mut number = 1u64;
    for turn in 0..600_000_000u64 {
        number = hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005) ^ turn);
    }
    number
}

scenes! {
    PlainLock {
        let lock = Plain::default();
        thread::scope(|scope| {
            for index in 0..3 {
                let lock = &lock;
                scope.spawn(move || lock.add(&format!("f{index}")));
            }
        });
        format!("{}", lock.word.into_inner())
    }
    ForTime {
        let flag = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..40 {
                    thread::sleep(Duration::from_millis(10));
                    fs::write(at("f"), [round]).expect("the disk works");
                }
                flag.store(true, Ordering::Release);
            });
            thread::sleep(Duration::from_millis(15));
            back_off_until(&flag);
        });
        "came".to_owned()
    }
    NextToOneThatNeverWaits {
        let (there, over) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                fs::write(at("f"), b"x").expect("the disk works");
                there.store(true, Ordering::Release);
                while !over.load(Ordering::Acquire) {
                    fs::read(at("f")).expect("the disk works");
                }
            });
            back_off_until(&there);
            over.store(true, Ordering::Release);
        });
        "came".to_owned()
    }
    Computes {
        let order = AtomicU32::new(0);
        thread::scope(|scope| {
            let other = scope.spawn(|| order.fetch_add(1, Ordering::Relaxed));
            let number = compute();
            let turn = order.fetch_add(1, Ordering::Relaxed);
            other.join().expect("it does not panic");
            format!("{} {turn}", number != 0)
        })
    }
    Livelock {
        let (one, other) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| back_off_until(&one));
            back_off_until(&other);
        });
        "came".to_owned()
    }
}

#[test]
fn a_thread_that_spins_on_a_lock_lets_the_holder_run() {
    let mut spun = 0;
    for left in same_in_every_process::<PlainLock>(0..6) {
        assert_eq!((left.said.as_str(), left.ending), ("3", Ending::Finished));
        spun += usize::from(left.turns.len() > 1);
    }
    assert!(spun > 0, "some seed takes the turn from the thread that has the lock");
}

#[test]
fn a_spinning_thread_lets_time_pass() {
    for left in same_in_every_process::<ForTime>(0..2) {
        assert_eq!((left.said.as_str(), left.ending), ("came", Ending::Finished));
    }
}

#[test]
fn a_spinning_thread_gets_turns_although_another_never_waits() {
    for left in same_in_every_process::<NextToOneThatNeverWaits>(0..2) {
        assert_eq!((left.said.as_str(), left.ending), ("came", Ending::Finished));
    }
}

#[test]
fn a_thread_that_computes_for_long_keeps_its_turn() {
    // Without listed turns, the thread that it starts does not run before the first one waits.
    let left = left::<Computes>(By::Turns(Vec::new()));
    assert_eq!((left.said.as_str(), left.ending), ("true 0", Ending::Finished));
}

#[test]
fn a_computing_thread_keeps_its_turn_on_a_busy_machine() {
    // A thread that did not run between two samples is in the same state in both, whatever it does.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let runs = (0..4).map(|_| left::<Computes>(By::Turns(Vec::new())));
        let said: Vec<String> = runs.map(|left| left.said).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(said, ["true 0"; 4]);
    });
}

#[test]
fn two_threads_that_spin_for_each_other_are_hung() {
    // The point in the loop at which it is caught varies.
    let Ending::HungSpin { backtrace } = left::<Livelock>(By::Seed(0)).ending else {
        panic!("neither thread ends");
    };
    assert!(backtrace.len() > 3, "{backtrace:?}");
}
