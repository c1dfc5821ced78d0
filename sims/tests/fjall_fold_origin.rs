//! The fold on fjall against the published crate whose format it uses: each opens the other's
//! stores.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::engines::append_log::{Cursor, Entry, Update, VersionToken};
use sims::engines::fjall_fold::{FjallFold, FoldConfig};
use sims::engines::snapshot_store::SnapshotStore;
use slipstream::{FjallConfig, FjallSnapshot, KvEntry, KvUpdate, SnapshotStore as _, WatchCursor};

/// A change of a key that both can apply: a value with a revision, a delete or a purge.
#[derive(Clone, Debug)]
enum Change {
    Put(String, Vec<u8>, Option<u64>),
    Delete(String, u64),
    Purge(String, u64),
}

/// A batch and its cursor.
type Batch = (Vec<Change>, u64);

fn batch() -> impl Strategy<Value = Batch> {
    let key = prop_oneof!["[ab]{1,2}", "[a-zé.]{1,40}"];
    let len = prop_oneof![4 => 0..40_usize, 2 => 400..1200_usize, 1 => 5000..30_000_usize];
    let value = (any::<u8>(), len).prop_map(|(byte, len)| vec![byte; len]);
    let change = prop_oneof![
        8 => (key.clone(), value, any::<Option<u64>>()).prop_map(|(k, v, t)| Change::Put(k, v, t)),
        2 => (key.clone(), any::<u64>()).prop_map(|(k, t)| Change::Delete(k, t)),
        1 => (key, any::<u64>()).prop_map(|(k, t)| Change::Purge(k, t)),
    ];
    (vec(change, 0..8), any::<u64>())
}

/// The contents of a store: its cursor; key, value and version of each entry.
type Shown = (Option<u64>, Vec<(String, Vec<u8>, Vec<u8>)>);

fn ours(path: &Path, batches: &[Batch], sync: bool) -> Shown {
    let config = FoldConfig { sync, workers: 1, memtable_bytes: 4096, ..FoldConfig::default() };
    let (cursor, mut fold) = FjallFold::open(path, config).expect("opens");
    let token =
        |revision: &Option<u64>| revision.map_or(VersionToken::unknown(), VersionToken::from_u64);
    let update = |change: &Change| match change.clone() {
        Change::Put(key, value, revision) => {
            Update::Put(Entry { key, value, version: token(&revision) })
        }
        Change::Delete(key, revision) => Update::Delete { key, version: token(&Some(revision)) },
        Change::Purge(key, revision) => Update::Purge { key, version: token(&Some(revision)) },
    };
    for (changes, cursor) in batches {
        let updates: Vec<Update> = changes.iter().map(update).collect();
        fold.apply(&updates, &Cursor::from_u64(*cursor)).expect("applies");
    }
    let entry = |entry: Entry| (entry.key, entry.value, entry.version.as_bytes().to_vec());
    let shown = fold.range("").expect("reads").into_iter().map(entry).collect();
    let cursor = if batches.is_empty() { cursor } else { fold.cursor() };
    (cursor.as_u64(), shown)
}

fn theirs(path: &Path, batches: &[Batch], sync: bool) -> Shown {
    let config = FjallConfig { sync, cache_size_bytes: 0 };
    let (cursor, mut fold) = FjallSnapshot::open(path, config).expect("opens");
    let token = |revision: &Option<u64>| {
        revision.map_or(slipstream::VersionToken::unknown(), slipstream::VersionToken::from_u64)
    };
    let update = |change: &Change| match change.clone() {
        Change::Put(key, value, revision) => {
            KvUpdate::Put(KvEntry { key, value, version: token(&revision) })
        }
        Change::Delete(key, revision) => KvUpdate::Delete { key, version: token(&Some(revision)) },
        Change::Purge(key, revision) => KvUpdate::Purge { key, version: token(&Some(revision)) },
    };
    for (changes, cursor) in batches {
        let updates: Vec<KvUpdate> = changes.iter().map(update).collect();
        fold.apply(&updates, &WatchCursor::from_u64(*cursor)).expect("applies");
    }
    let entry = |entry: KvEntry| (entry.key, entry.value, entry.version.as_bytes().to_vec());
    let shown = fold.range("").expect("reads").into_iter().map(entry).collect();
    let cursor = if batches.is_empty() { cursor } else { fold.cursor().clone() };
    (cursor.as_u64(), shown)
}

#[test]
fn both_show_the_same_in_each_others_stores() {
    let mut runner = TestRunner::deterministic();
    let strategy = (vec(batch(), 1..30), vec(batch(), 1..30), any::<bool>());
    let mut filled = 0;
    for _ in 0..20 {
        let (first, then, sync) = strategy.new_tree(&mut runner).expect("generates").current();
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (dir.path().join("ours"), dir.path().join("theirs"));
        let wanted = ours(&one, &first, sync);
        assert_eq!(theirs(&other, &first, sync), wanted);
        // Each opens the other's store, and continues with it.
        assert_eq!(theirs(&one, &[], sync), wanted);
        assert_eq!(ours(&other, &[], sync), wanted);
        let wanted = ours(&other, &then, sync);
        assert_eq!(theirs(&one, &then, sync), wanted);
        assert_eq!(ours(&one, &[], sync), wanted);
        assert_eq!(theirs(&other, &[], sync), wanted);
        filled += usize::from(!wanted.1.is_empty());
    }
    assert!(filled > 15, "only {filled} runs left anything");
}
