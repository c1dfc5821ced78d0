//! The bugs that the origin of this store has, and some that a checkpoint invites, to be planted:
//! a harness that is to be believed must find each.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// B3: the directory is never synced.
    pub directory_not_synced: bool,
    /// B3, B4c: a checkpoint is believed without a look at the segments that it names.
    pub checkpoint_believed: bool,
    /// B4a: compaction moves the first segment away and writes the merged one in its place; an
    /// interrupted one is not taken back.
    pub source_moved_away: bool,
    /// B4e: the last segment of an earlier writer keeps its torn tail, and compaction copies whole
    /// segments, tails and all.
    pub torn_bytes_copied: bool,
    /// B5: the footer of a segment is believed without its checksum.
    pub footer_believed: bool,
    /// B7: what a failed write left stays, and the next frame follows it, at an offset that does
    /// not count it.
    pub half_frame_kept: bool,
    /// B8: the last segment of an earlier writer keeps its open batch, and the batch goes on in
    /// the next segment.
    pub batch_stays_open: bool,
    /// B13: a last segment without a whole header is an error.
    pub headerless_is_an_error: bool,
    /// Brot: a segment may end inside a batch, whose entries are all filed under the next one.
    pub batch_rotates: bool,
    /// A checkpoint's checksum is not looked at.
    pub checksum_unchecked: bool,
    /// What was appended behind a checkpoint is not replayed.
    pub tail_not_replayed: bool,
    /// P1: a rewritten segment takes its name before it is synced.
    pub rename_before_sync: bool,
    /// P21: the store goes on after a failed fsync.
    pub failed_sync_forgiven: bool,
    /// P22: a segment that an earlier process wrote is made durable by syncing it.
    pub page_cache_trusted: bool,
}
