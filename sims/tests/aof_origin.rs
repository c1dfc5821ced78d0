//! The keyspace against the published crates whose formats it has: files go both ways; and the
//! cases in which the harness found the origin's bugs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crashpoint::Seed;
use crashpoint::inner::case::Step;
use kevy_persist::{Argv, Fsync as Policy};
use kevy_store::Store;
use sims::aof::origin::{self, Origin};
use sims::aof::{Always, Aof, EverySec, No};
use sims::engines::aof::{
    Bytes, Database, Entry, Fsync, Keyspace, LOG, SNAPSHOT, Value, export_plain_log, load_snapshot,
    replay_aof, save_snapshot,
};

/// Workloads that go each way.
const WORKLOADS: u64 = 120;
/// How far deadlines may differ that both tell from what remains.
const MINUTE: u64 = 60_000;

/// The commands of a workload of the sim, with times to live that outlast the test.
fn commands(seed: u64) -> Vec<Vec<Bytes>> {
    let sim = crashpoint::sim::<Aof<No>>();
    let own = [&b"save"[..], b"snapshot", b"truncate", b"rewrite", b"sync", b"wait"];
    let mut all = Vec::new();
    for step in (sim.generate)(Seed(seed), 60) {
        let Step::Op(words) = step else { continue };
        let mut words: Vec<Bytes> = words.into_iter().map(|word| word.bytes).collect();
        if own.contains(&words[0].as_slice()) {
            continue;
        }
        let timed = words[0] == b"pexpire" || (words[0] == b"set" && words.len() == 5);
        if let Some(last) = words.last_mut().filter(|_| timed) {
            last.extend_from_slice(b"00000");
        }
        all.push(words);
    }
    all
}

/// What the origin's keyspace holds, in our words.
fn theirs(store: &Store) -> BTreeMap<Bytes, Entry> {
    use kevy_store::Value as Theirs;
    #[expect(clippy::disallowed_methods, reason = "times to live end by the real clock")]
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

/// Values are the same, and deadlines but for the time between two looks.
fn same(one: &BTreeMap<Bytes, Entry>, other: &BTreeMap<Bytes, Entry>) {
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
fn the_origin_reads_our_snapshots_and_our_logs_without_annotations() {
    let mut keys = 0;
    for seed in 0..WORKLOADS {
        let dir = tempfile::tempdir().expect("a directory");
        let store = run_ours(dir.path(), &commands(seed));
        let wanted = ours(store.keyspace());
        let (snapshot, log) = (dir.path().join("snapshot"), dir.path().join("plain"));
        export_plain_log(store.keyspace(), &log).expect("exports");
        let nothing = dir.path().join("nothing");
        same(&theirs(&origin::load(&nothing, &log).expect("loads")), &wanted);
        save_snapshot(store.keyspace(), &snapshot).expect("saves");
        same(&theirs(&origin::load(&snapshot, &nothing).expect("loads")), &wanted);
        keys += wanted.len();
    }
    assert!(keys > 300, "{keys} keys are too few to mean something");
}

#[test]
fn ours_reads_the_origins_logs_and_snapshots() {
    let mut keys = 0;
    for seed in 0..WORKLOADS {
        let dir = tempfile::tempdir().expect("a directory");
        let (snapshot, log) = (dir.path().join(SNAPSHOT), dir.path().join(LOG));
        let store = run_theirs(&log, &commands(seed));
        let wanted = theirs(&store);
        let mut keyspace = Keyspace::default();
        replay_aof(&mut keyspace, &log).expect("replays");
        same(&ours(&keyspace), &wanted);
        let mut opened = Database::open(dir.path(), Fsync::Always).expect("opens");
        same(&ours(opened.keyspace()), &wanted);
        opened.execute(&[b"SET", b"one more", b"1"]).expect("executes");
        drop(opened);
        // A snapshot, and a log that begins behind it, as the origin leaves them.
        std::fs::remove_file(&log).expect("removes");
        kevy_persist::save_snapshot(&store, &snapshot).expect("saves");
        let mut loaded = Keyspace::default();
        load_snapshot(&mut loaded, &snapshot).expect("loads");
        same(&ours(&loaded), &wanted);
        let mut file = kevy_persist::Aof::open(&log, Policy::Always).expect("opens");
        file.append(&Argv::from(vec![b"INCRBY".to_vec(), b"behind".to_vec(), b"1".to_vec()]))
            .expect("appends");
        drop(file);
        for _ in 0..2 {
            let mut opened = Database::open(dir.path(), Fsync::No).expect("opens");
            let behind = opened.get(b"behind").map(|entry| entry.value.clone());
            assert_eq!(behind, Some(Value::Str(b"1".to_vec())));
            let mut found = ours(opened.keyspace());
            found.remove(&b"behind"[..]);
            same(&found, &wanted);
            opened.rewrite().expect("rewrites");
        }
        keys += wanted.len();
    }
    assert!(keys > 300, "{keys} keys are too few to mean something");
}

#[test]
fn the_origin_still_fails_in_each_saved_case() {
    let folder = sims::corpus().join("origins/kevy-persist");
    crashpoint::check_corpus::<Origin<Always>>(&folder);
    crashpoint::check_corpus::<Origin<EverySec>>(&folder);
    crashpoint::check_corpus::<Origin<No>>(&folder);
}
