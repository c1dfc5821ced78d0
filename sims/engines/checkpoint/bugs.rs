//! The bugs that the origin of this store has, and some that a checkpoint invites, to be planted:
//! a credible harness must find each of them.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// B3: the directory is never synced.
    pub directory_not_synced: bool,
    /// B3, B4c: a checkpoint is trusted without a look at the segments that it names.
    pub checkpoint_believed: bool,
    /// B4a: compaction moves the last segment away and writes the merged one in its place; an
    /// interrupted one is not undone.
    pub source_moved_away: bool,
    /// B4e: the last segment of an earlier writer keeps its torn tail, and compaction copies whole
    /// segments, tails and all.
    pub torn_bytes_copied: bool,
    /// B5: the footer of a segment is trusted without its checksum.
    pub footer_believed: bool,
    /// B7: the remains of a failed write stay, and the next frame is appended to them, at an offset
    /// that does not count them.
    pub half_frame_kept: bool,
    /// B8: the last segment of an earlier writer keeps its open batch, and the batch continues in
    /// the next segment.
    pub batch_stays_open: bool,
    /// B13: a last segment without a whole header is an error.
    pub headerless_is_an_error: bool,
    /// Brot: a segment may end inside a batch, whose entries are all filed under the next one.
    pub batch_rotates: bool,
    /// A checkpoint's checksum is not checked.
    pub checksum_unchecked: bool,
    /// Events appended after a checkpoint are not replayed.
    pub tail_not_replayed: bool,
    /// P1: a rewritten segment takes its name before it is synced.
    pub rename_before_sync: bool,
    /// P21: the store continues after a failed fsync.
    pub failed_sync_forgiven: bool,
    /// P22: a segment that an earlier process wrote is made durable by syncing it.
    pub page_cache_trusted: bool,
}
