//! The bugs that the origin of this log has or had, to be planted again: a credible harness must
//! find each of them.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// S1: the file is created in place; one shorter than a header is an error to `load`, and
    /// `open` writes a second header after it.
    pub header_in_place: bool,
    /// S2: a lost page with records after it is an error, not the end of the log.
    pub lost_page_is_an_error: bool,
    /// S3: a tail of five or more zero bytes is an error, not a torn write.
    pub zero_tail_is_an_error: bool,
    /// S4, S13: `open` leaves a damaged tail if nothing precedes it.
    pub tail_kept_if_nothing_precedes: bool,
    /// S5: `open` leaves any damaged tail, and appends after it.
    pub tail_kept: bool,
    /// S6: `compact` does not sync the directory.
    pub directory_not_synced: bool,
    /// S8: `open` leaves the temporary file of an interrupted compaction.
    pub leftovers_kept: bool,
    /// S8: `load` fails if it cannot rewrite the log.
    pub load_must_write: bool,
    /// S9: after a write that failed half way, later records are appended to the half of a record.
    pub half_record_kept: bool,
    /// P1: `compact` renames the new file before it is synced.
    pub rename_before_sync: bool,
    /// P21: the writer continues after a failed fsync.
    pub failed_sync_forgiven: bool,
    /// P22: `sync` trusts the page cache for a file that this writer did not write.
    pub page_cache_trusted: bool,
}
