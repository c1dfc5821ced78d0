//! The findings of the fold's sims, shown without the harness: fjall 3.1.13 in a real directory
//! with the files that a crash may leave.

use std::fs;
use std::path::Path;

use fjall::{Error, JournalRecoveryError};
use sims::engines::append_log::{Cursor, Entry, SnapshotError, Update, VersionToken};
use sims::engines::fjall_fold::{FjallFold, FoldConfig};
use sims::engines::snapshot_store::SnapshotStore;

fn open(path: &Path) -> Result<(Cursor, FjallFold), SnapshotError> {
    let config = FoldConfig { sync: true, workers: 1, cache_bytes: 0, ..FoldConfig::default() };
    FjallFold::open(path, config)
}

fn put(key: &str, len: usize) -> Update {
    // Values below 4 KiB, which the journal does not compress.
    let value = (0..len).map(|n| (n % 250) as u8 + 1).collect();
    Update::Put(Entry { key: key.to_owned(), value, version: VersionToken::unknown() })
}

/// The error of fjall itself, for an open that fails with one.
fn fjall_error(refused: Result<(Cursor, FjallFold), SnapshotError>) -> Error {
    match refused.map(|(cursor, _)| cursor) {
        Err(SnapshotError::Backend(source)) => *source.downcast().expect("an error of fjall"),
        Err(SnapshotError::Io(error)) => Error::Io(error),
        other => panic!("{other:?}"),
    }
}

/// `Database::create_new` (`db.rs`) creates the journal with `File::create_new` before the file
/// `version`, by which `create_or_recover` recognises a store. So the next open creates the store
/// again, and fails because the journal exists.
#[test]
fn a_first_open_that_crashes_before_its_version_file_leaves_a_store_that_never_opens() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    drop(open(&path).expect("creates"));
    fs::remove_file(path.join("version")).expect("removes");
    fs::remove_dir_all(path.join("keyspaces")).expect("removes");
    fs::create_dir(path.join("keyspaces")).expect("creates");
    for _ in 0..2 {
        let Error::Io(error) = fjall_error(open(&path)) else { panic!("another error") };
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    }
}

/// `version` is written in place, with one call for its magic and one for its number.
#[test]
fn a_first_open_that_crashes_in_its_version_file_leaves_a_store_that_never_opens() {
    for size in [0, 3] {
        let dir = tempfile::tempdir().expect("a directory");
        drop(open(dir.path()).expect("creates"));
        fs::write(dir.path().join("version"), &b"FJL\x03"[..size]).expect("writes");
        for _ in 0..2 {
            assert!(matches!(fjall_error(open(dir.path())), Error::InvalidVersion(None)));
        }
    }
}

/// Without a sync the pages of the journal's tail reach the disk in any order. If one inside a
/// value is missing, the records still parse, but their checksum does not match: `batch_reader.rs`
/// returns an error for that, and does not treat it as the end of the journal.
#[test]
fn a_page_lost_inside_a_value_of_the_journals_tail_makes_open_fail_for_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut fold) = open(dir.path()).expect("creates");
    fold.apply(&[put("a", 3000), put("b", 3000), put("c", 3000)], &Cursor::from_u64(1))
        .expect("applies");
    drop(fold);
    let journal = dir.path().join("0.jnl");
    let mut bytes = fs::read(&journal).expect("reads");
    // A sector inside the second value, which has no zero byte.
    assert!(bytes[4096..4608].iter().all(|byte| *byte != 0));
    bytes[4096..4608].fill(0);
    fs::write(&journal, &bytes).expect("writes");
    for _ in 0..2 {
        let error = fjall_error(open(dir.path()));
        let mismatch = JournalRecoveryError::ChecksumMismatch;
        assert!(matches!(&error, Error::JournalRecovery(e) if *e == mismatch), "{error:?}");
    }
}

/// fjall does not sync the folder `keyspaces` after it creates a keyspace's folder in it, so on a
/// disk that does no more than fsync(2) promises, the name may be lost with the power. Without the
/// name of fjall's own keyspace, 0, no other keyspace is known, and all data is dropped without an
/// error.
#[test]
fn a_lost_name_of_the_meta_keyspace_loses_all_that_was_synced_without_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut fold) = open(dir.path()).expect("creates");
    fold.apply(&[put("a", 10)], &Cursor::from_u64(1)).expect("applies, synced");
    drop(fold);
    fs::remove_dir_all(dir.path().join("keyspaces").join("0")).expect("removes");
    let (cursor, fold) = open(dir.path()).expect("opens without an error");
    assert!(cursor.is_none());
    assert_eq!(fold.get("a").expect("reads"), None);
}
