//! The states that a crash may leave of what an inode holds itself: mode, owner, times, links.

use crashpoint::inner::disk::effect::Effect;
use crashpoint::inner::disk::fate::Fate;
use crashpoint::{Profile, Time};

use crate::POSIX;
use crate::rig::Rig;

#[test]
fn a_mode_has_its_old_value_or_its_new_one_until_a_sync() {
    let mode = |rig: &Rig, fate: &Fate| {
        let tree = rig.pending.keep(fate).tree;
        tree.node(rig.find("f")).map(|node| node.mode)
    };
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 1 o; sync");
        let old = mode(&rig, &Fate::all());
        rig.run("chmod f 256");
        assert_eq!(mode(&rig, &Fate::all()), Some(256));
        assert_eq!(mode(&rig, &Fate::nothing()), old, "{}", profile.name);
        rig.run("fsync f");
        assert_eq!(mode(&rig, &Fate::nothing()), Some(256), "{}", profile.name);
    }
}

#[test]
fn an_owner_and_the_bits_that_it_costs_are_one_piece() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 1 o; chmod f 2541; sync");
        let ino = rig.find("f");
        rig.effect(&Effect::Owner { ino, owner: (7, 8), mode: 0o755 });
        let found = |fate: &Fate| {
            let tree = rig.pending.keep(fate).tree;
            tree.node(ino).map(|node| (node.owner, node.mode))
        };
        assert_eq!(found(&Fate::nothing()), Some(((0, 0), 2541)), "{}", profile.name);
        assert_eq!(found(&Fate::all()), Some(((7, 8), 0o755)), "{}", profile.name);
        assert_eq!(rig.pending.len(), 1);
    }
}

/// An inode is found with the times of its newest change that was kept, however the state is built.
#[test]
fn times_follow_from_the_changes_that_are_kept() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 1 o; sync");
        let ino = rig.find("f");
        let mut modified = vec![rig.pending.live().node(ino).map(|node| node.modified)];
        for second in 1..6u64 {
            let bytes = [b'0' + second as u8];
            let write = Effect::Write { ino, offset: 0, bytes: &bytes };
            rig.pending.apply(&write, Time(second * 1_000_000_000));
            modified.push(Some(Time(second * 1_000_000_000)));
        }
        for (kept, modified) in modified.iter().enumerate() {
            let tree = rig.pending.keep(&Fate::prefix(kept)).tree;
            let found = tree.node(ino).map(|node| node.modified);
            assert_eq!(found, *modified, "{}, {kept} kept", profile.name);
        }
        rig.run("fsync f");
        let tree = rig.pending.keep(&Fate::nothing()).tree;
        assert_eq!(tree.node(ino).map(|node| node.modified), modified[5], "{}", profile.name);
    }
}

#[test]
fn a_directory_that_is_lost_does_not_count_as_a_link() {
    let mut rig = Rig::new(POSIX, "write f 0 1 o");
    rig.run("mkdir d; link f d/g; fsync d");
    let ino = rig.find("f");
    let tree = rig.pending.keep(&Fate::nothing()).tree;
    assert_eq!(tree.node(ino).map(|node| node.links), Some(1));
    rig.run("fsync .");
    let tree = rig.pending.keep(&Fate::nothing()).tree;
    assert_eq!(tree.node(ino).map(|node| node.links), Some(2));
}
