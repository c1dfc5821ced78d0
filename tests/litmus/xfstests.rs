//! The generic crash tests of xfstests: their programs, and the states required after the crash.
//!
//! Group A is data and sizes, required of every file system. B is names that a sync of something
//! else implies, required of ext4, xfs and btrfs, and reachable failures on `posix`. C is that the
//! file system is usable after the crash (here: every state is a tree, a property that
//! `crash_states` checks for all programs). D is that no state shows bytes that were never written.
//! E is errors of fsync, which concern the live disk and are in its tests.

use crashpoint::Profile;

use crate::{allowed, inline};

/// A test: its number, the program (whose last line is `mark m`), and the condition that every
/// state with the mark must satisfy.
type Case = (&'static str, &'static str, fn(&[&str]) -> bool);

/// Data and size: "if the name survived".
const A: &[Case] = &[
    ("056", "body; creat f; write f 0 8000 n; fsync f; link f g; creat h; fsync h; mark m", |s| {
        file(s, "f").is_none_or(|f| f == "n*8000")
    }),
    (
        "073",
        "setup; mkdir d; mkdir e; creat d/bar; body; write d/foo 0 100 n; fsync d/foo; sync; \
         append d/foo 100 m; rename d/bar e/bar; fsync d; fsync d/foo; mark m",
        |s| file(s, "d/foo") == Some("n*100 m*100"),
    ),
    (
        "090",
        "body; creat f; write f 0 100 n; sync; link f g; sync; append f 50 m; fsync f; mark m",
        |s| file(s, "f") == Some("n*100 m*50") && file(s, "g") == Some("n*100 m*50"),
    ),
    (
        "101",
        "setup; write f 0 9000 o; body; truncate f 5000; truncate f 9000; fsync f; mark m",
        |s| file(s, "f") == Some("o*5000 .*4000"),
    ),
    ("311", "setup; write f 0 8192 o; body; write f 100 5000 n; fsync f; mark m", |s| {
        file(s, "f") == Some("o*100 n*5000 o*3092")
    }),
    ("392", "setup; write f 0 100 o; body; append f 5000 n; fdatasync f; mark m", |s| {
        file(s, "f") == Some("o*100 n*5000")
    }),
    ("468", "setup; write f 0 100 o; body; fallocate f 0 8192; fdatasync f; mark m", |s| {
        file(s, "f") == Some("o*100 .*8092")
    }),
    ("512", "body; creat f; write f 0 21 n; fallocate f 40 40; fsync f; fsync .; mark m", |s| {
        file(s, "f") == Some("n*21 .*59")
    }),
    ("534", "body; write f 0 8000 n; fsync f; truncate f 3000; rename f g; fsync g; mark m", |s| {
        file(s, "g").is_none_or(|g| g == "n*3000")
    }),
    ("552", "body; creat f; write f 0 100 n; rename f g; fsync g; mark m", |s| {
        file(s, "g").is_none_or(|g| g == "n*100")
    }),
    ("557", "body; creat f; fsync f; unlink f; fsync .; mark m", |s| file(s, "f").is_none()),
];

/// Names that a sync of something else covers.
const B: &[Case] = &[
    ("034", "body; mkdir d; creat d/foo; sync; creat d/bar; fsync d; fsync d/bar; mark m", |s| {
        file(s, "d/foo").is_some() && file(s, "d/bar").is_some()
    }),
    (
        "065",
        "setup; mkdir d; write d/a 0 10 x; creat hello; body; link d/a d/b; link d/a d/c; \
         append hello 10 h; fsync d; fsync hello; mark m",
        |s| file(s, "d/b").is_some() && file(s, "d/c").is_some(),
    ),
    (
        "104",
        "setup; mkdir d; write d/a 0 10 x; body; link d/a d/b; link d/a d/c; fsync d/a; mark m",
        |s| file(s, "d/b").is_some() && file(s, "d/c").is_some(),
    ),
    (
        "106",
        "setup; mkdir d; write d/a 0 10 x; link d/a d/b; body; unlink d/b; fsync d/a; mark m",
        |s| file(s, "d/b").is_none() && file(s, "d/a").is_some(),
    ),
    (
        "107",
        "setup; mkdir d; mkdir e; write d/a 0 10 x; link d/a e/b; body; unlink e/b; fsync d/a; mark m",
        |s| file(s, "e/b").is_none() && file(s, "d/a").is_some(),
    ),
    ("321", "body; mkdir d; creat d/f; write d/f 0 10 n; fsync d/f; mark m", |s| {
        file(s, "d/f") == Some("n*10")
    }),
    ("322", "setup; write f 0 100 o; body; rename f g; fsync g; mark m", |s| {
        file(s, "g") == Some("o*100") && file(s, "f").is_none()
    }),
    (
        "335",
        "setup; mkdir a; mkdir a/b; mkdir c; creat a/b/foo; body; rename a/b/foo c/foo; \
         creat a/bar; fsync a; fsync c/foo; mark m",
        |s| file(s, "c/foo").is_some() && file(s, "a/b/foo").is_none(),
    ),
    (
        "336",
        "setup; mkdir a; mkdir b; write a/foo 0 10 x; link a/foo b/foo_link; creat b/bar; body; \
         unlink b/foo_link; rename b/bar a/bar; fsync a/foo; fsync a/bar; mark m",
        |s| file(s, "a/bar").is_some() != file(s, "b/bar").is_some(),
    ),
    (
        "341",
        "setup; mkdir a; mkdir a/x; write a/x/foo 0 10 f; write a/x/bar 0 10 b; body; \
         rename a/x a/y; mkdir a/x; fsync a/x; mark m",
        |s| {
            s.contains(&"a/x/")
                && file(s, "a/y/foo") == Some("f*10")
                && file(s, "a/y/bar") == Some("b*10")
        },
    ),
    (
        "342",
        "setup; write foo 0 10 o; body; rename foo bar; creat foo; write foo 0 10 n; fsync foo; mark m",
        |s| file(s, "bar") == Some("o*10") && file(s, "foo") == Some("n*10"),
    ),
    (
        "376",
        "setup; mkdir d; write d/foo 0 10 o; body; rename d/foo d/bar; creat d/foo; fsync d/bar; mark m",
        |s| file(s, "d/bar") == Some("o*10"),
    ),
    (
        "502",
        "setup; mkdir d; write d/foo 0 10 o; write d/bar 0 10 p; body; link d/foo d/foo_link; \
         link d/bar d/bar_link; unlink d/bar; rename d/foo d/bar; fsync d/bar; mark m",
        |s| file(s, "d/bar") == Some("o*10"),
    ),
    ("348", "setup; mkdir d; body; symlink target d/s; fsync d; mark m", |s| {
        s.contains(&"d/s->target")
    }),
    ("690", "setup; mkdir d; body; symlink target d/s; rename d/s d/t; fsync d; mark m", |s| {
        s.contains(&"d/t->target") && !s.contains(&"d/s->target")
    }),
    (
        "498",
        "setup; mkdir a; creat a/foo; body; mkdir b; link a/foo b/foo; fsync .; fsync b; mark m",
        |s| file(s, "b/foo").is_some(),
    ),
    (
        "510",
        "setup; mkdir a; mkdir b; mkdir b/foo; write b/bar 0 10 x; body; rename b/bar a/bar; \
         fsync a; fsync a/bar; mark m",
        |s| file(s, "a/bar").is_some() && file(s, "b/bar").is_none(),
    ),
];

/// Those of B that sync the directory of the names.
const BY_DIRECTORY: [&str; 5] = ["034", "065", "348", "690", "498"];

/// A promise of ext4 that xfs and btrfs do not make: the contents of a new directory below the
/// synced one.
const NESTED: &[Case] = &[
    ("785", "setup; mkdir d; body; mkdir d/e; creat d/e/x; fsync d; mark m", |s| {
        file(s, "d/e/x").is_some()
    }),
    (
        "065, nested",
        "setup; mkdir d; creat hello; body; mkdir d/e; creat d/e/x; append hello 10 h; fsync d; mark m",
        |s| file(s, "d/e/x").is_some(),
    ),
];

/// Conditions of every state, marked or not: a size without its data shows zeros, and every other
/// byte was written.
const D: &[Case] = &[
    ("042", "setup; write f 0 100 o; body; truncate f 0; write f 0 4096 n", |s| {
        file(s, "f").is_none_or(|f| !(f.contains('?') || f.contains('o') && f.contains('n')))
    }),
    ("049", "body; creat f; append f 5000 n; truncate f 9000", |s| {
        file(s, "f").is_none_or(|f| f.chars().all(|c| c != 'o' && c != '?'))
    }),
];

fn file<'a>(state: &[&'a str], path: &str) -> Option<&'a str> {
    state.iter().find_map(|line| line.strip_prefix(path)?.strip_prefix('='))
}

/// Whether some state, with the mark if the program has one, breaks a test's condition.
fn fails(case: &Case, profile: &Profile) -> bool {
    let (_, text, holds) = case;
    let marked = text.ends_with("mark m");
    allowed(&inline(text), profile, false).iter().any(|state| {
        let lines: Vec<&str> = state.split("; ").collect();
        (!marked || lines.contains(&"mark:m")) && !holds(&lines)
    })
}

/// The tests of which a profile breaks the expectation.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut ask = |group: &str, cases: &[Case], may_fail: Option<bool>| {
        for case in cases {
            let failed = fails(case, profile);
            if may_fail.is_some_and(|expected| expected != failed) {
                wrong.push(format!("{} {group} {}: fails: {failed}", profile.name, case.0));
            }
        }
    };
    let strict = profile.name.starts_with("ext4");
    let plain = matches!(profile.name, "posix" | "tail-prefix");
    ask("A", A, Some(false));
    // The tests that sync the directory itself hold on posix too.
    let (by_directory, by_file): (Vec<Case>, Vec<Case>) =
        B.iter().partition(|case| BY_DIRECTORY.contains(&case.0));
    ask("B", &by_directory, Some(false));
    ask("B", &by_file, (profile.name != "tail-prefix").then_some(plain));
    ask("nested", NESTED, (profile.name != "tail-prefix").then_some(!strict));
    ask("D", D, (profile.name != "posix").then_some(false));
    wrong
}

#[test]
fn the_crash_tests_of_xfstests_hold_where_they_must_and_fail_where_they_may() {
    let wrong: Vec<String> = Profile::all().iter().flat_map(differences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
