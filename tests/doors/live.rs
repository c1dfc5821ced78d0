//! Random calls, made through the doors and in a real directory, which is on ext4 or, if possible,
//! on a tmpfs: both must give the same results.
//!
//! The seed is fixed; `PROPTEST_CASES` sets the number of sequences, of fewer than 60 calls each.

#[path = "../disk_live/calls.rs"]
mod calls;
#[path = "../disk_live/rarer.rs"]
mod rarer;
#[path = "../disk_live/real.rs"]
mod real;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::log::Record;
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{MOUNT, Setup, Sink, World};
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::harness;
use calls::{Call, Outcome, call, depth};
use real::{Real, new_directory};

/// The number of sequences, enough for [`CALLS`].
const SEQUENCES: u32 = 5800;
/// The least number of calls to compare.
const CALLS: u64 = 100_000;

/// A log that keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn append(&self, _: &Record<'_>) -> bool {
        true
    }
}

/// Makes the calls on both sides; returns how many were compared.
fn compare(calls: &[Call]) -> Result<u64, TestCaseError> {
    let depth = depth(calls);
    let mut real = Real::new(depth, new_directory().expect("a temporary directory"));
    real.by_libc = true;
    World::install(Setup::new(Tree::new(), &Nowhere));
    let compared = seam::engine(|| {
        let mut simulated = Real::at(Path::new(MOUNT), depth);
        simulated.by_libc = true;
        let mut compared = 0;
        for call in calls {
            let expected = real.call(call);
            // Not every file system can zero a range or hold files without a name.
            let unsupported = Outcome::Failed(libc::EOPNOTSUPP);
            if expected == unsupported || expected == Outcome::Skipped {
                continue;
            }
            let shown = simulated.call(call);
            if shown != expected {
                let message = format!("{call:?}: {shown:?}, but in a real directory: {expected:?}");
                return Err(TestCaseError::fail(message));
            }
            compared += 1;
        }
        Ok(compared)
    });
    World::remove();
    compared
}

#[test]
fn random_calls_give_the_same_results_through_the_doors_and_in_a_real_directory() {
    let cases = Config::default().cases;
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { cases } else { SEQUENCES };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let compared = AtomicU64::new(0);
    let outcome = harness::alone(|| {
        TestRunner::new_with_rng(config, rng).run(&vec(call(), 0..60), |calls| {
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
