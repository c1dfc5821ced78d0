//! CrashMonkey's ACE (OSDI'18): all workloads of one call, and some of two, on two directories with
//! two files each; after each call something is synced, and must be found after the crash.

use std::collections::BTreeSet;

use crashpoint::Profile;

use crate::{allowed, inline};

/// Directories and files that every workload begins with.
const SETUP: &str = "mkdir A; mkdir B; write A/foo 0 5000 a; write B/bar 0 5000 b";

/// The calls of ACE that the grammar has, on each of its files.
fn calls() -> Vec<String> {
    let files = ["A/foo", "A/new", "B/bar", "B/new"];
    let mut calls = vec!["mkdir A/C".to_owned(), "mkdir B/C".to_owned()];
    for file in files {
        let (dir, other) = if file.starts_with('A') { ("A", "B") } else { ("B", "A") };
        if file.ends_with("new") {
            calls.push(format!("creat {file}"));
            calls.push(format!("symlink foo {file}"));
            continue;
        }
        calls.extend([
            format!("fallocate {file} 0 8192"),
            format!("fallocate {file} 4096 8192 keep-size"),
            format!("append {file} 3000 n"),
            format!("write {file} 2000 1000 n"),
            format!("write {file} 3000 4000 n"),
            format!("truncate {file} 2500"),
            format!("truncate {file} 9000"),
            format!("unlink {file}"),
            format!("link {file} {dir}/link"),
            format!("link {file} {other}/link"),
            format!("rename {file} {dir}/moved"),
            format!("rename {file} {other}/moved"),
        ]);
    }
    calls.push("rename A/foo B/bar".to_owned());
    calls.push("rename B/bar A/foo".to_owned());
    calls
}

/// The syncs that may follow a call.
const SYNCS: [&str; 7] = [
    "sync",
    "fsync A",
    "fsync B",
    "fsync A/foo",
    "fsync B/bar",
    "fdatasync A/foo",
    "fdatasync B/bar",
];

/// The last path that a call names.
fn target(call: &str) -> &str {
    let words: Vec<&str> = call.split(' ').collect();
    match words[0] {
        "rename" | "link" | "symlink" => words[2],
        _ => words[1],
    }
}

/// The workloads of one call: each followed by each sync that makes sense, also of the paths that
/// it names.
fn seq_1() -> Vec<String> {
    let mut all = Vec::new();
    for call in calls() {
        for sync in SYNCS {
            all.push(format!("{call}; {sync}"));
        }
        let named = target(&call);
        if !SYNCS.iter().any(|sync| sync.ends_with(named)) && !call.starts_with("unlink") {
            all.push(format!("{call}; fsync {named}"));
            all.push(format!("{call}; fdatasync {named}"));
        }
    }
    all
}

/// The workloads of two calls with a sync after each.
fn seq_2() -> Vec<String> {
    let one = seq_1();
    let pair = |first: &String| {
        let first = first.clone();
        one.iter().map(move |second| format!("{first}; {second}")).collect::<Vec<String>>()
    };
    one.iter().flat_map(pair).collect()
}

/// The states that break a workload's promise: after its last sync, a synced file has its content
/// under some name, a directory its entries, and a sync of everything leaves one state. `None` if a
/// call of the workload fails on the live file system.
fn breaks(body: &str, profile: &Profile) -> Option<Vec<String>> {
    let text = format!("setup; {SETUP}; body; {body}; mark m");
    let program = crashpoint::inner::litmus::Program::parse(&text.replace("; ", "\n")).ok()?;
    let states = crashpoint::inner::litmus::explore(&program, profile, false).ok()?;
    let marked: BTreeSet<Vec<String>> = states
        .into_iter()
        .map(|state| state.state)
        .filter(|state| state.iter().any(|line| line == "mark:m"))
        .collect();
    let live = live(body);
    let sync = body.rsplit("; ").next().unwrap_or_default();
    let (how, path) = sync.split_once(' ').unwrap_or((sync, ""));
    // On posix, and after fdatasync on ext4, the name may lead to another file.
    let moved = body.contains("rename") || body.contains("unlink");
    let names =
        profile.name != "posix" && !(how == "fdatasync" && profile.name.starts_with("ext4"));
    let wrong = |state: &&Vec<String>| match how {
        "sync" => **state != live,
        _ if live.contains(&format!("{path}/")) => entries(state, path) != entries(&live, path),
        _ => match (content(state, path), content(&live, path)) {
            (Some(found), Some(synced)) => found != synced && (names || !moved),
            (None, Some(_)) => names,
            _ => false,
        },
    };
    let broken: Vec<String> = marked.iter().filter(wrong).map(|s| s.join(" ")).collect();
    Some(broken)
}

/// The state that processes see at the end.
fn live(body: &str) -> Vec<String> {
    let text = format!("setup; {SETUP}; body; {body}; sync; mark end");
    let states = allowed(&inline(&text), &Profile::POSIX, false);
    let marked = states.into_iter().find(|state| state.ends_with("mark:end")).expect("the end");
    let mut lines: Vec<String> = marked.split("; ").map(str::to_owned).collect();
    lines.pop();
    lines.push("mark:m".to_owned());
    lines
}

/// The names right below a directory.
fn entries<'a>(state: &'a [String], dir: &str) -> BTreeSet<&'a str> {
    let below = state.iter().filter_map(|line| line.strip_prefix(dir)?.strip_prefix('/'));
    let name = |rest: &'a str| {
        let end = rest.find(['=', '/']).or_else(|| rest.find("->")).unwrap_or(rest.len());
        &rest[..end]
    };
    below.filter(|rest| !rest.is_empty()).map(name).collect()
}

fn content<'a>(state: &'a [String], path: &str) -> Option<&'a str> {
    state.iter().find_map(|line| line.strip_prefix(path)?.strip_prefix('='))
}

/// The workloads that a profile breaks, and how many of them run.
pub(crate) fn check(profile: &Profile, workloads: &[String]) -> (Vec<String>, usize) {
    let mut broken = Vec::new();
    let mut ran = 0;
    for body in workloads {
        let Some(states) = breaks(body, profile) else { continue };
        ran += 1;
        broken.extend(states.first().map(|state| format!("{} {body}: {state}", profile.name)));
    }
    (broken, ran)
}

/// The promises that a profile breaks in the workloads of one call.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    check(profile, &seq_1()).0
}

#[test]
fn synced_files_are_found_after_every_workload_of_one_call() {
    let mut all = Vec::new();
    for profile in Profile::all() {
        let (broken, ran) = check(profile, &seq_1());
        all.extend(broken);
        assert!(ran > 150, "{ran}");
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// How many workloads of two calls are checked: `ACE_SEQ_2=63504` for all.
fn asked_for() -> usize {
    std::env::var_os("ACE_SEQ_2").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(500)
}

#[test]
fn synced_files_are_found_after_workloads_of_two_calls() {
    let (all, asked) = (seq_2(), asked_for());
    // A step that shares no factor with their number visits them without a pattern.
    let sampled: Vec<String> =
        (0..asked.min(all.len())).map(|n| all[n * 7_919 % all.len()].clone()).collect();
    let mut wrong = Vec::new();
    for profile in Profile::all() {
        let (broken, ran) = check(profile, &sampled);
        println!(
            "{}: {ran} of {} workloads are valid, of {}",
            profile.name,
            sampled.len(),
            all.len()
        );
        wrong.extend(broken);
        assert!(ran > sampled.len() / 2, "{ran}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
