//! The profiles of the file systems: values, to use as they are or to build on (`Profile { tear:
//! TearRule { sector: 4096, ..EXT4.tear }, ..EXT4 }`).
//!
//! Each follows the rules of [`super`]. The observations of real kernels are in `tests/litmus/`;
//! where they differ from papers, observation won.

use std::time::Duration;

use super::failure::{FailedSync, MountState, Reported, Shows, Sizes};
use super::profile::{Home, Need, PieceClass, Profile, Required, SyncRule, TearRule};
use crate::base::text::quote;

/// The rule of a sync call that promises nothing.
const NOTHING: SyncRule = SyncRule {
    data: false,
    size: false,
    entries: false,
    names: false,
    swapped: false,
    birth: false,
    touched: false,
    log: false,
    alone: false,
};
/// The content of a file, not its name.
const CONTENT: SyncRule = SyncRule { data: true, size: true, ..NOTHING };
/// The content of a file, its names, and the log up to its last change.
const LOGGED: SyncRule = SyncRule { names: true, swapped: true, touched: true, ..CONTENT };

/// The classes of data that are written to the disk as blocks.
const WRITTEN: &[PieceClass] =
    &[PieceClass::Overwrite, PieceClass::Fill, PieceClass::Extend, PieceClass::Zero];
/// Data over blocks that the medium has: a new block is found whole or not at all, since
/// nothing leads to it before it is written.
const IN_PLACE: &[PieceClass] = &[PieceClass::Overwrite, PieceClass::Zero];

const SECTORS: TearRule = TearRule {
    sector: 512,
    prefix: true,
    suffix: true,
    subset: false,
    any: true,
    classes: WRITTEN,
};

const fn need(of: PieceClass, on: Required) -> Need {
    Need { of, on }
}

// A new block is found through a mapping that is logged when the block is written back: after
// everything that was logged before the write, and, where the journal waits for data, after the
// pages before it.
const FILL_LOG: Need = need(PieceClass::Fill, Required::Log);
const FILL_LOWER: Need = need(PieceClass::Fill, Required::Lower);
const EXTEND_LOG: Need = need(PieceClass::Extend, Required::Log);
const EXTEND_LOWER: Need = need(PieceClass::Extend, Required::Lower);
// Or only after those that the same call wrote.
const FILL_CALL: Need = need(PieceClass::Fill, Required::LowerOfCall);
const EXTEND_CALL: Need = need(PieceClass::Extend, Required::LowerOfCall);

/// A name that no profile has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile `{name}`; there are: {known}")]
pub struct UnknownProfile {
    /// The name, quoted as in a case.
    name: String,
    /// The names of all profiles.
    known: String,
}

impl Profile {
    /// The worst case: everything that POSIX leaves open. The default model of ALICE (OSDI'14,
    /// table 2) with the sync rules of fsync(2).
    pub const POSIX: Self = Self {
        name: "posix",
        promise: "each block, size and directory entry is lost or kept on its own; \
                  fsync covers a file's content or a directory's entries, no more",
        data: Home::Own,
        fresh: Home::Own,
        hole: Home::Own,
        grow: Home::Own,
        reach: Home::Own,
        resize: Home::Own,
        entry: Home::Own,
        atomic_rename: false,
        whole_writes: false,
        zeroes_tail: true,
        needs: &[],
        fsync_file: CONTENT,
        fdatasync_file: CONTENT,
        fsync_directory: SyncRule { entries: true, ..NOTHING },
        sync_range: NOTHING,
        tear: SECTORS,
        stale: false,
        commits: None,
        failure: FailedSync::USUAL,
        delays: false,
    };

    /// `posix` on a disk that shears any block that was under way, in any set of sectors (Zheng and
    /// others, FAST'13, saw both).
    pub const POSIX_TORN: Self = Self {
        name: "posix-torn",
        promise: "as posix, but the torn block may hold any set of its sectors, not only the first or \
                  the last ones",
        tear: TearRule { subset: true, ..SECTORS },
        ..Self::POSIX
    };

    /// `posix` where a size that came before its data shows the earlier contents of the disk
    /// (ALICE, OSDI'14, table 2: "zeros or garbage").
    pub const POSIX_STALE: Self = Self {
        name: "posix-stale",
        promise: "as posix, but a new block past the old end that was not written may hold \
                  anything",
        stale: true,
        ..Self::POSIX
    };

    /// The mildest file system that an engine may expect: a file loses only the last of its
    /// changes, and the names of all files change in order.
    pub const TAIL_PREFIX: Self = Self {
        name: "tail-prefix",
        promise: "a file loses only the last of its unsynced changes, the namespace only the \
                  last of its own; fsync of a file covers its name",
        data: Home::Inode,
        fresh: Home::Inode,
        hole: Home::Inode,
        grow: Home::Inode,
        reach: Home::Inode,
        resize: Home::Inode,
        entry: Home::Log,
        atomic_rename: true,
        zeroes_tail: false,
        fsync_file: SyncRule { names: true, swapped: true, ..CONTENT },
        fdatasync_file: SyncRule { names: true, swapped: true, ..CONTENT },
        fsync_directory: SyncRule { entries: true, names: true, ..NOTHING },
        tear: TearRule { suffix: false, ..SECTORS },
        ..Self::POSIX
    };

    /// ext4 as it is mounted by default today (Linux 5.6 and later): `data=ordered`, delayed
    /// allocation, `dioread_nolock`.
    ///
    /// A size within a block that the medium has is logged by the call that made it. One over new
    /// blocks is logged when these are written back, but before they count as written, which
    /// happens to each of them when the disk has completed it.
    pub const EXT4: Self = Self {
        name: "ext4",
        promise: "names and sizes change in order, data of new blocks follows later: a new size \
                  may come back over zeros, a renamed file empty; fsync covers all names so far",
        data: Home::Own,
        fresh: Home::Own,
        hole: Home::Log,
        grow: Home::Log,
        reach: Home::Own,
        resize: Home::Log,
        entry: Home::Log,
        atomic_rename: true,
        zeroes_tail: false,
        needs: &[
            FILL_LOG,
            EXTEND_LOG,
            FILL_CALL,
            EXTEND_CALL,
            need(PieceClass::Reach, Required::Log),
            need(PieceClass::Resize, Required::Block),
        ],
        fsync_file: LOGGED,
        // A rename or a link leaves only a time of change on the inode (fs/ext4/fsync.c,
        // `i_datasync_tid`); its creation counts.
        fdatasync_file: SyncRule { birth: true, ..CONTENT },
        // Anything but a regular file forces the whole journal (`ext4_force_commit`).
        fsync_directory: SyncRule { entries: true, names: true, log: true, ..NOTHING },
        tear: TearRule { classes: IN_PLACE, ..SECTORS },
        delays: true,
        ..Self::POSIX
    };

    /// ext4 as it was mounted by default before Linux 5.6: `dioread_lock`. A new size over new
    /// blocks waits for their data.
    pub const EXT4_DIOREAD_LOCK: Self = Self {
        name: "ext4-dioread-lock",
        promise: "as ext4, but a size over new blocks waits for their data; within the last \
                  block it does not",
        needs: &[
            FILL_LOG,
            FILL_LOWER,
            EXTEND_LOG,
            EXTEND_LOWER,
            need(PieceClass::Reach, Required::Log),
            need(PieceClass::Reach, Required::First),
            need(PieceClass::Resize, Required::Block),
        ],
        ..Self::EXT4
    };

    /// ext4 mounted with `nodelalloc`: blocks are allocated by the call that writes them.
    pub const EXT4_NODELALLOC: Self = Self {
        name: "ext4-nodelalloc",
        promise: "names, sizes and new blocks change in order; overwrites happen at any time",
        fresh: Home::Log,
        reach: Home::Log,
        needs: &[
            need(PieceClass::Overwrite, Required::First),
            need(PieceClass::Zero, Required::First),
            need(PieceClass::Resize, Required::Block),
        ],
        delays: false,
        ..Self::EXT4
    };

    /// ext4 mounted with `data=writeback`: the journal waits for no data. New blocks read as zeros
    /// anyway, since `dioread_nolock` still makes them unwritten at first.
    pub const EXT4_WRITEBACK: Self = Self {
        name: "ext4-writeback",
        promise: "as ext4, but the data of new blocks comes in any order, and bytes that a \
                  truncation cut off inside a block may come back when the file grows again",
        needs: &[FILL_LOG, EXTEND_LOG, need(PieceClass::Reach, Required::Log)],
        ..Self::EXT4
    };

    /// `data=writeback` as it was before `dioread_nolock` became the default: a size without its
    /// data shows the earlier contents of the blocks (the kernel's documentation of ext4:
    /// "incorrect data to appear").
    pub const EXT4_WRITEBACK_STALE: Self = Self {
        name: "ext4-writeback-stale",
        promise: "as ext4-writeback, but a new block past the old end that was not written may \
                  hold anything",
        stale: true,
        ..Self::EXT4_WRITEBACK
    };

    /// `ext4` whose journal commits by the clock (`commit=5`, the default), for engines that rely
    /// on it.
    pub const EXT4_COMMITS: Self = Self {
        name: "ext4-commits",
        promise: "as ext4, and every 5 seconds the log so far reaches the medium: names, \
                  and sizes with the data that they wait for",
        commits: Some(Duration::from_secs(5)),
        ..Self::EXT4
    };

    /// ext4 mounted with `data=journal`: data goes through the journal too.
    pub const EXT4_JOURNAL: Self = Self {
        name: "ext4-journal",
        promise: "everything changes in order, block by block",
        data: Home::Log,
        fresh: Home::Log,
        reach: Home::Log,
        needs: &[],
        tear: TearRule { classes: &[], ..SECTORS },
        failure: FailedSync { mount: MountState::ReadOnly, ..FailedSync::USUAL },
        delays: false,
        ..Self::EXT4
    };

    /// xfs: a size that grows is logged when the data that made it grow has been written, whatever
    /// data is before it.
    pub const XFS: Self = Self {
        name: "xfs",
        promise: "names and truncations change in order, a size never grows before its data; \
                  a renamed file may be empty; fsync covers the file's name",
        data: Home::Own,
        fresh: Home::Own,
        hole: Home::Log,
        grow: Home::Own,
        reach: Home::Own,
        resize: Home::Log,
        entry: Home::Log,
        atomic_rename: true,
        needs: &[
            FILL_LOG,
            EXTEND_LOG,
            FILL_CALL,
            EXTEND_CALL,
            need(PieceClass::Grow, Required::Log),
            need(PieceClass::Grow, Required::Block),
            need(PieceClass::Reach, Required::Log),
            need(PieceClass::Reach, Required::Block),
            // `xfs_setattr_size` first writes out the data between the two sizes.
            need(PieceClass::Resize, Required::Tail),
        ],
        fsync_file: LOGGED,
        // Only times are left out (`xfs_fsync_seq`, `XFS_ILOG_TIMESTAMP`). An exchange changes
        // nothing else of the two files (`xfs_cross_rename`).
        fdatasync_file: SyncRule { names: true, ..CONTENT },
        fsync_directory: SyncRule { entries: true, names: true, ..NOTHING },
        tear: TearRule { classes: IN_PLACE, ..SECTORS },
        failure: FailedSync { sizes: Sizes::Lost, ..FailedSync::USUAL },
        delays: true,
        ..Self::POSIX
    };

    /// btrfs: copy-on-write. Data is published extent by extent, each when it has been written. It
    /// takes along the size that the file has by then (`btrfs_inode_safe_disk_i_size_write`, with
    /// `no-holes`), over data that is still to be written. A sync makes its file durable alone,
    /// past all earlier changes. A rename that replaces a file starts to write its data
    /// (`btrfs_rename`, `filemap_flush`), but no commit waits for that.
    pub const BTRFS: Self = Self {
        name: "btrfs",
        promise: "names change in order, data of any kind follows later, block by block; a size \
                  may come with other data than its own; fsync covers the file and its names, \
                  and no earlier change of others",
        data: Home::Own,
        fresh: Home::Own,
        hole: Home::Log,
        grow: Home::Own,
        reach: Home::Own,
        resize: Home::Log,
        entry: Home::Log,
        atomic_rename: true,
        zeroes_tail: false,
        needs: &[
            need(PieceClass::Overwrite, Required::Log),
            need(PieceClass::Zero, Required::Log),
            FILL_LOG,
            EXTEND_LOG,
            FILL_CALL,
            EXTEND_CALL,
            need(PieceClass::Grow, Required::Log),
            need(PieceClass::Grow, Required::BlockAlone),
            need(PieceClass::Reach, Required::Log),
            need(PieceClass::Reach, Required::BlockAlone),
        ],
        fsync_file: SyncRule { names: true, swapped: true, alone: true, ..CONTENT },
        fdatasync_file: SyncRule { names: true, swapped: true, alone: true, ..CONTENT },
        fsync_directory: SyncRule { entries: true, names: true, alone: true, ..NOTHING },
        tear: TearRule { classes: &[], ..SECTORS },
        delays: true,
        ..Self::POSIX
    };

    /// `data=journal` as Rebello and others saw it (ATC'20): the sync that fails reports nothing,
    /// and the next one returns the error.
    pub const EXT4_JOURNAL_2020: Self = Self {
        name: "ext4-journal-2020",
        promise: "as ext4-journal, but a failed fsync succeeds and the next one returns the error",
        failure: FailedSync { reported: Reported::Next, ..FailedSync::USUAL },
        ..Self::EXT4_JOURNAL
    };

    /// xfs when it cannot write its log (ATC'20): it shuts down.
    pub const XFS_SHUTDOWN: Self = Self {
        name: "xfs-shutdown",
        promise: "as xfs, but after a failed fsync every call fails until the next mount",
        failure: FailedSync { mount: MountState::ShutDown, ..Self::XFS.failure },
        ..Self::XFS
    };

    /// btrfs as Rebello and others saw it (ATC'20): after a failed sync a file shows the disk's
    /// version. Linux 6.18 no longer does that.
    pub const BTRFS_2020: Self = Self {
        name: "btrfs-2020",
        promise: "as btrfs, but after a failed fsync the file shows its old data and size",
        failure: FailedSync { shows: Shows::Old, sizes: Sizes::Lost, ..FailedSync::USUAL },
        ..Self::BTRFS
    };

    /// Every profile, the weakest promise first.
    pub fn all() -> &'static [Self] {
        &[
            Self::POSIX,
            Self::TAIL_PREFIX,
            Self::EXT4,
            Self::EXT4_WRITEBACK,
            Self::EXT4_DIOREAD_LOCK,
            Self::EXT4_NODELALLOC,
            Self::EXT4_JOURNAL,
            Self::XFS,
            Self::BTRFS,
        ]
    }

    /// The profiles that sims run on by default: the worst case, the mildest, and the file system
    /// that most machines have.
    pub const fn usual() -> &'static [Self] {
        &[Self::POSIX, Self::TAIL_PREFIX, Self::EXT4]
    }

    /// Variants: blocks that tear at any time, stale blocks, commits by the clock; and failed syncs
    /// as on older kernels, or where more than data cannot be written. A run uses these only when
    /// one is named.
    pub fn variants() -> &'static [Self] {
        &[
            Self::POSIX_TORN,
            Self::POSIX_STALE,
            Self::EXT4_WRITEBACK_STALE,
            Self::EXT4_COMMITS,
            Self::EXT4_JOURNAL_2020,
            Self::XFS_SHUTDOWN,
            Self::BTRFS_2020,
        ]
    }

    /// The profile with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::find(name, &[]).ok()
    }

    /// The profile with this name, among `own` or those of the crate.
    ///
    /// # Errors
    /// No profile has this name.
    pub fn find(name: &str, own: &[Self]) -> Result<Self, UnknownProfile> {
        let others = || Self::all().iter().chain(Self::variants());
        if let Some(profile) = own.iter().chain(others()).find(|profile| profile.name == name) {
            return Ok(*profile);
        }
        let mut names: Vec<&str> = others().map(|profile| profile.name).collect();
        for profile in own {
            if !names.contains(&profile.name) {
                names.push(profile.name);
            }
        }
        Err(UnknownProfile { name: quote(name.as_bytes()), known: names.join(", ") })
    }
}
