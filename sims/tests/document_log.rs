//! The document log in a real directory: its features, format, repairs and refusals.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sims::engines::document_log::{
    AsyncStorage, Bugs, Documents, LogEntry, LogError, Storage, SyncStorage,
};
use tempfile::TempDir;

const FIRST: &str = r#"{"cmd":"BASE","collection":"","key":"2d06800538d394c2","value":{"bytes":0,"format":1,"lines":0}}"#;

/// A directory, and a log's path in it.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    (dir, path)
}

fn open(path: &Path) -> SyncStorage {
    SyncStorage::open(path).expect("opens")
}

fn put(key: &str, value: Value) -> LogEntry {
    LogEntry::insert("c", key, value)
}

/// The keys of the entries that a log returns, in order, as one text.
fn keys(storage: &impl Storage) -> String {
    let entries = storage.read_log().expect("reads");
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("reads").lines().map(str::to_owned).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(dir).expect("lists").map(name).collect();
    names.sort();
    names
}

#[test]
fn a_log_is_lines_of_json_and_the_first_says_what_the_log_began_with() {
    let (_dir, path) = place();
    let storage = open(&path);
    assert!(!path.exists(), "opening only reads");
    storage.write_entry(&put("a", json!({"é": [1.5, "\u{0}", null]}))).expect("writes");
    storage.write_batch(&[put("b", json!(2)), LogEntry::delete("c", "a")]).expect("writes");
    storage.write_batch(&[put("b", json!(3)), LogEntry::drop_collection("d")]).expect("writes");
    let wanted = [
        FIRST,
        r#"{"cmd":"INSERT","collection":"c","key":"a","value":{"é":[1.5,"\u0000",null]}}"#,
        r#"{"cmd":"TX_BEGIN","collection":"c","key":"1","value":null}"#,
        r#"{"cmd":"INSERT","collection":"c","key":"b","value":2}"#,
        r#"{"cmd":"DELETE","collection":"c","key":"a","value":null}"#,
        r#"{"cmd":"TX_COMMIT","collection":"c","key":"1","value":null}"#,
        r#"{"cmd":"TX_BEGIN","collection":"","key":"2","value":null}"#,
        r#"{"cmd":"INSERT","collection":"c","key":"b","value":3}"#,
        r#"{"cmd":"DROP","collection":"d","key":"*","value":null}"#,
        r#"{"cmd":"TX_COMMIT","collection":"","key":"2","value":null}"#,
    ];
    assert_eq!(lines(&path), wanted);
    let counts = storage.counts();
    assert_eq!((counts.lines, counts.base_lines, counts.generation), (10, 1, 1));
    assert_eq!(counts.bytes, fs::metadata(&path).expect("is there").len());
}

#[test]
fn entries_are_replayed_in_the_order_of_their_writes_and_a_replay_can_stop() {
    let (_dir, path) = place();
    let storage = open(&path);
    for key in ["a", "b", "c"] {
        storage.write_entry(&put(key, json!(key))).expect("writes");
    }
    storage.write_batch(&[put("d", json!(1)), put("e", json!(2))]).expect("writes");
    assert_eq!(keys(&open(&path)), "abcde");
    for stop in 0..5 {
        let mut seen = String::new();
        let count = storage.replay(&mut |entry, pointer| {
            assert_eq!(storage.read_at(&pointer).expect("reads"), entry);
            seen.push_str(&entry.key);
            if seen.len() > stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((count.expect("reads"), seen.as_str()), (stop as u64, &"abcde"[..=stop]));
    }
}

#[test]
fn numbers_and_texts_come_back_unchanged() {
    let (_dir, path) = place();
    let value = json!([1e-20, 3.333_333_333_333_333_5e-6, -0.0, 0.1 + 0.2, u64::MAX, i64::MIN,
        f64::MAX, f64::MIN_POSITIVE, "\u{0}\n\"\\\u{7f}\u{2028}😀", {"": {"a": [[]]}}, true, null]);
    let documents = Documents::open(open(&path)).expect("opens");
    documents.insert("c", "k", value.clone()).expect("writes");
    for _ in 0..2 {
        let again = Documents::open(open(&path)).expect("opens");
        let found = again.get("c", "k").expect("reads").expect("is there");
        assert_eq!(found.to_string(), value.to_string());
        documents.compact().expect("compacts");
    }
}

#[test]
fn equal_states_compact_to_equal_bytes_whatever_their_histories() {
    let compacted = |entries: &[LogEntry]| {
        let (_dir, path) = place();
        let storage = open(&path);
        storage.write_batch(entries).expect("writes");
        storage.compact().expect("compacts");
        (fs::read(&path).expect("reads"), fs::read(with(&path, ".snapshot.bin")).expect("reads"))
    };
    let (a, b, index) = (put("a", json!(1)), put("b", json!(2)), LogEntry::index("c", "f"));
    let one = compacted(&[a.clone(), b.clone(), index.clone(), LogEntry::schema("c", json!({}))]);
    let two = compacted(&[
        LogEntry::index("x", "f"),
        LogEntry::insert("x", "k", json!(0)),
        LogEntry::schema("c", json!(1)),
        index,
        b,
        put("a", json!(0)),
        put("d", json!(0)),
        a,
        LogEntry::delete("c", "d"),
        LogEntry::schema("c", json!({})),
        LogEntry::drop_collection("x"),
    ]);
    assert_eq!(one, two);
    let text = String::from_utf8(one.0).expect("is text");
    let commands: Vec<&str> = text.lines().map(|line| &line[8..11]).collect();
    assert_eq!(commands, ["BAS", "SCH", "IND", "INS", "INS"]);
}

fn with(path: &Path, more: &str) -> PathBuf {
    PathBuf::from(format!("{}{more}", path.display()))
}

#[test]
fn unknown_commands_of_a_later_version_are_kept() {
    let (_dir, path) = place();
    let other = r#"{"cmd":"TTL","collection":"c","key":"a","value":5,"more":true}"#;
    fs::write(&path, format!("{other}\n{other}\n")).expect("writes");
    open(&path).compact().expect("compacts");
    assert_eq!(lines(&path)[1..], [other, other]);
    let refused = open(&path).write_entry(&LogEntry { cmd: "TTL".into(), ..put("a", json!(1)) });
    assert!(matches!(refused, Err(LogError::Invalid(_))), "{refused:?}");
}

#[test]
fn a_snapshot_replaces_the_front_of_its_log_and_is_ignored_if_damaged_or_of_another_log() {
    let (_dir, path) = place();
    let storage = open(&path);
    let snapshot = with(&path, ".snapshot.bin");
    for key in ["a", "b", "c"] {
        storage.write_entry(&put(key, json!(key.repeat(9)))).expect("writes");
    }
    storage.write_entry(&LogEntry::delete("c", "b")).expect("writes");
    storage.compact().expect("compacts");
    storage.write_entry(&put("d", json!(4))).expect("writes");
    drop(storage);

    // The front of the log is not read if a snapshot covers it: damage there shows that the
    // snapshot was used.
    let log = fs::read(&path).expect("reads");
    let mut damaged = log.clone();
    let at = log.windows(3).position(|three| three == b"aaa").expect("is there");
    damaged[at] = b'x';
    fs::write(&path, &damaged).expect("writes");
    assert_eq!(keys(&open(&path)), "acd");
    let read = Documents::open(open(&path)).expect("opens");
    assert_eq!(read.get("c", "d").expect("reads"), Some(json!(4)));
    let whole = fs::read(&snapshot).expect("reads");
    fs::remove_file(&snapshot).expect("removes");
    let error = SyncStorage::open(&path).expect_err("is damaged");
    assert!(matches!(error, LogError::Corrupted { line: 1, .. }), "{error}");

    // M8, and all other damage to a snapshot: a flipped bit in each byte, and each length.
    fs::write(&path, &log).expect("writes");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&snapshot, &damaged).expect("writes");
        assert_eq!(keys(&open(&path)), "acd", "bit flipped in byte {at}");
        fs::write(&snapshot, &whole[..at]).expect("writes");
        assert_eq!(keys(&open(&path)), "acd", "cut at {at}");
    }
    // The snapshot of another log.
    let (_other_dir, other) = place();
    open(&other).write_entry(&put("z", json!(0))).expect("writes");
    open(&other).compact().expect("compacts");
    fs::copy(with(&other, ".snapshot.bin"), &snapshot).expect("copies");
    assert_eq!(keys(&open(&path)), "acd");
}

#[test]
fn backups_within_one_second_do_not_collide_and_the_last_few_are_kept() {
    let (dir, path) = place();
    let storage = open(&path);
    let mut snapshots = Vec::new();
    for round in 0..8 {
        storage.write_entry(&put("k", json!(round))).expect("writes");
        storage.compact().expect("compacts");
        snapshots.push(fs::read(with(&path, ".snapshot.bin")).expect("reads"));
    }
    assert_eq!(storage.counts().snapshot_error, None);
    assert_eq!(names(dir.path()), ["backup", "log", "log.snapshot.bin"]);
    let folder = dir.path().join("backup");
    let kept = names(&folder);
    let is_backup = |name: &String| name.starts_with("log.snapshot.bin.") && name.ends_with(".bak");
    assert!(kept.len() == 4 && kept.iter().all(is_backup), "{kept:?}");
    let contents: BTreeSet<Vec<u8>> =
        kept.iter().map(|name| fs::read(folder.join(name)).expect("reads")).collect();
    assert!(contents == snapshots[3..7].iter().cloned().collect(), "not the previous snapshots");
}

#[test]
fn a_compaction_succeeds_although_its_snapshot_cannot_be_written() {
    let (dir, path) = place();
    let storage = open(&path);
    storage.write_entry(&put("a", json!(1))).expect("writes");
    fs::create_dir(dir.path().join("log.snapshot.bin.tmp")).expect("creates");
    storage.compact().expect("compacts");
    assert!(storage.counts().snapshot_error.is_some());
    storage.write_entry(&put("b", json!(1))).expect("writes");
    assert_eq!(keys(&open(&path)), "ab");
}

#[test]
fn a_log_torn_anywhere_shows_a_prefix_and_loses_no_later_write() {
    let (_dir, path) = place();
    let storage = open(&path);
    for key in ["a", "b"] {
        storage.write_entry(&put(key, json!(key))).expect("writes");
    }
    storage.write_batch(&[put("c", json!(1)), put("d", json!(2))]).expect("writes");
    let whole = fs::read(&path).expect("reads");
    for size in (FIRST.len()..whole.len()).step_by(5) {
        for zeros in [0, 2000] {
            let mut torn = whole[..size].to_vec();
            torn.resize(size + zeros, 0);
            fs::write(&path, &torn).expect("writes");
            let before = keys(&open(&path));
            assert!("abcd".starts_with(&before) && before != "abc", "{before} at {size}");
            open(&path).write_entry(&put("e", json!(3))).expect("writes");
            open(&path).write_entry(&put("f", json!(4))).expect("writes");
            assert_eq!(keys(&open(&path)), format!("{before}ef"), "at {size}");
        }
    }
}

#[test]
fn the_planted_m5_loses_what_is_written_after_a_torn_line() {
    let (_dir, path) = place();
    let bugs = Bugs { tail_kept: true, ..Bugs::default() };
    open(&path).write_entry(&put("a", json!(1))).expect("writes");
    let torn = fs::read_to_string(&path).expect("reads") + "{\"cmd\":\"INSERT\",\"coll";
    for (bugs, wanted) in [(bugs, "a"), (Bugs::default(), "ab")] {
        fs::write(&path, &torn).expect("writes");
        let storage = SyncStorage::open_with(&path, bugs).expect("opens");
        storage.write_entry(&put("b", json!(2))).expect("writes");
        assert_eq!(keys(&SyncStorage::open_with(&path, bugs).expect("opens")), wanted);
    }
}

#[test]
fn the_planted_m7_shows_another_documents_value() {
    let (_dir, path) = place();
    let line = |key: &str| serde_json::to_string(&put(key, json!(key))).expect("is JSON");
    let length = line("a").len();
    let log = format!("{}\n{}\n{}\n{}\n", line("a"), "x".repeat(length), line("b"), line("c"));
    fs::write(&path, log).expect("writes");
    let error = SyncStorage::open(&path).expect_err("is damaged");
    let wanted = format!("document log damaged at line 2, byte {}: ", length + 1);
    assert!(error.to_string().starts_with(&wanted), "{error}");
    let bugs = Bugs { skipped_lines_shift: true, ..Bugs::default() };
    let storage = SyncStorage::open_with(&path, bugs).expect("opens");
    let documents = Documents::open(storage).expect("opens");
    assert_eq!(documents.get("c", "c").expect("reads"), Some(json!("b")));
}

#[test]
fn no_write_is_lost_after_a_compaction_that_fails_at_the_rename() {
    for old_file_kept in [false, true] {
        let (dir, path) = place();
        let bugs = Bugs { old_file_kept, ..Bugs::default() };
        let storage = SyncStorage::open_with(&path, bugs).expect("opens");
        storage.write_entry(&put("a", json!(1))).expect("writes");
        // A directory in the log's place refuses the rename; the storage has the file open.
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).expect("renames");
        fs::create_dir(&path).expect("creates");
        assert!(matches!(storage.compact(), Err(LogError::Io(_))));
        fs::remove_dir(&path).expect("removes");
        fs::copy(&aside, &path).expect("copies");
        let later = storage.write_entry(&put("b", json!(2)));
        match old_file_kept {
            // M15: the write succeeds, but goes to a file that is no longer the log.
            true => assert!(later.is_ok() && keys(&open(&path)) == "a"),
            false => {
                assert!(matches!(later, Err(LogError::Refused(_))), "{later:?}");
                assert!(matches!(storage.compact(), Err(LogError::Refused(_))));
                open(&path).write_entry(&put("c", json!(3))).expect("writes");
                assert_eq!(keys(&open(&path)), "ac");
            }
        }
    }
}

#[test]
fn a_compaction_that_fails_before_the_rename_leaves_the_log_as_it_was() {
    let (dir, path) = place();
    let storage = open(&path);
    storage.write_entry(&put("a", json!(1))).expect("writes");
    let obstacle = dir.path().join("log.tmp");
    fs::create_dir(&obstacle).expect("creates");
    assert!(matches!(storage.compact(), Err(LogError::Io(_))));
    storage.write_entry(&put("b", json!(2))).expect("writes");
    fs::remove_dir(&obstacle).expect("removes");
    storage.compact().expect("compacts");
    assert_eq!(keys(&open(&path)), "ab");
    assert_eq!(names(dir.path()), ["log", "log.snapshot.bin"]);
}

#[test]
fn a_log_of_an_earlier_process_is_replaced_before_it_counts_as_synced() {
    fn replaced(storage: &impl Storage) {
        let generations = || storage.counts().generation;
        assert_eq!(generations(), 0);
        storage.sync().expect("syncs");
        assert_eq!(generations(), 1, "the name of the file that was found may not be durable");
        storage.sync().expect("syncs");
        assert_eq!((generations(), keys(storage).as_str()), (1, "a"), "this process replaced it");
    }
    let (_dir, path) = place();
    open(&path).write_entry(&put("a", json!(1))).expect("writes");
    replaced(&open(&path));
    replaced(&AsyncStorage::open(&path).expect("opens"));
}

#[test]
fn the_first_write_removes_what_interrupted_calls_left_and_nothing_else() {
    let (dir, path) = place();
    for name in ["log.tmp", "log.new.tmp", "log.snapshot.bin.tmp", "other.tmp"] {
        fs::write(dir.path().join(name), "left over").expect("writes");
    }
    open(&path).write_entry(&put("a", json!(1))).expect("writes");
    assert_eq!(names(dir.path()), ["log", "other.tmp"]);
}

#[test]
fn a_file_that_is_not_a_log_is_refused_and_left_unchanged() {
    let opened = |path: &Path| match SyncStorage::open(path) {
        Ok(storage) => format!("opens with {} entries", storage.read_log().expect("reads").len()),
        Err(LogError::Io(error)) => format!("{:?}", error.kind()),
        Err(error) => error.to_string(),
    };
    let (dir, path) = place();
    assert_eq!(opened(&path), "opens with 0 entries", "no file");
    assert_eq!(opened(dir.path()), "IsADirectory", "M9b: a failed read did not end the open");
    assert_eq!(opened(Path::new("/")), "invalid entry: a log needs a name: /");
    let later = FIRST.replace("\"format\":1", "\"format\":7");
    let encrypted = r#"{"cmd":"ENC","collection":"","key":"","value":"9Bq"}"#;
    for (content, wanted) in [
        ("", "opens with 0 entries"),
        ("\0\0\0\0", "opens with 0 entries"),
        ("PGSS\x02\0", "not a document log"),
        ("#!/bin/sh\n", "not a document log"),
        ("{\"a\":1}\n", "not a document log"),
        (&later, "document log with format 7, which is not supported"),
        (encrypted, "document log with encryption, which is not supported"),
        (
            &format!("{FIRST}\n{FIRST}\n"),
            "document log damaged at line 2, byte 97: the first line of a log inside another",
        ),
    ] {
        fs::write(&path, content).expect("writes");
        assert_eq!(opened(&path), wanted, "{content:?}");
        assert_eq!(fs::read_to_string(&path).expect("reads"), content, "it was changed");
    }
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("links");
    fs::write(&path, format!("{FIRST}\n")).expect("writes");
    assert_eq!(opened(&link), "opens with 0 entries", "the link was not followed");
}

#[test]
fn a_log_without_read_permission_is_refused_and_left_unchanged() {
    let (_dir, path) = place();
    fs::write(&path, format!("{FIRST}\n")).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("sets");
    // The superuser may read any file except a few of the kernel's own.
    let paths = [path.as_path(), Path::new("/proc/sys/vm/compact_memory")];
    let denied = |path: &&Path| {
        fs::File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    for path in paths.into_iter().filter(denied) {
        let wanted = |error: &LogError| match error {
            LogError::Io(error) => error.kind() == ErrorKind::PermissionDenied,
            _ => false,
        };
        let error = SyncStorage::open(path).expect_err("may not be read");
        assert!(wanted(&error), "{error}");
        let error = AsyncStorage::open(path).expect_err("may not be read");
        assert!(wanted(&error), "{error}");
    }
    assert_eq!(fs::metadata(&path).expect("is there").len(), FIRST.len() as u64 + 1);
}

#[test]
fn a_symbolic_link_is_followed_by_reads_and_replaced_by_the_first_write() {
    let (dir, path) = place();
    let target = dir.path().join("target");
    std::os::unix::fs::symlink(&target, &path).expect("links");
    assert_eq!(keys(&open(&path)), "", "a link to nothing is an empty log");
    open(&target).write_entry(&put("a", json!(1))).expect("writes");
    let before = fs::read(&target).expect("reads");
    let storage = open(&path);
    assert_eq!(keys(&storage), "a");
    storage.write_entry(&put("b", json!(2))).expect("writes");
    assert_eq!(keys(&open(&path)), "ab");
    assert!(fs::symlink_metadata(&path).expect("is there").is_file());
    assert_eq!(fs::read(&target).expect("reads"), before, "the target of the link was changed");
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_and_not_an_empty_log() {
    let (dir, path) = place();
    std::os::unix::fs::symlink(dir.path().join("log"), &path).expect("links");
    let error = SyncStorage::open(&path).expect_err("leads to itself");
    assert!(matches!(error, LogError::Io(_)), "{error}");
    // M9: mistaken for an empty log, it is replaced by the next compaction.
    let bugs = Bugs { unreadable_is_empty: true, ..Bugs::default() };
    let storage = SyncStorage::open_with(&path, bugs).expect("opens");
    storage.compact().expect("compacts");
    assert_eq!(lines(&path), [FIRST]);
}

#[test]
fn a_batch_of_the_origin_is_applied_when_it_is_complete_even_if_others_interleave() {
    let (_dir, path) = place();
    let line = |cmd: &str, collection: &str, key: &str| {
        let (collection, value) = (collection.to_owned(), Value::Null);
        let entry = LogEntry { cmd: cmd.to_owned(), collection, key: key.to_owned(), value };
        serde_json::to_string(&entry).expect("is JSON")
    };
    let log = [
        line("TX_BEGIN", "c", "one"),
        line("INSERT", "c", "a"),
        line("TX_BEGIN", "d", "two"),
        line("INSERT", "d", "b"),
        line("INSERT", "c", "c"),
        line("INSERT", "e", "d"),
        line("TX_COMMIT", "c", "one"),
        line("TX_BEGIN", "d", "three"),
        line("INSERT", "d", "e"),
        line("TX_COMMIT", "d", "three"),
        line("TX_BEGIN", "c", "four"),
        line("INSERT", "c", "f"),
    ];
    fs::write(&path, log.join("\n")).expect("writes");
    assert_eq!(keys(&open(&path)), "dace");
    open(&path).compact().expect("compacts");
    let mut kept: Vec<char> = keys(&open(&path)).chars().collect();
    kept.sort_unstable();
    assert_eq!(kept, ['a', 'c', 'd', 'e']);
}

#[test]
fn a_document_replaces_only_one_with_a_lower_version() {
    let (_dir, path) = place();
    let documents = Documents::open(open(&path)).expect("opens");
    let item = |key: &str, version: u64| {
        ("c".to_owned(), key.to_owned(), json!({"_v": version, "of": key}))
    };
    documents.insert("c", "a", json!({"_v": 3})).expect("writes");
    let before = fs::read(&path).expect("reads");
    for batch in [vec![item("b", 1), item("a", 3)], vec![item("b", 2), item("b", 2)]] {
        let refused = documents.insert_batch(&batch);
        assert!(matches!(refused, Err(LogError::Conflict { .. })), "{refused:?}");
    }
    let refused = documents.insert("c", "a", json!({"_v": 3})).expect_err("is no newer");
    assert_eq!(refused.to_string(), "conflict: c/a has version 3, the new one 3");
    assert_eq!(fs::read(&path).expect("reads"), before);
    assert_eq!((documents.count(), documents.get("c", "b").expect("reads")), (1, None));
    documents.insert_batch(&[item("a", 4), item("b", 1), item("b", 2)]).expect("writes");
    documents.insert("c", "a", json!("any")).expect("has no version");
    let documents = Documents::open(open(&path)).expect("opens");
    assert_eq!(documents.get("c", "a").expect("reads"), Some(json!("any")));
    assert_eq!(documents.get("c", "b").expect("reads"), Some(item("b", 2).2));
}

#[test]
fn a_batch_with_an_entry_that_cannot_be_written_is_refused_as_a_whole() {
    let (_dir, path) = place();
    let storage = open(&path);
    for cmd in ["TX_BEGIN", "TX_COMMIT", "BASE", "ENC", ""] {
        let mark = LogEntry { cmd: cmd.to_owned(), ..put("a", Value::Null) };
        let refused = storage.write_batch(&[put("b", json!(1)), mark]);
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{cmd}: {refused:?}");
    }
    let long = put("a", json!("v".repeat(64 << 20)));
    assert!(matches!(storage.write_entry(&long), Err(LogError::Invalid(_))));
    assert!(!path.exists());
    assert_eq!(AsyncStorage::open(&path).expect("opens").read_log().expect("reads"), []);
}
