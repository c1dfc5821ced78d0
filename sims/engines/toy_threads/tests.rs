//! Tests the store on a real directory, with the system's own order of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Op, ThreadBug, ToyThreads};

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &Path) -> ToyThreads {
    ToyThreads::open(dir, None).expect("opens")
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

fn add(key: &str, n: i64) -> Op {
    Op::Add { key: key.into(), n }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

fn shown(store: &ToyThreads) -> BTreeMap<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    store.scan().into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

/// The items that a process would see if it opened the files as they are now.
fn shown_by_a_copy(source: &Path) -> BTreeMap<String, String> {
    let copy = dir();
    for entry in fs::read_dir(source).expect("lists") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copies");
    }
    shown(&open(copy.path()))
}

#[test]
fn all_changes_before_a_close_are_there_when_the_store_is_opened_again() {
    let dir = dir();
    let mut wanted = BTreeMap::new();
    for round in 0..30 {
        let store = open(dir.path());
        assert_eq!(shown(&store), wanted);
        for n in 0..round {
            let batch = [put(&format!("k{n}"), &round.to_string()), delete(&format!("k{}", n / 2))];
            store.write(&batch).expect("writes");
        }
        store.write(&[add("n", round)]).expect("writes");
        wanted = shown(&store);
        assert_eq!(wanted["n"], (round * (round + 1) / 2).to_string());
        store.close().expect("closes");
    }
}

#[test]
fn a_checkpoint_is_a_snapshot_with_an_empty_log() {
    let dir = dir();
    let store = open(dir.path());
    store.write(&[put("a", "1"), add("n", 3)]).expect("writes");
    store.checkpoint().expect("checkpoints");
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(dir.path()).expect("lists") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        sizes.insert(name, entry.metadata().expect("a size").len());
    }
    let names: Vec<&str> = sizes.keys().map(String::as_str).collect();
    assert_eq!(names, ["log-2", "snap-2"]);
    assert_eq!(sizes["log-2"], 0);
    assert_eq!(shown_by_a_copy(dir.path()), shown(&store));
}

#[test]
fn all_changes_before_a_sync_are_in_the_files() {
    // Short enough that no compaction moves the files that are copied.
    for round in 0..20 {
        let dir = dir();
        let store = open(dir.path());
        for n in 0..5 {
            store.write(&[add("n", n), put("k", &round.to_string())]).expect("writes");
            store.sync().expect("syncs");
            assert_eq!(shown_by_a_copy(dir.path()), shown(&store));
        }
    }
}

#[test]
fn many_clients_lose_nothing_while_the_store_compacts_itself() {
    let dir = dir();
    let store = open(dir.path());
    let (clients, writes) = (4, 300);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let store = &store;
            scope.spawn(move || {
                for n in 0..writes {
                    let own = format!("client-{client}-{}", n % 7);
                    let change = if n % 3 == 0 { delete(&own) } else { put(&own, "v") };
                    store.write(&[add("total", 1), change]).expect("writes");
                    match n % 50 {
                        10 | 30 => store.sync().expect("syncs"),
                        20 => store.checkpoint().expect("checkpoints"),
                        _ => {}
                    }
                }
            });
        }
    });
    let wanted = shown(&store);
    assert_eq!(wanted["total"], (clients * writes).to_string());
    store.close().expect("closes");
    let store = open(dir.path());
    assert_eq!(shown(&store), wanted);
    let first = fs::read_dir(dir.path()).expect("lists").next().expect("a file").expect("a file");
    let name = first.file_name().into_string().expect("text");
    let generation: u64 = name.rsplit('-').next().expect("a number").parse().expect("a number");
    assert!(generation > 10, "{name}: the store compacted itself now and then");
}

#[test]
fn a_refused_batch_changes_nothing_and_the_store_still_works() {
    let dir = dir();
    let store = open(dir.path());
    store.write(&[put("word", "no number")]).expect("writes");
    let refused = store.write(&[put("other", "1"), add("word", 1)]).expect_err("refuses");
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    store.write(&[add("n", 1)]).expect("writes");
    let wanted = shown(&store);
    assert_eq!(wanted.keys().collect::<Vec<_>>(), ["n", "word"]);
    store.close().expect("closes");
    assert_eq!(shown(&open(dir.path())), wanted);
}

#[test]
fn after_a_failed_compaction_every_call_is_refused_until_the_store_is_opened_again() {
    let dir = dir();
    let store = open(dir.path());
    store.write(&[put("a", "1")]).expect("writes");
    store.sync().expect("syncs");
    // The next snapshot cannot be created over an existing directory.
    let obstacle = dir.path().join("next-2");
    fs::create_dir(&obstacle).expect("creates");
    assert!(store.checkpoint().is_err());
    assert!(store.write(&[put("b", "2")]).is_err());
    assert!(store.sync().is_err());
    assert!(store.checkpoint().is_err());
    assert!(store.close().is_err());
    fs::remove_dir(&obstacle).expect("removes");
    let store = open(dir.path());
    store.write(&[put("c", "3")]).expect("writes");
    assert_eq!(shown(&store).into_keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn every_bug_has_its_own_name() {
    let names: BTreeSet<_> = ThreadBug::ALL.iter().map(|bug| bug.name()).collect();
    assert_eq!(names.len(), ThreadBug::ALL.len());
}
