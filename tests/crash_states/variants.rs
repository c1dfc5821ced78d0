//! The options of a profile that no usual profile uses: stale blocks, commits by the clock.

use std::time::Duration;

use crashpoint::inner::disk::effect::{Effect, Ino, Kind};
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::piece::GroupId;
use crashpoint::inner::disk::relax::Relaxation;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::{Profile, Time};

use crate::rig::{Rig, text};

#[test]
fn a_lost_new_block_is_stale_only_below_the_size() {
    let program = "creat f; write f 0 4096 o; sync";
    for (profile, tail, relaxation) in [
        (&Profile::POSIX, ".*5904", Relaxation::ZeroTail),
        (&Profile::POSIX_STALE, "?*5904", Relaxation::GarbageTail),
    ] {
        let mut rig = Rig::new(profile, program);
        // Within the last block, a whole one, and a part of one.
        rig.run("write f 4096 5904 n; write f 0 100 m");
        let ino = rig.find("f");
        let size = rig.pending.group(&GroupId::Size(ino)).map_or(0, |group| group.len());
        let fate = Fate::nothing().with(GroupId::Size(ino), size);
        let stale = Fate { stale: true, ..fate };
        assert_eq!(rig.kept(&stale), format!("f=o*4096 {tail}"), "{}", profile.name);
        assert!(rig.pending.relaxations(&stale).contains(&relaxation), "{}", profile.name);
        assert!(
            !rig.pending
                .relaxations(&Fate { stale: false, ..stale })
                .contains(&Relaxation::GarbageTail)
        );
        assert_eq!(rig.kept(&Fate { stale: true, ..Fate::nothing() }), "f=o*4096");
    }
}

#[test]
fn logged_changes_reach_the_medium_with_the_next_commit_by_the_clock() {
    let name = |at, pending: &mut Pending| {
        let ino = Ino(10 + at);
        let at = Time::START + Duration::from_secs(at);
        pending.apply(&Effect::Inode { ino, kind: Kind::File, mode: 0o644, target: b"" }, at);
        let name = format!("at-{}", at.0 / 1_000_000_000);
        let name = name.as_bytes();
        pending.apply(&Effect::Entry { dir: Ino::ROOT, name, ino: Some(ino) }, at);
    };
    for (profile, left) in [
        (&Profile::EXT4, [""; 3]),
        (&Profile::EXT4_COMMITS, ["", "at-1=; at-4=", "at-1=; at-4=; at-6="]),
    ] {
        let mut pending = Pending::new(Tree::new(), profile);
        let mut found = Vec::new();
        for batch in [&[1, 4][..], &[6], &[11]] {
            batch.iter().for_each(|at| name(*at, &mut pending));
            found.push(text(&pending.keep(&Fate::nothing()).tree, &[]));
        }
        assert_eq!(found, left, "{}", profile.name);
    }
}
