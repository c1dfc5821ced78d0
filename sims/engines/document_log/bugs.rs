//! The bugs that the origin of this log has or had, and some that it never had, to be planted
//! again: a credible harness must find each of them.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// M1: a snapshot says how many lines of the *old* log it covers, and a load skips that many
    /// lines of the new one.
    pub snapshot_counts_old_lines: bool,
    /// A snapshot is loaded with any log, even one that it does not belong to.
    pub snapshot_not_bound: bool,
    /// M4: nothing is ever synced.
    pub nothing_synced: bool,
    /// M4, in part: a compaction does not sync the directory.
    pub directory_not_synced: bool,
    /// M4, in part: a compaction renames the new log before it is synced.
    pub rename_before_sync: bool,
    /// M5: a log is appended to after a torn line; lines that cannot be read are skipped.
    pub tail_kept: bool,
    /// M6: a batch is begun in the log before it is refused.
    pub refused_batch_begun: bool,
    /// M7: as `tail_kept`, but on a new line, and the places of documents are counted without the
    /// skipped lines.
    pub skipped_lines_shift: bool,
    /// M8: the checksum of a snapshot is not checked.
    pub snapshot_unverified: bool,
    /// M9: a log that cannot be opened counts as empty.
    pub unreadable_is_empty: bool,
    /// M10: the background writer waits until nothing was written for a while.
    pub flush_on_idle: bool,
    /// M12: a compaction forgets the lines written while it was under way.
    pub compaction_forgets: bool,
    /// M13: a batch is written line by line, and one that begins ends the one before.
    pub batches_interleave: bool,
    /// M14: documents are looked up at the places that they had before a compaction.
    pub places_not_moved: bool,
    /// M15: after a compaction that failed after the rename, writes continue in the old file.
    pub old_file_kept: bool,
    /// P9: a batch has no marks: a torn one shows its first part.
    pub batch_not_marked: bool,
    /// S9, K11: after a write that failed half way, the next is appended to its remains.
    pub half_line_kept: bool,
    /// P21: writes continue after a failed fsync.
    pub failed_sync_forgiven: bool,
    /// P22: a log that an earlier process left is appended to, and its unsynced part trusted.
    pub page_cache_trusted: bool,
}

impl Bugs {
    /// Whether lines that cannot be read are skipped.
    pub(super) fn skips_lines(self) -> bool {
        self.tail_kept || self.skipped_lines_shift
    }

    /// Whether an existing log is appended to as it is.
    pub(super) fn appends_to_any(self) -> bool {
        self.skips_lines() || self.page_cache_trusted
    }
}
