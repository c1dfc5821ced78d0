//! The append log in a real directory: its features, format, repairs and refusals.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sims::engines::append_log::{
    Bugs, Cursor, Entry, Snapshot, SnapshotError, SnapshotWriter, Update, VersionToken, load,
    load_with,
};
use tempfile::TempDir;

const NEVER: u64 = u64::MAX;

/// A log written by `beyond-slipstream` 0.3.1 with the updates of [`golden_updates`].
const GOLDEN: &str = "504753530200\
    d63bbb980106006e6f64652e62060000007365636f6e64080000000000000001\
    c3446bd30106006e6f64652e61050000006669727374080000000000000002\
    7178f948010500656d7074790000000000\
    41106b5d03080000000000000002\
    5e54ca62010800d0bad0bbd18ed1870400000000ff01fe08ffffffffffffffff\
    7ddafd130106006e6f64652e620d0000007365636f6e642c20616761696e080000000000000003\
    c1733e980206006e6f64652e61080000000000000004\
    5003f0d2020600616273656e74080000000000000005\
    e2850fc303080000000000000005";

/// The same log after that crate compacted it.
const GOLDEN_COMPACT: &str = "504753530200\
    7178f948010500656d7074790000000000\
    7ddafd130106006e6f64652e620d0000007365636f6e642c20616761696e080000000000000003\
    5e54ca62010800d0bad0bbd18ed1870400000000ff01fe08ffffffffffffffff\
    e2850fc303080000000000000005";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).expect("a hex digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn put_versioned(key: &str, value: &[u8], version: VersionToken) -> Update {
    Update::Put(Entry { key: key.to_owned(), value: value.to_vec(), version })
}

fn put(key: &str, value: &[u8], revision: u64) -> Update {
    put_versioned(key, value, VersionToken::from_u64(revision))
}

fn delete(key: &str, revision: u64) -> Update {
    Update::Delete { key: key.to_owned(), version: VersionToken::from_u64(revision) }
}

fn purge(key: &str, revision: u64) -> Update {
    Update::Purge { key: key.to_owned(), version: VersionToken::from_u64(revision) }
}

/// A directory, and a log's path in it.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.snap");
    (dir, path)
}

fn open(path: &Path) -> SnapshotWriter {
    SnapshotWriter::open(path, NEVER).expect("opens")
}

fn write(writer: &mut SnapshotWriter, updates: &[Update], cursor: u64) {
    for update in updates {
        writer.write_update(update).expect("queues");
    }
    writer.checkpoint(&Cursor::from_u64(cursor)).expect("writes");
}

fn loaded(path: &Path) -> Snapshot {
    load(path).expect("loads").expect("is not empty")
}

/// Keys and values, as text.
fn pairs(snapshot: &Snapshot) -> BTreeMap<&str, String> {
    let text = |entry: &Entry| String::from_utf8_lossy(&entry.value).into_owned();
    snapshot.entries.iter().map(|(key, entry)| (key.as_str(), text(entry))).collect()
}

fn names(dir: &TempDir) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(dir).expect("lists").map(name).collect();
    names.sort();
    names
}

fn golden_updates(writer: &mut SnapshotWriter) {
    let first = [
        put("node.b", b"second", 1),
        put("node.a", b"first", 2),
        put_versioned("empty", b"", VersionToken::unknown()),
    ];
    write(writer, &first, 2);
    let second = [
        put("ключ", &[0, 255, 1, 254], u64::MAX),
        put("node.b", b"second, again", 3),
        delete("node.a", 4),
        purge("absent", 5),
    ];
    write(writer, &second, 5);
}

#[test]
fn the_same_updates_give_the_same_bytes_as_the_origin() {
    let (_dir, path) = place();
    let mut writer = open(&path);
    golden_updates(&mut writer);
    assert_eq!(fs::read(&path).expect("reads"), bytes(GOLDEN));
    writer.compact().expect("compacts");
    assert_eq!(fs::read(&path).expect("reads"), bytes(GOLDEN_COMPACT));
}

#[test]
fn a_log_of_the_origin_loads() {
    for golden in [GOLDEN, GOLDEN_COMPACT] {
        let (_dir, path) = place();
        fs::write(&path, bytes(golden)).expect("writes");
        let snapshot = loaded(&path);
        assert_eq!(snapshot.cursor.as_u64(), Some(5));
        assert_eq!(snapshot.entries.keys().collect::<Vec<_>>(), ["empty", "node.b", "ключ"]);
        assert_eq!(snapshot.entries["node.b"].value, b"second, again");
        assert_eq!(snapshot.entries["node.b"].version.as_u64(), Some(3));
        assert!(snapshot.entries["empty"].version.is_unknown());
        assert_eq!(snapshot.entries["ключ"].value, [0, 255, 1, 254]);
    }
}

#[test]
fn a_reopened_log_shows_what_was_written_and_is_appended_to() {
    let (_dir, path) = place();
    write(&mut open(&path), &[put("a", b"1", 1), put("b", b"2", 2)], 2);
    write(&mut open(&path), &[delete("a", 3), put("c", b"3", 4), purge("absent", 5)], 5);
    let snapshot = loaded(&path);
    assert_eq!(pairs(&snapshot), [("b", "2".into()), ("c", "3".into())].into());
    assert_eq!(snapshot.cursor, Cursor::from_u64(5));
}

#[test]
fn an_empty_log_loads_as_none_and_a_cursor_alone_as_some() {
    let (_dir, path) = place();
    assert_eq!(load(&path).expect("loads"), None);
    let mut writer = open(&path);
    assert_eq!(load(&path).expect("loads"), None);
    writer.checkpoint(&Cursor::none()).expect("writes");
    assert_eq!(load(&path).expect("loads"), None);
    writer.checkpoint(&Cursor::from_u64(42)).expect("writes");
    let snapshot = loaded(&path);
    assert_eq!((snapshot.entries.len(), snapshot.cursor.as_u64()), (0, Some(42)));
}

#[test]
fn tokens_of_every_length_up_to_ten_come_back() {
    let (_dir, path) = place();
    let mut writer = open(&path);
    for len in 0..=10 {
        let token = VersionToken::from_bytes(&vec![0xfe; len]).expect("at most ten bytes");
        writer.write_update(&put_versioned(&len.to_string(), b"v", token)).expect("queues");
        writer.checkpoint(&Cursor::from_version(token)).expect("writes");
    }
    let snapshot = loaded(&path);
    for (key, entry) in &snapshot.entries {
        assert_eq!(entry.version.as_bytes().len().to_string(), *key);
    }
    assert_eq!(snapshot.cursor.version().as_bytes(), [0xfe; 10]);
    assert!(matches!(VersionToken::from_bytes(&[0; 11]), Err(SnapshotError::InvalidFormat(_))));
}

#[test]
fn stale_keys_are_those_missing_from_the_given_ones() {
    let (_dir, path) = place();
    write(&mut open(&path), &[put("a", b"", 1), put("b", b"", 2), put("c", b"", 3)], 3);
    let snapshot = loaded(&path);
    assert_eq!(snapshot.stale_keys(["a", "c", "d"]), ["b"]);
    assert_eq!(snapshot.stale_keys([]), ["a", "b", "c"]);
}

#[test]
fn a_checkpoint_says_when_to_compact_and_compaction_resets_the_count() {
    let (_dir, path) = place();
    let mut writer = SnapshotWriter::open(&path, 100).expect("opens");
    let mut asked = Vec::new();
    for revision in 0..20 {
        writer.write_update(&put("key", b"0123456789", revision)).expect("queues");
        if writer.checkpoint(&Cursor::from_u64(revision)).expect("writes") {
            asked.push(revision);
            writer.compact().expect("compacts");
        }
    }
    // 33 bytes of put and 14 of cursor: the third round exceeds 100.
    assert_eq!(asked, [2, 5, 8, 11, 14, 17]);
    assert_eq!(pairs(&loaded(&path)), [("key", "0123456789".into())].into());
}

#[test]
fn an_update_without_a_checkpoint_survives_compaction_and_drop() {
    let (_dir, path) = place();
    let mut writer = open(&path);
    writer.write_update(&put("a", b"1", 1)).expect("queues");
    writer.compact().expect("compacts");
    writer.write_update(&put("b", b"2", 2)).expect("queues");
    assert_eq!(pairs(&loaded(&path)), [("a", "1".into())].into());
    drop(writer);
    assert_eq!(pairs(&loaded(&path)), [("a", "1".into()), ("b", "2".into())].into());
}

#[test]
fn the_same_state_compacts_to_the_same_bytes() {
    let compacted = |updates: &[Update]| {
        let (_dir, path) = place();
        let mut writer = open(&path);
        write(&mut writer, updates, 9);
        writer.compact().expect("compacts");
        fs::read(&path).expect("reads")
    };
    let one = compacted(&[put("a", b"1", 1), put("b", b"2", 2)]);
    let two =
        compacted(&[put("b", b"0", 0), put("c", b"", 0), put("b", b"2", 2), delete("c", 1), {
            put("a", b"1", 1)
        }]);
    assert_eq!(one, two);
}

#[test]
fn open_leaves_a_compact_log_unchanged_and_rewrites_one_with_many_cursors() {
    let (_dir, path) = place();
    write(&mut open(&path), &[put("b", b"2", 1), put("a", b"1", 2)], 2);
    let written = fs::read(&path).expect("reads");
    drop(open(&path));
    assert_eq!(fs::read(&path).expect("reads"), written);

    let mut writer = open(&path);
    for cursor in 3..13 {
        writer.checkpoint(&Cursor::from_u64(cursor)).expect("writes");
    }
    drop(writer);
    drop(open(&path));
    assert_eq!(fs::read(&path).expect("reads").len(), written.len());
    assert_eq!(loaded(&path).cursor.as_u64(), Some(12));
}

#[test]
fn large_values_and_the_longest_key_come_back_and_a_longer_one_is_refused() {
    let (_dir, path) = place();
    let mut writer = open(&path);
    let longest = "k".repeat(65_535);
    write(&mut writer, &[put(&longest, &vec![0xab; 1_000_000], 1)], 1);
    let refused = writer.write_update(&put(&"k".repeat(65_536), b"", 2));
    assert!(matches!(refused, Err(SnapshotError::InvalidFormat(_))), "{refused:?}");
    let refused = writer.write_update(&delete(&"k".repeat(65_536), 2));
    assert!(matches!(refused, Err(SnapshotError::InvalidFormat(_))), "{refused:?}");
    write(&mut writer, &[put("after", b"1", 3)], 3);
    let snapshot = loaded(&path);
    assert_eq!(snapshot.entries[&longest].value, vec![0xab; 1_000_000]);
    assert_eq!(snapshot.entries.len(), 2);
}

#[test]
fn a_path_without_a_file_name_is_refused_and_a_bare_name_is_accepted() {
    for path in ["/", "", ".."] {
        let refused = SnapshotWriter::open(Path::new(path), NEVER);
        assert!(matches!(refused, Err(SnapshotError::InvalidFormat(_))), "{path:?}: {refused:?}");
    }
    let relative = Path::new("a-bare-name.snap");
    open(relative).compact().expect("compacts in the current directory");
    fs::remove_file(relative).expect("is there");
}

#[test]
fn open_alone_repairs_a_log_torn_at_any_byte_and_it_can_be_appended_to() {
    let whole = bytes(GOLDEN);
    for size in 0..whole.len() {
        for zeros in [0, 3, 600].into_iter().take(if size % 8 == 0 { 3 } else { 1 }) {
            let (dir, path) = place();
            let mut torn = whole[..size].to_vec();
            torn.resize(size + zeros, 0);
            fs::write(&path, &torn).expect("writes");
            let before = load(&path).expect("loads").unwrap_or_default();
            write(&mut open(&path), &[put("new", b"record", 7)], 7);
            let mut wanted = pairs(&before);
            wanted.insert("new", "record".into());
            let after = loaded(&path);
            assert_eq!(pairs(&after), wanted, "torn at {size} and {zeros} zeros");
            assert_eq!(after.cursor.as_u64(), Some(7));
            assert_eq!(names(&dir), ["log.snap"]);
        }
    }
}

#[test]
fn load_never_writes() {
    let whole = bytes(GOLDEN);
    for size in [0, 3, 6, 50, whole.len()] {
        let (dir, path) = place();
        fs::write(&path, &whole[..size]).expect("writes");
        fs::write(dir.path().join(".tmp-log.snap"), b"left over").expect("writes");
        load(&path).expect("loads");
        assert_eq!(fs::read(&path).expect("reads"), whole[..size]);
        assert_eq!(names(&dir), [".tmp-log.snap", "log.snap"]);
    }
}

#[test]
fn open_removes_what_an_interrupted_compaction_left_and_nothing_else() {
    let (dir, path) = place();
    for name in [".tmp-log.snap", ".tmp-other.snap", ".tmpAbCdEf"] {
        fs::write(dir.path().join(name), b"left over").expect("writes");
    }
    drop(open(&path));
    assert_eq!(names(&dir), [".tmp-other.snap", ".tmpAbCdEf", "log.snap"]);
}

#[test]
fn damage_followed_by_records_is_an_error_and_open_leaves_the_file_unchanged() {
    let (_dir, path) = place();
    let mut damaged = bytes(GOLDEN);
    damaged[60] ^= 0x10;
    fs::write(&path, &damaged).expect("writes");
    assert!(matches!(load(&path), Err(SnapshotError::Corrupted)));
    assert!(matches!(SnapshotWriter::open(&path, NEVER), Err(SnapshotError::Corrupted)));
    assert_eq!(fs::read(&path).expect("reads"), damaged);
}

#[test]
fn a_file_of_another_kind_is_an_error_that_says_what_is_wrong() {
    let (_dir, path) = place();
    for (content, says) in [
        (b"XXXX\x02\x00".as_slice(), "bad magic"),
        (b"#!/bin/sh\n", "bad magic"),
        (b"PGSS\x01\x00", "unsupported version 1"),
        (b"PGSS\x03\x00rest", "unsupported version 3"),
    ] {
        fs::write(&path, content).expect("writes");
        let error = load(&path).expect_err("not a log");
        assert_eq!(error.to_string(), format!("invalid snapshot format: {says}"));
        assert!(SnapshotWriter::open(&path, NEVER).is_err());
        assert_eq!(fs::read(&path).expect("reads"), content);
    }
}

#[test]
fn an_io_error_keeps_its_source() {
    let (dir, _path) = place();
    let error = load(dir.path()).expect_err("a directory is not a log");
    let source = std::error::Error::source(&error).expect("has a source");
    assert!(source.downcast_ref::<std::io::Error>().is_some(), "{source:?}");
}

#[test]
fn a_compaction_that_fails_before_the_rename_leaves_the_writer_as_it_was() {
    let (dir, path) = place();
    let mut writer = open(&path);
    write(&mut writer, &[put("a", b"1", 1)], 1);
    // A directory in the temporary file's place cannot be removed as a file.
    let obstacle = dir.path().join(".tmp-log.snap");
    fs::create_dir(&obstacle).expect("creates");
    assert!(matches!(writer.compact(), Err(SnapshotError::Io(_))));
    write(&mut writer, &[put("b", b"2", 2)], 2);
    fs::remove_dir(&obstacle).expect("removes");
    writer.compact().expect("compacts");
    assert_eq!(pairs(&loaded(&path)), [("a", "1".into()), ("b", "2".into())].into());
}

#[test]
fn a_compaction_that_fails_at_the_rename_poisons_the_writer() {
    let (dir, path) = place();
    let mut writer = open(&path);
    write(&mut writer, &[put("a", b"1", 1)], 1);
    // The writer has the file open; a directory in its place refuses the rename.
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).expect("renames");
    fs::create_dir(&path).expect("creates");
    assert!(matches!(writer.compact(), Err(SnapshotError::Io(_))));
    fs::remove_dir(&path).expect("removes");
    fs::rename(&aside, &path).expect("renames");

    assert!(writer.write_update(&put("b", b"2", 2)).is_err());
    assert!(writer.checkpoint(&Cursor::from_u64(2)).is_err());
    assert!(writer.flush().is_err());
    assert!(writer.sync().is_err());
    assert!(writer.compact().is_err());
    drop(writer);
    write(&mut open(&path), &[put("c", b"3", 3)], 3);
    assert_eq!(pairs(&loaded(&path)), [("a", "1".into()), ("c", "3".into())].into());
}

#[test]
fn the_first_sync_after_reopening_a_log_replaces_the_file() {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::metadata(path).expect("is there").ino();
    let (_dir, path) = place();
    let mut writer = open(&path);
    write(&mut writer, &[put("a", b"1", 1)], 1);
    let own = inode(&path);
    writer.sync().expect("syncs");
    assert_eq!(inode(&path), own);
    drop(writer);

    let mut writer = open(&path);
    assert_eq!(inode(&path), own);
    // Keeps the inode in use, so that its number is not reused.
    let _held = fs::File::open(&path).expect("opens");
    writer.sync().expect("syncs");
    assert_ne!(inode(&path), own);
    let replaced = inode(&path);
    writer.sync().expect("syncs");
    assert_eq!(inode(&path), replaced);
}

#[test]
fn the_planted_bugs_of_open_lose_what_is_appended_after_a_torn_tail() {
    let (_dir, path) = place();
    let torn_first = &bytes(GOLDEN)[..20];
    for bugs in [
        Bugs { tail_kept: true, ..Bugs::default() },
        Bugs { tail_kept_if_nothing_precedes: true, ..Bugs::default() },
    ] {
        fs::write(&path, torn_first).expect("writes");
        assert_eq!(load_with(&path, bugs).expect("loads"), None);
        let mut writer = SnapshotWriter::open_with(&path, NEVER, bugs).expect("opens");
        write(&mut writer, &[put("a", b"1", 1)], 1);
        drop(writer);
        assert_ne!(load_with(&path, bugs).ok().flatten().map(|s| s.entries.len()), Some(1));
    }
}
