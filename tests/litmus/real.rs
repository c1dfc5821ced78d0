//! Every state that a real kernel left is allowed, and every other allowed state has a reason.

use std::collections::{BTreeMap, BTreeSet};

use crashpoint::Profile;

use crate::{allowed, folder, program};

/// A line of observations.
pub(crate) struct Seen {
    fs: String,
    pub(crate) program: String,
    /// The text of the program, where it is in the line.
    pub(crate) litmus: String,
    torn: bool,
    pub(crate) states: BTreeSet<String>,
}

impl Seen {
    /// The profile of the mount.
    pub(crate) fn profile(&self) -> &str {
        match self.fs.as_str() {
            "ext4,dioread_lock" => "ext4-dioread-lock",
            "ext4,nodelalloc" => "ext4-nodelalloc",
            "ext4,data=writeback" => "ext4-writeback",
            "ext4,data=journal" => "ext4-journal",
            other => other,
        }
    }
}

/// The observations of a file.
pub(crate) fn observations(file: &str) -> Vec<Seen> {
    let text = std::fs::read_to_string(folder().join(file)).expect("the observations");
    let read = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |key: &str| value[key].as_str().expect("a text").to_owned();
        let lines = |state: &serde_json::Value| {
            let lines = state["state"].as_array().expect("lines").iter();
            lines.map(|line| line.as_str().expect("a line")).collect::<Vec<_>>().join("; ")
        };
        Seen {
            fs: text("fs"),
            program: text("program"),
            litmus: value["litmus"].as_str().unwrap_or_default().to_owned(),
            torn: value.get("torn").is_some_and(|torn| torn.as_bool().expect("a flag")),
            states: value["states"].as_array().expect("states").iter().map(lines).collect(),
        }
    };
    text.lines().map(read).collect()
}

fn truth() -> Vec<Seen> {
    observations("truth.jsonl")
}

/// The states that are allowed though they were not observed, by profile and program, each with its
/// reason: see the head of `kept.txt`.
fn kept() -> BTreeMap<(String, String), BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder().join("kept.txt")).expect("the table");
    let reasons: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(": "))
        .map(|(word, _)| word)
        .collect();
    let mut kept: BTreeMap<(String, String), BTreeMap<String, String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.splitn(4, " | ").collect();
        let [profile, program, why, state] = fields[..] else { panic!("four fields: {line}") };
        assert!(reasons.contains(why.trim()), "no such reason: {line}");
        let states =
            kept.entry((profile.trim().to_owned(), program.trim().to_owned())).or_default();
        let state = state.trim_end_matches('|').trim();
        assert!(states.insert(state.to_owned(), why.trim().to_owned()).is_none(), "twice: {line}");
    }
    kept
}

/// The differences between the states that a profile allows and those that were seen or are kept
/// for a reason.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    let kept = kept();
    let mut differences = Vec::new();
    for seen in truth().iter().filter(|seen| seen.profile() == profile.name) {
        let allowed = allowed(&program(&seen.program), profile, seen.torn);
        let what = format!("{} {}", profile.name, seen.program);
        for state in seen.states.difference(&allowed) {
            differences.push(format!("{what}: forbidden but seen: {state}"));
        }
        if seen.torn {
            continue;
        }
        let key = (profile.name.to_owned(), seen.program.clone());
        let none = BTreeMap::new();
        let reasons = kept.get(&key).unwrap_or(&none);
        for state in allowed.difference(&seen.states) {
            if !reasons.contains_key(state) {
                differences.push(format!("{what}: allowed without a reason: {state}"));
            }
        }
        for state in reasons.keys().filter(|state| !allowed.contains(*state)) {
            differences.push(format!("{what}: kept for a reason, but not allowed: {state}"));
        }
    }
    differences
}

#[test]
fn each_allowed_state_was_seen_on_a_real_kernel_or_has_a_reason() {
    let mut profiles = BTreeSet::new();
    for seen in truth() {
        profiles.insert(seen.profile().to_owned());
    }
    assert_eq!(profiles.len(), 7);
    let by_name = |name: &String| Profile::by_name(name).expect("a profile for each file system");
    let differences: Vec<String> =
        profiles.iter().map(by_name).flat_map(|profile| differences(&profile)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn posix_allows_every_state_that_any_kernel_left() {
    for seen in truth().iter().filter(|seen| !seen.torn) {
        let allowed = allowed(&program(&seen.program), &Profile::POSIX, false);
        let missing: Vec<&String> = seen.states.difference(&allowed).collect();
        assert!(missing.is_empty(), "{} {}: {missing:?}", seen.fs, seen.program);
    }
}
