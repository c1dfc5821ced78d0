//! The lists of names that need no door, and how they differ from what is there.

use std::collections::BTreeSet;

/// How a list differs from what is there, in the order of the names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Neither treated nor listed.
    pub(crate) new: Vec<String>,
    /// Listed, but not there.
    pub(crate) gone: Vec<String>,
    /// Listed twice, or listed and treated.
    pub(crate) twice: Vec<String>,
}

/// The names of a list: lines of names, in groups that each begin with a reason after `#`.
fn names(list: &str) -> Vec<&str> {
    let mut reason = false;
    let mut names = Vec::new();
    for line in list.lines() {
        if line.trim().is_empty() {
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else {
            assert!(reason, "`{line}` stands without a reason");
            names.extend(line.split_whitespace());
        }
    }
    names
}

/// Compares what was found with the names that are treated, and the list of the others.
pub(crate) fn compare(found: &BTreeSet<&str>, treated: &BTreeSet<&str>, list: &str) -> Differences {
    let listed = names(list);
    let mut seen = BTreeSet::new();
    let again = listed.iter().filter(|name| !seen.insert(**name) || treated.contains(**name));
    let twice: BTreeSet<&str> = again.copied().collect();
    let owned = |names: Vec<&&str>| names.into_iter().map(|name| (*name).to_owned()).collect();
    let new = found.iter().filter(|name| !treated.contains(**name) && !seen.contains(**name));
    Differences {
        new: owned(new.collect()),
        gone: owned(seen.iter().filter(|name| !found.contains(**name)).collect()),
        twice: owned(twice.iter().collect()),
    }
}
