//! The simulated machine: time, entropy, identity, processors.
#![expect(clippy::disallowed_methods, reason = "on the engine's side this clock is the run's own")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::num::NonZero;
use std::time::{Duration, SystemTime};
use std::{process, thread};

use crashpoint::Time;
use rustix::time::ClockId;

use crate::harness::{Ran, at, run, run_in};

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("below a second"))
}

#[test]
fn sleeping_moves_the_clocks_and_costs_no_time() {
    let ran = run(|| {
        let (before, real) = (monotonic(), SystemTime::now());
        thread::sleep(Duration::from_secs(3600));
        let slept = monotonic() - before;
        assert!(slept >= Duration::from_secs(3600) && slept < Duration::from_secs(3601));
        assert!(real.elapsed().expect("it goes forward") >= Duration::from_secs(3600));
        let until = rustix::time::clock_gettime(ClockId::Realtime);
        let until = rustix::time::Timespec { tv_sec: until.tv_sec + 60, ..until };
        rustix::thread::clock_nanosleep_absolute(ClockId::Realtime, &until)?;
        Ok(rustix::time::clock_gettime(ClockId::Realtime).tv_sec - until.tv_sec)
    });
    assert_eq!(ran.result, 0);
    assert!(ran.saw_clock);
    assert!(ran.now > Time(3_660_000_000_000) && ran.now < Time(3_661_000_000_000));
}

#[test]
fn each_call_and_each_clock_reading_has_a_fixed_cost() {
    let three_calls = run(|| {
        for _ in 0..3 {
            let _ = fs::metadata(at("none"));
        }
        Ok(())
    });
    assert_eq!(three_calls.now, Time(3_000));
    assert!(!three_calls.saw_clock);
    let readings = run(|| Ok((monotonic(), monotonic())));
    assert_eq!(readings.result.1 - readings.result.0, Duration::from_nanos(100));
    assert_eq!(readings.now, Time(200));
}

#[test]
fn the_clocks_start_where_the_setup_says() {
    let ran = run_in(
        |setup| {
            setup.start = Time(5_000_000_000);
            setup.uptime = Duration::from_secs(77);
            setup.wall_clock = Duration::from_secs(1_000_000);
        },
        || Ok((monotonic(), SystemTime::UNIX_EPOCH.elapsed())),
    );
    assert_eq!(ran.result.0.as_secs(), 77);
    assert_eq!(ran.result.1.expect("after 1970").as_secs(), 1_000_005);
}

/// Values that a fresh thread draws from entropy, each by a different call.
fn drawn(seed: u64) -> Ran<Vec<u64>> {
    run_in(
        |setup| setup.seed = seed,
        || {
            let hashed = RandomState::new().hash_one("x");
            let mut device = [0; 8];
            File::open("/dev/urandom")?.read_exact(&mut device)?;
            let mut asked = [0; 8];
            rustix::rand::getrandom(&mut asked, rustix::rand::GetRandomFlags::empty())?;
            let name = tempfile::NamedTempFile::new_in(at(""))?.path().to_owned();
            let name = crashpoint::inner::base::digest::hash(name.as_os_str().as_encoded_bytes());
            Ok(vec![hashed, u64::from_le_bytes(device), u64::from_le_bytes(asked), name])
        },
    )
}

#[test]
fn entropy_comes_from_the_seed() {
    let (one, same, other) = (drawn(1), drawn(1), drawn(2));
    // The name of a temporary file also depends on std's thread id, which counts up in this
    // process.
    assert_eq!(one.result[..3], same.result[..3]);
    let all: BTreeSet<_> = one.result.iter().chain(&other.result).collect();
    assert_eq!(all.len(), 8, "other seeds give other numbers");
}

#[test]
fn identity_and_processors_are_fixed() {
    run_in(
        |setup| setup.cpus = 3,
        || {
            assert_eq!(process::id(), 1000);
            assert_eq!(
                rustix::thread::gettid().as_raw_nonzero(),
                NonZero::new(1000).expect("not 0")
            );
            assert_eq!(thread::available_parallelism()?, NonZero::new(3).expect("not 0"));
            Ok(())
        },
    );
    assert_ne!(process::id(), 1000, "the harness has its own");
}
