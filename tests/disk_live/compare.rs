//! Random calls on a simulated disk and in a real directory: both must show the same.
//!
//! The seed is fixed; `PROPTEST_CASES` sets how many sequences are run (256 by default, of up to 60
//! calls each).

use crashpoint::inner::disk::Disk;
use crashpoint::inner::disk::effect::Kind;
use crashpoint::inner::disk::tree::Tree;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use proptest::{prop_assert, prop_assert_eq};

use crate::calls::{Call, OnBytes, OnPath, OnSlot, Outcome, call, depth};
use crate::journal::{Recorder, inodes};
use crate::real::{Real, new_directory};
use crate::simulated::Simulated;

/// Both disks.
struct Both {
    simulated: Simulated,
    real: Real,
}

impl Both {
    /// Makes a call on both and returns the outcome, or fails if they differ.
    fn call(&mut self, call: &Call) -> Result<Outcome, TestCaseError> {
        if matches!(call, Call::Rarer(rarer) if rarer.needs_doors()) {
            return Ok(Outcome::Skipped);
        }
        let expected = self.real.call(call);
        // Not every file system can zero a range or hold files without a name.
        let unsupported = Outcome::Failed(libc::EOPNOTSUPP);
        if expected == unsupported || expected == Outcome::Skipped {
            return Ok(Outcome::Skipped);
        }
        let shown = self.simulated.call(call);
        if shown == Outcome::Skipped {
            return Ok(shown);
        }
        if shown != expected {
            let message = format!("{call:?}: {shown:?}, but on a real file system: {expected:?}");
            return Err(TestCaseError::fail(message));
        }
        Ok(shown)
    }

    /// Makes a call on a path from the working directory.
    fn at(&mut self, path: &[u8], what: OnPath) -> Result<Outcome, TestCaseError> {
        self.call(&Call::Path { base: 0, path: path.to_vec(), what })
    }

    /// Closes everything, then compares everything that is left.
    fn compare_all(&mut self) -> Result<(), TestCaseError> {
        while self.call(&Call::Slot { slot: 0, what: OnSlot::Close })? != Outcome::Skipped {}
        let mut paths = vec![b"..".to_vec(), b".".to_vec()];
        while let Some(path) = paths.pop() {
            let Outcome::Stat { kind, .. } = self.at(&path, OnPath::Stat { follow: false })? else {
                return Err(TestCaseError::fail("a listed name exists"));
            };
            match kind {
                Kind::Symlink => drop(self.at(&path, OnPath::Readlink)?),
                Kind::File => {
                    self.at(&path, OnPath::Open { flags: libc::O_RDONLY, mode: 0 })?;
                    let what = OnBytes::Read { length: 4 << 20 };
                    self.call(&Call::Bytes { slot: 0, what })?;
                    self.call(&Call::Slot { slot: 0, what: OnSlot::Close })?;
                }
                Kind::Directory => {
                    self.at(&path, OnPath::Open { flags: libc::O_RDONLY, mode: 0 })?;
                    let entries = self.call(&Call::Slot { slot: 0, what: OnSlot::List })?;
                    self.call(&Call::Slot { slot: 0, what: OnSlot::Close })?;
                    let Outcome::Listed(entries) = entries else { continue };
                    let names = entries
                        .keys()
                        .filter(|name| ![&b"."[..], b"..", b"n"].contains(&&name[..]));
                    paths.extend(names.map(|name| [&path[..], b"/", name].concat()));
                }
            }
        }
        Ok(())
    }
}

/// A temporary directory of the host: where the environment names a directory of ext4, there.
fn real(depth: usize) -> Real {
    Real::new(depth, new_directory().expect("a temporary directory"))
}

fn compare(calls: &[Call]) -> Result<(), TestCaseError> {
    let mut disk = Disk::new(Tree::new());
    let recorder = Recorder::default();
    disk.set_journal(Box::new(recorder.clone()));
    let depth = depth(calls);
    let mut both = Both { simulated: Simulated::new(disk, depth), real: real(depth) };
    for call in calls {
        both.call(call)?;
    }
    both.compare_all()?;
    let tree = both.simulated.finish();
    let replayed = recorder.replay(Tree::new());
    prop_assert_eq!(tree.digest(), replayed.digest());
    prop_assert_eq!(inodes(&tree), inodes(&replayed));
    prop_assert!(tree.nodes().all(|(_, node)| node.links > 0), "an inode was not freed");
    Ok(())
}

/// Runs a property on the same cases every time.
pub(crate) fn runner() -> TestRunner {
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn random_calls_have_the_same_outcome_as_on_a_real_file_system() {
    let outcome = runner().run(&vec(call(), 0..60), |calls| compare(&calls));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
