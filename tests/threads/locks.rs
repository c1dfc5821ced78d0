//! The C library's locks, as engines in C use them: held across input and output.

use std::fs;

use crate::c;
use crate::rig::{at, same_in_every_process, scenes};

scenes! {
    Mutexes {
        static SHARED: c::Mutexed = c::Mutexed::new();
        let workers: Vec<_> = (0..3)
            .map(|index| {
                c::Thread::start(move || {
                    for _ in 0..3 {
                        SHARED.with(|count| {
                            fs::write(at(&format!("f{index}")), b"x").expect("the disk works");
                            c::add_one(count);
                        });
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(c::Thread::join);
        SHARED.with(|count| format!("{count:?}"))
    }
    Conditions {
        static SHARED: c::Mutexed = c::Mutexed::new();
        let waiter = c::Thread::start(|| SHARED.wait_for(3));
        for _ in 0..3 {
            fs::write(at("f"), b"x").expect("the disk works");
            SHARED.add_and_signal();
        }
        waiter.join();
        let timed_out = SHARED.wait_for_millis(4, 30);
        format!("{timed_out}")
    }
    ReadersAndWriters {
        static SHARED: c::ReadWrite = c::ReadWrite::new();
        let workers: Vec<_> = (0..3)
            .map(|index| {
                c::Thread::start(move || {
                    SHARED.write(|| fs::write(at("f"), [index; 9]).expect("the disk works"));
                    SHARED.read(|| {
                        let bytes = fs::read(at("f")).expect("it is there");
                        assert!(bytes.len() == 9 && bytes.iter().all(|&byte| byte == bytes[0]));
                    });
                })
            })
            .collect();
        workers.into_iter().for_each(c::Thread::join);
        "whole".to_owned()
    }
    Once {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                c::Thread::start(|| {
                    c::once(|| fs::write(at("once"), b"done").expect("the disk works"));
                    assert_eq!(fs::read(at("once")).expect("it is there"), b"done");
                })
            })
            .collect();
        workers.into_iter().for_each(c::Thread::join);
        "once".to_owned()
    }
    OnceAgain {
        c::once_again().to_string()
    }
    SemaphoresAndBarriers {
        static SHARED: c::Meeting = c::Meeting::new();
        SHARED.begin(3);
        let workers: Vec<_> = (0..2)
            .map(|index| {
                c::Thread::start(move || {
                    SHARED.take();
                    fs::write(at(&format!("{index}")), b"x").expect("the disk works");
                    SHARED.spin(|| fs::write(at("spun"), b"x").expect("the disk works"));
                    SHARED.meet();
                })
            })
            .collect();
        fs::write(at("first"), b"x").expect("the disk works");
        SHARED.post();
        SHARED.post();
        SHARED.meet();
        let both = fs::metadata(at("0")).is_ok() && fs::metadata(at("1")).is_ok();
        workers.into_iter().for_each(c::Thread::join);
        both.to_string()
    }
    LockedTwice {
        c::lock_twice();
        String::new()
    }
    CheckedTwice {
        c::lock_twice_checked().to_string()
    }
}

#[test]
fn threads_wait_for_a_mutex_under_the_schedule() {
    for left in same_in_every_process::<Mutexes>(0..8) {
        assert_eq!(left.said, "9");
    }
}

#[test]
fn a_condition_variable_is_signalled_and_times_out_on_the_virtual_clock() {
    for left in same_in_every_process::<Conditions>(0..8) {
        assert_eq!(left.said, "true", "{left:?}");
    }
}

#[test]
fn an_rwlock_keeps_writers_from_readers() {
    for left in same_in_every_process::<ReadersAndWriters>(0..8) {
        assert_eq!(left.said, "whole");
    }
}

#[test]
fn pthread_once_runs_its_routine_once_and_others_wait_for_it() {
    for left in same_in_every_process::<Once>(0..8) {
        let opened = left.calls.iter().filter(|call| call.contains("write once")).count();
        assert_eq!((left.said.as_str(), opened), ("once", 1));
    }
}

#[test]
fn a_pthread_once_whose_routine_unwinds_may_be_tried_again() {
    for left in same_in_every_process::<OnceAgain>(0..1) {
        assert_eq!(left.said, "true", "{left:?}");
    }
}

#[test]
fn threads_wait_for_semaphores_spin_locks_and_barriers_under_the_schedule() {
    for left in same_in_every_process::<SemaphoresAndBarriers>(0..8) {
        assert_eq!(left.said, "true");
    }
}

#[test]
fn locking_a_mutex_twice_is_a_deadlock_unless_it_is_error_checking() {
    for left in same_in_every_process::<LockedTwice>(0..1) {
        let why = "is in a deadlock: thread 1 waits for a mutex";
        assert_eq!(left.hung.as_deref(), Some(why));
    }
    for left in same_in_every_process::<CheckedTwice>(0..1) {
        assert_eq!(left.said, libc::EDEADLK.to_string());
    }
}
