//! The bugs that the origin of this store has, to be planted again: a harness that is to be
//! believed must find each.

/// Which bugs are planted; none by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// K1: the log is taken up with its torn tail, and later records go behind it.
    pub tail_kept: bool,
    /// K1b: as K1, and a record is what its lengths say, whatever its checksum is.
    pub torn_record_filled: bool,
    /// K2: the whole log is replayed, whichever snapshot is there.
    pub snapshot_not_paired: bool,
    /// K2b: a rewritten log is replayed over the snapshot that was there.
    pub rewrite_follows_snapshot: bool,
    /// K3: what is no record is read as text, a command a line, and executed.
    pub text_executed: bool,
    /// K4: a rewritten log has scores of 17 decimals.
    pub scores_rounded: bool,
    /// K5: records stay in the process until 8 KiB of them are there, or a sync.
    pub buffered: bool,
    /// K6: what follows the end of a snapshot is not looked at, nor its checksum.
    pub snapshot_unverified: bool,
    /// K8: a record that is damaged ends the log, whatever follows it.
    pub damage_ends_log: bool,
    /// K9: times to live start anew when a snapshot is loaded.
    pub ttl_restarted: bool,
    /// K10: a rewritten log is opened again by its name, and if that fails the old file goes on.
    pub reopened_by_name: bool,
    /// K11: what a failed write left of a record stays, and later records go behind it.
    pub half_record_kept: bool,
    /// K12: `save` does not sync the directory between renaming the snapshot and cutting the log.
    pub snapshot_name_not_synced: bool,
    /// K13: `rewrite` does not sync the directory.
    pub log_name_not_synced: bool,
    /// K14: the store goes on after a failed sync.
    pub failed_sync_forgiven: bool,
    /// A sync that was asked for syncs nothing.
    pub sync_forgotten: bool,
    /// A tick never syncs.
    pub tick_forgotten: bool,
    /// A key that has expired is dropped without a word in the log.
    pub expiry_not_logged: bool,
    /// The log is cut before the snapshot has its name.
    pub log_cut_first: bool,
}
