//! What a file system promises about a crash, as values: no code asks which profile it runs on.

use std::ops::Range;
use std::time::Duration;

use super::content::PAGE;
use super::failure::FailedSync;

/// What a file system promises, as data. A new file system is a new value of this type; see
/// [`super::profiles`] for those that there are.
///
/// The fields say which group each class of piece belongs to (a crash keeps a prefix of each
/// group), which pieces need others, what each sync call makes durable, and how a block may tear.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The name by which cases and commands call it.
    pub name: &'static str,
    /// What it promises, in one line.
    pub promise: &'static str,
    /// The group of data over a block that was written before ([`PieceClass::Overwrite`],
    /// [`PieceClass::Zero`]).
    pub data: Home,
    /// The group of the first data in a block ([`PieceClass::Fill`], [`PieceClass::Extend`]). Where it is
    /// that of the size too, a block that extends the file is one piece with its size.
    pub fresh: Home,
    /// The group of a block that becomes a hole. Where it is that of [`Profile::resize`], a
    /// truncation is one piece with the holes that it makes.
    pub hole: Home,
    /// The group of a size that grows within a block that is on the medium ([`PieceClass::Grow`]).
    pub grow: Home,
    /// The group of a size that grows over a block that is not, or towards one
    /// ([`PieceClass::Reach`]).
    pub reach: Home,
    /// The group of a size that is set ([`PieceClass::Resize`]).
    pub resize: Home,
    /// The group of a change of a directory entry.
    pub entry: Home,
    /// Whether the two entries of a renamed file change as one piece. Those of a directory
    /// always do.
    pub atomic_rename: bool,
    /// Whether the blocks that one call writes are one piece. No file system that was looked at
    /// keeps to that: where a write lies in two extents, btrfs publishes one without the other.
    pub whole_writes: bool,
    /// Whether a write that begins behind the last block writes zeros over the rest of that block
    /// first, and the size may stop there.
    pub zeroes_tail: bool,
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
    /// Whether a new block past the old end of a file, whose data is lost and whose size is not,
    /// may hold anything instead of zeros: what another file left there.
    pub stale: bool,
    /// How often the log reaches the medium by itself, in virtual time; what needs the log follows
    /// later. `None` promises nothing: whatever is older than any commit may be lost.
    pub commits: Option<Duration>,
    /// What a sync that fails does.
    pub failure: FailedSync,
    /// Whether blocks are allocated when they are written back, not by the call that fills them.
    pub delays: bool,
}

/// Where a piece queues: pieces in one group are kept in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
pub enum PieceClass {
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
    /// The size grows because of a write that ends within a block that the medium has.
    Grow,
    /// The size grows because of a write, over a block that the medium does not have yet or
    /// towards one.
    Reach,
    /// The size is set, by `ftruncate` or `fallocate`.
    Resize,
    /// Directory entries.
    Entry,
    /// Directory entries, by a rename that replaces a file.
    Replace,
}

/// A requirement: a piece of one class is kept only if some of the pieces before it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The pieces that require.
    pub of: PieceClass,
    /// What they require.
    pub on: Required,
}

/// What a piece may require. Only pieces that are older can be required, so a prefix of all
/// pieces in their global order satisfies every profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// Everything in the log so far.
    Log,
    /// The size of the same file, as it is so far.
    Size,
    /// The block that the same call wrote last before this piece: for a size that grows, the
    /// block that made it grow; for a size that was cut, the block that was zeroed behind it.
    Block,
    /// The same, unless other calls wrote to the file too: what of that is written first takes the
    /// size along.
    BlockAlone,
    /// The first version of the same block since it was a hole: what put the block on the medium.
    First,
    /// The blocks of the same file before this one, as they are so far: write-back goes through
    /// a file in the order of its pages.
    Lower,
    /// The block right before this one, if the same call made it: both go out in one request,
    /// unless a truncation or `fallocate` writes back a part of the file first.
    LowerOfCall,
    /// As [`Required::Lower`], but a block that the medium does not have may be missing altogether: it
    /// was written, and counts as unwritten until it is converted.
    LowerOrUnwritten,
    /// The data between the end that the file has on the medium and its new one, and the block
    /// that was the last if the file grows behind a part of one.
    Tail,
    /// All data of the file that a rename moves.
    File,
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
    /// The entry that named the inode first.
    pub birth: bool,
    /// The log up to the last call that changed the inode in any way: each leaves a time of
    /// change there.
    pub touched: bool,
    /// The whole log.
    pub log: bool,
    /// Only these pieces, wherever they stand in their groups, and what they cannot be found
    /// without: the older changes of the same entries, and the directories above. Everything
    /// else stays as pending as it was; so does, where a directory is synced, the old name of a
    /// file that was moved into it from another one.
    pub alone: bool,
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
    /// Any pending block may be torn, not only what the crash interrupts: write-back may be under
    /// way at any time.
    pub any: bool,
    /// The classes of data that tear. A hole never does: it is metadata.
    pub classes: &'static [PieceClass],
}

impl Profile {
    /// The group of a class of pieces.
    pub fn home(&self, class: PieceClass) -> Home {
        match class {
            PieceClass::Overwrite | PieceClass::Zero => self.data,
            PieceClass::Fill | PieceClass::Extend => self.fresh,
            PieceClass::Hole => self.hole,
            PieceClass::Grow => self.grow,
            PieceClass::Reach => self.reach,
            PieceClass::Resize => self.resize,
            PieceClass::Entry | PieceClass::Replace => self.entry,
        }
    }

    /// Whether pieces of two classes change as one: they share a group that keeps them in order.
    pub(super) fn joins(&self, data: PieceClass, size: PieceClass) -> bool {
        self.home(data) == self.home(size) && self.home(data) != Home::Own
    }

    /// Whether a piece of one class needs others of this kind.
    pub(super) fn asks(&self, of: PieceClass, on: Required) -> bool {
        self.needs.contains(&Need { of, on })
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
