//! More programs, and what a second rig saw real kernels leave of them: all of it is allowed.
//!
//! A line of `seen.jsonl` is one of `truth.jsonl` with the program in it. The rig made what blinds
//! the first one: transactions of btrfs that are committed without their data, as its timer does,
//! and a disk that holds some writes back while it completes later ones.
//! It made fewer images of each program, so a state that is allowed and missing here says nothing.

use std::collections::BTreeSet;

use crashpoint::disk::profile::Profile;

use crate::real::{Seen, observations};
use crate::{allowed, inline};

/// Where btrfs leaves neither of two files under a name, since a second name of the one that was
/// renamed over was synced. A rename over a file is not as weak as that on `posix`: engines could
/// not replace a file any more.
const NEITHER: &[&str] =
    &["link-replace", "replaced-link", "replaced-link-fdatasync", "replaced-link-write"];

fn seen() -> Vec<Seen> {
    observations("seen.jsonl")
}

/// What was seen of some profile's file system and is not allowed by it.
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
fn what_was_seen_of_more_programs_is_allowed() {
    let profiles: BTreeSet<String> =
        seen().into_iter().map(|seen| seen.profile().to_owned()).collect();
    assert!(profiles.len() >= 3, "{profiles:?}");
    let by_name = |name: &String| Profile::by_name(name).expect("a profile for each file system");
    let wrong: Vec<String> =
        profiles.iter().map(by_name).flat_map(|profile| differences(&profile)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn posix_allows_what_was_seen_of_more_programs() {
    for seen in seen().iter().filter(|seen| !NEITHER.contains(&seen.program.as_str())) {
        let allowed = allowed(&inline(&seen.litmus), &Profile::POSIX, false);
        let missing: Vec<&String> = seen.states.difference(&allowed).collect();
        assert!(missing.is_empty(), "{} {}: {missing:?}", seen.profile(), seen.program);
    }
}
