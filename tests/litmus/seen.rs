//! More programs, and the states that a second rig saw real kernels leave: all of them are allowed.
//!
//! A line of `seen.jsonl` is one of `truth.jsonl` with the program in it. The rig covers what the
//! first one could not: transactions of btrfs that are committed without their data, as its timer
//! does, and a disk that delays some writes while it completes later ones. It made fewer images of
//! each program, so an allowed state that is missing here means nothing.

use std::collections::BTreeSet;

use crashpoint::Profile;

use crate::real::{Seen, observations};
use crate::{allowed, inline};

/// Programs for which btrfs leaves neither of two files under a name, because a second name of the
/// replaced file was synced. A rename over a file is not that weak on `posix`: engines could no
/// longer replace a file.
const NEITHER: &[&str] =
    &["link-replace", "replaced-link", "replaced-link-fdatasync", "replaced-link-write"];

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
    for seen in seen().iter().filter(|seen| !NEITHER.contains(&seen.program.as_str())) {
        let allowed = allowed(&inline(&seen.litmus), &Profile::POSIX, false);
        let missing: Vec<&String> = seen.states.difference(&allowed).collect();
        assert!(missing.is_empty(), "{} {}: {missing:?}", seen.profile(), seen.program);
    }
}
