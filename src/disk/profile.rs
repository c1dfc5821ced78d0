//! The promises of a file system about a crash, as values: no code asks which profile it runs on.

use std::ops::Range;
use std::time::Duration;

use super::content::PAGE;
use super::failure::FailedSync;

/// The promises of a file system, as data. A new file system is a new value of this type; the
/// associated constants are the existing ones.
///
/// The fields say which group each class of piece belongs to (a crash keeps a prefix of each
/// group), which pieces need others, what each sync call makes durable, and how a block may tear.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name in cases and commands.
    pub name: &'static str,
    /// Its promise, in one line.
    pub promise: &'static str,
    /// The group of data over a block that was written before ([`PieceClass::Overwrite`],
    /// [`PieceClass::Zero`]).
    pub data: Home,
    /// The group of the first data in a block ([`PieceClass::Fill`], [`PieceClass::Extend`]). Where
    /// this is also the group of the size, a block that extends the file is one piece with its
    /// size.
    pub fresh: Home,
    /// The group of a block that becomes a hole. Where this is also that of [`Profile::resize`], a
    /// truncation is one piece with the holes that it makes.
    pub hole: Home,
    /// The group of a size that grows within a block that is on the medium ([`PieceClass::Grow`]).
    pub grow: Home,
    /// The group of a size that grows over a block that is not on the medium, or towards one
    /// ([`PieceClass::Reach`]).
    pub reach: Home,
    /// The group of a size that is set ([`PieceClass::Resize`]), and of an extended attribute.
    pub resize: Home,
    /// The group of a change of a directory entry.
    pub entry: Home,
    /// Whether the two entries of a renamed file change as one piece. Those of a directory
    /// always do.
    pub atomic_rename: bool,
    /// Whether the blocks that one call writes are one piece. No file system that was examined
    /// guarantees this: where a write is in two extents, btrfs publishes one without the other.
    pub whole_writes: bool,
    /// Whether a write that begins after the last block first writes zeros over the rest of that
    /// block, and the size may stop there.
    pub zeroes_tail: bool,
    /// Which pieces are kept only together with others.
    pub needs: &'static [Need],
    /// The pieces that `fsync` of a file makes durable.
    pub fsync_file: SyncRule,
    /// The pieces that `fdatasync` of a file makes durable.
    pub fdatasync_file: SyncRule,
    /// The pieces that `fsync` and `fdatasync` of a directory make durable.
    pub fsync_directory: SyncRule,
    /// The pieces that `sync_file_range` makes durable, of the range that it is called with.
    pub sync_range: SyncRule,
    /// The ways in which a block that was being written may tear.
    pub tear: TearRule,
    /// Whether a new block past the old end of a file, whose data is lost and whose size is not,
    /// may hold anything instead of zeros: data that another file left there.
    pub stale: bool,
    /// How often the log reaches the medium by itself, in virtual time; pieces that need the log
    /// follow later. `None` promises nothing: changes of any age may be lost.
    pub commits: Option<Duration>,
    /// The effects of a failed sync.
    pub failure: FailedSync,
    /// Whether blocks are allocated when they are written back, not by the call that fills them.
    pub delays: bool,
}

/// The group in which a piece queues: pieces in one group are kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// With the other versions of the same block, size or entry only.
    Own,
    /// With all pieces of the same file, or of the same directory.
    Inode,
    /// With all pieces of the file system that have this home.
    Log,
}

/// The class of a piece, as profiles distinguish them.
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
    /// The size grows because of a write, over a block that the medium does not have yet, or
    /// towards one.
    Reach,
    /// The size is set, by `ftruncate` or `fallocate`.
    Resize,
    /// Directory entries.
    Entry,
    /// Directory entries, by a rename that replaces a file.
    Replace,
    /// An extended attribute.
    Attribute,
    /// Directory entries, by an exchange of two files.
    Exchange,
}

/// A rule of a profile: a piece of one class is kept only if some of the pieces before it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The class of the pieces with the requirement.
    pub of: PieceClass,
    /// The pieces that they require.
    pub on: Required,
}

/// The pieces that a piece may require. Only older pieces can be required, so a prefix of all
/// pieces in their global order satisfies every profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// Everything in the log so far.
    Log,
    /// The size of the same file, as it is so far.
    Size,
    /// The block that the same call wrote last before this piece: for a size that grows, the block
    /// that made it grow; for a size that was cut, the block that was zeroed after it.
    Block,
    /// The same, unless other calls wrote to the file too: the first of that data to be written
    /// takes the size along.
    BlockAlone,
    /// The first version of the same block since it was a hole: the one that puts the block on the
    /// medium.
    First,
    /// The blocks of the same file before this one, as they are so far: write-back goes through
    /// a file in the order of its pages.
    Lower,
    /// The block right before this one, if the same call made it: both go out in one request,
    /// unless a truncation or `fallocate` writes back a part of the file first.
    LowerOfCall,
    /// As [`Required::Lower`], but a block that the medium does not have may be missing altogether:
    /// though written, it counts as unwritten until it is converted.
    LowerOrUnwritten,
    /// The data between the file's end on the medium and its new end, and the block that was the
    /// last if the file grows after a partial block.
    Tail,
    /// All data of the file that a rename moves.
    File,
}

/// The pieces that a successful sync makes durable: the newest of these kinds and, with them, all
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
    /// The entries that an exchange of the file with another one swapped.
    pub swapped: bool,
    /// The entry that named the inode first.
    pub birth: bool,
    /// The log up to the last call that changed the inode in any way: each such call logs a time of
    /// change.
    pub touched: bool,
    /// The whole log.
    pub log: bool,
    /// Only these pieces, wherever they are in their groups, and the pieces without which they
    /// cannot be found: the older changes of the same entries, and the directories above.
    /// Everything else stays pending; so does, where a directory is synced, the old name of a file
    /// that was moved into it from another one.
    pub alone: bool,
}

/// The ways in which the block after a group's cut may survive in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearRule {
    /// The bytes that survive or vanish together; divides the block. A block of one sector does not
    /// tear.
    pub sector: u16,
    /// The first sectors may survive alone.
    pub prefix: bool,
    /// The last sectors may survive alone.
    pub suffix: bool,
    /// Any set of sectors may survive: 2^n fates for n sectors.
    pub subset: bool,
    /// Any pending block may be torn, not only those of the interrupted call: write-back may be
    /// under way at any time.
    pub any: bool,
    /// The classes of data that tear. A hole never does: it is metadata.
    pub classes: &'static [PieceClass],
}

impl Profile {
    /// The home of a class of pieces.
    pub fn home(&self, class: PieceClass) -> Home {
        match class {
            PieceClass::Overwrite | PieceClass::Zero => self.data,
            PieceClass::Fill | PieceClass::Extend => self.fresh,
            PieceClass::Hole => self.hole,
            PieceClass::Grow => self.grow,
            PieceClass::Reach => self.reach,
            PieceClass::Resize => self.resize,
            PieceClass::Entry | PieceClass::Replace | PieceClass::Exchange => self.entry,
            // A change of the inode that the call itself logs, like a size that is set.
            PieceClass::Attribute => self.resize,
        }
    }

    /// Whether pieces of two classes are one piece: they share a group that keeps them in order.
    pub(super) fn joins(&self, data: PieceClass, size: PieceClass) -> bool {
        self.home(data) == self.home(size) && self.home(data) != Home::Own
    }

    /// Whether a piece of one class needs others of this kind.
    pub(super) fn asks(&self, of: PieceClass, on: Required) -> bool {
        self.needs.contains(&Need { of, on })
    }
}

/// Up to this many sectors, every set of them is tried; beyond it there are too many sets.
const MOST_SECTORS: u16 = 16;

impl TearRule {
    /// The parts that may survive of a block of which the bytes from `start` to `end` were written:
    /// lists of ranges in bytes from the start of the block. Empty if the bytes are in one sector.
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

    /// Those among them that lie at an end of what was written: the first sector is kept alone or
    /// lost alone, and so is the last. This is the bound of what a crash point counts as all tears
    /// of a block that is written back; the others are drawn.
    pub fn edges(&self, start: u16, end: u16) -> Vec<Vec<Range<u16>>> {
        let (first, last) = (start / self.sector + 1, end.div_ceil(self.sector));
        if first >= last {
            return Vec::new();
        }
        let (first, last) = (first * self.sector, (last - 1) * self.sector);
        let (prefix, suffix) = (self.prefix || self.subset, self.suffix || self.subset);
        let page = PAGE as u16;
        let edges =
            [(0..first, prefix), (first..page, suffix), (0..last, prefix), (last..page, suffix)];
        let count = if first == last { 2 } else { 4 };
        let allowed = edges.into_iter().take(count).filter(|(_, allowed)| *allowed);
        allowed.map(|(range, _)| Vec::from([range])).collect()
    }

    /// The ranges of a set of sectors, one bit for each from `first` to `last`. Bytes that were not
    /// written belong to the sector next to them: they are the same before and after.
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
