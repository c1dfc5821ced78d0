//! The fate of the pending pieces at a crash: which are kept, lost and torn.
//!
//! # Grammar
//!
//! A fate is a line of words (see [`crate::base::text`]):
//!
//! ```text
//! FATE  = keep=BASE [GROUP:COUNT ...] [tear=GROUP[:COUNT]:RANGE[+RANGE ...]] [stale]
//! BASE  = nothing | all | NUMBER      NUMBER: as many of the first pending pieces
//! GROUP = FILE@OFFSET                 one block of a file, by its offset in bytes
//!       | FILE.size                   the size of a file
//!       | FILE@NAME.attr              one extended attribute, by its name
//!       | ENTRY.entry                 one entry of a directory, by its path
//!       | FILE.data                   all of a file, where the profile keeps it in order
//!       | namespace                   all entries, where the profile keeps them in order
//! RANGE = END | START..END            bytes of the torn block that survive; END is 0..END
//!       | RANGE?                      bytes of it that hold junk
//! ```
//!
//! COUNT is how many of the group's pending pieces are kept. In a tear, the torn piece is the last
//! of COUNT; without COUNT it is the one right after those that are kept. Junk comes last, where
//! the profile allows it, and may come alone. `stale`: new blocks that
//! were lost but lie below a kept size hold junk, where the profile allows it. The end of a word
//! decides its kind, so a path may hold any of `@`, `.` and `:`. A path is that of the live tree.
//! An inode without a name there goes by its last name; if another inode has it now, by that name
//! followed by `//1`, `//2` and so on, the youngest inode first; if it never had one, by `//` and
//! its number. No file name holds a `/`, so these are not paths. A path that begins like a word of
//! this grammar (`keep=`, `tear=`) has `./` before it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::piece::GroupId;

/// The pieces that a crash keeps of the groups that a fate does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No piece.
    Nothing,
    /// All pieces.
    All,
    /// The first pieces in their global order, as many as this.
    Prefix(usize),
}

/// A piece after a group's cut that survives in part: the bytes of its block in these ranges. The
/// other bytes of the block are those that the cut keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tear {
    /// The group.
    pub group: GroupId,
    /// The torn one of its pending pieces, counted from 1; `None` is the one right after the cut. A
    /// page goes out as it is, so a block that has its own group may tear between two versions that
    /// are not consecutive. In a shared group only the piece right after the cut can tear.
    pub piece: Option<usize>,
    /// The ranges that survive, in bytes from the start of the block, in order.
    pub kept: Vec<Range<u16>>,
    /// The range that holds junk, if one does: the sector in flight.
    pub junk: Option<Range<u16>>,
}

/// The pieces that a crash keeps: one cut for each group, and at most one tear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The pieces kept of the groups that are not in `exceptions`.
    pub base: Keep,
    /// How many of its pending pieces each of these groups keeps.
    pub exceptions: BTreeMap<GroupId, usize>,
    /// The piece that survives in part, if one does.
    pub tear: Option<Tear>,
    /// Whether new blocks that are lost but lie below a kept size hold junk, not zeros.
    pub stale: bool,
}

impl Fate {
    /// A fate with this base and nothing else.
    pub fn of(base: Keep) -> Self {
        Self { base, exceptions: BTreeMap::new(), tear: None, stale: false }
    }

    /// Keeps no pending piece.
    pub fn nothing() -> Self {
        Self::of(Keep::Nothing)
    }

    /// Keeps every pending piece.
    pub fn all() -> Self {
        Self::of(Keep::All)
    }

    /// Keeps the first `count` pending pieces in their global order.
    pub fn prefix(count: usize) -> Self {
        Self::of(Keep::Prefix(count))
    }

    /// The same except for one group, which keeps its first `cut` pending pieces.
    pub fn with(mut self, group: GroupId, cut: usize) -> Self {
        self.exceptions.insert(group, cut);
        self
    }

    /// The same with a tear of the piece right after a group's cut.
    pub fn torn(mut self, group: GroupId, kept: impl IntoIterator<Item = Range<u16>>) -> Self {
        let kept = kept.into_iter().collect();
        self.tear = Some(Tear { group, piece: None, kept, junk: None });
        self
    }
}
