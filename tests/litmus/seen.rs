//! More programs, and the states that a second rig saw real kernels leave: all of them are allowed.
//!
//! A line of `seen.jsonl` is one of `truth.jsonl` with the program in it. The rig covers what the
//! first one could not: transactions of btrfs that are committed without their data, as its timer
//! does, and a disk that delays some writes while it completes later ones. It made fewer images of
//! each program, so an allowed state that is missing here means nothing.

use std::collections::BTreeSet;

use crashpoint::Profile;
use crashpoint::inner::litmus::explore;

use crate::real::{Seen, observations};
use crate::{allowed, inline};

/// Programs for which btrfs leaves neither of two files under a name, because a second name of the
/// replaced file was synced. A rename over a file is not that weak on `posix`: engines could no
/// longer replace a file.
const NEITHER: &[&str] =
    &["link-replace", "replaced-link", "replaced-link-fdatasync", "replaced-link-write"];

/// Programs for which btrfs writes nothing when a file is synced after others took all its names.
/// On `posix` a sync of a file makes its content durable.
const NOTHING_SYNCED: &[&str] = &["replaced-append", "replaced-data"];

fn seen() -> Vec<Seen> {
    observations("seen.jsonl")
}

/// The states that were seen on a profile's file system and that the profile forbids.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    let mut differences = Vec::new();
    for seen in seen().iter().filter(|seen| seen.profile() == profile.name) {
        let allowed = allowed(&inline(&seen.litmus), profile, false);
        for state in seen.states.difference(&allowed) {
            differences
                .push(format!("{} {}: forbidden but seen: {state}", profile.name, seen.program));
        }
    }
    differences
}

#[test]
fn the_states_seen_of_more_programs_are_allowed() {
    let profiles: BTreeSet<String> =
        seen().into_iter().map(|seen| seen.profile().to_owned()).collect();
    assert!(profiles.len() >= 3, "{profiles:?}");
    let by_name = |name: &String| Profile::by_name(name).expect("a profile for each file system");
    let wrong: Vec<String> =
        profiles.iter().map(by_name).flat_map(|profile| differences(&profile)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn posix_allows_the_states_seen_of_more_programs() {
    let weaker = |seen: &&Seen| {
        let program = seen.program.as_str();
        !NEITHER.contains(&program) && !NOTHING_SYNCED.contains(&program)
    };
    for seen in seen().iter().filter(weaker) {
        let allowed = allowed(&inline(&seen.litmus), &Profile::POSIX, false);
        let missing: Vec<&String> = seen.states.difference(&allowed).collect();
        assert!(missing.is_empty(), "{} {}: {missing:?}", seen.profile(), seen.program);
    }
}

/// States that must not be left, each with its profile: what a sync forces though its neighbour of
/// another kind does not.
const FORCED: &[(Profile, &str, &str)] = &[
    (
        Profile::EXT4,
        "body; tmpfile . %t; write %t 0 100 n; fsync %t; link %t n; fsync %t; mark x",
        "mark:x",
    ),
    (
        Profile::EXT4,
        "body; tmpfile . %t; write %t 0 100 n; link %t n; fdatasync %t; mark x",
        "mark:x",
    ),
    (
        Profile::XFS,
        "body; tmpfile . %t; write %t 0 100 n; fsync %t; link %t n; fdatasync %t; mark x",
        "mark:x",
    ),
    (
        Profile::XFS,
        "setup; write b 0 9 b; write c 0 9 c; body; exchange b c; fsync b; mark x",
        "b=b*9; c=c*9; mark:x",
    ),
    (Profile::XFS, "setup; write b 0 9 b; body; rename b c; fdatasync c; mark x", "b=b*9; mark:x"),
    (
        Profile::BTRFS,
        "setup; write b 0 9 b; write c 0 9 c; body; exchange b c; fdatasync b; mark x",
        "b=b*9; c=c*9; mark:x",
    ),
    (
        Profile::BTRFS,
        "setup; write b 0 9 b; body; open b %h; unlink b; fsync %h; mark x",
        "b=b*9; mark:x",
    ),
    // A new file has no directory to log with it.
    (
        Profile::BTRFS,
        "setup; mkdir d; write d/c 0 9 c; body; creat n; rename d/c m; rename n o; fsync o; mark x",
        "d/; d/c=c*9; m=c*9; o=; mark:x",
    ),
];

#[test]
fn a_sync_forces_what_it_was_seen_to_force() {
    for (profile, text, state) in FORCED {
        let allowed = allowed(&inline(text), profile, false);
        let marked = allowed.iter().any(|state| state.ends_with("mark:x"));
        assert!(marked && !allowed.contains(*state), "{} {text}: {state}", profile.name);
    }
}

#[test]
fn a_removed_file_is_synced_by_the_descriptor_that_is_kept() {
    let text = "setup; write foo 0 100 o; body; unlink foo; fsync foo; mark synced";
    for profile in [Profile::EXT4, Profile::XFS, Profile::BTRFS] {
        let allowed = allowed(&inline(text), &profile, false);
        let expected: BTreeSet<String> =
            ["", "foo=o*100", "mark:synced"].into_iter().map(str::to_owned).collect();
        assert_eq!(allowed, expected, "{}", profile.name);
    }
}

#[test]
fn a_truncation_on_posix_stops_at_block_ends_and_leaves_no_hole_below() {
    let text = "setup; write j 0 8720 o; body; truncate j 0";
    let allowed = allowed(&inline(text), &Profile::POSIX, false);
    let expected: BTreeSet<String> =
        ["j=", "j=o*4096", "j=o*8192", "j=o*8720"].into_iter().map(str::to_owned).collect();
    assert_eq!(allowed, expected);
    let within = "setup; write j 0 8720 o; body; truncate j 5000";
    let allowed = super::allowed(&inline(within), &Profile::POSIX, false);
    assert!(allowed.contains("j=o*8192") && allowed.contains("j=o*5000"), "{allowed:?}");
    assert!(!allowed.iter().any(|state| state.contains(".*528")), "{allowed:?}");
}

#[test]
fn a_call_that_the_disk_lacks_is_a_named_error() {
    let text = "setup; write f 0 8192 o; body; collapse f 0 4096";
    let error = explore(&inline(text), &Profile::POSIX, false).expect_err("it is refused");
    assert_eq!(error.to_string(), "line 4, column 1: the call fails with ENOSYS");
}
