//! The states that a crash may leave of extended attributes.

use crashpoint::Profile;

use crate::rig::Rig;
use crate::{POSIX, TAIL, ends_in};

const SET: &str = "creat f; setxattr f user.a old; sync; body; setxattr f user.a new";

#[test]
fn an_attribute_without_a_sync_has_its_old_value_or_its_new_one() {
    for profile in Profile::all() {
        ends_in(profile, SET, "f=; f@user.a=new\nf=; f@user.a=old");
    }
}

#[test]
fn fsync_makes_the_attributes_of_a_file_and_of_a_directory_durable() {
    for profile in Profile::all() {
        ends_in(profile, &format!("{SET}; fsync f"), "f=; f@user.a=new");
        let program = "mkdir d; body; setxattr d user.a v; fsync d";
        ends_in(profile, program, "d/; d@user.a=v");
    }
}

#[test]
fn fdatasync_leaves_an_attribute_pending_where_nothing_else_takes_it_along() {
    let program = format!("{SET}; write f 0 3 n; fdatasync f");
    ends_in(POSIX, &program, "f=n*3; f@user.a=new\nf=n*3; f@user.a=old");
    for profile in [TAIL, &Profile::XFS, &Profile::BTRFS] {
        ends_in(profile, &program, "f=n*3; f@user.a=new");
    }
}

#[test]
fn attributes_are_independent_on_posix_and_in_the_order_of_the_log_elsewhere() {
    let program = "creat f; body; setxattr f user.a 1; setxattr f user.b 2";
    ends_in(POSIX, program, "f=\nf=; f@user.a=1\nf=; f@user.b=2\nf=; f@user.a=1; f@user.b=2");
    for profile in [&Profile::EXT4, &Profile::XFS, &Profile::BTRFS] {
        ends_in(profile, program, "f=\nf=; f@user.a=1\nf=; f@user.a=1; f@user.b=2");
    }
}

#[test]
fn a_removed_attribute_comes_back_if_its_removal_is_lost() {
    for profile in Profile::all() {
        let program = "creat f; setxattr f user.a v; sync; body; removexattr f user.a";
        ends_in(profile, program, "f=\nf=; f@user.a=v");
    }
}

#[test]
fn a_file_whose_removal_is_lost_has_its_synced_attributes() {
    let program = "creat f; setxattr f user.a v; fsync f; fsync .; body; \
                   setxattr f user.a w; unlink f";
    ends_in(POSIX, program, "nothing\nf=; f@user.a=v\nf=; f@user.a=w");
}

#[test]
fn a_value_that_is_set_again_is_no_change() {
    let mut rig = Rig::new(POSIX, "creat f; setxattr f user.a v");
    rig.run("setxattr f user.a v");
    assert!(rig.pending.is_empty());
}

#[test]
fn the_group_of_an_attribute_is_found_by_its_name() {
    let mut rig = Rig::new(POSIX, "creat f@x");
    rig.run("setxattr f@x user.a@b v");
    let names = rig.pending.names();
    let (group, _) = rig.pending.groups().next().expect("it is pending");
    assert_eq!(names.group(group), b"f@x@user.a@b.attr");
    assert_eq!(names.find(b"f@x@user.a@b.attr").as_ref(), Ok(group));
}
