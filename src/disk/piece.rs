//! Pieces, the units of survival, and the groups in which they queue.

use std::sync::Arc;

use super::content::PAGE;
use super::effect::Ino;
use super::profile::{Home, PieceClass};
use super::tree::{Name, Times};
use crate::base::digest::hash;

/// The queue that a piece is in: a crash keeps a prefix of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupId {
    /// The versions of one block of a file; also, on every profile, those of its versions that
    /// a failed sync left undecided.
    Block(Ino, u64),
    /// The sizes of one file.
    Size(Ino),
    /// The inodes that one entry of a directory leads to.
    Entry(Ino, Name),
    /// All changes of one file, or of one directory.
    Inode(Ino),
    /// The changes that the file system orders as a whole.
    Log,
    /// The values of one extended attribute of an inode.
    Attribute(Ino, Name),
}

impl GroupId {
    /// Which pieces share the group.
    pub(super) fn home(&self) -> Home {
        match self {
            Self::Block(..) | Self::Size(_) | Self::Entry(..) | Self::Attribute(..) => Home::Own,
            Self::Inode(_) => Home::Inode,
            Self::Log => Home::Log,
        }
    }
}

/// The inode that a directory entry led to, and the one that it leads to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange {
    /// The directory.
    pub dir: Ino,
    /// The name in it.
    pub name: Name,
    /// The inode that the name led to before.
    pub old: Option<Ino>,
    /// The inode that it leads to now.
    pub new: Option<Ino>,
}

/// The change that a piece makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceChange {
    /// A block of a file.
    Data {
        /// The file.
        ino: Ino,
        /// The number of the block: its offset divided by [`PAGE`].
        block: u64,
        /// How many blocks after it belong to the piece, where the profile makes one piece of all
        /// that a call wrote.
        more: u64,
        /// The first byte of the block that was written.
        start: u16,
        /// The byte after the last that was written, in the last block.
        end: u16,
        /// The size before and after, where the profile makes it part of the piece.
        grows: Option<(u64, u64)>,
    },
    /// The size of a file.
    Size {
        /// The file.
        ino: Ino,
        /// Its size before, in bytes.
        old: u64,
        /// Its size now, in bytes.
        new: u64,
    },
    /// Directory entries: one, or the two of an atomic rename.
    Entries(Arc<[EntryChange]>),
    /// An extended attribute.
    Attribute(Arc<AttributeChange>),
}

/// The value that an extended attribute had, and the one that it has now; `None` if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeChange {
    /// The inode.
    pub ino: Ino,
    /// The whole name.
    pub name: Name,
    /// The value before.
    pub old: Option<Arc<[u8]>>,
    /// The value now.
    pub new: Option<Arc<[u8]>>,
}

/// A requirement of a piece: the pieces of another group, up to a sequence number, must be kept
/// with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The group.
    pub group: GroupId,
    /// The last piece of it that must be kept.
    pub seq: u64,
    /// Whether the requirement is also met if nothing of the group is kept.
    pub or_nothing: bool,
    /// Whether it comes only from the order in which write-back goes through a file.
    pub in_turn: bool,
    /// Whether it counts only while the piece is the last that is kept of its group: a later size
    /// replaces the one before.
    pub while_last: bool,
}

impl Requirement {
    pub(super) fn new(group: GroupId, seq: u64) -> Self {
        Self { group, seq, or_nothing: false, in_turn: false, while_last: false }
    }
}

/// The unit of survival: a crash keeps it or loses it, or, if it is data, tears it.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its position among all pieces of the run so far; later pieces have higher numbers.
    pub seq: u64,
    /// The effect that made it: the first that a `Pending` is given is number 0.
    pub effect: u64,
    /// Its change.
    pub change: PieceChange,
    /// Its kind, as profiles see it.
    pub class: PieceClass,
    /// Its requirements.
    pub(super) needs: Option<Arc<[Requirement]>>,
    /// The times that inodes have after it, of those that it changes: on the medium, the inode is
    /// written as a whole. Left out where the durable inode has the same.
    pub(super) times: Option<Arc<[(Ino, Times)]>>,
    /// The sum of the digests of this piece and all before it in its group.
    pub(super) sum: u64,
}

impl Piece {
    /// Its requirements. Those on groups that are no longer pending have no effect.
    pub fn needs(&self) -> &[Requirement] {
        self.needs.as_deref().unwrap_or_default()
    }

    /// Its requirements, if it is (`last`) or is not the last piece that is kept of its group.
    pub fn needs_as(&self, last: bool) -> impl Iterator<Item = &Requirement> {
        self.needs().iter().filter(move |need| last || !need.while_last)
    }

    /// The piece without the requirements that come only from the order of write-back.
    pub(super) fn in_no_turn(mut self) -> Self {
        if self.needs().iter().any(|need| need.in_turn) {
            self.needs = Some(self.needs().iter().filter(|need| !need.in_turn).cloned().collect());
        }
        self
    }

    /// The file whose data or size it changes.
    pub fn file(&self) -> Option<Ino> {
        match self.change {
            PieceChange::Data { ino, .. } | PieceChange::Size { ino, .. } => Some(ino),
            PieceChange::Entries(_) | PieceChange::Attribute(_) => None,
        }
    }

    /// The attribute that it changes.
    pub(super) fn attribute(&self) -> Option<&AttributeChange> {
        match &self.change {
            PieceChange::Attribute(change) => Some(change),
            _ => None,
        }
    }

    /// The inode whose content, size or attribute it changes.
    pub(super) fn inode(&self) -> Option<Ino> {
        self.file().or_else(|| self.attribute().map(|change| change.ino))
    }

    /// The inodes whose times it moves.
    pub(super) fn timed(&self) -> Vec<Ino> {
        let changes = self.changes().iter();
        let of_entries =
            changes.flat_map(|change| [change.dir].into_iter().chain(change.old).chain(change.new));
        of_entries.chain(self.inode()).collect()
    }

    /// The size before and after, if it changes one.
    pub(super) fn sizes(&self) -> Option<(Ino, u64, u64)> {
        match self.change {
            PieceChange::Data { ino, grows: Some((old, new)), .. }
            | PieceChange::Size { ino, old, new } => Some((ino, old, new)),
            _ => None,
        }
    }

    /// The entries that it changes.
    pub(super) fn changes(&self) -> &[EntryChange] {
        match &self.change {
            PieceChange::Entries(changes) => changes,
            _ => &[],
        }
    }

    /// The blocks of its file whose content depends on it: a truncation that is one piece with the
    /// blocks that it zeroes hides all blocks from its new end on.
    pub(super) fn blocks(&self) -> Option<(Ino, u64, u64)> {
        match self.change {
            PieceChange::Data { ino, block, more, .. } => Some((ino, block, block + more)),
            PieceChange::Size { ino, old, new } if new < old => {
                Some((ino, new / PAGE as u64, u64::MAX))
            }
            _ => None,
        }
    }
}

/// The pending pieces of one group, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pieces: Vec<Piece>,
    /// The `sum` of the last piece that left the front.
    gone: u64,
}

impl Group {
    /// How many pieces are pending.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether none is pending.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The pending pieces, the oldest first.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many of them have a sequence number below `limit`.
    pub(super) fn before(&self, limit: u64) -> usize {
        match self.pieces.last() {
            Some(last) if last.seq < limit => self.pieces.len(),
            _ => self.pieces.partition_point(|piece| piece.seq < limit),
        }
    }

    /// The piece with this sequence number.
    pub(super) fn piece(&self, seq: u64) -> Option<&Piece> {
        self.pieces.get(self.before(seq)).filter(|piece| piece.seq == seq)
    }

    /// The sum of the digests of the first `cut` pieces.
    pub(super) fn sum(&self, cut: usize) -> u64 {
        let last = cut.checked_sub(1).and_then(|last| self.pieces.get(last));
        last.map_or(0, |piece| piece.sum.wrapping_sub(self.gone))
    }

    pub(super) fn push(&mut self, mut piece: Piece) {
        let before = self.pieces.last().map_or(self.gone, |last| last.sum);
        piece.sum = before.wrapping_add(seq_digest(piece.seq));
        self.pieces.push(piece);
    }

    /// Adds a piece at the position of its sequence number: pieces with later ones may exist
    /// already.
    pub(super) fn insert(&mut self, piece: Piece) {
        let later = self.pieces.split_off(self.before(piece.seq));
        self.push(piece);
        later.into_iter().for_each(|piece| self.push(piece));
    }

    /// Removes the first `cut` pieces, or all if there are fewer.
    pub(super) fn take(&mut self, cut: usize) -> Vec<Piece> {
        let taken: Vec<Piece> = self.pieces.drain(..cut.min(self.pieces.len())).collect();
        self.gone = taken.last().map_or(self.gone, |last| last.sum);
        taken
    }

    /// The requirements of its first `cut` pieces.
    pub(super) fn needs(&self, cut: usize) -> impl Iterator<Item = &Requirement> {
        let kept = self.pieces[..cut].iter().enumerate();
        kept.flat_map(move |(at, piece)| piece.needs_as(at + 1 == cut))
    }

    /// The group with some pieces replaced or left out.
    pub(super) fn rebuild(self, mut change: impl FnMut(Piece) -> Option<Piece>) -> Self {
        let mut rest = Self { pieces: Vec::new(), gone: self.gone };
        self.pieces.into_iter().filter_map(&mut change).for_each(|piece| rest.push(piece));
        rest
    }
}

/// An aspect of an inode that a piece changes; a sync makes some of these durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    Data,
    Size,
    Entries,
    Names,
    /// The entries that name it since it was exchanged with another file.
    Swapped,
    /// The entry that named it first.
    Birth,
    /// Its extended attributes.
    Attributes,
}

/// The aspects of inodes that a piece changes.
pub(super) fn aspects(piece: &Piece) -> Vec<(Ino, Aspect)> {
    match &piece.change {
        PieceChange::Data { ino, grows: None, .. } => vec![(*ino, Aspect::Data)],
        PieceChange::Data { ino, .. } => vec![(*ino, Aspect::Data), (*ino, Aspect::Size)],
        PieceChange::Size { ino, .. } => vec![(*ino, Aspect::Size)],
        PieceChange::Entries(changes) => {
            let mut aspects = Vec::new();
            for change in changes.iter() {
                aspects.push((change.dir, Aspect::Entries));
                let named = change.old.into_iter().chain(change.new);
                let swapped = piece.class == PieceClass::Exchange;
                let aspect = if swapped { Aspect::Swapped } else { Aspect::Names };
                aspects.extend(named.map(|ino| (ino, aspect)));
            }
            aspects
        }
        PieceChange::Attribute(change) => vec![(change.ino, Aspect::Attributes)],
    }
}

/// Whether a piece renames another file over a name of this one.
pub(super) fn replaced(piece: &Piece, ino: Ino) -> bool {
    matches!(piece.changes(), [to, from]
        if to.old == Some(ino) && to.new.is_some() && from.new.is_none())
}

/// The subject of a new piece: the inode and the block that it changes, and the call's earlier
/// pieces.
pub(super) struct Subject {
    /// The inode that the piece changes; for an entry, the one that it leads to.
    pub(super) ino: Ino,
    /// The block, if the piece changes one.
    pub(super) block: Option<u64>,
    /// The piece that the same call wrote last before it.
    pub(super) wrote: Option<(GroupId, u64)>,
    /// The size before and after, if the piece sets it.
    pub(super) resized: Option<(u64, u64)>,
}

/// The syncs of a file since a change of its names that is still pending.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncedBy {
    /// By `fsync` of the file.
    pub(super) whole: bool,
    /// By `fdatasync` of the file.
    pub(super) data: bool,
}

/// The share of one kept piece in the fingerprint of a fate.
pub(super) fn seq_digest(seq: u64) -> u64 {
    hash(&seq.to_le_bytes())
}
