//! The document log with each bug of its origin, and with some that the origin never had, each in a
//! mode that can reach it.

use crashpoint::{Entry, sim};

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

        /// The log with each bug that a workload can reach. M9 needs an open that fails, M16 two
        /// logs. With a background writer M13 stays hidden: the lines of a batch are queued with no
        /// call in between, so no other thread can run there.
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
    SnapshotUnverified "m8-snapshot-unverified" snapshot_unverified SyncMode;
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

/// P21, which has a saved case: it takes a page that only the failed sync would have made durable,
/// and few workloads leave one.
pub struct FailedSyncForgiven;

impl Planted for FailedSyncForgiven {
    const NAME: &'static str = "p21-failed-sync-forgiven";

    fn bugs() -> Bugs {
        Bugs { failed_sync_forgiven: true, ..Bugs::default() }
    }
}
