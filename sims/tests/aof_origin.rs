//! The keyspace against the published crates whose formats it uses: each reads the other's files.
//! The saved cases in which the harness found the origin's bugs are replayed too.

mod redis_commands;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use kevy_persist::{Argv, Fsync as Policy};
use kevy_store::Store;
use sims::aof::origin::{self, Origin};
use sims::aof::{Always, EverySec, No};
use sims::engines::aof::{
    Bytes, Database, Entry, Fsync, Keyspace, LOG, SNAPSHOT, Value, export_plain_log, load_snapshot,
    replay_aof, save_snapshot,
};

use redis_commands::commands;

/// The number of workloads in each direction.
const WORKLOADS: u64 = 120;
/// The size of each workload, in draws.
const STEPS: usize = 60;
/// The most milliseconds by which deadlines may differ: both sides compute them from the time left.
const MINUTE: u64 = 60_000;

/// The entries of the origin's keyspace, in our types.
fn theirs(store: &Store) -> BTreeMap<Bytes, Entry> {
    use kevy_store::Value as Theirs;
    #[expect(clippy::disallowed_methods, reason = "times to live use the real clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let mut entries = BTreeMap::new();
    store.snapshot_each(|key, value, ttl| {
        let value = match value {
            Theirs::Str(text) => Value::Str(text.to_vec()),
            Theirs::Hash(hash) => {
                Value::Hash(hash.iter().map(|(f, v)| (f.as_slice().to_vec(), v.clone())).collect())
            }
            Theirs::List(list) => Value::List(list.iter().cloned().collect()),
            Theirs::Set(set) => Value::Set(set.iter().map(|m| m.as_slice().to_vec()).collect()),
            Theirs::ZSet(zset) => {
                Value::ZSet(zset.ordered().map(|(m, score)| (m.to_vec(), score)).collect())
            }
        };
        entries.insert(key.to_vec(), Entry { value, deadline: ttl.map(|ttl| now + ttl) });
    });
    entries
}

fn ours(keyspace: &Keyspace) -> BTreeMap<Bytes, Entry> {
    keyspace.entries().map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

/// Asserts that the values are equal, and the deadlines except for the time between two reads.
fn assert_same(one: &BTreeMap<Bytes, Entry>, other: &BTreeMap<Bytes, Entry>) {
    assert!(one.keys().eq(other.keys()), "{:?} and {:?}", one.keys(), other.keys());
    for (key, entry) in one {
        let key_text = String::from_utf8_lossy(key);
        assert_eq!(entry.value, other[key].value, "{key_text}");
        match (entry.deadline, other[key].deadline) {
            (None, None) => {}
            (Some(one), Some(other)) => assert!(one.abs_diff(other) < MINUTE, "{key_text}"),
            different => panic!("{key_text}: {different:?}"),
        }
    }
}

fn run_ours(dir: &Path, commands: &[Vec<Bytes>]) -> Database {
    let mut store = Database::open(dir, Fsync::No).expect("opens");
    for words in commands {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        store.execute(&words).expect("executes");
    }
    store
}

fn run_theirs(log: &Path, commands: &[Vec<Bytes>]) -> Store {
    let mut store = Store::new();
    let mut file = kevy_persist::Aof::open(log, Policy::No).expect("opens");
    for words in commands {
        origin::dispatch(&mut store, words).expect("executes");
        file.append(&Argv::from(words.clone())).expect("appends");
    }
    store
}

#[test]
fn the_origin_reads_our_snapshots_and_our_plain_logs() {
    let mut keys = 0;
    for seed in 0..WORKLOADS {
        let dir = tempfile::tempdir().expect("a directory");
        let store = run_ours(dir.path(), &commands(seed, STEPS));
        let wanted = ours(store.keyspace());
        let (snapshot, log) = (dir.path().join("snapshot"), dir.path().join("plain"));
        export_plain_log(store.keyspace(), &log).expect("exports");
        let nothing = dir.path().join("nothing");
        assert_same(&theirs(&origin::load(&nothing, &log).expect("loads")), &wanted);
        save_snapshot(store.keyspace(), &snapshot).expect("saves");
        assert_same(&theirs(&origin::load(&snapshot, &nothing).expect("loads")), &wanted);
        keys += wanted.len();
    }
    assert!(keys > 300, "only {keys} keys were compared");
}

#[test]
fn our_keyspace_reads_the_origins_logs_and_snapshots() {
    let mut keys = 0;
    for seed in 0..WORKLOADS {
        let dir = tempfile::tempdir().expect("a directory");
        let (snapshot, log) = (dir.path().join(SNAPSHOT), dir.path().join(LOG));
        let store = run_theirs(&log, &commands(seed, STEPS));
        let wanted = theirs(&store);
        let mut keyspace = Keyspace::default();
        replay_aof(&mut keyspace, &log).expect("replays");
        assert_same(&ours(&keyspace), &wanted);
        let mut opened = Database::open(dir.path(), Fsync::Always).expect("opens");
        assert_same(&ours(opened.keyspace()), &wanted);
        opened.execute(&[b"SET", b"one more", b"1"]).expect("executes");
        drop(opened);
        // A snapshot, and a log that starts after it, as the origin leaves them.
        std::fs::remove_file(&log).expect("removes");
        kevy_persist::save_snapshot(&store, &snapshot).expect("saves");
        let mut loaded = Keyspace::default();
        load_snapshot(&mut loaded, &snapshot).expect("loads");
        assert_same(&ours(&loaded), &wanted);
        let mut file = kevy_persist::Aof::open(&log, Policy::Always).expect("opens");
        file.append(&Argv::from(vec![b"INCRBY".to_vec(), b"after".to_vec(), b"1".to_vec()]))
            .expect("appends");
        drop(file);
        for _ in 0..2 {
            let mut opened = Database::open(dir.path(), Fsync::No).expect("opens");
            let after = opened.get(b"after").map(|entry| entry.value.clone());
            assert_eq!(after, Some(Value::Str(b"1".to_vec())));
            let mut found = ours(opened.keyspace());
            found.remove(&b"after"[..]);
            assert_same(&found, &wanted);
            opened.rewrite().expect("rewrites");
        }
        keys += wanted.len();
    }
    assert!(keys > 300, "only {keys} keys were compared");
}

#[test]
fn each_saved_case_of_the_origin_still_reproduces() {
    let folder = sims::corpus().join("origins/kevy-persist");
    crashpoint::check_corpus::<Origin<Always>>(&folder);
    crashpoint::check_corpus::<Origin<EverySec>>(&folder);
    crashpoint::check_corpus::<Origin<No>>(&folder);
}
