//! The append log against the published crate whose format it uses: each reads the other's files.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::engines::append_log::{Cursor, Entry, SnapshotWriter, Update, VersionToken, load};
use slipstream::snapshot as origin;

/// One step of a workload that both can run.
#[derive(Clone, Debug)]
enum Step {
    Put(String, Vec<u8>, Option<u64>),
    Delete(String, u64),
    Purge(String, u64),
    Checkpoint(u64),
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof!["[ab]{0,2}", "[a-zé.]{1,40}"];
    let len = prop_oneof![4 => 0..40_usize, 2 => 400..1200_usize, 1 => 5000..30_000_usize];
    let value = (any::<u8>(), len).prop_map(|(byte, len)| vec![byte; len]);
    prop_oneof![
        8 => (key.clone(), value, any::<Option<u64>>()).prop_map(|(k, v, t)| Step::Put(k, v, t)),
        2 => (key.clone(), any::<u64>()).prop_map(|(k, t)| Step::Delete(k, t)),
        1 => (key, any::<u64>()).prop_map(|(k, t)| Step::Purge(k, t)),
        4 => any::<u64>().prop_map(Step::Checkpoint),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn run_ours(path: &Path, steps: &[Step]) {
    let token =
        |revision: &Option<u64>| revision.map_or(VersionToken::unknown(), VersionToken::from_u64);
    let mut writer = SnapshotWriter::open(path, 4096).expect("opens");
    for step in steps {
        match step {
            Step::Put(key, value, revision) => {
                let (key, value, version) = (key.clone(), value.clone(), token(revision));
                writer.write_update(&Update::Put(Entry { key, value, version })).expect("queues");
            }
            Step::Delete(key, revision) => {
                let version = VersionToken::from_u64(*revision);
                let update = Update::Delete { key: key.clone(), version };
                writer.write_update(&update).expect("queues");
            }
            Step::Purge(key, revision) => {
                let version = VersionToken::from_u64(*revision);
                writer.write_update(&Update::Purge { key: key.clone(), version }).expect("queues");
            }
            Step::Checkpoint(cursor) => {
                if writer.checkpoint(&Cursor::from_u64(*cursor)).expect("writes") {
                    writer.compact().expect("compacts");
                }
            }
            Step::Compact => writer.compact().expect("compacts"),
            Step::Reopen => {
                drop(writer);
                writer = SnapshotWriter::open(path, 4096).expect("opens");
            }
        }
    }
}

fn run_origin(path: &Path, steps: &[Step]) {
    use slipstream::{KvEntry, KvUpdate, VersionToken, WatchCursor};
    let token =
        |revision: &Option<u64>| revision.map_or(VersionToken::unknown(), VersionToken::from_u64);
    let mut writer = origin::SnapshotWriter::open(path, 4096).expect("opens");
    for step in steps {
        match step {
            Step::Put(key, value, revision) => {
                let (key, value, version) = (key.clone(), value.clone(), token(revision));
                let entry = KvEntry { key, value, version };
                writer.write_update(&KvUpdate::Put(entry)).expect("queues");
            }
            Step::Delete(key, revision) => {
                let version = VersionToken::from_u64(*revision);
                let update = KvUpdate::Delete { key: key.clone(), version };
                writer.write_update(&update).expect("queues");
            }
            Step::Purge(key, revision) => {
                let version = VersionToken::from_u64(*revision);
                let update = KvUpdate::Purge { key: key.clone(), version };
                writer.write_update(&update).expect("queues");
            }
            Step::Checkpoint(cursor) => {
                if writer.checkpoint(&WatchCursor::from_u64(*cursor)).expect("writes") {
                    writer.compact().expect("compacts");
                }
            }
            Step::Compact => writer.compact().expect("compacts"),
            Step::Reopen => {
                drop(writer);
                writer = origin::SnapshotWriter::open(path, 4096).expect("opens");
            }
        }
    }
}

/// The result of a loader, in types that both share: key, value and version of each entry; the
/// cursor.
type Loaded = Option<(Vec<(String, Vec<u8>, Vec<u8>)>, Option<u64>)>;

fn ours(path: &Path) -> Loaded {
    let snapshot = load(path).expect("loads")?;
    let entry = |(key, entry): (String, Entry)| {
        assert_eq!(key, entry.key);
        (key, entry.value, entry.version.as_bytes().to_vec())
    };
    Some((snapshot.entries.into_iter().map(entry).collect(), snapshot.cursor.as_u64()))
}

fn theirs(path: &Path) -> Loaded {
    let snapshot = origin::load(path).expect("loads")?;
    let entry = |(key, entry): (String, slipstream::KvEntry)| {
        (key, entry.value, entry.version.as_bytes().to_vec())
    };
    let mut entries: Vec<_> = snapshot.entries.into_iter().map(entry).collect();
    entries.sort();
    Some((entries, snapshot.cursor.as_u64()))
}

#[test]
fn both_load_the_same_from_each_others_files() {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(step(), 0..60);
    let mut filled = 0;
    for _ in 0..200 {
        let steps = strategy.new_tree(&mut runner).expect("generates").current();
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (dir.path().join("ours"), dir.path().join("theirs"));
        run_ours(&one, &steps);
        run_origin(&other, &steps);
        // The origin's loader comes last, since it rewrites the file that it loads.
        let wanted = ours(&one);
        assert_eq!(ours(&other), wanted, "{steps:?}");
        assert_eq!(theirs(&one), wanted, "{steps:?}");
        assert_eq!(theirs(&other), wanted, "{steps:?}");
        // Then each continues with the other's file.
        run_ours(&other, &steps);
        run_origin(&one, &steps);
        assert_eq!(ours(&one), ours(&other), "{steps:?}");
        assert_eq!(theirs(&one), theirs(&other), "{steps:?}");
        filled += usize::from(wanted.is_some());
    }
    assert!(filled > 150, "only {filled} workloads left anything");
}

#[test]
fn both_compact_to_the_same_bytes() {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(step(), 1..60);
    for _ in 0..100 {
        let mut steps = strategy.new_tree(&mut runner).expect("generates").current();
        steps.push(Step::Compact);
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (dir.path().join("ours"), dir.path().join("theirs"));
        run_ours(&one, &steps);
        run_origin(&other, &steps);
        let read = |path: &Path| std::fs::read(path).expect("reads");
        assert_eq!(read(&one), read(&other), "{steps:?}");
    }
}
