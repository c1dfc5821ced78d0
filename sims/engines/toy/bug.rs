//! The vulnerability patterns that can be planted in the toy, one at a time.

/// A planted bug. `P` numbers are those of a survey of crash vulnerabilities in storage engines;
/// the systems named are where each was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Nothing is ever synced.
    NoSync,
    /// A batch is synced before its last record is written.
    SyncBeforeLastWrite,
    /// A sync is acknowledged before it is done.
    AckBeforeSync,
    /// A failed sync is treated as a successful one.
    SyncErrorIgnored,
    /// A failed or short write is treated as a successful one.
    WriteErrorIgnored,
    /// The directory is not synced after files are created in it.
    NoDirSyncAfterCreate,
    /// The directory is not synced after the pointer is renamed.
    NoDirSyncAfterRename,
    /// The pointer takes its name before its content is durable.
    RenameBeforeSync,
    /// The pointer is durable before the snapshot that it points to.
    SnapshotNotSynced,
    /// The old generation is deleted before the new one is durable.
    OldDeletedFirst,
    /// The pointer is overwritten in place, as if four sectors were atomic.
    PointerInPlace,
    /// Each record of a batch takes effect alone.
    BatchNotAtomic,
    /// Recovery leaves a torn tail, and later records are appended to it.
    TornTailKept,
    /// A torn tail makes the store refuse to open.
    TornTailFatal,
    /// A record that is cut by the end of the log is accepted at its remaining length.
    CutRecordAccepted,
    /// A zero header is treated as an empty record.
    ZerosAreRecords,
    /// Records are not checked against their checksums.
    ChecksumIgnored,
    /// Replay continues after a damaged record.
    DamageSkipped,
    /// Recovery replays every log that it finds, including those already in the snapshot.
    OldLogsReplayed,
    /// Recovery continues the log that it finds: the page cache still shows data that an earlier
    /// failed sync lost on the disk.
    PageCacheTrusted,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::NoSync,
        Self::SyncBeforeLastWrite,
        Self::AckBeforeSync,
        Self::SyncErrorIgnored,
        Self::WriteErrorIgnored,
        Self::NoDirSyncAfterCreate,
        Self::NoDirSyncAfterRename,
        Self::RenameBeforeSync,
        Self::SnapshotNotSynced,
        Self::OldDeletedFirst,
        Self::PointerInPlace,
        Self::BatchNotAtomic,
        Self::TornTailKept,
        Self::TornTailFatal,
        Self::CutRecordAccepted,
        Self::ZerosAreRecords,
        Self::ChecksumIgnored,
        Self::DamageSkipped,
        Self::OldLogsReplayed,
        Self::PageCacheTrusted,
    ];

    /// A name of one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.texts().0
    }

    /// The pattern's number, or numbers, and where it was found.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        self.texts().1
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::NoSync => ("no-sync", "P1 P2 P3 P15: moltendb `SyncDiskStorage` never syncs"),
            Self::SyncBeforeLastWrite => {
                ("sync-before-last-write", "P6 P15: Badger 153, the rotated log is not synced")
            }
            Self::AckBeforeSync => ("ack-before-sync", "P15: etcd 14370"),
            Self::SyncErrorIgnored => ("sync-error-ignored", "P21: PostgreSQL before 11.2"),
            Self::WriteErrorIgnored => {
                ("write-error-ignored", "P31: kevy-persist on a full disk, then success")
            }
            Self::NoDirSyncAfterCreate => {
                ("no-dir-sync-after-create", "P2: LevelDB 196, RocksDB 5287")
            }
            Self::NoDirSyncAfterRename => {
                ("no-dir-sync-after-rename", "P3: LevelDB 195, Redis 10737, RocksDB 10573")
            }
            Self::RenameBeforeSync => {
                ("rename-before-sync", "P1 P25: HDFS, Git, Mercurial, LevelDB 1.10")
            }
            Self::SnapshotNotSynced => ("snapshot-not-synced", "P5 P24: LevelDB 189, HoraeDB 394"),
            Self::OldDeletedFirst => ("old-deleted-first", "P4 P12: LevelDB 195, cqlite 1392"),
            Self::PointerInPlace => ("pointer-in-place", "P18 P19: bbolt 567, LMDB's meta page"),
            Self::BatchNotAtomic => ("batch-not-atomic", "P23: Mercurial's dirstate"),
            Self::TornTailKept => ("torn-tail-kept", "P10: cqlite 1390, kevy-persist, moltendb"),
            Self::TornTailFatal => ("torn-tail-fatal", "P9: etcd 5230"),
            Self::CutRecordAccepted => ("cut-record-accepted", "P7 P8: LevelDB 1.15, Badger 154"),
            Self::ZerosAreRecords => ("zeros-are-records", "P7 P17: RocksDB 7270, HSQLDB"),
            Self::ChecksumIgnored => ("checksum-ignored", "P20: Badger 143, GDBM"),
            Self::DamageSkipped => ("damage-skipped", "P11 P27: VelesDB 898"),
            Self::OldLogsReplayed => ("old-logs-replayed", "P14 P26: Rayforce 420, arc 229"),
            Self::PageCacheTrusted => {
                ("page-cache-trusted", "P22: LevelDB, SQLite and PostgreSQL in 2020")
            }
        }
    }
}
