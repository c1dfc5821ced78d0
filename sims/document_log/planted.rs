//! The document log with each bug of its origin, and with some that it never had, on the sim that
//! can meet it.

use crashpoint::registry::{Entry, sim};

use super::{AsyncMode, Clients, DocumentLog, Planted, SyncMode};
use crate::engines::document_log::Bugs;

macro_rules! planted {
    ($($name:ident $text:literal $bug:ident $mode:ty;)*) => {
        $(
            struct $name;

            impl Planted for $name {
                const NAME: &'static str = $text;

                fn bugs() -> Bugs {
                    Bugs { $bug: true, ..Bugs::default() }
                }
            }
        )*

        /// The log with each bug that a workload can meet. M8 needs damage, M9 an open that fails,
        /// M16 two logs. Behind a background writer M13 stays hidden: the lines of a batch are
        /// queued without a call between them, so that no other thread runs there.
        pub fn planted() -> Vec<Entry> {
            vec![$(sim::<DocumentLog<$mode, $name>>()),*]
        }
    };
}

planted! {
    SnapshotCountsOldLines "m1-snapshot-counts-old-lines" snapshot_counts_old_lines SyncMode;
    SnapshotNotBound "snapshot-not-bound" snapshot_not_bound SyncMode;
    NothingSynced "m4-nothing-synced" nothing_synced SyncMode;
    DirectoryNotSynced "m4-directory-not-synced" directory_not_synced SyncMode;
    RenameBeforeSync "m4-rename-before-sync" rename_before_sync SyncMode;
    TailKept "m5-tail-kept" tail_kept SyncMode;
    RefusedBatchBegun "m6-refused-batch-begun" refused_batch_begun SyncMode;
    SkippedLinesShift "m7-skipped-lines-shift" skipped_lines_shift SyncMode;
    FlushOnIdle "m10-flush-on-idle" flush_on_idle AsyncMode;
    CompactionForgets "m12-compaction-forgets" compaction_forgets Clients<SyncMode>;
    CompactionForgetsLate "m12-compaction-forgets-late" compaction_forgets Clients<AsyncMode>;
    BatchesInterleave "m13-batches-interleave" batches_interleave Clients<SyncMode>;
    PlacesNotMoved "m14-places-not-moved" places_not_moved SyncMode;
    OldFileKept "m15-old-file-kept" old_file_kept SyncMode;
    BatchNotMarked "batch-not-marked" batch_not_marked SyncMode;
    HalfLineKept "half-line-kept" half_line_kept SyncMode;
    PageCacheTrusted "page-cache-trusted" page_cache_trusted SyncMode;
}

/// P21, in a case of its own: it takes a page that only the failed sync would have made durable,
/// which few workloads leave behind.
pub struct FailedSyncForgiven;

impl Planted for FailedSyncForgiven {
    const NAME: &'static str = "p21-failed-sync-forgiven";

    fn bugs() -> Bugs {
        Bugs { failed_sync_forgiven: true, ..Bugs::default() }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::print_stdout, reason = "the tables, for who asks for more seeds")]

    use super::*;
    use crashpoint::seed::Seed;
    use crashpoint::{Finding, check_case, find};

    /// How many workloads of a seed may be spent on one bug.
    const WORKLOADS: u64 = 108;

    /// The seeds that are tried: one in the default run; `PLANTED_SEEDS=20` prints the whole
    /// table, `PLANTED_ONLY=m13` that of some bugs.
    fn seeds() -> u64 {
        std::env::var_os("PLANTED_SEEDS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(1)
    }

    /// Name, median and worst number of states until a bug was found, and the classes.
    fn row(name: &str, findings: &[Finding]) -> String {
        let mut states: Vec<u64> = findings.iter().map(|finding| finding.states).collect();
        states.sort_unstable();
        let class = |f: &Finding| f.class.map_or("NOT FOUND".to_owned(), |c| c.to_string());
        let mut classes: Vec<String> = findings.iter().map(class).collect();
        classes.sort();
        classes.dedup();
        let (median, worst) = (states[states.len() / 2], states[states.len() - 1]);
        format!("{name:<30} median {median:>6}  worst {worst:>6}  {}", classes.join(", "))
    }

    #[test]
    fn each_bug_is_found() {
        let only = std::env::var("PLANTED_ONLY").unwrap_or_default();
        let mut missed = Vec::new();
        for entry in planted().iter().filter(|entry| entry.name.contains(&only)) {
            let look = |seed| find(entry, "posix", Seed(seed), WORKLOADS);
            let findings: Vec<Finding> = (0..seeds()).map(look).collect();
            for finding in findings.iter().filter(|finding| finding.class.is_some()) {
                let replayed = check_case(entry, &finding.case);
                assert_eq!(replayed, Ok(()), "{}:\n{}", entry.name, finding.case);
            }
            missed.extend(findings.iter().filter(|f| f.class.is_none()).map(|_| entry.name));
            println!("{}", row(entry.name, &findings));
        }
        assert!(missed.is_empty(), "not found: {missed:?}");
    }

    #[test]
    fn a_failed_sync_that_is_forgiven_is_found_in_its_case() {
        crashpoint::check_corpus::<DocumentLog<SyncMode, FailedSyncForgiven>>(&crate::corpus());
    }

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    /// The sims with threads, without bugs: a little in the default run; `CLEAN_SEEDS=20
    /// CLEAN_FROM=40` for so many seeds from that one on, on more profiles.
    #[test]
    fn without_bugs_nothing_is_found() {
        let (seeds, profiles, workloads) = match number("CLEAN_SEEDS") {
            Some(seeds) => (seeds, &["posix", "tail-prefix", "ext4"][..], 6),
            None => (1, &["posix"][..], 2),
        };
        let first = number("CLEAN_FROM").unwrap_or(1000);
        let sims = [
            sim::<DocumentLog<AsyncMode>>(),
            sim::<DocumentLog<Clients<SyncMode>>>(),
            sim::<DocumentLog<Clients<AsyncMode>>>(),
        ];
        for (entry, profile) in
            sims.iter().flat_map(|sim| profiles.iter().map(move |name| (sim, *name)))
        {
            let mut states = 0;
            for seed in first..first + seeds {
                let Finding { states: more, class, report, case, .. } =
                    find(entry, profile, Seed(seed), workloads);
                states += more;
                assert!(class.is_none(), "{} on {profile}:\n{report}\n{case}", entry.name);
            }
            println!("{} on {profile}: {seeds} seeds, {states} states, clean", entry.name);
        }
    }
}
