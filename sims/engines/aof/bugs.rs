//! The bugs that the origin of this store has, to be planted again: a credible harness must find
//! each of them.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// K1: the log keeps its torn tail, and later records are appended to it.
    pub tail_kept: bool,
    /// K1b: as K1, and a record is accepted by its lengths, whatever its checksum.
    pub torn_record_filled: bool,
    /// K2: the whole log is replayed, whichever snapshot is found.
    pub snapshot_not_paired: bool,
    /// K2b: a rewritten log is replayed over the old snapshot.
    pub rewrite_follows_snapshot: bool,
    /// K3: bytes that are no record are read as text, one command per line, and executed.
    pub text_executed: bool,
    /// K4: a rewritten log has scores of 17 decimals.
    pub scores_rounded: bool,
    /// K5: records stay in the process until there are 8 KiB of them, or until a sync.
    pub buffered: bool,
    /// K6: neither the bytes after the end of a snapshot nor its checksum are checked.
    pub snapshot_unverified: bool,
    /// K8: a damaged record ends the log, whatever follows it.
    pub damage_ends_log: bool,
    /// K9: times to live start anew when a snapshot is loaded.
    pub ttl_restarted: bool,
    /// K10: a rewritten log is opened again by its name, and if that fails the old file stays in
    /// use.
    pub reopened_by_name: bool,
    /// K11: the remains of a failed write stay, and later records are appended to them.
    pub half_record_kept: bool,
    /// K12: `save` does not sync the directory between renaming the snapshot and cutting the log.
    pub snapshot_name_not_synced: bool,
    /// K13: `rewrite` does not sync the directory.
    pub log_name_not_synced: bool,
    /// K14: the store continues after a failed sync.
    pub failed_sync_forgiven: bool,
    /// A requested sync syncs nothing.
    pub sync_forgotten: bool,
    /// A tick never syncs.
    pub tick_forgotten: bool,
    /// An expired key is dropped without a record in the log.
    pub expiry_not_logged: bool,
    /// The log is cut before the snapshot has its name.
    pub log_cut_first: bool,
}
