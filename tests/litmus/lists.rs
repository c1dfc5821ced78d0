//! Published crash states: Ferrite's golden sets (ASPLOS'16, the repository's `rosette` tests), and
//! the reachable and unreachable outcomes that GenMC's tests of persistency assert (PerSeVerE,
//! POPL'21, `tests/cooking/fs` and `tests/wrong/fs`), with blocks of 4096 bytes in place of 2.

use std::collections::BTreeSet;

use crashpoint::Profile;

use crate::{allowed, inline};

/// A golden set: name, program, states. For the ext4 of their time, `ext4-dioread-lock`.
const FERRITE: &[(&str, &str, &[&str])] = &[
    (
        "two appends",
        "setup; write a 0 2509 a; body; append a 13 b; append a 2500 c",
        &[
            "a=a*2509",
            "a=a*2509 b*13",
            "a=a*2509 .*13",
            "a=a*2509 b*13 c*1574",
            "a=a*2509 b*13 .*1574",
            "a=a*2509 .*1587",
            "a=a*2509 b*13 c*2500",
        ],
    ),
    (
        "create, write, rename",
        "body; creat a; write a 0 2 n; rename a b",
        &["", "a=", "a=n*2", "b=", "b=n*2"],
    ),
    (
        "create, write, fsync, rename",
        "body; creat a; write a 0 2 n; fsync a; rename a b",
        &["", "a=", "a=n*2", "b=n*2"],
    ),
    (
        "replace",
        "setup; write a 0 1 o; body; creat b; write b 0 2 n; rename b a",
        &["a=o*1", "a=o*1; b=", "a=o*1; b=n*2", "a=n*2", "a="],
    ),
    (
        "replace after fsync",
        "setup; write a 0 1 o; body; creat b; write b 0 2 n; fsync b; rename b a",
        &["a=o*1", "a=o*1; b=", "a=o*1; b=n*2", "a=n*2"],
    ),
    (
        // A seventh state follows from Ferrite's rules, `a=n*2` without b: its data overtakes an
        // earlier create. GenMC's `pord-crapp-ooo` forbids that, and it was seen on no kernel.
        "two files, one synced",
        "body; creat a; creat b; write a 0 2 n; write b 0 1 m; fsync b",
        &["", "a=", "a=; b=", "a=n*2; b=", "a=; b=m*1", "a=n*2; b=m*1"],
    ),
    (
        "overwrite after a truncation upwards",
        "setup; write f 0 4096 o; body; truncate f 8192; write f 0 320 n",
        &["f=o*4096", "f=o*4096 .*4096", "f=n*320 o*3776", "f=n*320 o*3776 .*4096"],
    ),
];

/// One assertion of GenMC's tests: name, whether torn, program, and whether a state has the outcome
/// in question.
type Outcome = (&'static str, bool, &'static str, fn(&str) -> bool);

const ORDERED: &[&str] = &["ext4", "ext4-dioread-lock"];
const OLDER: usize = 4;

/// The first [`OLDER`] of these are true of the older ext4 alone. Today's leaves zeros over a whole
/// block; and it logs new blocks as the disk completes them, which may be a later one first.
const UNREACHABLE: &[Outcome] = &[
    ("app-sbl", false, "setup; write f 0 4096 a; body; append f 4096 b", |s| {
        s.contains('.') || !(s == "f=a*4096" || s == "f=a*4096 b*4096")
    }),
    ("app-sfl", false, "setup; write f 0 4096 a; body; append f 4096 b; append f 4096 c", |s| {
        s.contains('c') && !s.contains('b')
    }),
    ("owrapp-ord", false, "setup; write f 0 4096 a; body; write f 0 8192 b", |s| {
        s == "f=a*4096 b*4096"
    }),
    (
        "owrapp-ord2",
        false,
        "setup; write f 0 4096 a; body; write f 0 4096 b; write f 6144 4096 c",
        |s| s.contains('a') && s.contains('c'),
    ),
    ("owr-sbl", false, "body; creat f; write f 0 100 a; write f 0 100 b", |s| {
        s.contains('a') && s.contains('b')
    }),
    ("crapp-ooo", false, "setup; creat f; body; creat g; write f 0 4096 n", |s| {
        s.contains('n') && !s.contains("g=")
    }),
    ("rnm-at", false, "setup; write a 0 1 x; body; rename a b", |s| {
        !matches!(s, "a=x*1" | "b=x*1")
    }),
    ("rnm-at2", false, "setup; write a 0 1 x; body; rename a b; rename b c", |s| {
        !matches!(s, "a=x*1" | "b=x*1" | "c=x*1")
    }),
    (
        "rnmtrapp-ord",
        false,
        "setup; write f 0 2 n; body; rename f g; creat f; write f 0 1 m",
        |s| s.contains("f=") && s != "f=n*2" && !s.contains("g="),
    ),
    (
        "trapp-dfl-ord",
        false,
        "setup; write f 0 4096 o; write g 0 4096 o; body; truncate f 0; append g 4096 n",
        |s| s.contains('n') && s.contains("f=o"),
    ),
    (
        "MP+fsync",
        false,
        "setup; write x 0 1 o; write y 0 1 o; body; write x 0 1 n; fsync x; write y 0 1 n",
        |s| s == "x=o*1; y=n*1",
    ),
    (
        "wr+rdwr+fsync",
        false,
        "body; creat f; write f 0 4 n; fsync f; creat g; write g 0 4 m",
        |s| s.contains("g=m") && !s.contains("f=n*4"),
    ),
];

const REACHABLE: &[Outcome] = &[
    ("MP", false, "setup; write x 0 1 o; write y 0 1 o; body; write x 0 1 n; write y 0 1 n", |s| {
        s == "x=o*1; y=n*1"
    }),
    ("app-mbl", false, "setup; write f 0 6144 a; body; append f 4096 b", |s| {
        s.starts_with("f=a*6144 .*2048")
    }),
    ("app-na", false, "setup; write f 0 8192 a; body; append f 8192 b", |s| s == "f=a*8192 b*4096"),
    ("app-delalloc", false, "setup; write f 0 6144 a; body; write f 2048 6144 b", |s| {
        s.ends_with(".*2048")
    }),
    (
        "app-mfl",
        false,
        "setup; write f 0 4096 o; write g 0 4096 o; body; append f 4096 n; append g 4096 m",
        |s| s == "f=o*4096; g=o*4096 m*4096",
    ),
    ("owr-na", true, "setup; write f 0 1024 o; body; write f 0 1024 n", |s| s == "f=n*512 o*512"),
    ("owr-ooo", false, "setup; write f 0 8192 o; body; write f 0 1 n; write f 6000 1 n", |s| {
        s.starts_with("f=o*6000 n")
    }),
    ("owr-sbl {2,1}", true, "setup; creat f; body; write f 0 1024 a; write f 0 1024 b", |s| {
        s == "f=b*512 a*512"
    }),
    ("crowr-ooo", false, "setup; write f 0 2 o; body; creat g; write f 0 2 n", |s| s == "f=n*2"),
    ("cr+oprd", false, "body; creat f", |s| s == "f="),
    ("rvr-at", false, "body; creat f; write f 0 1 n; rename f g", |s| s == "g="),
    (
        "rvt-at",
        false,
        "body; creat f; write f 0 1 n; truncate f 0; write f 0 1 n; creat g; write g 0 1 n",
        |s| s == "f=; g=n*1",
    ),
    ("wr+rdwr", false, "setup; creat x; body; write x 0 1 n; creat y; write y 0 1 n", |s| {
        s == "x=; y=n*1"
    }),
];

/// With `data=writeback`.
const WRITEBACK: &[Outcome] = &[
    ("pwbk-app-sbl", false, "setup; write f 0 4096 a; body; append f 4096 b", |s| {
        s == "f=a*4096 .*4096"
    }),
    (
        "pwbk-appapp-sfl",
        false,
        "setup; write f 0 4096 a; body; append f 4096 b; append f 4096 c",
        |s| s == "f=a*4096 .*4096 c*4096",
    ),
];

/// With `data=journal`.
const JOURNAL: &[Outcome] = &[
    (
        "pjnl-app-mfl",
        false,
        "setup; write f 0 4096 o; write g 0 4096 o; body; append f 4096 n; append g 4096 m",
        |s| s == "f=o*4096; g=o*4096 m*4096",
    ),
    ("pjnl-crowr-ord", false, "setup; write f 0 2 o; body; creat g; write f 0 2 n", |s| {
        s == "f=n*2"
    }),
    ("pjnl-owr-at", true, "setup; write f 0 4096 o; body; write f 0 4096 n", |s| {
        s.contains('n') && s.contains('o')
    }),
];

/// A new block is whole: no mapping leads to it before its data is written.
const NEW_BLOCKS: &[Outcome] =
    &[("a torn new block", true, "setup; write f 0 4096 o; body; append f 4096 n", |s| {
        s.contains('n') && !s.contains("n*4096")
    })];

/// Space that was reserved beyond the end counts as unwritten until it is converted, with
/// `dioread_lock` too; so a size over it may come first.
const RESERVED: &[Outcome] = &[(
    "an append into reserved space",
    false,
    "setup; write f 0 4096 o; fallocate f 0 8192 keep-size; body; append f 4096 n",
    |s| s == "f=o*4096 .*4096",
)];

/// On btrfs, whose log tree holds only what was synced.
const LOG_TREE: &[Outcome] = &[(
    "a synced rename, without an earlier create",
    false,
    "setup; write f 0 1 o; body; creat h; rename f g; fsync g; mark m",
    |s| s == "g=o*1; mark:m",
)];

/// The entries of these lists that a profile violates.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    let mut differences = Vec::new();
    let mut ask = |list: &[Outcome], reachable: bool| {
        for (name, tear, text, shows) in list {
            let states = allowed(&inline(text), profile, *tear);
            if states.iter().any(|state| shows(state)) != reachable {
                let word = if reachable { "not reached" } else { "reached" };
                differences.push(format!("{} {name}: {word}: {states:?}", profile.name));
            }
        }
    };
    let (older, always) = UNREACHABLE.split_at(OLDER);
    match profile.name {
        name if ORDERED.contains(&name) => {
            ask(older, name == "ext4");
            ask(always, false);
            ask(REACHABLE, true);
            ask(RESERVED, true);
        }
        "ext4-writeback" => ask(WRITEBACK, true),
        "ext4-journal" => ask(JOURNAL, false),
        "btrfs" => ask(LOG_TREE, true),
        "posix" => {
            ask(REACHABLE, true);
            ask(WRITEBACK, true);
        }
        _ => {}
    }
    if !matches!(profile.name, "posix" | "tail-prefix") {
        ask(NEW_BLOCKS, false);
    }
    if profile.name == "ext4-dioread-lock" {
        for (name, text, golden) in FERRITE {
            let states = allowed(&inline(text), profile, false);
            let golden: BTreeSet<String> = golden.iter().map(|state| (*state).to_owned()).collect();
            if states != golden {
                differences.push(format!("{} {name}: {states:?}", profile.name));
            }
        }
    }
    differences
}

#[test]
fn the_lists_of_ferrite_and_genmc_hold() {
    let differences: Vec<String> =
        Profile::all().iter().flat_map(crate::lists::differences).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
