//! The fate of what is pending: which pieces a crash keeps, loses and tears.

use std::collections::BTreeMap;
use std::ops::Range;

use super::piece::GroupId;

/// What a crash keeps of the groups that a fate does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No piece.
    Nothing,
    /// All pieces.
    All,
    /// The first pieces in their global order, as many as this.
    Prefix(usize),
}

/// What remains of the piece behind a group's cut: the bytes of its block in these ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tear {
    /// The group.
    pub group: GroupId,
    /// The ranges that survive, in bytes from the start of the block, in order.
    pub kept: Vec<Range<u16>>,
}

/// Which pieces a crash keeps: one cut for each group, and at most one tear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What is kept of the groups that are not in `exceptions`.
    pub base: Keep,
    /// How many of its pending pieces a group keeps.
    pub exceptions: BTreeMap<GroupId, usize>,
    /// The piece that survives in part, if one does.
    pub tear: Option<Tear>,
}
