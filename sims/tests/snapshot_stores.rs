//! Both implementations of the snapshot store trait, by the same tests, in a real directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::engines::append_log::{
    AppendLogStore, Cursor, Entry, SnapshotError, Update, VersionToken,
};
use sims::engines::fjall_fold::{FjallFold, FoldConfig, FoldReader};
use sims::engines::snapshot_store::SnapshotStore;

fn token(revision: u64) -> VersionToken {
    VersionToken::from_u64(revision)
}

fn entry(key: &str, value: &[u8], version: VersionToken) -> Entry {
    Entry { key: key.to_owned(), value: value.to_vec(), version }
}

fn put(key: &str, value: &[u8], revision: u64) -> Update {
    Update::Put(entry(key, value, token(revision)))
}

fn delete(key: &str) -> Update {
    Update::Delete { key: key.to_owned(), version: token(1) }
}

fn purge(key: &str) -> Update {
    Update::Purge { key: key.to_owned(), version: token(1) }
}

fn cursor(revision: u64) -> Cursor {
    Cursor::from_u64(revision)
}

/// Opens a store of either kind for a test, with few threads and small limits.
trait Kind: SnapshotStore {
    fn open(path: &Path) -> Result<(Cursor, Self), SnapshotError>;
}

impl Kind for AppendLogStore {
    fn open(path: &Path) -> Result<(Cursor, Self), SnapshotError> {
        Self::open(path, 4096)
    }
}

fn small(sync: bool) -> FoldConfig {
    FoldConfig { sync, workers: 1, memtable_bytes: 2048, cache_bytes: 0, ..FoldConfig::default() }
}

impl Kind for FjallFold {
    fn open(path: &Path) -> Result<(Cursor, Self), SnapshotError> {
        Self::open(path, small(false))
    }
}

fn open<S: Kind>(path: &Path) -> (Cursor, S) {
    S::open(path).expect("opens")
}

fn keys<S: SnapshotStore>(store: &S, prefix: &str) -> Vec<String> {
    store.range(prefix).expect("reads").into_iter().map(|entry| entry.key).collect()
}

fn a_new_store_is_empty<S: Kind>(path: &Path) {
    let (at, store) = open::<S>(path);
    assert!(at.is_none());
    assert_eq!(store.get("absent").expect("reads"), None);
    assert!(keys(&store, "").is_empty());
    drop(store);
    assert!(open::<S>(path).0.is_none());
}

fn batches_and_cursors_come_back<S: Kind>(path: &Path) {
    let (_, mut store) = open::<S>(path);
    store.apply(&[put("a", b"1", 1), put("b", b"2", 2)], &cursor(2)).expect("applies");
    store.apply(&[delete("a"), put("c", b"", 3), purge("absent")], &cursor(5)).expect("applies");
    store.apply(&[], &cursor(9)).expect("applies");
    for _ in 0..2 {
        assert_eq!(store.get("a").expect("reads"), None);
        assert_eq!(store.get("b").expect("reads"), Some(entry("b", b"2", token(2))));
        assert_eq!(store.get("c").expect("reads"), Some(entry("c", b"", token(3))));
        assert_eq!(keys(&store, ""), ["b", "c"]);
        drop(store);
        let (at, again) = open::<S>(path);
        assert_eq!(at, cursor(9));
        store = again;
    }
}

fn the_last_update_of_a_key_in_a_batch_counts<S: Kind>(path: &Path) {
    let (_, mut store) = open::<S>(path);
    let batch = [put("k", b"1", 1), delete("k"), put("k", b"2", 2), put("gone", b"", 3)];
    store.apply(&batch, &cursor(1)).expect("applies");
    store.apply(&[put("gone", b"again", 4), purge("gone")], &cursor(2)).expect("applies");
    for _ in 0..2 {
        assert_eq!(store.range("").expect("reads"), [entry("k", b"2", token(2))]);
        drop(store);
        store = open::<S>(path).1;
    }
}

fn tokens_of_every_length_come_back<S: Kind>(path: &Path) {
    let (_, mut store) = open::<S>(path);
    for len in 0..=10 {
        let token = VersionToken::from_bytes(&vec![0xfe; len]).expect("at most ten bytes");
        let batch = [Update::Put(entry("k", b"v", token))];
        store.apply(&batch, &Cursor::from_version(token)).expect("applies");
        drop(store);
        let (at, again) = open::<S>(path);
        assert_eq!(at.version(), token);
        assert_eq!(again.get("k").expect("reads"), Some(entry("k", b"v", token)));
        store = again;
    }
}

fn a_range_has_the_keys_of_its_prefix_in_order_and_a_visitor_may_stop<S: Kind>(path: &Path) {
    let (_, mut store) = open::<S>(path);
    let names = ["node.b", "node.a", "node", "nodf", "é", "node.\u{10ffff}", "z"];
    let batch: Vec<Update> = names.iter().map(|name| put(name, b"", 1)).collect();
    store.apply(&batch, &cursor(1)).expect("applies");
    assert_eq!(keys(&store, "node."), ["node.a", "node.b", "node.\u{10ffff}"]);
    assert_eq!(keys(&store, ""), ["node", "node.a", "node.b", "node.\u{10ffff}", "nodf", "z", "é"]);
    assert_eq!(keys(&store, "x"), [""; 0]);
    let mut seen = Vec::new();
    let stopped = store.for_each_in_range("node", |entry| {
        seen.push(entry.key);
        if seen.len() == 2 { Err(SnapshotError::Corrupted) } else { Ok(()) }
    });
    assert!(matches!(stopped, Err(SnapshotError::Corrupted)));
    assert_eq!(seen, ["node", "node.a"]);
}

fn a_batch_that_cannot_be_stored_changes_nothing<S: Kind>(path: &Path) {
    let (_, mut store) = open::<S>(path);
    let longest = "k".repeat(65_535);
    store.apply(&[put(&longest, b"v", 1)], &cursor(1)).expect("applies");
    for refused in [put(&"k".repeat(65_536), b"", 2), delete(&"k".repeat(65_536))] {
        let refused = store.apply(&[put("other", b"", 2), refused], &cursor(2));
        let Err(SnapshotError::InvalidFormat(what)) = refused else { panic!("{refused:?}") };
        assert_eq!(what, "key too long: 65536 bytes");
    }
    assert_eq!(keys(&store, ""), [&*longest]);
    drop(store);
    let (at, store) = open::<S>(path);
    assert_eq!(at, cursor(1));
    assert_eq!(keys(&store, ""), [&*longest]);
}

fn a_path_below_a_file_is_an_error_with_its_source<S: Kind>(path: &Path) {
    std::fs::write(path, b"not a store").expect("writes");
    let refused = S::open(&path.join("below")).map(|(at, _)| at);
    let error = refused.expect_err("a file has nothing below it");
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // EEXIST if the first call creates a folder, ENOTDIR if it opens a file.
            assert!(matches!(error.raw_os_error(), Some(17 | 20)), "{error}");
            return;
        }
        source = error.source();
    }
    panic!("{error:?} has no source");
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Update>, u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof!["[ab]{1,2}", "[a-zé.]{1,30}"];
    let len = prop_oneof![4 => 0..40_usize, 2 => 400..1200_usize, 1 => 5000..30_000_usize];
    let value = (any::<u8>(), len).prop_map(|(byte, len)| vec![byte; len]);
    let update = prop_oneof![
        6 => (key.clone(), value, any::<u64>()).prop_map(|(k, v, t)| put(&k, &v, t)),
        2 => key.clone().prop_map(|key| delete(&key)),
        1 => key.prop_map(|key| purge(&key)),
    ];
    prop_oneof![
        9 => (vec(update, 0..6), any::<u64>()).prop_map(|(batch, at)| Step::Apply(batch, at)),
        1 => Just(Step::Reopen),
    ]
}

fn a_random_run_matches_a_map<S: Kind>(path: &Path) {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(step(), 1..60);
    for number in 0..20 {
        let steps = strategy.new_tree(&mut runner).expect("generates").current();
        let path = path.join(number.to_string());
        std::fs::create_dir_all(path.parent().expect("has one")).expect("creates");
        let (mut at, mut store) = open::<S>(&path);
        let mut wanted = BTreeMap::new();
        for step in &steps {
            match step {
                Step::Apply(batch, revision) => {
                    at = cursor(*revision);
                    store.apply(batch, &at).expect("applies");
                    for update in batch {
                        match update.clone() {
                            Update::Put(entry) => drop(wanted.insert(entry.key.clone(), entry)),
                            Update::Delete { key, .. } | Update::Purge { key, .. } => {
                                wanted.remove(&key);
                            }
                        }
                    }
                }
                Step::Reopen => {
                    drop(store);
                    let (found, again) = open::<S>(&path);
                    assert_eq!(found, at, "{steps:?}");
                    store = again;
                }
            }
            let found = store.range("").expect("reads");
            assert!(found.iter().eq(wanted.values()), "{steps:?}");
        }
        for (key, entry) in &wanted {
            assert_eq!(store.get(key).expect("reads").as_ref(), Some(entry));
        }
    }
}

macro_rules! tests_of_both_kinds {
    ($($test:ident)*) => {
        mod append_log {
            $(#[test]
            fn $test() {
                let dir = tempfile::tempdir().expect("a directory");
                super::$test::<super::AppendLogStore>(&dir.path().join("store"));
            })*
        }

        mod fjall_fold {
            $(#[test]
            fn $test() {
                let dir = tempfile::tempdir().expect("a directory");
                super::$test::<super::FjallFold>(&dir.path().join("store"));
            })*
        }
    };
}

tests_of_both_kinds! {
    a_new_store_is_empty
    batches_and_cursors_come_back
    the_last_update_of_a_key_in_a_batch_counts
    tokens_of_every_length_come_back
    a_range_has_the_keys_of_its_prefix_in_order_and_a_visitor_may_stop
    a_batch_that_cannot_be_stored_changes_nothing
    a_path_below_a_file_is_an_error_with_its_source
    a_random_run_matches_a_map
}

#[test]
fn a_fold_opens_with_its_default_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("not").join("there").join("yet");
    let (at, mut fold) = FjallFold::load(&path).expect("opens");
    assert!(at.is_none());
    fold.apply(&[put("a", b"1", 1)], &cursor(7)).expect("applies");
    assert_eq!(fold.cursor(), cursor(7));
    drop(fold);
    assert_eq!(FjallFold::load(&path).expect("opens").0, cursor(7));
}

#[test]
fn the_fold_refuses_the_empty_key_and_keeps_working() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut fold) = open::<FjallFold>(dir.path());
    let refused = fold.apply(&[put("", b"1", 1)], &cursor(1));
    assert!(matches!(refused, Err(SnapshotError::InvalidFormat(_))), "{refused:?}");
    fold.apply(&[put("a", b"1", 1)], &cursor(1)).expect("applies");
}

#[test]
fn an_error_of_fjall_is_the_source() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open::<FjallFold>(dir.path()));
    std::fs::write(dir.path().join("version"), b"FJL\x02").expect("writes");
    let refused = FjallFold::open(dir.path(), small(false)).map(|(at, _)| at);
    let error = refused.expect_err("is of another version");
    assert!(matches!(error, SnapshotError::Backend(_)), "{error:?}");
    let source = std::error::Error::source(&error).expect("has a source");
    let source = source.downcast_ref::<fjall::Error>().expect("an error of fjall");
    assert!(matches!(source, fjall::Error::InvalidVersion(Some(fjall::FormatVersion::V2))));
}

#[test]
fn memtables_are_flushed_and_tables_compacted_under_a_small_limit() {
    for sync in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let (_, mut fold) = FjallFold::open(dir.path(), small(sync)).expect("opens");
        // Keyspace 1 is `data`, 2 is `meta`. Four tables are compacted to one.
        let tables = |keyspace: &str| {
            let tables = dir.path().join("keyspaces").join(keyspace).join("tables");
            std::fs::read_dir(tables).expect("lists").count()
        };
        let mut count = 0;
        let mut most = 0;
        while count < 400 || tables("1") >= most.max(4) || tables("2") == 0 {
            assert!(count < 20_000, "{} and {} tables", tables("1"), tables("2"));
            let batch = [put(&format!("k{}", count % 20), &[b'v'; 300], count)];
            fold.apply(&batch, &cursor(count)).expect("applies");
            // The worker needs the lock, which a writer without pauses does not release.
            std::thread::sleep(Duration::from_micros(200));
            count += 1;
            most = most.max(tables("1"));
        }
        assert!(most >= 4, "never more than {most} tables of data");
        drop(fold);
        let (at, fold) = FjallFold::open(dir.path(), small(sync)).expect("opens");
        assert_eq!(at, cursor(count - 1));
        assert_eq!(keys(&fold, "").len(), 20);
    }
}

/// Reads until the writer is done, and counts the reads; all entries of a read are of one batch.
fn read_concurrently(reader: &FoldReader, reads: &AtomicU64, done: &AtomicBool) {
    let mut seen = 0;
    while !done.load(Ordering::Relaxed) {
        let entries = reader.range("pair.").expect("reads");
        let now = entries.first().map_or(0, |entry| entry.version.as_u64().unwrap_or(0));
        assert!(now >= seen, "a read went back from {seen} to {now}");
        assert!(entries.iter().all(|entry| entry.version == token(now)), "half of a batch");
        let one = reader.get("pair.7").expect("reads").and_then(|entry| entry.version.as_u64());
        assert!(one.unwrap_or(0) >= now, "{one:?} after {now}");
        seen = now;
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_concurrent_reader_sees_whole_batches_and_never_goes_back() {
    const BATCHES: u64 = 400;
    const READS: u64 = 20;
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut fold) = FjallFold::open(dir.path(), small(false)).expect("opens");
    let reader = fold.reader();
    let (reads, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let read = scope.spawn(|| read_concurrently(&reader, &reads, &done));
        let mut revision = 0;
        // Stops if the reader panicked; the count shows a reader that is starved.
        while !read.is_finished() && (revision < BATCHES || reads.load(Ordering::Relaxed) < READS) {
            revision += 1;
            assert!(revision < 100 * BATCHES, "the writer starves the reader");
            let pair = |n| put(&format!("pair.{n}"), &[b'v'; 100], revision);
            let batch: Vec<Update> = (0..10).map(pair).collect();
            fold.apply(&batch, &cursor(revision)).expect("applies");
        }
        done.store(true, Ordering::Relaxed);
        read.join().expect("does not panic");
    });
}
