//! The keyspace in a process that runs out of file descriptors (K10). The limit is per process, so
//! this test has its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sims::engines::aof::{AofError, Bugs, Database, Fsync, Reply};

/// Opens files until only `left` descriptors remain; they are closed when the result is dropped.
fn exhaust(left: usize) -> Vec<std::fs::File> {
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    open.truncate(open.len() - left);
    open
}

/// Rewrites the log while only `left` descriptors remain, then runs five commands. Returns whether
/// the rewrite succeeded, how many commands were acknowledged, and the counter after reopening.
fn rewrite_with_room_for(left: usize, bugs: Bugs) -> (bool, usize, i64) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Database::open_with(dir.path(), Fsync::Always, bugs).expect("opens");
    store.execute(&[b"INCR", b"n"]).expect("executes");
    let held = exhaust(left);
    let rewritten = store.rewrite().is_ok();
    drop(held);
    let mut acknowledged = 0;
    for _ in 0..5 {
        match store.execute(&[b"INCR", b"n"]) {
            Ok(_) => acknowledged += 1,
            Err(AofError::Poisoned) => {}
            Err(error) => panic!("{error}"),
        }
    }
    drop(store);
    let mut store = Database::open(dir.path(), Fsync::Always).expect("opens again");
    let Reply::Int(found) = store.execute(&[b"INCRBY", b"n", b"0"]).expect("reads") else {
        panic!("not a number");
    };
    (rewritten, acknowledged, found)
}

#[test]
fn what_is_acknowledged_after_a_rewrite_without_descriptors_is_kept() {
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(64), maximum: before.maximum };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    for left in 0..4 {
        let (_, acknowledged, found) = rewrite_with_room_for(left, Bugs::default());
        assert_eq!(found, 1 + acknowledged as i64, "room for {left}");
    }
    // With the origin's bug, acknowledged commands go to a file that no longer has a name.
    let bugs = Bugs { reopened_by_name: true, ..Bugs::default() };
    let lost = (0..4).any(|left| {
        let (_, acknowledged, found) = rewrite_with_room_for(left, bugs);
        found < 1 + acknowledged as i64
    });
    assert!(lost, "the planted bug was not found");
    setrlimit(Resource::Nofile, before).expect("the previous limit");
}
