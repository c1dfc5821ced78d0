//! The keyspace where the process has no descriptor left, once (K10): the limit is the process's,
//! so this test has one of its own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sims::engines::aof::{AofError, Bugs, Database, Fsync, Reply};

/// Opens files until there is room for `left` more, and gives them back when it is dropped.
fn exhaust(left: usize) -> Vec<std::fs::File> {
    let mut open = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        open.push(file);
    }
    open.truncate(open.len() - left);
    open
}

/// Rewrites with room for so many more descriptors; says how many of five commands after that were
/// acknowledged, and how many of them are there after reopening.
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
fn a_rewrite_that_runs_out_of_descriptors_acknowledges_nothing_untruly() {
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(64), maximum: before.maximum };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    for left in 0..4 {
        let (_, acknowledged, found) = rewrite_with_room_for(left, Bugs::default());
        assert_eq!(found, 1 + acknowledged as i64, "room for {left}");
    }
    // With the bug of the origin, what is acknowledged goes into a file that has no name.
    let bugs = Bugs { reopened_by_name: true, ..Bugs::default() };
    let lost = (0..4).any(|left| {
        let (_, acknowledged, found) = rewrite_with_room_for(left, bugs);
        found < 1 + acknowledged as i64
    });
    assert!(lost, "the planted bug is found");
    setrlimit(Resource::Nofile, before).expect("the limit as it was");
}
