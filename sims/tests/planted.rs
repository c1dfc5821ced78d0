//! Every planted bug is found by one generator within one budget; engines without bugs pass.
#![expect(clippy::print_stdout, reason = "prints tables for runs with more seeds")]

use crashpoint::{Entry, Found, Seed, check_case, find};
use sims::toy::{self, ToySim};
use sims::{aof, append_log, checkpoint, document_log, fjall_fold, ledger, toy_threads};

/// The bugs that a default run leaves out: those that take 4,000 to 8,000 states at seed 0, and
/// those that need a certain fault, which `every_fault` finds by failing every call.
const NOT_BY_DEFAULT: [&str; 9] = [
    "checksum-unchecked",
    "failed-sync-forgiven",
    "half-line-kept",
    "k14-failed-sync-forgiven",
    "m15-old-file-kept",
    "m8-snapshot-unverified",
    "p21-log-goes-on",
    "sync-error-ignored",
    "write-error-ignored",
];
/// The most workloads of a seed to spend on one bug.
const WORKLOADS: u64 = 108;

/// How many seeds are tried: one by default. `PLANTED_SEEDS=20` prints the whole table, and
/// `PLANTED_ONLY=m13` limits it to some bugs.
fn seeds() -> u64 {
    sims::number_from_env("PLANTED_SEEDS").unwrap_or(1)
}

#[test]
fn each_bug_of_the_toy_is_found() {
    each_is_found(&toy::planted());
}

#[test]
fn each_bug_of_our_own_ledger_is_found() {
    each_is_found(&ledger::planted());
}

#[test]
fn each_bug_of_the_append_logs_origin_is_found() {
    each_is_found(&append_log::planted());
}

#[test]
fn each_bug_of_the_keyspaces_origin_is_found() {
    each_is_found(&aof::planted());
}

#[test]
fn the_keyspace_that_forgives_a_failed_sync_is_found_in_its_saved_case() {
    crashpoint::check_corpus::<aof::Aof<aof::FailedSyncForgiven>>(&sims::corpus());
}

#[test]
fn the_event_stores_bugs_that_need_a_certain_fault_are_found_in_their_saved_cases() {
    use checkpoint::{Checkpoint, HalfFrameKept, PageCacheTrusted};
    crashpoint::check_corpus::<Checkpoint<HalfFrameKept>>(&sims::corpus());
    crashpoint::check_corpus::<Checkpoint<PageCacheTrusted>>(&sims::corpus());
}

#[test]
fn each_bug_of_the_event_stores_origin_is_found() {
    each_is_found(&checkpoint::planted());
}

#[test]
fn each_bug_of_the_document_logs_origin_is_found() {
    each_is_found(&document_log::planted());
}

#[test]
fn the_document_log_that_forgives_a_failed_sync_is_found_in_its_saved_case() {
    use document_log::{DocumentLog, FailedSyncForgiven, SyncMode};
    crashpoint::check_corpus::<DocumentLog<SyncMode, FailedSyncForgiven>>(&sims::corpus());
}

#[test]
fn each_concurrency_bug_is_found() {
    // The others take more states than a default run has time for.
    const QUICK: [&str; 5] = [
        "ack-before-flush",
        "lost-wakeup",
        "compaction-races-writer",
        "flush-out-of-order",
        "close-does-not-wait",
    ];
    let mut entries = toy_threads::planted();
    entries.retain(|entry| seeds() > 1 || QUICK.contains(&entry.name));
    each_is_found(&entries);
}

#[test]
fn the_fold_without_what_it_adds_to_fjall_is_found() {
    for entry in fjall_fold::planted() {
        let findings: Vec<Found> =
            (0..seeds()).map(|seed| find(&entry, "posix", Seed(seed), WORKLOADS)).collect();
        println!("{}", row(entry.name, &findings));
        for finding in findings {
            assert!(finding.class.is_some(), "{}", entry.name);
            // That finding is fjall's own, with or without what the fold adds.
            assert!(!finding.report.contains("ChecksumMismatch"), "{}", finding.report);
        }
    }
}

fn each_is_found(entries: &[Entry]) {
    let only = std::env::var_os("PLANTED_ONLY").unwrap_or_default();
    let only = only.to_string_lossy();
    let mut missed = Vec::new();
    let in_time = |entry: &&Entry| seeds() > 1 || !NOT_BY_DEFAULT.contains(&entry.name);
    for entry in entries.iter().filter(in_time).filter(|entry| entry.name.contains(&*only)) {
        let findings: Vec<Found> =
            (0..seeds()).map(|seed| find(entry, "posix", Seed(seed), WORKLOADS)).collect();
        for finding in findings.iter().filter(|finding| finding.class.is_some()) {
            let replayed = check_case(entry, &finding.case);
            assert_eq!(replayed, Ok(()), "{}:\n{}", entry.name, finding.case);
        }
        missed.extend(findings.iter().filter(|f| f.class.is_none()).map(|_| entry.name));
        println!("{}", row(entry.name, &findings));
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// A row of the table: the name, median and worst number of states and of schedules until the bug
/// was found, and the classes.
fn row(name: &str, findings: &[Found]) -> String {
    let mut states: Vec<u64> = findings.iter().map(|finding| finding.states).collect();
    states.sort_unstable();
    let mut classes: Vec<String> = findings
        .iter()
        .map(|finding| finding.class.map_or("NOT FOUND".to_owned(), |class| class.to_string()))
        .collect();
    classes.sort();
    classes.dedup();
    let (median, worst) = (states[states.len() / 2], states[states.len() - 1]);
    let mut schedules: Vec<u64> = findings.iter().map(|finding| finding.schedules).collect();
    schedules.sort_unstable();
    let schedules = format!(
        "schedules median {:>4} worst {:>4}",
        schedules[schedules.len() / 2],
        schedules[schedules.len() - 1]
    );
    let classes = classes.join(", ");
    format!("{name:<26} states median {median:>6} worst {worst:>6}  {schedules}  {classes}")
}

#[test]
fn the_toy_without_bugs_passes() {
    let entry = crashpoint::sim::<ToySim<0>>();
    let workloads = if seeds() > 1 { 240 } else { 12 };
    for profile in ["posix", "tail-prefix"] {
        let finding = find(&entry, profile, Seed(1000), workloads);
        println!("toy on {profile}: {workloads} workloads, {} states", finding.states);
        assert!(finding.class.is_none(), "{}", finding.report);
    }
}

#[test]
fn the_document_log_with_threads_and_without_bugs_passes() {
    use document_log::{AsyncMode, Clients, DocumentLog, SyncMode};
    let (profiles, workloads) = match seeds() {
        1 => (&["posix"][..], 2),
        _ => (&["posix", "tail-prefix", "ext4"][..], 6),
    };
    for entry in [
        crashpoint::sim::<DocumentLog<AsyncMode>>(),
        crashpoint::sim::<DocumentLog<Clients<SyncMode>>>(),
        crashpoint::sim::<DocumentLog<Clients<AsyncMode>>>(),
    ] {
        for profile in profiles {
            let look = |seed| find(&entry, profile, Seed(1000 + seed), workloads);
            let findings: Vec<Found> = (0..seeds()).map(look).collect();
            println!("{}", row(entry.name, &findings));
            let found = findings.iter().find(|finding| finding.class.is_some());
            assert!(found.is_none(), "{}", found.map_or("", |finding| &finding.report));
        }
    }
}
