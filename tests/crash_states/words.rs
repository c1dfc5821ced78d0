//! Fates in the words of a case.

use std::collections::BTreeSet;
use std::iter::once;

use crashpoint::inner::disk::effect::{Effect, Ino, Kind};
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::piece::GroupId;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::{Profile, Time, words};

use crate::rig::Rig;
use crate::{POSIX, TAIL};

#[track_caller]
fn refused(rig: &Rig, line: &str) -> String {
    let words = words(line).expect("words");
    Fate::parse(&words, &rig.pending).expect_err("the line is wrong").to_string()
}

#[test]
fn a_fate_is_written_by_path_and_offset() {
    // Two ranges survive of the torn block: any set of sectors does.
    let torn = Profile::POSIX_TORN;
    let mut rig = Rig::new(&torn, "mkdir d; write log 0 8192 o; write old 0 1 o");
    rig.run(
        "write log 4096 4096 n; append log 10 n; write old 0 1 n; rename log d/log; \
             creat log; append log 1 x; unlink old",
    );
    let root = |name: &str| GroupId::Entry(Ino::ROOT, name.as_bytes().into());
    let (log, new) = (rig.find("d/log"), rig.find("log"));
    let fate = Fate::all()
        .with(GroupId::Block(log, 1), 0)
        .with(GroupId::Size(new), 0)
        .with(GroupId::Block(Ino(4), 0), 1)
        .with(root("log"), 1)
        .torn(GroupId::Block(log, 1), [0..512, 1024..4096]);
    let line =
        "keep=all d/log@4096:0 old@0:1 log.size:0 log.entry:1 tear=d/log@4096:512+1024..4096";
    assert_eq!(fate.text(&rig.pending), line);
    let parsed = Fate::parse(&words(line).expect("words"), &rig.pending).expect("it parses");
    assert_eq!(parsed, fate);
}

#[test]
fn a_tear_that_the_profile_does_not_allow_is_refused() {
    let line = |tear: &str| format!("keep=all log@0:0 tear=log@0:{tear}");
    let rig = |profile: &Profile| {
        let mut rig = Rig::new(profile, "write log 0 4096 o");
        rig.run("write log 1000 2000 n");
        rig
    };
    let on_posix = rig(POSIX);
    for tear in ["1024", "2560", "1536..4096"] {
        let fate = Fate::parse(&words(&line(tear)).expect("words"), &on_posix.pending);
        assert!(fate.is_ok(), "{tear}: {fate:?}");
    }
    // Inside a sector, outside of what was written, two parts, all of it.
    for tear in ["1500", "512", "3584", "512..1024", "1024+2048..4096", "4096"] {
        let why = refused(&on_posix, &line(tear));
        assert!(why.contains("on posix log@0 does not tear there"), "{tear}: {why}");
    }
    let parsed = |profile: &Profile, tear| {
        Fate::parse(&words(&line(tear)).expect("words"), &rig(profile).pending).is_ok()
    };
    assert!(parsed(&Profile::POSIX_TORN, "1024+2048..4096"));
    assert!(parsed(&Profile::POSIX_BYTES, "1500"));
    assert!(!parsed(&Profile::BTRFS, "1024"));
}

#[test]
fn files_that_had_the_same_name_in_turn_have_different_names() {
    let mut rig = Rig::new(POSIX, "write log 0 1 o");
    for _ in 0..2 {
        rig.run("write t 0 1 n; rename t log");
    }
    let fates = crate::families::only_one(&rig.pending).map(|fate| fate.text(&rig.pending));
    let lines: Vec<String> = fates.filter(|line| line.contains("@0")).collect();
    assert_eq!(lines, ["keep=nothing log//1@0:1", "keep=nothing log@0:1"]);
}

#[test]
fn odd_names_are_quoted_and_read_back() {
    for name in ["a@4096", "a.size", "namespace", "tear=x", "keep=all", "a:1", "x.entry", "\u{e9}"]
    {
        for profile in Profile::all() {
            let mut rig = Rig::new(profile, "");
            rig.run(&format!("write {name} 0 5000 n"));
            for fate in crate::families::only_one(&rig.pending) {
                let line = fate.text(&rig.pending);
                let words = words(&line).expect("words");
                assert_eq!(Fate::parse(&words, &rig.pending), Ok(fate), "{line}");
            }
        }
    }
}

#[test]
fn the_words_of_a_shared_group_name_its_file_or_the_namespace() {
    let mut rig = Rig::new(TAIL, "");
    rig.run("write log 0 5000 n");
    let fate = Fate::prefix(1).with(GroupId::Log, 1).with(GroupId::Inode(rig.find("log")), 1);
    let fate = fate.torn(GroupId::Inode(rig.find("log")), once(0..512));
    assert_eq!(fate.text(&rig.pending), "keep=1 log.data:1 namespace:1 tear=log.data:512");
}

#[test]
fn a_wrong_word_is_refused_with_its_reason() {
    let mut rig = Rig::new(POSIX, "write f 0 1 o; write g 0 1 o");
    rig.run("write f 0 1 n; truncate f 4096");
    let cases = [
        ("", "column 1: expected keep=nothing, keep=all or keep=NUMBER"),
        ("keep=3", "column 1: expected keep=nothing, keep=all or keep=NUMBER up to 2"),
        ("keep=all h@0:1", "column 10: h leads nowhere"),
        ("keep=all g@0:1", "column 10: nothing of g@0 is pending"),
        ("keep=all f@0:2", "column 10: expected a count of kept pieces from 0 to 1"),
        (
            "keep=all f@7:1",
            "column 10: f@7 is none of PATH@OFFSET, PATH.size, PATH.entry, PATH.data, PATH@NAME.attr",
        ),
        ("keep=all f@0:1 f@0:1", "column 16: f@0:1 is named twice"),
        (
            "keep=all tear=f@0:512",
            "column 10: after the kept pieces of f@0 there is no data to tear",
        ),
        (
            "keep=nothing tear=f@0:5000",
            "column 14: expected END or START..END up to 4096, found 5000",
        ),
        (
            "keep=nothing tear=f.size:5",
            "column 14: after the kept pieces of f.size there is no data to tear",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(refused(&rig, line), message);
    }
}

#[test]
fn what_is_next_to_the_store_is_named_from_its_folder() {
    for profile in Profile::all() {
        let mut pending = Pending::new(Tree::of_a_run(), profile);
        let dir = |ino| Effect::Inode { ino, kind: Kind::Directory, mode: 0o755, target: b"" };
        let file = |ino| Effect::Inode { ino, kind: Kind::File, mode: 0o644, target: b"" };
        let entry = |dir, name, ino| Effect::Entry { dir, name, ino: Some(ino) };
        let moved = |old, new| {
            let (from, to) = (Ino::MOUNT, Ino::MOUNT);
            Effect::Rename { from, old, to, new, exchange: false }
        };
        for effect in [
            dir(Ino(2)),
            entry(Ino::MOUNT, b"new", Ino(2)),
            file(Ino(3)),
            entry(Ino(2), b"items", Ino(3)),
            Effect::Write { ino: Ino(3), offset: 0, bytes: b"items" },
            file(Ino(4)),
            entry(Ino::MOUNT, b"lock", Ino(4)),
            Effect::Write { ino: Ino(4), offset: 0, bytes: b"lock" },
            moved(b"store", b"old"),
            moved(b"new", b"store"),
        ] {
            pending.apply(&effect, Time::START);
        }
        let names = pending.names();
        let name = |ino| String::from_utf8_lossy(&names.inode(Ino(ino))).into_owned();
        assert_eq!([0, 1, 2, 3, 4].map(name), ["..", "../old", "", "items", "../lock"]);
        for fate in crate::families::only_one(&pending) {
            let line = fate.text(&pending);
            let parsed = Fate::parse(&words(&line).expect("words"), &pending);
            assert_eq!(parsed, Ok(fate), "{line}");
        }
        let lost = pending.keep(&Fate::nothing()).tree;
        let paths: BTreeSet<Vec<u8>> = lost.paths().into_values().collect();
        assert_eq!(paths, [b"".to_vec(), b"..".to_vec()].into());
    }
}
