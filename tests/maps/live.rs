//! Random calls on maps, made through the doors and in a real directory: both must give the same
//! results.
//!
//! The seed is fixed; `PROPTEST_CASES` sets the number of sequences, of fewer than 70 calls each.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::log::Record;
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{MOUNT, Setup, Sink, World};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::calls::{Call, Outcome, Side, calls};
use crate::harness;

/// The number of sequences.
const SEQUENCES: u32 = 600;
/// The least number of calls to compare.
const CALLS: u64 = 20_000;

/// A log that keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn append(&self, _: &Record<'_>) -> bool {
        true
    }
}

/// Makes the calls on both sides; returns how many were compared.
fn compare(calls: &[Call]) -> Result<u64, TestCaseError> {
    let directory = match std::env::var_os("CRASHPOINT_MAPS_IN") {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
    };
    let directory = directory.expect("a temporary directory");
    World::install(Setup::new(Tree::new(), &Nowhere));
    let compared = seam::engine(|| {
        let mut real = Side::new(directory.path());
        let mut simulated = Side::new(Path::new(MOUNT));
        let mut compared = 0;
        for (at, call) in calls.iter().enumerate() {
            let expected = real.call(call);
            let shown = simulated.call(call);
            if let (Outcome::Bytes(shown), Outcome::Bytes(expected)) = (&shown, &expected)
                && let Some(byte) = shown.iter().zip(expected).position(|(a, b)| a != b)
            {
                let (one, other) = (shown[byte], expected[byte]);
                let message = format!("{at}: {call:?}: byte {byte} is {one}, and really {other}");
                return Err(TestCaseError::fail(message));
            }
            if shown != expected {
                let message =
                    format!("{at}: {call:?}: {shown:?}, but on a real disk: {expected:?}");
                return Err(TestCaseError::fail(message));
            }
            compared += u64::from(expected != Outcome::Skipped);
        }
        Ok(compared)
    });
    World::remove();
    compared
}

#[test]
fn random_calls_on_maps_give_the_same_results_through_the_doors_and_on_a_real_disk() {
    let cases = Config::default().cases;
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { cases } else { SEQUENCES };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let compared = AtomicU64::new(0);
    let outcome = harness::alone(|| {
        TestRunner::new_with_rng(config, rng).run(&calls(), |calls| {
            compared.fetch_add(compare(&calls)?, Relaxed);
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let compared = compared.into_inner();
    assert!(asked || compared >= CALLS, "{compared} calls are less than {CALLS}");
}
