//! The keyspace in a real directory: its features, files, repairs and refusals.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sims::engines::aof::{
    AofError, Bugs, Database, Entry, Fsync, Keyspace, LOG, Reply, SNAPSHOT, Value, load_snapshot,
    replay_aof, save_snapshot,
};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &TempDir) -> Database {
    Database::open(dir.path(), Fsync::Always).expect("opens")
}

fn run(store: &mut Database, line: &str) -> Reply {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    store.execute(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn str(store: &Database, key: &str) -> Option<String> {
    match store.get(key.as_bytes()).map(|entry| &entry.value) {
        Some(Value::Str(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn list(store: &Database, key: &str) -> Vec<String> {
    match store.get(key.as_bytes()).map(|entry| &entry.value) {
        Some(Value::List(items)) => {
            items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A store with every type, closed.
fn filled() -> TempDir {
    let dir = dir();
    let mut store = open(&dir);
    for line in [
        "SET s hello",
        "SET long x PX 100000000",
        "APPEND s _more",
        "INCRBY n 41",
        "INCR n",
        "HSET h a 1 b 2",
        "HINCRBY h a 5",
        "HDEL h b",
        "RPUSH l b c",
        "LPUSH l a",
        "RPUSH l d",
        "RPOP l",
        "SADD t x y z",
        "SREM t y",
        "ZADD z 1.5 a -0 b 1e-20 c",
        "ZINCRBY z 0.1 a",
    ] {
        run(&mut store, line);
    }
    store.execute(&[b"SET", &[0, 13, 10, 255], &[0; 700]]).expect("executes");
    store.close().expect("closes");
    dir
}

fn entries(store: &Database) -> Vec<(Vec<u8>, Entry)> {
    store.entries().map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

#[test]
fn all_types_come_back_after_every_way_to_store_them() {
    let dir = filled();
    let wanted = entries(&open(&dir));
    assert_eq!(wanted.len(), 8);
    type Way = fn(&mut Database);
    let ways: [Way; 4] = [
        |store| store.save().expect("saves"),
        |store| _ = store.rewrite().expect("rewrites"),
        |store| store.snapshot().expect("saves"),
        |store| _ = store.truncate().expect("truncates"),
    ];
    for way in ways.into_iter().cycle().take(12) {
        let mut store = open(&dir);
        way(&mut store);
        assert_eq!(entries(&store), wanted);
        drop(store);
        assert_eq!(entries(&open(&dir)), wanted);
    }
}

#[test]
fn no_command_of_a_snapshot_and_the_log_after_it_is_applied_twice() {
    let dir = dir();
    let mut store = open(&dir);
    run(&mut store, "RPUSH l a b");
    run(&mut store, "SET gone 1");
    store.snapshot().expect("saves");
    run(&mut store, "RPUSH l c");
    run(&mut store, "DEL gone");
    drop(store);
    let mut store = open(&dir);
    assert_eq!(list(&store, "l"), ["a", "b", "c"]);
    store.save().expect("saves");
    run(&mut store, "RPUSH l d");
    store.snapshot().expect("saves");
    run(&mut store, "RPUSH l e");
    assert!(store.truncate().expect("truncates"));
    run(&mut store, "RPUSH l f");
    drop(store);
    let mut store = open(&dir);
    assert_eq!(list(&store, "l"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(str(&store, "gone"), None);
    let stats = store.rewrite().expect("rewrites");
    assert_eq!((stats.keys, stats.bytes), (1, store.size_bytes()));
    assert_eq!((store.size_at_last_rewrite(), store.rewrites_total()), (stats.bytes, 1));
    drop(store);
    assert_eq!(list(&open(&dir), "l"), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn an_expired_key_is_gone_and_a_command_on_it_starts_afresh() {
    let dir = dir();
    let mut store = open(&dir);
    run(&mut store, "INCRBY n 40");
    run(&mut store, "PEXPIRE n 30");
    run(&mut store, "SET kept 1 PX 60000");
    store.save().expect("saves");
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(str(&store, "n"), None);
    drop(store);
    let mut store = open(&dir);
    assert_eq!((str(&store, "n"), str(&store, "kept")), (None, Some("1".into())));
    let before = store.get(b"kept").expect("lives").deadline;
    assert_eq!(run(&mut store, "INCR n"), Reply::Int(1));
    drop(store);
    let store = open(&dir);
    assert_eq!(str(&store, "n"), Some("1".into()));
    assert_eq!(store.get(b"n").expect("lives").deadline, None);
    assert_eq!(store.get(b"kept").expect("lives").deadline, before);
}

#[test]
fn a_refused_command_changes_nothing_and_is_not_logged() {
    let dir = filled();
    let mut store = open(&dir);
    run(&mut store, "SET x 1");
    let (before, size) = (entries(&store), store.size_bytes());
    for line in [
        "INCR s",
        "HSET s a 1",
        "LPOP h",
        "SADD z a",
        "ZADD t 1 a",
        "INCRBY n 9223372036854775807",
        "HINCRBY h a 9223372036854775807",
        "LSET l 9 x",
        "RENAME nothing x",
        "ZADD z nan a",
        "SET s",
        "SELECT 1",
        "EVAL x",
        "SET s v PX",
        "INCRBYFLOAT s 1",
        "DECRBY n -9223372036854775808",
    ] {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let refused = store.execute(&words);
        assert!(matches!(refused, Err(AofError::Command(_))), "{line}: {refused:?}");
    }
    assert_eq!((entries(&store), store.size_bytes()), (before, size));
}

/// The error of opening a directory, or how many keys it opens with.
fn refusal(dir: &TempDir) -> String {
    let mut error = match Database::open(dir.path(), Fsync::Always) {
        Err(error) => error.to_string(),
        Ok(store) => return format!("opens, {} keys", store.keyspace().len()),
    };
    error = error.replace(&dir.path().display().to_string(), "DIR");
    error
}

#[test]
fn foreign_files_are_refused_and_left_unchanged() {
    let with = |file: &str, bytes: &[u8]| {
        let dir = dir();
        fs::write(dir.path().join(file), bytes).expect("writes");
        let said = refusal(&dir);
        assert_eq!(
            fs::read(dir.path().join(file)).is_ok_and(|now| now == bytes),
            !said.starts_with("opens")
        );
        said
    };
    let table = [
        ("empty log", with(LOG, b"")),
        ("text as log", with(LOG, b"hello\n")),
        ("snapshot as log", with(LOG, b"KEVYSNAP\x02\0")),
        ("RDB preamble", with(LOG, b"REDIS0011")),
        ("later log", with(LOG, b"#aof 2 generation=1 follows=none 00000000\r\n")),
        ("first line damaged", with(LOG, b"#aof 1 generation=1 follows=none 00000000\r\n")),
        ("a record alone", with(LOG, b"#record 3 00000000\r\nabc")),
        ("unknown command", with(LOG, b"*1\r\n$4\r\nQUIT\r\n")),
        (
            "inline command",
            with(
                LOG,
                b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\nFLUSHALL\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n",
            ),
        ),
        ("empty snapshot", with(SNAPSHOT, b"")),
        ("text as snapshot", with(SNAPSHOT, b"hello\n")),
        ("later snapshot", with(SNAPSHOT, b"KEVYSNAP\x03\0")),
        ("snapshot without end", with(SNAPSHOT, b"KEVYSNAP\x02")),
        ("bytes after the end", with(SNAPSHOT, b"KEVYSNAP\x02\0\0")),
    ];
    let lines: Vec<String> = table.iter().map(|(what, said)| format!("{what}: {said}")).collect();
    expect_test::expect![[r#"
        empty log: opens, 0 keys
        text as log: invalid format: not a log of commands, but something else
        snapshot as log: invalid format: not a log of commands, but a snapshot
        RDB preamble: invalid format: not a log of commands, but a log with an RDB preamble: write it with `aof-use-rdb-preamble no`
        later log: invalid format: log format 2, not 1
        first line damaged: corrupt: log, first line: its checksum does not match
        a record alone: corrupt: log, byte 0: an annotation without the log's first line
        unknown command: invalid format: log, before byte 14: QUIT: this store has no such command
        inline command: corrupt: log, byte 21: not a record, which no crash explains, and records follow it
        empty snapshot: invalid format: not a snapshot: it does not begin with KEVYSNAP
        text as snapshot: invalid format: not a snapshot: it does not begin with KEVYSNAP
        later snapshot: invalid format: snapshot version 3, not 2
        snapshot without end: corrupt: snapshot, byte 9: 1 bytes expected, but only 0 left
        bytes after the end: corrupt: snapshot, byte 10: bytes after the end"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn a_directory_or_a_link_in_a_files_place_is_refused() {
    let dir = dir();
    fs::create_dir(dir.path().join(LOG)).expect("creates");
    expect_test::expect!["cannot read DIR/append.aof: Is a directory (os error 21)"]
        .assert_eq(&refusal(&dir));
    fs::remove_dir(dir.path().join(LOG)).expect("removes");
    let elsewhere = filled();
    std::os::unix::fs::symlink(elsewhere.path().join(LOG), dir.path().join(LOG)).expect("links");
    expect_test::expect!["invalid format: DIR/append.aof is a symbolic link; the file is replaced by renaming, which would replace the link"].assert_eq(&refusal(&dir));
    expect_test::expect![
        "cannot replace /nonexistent/dir/append.aof: No such file or directory (os error 2)"
    ]
    .assert_eq(
        &Database::open(Path::new("/nonexistent/dir"), Fsync::No).expect_err("fails").to_string(),
    );
}

#[test]
fn the_error_names_a_log_without_read_permission() {
    let dir = filled();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets");
    };
    mode(dir.path(), 0o777);
    mode(&dir.path().join(LOG), 0o000);
    let as_nobody = || {
        // The superuser may read everything, so this thread alone becomes another user.
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("drops");
        }
        refusal(&dir)
    };
    let said = std::thread::scope(|scope| scope.spawn(as_nobody).join()).expect("no panic");
    expect_test::expect!["cannot read DIR/append.aof: Permission denied (os error 13)"]
        .assert_eq(&said);
}

/// A store whose log follows a snapshot with ten keys.
fn saved() -> (TempDir, PathBuf) {
    let dir = dir();
    let mut store = open(&dir);
    for number in 0..10 {
        run(&mut store, &format!("SET k{number} {}", "v".repeat(100 + number)));
    }
    run(&mut store, "RPUSH l a b c");
    store.save().expect("saves");
    drop(store);
    let path = dir.path().join(SNAPSHOT);
    (dir, path)
}

#[test]
fn a_snapshot_with_a_flipped_bit_in_any_byte_is_refused_where_a_log_follows_it() {
    let (dir, path) = saved();
    let whole = fs::read(&path).expect("reads");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).expect("writes");
        let opened = Database::open(dir.path(), Fsync::No);
        assert!(matches!(opened, Err(AofError::Corrupt(_))), "byte {at}");
    }
    fs::remove_file(&path).expect("removes");
    assert!(matches!(Database::open(dir.path(), Fsync::No), Err(AofError::Corrupt(_))));
}

/// K6: zeros at the boundary of an entry read as the end of the snapshot.
#[test]
fn a_zeroed_part_of_a_snapshot_is_refused_and_the_planted_bug_mistakes_it_for_the_end() {
    let (dir, path) = saved();
    let mut bytes = fs::read(&path).expect("reads");
    // Header, then entries of type, flag, key length, key, value length and value.
    let second = 9 + 1 + 1 + 4 + 2 + 4 + 100;
    bytes[second..].fill(0);
    fs::write(&path, &bytes).expect("writes");
    assert!(matches!(Database::open(dir.path(), Fsync::No), Err(AofError::Corrupt(_))));
    let alone = load_snapshot(&mut Keyspace::default(), &path);
    assert!(matches!(alone, Err(AofError::Corrupt(_))), "{alone:?}");
    let bugs = Bugs { snapshot_unverified: true, ..Bugs::default() };
    let opened = Database::open_with(dir.path(), Fsync::No, bugs).expect("opens");
    assert_eq!(opened.keyspace().len(), 1, "ten of eleven keys are lost without an error");
}

/// K7: a count or a length of four billion.
#[test]
fn a_damaged_count_or_length_allocates_no_more_than_the_file_can_fill() {
    let (_dir, path) = saved();
    let whole = fs::read(&path).expect("reads");
    let mut refused = 0;
    for at in (9..whole.len() - 4).filter(|at| at % 115 < 30) {
        let mut bytes = whole.clone();
        bytes[at..at + 4].fill(0xff);
        fs::write(&path, &bytes).expect("writes");
        refused += usize::from(load_snapshot(&mut Keyspace::default(), &path).is_err());
    }
    assert!(refused > 80, "{refused} refused");
    for line in ["*4000000000\r\n$3\r\nSET\r\n", "*3\r\n$3\r\nSET\r\n$4000000000\r\nk"] {
        fs::write(&path, line).expect("writes");
        let mut keyspace = Keyspace::default();
        replay_aof(&mut keyspace, &path).expect("a torn tail");
        assert!(keyspace.is_empty());
    }
}

/// K8: damage that is followed by records.
#[test]
fn a_flipped_bit_in_a_log_is_reported_and_the_planted_bug_ends_the_log_there() {
    let dir = dir();
    let mut store = open(&dir);
    for number in 0..10 {
        run(&mut store, &format!("SET k{number} value"));
    }
    drop(store);
    let path = dir.path().join(LOG);
    let whole = fs::read(&path).expect("reads");
    let at = whole.windows(2).position(|two| two == b"k2").expect("is there");
    let mut bytes = whole.clone();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).expect("writes");
    assert!(matches!(Database::open(dir.path(), Fsync::No), Err(AofError::Corrupt(_))));
    assert_eq!(fs::read(&path).expect("reads"), bytes, "a refused file was changed");
    let bugs = Bugs { damage_ends_log: true, ..Bugs::default() };
    let opened = Database::open_with(dir.path(), Fsync::No, bugs).expect("opens");
    assert_eq!(opened.keyspace().len(), 2, "eight of ten keys are lost without an error");
}

#[test]
fn loading_a_snapshot_adds_to_the_keys_that_exist() {
    let dir = filled();
    let path = dir.path().join("copy");
    save_snapshot(open(&dir).keyspace(), &path).expect("saves");
    let mut keyspace = Keyspace::default();
    keyspace.insert(b"own".to_vec(), Entry { value: Value::Str(b"1".to_vec()), deadline: None });
    load_snapshot(&mut keyspace, &path).expect("loads");
    assert_eq!(keyspace.len(), 9);
    let missing = load_snapshot(&mut keyspace, &dir.path().join("missing"));
    assert!(matches!(missing, Err(AofError::Io { .. })));
    replay_aof(&mut keyspace, &dir.path().join("missing")).expect("a missing log is empty");
    assert_eq!(keyspace.len(), 9);
}

#[test]
fn an_unfinished_transaction_at_the_end_of_a_plain_log_is_dropped() {
    let dir = dir();
    let command = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let arg = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
        format!("*{}\r\n{}", words.len(), words.iter().map(arg).collect::<String>())
    };
    let lines = ["SELECT 0", "INCR a", "MULTI", "INCR b", "EXEC", "MULTI", "INCR a", "INCR c"];
    let log: String = lines.iter().map(|line| command(line)).collect();
    fs::write(dir.path().join(LOG), format!("#TS:1700000000\r\n{log}")).expect("writes");
    let store = open(&dir);
    let shown = ["a", "b", "c"].map(|key| str(&store, key));
    assert_eq!(shown, [Some("1".into()), Some("1".into()), None]);
}
