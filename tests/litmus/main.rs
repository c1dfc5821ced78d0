//! The model of the disk compared with the states that real kernels leave, and with published
//! results.
#![expect(clippy::print_stdout, reason = "the table of mutations, on request")]

mod ace;
mod failures;
mod lists;
mod mutations;
mod real;
mod seen;
mod xfstests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crashpoint::Profile;
use crashpoint::inner::litmus::{Program, explore};

/// The folder of programs and observations.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litmus")
}

/// The program of a file.
fn program(name: &str) -> Program {
    let text = std::fs::read_to_string(folder().join(format!("{name}.litmus"))).expect("a program");
    Program::parse(&text).expect("it parses")
}

/// A program on one line.
fn inline(text: &str) -> Program {
    Program::parse(&text.replace("; ", "\n")).expect("it parses")
}

/// The states of a program, each as one line.
fn allowed(program: &Program, profile: &Profile, tear: bool) -> BTreeSet<String> {
    let states = explore(program, profile, tear).expect("it runs");
    states.into_iter().map(|state| state.state.join("; ")).collect()
}

#[test]
fn a_program_whose_call_fails_names_its_line() {
    let program = inline("setup; creat f; body; creat g; creat f");
    let error = explore(&program, &Profile::POSIX, false).expect_err("f exists");
    assert_eq!(error.to_string(), "line 5, column 1: the call fails with EEXIST");
}

#[test]
fn a_state_carries_the_fewest_relaxations_that_explain_it() {
    let names = |profile: &Profile, text: &str, state: &str| {
        let states = explore(&inline(text), profile, false).expect("it runs");
        let found = states.into_iter().find(|found| found.state.join("; ") == state);
        let relaxations = found.expect("the state is allowed").relaxations;
        relaxations.iter().map(|relaxation| relaxation.name()).collect::<Vec<_>>().join(" ")
    };
    let (ext4, posix) = (Profile::EXT4, Profile::POSIX);
    let append = "setup; write f 0 4096 o; body; append f 4096 n";
    assert_eq!(names(&ext4, append, "f=o*4096 n*4096"), "");
    assert_eq!(names(&ext4, append, "f=o*4096"), "");
    assert_eq!(
        names(&ext4, append, "f=o*4096 .*4096"),
        "lost-unsynced-data size-before-data zero-tail"
    );
    let replace = "setup; write f 0 9 o; body; write t 0 9 n; rename t f; mark m";
    assert_eq!(names(&ext4, replace, "f=; mark:m"), "lost-unsynced-data metadata-overtakes-data");
    let late = "setup; write f 0 9 o; body; creat g; write f 0 9 n; mark m";
    assert_eq!(
        names(&ext4, late, "f=n*9; mark:m"),
        "lost-unsynced-data overwrite-overtakes-metadata"
    );
    let two = "setup; write f 0 8192 o; body; write f 0 4096 a; write f 4096 4096 b; mark m";
    assert_eq!(names(&ext4, two, "f=o*4096 b*4096; mark:m"), "lost-unsynced-data data-reorder");
    let synced = "body; creat f; fsync f; mark m";
    assert_eq!(names(&posix, synced, "mark:m"), "lost-unsynced-data dirent-lost-after-file-fsync");
    let renamed = "setup; write f 0 9 o; body; rename f g; fdatasync g; mark m";
    assert_eq!(names(&ext4, renamed, "f=o*9; mark:m"), "lost-unsynced-data fdatasync-drops-rename");
    assert_eq!(
        names(&posix, "setup; creat f; body; rename f g; mark m", "f=; g=; mark:m"),
        "lost-unsynced-data nonatomic-rename"
    );
    assert_eq!(
        names(&posix, "body; creat f; creat g; mark m", "g=; mark:m"),
        "lost-unsynced-data dirop-reorder"
    );
}
