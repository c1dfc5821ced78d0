//! Facts about the states that a crash may leave on a simulated disk, on each profile.

mod attributes;
mod families;
mod inodes;
mod property;
mod requirements;
mod rig;
mod variants;
mod words;
mod written_back;

use std::collections::BTreeSet;

use crashpoint::inner::disk::effect::{Effect, Ino, Kind};
use crashpoint::inner::disk::failure::MountState;
use crashpoint::inner::disk::fate::{Fate, Keep};
use crashpoint::inner::disk::piece::GroupId;
use crashpoint::inner::disk::tearing;
use crashpoint::{Profile, TearRule, Time};
use requirements::LOGGED;
use rig::{Rig, reachable, reachable_torn, text};

const POSIX: &Profile = &Profile::POSIX;
const TAIL: &Profile = &Profile::TAIL_PREFIX;
/// The two profiles that order neither data with names nor files with each other.
const PLAIN: [Profile; 2] = [Profile::POSIX, Profile::TAIL_PREFIX];

/// The states of a test, one per line; `nothing` is an empty root directory.
fn lines(states: &str) -> BTreeSet<String> {
    let states = states.lines().map(str::trim).filter(|line| !line.is_empty());
    states.map(|line| line.replace("nothing", "")).collect()
}

/// A crash at any time in the program leaves exactly these states.
#[track_caller]
fn leaves(profile: &Profile, program: &str, states: &str) {
    let (found, expected) = (reachable(profile, program), lines(states));
    let extra: Vec<_> = found.difference(&expected).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(
        extra.is_empty() && missing.is_empty(),
        "{}: not expected {extra:#?}, missing {missing:#?}",
        profile.name
    );
}

/// A crash after the last line of the program leaves exactly these states.
#[track_caller]
fn ends_in(profile: &Profile, program: &str, states: &str) {
    let (setup, body) = program.split_once("body").expect("a program has a body");
    let mut rig = Rig::new(profile, setup);
    rig.run(body);
    assert_eq!(rig.states(), lines(states), "{}", profile.name);
}

// Sync rules.

#[test]
fn unsynced_changes_may_be_lost_or_kept() {
    for profile in Profile::all() {
        let states = reachable(profile, "body; creat f; write f 0 3 n");
        assert!(states.contains("") && states.contains("f=n*3"), "{states:?}");
    }
}

#[test]
fn sync_leaves_one_state() {
    for profile in Profile::all() {
        let program = "write f 0 9000 o; body; mkdir d; write d/g 0 5000 n; rename f d/f; \
                       truncate d/f 100; sync";
        ends_in(profile, program, "d/; d/f=o*100; d/g=n*5000");
    }
}

#[test]
fn fsync_of_a_file_and_of_its_directory_makes_it_durable() {
    for profile in Profile::all() {
        ends_in(profile, "body; creat f; write f 0 5000 n; fsync f; fsync .", "f=n*5000");
    }
}

#[test]
fn fsync_of_a_new_file_covers_its_name_on_tail_prefix_alone() {
    let program = "body; creat f; write f 0 3 n; fsync f";
    ends_in(POSIX, program, "nothing\nf=n*3");
    ends_in(TAIL, program, "f=n*3");
}

#[test]
fn fsync_of_a_renamed_file_covers_the_rename_on_tail_prefix_alone() {
    let program = "write f 0 3 o; body; rename f g; fsync g";
    ends_in(POSIX, program, "nothing\nf=o*3\ng=o*3\nf=o*3; g=o*3");
    ends_in(TAIL, program, "g=o*3");
}

#[test]
fn fsync_of_a_file_makes_older_entries_of_others_durable_up_to_its_own_on_tail_prefix() {
    let program = "body; creat a; creat f; creat b; fsync f";
    ends_in(TAIL, program, "a=; f=\na=; b=; f=");
}

#[test]
fn fdatasync_covers_data_and_size() {
    for profile in Profile::all() {
        ends_in(profile, "write f 0 3 o; body; append f 5000 n; fdatasync f", "f=o*3 n*5000");
    }
}

#[test]
fn fsync_of_one_file_leaves_another_pending() {
    let program = "write f 0 3 o; write g 0 3 o; body; write f 0 3 n; write g 0 3 n; fsync g";
    for profile in &PLAIN {
        ends_in(profile, program, "f=o*3; g=n*3\nf=n*3; g=n*3");
    }
}

#[test]
fn fsync_of_a_directory_covers_entries_but_no_data() {
    let program = "mkdir d; body; write d/x 0 3 n; fsync d";
    ends_in(POSIX, program, "d/; d/x=\nd/; d/x=.*3\nd/; d/x=n*3");
    ends_in(TAIL, program, "d/; d/x=\nd/; d/x=n*3");
}

#[test]
fn fsync_of_a_directory_covers_no_other_directory_on_posix() {
    let program = "mkdir d; mkdir e; body; creat e/y; creat d/x; fsync d";
    ends_in(POSIX, program, "d/; d/x=; e/\nd/; d/x=; e/; e/y=");
    ends_in(TAIL, program, "d/; d/x=; e/; e/y=");
}

#[test]
fn fsync_of_a_new_directory_covers_its_own_name_on_tail_prefix_alone() {
    let program = "body; mkdir d; fsync d";
    ends_in(POSIX, program, "nothing\nd/");
    ends_in(TAIL, program, "d/");
}

#[test]
fn fsync_of_a_directory_covers_nothing_in_its_new_subdirectories() {
    let program = "mkdir d; body; mkdir d/e; creat d/e/x; fsync d";
    for profile in &PLAIN {
        ends_in(profile, program, "d/; d/e/\nd/; d/e/; d/e/x=");
    }
}

#[test]
fn a_synchronous_write_covers_its_own_blocks_and_the_size_and_no_other_block_on_posix() {
    for how in ["write-dsync", "write-sync"] {
        let program = |at: &str| {
            format!("write f 0 8192 o; sync; body; write f 0 4096 n; {how} f {at} 4096 n")
        };
        ends_in(POSIX, &program("4096"), "f=n*8192\nf=o*4096 n*4096");
        ends_in(POSIX, &program("0"), "f=n*4096 o*4096");
        ends_in(POSIX, &program("8192"), "f=n*4096 o*4096 n*4096\nf=o*8192 n*4096");
        // There a file loses only the last of its changes, and the write was the last one.
        ends_in(TAIL, &program("4096"), "f=n*8192");
    }
}

#[test]
fn sync_file_range_promises_nothing() {
    for profile in Profile::all() {
        let program = "write f 0 4096 o; body; write f 0 4096 n; sync-range f 0 0";
        ends_in(profile, program, "f=o*4096\nf=n*4096");
    }
}

#[test]
fn sync_file_range_covers_its_blocks_where_a_profile_says_so() {
    let range = Profile { sync_range: POSIX.fsync_file, ..Profile::POSIX };
    let program = "write f 0 8192 o; body; write f 0 8192 n; sync-range f 4096 10";
    ends_in(&range, program, "f=n*8192\nf=o*4096 n*4096");
}

#[test]
fn every_sync_covers_what_was_written_before_it_and_not_what_comes_after() {
    for profile in Profile::all() {
        let program = "write f 0 1 o; body; write f 0 1 a; fsync f; write f 0 1 b";
        ends_in(profile, program, "f=a*1\nf=b*1");
    }
}

// Data and sizes. The programs are Ferrite's and GenMC's.

#[test]
fn an_append_shows_any_size_and_zeros_on_posix_and_a_clean_prefix_on_tail_prefix() {
    let program = "write a 0 2509 a; body; append a 13 b; append a 2500 c";
    let posix = "
        a=a*2509
        a=a*2509 .*13
        a=a*2509 .*1587
        a=a*2509 .*1587 c*926
        a=a*2509 .*2513
        a=a*2509 b*13
        a=a*2509 b*13 .*1574
        a=a*2509 b*13 .*1574 c*926
        a=a*2509 b*13 .*2500
        a=a*2509 b*13 c*1574
        a=a*2509 b*13 c*1574 .*926
        a=a*2509 b*13 c*2500";
    leaves(POSIX, program, posix);
    let tail = "a=a*2509\na=a*2509 b*13\na=a*2509 b*13 c*1574\na=a*2509 b*13 c*2500";
    leaves(TAIL, program, tail);
}

#[test]
fn overwrites_of_one_block_keep_their_order() {
    let program = "write f 0 2 o; body; write f 0 1 a; write f 1 1 b";
    for profile in Profile::all() {
        leaves(profile, program, "f=o*2\nf=a*1 o*1\nf=a*1 b*1");
    }
}

#[test]
fn overwrites_of_two_blocks_keep_their_order_on_tail_prefix_alone() {
    let program = "write f 0 8192 o; body; write f 4096 4096 n; write f 0 4096 m";
    let tail = "f=o*8192\nf=o*4096 n*4096\nf=m*4096 n*4096";
    leaves(POSIX, program, &format!("{tail}\nf=m*4096 o*4096"));
    leaves(TAIL, program, tail);
}

#[test]
fn overwrites_of_two_files_have_no_order() {
    let program = "write f 0 1 o; write g 0 1 o; body; write f 0 1 n; write g 0 1 n";
    for profile in &PLAIN {
        leaves(profile, program, "f=o*1; g=o*1\nf=n*1; g=o*1\nf=o*1; g=n*1\nf=n*1; g=n*1");
    }
}

#[test]
fn an_overwrite_may_overtake_an_earlier_create() {
    let program = "write g 0 1 o; body; creat h; write g 0 1 n";
    for profile in &PLAIN {
        leaves(profile, program, "g=o*1\ng=n*1\ng=o*1; h=\ng=n*1; h=");
    }
}

#[test]
fn an_overwrite_may_overtake_a_truncation_upwards_on_posix_alone() {
    let program = "write f 0 4096 o; body; truncate f 8192; write f 0 320 n";
    let tail = "f=o*4096\nf=o*4096 .*4096\nf=n*320 o*3776 .*4096";
    leaves(POSIX, program, &format!("{tail}\nf=n*320 o*3776"));
    leaves(TAIL, program, tail);
}

#[test]
fn a_truncation_inside_a_block_may_zero_its_end_and_keep_the_old_size_on_posix() {
    let program = "write a 0 9000 o; body; truncate a 100; append a 50 n";
    let posix = "
        a=o*9000
        a=o*100
        a=o*150
        a=o*100 n*50
        a=o*100 .*50
        a=o*4096
        a=o*8192
        a=o*100 .*3996
        a=o*100 .*3996 o*4096
        a=o*100 .*3996 o*4904
        a=o*100 n*50 .*3946
        a=o*100 n*50 .*3946 o*4096
        a=o*100 n*50 .*3946 o*4904";
    leaves(POSIX, program, posix);
    leaves(TAIL, program, "a=o*9000\na=o*100\na=o*100 n*50");
}

#[test]
fn a_rewrite_in_place_may_leave_the_file_empty() {
    let program = "write f 0 3 o; body; open-trunc f; write f 0 3 n; close f";
    leaves(POSIX, program, "f=o*3\nf=\nf=.*3\nf=n*3");
    leaves(TAIL, program, "f=o*3\nf=\nf=n*3");
}

#[test]
fn a_hole_that_was_synced_stays_one() {
    for profile in Profile::all() {
        let program = "write f 0 12288 o; body; punch f 4096 4096; zero-range f 12000 500; fsync f";
        ends_in(profile, program, "f=o*4096 .*4096 o*3808 .*500");
    }
}

#[test]
fn truncated_and_regrown_bytes_are_zeros_once_synced() {
    for profile in Profile::all() {
        let program = "write f 0 9000 o; body; truncate f 100; truncate f 9000; fsync f";
        ends_in(profile, program, "f=o*100 .*8900");
    }
}

#[test]
fn tail_prefix_never_leaves_a_hole() {
    let program = "body; creat f; append f 5000 a; append f 5000 b; append f 100 c; sync; \
                   append f 9000 d";
    for state in reachable(TAIL, program) {
        assert!(!state.contains('.'), "{state}");
    }
}

// Names.

#[test]
fn a_file_created_by_rename_may_be_empty() {
    let program = "body; creat t; write t 0 2 n; rename t f";
    let tail = "nothing\nt=\nt=n*2\nf=\nf=n*2";
    let posix = "t=.*2\nf=.*2\nf=; t=\nf=.*2; t=.*2\nf=n*2; t=n*2";
    leaves(POSIX, program, &format!("{tail}\n{posix}"));
    leaves(TAIL, program, tail);
}

#[test]
fn a_file_replaced_by_rename_may_be_empty() {
    let program = "write f 0 2 o; body; creat t; write t 0 2 n; rename t f";
    let tail = "f=o*2\nf=o*2; t=\nf=o*2; t=n*2\nf=\nf=n*2";
    let posix = "f=o*2; t=.*2\nf=.*2\nf=; t=\nf=.*2; t=.*2\nf=n*2; t=n*2";
    leaves(POSIX, program, &format!("{tail}\n{posix}"));
    leaves(TAIL, program, tail);
}

#[test]
fn a_file_synced_before_it_replaces_another_is_never_empty_at_the_new_name() {
    let program = "write f 0 2 o; body; creat t; write t 0 2 n; fsync t; rename t f";
    for profile in Profile::all() {
        let torn = ["f=", "f=.*2"];
        assert!(torn.iter().all(|state| !reachable(profile, program).contains(*state)));
    }
}

#[test]
fn chained_renames_of_a_file_leave_any_of_its_names_on_posix() {
    let program = "write a 0 1 x; body; rename a b; rename b c";
    leaves(TAIL, program, "a=x*1\nb=x*1\nc=x*1");
    let posix = "nothing\na=x*1\nb=x*1\nc=x*1\na=x*1; b=x*1\na=x*1; c=x*1\nb=x*1; c=x*1\n\
                 a=x*1; b=x*1; c=x*1";
    leaves(POSIX, program, posix);
}

#[test]
fn a_directory_has_one_parent_however_often_it_moves() {
    for profile in Profile::all() {
        leaves(profile, "mkdir a; body; rename a b; rename b c", "a/\nb/\nc/");
        leaves(profile, "body; mkdir a; rename a b; rename b a", "nothing\na/\nb/");
        let program = "mkdir a; creat a/x; mkdir p; mkdir q; body; rename a p/a; rename p/a q/a";
        leaves(profile, program, "a/; a/x=; p/; q/\np/; p/a/; p/a/x=; q/\np/; q/; q/a/; q/a/x=");
    }
}

#[test]
fn an_entry_that_replaces_a_moved_directory_does_not_lose_it() {
    for profile in Profile::all() {
        let program = "mkdir a; creat a/x; body; rename a b; creat a";
        leaves(profile, program, "a/; a/x=\nb/; b/x=\na=; b/; b/x=");
        let program = "mkdir a; mkdir b; body; exchange a b; rename a c";
        leaves(profile, program, "a/; b/\nb/; c/");
    }
}

#[test]
fn a_directory_never_moves_into_one_that_was_lost_or_into_itself() {
    for profile in Profile::all() {
        let program = "mkdir a; body; mkdir p; rename a p/a; fsync .";
        ends_in(profile, program, "p/; p/a/");
        let program = "mkdir a; body; mkdir p; rename a p/a";
        leaves(profile, program, "a/\na/; p/\np/; p/a/");
        // First b moves into a and out again, then a into b.
        let program = "mkdir a; mkdir b; body; rename b a/b; rename a/b c; rename a c/a";
        leaves(profile, program, "a/; b/\na/; a/b/\na/; c/\nc/; c/a/");
    }
}

#[test]
fn a_moved_directory_is_durable_when_either_parent_is_synced() {
    for parent in ["p", "q"] {
        let program = format!("mkdir p; mkdir q; mkdir p/a; body; rename p/a q/a; fsync {parent}");
        ends_in(POSIX, &program, "p/; q/; q/a/");
    }
}

#[test]
fn a_directory_survives_the_removal_of_one_that_it_was_moved_through() {
    let program = "mkdir p; mkdir p/x; mkdir q; mkdir d; body; rename p/x d/x; rename d/x q/x; \
                   rmdir d; fsync .";
    for profile in Profile::all() {
        ends_in(profile, program, "p/; q/; q/x/");
    }
}

#[test]
fn hard_links_share_the_kept_pieces_of_their_file() {
    let program = "write a 0 1 o; body; link a b; write b 0 1 n";
    for profile in &PLAIN {
        leaves(profile, program, "a=o*1\na=n*1\na=o*1; b=o*1\na=n*1; b=n*1");
    }
}

#[test]
fn a_symbolic_link_is_never_empty() {
    for profile in Profile::all() {
        leaves(profile, "body; symlink target s", "nothing\ns->target");
    }
}

// Files without a name.

#[test]
fn a_synced_file_has_its_data_if_its_unlink_is_lost() {
    for profile in Profile::all() {
        let program = "body; write f 0 3 a; sync; write f 0 3 b; fsync f; unlink f";
        ends_in(profile, program, "nothing\nf=b*3");
    }
    // On posix the name may come back though it was never durable.
    let program = "body; creat f; write f 0 3 n; fsync f; unlink f";
    ends_in(POSIX, program, "nothing\nf=n*3");
}

#[test]
fn an_unlinked_file_may_come_back_with_a_part_of_its_pending_data() {
    let program = "write f 0 1 o; body; write f 0 1 n; unlink f";
    for profile in Profile::all() {
        ends_in(profile, program, "nothing\nf=o*1\nf=n*1");
    }
}

#[test]
fn a_removed_directory_may_come_back_with_its_contents() {
    let program = "mkdir d; write d/x 0 1 o; body; unlink d/x; rmdir d";
    for profile in Profile::all() {
        ends_in(profile, program, "nothing\nd/\nd/; d/x=o*1");
    }
}

#[test]
fn a_file_whose_unlink_is_durable_leaves_nothing_pending() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "mkdir d; write d/f 0 1 o");
        rig.run(
            "write d/f 0 9000 n; creat d/g; append d/g 5000 m; unlink d/f; unlink d/g; rmdir d",
        );
        assert!(!rig.pending.is_empty());
        rig.run("fsync .");
        assert!(rig.pending.is_empty(), "{:?}", rig.pending.pieces().collect::<Vec<_>>());
        assert_eq!(rig.pending.durable().nodes().count(), 1);
    }
}

#[test]
fn a_file_that_never_had_a_name_is_found_nowhere() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "");
        let ino = rig.pending.live().next_ino();
        let effects = [
            Effect::Inode { ino, kind: Kind::File, mode: 0o600, target: b"" },
            Effect::Write { ino, offset: 0, bytes: b"abc" },
        ];
        effects.iter().for_each(|effect| rig.pending.apply(effect, Time::START));
        assert_eq!(rig.states(), lines("nothing"));
        rig.pending.apply(&Effect::Free { ino }, Time::START);
        assert!(rig.pending.is_empty());
    }
}

// Failed syncs.

/// The profiles that accept changes after a failed sync.
fn continuing() -> Vec<Profile> {
    let goes_on = |profile: &&Profile| profile.failure.mount == MountState::Usable;
    Profile::all().iter().filter(goes_on).copied().collect()
}

#[test]
fn a_journal_keeps_its_contents_when_a_failed_sync_makes_the_file_system_read_only() {
    let program = "write f 0 8192 o; body; write f 0 4096 n; write f 4096 4096 m; fsync-fails f; \
                   fsync f; sync";
    let states = "f=o*8192\nf=n*4096 o*4096\nf=n*4096 m*4096";
    ends_in(&Profile::EXT4_JOURNAL, program, states);
}

#[test]
fn a_later_sync_does_not_bring_back_data_that_a_size_was_waiting_for() {
    let program = "write f 0 4096 o; body; append f 4096 n; fsync-fails f; fsync f; sync";
    ends_in(&Profile::XFS, program, "f=o*4096\nf=o*4096 n*4096");
    let zeros = "f=o*4096 .*4096\nf=o*4096 n*4096";
    for profile in [Profile::EXT4, Profile::EXT4_DIOREAD_LOCK, Profile::EXT4_NODELALLOC] {
        ends_in(&profile, program, zeros);
    }
}

#[test]
fn an_append_that_succeeds_leaves_a_bad_block_where_one_failed_before() {
    let program =
        "write f 0 4096 o; body; append f 4096 n; fsync-fails f; append f 4096 m; fsync f";
    for profile in [Profile::EXT4, Profile::XFS, Profile::BTRFS] {
        ends_in(&profile, program, "f=o*4096 .*4096 m*4096\nf=o*4096 n*4096 m*4096");
    }
}

#[test]
fn an_evicted_page_shows_the_medium_and_nothing_is_undecided_any_more() {
    for (profile, evicted) in [
        (Profile::EXT4, "f=o*4096 .*4096"),
        (Profile::XFS, "f=o*4096"),
        (Profile::BTRFS, "f=o*4096 .*4096"),
    ] {
        let mut rig = Rig::new(&profile, "write f 0 4096 o");
        rig.run("write f 0 2048 u; append f 4096 n; fsync-fails f");
        assert!(rig.pending.has_undecided());
        let after = rig.pending.evicted(Time::START);
        assert_eq!(text(after.live(), &[]), evicted, "{}", profile.name);
        assert!(!after.has_undecided());
        assert_eq!(text(&after.keep(&Fate::all()).tree, &[]), evicted, "{}", profile.name);
    }
}

#[test]
fn a_page_that_was_written_again_is_dirty_and_is_not_evicted() {
    for profile in &continuing() {
        let mut rig = Rig::new(profile, "write f 0 8192 o");
        rig.run("write f 0 8192 n; fsync-fails f; write f 0 1 m");
        let after = rig.pending.evicted(Time::START);
        assert_eq!(text(after.live(), &[]), "f=m*1 n*4095 o*4096", "{}", profile.name);
    }
}

#[test]
fn data_whose_sync_failed_stays_undecided_though_a_later_sync_succeeds() {
    let program = "write f 0 2 o; body; write f 0 2 n; fsync-fails f; fsync f; sync";
    for profile in Profile::all() {
        ends_in(profile, program, "f=o*2\nf=n*2");
    }
}

#[test]
fn an_append_whose_sync_failed_may_be_zeros_at_its_new_size() {
    let program = "write f 0 2 o; body; append f 2 n; fsync-fails f; fsync f; fsync .";
    for profile in &PLAIN {
        ends_in(profile, program, "f=o*2 .*2\nf=o*2 n*2");
    }
}

#[test]
fn a_block_that_is_written_again_after_a_failed_sync_goes_out_whole() {
    for profile in &continuing() {
        let mut rig = Rig::new(profile, "write f 0 2 o");
        rig.run("write f 0 1 n; fsync-fails f; write f 1 1 m; fsync f");
        assert_eq!(rig.states(), lines("f=n*1 m*1"));
        assert!(rig.pending.is_empty());
    }
}

#[test]
fn until_it_is_synced_a_rewrite_leaves_the_failed_one_undecided() {
    let program = "write f 0 2 o; body; write f 0 1 n; fsync-fails f; write f 1 1 m";
    for profile in &continuing() {
        ends_in(profile, program, "f=o*2\nf=n*1 o*1\nf=n*1 m*1");
    }
}

#[test]
fn each_block_of_a_failed_sync_is_undecided_on_its_own() {
    let program = "write f 0 8192 o; body; write f 0 8192 n; sync-fails; sync; write f 0 1 m; sync";
    for profile in &continuing() {
        ends_in(profile, program, "f=m*1 n*4095 o*4096\nf=m*1 n*8191");
    }
}

#[test]
fn a_failed_sync_of_a_range_gives_up_only_its_blocks() {
    let program = "write f 0 8192 o; body; write f 0 8192 n; sync-range-fails f 4096 1; fsync f";
    for profile in &PLAIN {
        ends_in(profile, program, "f=n*4096 o*4096\nf=n*8192");
    }
}

#[test]
fn a_failed_sync_of_a_directory_or_of_another_file_gives_nothing_up() {
    let program = "write f 0 2 o; write g 0 1 o; body; write f 0 2 n; creat h; \
                   fsync-fails .; fsync-fails g; fsync f; fsync .";
    for profile in &continuing() {
        ends_in(profile, program, "f=n*2; g=o*1; h=");
    }
}

#[test]
fn a_truncation_is_durable_though_a_sync_failed_in_between() {
    let program = "write f 0 9000 o; body; truncate f 4096; fsync-fails f; fsync f; truncate f 9000; \
                   fsync f";
    for profile in &continuing() {
        ends_in(profile, program, "f=o*4096 .*4904");
    }
}

#[test]
fn the_cache_shows_data_that_a_failed_sync_gave_up() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 2 o");
        rig.run("write f 0 2 n; fsync-fails f; fsync f");
        assert_eq!(rig.live(), "f=n*2");
        let after = rig.pending.process_crash(Time::START);
        assert_eq!(text(&after.keep(&Fate::all()).tree, &[]), "f=n*2");
        assert_eq!(text(&after.keep(&Fate::nothing()).tree, &[]), "f=o*2");
    }
}

// Process crashes, and crashes after crashes.

#[test]
fn a_process_crash_keeps_written_data_and_leaves_it_pending() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 2 o");
        rig.run("write f 0 2 n");
        rig.pending = rig.pending.process_crash(Time::START);
        assert_eq!(rig.live(), "f=n*2");
        assert_eq!(rig.states(), lines("f=o*2\nf=n*2"));
        rig.run("fsync f");
        assert_eq!(rig.states(), lines("f=n*2"));
    }
}

#[test]
fn a_process_crash_frees_inodes_that_only_descriptors_held() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 2 o");
        let ino = rig.find("f");
        let unlink = Effect::Entry { dir: Ino::ROOT, name: b"f", ino: None };
        rig.pending.apply(&unlink, Time::START);
        assert!(rig.pending.live().node(ino).is_some());
        let after = rig.pending.process_crash(Time::START);
        assert!(after.live().node(ino).is_none());
        assert_eq!(text(&after.keep(&Fate::nothing()).tree, &[]), "f=o*2");
    }
}

#[test]
fn a_process_that_dies_in_a_write_leaves_whole_pages_of_it() {
    for profile in Profile::all() {
        let rig = Rig::new(profile, "write f 0 2 o");
        let write = Effect::Write { ino: rig.find("f"), offset: 2, bytes: &[b'n'; 9000] };
        let live = |pages| {
            let after = rig.pending.partial_write(&write, pages, Time::START);
            text(&after.keep(&Fate::all()).tree, &[])
        };
        let found: Vec<String> = (0..4).map(live).collect();
        assert_eq!(found, ["f=o*2", "f=o*2 n*4094", "f=o*2 n*8190", "f=o*2 n*9000"]);
    }
}

#[test]
fn data_lost_beyond_the_size_does_not_come_back_when_the_file_grows() {
    let mut rig = Rig::new(POSIX, "write f 0 2 o");
    rig.run("append f 9000 n");
    let shorter = Fate::all().with(GroupId::Size(rig.find("f")), 0);
    let state = rig.pending.keep(&shorter);
    assert_eq!(state.digest, rig.pending.keep(&Fate::nothing()).digest);
    let mut rig = Rig::on(state.tree, POSIX);
    rig.run("truncate f 9002; fsync f");
    assert_eq!(rig.states(), lines("f=o*2 .*9000"));
}

#[test]
fn bytes_beyond_a_durable_size_are_not_found() {
    let mut rig = Rig::new(&LOGGED, "write f 0 4096 o");
    rig.run("truncate f 100; creat g; fsync .");
    assert!(!rig.pending.is_empty(), "the zeros are pending, the size is not");
    let small = Rig::new(&LOGGED, "write f 0 100 o; creat g").pending.keep(&Fate::nothing());
    assert_eq!(rig.pending.keep(&Fate::nothing()).digest, small.digest);
}

#[test]
fn a_disk_continues_from_a_crash_state_and_crashes_again() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "write f 0 2 o");
        rig.run("append f 2 n; creat g");
        let found = rig.pending.keep(&Fate::prefix(1)).tree;
        let mut rig = Rig::on(found, profile);
        let before = rig.live();
        rig.run("write f 0 1 r; fsync f; write f 0 1 s");
        let states: Vec<String> = rig.states().into_iter().collect();
        let after = |byte| before.replacen("f=o*2", &format!("f={byte}*1 o*1"), 1);
        assert_eq!(states, [after("r"), after("s")]);
    }
}

// Tears.

#[test]
fn a_block_in_flight_tears_between_its_sectors() {
    let program = "write f 0 1536 o; body; write f 0 1536 n";
    let tail = "f=o*1536\nf=n*512 o*1024\nf=n*1024 o*512\nf=n*1536";
    let posix = format!("{tail}\nf=o*512 n*1024\nf=o*1024 n*512");
    assert_eq!(reachable_torn(TAIL, program), lines(tail));
    assert_eq!(reachable_torn(POSIX, program), lines(&posix));
    let tear = TearRule { subset: true, ..POSIX.tear };
    let any = format!("{posix}\nf=o*512 n*512 o*512\nf=n*512 o*512 n*512");
    assert_eq!(reachable_torn(&Profile { tear, ..*POSIX }, program), lines(&any));
    let tear = TearRule { sector: 4096, ..POSIX.tear };
    let none = lines("f=o*1536\nf=n*1536");
    assert_eq!(reachable_torn(&Profile { tear, ..*POSIX }, program), none);
}

#[test]
fn only_data_of_the_effect_in_flight_tears() {
    for profile in &PLAIN {
        let program = "write f 0 1024 o; creat g; body; write f 0 1024 n; write g 0 1 x";
        let mut rig = Rig::new(profile, "write f 0 1024 o; creat g");
        rig.run("write f 0 1024 n");
        assert_ne!(tearing::tears(&rig.pending, 0, Keep::All).count(), 0);
        rig.run("write g 0 1 x");
        assert_eq!(tearing::tears(&rig.pending, 1, Keep::All).count(), 0);
        assert!(reachable_torn(profile, program).contains("f=n*512 o*512; g="));
        assert!(!reachable_torn(profile, program).contains("f=n*512 o*512; g=x*1"));
    }
}

#[test]
fn a_torn_append_ends_inside_its_record_on_tail_prefix() {
    let program = "body; creat f; sync; append f 1100 n";
    let torn = reachable_torn(TAIL, program);
    assert_eq!(torn, lines("nothing\nf=\nf=n*512\nf=n*1024\nf=n*1100"));
}

#[test]
fn a_block_may_tear_between_two_versions_that_are_not_consecutive() {
    let program = "write a 0 9000 o; body; truncate a 100; append a 50 n";
    let torn = reachable_torn(POSIX, program);
    assert!(torn.contains("a=o*100 n*50 .*362 o*8488"), "seen on ext4 and xfs of Linux 6.18");
}

// Cost.

#[test]
fn many_versions_of_a_block_cost_few_pages() {
    for profile in Profile::all() {
        let mut rig = Rig::new(profile, "creat f");
        let ino = rig.find("f");
        let mut page = [b'x'; 4096];
        for round in 0u32..10_000 {
            // Alternately near the start and near the end, so that both sides stay equal.
            let at = if round % 2 == 0 { 100 } else { 3900 };
            page[at..at + 4].copy_from_slice(&round.to_le_bytes());
            let effect = Effect::Write { ino, offset: 0, bytes: &page };
            rig.pending.apply(&effect, Time::START);
        }
        let whole = rig.pending.whole_pages();
        assert!((10_000 / 32 - 1..=10_000 / 32 + 1).contains(&whole), "{whole}");
        let group = rig.pending.groups().map(|(id, _)| id.clone()).next().expect("one is pending");
        let found = rig.pending.keep(&Fate::all().with(group, 5_000)).tree;
        let content = found.node(ino).and_then(|node| node.content()).expect("a file");
        let mut bytes = [0; 4];
        content.read(3900, &mut bytes);
        assert_eq!(u32::from_le_bytes(bytes), 4_999);
    }
}

#[test]
fn profiles_are_found_by_name() {
    for profile in Profile::all() {
        assert_eq!(
            Profile::by_name(profile.name).map(|found| found.promise),
            Some(profile.promise)
        );
    }
    assert!(Profile::by_name("zfs").is_none());
}
