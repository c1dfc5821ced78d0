//! Pieces that are kept only together with others, on profiles made for these tests.

use std::iter::once;

use crashpoint::Profile;
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::piece::GroupId;
use crashpoint::inner::disk::profile::{Home, Need, PieceClass, Required, SyncRule};

use crate::rig::{Rig, reachable, text};
use crate::{POSIX, ends_in, leaves, lines};

/// Sizes and entries in one log, blocks anywhere; a new block needs the log as it was then.
pub(crate) const LOGGED: Profile = Profile {
    name: "logged",
    grow: Home::Log,
    reach: Home::Log,
    resize: Home::Log,
    entry: Home::Log,
    atomic_rename: true,
    needs: &[
        Need { of: PieceClass::Extend, on: Required::Log },
        Need { of: PieceClass::Fill, on: Required::Log },
    ],
    ..Profile::POSIX
};

#[test]
fn the_requirements_of_a_kept_piece_are_kept_with_it() {
    // The new block of `f` comes with everything that was logged before it, including `g`; the
    // overwrite of a block does not.
    let program = "write f 0 4096 o; body; creat g; append f 4096 n; write f 0 1 m";
    let mut rig = Rig::new(&LOGGED, "write f 0 4096 o");
    rig.run("creat g; append f 4096 n; write f 0 1 m");
    let block = |number| GroupId::Block(rig.find("f"), number);
    let new = rig.pending.keep(&Fate::nothing().with(block(1), 1));
    assert_eq!((text(&new.tree, &[]).as_str(), new.raised), ("f=o*4096; g=", true));
    let over = rig.pending.keep(&Fate::nothing().with(block(0), 1));
    assert_eq!((text(&over.tree, &[]).as_str(), over.raised), ("f=m*1 o*4095", false));
    let overtaken = rig.pending.keep(&Fate::all().with(GroupId::Log, 0));
    assert_eq!((text(&overtaken.tree, &[]).as_str(), overtaken.raised), ("f=m*1 o*4095; g=", true));
    assert!(reachable(&LOGGED, program).contains("f=o*4096 .*4096; g="));
}

#[test]
fn requirements_are_followed_to_their_end() {
    // A size needs its block, the block needs the log.
    let needs = &[
        Need { of: PieceClass::Reach, on: Required::Block },
        Need { of: PieceClass::Extend, on: Required::Log },
    ];
    let profile = Profile { grow: Home::Own, reach: Home::Own, resize: Home::Own, needs, ..LOGGED };
    let mut rig = Rig::new(&profile, "creat f");
    rig.run("creat g; append f 10 n");
    let size = GroupId::Size(rig.find("f"));
    assert_eq!(rig.kept(&Fate::nothing().with(size, 1)), "f=n*10; g=");
    assert_eq!(rig.states(), lines("f=\nf=; g=\nf=n*10; g="));
    // And a sync that makes a size durable takes the rest along.
    let size_alone =
        Profile { fdatasync_file: SyncRule { size: true, ..Default::default() }, ..profile };
    ends_in(&size_alone, "creat f; body; creat g; append f 10 n; fdatasync f", "f=n*10; g=");
}

/// Sizes in the log and each after its block; an overwrite needs the log as it was then.
const CHAINED: Profile = Profile {
    needs: &[
        Need { of: PieceClass::Grow, on: Required::Block },
        Need { of: PieceClass::Reach, on: Required::Block },
        Need { of: PieceClass::Overwrite, on: Required::Log },
    ],
    ..LOGGED
};

#[test]
fn a_group_that_was_raised_raises_the_groups_that_it_needs() {
    let mut rig = Rig::new(&CHAINED, "write f 0 4096 o");
    rig.run("append f 10 n; write f 0 1 m");
    let over = GroupId::Block(rig.find("f"), 0);
    assert_eq!(rig.kept(&Fate::nothing().with(over, 1)), "f=m*1 o*4095 n*10");
}

#[test]
fn a_piece_that_others_need_whole_is_not_torn() {
    let mut rig = Rig::new(&CHAINED, "write f 0 4096 o");
    rig.run("append f 1024 n; write f 4096 1024 m");
    let block = GroupId::Block(rig.find("f"), 1);
    let whole = Fate::nothing().with(GroupId::Log, 1);
    let torn = whole.clone().with(block.clone(), 0).torn(block, once(0..512));
    assert_eq!(rig.kept(&torn), rig.kept(&whole));
    assert_eq!(rig.kept(&whole), "f=o*4096 n*1024");
}

#[test]
fn a_piece_may_need_the_size_of_its_file() {
    let profile =
        Profile { needs: &[Need { of: PieceClass::Overwrite, on: Required::Size }], ..*POSIX };
    let program = "write f 0 4096 o; body; truncate f 8192; write f 0 320 n";
    leaves(&profile, program, "f=o*4096\nf=o*4096 .*4096\nf=n*320 o*3776 .*4096");
}

#[test]
fn fates_that_keep_the_same_have_one_fingerprint() {
    let mut rig = Rig::new(&LOGGED, "write f 0 4096 o");
    rig.run("creat g; append f 4096 n");
    let block = GroupId::Block(rig.find("f"), 1);
    let short = Fate::nothing().with(block.clone(), 1);
    let long = Fate::all().with(GroupId::Log, 1);
    let other = Fate::all().with(block, 0);
    assert_eq!(rig.pending.fingerprint(&short), rig.pending.fingerprint(&long));
    assert_eq!(rig.pending.fingerprint(&Fate::prefix(2)), rig.pending.fingerprint(&long));
    assert_ne!(rig.pending.fingerprint(&other), rig.pending.fingerprint(&long));
}

#[test]
fn a_state_that_was_possible_before_has_the_same_fingerprint_later() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 1 o");
        rig.run("write f 0 1 a");
        let all = rig.pending.fingerprint(&Fate::all());
        rig.run("fsync f; write f 0 1 b");
        assert_eq!(rig.pending.fingerprint(&Fate::nothing()), all);
        assert_ne!(rig.pending.fingerprint(&Fate::all()), all);
        rig.run("chmod f 256");
        assert_eq!(rig.pending.fingerprint(&Fate::nothing()), all);
    }
}
