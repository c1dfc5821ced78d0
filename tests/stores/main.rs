//! Fifteen kinds of bug that small stores have: each is found by the default budget, and the same
//! store without it passes.

mod store;

use std::collections::BTreeSet;
use std::time::Instant;

use crashpoint::inner::check::check_at;
use crashpoint::{Entry, KeyValue, Seed, sim};

use store::{Planted, bug};

/// The budget of a twin in the tests of one seed.
const QUICK: u64 = 240;
/// The seeds at which each bug is looked for.
const SEEDS: std::ops::Range<u64> = 0..20;

/// A bug: its name, the store that has it, and the one that does not.
type Row = (&'static str, Entry, Entry);

macro_rules! bugs {
    ($($name:ident: $bug:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let [planted, twin] = [entry::<{ $bug }, false>(), entry::<{ $bug }, true>()];
                let report = check_at(&planted, Seed(1), None);
                assert!(report.is_some(), "the bug is not found");
                assert_eq!(check_at(&twin, Seed(1), Some(QUICK)), None);
            }
        )*

        const BUGS: &[Row] = &[
            $((
                stringify!($name),
                entry::<{ $bug }, false>(),
                entry::<{ $bug }, true>(),
            ),)*
        ];
    };
}

const fn entry<const BUG: u8, const TWIN: bool>() -> Entry {
    sim::<KeyValue<Planted<BUG, TWIN>>>()
}

bugs! {
    recovery_does_not_truncate_a_torn_tail: bug::TORN_TAIL;
    the_old_log_is_unlinked_before_the_directory_is_synced: bug::UNLINKED_EARLY;
    a_snapshot_loses_entries_past_64_keys: bug::SHORT_SNAPSHOT;
    a_long_write_bypasses_the_buffer: bug::BYPASS;
    a_failed_fsync_is_forgotten: bug::FAILED_SYNC;
    the_sequence_restarts_after_a_compaction: bug::SEQUENCE;
    a_delete_does_not_mark_the_store_dirty: bug::CLEAN_DELETE;
    recovery_rewrites_without_a_sync: bug::UNSYNCED_REWRITE;
    the_rotation_by_the_hour_leaves_the_tail_unsynced: bug::ROTATION;
    a_short_write_is_taken_for_a_whole_one: bug::SHORT_WRITE;
    the_newest_snapshot_is_chosen_by_its_time: bug::BY_TIME;
    appends_go_to_the_file_that_was_replaced: bug::REPLACED;
    the_name_of_the_new_log_is_not_synced: bug::UNSYNCED_NAME;
    the_state_depends_on_the_number_of_openings: bug::OPENINGS;
    the_snapshot_misses_the_write_buffer: bug::BUFFER_MISSED;
}

/// The class in a report.
fn class(report: &str) -> &str {
    let line = report.lines().find_map(|line| line.trim().strip_prefix("class"));
    line.and_then(|line| line.split_whitespace().next()).unwrap_or("none")
}

/// Bugs that these seeds do not find, and a line for each bug.
#[expect(clippy::disallowed_methods, reason = "the seconds of a search are real")]
fn search() -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut lines) = (Vec::new(), Vec::new());
    for (name, planted, _) in BUGS {
        let started = Instant::now();
        let reports: Vec<_> = SEEDS.map(|seed| check_at(planted, Seed(seed), None)).collect();
        let seconds = started.elapsed().as_secs_f64();
        let missed = SEEDS.zip(&reports).filter(|(_, report)| report.is_none());
        wrong.extend(missed.map(|(seed, _)| format!("{name}: not found at seed {seed}")));
        let found = reports.iter().flatten().count();
        let classes: BTreeSet<&str> =
            reports.iter().flatten().map(|report| class(report)).collect();
        lines.push(format!("{found:3} of {} in {seconds:5.1} s  {name}: {classes:?}", SEEDS.end));
    }
    (wrong, lines)
}

#[test]
#[ignore = "takes minutes: .ci/full runs it"]
fn each_bug_is_found_at_every_seed() {
    let (wrong, lines) = search();
    let table = std::env::var_os("CRASHPOINT_STORES_TABLE");
    if let Some(path) = table {
        std::fs::write(path, lines.join("\n") + "\n").expect("a file");
    }
    assert!(wrong.is_empty(), "{}\n{}", lines.join("\n"), wrong.join("\n"));
}

#[test]
#[ignore = "takes minutes: .ci/full runs it"]
fn no_twin_fails_at_any_seed() {
    for (name, _, twin) in BUGS {
        for seed in SEEDS {
            if let Some(report) = check_at(twin, Seed(seed), None) {
                panic!("{name}: the twin fails at seed {seed}: {report}");
            }
        }
    }
}
