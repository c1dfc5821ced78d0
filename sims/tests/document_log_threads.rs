//! The document log with several threads in a real directory: clients, compactions, readers, and
//! the background writer with its deadline.
#![expect(clippy::disallowed_methods, reason = "these threads and clocks are real")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crashpoint::inner::oracle::{Crash, Found, NoViolation, Observed, Oracle, ReadBack};
use crashpoint::{CrashKind, Engine, Sim, State, Time};
use serde_json::{Value, json};
use sims::document_log::{Clients, DocOp, Document, DocumentLog, SyncMode, item};
use sims::engines::document_log::{AsyncStorage, Bugs, Documents, LogEntry, Storage, SyncStorage};
use tempfile::TempDir;

/// The number of batches of each client.
const BATCHES: usize = 30;
/// The number of clients.
const CLIENTS: usize = 4;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    (dir, path)
}

/// Clients write batches of two documents and single ones, each client in its own collection, while
/// another thread compacts. Returns how many documents are missing when the log is reopened, and
/// how many batches are torn.
fn missing_after<S: Storage>(storage: S, path: &Path) -> (usize, usize) {
    let documents = Documents::open(storage).expect("opens");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let documents = &documents;
                scope.spawn(move || {
                    let name = format!("c{client}");
                    for round in 0..BATCHES {
                        let doc =
                            |side: &str| (name.clone(), format!("{side}{round}"), json!(round));
                        documents.insert_batch(&[doc("a"), doc("b")]).expect("writes");
                        documents.insert(&name, &format!("s{round}"), json!(0)).expect("writes");
                    }
                })
            })
            .collect();
        let compacting = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                documents.compact().expect("compacts");
                std::thread::yield_now();
            }
        });
        clients.into_iter().for_each(|client| client.join().expect("ends"));
        done.store(true, Ordering::Relaxed);
        compacting.join().expect("ends");
    });
    assert_eq!(documents.count(), CLIENTS * BATCHES * 3);
    drop(documents);
    let again = Documents::open(SyncStorage::open(path).expect("opens")).expect("opens");
    let has = |name: &str, key: String| again.get(name, &key).expect("reads").is_some();
    let mut torn = 0;
    for client in 0..CLIENTS {
        let name = format!("c{client}");
        let whole =
            |round: &usize| has(&name, format!("a{round}")) == has(&name, format!("b{round}"));
        torn += (0..BATCHES).filter(|round| !whole(round)).count();
    }
    (CLIENTS * BATCHES * 3 - again.count(), torn)
}

#[test]
fn clients_and_compactions_at_the_same_time_lose_nothing() {
    let (_dir, path) = place();
    assert_eq!(missing_after(SyncStorage::open(&path).expect("opens"), &path), (0, 0));
    let (_dir, path) = place();
    assert_eq!(missing_after(AsyncStorage::open(&path).expect("opens"), &path), (0, 0));
}

/// Whether a planted bug loses anything in 20 rounds.
fn loses(bugs: Bugs) -> bool {
    (0..20).any(|_| {
        let (_dir, path) = place();
        missing_after(SyncStorage::open_with(&path, bugs).expect("opens"), &path) != (0, 0)
    })
}

#[test]
fn the_planted_m12_loses_what_is_written_during_a_compaction() {
    assert!(loses(Bugs { compaction_forgets: true, ..Bugs::default() }));
}

#[test]
fn the_planted_m13_loses_batches_that_interleave() {
    assert!(loses(Bugs { batches_interleave: true, ..Bugs::default() }));
}

#[test]
fn a_place_still_reads_its_entry_after_concurrent_compactions() {
    fn check(storage: &impl Storage) {
        let entry = |n: u32| {
            LogEntry::insert("c", &n.to_string(), json!({"n": n, "t": "é".repeat(n as usize)}))
        };
        let mut places = Vec::new();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    storage.compact().expect("compacts");
                }
            });
            for n in 0..60 {
                places.push((n, storage.write_entry(&entry(n)).expect("writes")));
                for (n, place) in places.iter().rev().take(5) {
                    assert_eq!(storage.read_at(place).expect("reads"), entry(*n));
                }
                storage.write_entry(&LogEntry::delete("c", &n.to_string())).expect("writes");
            }
            done.store(true, Ordering::Relaxed);
        });
        for (n, place) in &places {
            assert_eq!(storage.read_at(place).expect("reads"), entry(*n));
        }
        assert_eq!(storage.counts().queued, 0, "a compaction left entries in memory");
    }
    let (_dir, path) = place();
    check(&SyncStorage::open(&path).expect("opens"));
    let (_dir, path) = place();
    let storage = AsyncStorage::open(&path).expect("opens");
    storage.compact().expect("compacts");
    check_queue_is_read(&storage);
}

/// Asserts that a queued entry is read as if it were written.
fn check_queue_is_read(storage: &AsyncStorage) {
    let wanted = LogEntry::insert("c", "k", json!("queued"));
    let place = storage.write_entry(&wanted).expect("queues");
    assert_eq!(storage.read_at(&place).expect("reads"), wanted);
    assert_eq!(storage.read_log().expect("reads"), std::slice::from_ref(&wanted));
    storage.flush().expect("writes");
    assert_eq!(storage.counts().queued, 0);
    assert_eq!(storage.read_at(&place).expect("reads"), wanted);
}

/// How many entries a log has on disk.
fn on_disk(path: &Path) -> usize {
    match path.exists() {
        false => 0,
        true => SyncStorage::open(path).expect("opens").read_log().expect("reads").len(),
    }
}

#[test]
fn a_write_reaches_the_disk_by_itself_and_with_a_flush_or_a_drop() {
    let (_dir, path) = place();
    let storage = AsyncStorage::open(&path).expect("opens");
    let put = |n: usize| LogEntry::insert("c", &n.to_string(), json!(n));
    storage.write_entry(&put(0)).expect("queues");
    let waited = Instant::now();
    while on_disk(&path) == 0 {
        assert!(waited.elapsed() < Duration::from_secs(20), "it was not written");
        std::thread::sleep(Duration::from_millis(5));
    }
    for n in 1..10 {
        storage.write_entry(&put(n)).expect("queues");
        storage.flush().expect("writes");
        assert_eq!(on_disk(&path), n + 1);
    }
    storage.write_batch(&[put(10), put(11)]).expect("queues");
    drop(storage);
    assert_eq!(on_disk(&path), 12);
}

/// Writes steadily for half a second. Returns how many entries are on disk then; `None` if the
/// machine made a pause between two writes.
fn on_disk_after_steady_writes(bugs: Bugs) -> Option<usize> {
    let (_dir, path) = place();
    let storage = AsyncStorage::open_with(&path, bugs).expect("opens");
    let (begin, mut last, mut pause) = (Instant::now(), Instant::now(), Duration::ZERO);
    for n in 0_usize.. {
        storage.write_entry(&LogEntry::insert("c", &n.to_string(), Value::Null)).expect("queues");
        pause = pause.max(last.elapsed());
        last = Instant::now();
        if begin.elapsed() > Duration::from_millis(500) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let found = on_disk(&path);
    (pause.max(last.elapsed()) < Duration::from_millis(40)).then_some(found)
}

#[test]
fn steady_writes_postpone_the_deadline_only_with_the_planted_m10() {
    let tried = |bugs: Bugs| (0..5).find_map(|_| on_disk_after_steady_writes(bugs));
    // A machine too busy for steady writes proves nothing.
    if let Some(found) = tried(Bugs::default()) {
        assert!(found > 20, "only {found} entries");
    }
    if let Some(found) = tried(Bugs { flush_on_idle: true, ..Bugs::default() }) {
        assert_eq!(found, 0);
    }
}

#[test]
fn a_background_writer_that_fails_reports_it_keeps_the_queue_and_retries() {
    let (dir, path) = place();
    let storage = AsyncStorage::open(&path).expect("opens");
    let put = |key: &str| LogEntry::insert("c", key, json!(key));
    // The first write creates a new file, which a directory in its place prevents.
    let obstacle = dir.path().join("log.new.tmp");
    fs::create_dir(&obstacle).expect("creates");
    let place = storage.write_entry(&put("a")).expect("queues");
    assert!(storage.flush().is_err());
    assert!(storage.write_entry(&put("b")).is_err(), "it was queued");
    assert_eq!(storage.read_at(&place).expect("reads"), put("a"));
    fs::remove_dir(&obstacle).expect("removes");
    let waited = Instant::now();
    while storage.write_entry(&put("c")).is_err() {
        assert!(waited.elapsed() < Duration::from_secs(20), "it did not retry");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(storage);
    let read = SyncStorage::open(&path).expect("opens").read_log().expect("reads");
    assert_eq!(read, [put("a"), put("c")]);
}

type Shared = DocumentLog<Clients<SyncMode>>;

/// The state that a process crash at this moment would leave, as the sim's adapter reads it.
fn left(path: &Path) -> State {
    let dir = tempfile::tempdir().expect("a directory");
    if path.exists() {
        fs::copy(path, dir.path().join("log")).expect("copies");
    }
    let mut engine = <Shared as Sim>::Engine::open(dir.path()).expect("opens");
    engine.scan().expect("reads")
}

fn judge(oracle: &Oracle<<Shared as Sim>::Model>, state: State) -> Result<NoViolation, String> {
    let found = Found::Read(ReadBack { state, ..ReadBack::default() });
    let seen = Observed { from: Time::START, to: Time::START, found };
    let crash = Crash { kind: CrashKind::Process, at: Time::START, creating: false };
    oracle.check(&crash, &seen).map_err(|violation| format!("{violation:?}"))
}

/// Three clients work on the same documents. At some moments the oracle checks that the state which
/// a process crash would leave agrees with one of the orders that their overlapping calls allow.
#[test]
fn the_oracle_accepts_the_states_that_concurrent_clients_leave_on_a_real_disk() {
    let (_dir, path) = place();
    let documents = Documents::open(SyncStorage::open(&path).expect("opens")).expect("opens");
    let oracle = Mutex::new((Oracle::<<Shared as Sim>::Model>::new(Shared::promises()), 0_u32));
    let judged = Mutex::new(0);
    std::thread::scope(|scope| {
        for client in 0..3_usize {
            let (documents, oracle, judged, path) = (&documents, &oracle, &judged, &path);
            scope.spawn(move || {
                for round in 0..25_usize {
                    let op = client_op(client, round);
                    let step = {
                        let mut held = oracle.lock().expect("not poisoned");
                        held.1 += 1;
                        let step = held.1;
                        held.0.issue(step, client, &op, Time::START);
                        step
                    };
                    do_on(documents, &op);
                    let mut held = oracle.lock().expect("not poisoned");
                    held.0.returned(step, Ok(crashpoint::Ack::DURABLE), Time::START);
                    if round % 5 == client {
                        // While this is held no call is issued or returns; others are in flight.
                        assert_eq!(judge(&held.0, left(path)), Ok(NoViolation::Checked));
                        *judged.lock().expect("not poisoned") += 1;
                    }
                }
            });
        }
    });
    let (oracle, _) = oracle.into_inner().expect("not poisoned");
    assert!(!oracle.lost_track());
    assert_eq!(judged.into_inner().expect("not poisoned"), 15);
    let mut state = left(&path);
    assert_eq!(judge(&oracle, state.clone()), Ok(NoViolation::Checked));
    // The oracle would have noticed a wrong value.
    state.set(item("c", "k0"), "\"never written\"".to_owned());
    assert!(judge(&oracle, state).is_err());
}

fn client_op(client: usize, round: usize) -> DocOp {
    let document = |key: usize| Document {
        collection: "c".to_owned(),
        key: format!("k{}", key % 4),
        version: 0,
        text: format!("{client}-{round}"),
    };
    match (client + round) % 7 {
        0 => DocOp::Batch(vec![document(round), document(round + 1)]),
        3 => DocOp::Compact,
        5 => DocOp::Delete("c".to_owned(), format!("k{}", round % 4)),
        _ => DocOp::Put(document(round + client)),
    }
}

fn do_on(documents: &Documents<SyncStorage>, op: &DocOp) {
    let done = match op {
        DocOp::Put(new) => documents.insert(&new.collection, &new.key, new.value()),
        DocOp::Batch(new) => {
            documents.insert_batch(&new.iter().map(Document::item).collect::<Vec<_>>())
        }
        DocOp::Delete(collection, key) => documents.delete(collection, key),
        _ => documents.compact(),
    };
    done.expect("works");
}
