//! One change of the disk: the unit that is logged, replayed and, at a crash, kept or lost.

use serde::{Deserialize, Serialize};

use crate::base::time::Time;

/// The number of an inode. It is never reused while the disk is mounted, even after its file is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of a disk. In a run it is the folder that the store begins with, and
    /// [`MOUNT`](Self::MOUNT) is the root.
    pub const ROOT: Self = Self(1);
    /// The folder in which the store's folder lies, on a disk that has one.
    pub const MOUNT: Self = Self(0);

    /// The number that a process sees. Readers of directories take 0 for a deleted entry.
    pub fn shown(self) -> u64 {
        const MOUNT: u64 = 0x7fff_ffff;
        if self == Self::MOUNT { MOUNT } else { self.0 }
    }
}

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// The operation of a `fallocate(2)` on a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocation {
    /// Reserve blocks that read as zeros; the size grows to the end of the range if it was less.
    Extend,
    /// Reserve blocks and leave the size (`FALLOC_FL_KEEP_SIZE`).
    KeepSize,
    /// Free the blocks: the range reads as zeros (`FALLOC_FL_PUNCH_HOLE`).
    Punch,
    /// Zero the range, and grow the size to its end if it was less (`FALLOC_FL_ZERO_RANGE`).
    Zero,
}

/// The inodes and pages that a sync call promises to make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sync {
    /// `fsync`: data, size and attributes of a file; or the entries of a directory.
    Inode(Ino),
    /// `fdatasync`: data of a file and what is needed to read it back, its size included.
    Data(Ino),
    /// `sync_file_range`: pages of a file, without size, mapping or device flush.
    Pages {
        /// The file.
        ino: Ino,
        /// Where the range begins, in bytes.
        offset: u64,
        /// How long it is, in bytes; 0 means to the end.
        length: u64,
    },
    /// A write through `O_DSYNC` or `O_SYNC`, or with `RWF_DSYNC` or `RWF_SYNC`: the pages that it
    /// touched, and everything except data that `fdatasync` or `fsync` makes durable of the file.
    /// Other pages of the file still wait for a sync. An `msync` does the same to a range
    /// (`vfs_fsync_range`).
    Written {
        /// The file.
        ino: Ino,
        /// Where the write, or the range, begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
        /// As `fdatasync`, not as `fsync`.
        data_only: bool,
    },
    /// `sync`, `syncfs`: everything.
    All,
}

/// One change of the disk, or one promise about the changes before it.
///
/// A system call has zero, one or a few of these. Each is atomic in memory; for a crash, a write
/// falls into one piece for each block that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect<'a> {
    /// A new inode, not yet named.
    Inode {
        /// Its number, never used before.
        ino: Ino,
        /// Its type.
        kind: Kind,
        /// Its permission bits.
        mode: u32,
        /// Where a symbolic link points; empty for the others.
        #[serde(with = "serde_bytes")]
        target: &'a [u8],
    },
    /// A directory entry is set (`Some`) or removed (`None`).
    Entry {
        /// The directory.
        dir: Ino,
        /// The name in it.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// The inode that the name leads to from now on.
        ino: Option<Ino>,
    },
    /// A name moves, replacing what had the new name; or two names swap (`exchange`).
    Rename {
        /// The directory of the old name.
        from: Ino,
        /// The old name.
        #[serde(with = "serde_bytes")]
        old: &'a [u8],
        /// The directory of the new name.
        to: Ino,
        /// The new name.
        #[serde(with = "serde_bytes")]
        new: &'a [u8],
        /// `RENAME_EXCHANGE`.
        exchange: bool,
    },
    /// Bytes are written; the size grows to their end if it was less.
    Write {
        /// The file.
        ino: Ino,
        /// The offset in the file, in bytes.
        offset: u64,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// The size is set, as by `ftruncate`: bytes beyond it are gone, new ones are zeros.
    Size {
        /// The file.
        ino: Ino,
        /// Its new size in bytes.
        size: u64,
    },
    /// `fallocate` of a range.
    Allocate {
        /// The file.
        ino: Ino,
        /// Where the range begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
        /// The operation on it.
        what: Allocation,
    },
    /// Permission bits are set.
    Mode {
        /// The inode.
        ino: Ino,
        /// Its new permission bits.
        mode: u32,
    },
    /// Times are set (`utimensat`).
    Times {
        /// The inode.
        ino: Ino,
        /// Its new time of last access.
        accessed: Option<Time>,
        /// Its new time of last modification.
        modified: Option<Time>,
    },
    /// The last name and the last descriptor of an inode are gone: its space is free.
    Free {
        /// The inode.
        ino: Ino,
    },
    /// A sync call returned successfully.
    Sync(Sync),
    /// A sync call failed: the pages are marked clean though it is unknown which reached the disk.
    SyncFailed(Sync),
    /// The cache drops a page whose write failed: from now on the file shows the medium's version.
    Evict {
        /// The file.
        ino: Ino,
        /// The size that it has then: the medium's only if the cache dropped the file's size too.
        size: u64,
        /// The number of the page.
        block: u64,
        /// The medium's bytes of the page; empty for a hole.
        #[serde(with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// An extended attribute is set (`Some`) or removed (`None`).
    Attribute {
        /// The inode.
        ino: Ino,
        /// The whole name, as `user.comment`.
        #[serde(with = "serde_bytes")]
        name: &'a [u8],
        /// Its value from now on.
        #[serde(with = "serde_bytes")]
        value: Option<&'a [u8]>,
    },
    /// The user and the group are set.
    Owner {
        /// The inode.
        ino: Ino,
        /// Its new user and group.
        owner: (u32, u32),
        /// Its permission bits from now on: a new owner may cost an executable file those that run
        /// it as its owner.
        mode: u32,
    },
}

impl Effect<'_> {
    /// Whether this is a sync of the folder above the store alone.
    pub(crate) fn syncs_mount(&self) -> bool {
        matches!(self, Self::Sync(Sync::Inode(Ino::MOUNT) | Sync::Data(Ino::MOUNT)))
    }
}
