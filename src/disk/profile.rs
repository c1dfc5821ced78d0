//! What a file system promises about a crash, as values: no code asks which profile it runs on.

use std::ops::Range;

use super::content::PAGE;

/// What a file system promises, as data. A new file system is a new value of this type.
///
/// The fields say which group each piece belongs to (a crash keeps a prefix of each group),
/// which pieces need others, what each sync call makes durable, and how a block may tear.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The name by which cases and commands call it.
    pub name: &'static str,
    /// What it promises, in one line.
    pub promise: &'static str,
    /// The group of a block of data.
    pub data: Home,
    /// The group of a size change. Where it is the group of the data too, a block that extends
    /// the file is one piece with its size, and so is a truncation with what it zeroes.
    pub size: Home,
    /// The group of a change of a directory entry.
    pub entry: Home,
    /// Whether the two entries of a renamed file change as one piece. Those of a directory
    /// always do.
    pub atomic_rename: bool,
    /// Which pieces are kept only together with others.
    pub needs: &'static [Need],
    /// What `fsync` of a file makes durable.
    pub fsync_file: SyncRule,
    /// What `fdatasync` of a file makes durable.
    pub fdatasync_file: SyncRule,
    /// What `fsync` and `fdatasync` of a directory make durable.
    pub fsync_directory: SyncRule,
    /// What `sync_file_range` makes durable of the range that it is called with.
    pub sync_range: SyncRule,
    /// How a block that was being written may tear.
    pub tear: TearRule,
}

/// Where a piece queues: pieces in one group are kept in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// With the other versions of the same block, size or entry only.
    Own,
    /// With all pieces of the same file, or of the same directory.
    Inode,
    /// With all pieces of the file system that are at home there.
    Log,
}

/// The kind of a piece, as far as profiles treat kinds differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Data over a block that was written before.
    Overwrite,
    /// The first data in a hole or an unwritten extent, before the end of the file.
    Fill,
    /// The first data in a block past the end of the file.
    Extend,
    /// Zeros over a part of a written block, by a truncation or `fallocate`.
    Zero,
    /// A written block becomes a hole.
    Hole,
    /// The size grows because of a write.
    Grow,
    /// The size is set, by `ftruncate` or `fallocate`.
    Resize,
    /// Directory entries.
    Entry,
}

/// A requirement: a piece of one class is kept only if some of the pieces before it are.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The pieces that require.
    pub of: Class,
    /// What they require.
    pub on: On,
}

/// What a piece may require. Only pieces that are older can be required, so a prefix of all
/// pieces in their global order satisfies every profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Everything in the log so far.
    Log,
    /// The size of the same file, as it is so far.
    Size,
    /// The block that the same call wrote last before this piece: for a size that grows, the
    /// block that made it grow.
    Block,
}

/// What a successful sync makes durable: the newest pieces of these kinds and, with them, all
/// before them in their groups and all that they need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncRule {
    /// The blocks of the file.
    pub data: bool,
    /// The size of the file.
    pub size: bool,
    /// The entries in the directory.
    pub entries: bool,
    /// The entries, in any directory, that name the inode or did so before.
    pub names: bool,
}

/// How the block behind a group's cut may survive in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearRule {
    /// Bytes that survive or vanish as one; divides the block. A block of one sector is whole.
    pub sector: u16,
    /// The first sectors may survive alone.
    pub prefix: bool,
    /// The last sectors may survive alone.
    pub suffix: bool,
    /// Any set of sectors may survive: 2^n fates for n sectors.
    pub subset: bool,
    /// The classes of data that tear. A hole never does: it is metadata.
    pub classes: &'static [Class],
}

/// What a sync call that promises nothing makes durable.
const NOTHING: SyncRule = SyncRule { data: false, size: false, entries: false, names: false };
/// The content of a file, not its name.
const CONTENT: SyncRule = SyncRule { data: true, size: true, ..NOTHING };

/// All data that reaches the disk by being written in place.
const WRITTEN: &[Class] = &[Class::Overwrite, Class::Fill, Class::Extend, Class::Zero];

impl Profile {
    /// The worst case: what POSIX leaves open. The default model of ALICE (OSDI'14, table 2)
    /// with the sync rules of fsync(2).
    pub const POSIX: Self = Self {
        name: "posix",
        promise: "each block, size and directory entry is lost or kept on its own; \
                  fsync covers a file's content or a directory's entries, no more",
        data: Home::Own,
        size: Home::Own,
        entry: Home::Own,
        atomic_rename: false,
        needs: &[],
        fsync_file: CONTENT,
        fdatasync_file: CONTENT,
        fsync_directory: SyncRule { entries: true, ..NOTHING },
        sync_range: NOTHING,
        tear: TearRule { sector: 512, prefix: true, suffix: true, subset: false, classes: WRITTEN },
    };

    /// The mildest file system that an engine may reckon with: what is lost of a file is the
    /// end of what was done to it, and the names of all files change in order.
    pub const TAIL_PREFIX: Self = Self {
        name: "tail-prefix",
        promise: "a file loses only the last of its unsynced changes, the namespace only the \
                  last of its own; fsync of a file covers its name",
        data: Home::Inode,
        size: Home::Inode,
        entry: Home::Log,
        atomic_rename: true,
        needs: &[],
        fsync_file: SyncRule { names: true, ..CONTENT },
        fdatasync_file: SyncRule { names: true, ..CONTENT },
        fsync_directory: SyncRule { entries: true, names: true, ..NOTHING },
        sync_range: NOTHING,
        tear: TearRule {
            sector: 512,
            prefix: true,
            suffix: false,
            subset: false,
            classes: WRITTEN,
        },
    };

    /// Every profile, the weakest promise first.
    pub fn all() -> &'static [Self] {
        &[Self::POSIX, Self::TAIL_PREFIX]
    }

    /// The profile with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().iter().find(|profile| profile.name == name).copied()
    }

    /// Whether data and size of a file share a group, so that they change as one.
    pub(super) fn joins_size(&self) -> bool {
        self.data == self.size && self.data != Home::Own
    }
}

/// Up to this many sectors, any set of them may be asked for; beyond it there are too many sets.
const MOST_SECTORS: u16 = 16;

impl TearRule {
    /// What may survive of a block of which the bytes from `start` to `end` were written: lists
    /// of ranges in bytes from the start of the block. Empty for what lies in one sector.
    pub fn survivors(&self, start: u16, end: u16) -> Vec<Vec<Range<u16>>> {
        let (first, last) = (start / self.sector, end.div_ceil(self.sector));
        if self.subset && last - first <= MOST_SECTORS {
            let all = (1u32 << (last - first)) - 1;
            return (1..all).map(|set| self.subset_of(set, first, last)).collect();
        }
        let cuts = (first + 1..last).map(|cut| cut * self.sector);
        let prefixes = cuts.clone().map(|cut| 0..cut).filter(|_| self.prefix);
        let suffixes = cuts.map(|cut| cut..PAGE as u16).filter(|_| self.suffix);
        prefixes.chain(suffixes).map(|range| Vec::from([range])).collect()
    }

    /// The ranges of a set of sectors, one bit for each from `first` to `last`. What was not
    /// written counts to the sector next to it: it is the same before and after.
    fn subset_of(&self, set: u32, first: u16, last: u16) -> Vec<Range<u16>> {
        let mut ranges: Vec<Range<u16>> = Vec::new();
        for sector in (first..last).filter(|sector| set >> (sector - first) & 1 == 1) {
            let start = if sector == first { 0 } else { sector * self.sector };
            let end = if sector + 1 == last { PAGE as u16 } else { (sector + 1) * self.sector };
            match ranges.last_mut() {
                Some(range) if range.end == start => range.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }
}
