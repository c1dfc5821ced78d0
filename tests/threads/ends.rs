//! How threads end: joined, detached or left over, and with thread-locals to destroy.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::c;
use crate::rig::{at, engine_allocations, noisy_allocations, same_in_every_process, scenes};

/// Writes a file when it is dropped.
struct Farewell(&'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        fs::write(at(self.0), b"bye").expect("the disk works");
    }
}

thread_local! {
    static FAREWELL: RefCell<Option<Farewell>> = const { RefCell::new(None) };
}

scenes! {
    Scoped {
        let mut sums = [0u64; 3];
        thread::scope(|scope| {
            for (index, sum) in sums.iter_mut().enumerate() {
                scope.spawn(move || {
                    let name = at(&format!("f{index}"));
                    fs::write(&name, vec![1; 10 * (index + 1)]).expect("the disk works");
                    *sum = fs::metadata(&name).expect("it is there").len();
                });
            }
        });
        format!("{sums:?}")
    }
    WithFarewell {
        let worker = thread::spawn(|| {
            FAREWELL.with(|farewell| *farewell.borrow_mut() = Some(Farewell("local")));
            7
        });
        let result = worker.join().expect("it does not panic");
        format!("{result} {}", fs::read_to_string(at("local")).expect("written before the join"))
    }
    Detached {
        drop(thread::spawn(|| {
            FAREWELL.with(|farewell| *farewell.borrow_mut() = Some(Farewell("detached")));
        }));
        while fs::metadata(at("detached")).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        // Later addresses depend on when its stack was freed.
        let boxed = Box::new([0u8; 100]);
        let stack = thread::spawn(|| {
            let local = 0u8;
            (&raw const local).addr()
        });
        let stack = stack.join().expect("it does not panic");
        format!("{:x} {stack:x}", (&raw const *boxed).addr())
    }
    LeakedSleeper {
        let sleeper = thread::spawn(|| {
            thread::sleep(Duration::from_secs(3600));
            fs::write(at("late"), b"late").expect("the disk works");
        });
        thread::yield_now();
        drop(sleeper);
        "left".to_owned()
    }
    JoinedLate {
        let workers: Vec<_> = (0..4)
            .map(|index| thread::spawn(move || fs::write(at(&format!("{index}")), b"x").is_ok()))
            .collect();
        thread::sleep(Duration::from_secs(1));
        let all = workers.into_iter().all(|worker| worker.join().expect("it does not panic"));
        let handle = thread::spawn(|| thread::current().id());
        format!("{all} {:?}", handle.join().expect("it does not panic"))
    }
    Panics {
        let worker = thread::spawn(|| {
            let _farewell = Farewell("unwound");
            panic!("on purpose");
        });
        format!("{} {}", worker.join().is_err(), fs::metadata(at("unwound")).is_ok())
    }
    ConstantAttributes {
        c::start_by_constant_attributes(|| {
            fs::write(at("detached"), b"x").expect("the disk works");
        });
        while fs::metadata(at("detached")).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        "started".to_owned()
    }
    HookAllocates {
        let worker = thread::spawn(|| {
            let unwinding = |unwind: fn()| {
                let before = engine_allocations();
                let caught = std::panic::catch_unwind(unwind).is_err();
                assert!(caught);
                engine_allocations() - before
            };
            let with_hook = unwinding(|| panic!("on purpose"));
            let without = unwinding(|| std::panic::resume_unwind(Box::new("on purpose")));
            (with_hook, without)
        });
        let (with_hook, without) = worker.join().expect("it catches its panics");
        format!("{with_hook} {without}")
    }
    Many {
        for round in 0..40 {
            let workers: Vec<_> = (0..5).map(|n| thread::spawn(move || n * round)).collect();
            for worker in workers {
                worker.join().expect("it does not panic");
            }
        }
        let mut file = fs::File::create(at("end")).expect("the disk works");
        file.write_all(b"end").expect("the disk works");
        noisy_allocations().to_string()
    }
}

#[test]
fn scoped_threads_write_and_end() {
    for left in same_in_every_process::<Scoped>(0..6) {
        assert_eq!(left.said, "[10, 20, 30]");
        assert!(left.calls.iter().any(|call| call.starts_with("4 ")), "{:?}", left.calls);
    }
}

#[test]
fn destructors_of_thread_locals_run_under_the_schedule_before_a_join_returns() {
    for left in same_in_every_process::<WithFarewell>(0..6) {
        assert_eq!(left.said, "7 bye");
        assert!(left.calls.contains(&"2 write local 3".to_owned()), "{:?}", left.calls);
    }
}

#[test]
fn a_detached_thread_is_gone_before_another_runs_so_addresses_stay_the_same() {
    for left in same_in_every_process::<Detached>(0..6) {
        assert!(left.said.len() > 10, "{}", left.said);
        assert_eq!(left.leaked, 0);
    }
}

#[test]
fn a_leaked_sleeper_is_counted_and_never_runs_again() {
    for left in same_in_every_process::<LeakedSleeper>(0..6) {
        assert_eq!((left.said.as_str(), left.leaked), ("left", 1));
        assert!(!left.calls.iter().any(|call| call.contains("late")), "{:?}", left.calls);
    }
}

#[test]
fn threads_may_be_joined_long_after_they_ended_and_ids_are_not_reused() {
    for left in same_in_every_process::<JoinedLate>(0..4) {
        assert!(left.said.starts_with("true ThreadId("), "{}", left.said);
    }
}

#[test]
fn a_panic_on_a_thread_unwinds_it_and_is_its_join_error() {
    for left in same_in_every_process::<Panics>(0..4) {
        assert_eq!(left.said, "true true");
    }
}

#[test]
fn a_detached_thread_is_started_by_attributes_that_may_not_be_written_to() {
    for left in same_in_every_process::<ConstantAttributes>(0..2) {
        assert_eq!((left.said.as_str(), left.leaked), ("started", 0), "{left:?}");
    }
}

#[test]
fn the_panic_hook_allocates_nothing_on_the_engines_side() {
    for left in same_in_every_process::<HookAllocates>(0..1) {
        let (with_hook, without) = left.said.split_once(' ').expect("two numbers");
        assert_eq!(with_hook, without, "{left:?}");
    }
}

#[test]
fn an_allocator_that_takes_a_lock_and_reads_the_clock_blocks_no_thread() {
    for left in same_in_every_process::<Many>(0..4) {
        assert!(left.said.parse::<u64>().expect("a number") > 200, "{}", left.said);
    }
}
