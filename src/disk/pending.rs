//! The pending and the durable state of a disk in use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::block::Block;
use super::content::Content;
use super::effect::Ino;
use super::failure::Sizes;
use super::piece::{
    Aspect, Group, GroupId, Piece, PieceChange, Requirement, SyncedBy, aspects, seq_digest,
};
use super::profile::{Home, PieceClass, Profile};
use super::tree::{Name, Node, Times, Tree};

/// A disk in use: the tree that processes see, the durable tree, and the pieces between the two.
///
/// [`Pending::apply`] costs as much as its effect touches. Cloning shares all inodes, groups and
/// pages.
#[derive(Clone)]
pub struct Pending {
    pub(super) profile: Profile,
    /// The tree that processes see.
    pub(super) live: Tree,
    /// The tree on the medium. Content may reach beyond a file's size: see `untrimmed`.
    pub(super) durable: Tree,
    pub(super) groups: BTreeMap<GroupId, Arc<Group>>,
    /// The group of each pending piece, by sequence number.
    pub(super) order: BTreeMap<u64, GroupId>,
    /// The pending versions of each block.
    pub(super) blocks: BTreeMap<(Ino, u64), Arc<Block>>,
    /// The newest piece of each group that the next sync of an inode has to write. A pending piece
    /// that is not reached from here is undecided for ever.
    pub(super) unsynced: BTreeMap<(Ino, Aspect), BTreeMap<GroupId, u64>>,
    /// The sizes that pending pieces give files, by file, by the home of the piece and by its
    /// sequence number.
    pub(super) sizes: BTreeMap<(Ino, Home, u64), u64>,
    /// The piece that gave a file its durable size: older ones no longer count.
    pub(super) sized: BTreeMap<Ino, u64>,
    /// The times that inodes have after pending pieces, by inode and by the number of the piece.
    pub(super) times: BTreeMap<(Ino, u64), Times>,
    /// The piece that gave an inode its durable times: older ones no longer count.
    pub(super) timed: BTreeMap<Ino, u64>,
    /// The end of the log when an inode was last changed in any way.
    pub(super) touched: BTreeMap<Ino, u64>,
    /// Entries that were last changed by a piece outside their own group: a directory's rename.
    pub(super) moved: BTreeMap<(Ino, Name), (GroupId, u64)>,
    /// Blocks of files that were reserved by `fallocate` and not written at that time, where the
    /// profile does not treat them as holes.
    pub(super) reserved: BTreeMap<Ino, Vec<std::ops::Range<u64>>>,
    /// The two pieces of each rename that is not atomic: each names the other.
    pub(super) rename_partners: BTreeMap<u64, u64>,
    /// Pending changes of names whose file was synced since.
    pub(super) synced_names: BTreeMap<u64, SyncedBy>,
    /// The blocks whose newest version a failed sync left undecided: their pages are clean, and it
    /// is unknown what the medium has.
    pub(super) undecided: BTreeSet<(Ino, u64)>,
    /// Sequence numbers, by group, from which no crash keeps pieces, though processes see them:
    /// sizes over data that the medium turned out not to have.
    pub(super) never_kept: BTreeMap<GroupId, u64>,
    /// Whether a failed sync made the file system read-only, or shut it down.
    pub(super) frozen: bool,
    /// The groups with pieces that need others.
    pub(super) constrained: BTreeSet<GroupId>,
    /// The groups of entries that a sync of a file repeated; see [`super::restate`].
    pub(super) restated: BTreeSet<GroupId>,
    /// The directories that had names of a file when the log began, for files whose names changed.
    pub(super) former_parents: BTreeMap<Ino, BTreeSet<Ino>>,
    /// Files without a name so far, and whether a sync came since they were made.
    pub(super) nameless: BTreeMap<Ino, bool>,
    /// How many pending changes of entries link to an inode.
    pub(super) pending_links: BTreeMap<Ino, u32>,
    /// Freed inodes that a crash may bring back, in their last state.
    pub(super) freed_inodes: BTreeMap<Ino, Node>,
    /// Files whose durable content may reach beyond their durable size.
    pub(super) untrimmed: BTreeSet<Ino>,
    /// The sequence number of the next piece.
    pub(super) next: u64,
    /// How many commits by the clock have passed, where the profile has them.
    pub(super) commits: u64,
    /// How many effects were applied.
    pub(super) effects: u64,
    /// The sum of the digests of the pending pieces, and of all that came before.
    pub(super) pending_sum: u64,
    pub(super) settled_sum: u64,
}

impl Pending {
    /// A disk that was just mounted: everything in the tree is durable.
    pub fn new(tree: Tree, profile: &Profile) -> Self {
        Self {
            profile: *profile,
            live: tree.clone(),
            durable: tree,
            groups: BTreeMap::new(),
            order: BTreeMap::new(),
            blocks: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            sizes: BTreeMap::new(),
            sized: BTreeMap::new(),
            times: BTreeMap::new(),
            timed: BTreeMap::new(),
            touched: BTreeMap::new(),
            moved: BTreeMap::new(),
            reserved: BTreeMap::new(),
            rename_partners: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            undecided: BTreeSet::new(),
            never_kept: BTreeMap::new(),
            frozen: false,
            constrained: BTreeSet::new(),
            restated: BTreeSet::new(),
            former_parents: BTreeMap::new(),
            nameless: BTreeMap::new(),
            pending_links: BTreeMap::new(),
            freed_inodes: BTreeMap::new(),
            untrimmed: BTreeSet::new(),
            next: 0,
            commits: 0,
            effects: 0,
            pending_sum: 0,
            settled_sum: 0,
        }
    }

    /// The profile of the disk.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The tree that processes see: the page cache over the medium.
    pub fn live(&self) -> &Tree {
        &self.live
    }

    /// The medium, as syncs have left it. It holds nameless inodes and may hold bytes beyond a
    /// file's size; a mount would show [`Pending::keep`] of nothing.
    pub fn durable(&self) -> &Tree {
        &self.durable
    }

    /// How many effects were applied: the number that the next one will have in its
    /// pieces.
    pub fn effects(&self) -> u64 {
        self.effects
    }

    /// How many pieces are pending.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is pending: one crash state is left.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The groups with pending pieces, in a fixed order.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (id, group.as_ref()))
    }

    /// The pending pieces of one group, if there are any.
    pub fn group(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id).map(Arc::as_ref)
    }

    /// All pending pieces in their global order.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = (&GroupId, &Piece)> {
        self.order.iter().filter_map(|(&seq, id)| Some((id, self.group(id)?.piece(seq)?)))
    }

    /// How many pages are held to build pending versions from, in addition to those of the two
    /// trees.
    pub fn whole_pages(&self) -> usize {
        self.blocks.values().map(|block| block.whole_pages()).sum()
    }

    pub(super) fn content(&self, ino: Ino) -> Option<&Content> {
        self.live.node(ino)?.content()
    }

    /// Whether the medium has a block, so that new data in it replaces old data.
    pub(super) fn is_on_medium(&self, ino: Ino, block: u64) -> bool {
        let node = self.durable.node(ino).and_then(Node::content);
        let mapped = node.is_some_and(|content| content.page(block).is_some());
        !self.blocks.get(&(ino, block)).map_or(!mapped, |versions| versions.is_hole(mapped))
    }

    pub(super) fn entry_group(&self, dir: Ino, name: &Name) -> GroupId {
        self.home(self.profile.entry, GroupId::Entry(dir, name.clone()), dir)
    }

    pub(super) fn home(&self, home: Home, own: GroupId, ino: Ino) -> GroupId {
        match home {
            Home::Own => own,
            Home::Inode => GroupId::Inode(ino),
            Home::Log => GroupId::Log,
        }
    }

    pub(super) fn newest(&self, group: &GroupId) -> Option<(GroupId, u64)> {
        let last = self.groups.get(group)?.pieces().last()?;
        Some((group.clone(), last.seq))
    }

    pub(super) fn push(
        &mut self,
        id: GroupId,
        change: PieceChange,
        class: PieceClass,
        needs: Vec<Requirement>,
    ) -> u64 {
        let seq = self.next;
        self.next += 1;
        self.pending_sum = self.pending_sum.wrapping_add(seq_digest(seq));
        if !needs.is_empty() {
            self.constrained.insert(id.clone());
        }
        let needs = (!needs.is_empty()).then(|| needs.into());
        let mut piece =
            Piece { seq, effect: self.effects, change, class, needs, times: None, sum: 0 };
        piece.times = self.push_times(&piece);
        if let Some((ino, _, size)) = piece.sizes() {
            self.sizes.insert((ino, id.home(), seq), size);
        }
        for key in aspects(&piece) {
            self.unsynced.entry(key).or_default().insert(id.clone(), seq);
        }
        self.order.insert(seq, id.clone());
        Arc::make_mut(self.groups.entry(id).or_default()).push(piece);
        seq
    }

    /// A sequence number that no piece has.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Notes a change that no piece records: no fate from before it equals one from after it.
    pub(super) fn stamp(&mut self) {
        self.settled_sum = self.settled_sum.wrapping_add(seq_digest(self.next));
        self.next += 1;
    }

    /// Whether a requirement is for data that a failed sync left undecided.
    pub(super) fn is_given_up(&self, need: &Requirement) -> bool {
        !self.undecided.is_empty()
            && matches!(need.group, GroupId::Block(ino, number)
                if self.undecided.contains(&(ino, number)))
    }

    /// Whether a crash keeps a piece only together with this requirement of it. A file system that
    /// logs sizes over blocks whose write failed no longer waits for these blocks.
    pub fn binds(&self, need: &Requirement) -> bool {
        self.profile.failure.sizes == Sizes::Lost || !self.is_given_up(need)
    }

    /// Whether some page is clean though its write failed.
    pub fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Whether a sync of a file would have data to write.
    pub(super) fn is_dirty(&self, ino: Ino) -> bool {
        self.unsynced.contains_key(&(ino, Aspect::Data))
    }

    /// The files that have data for a sync to write.
    pub(super) fn dirty_files(&self) -> Vec<Ino> {
        let data = self.unsynced.keys().filter(|(_, aspect)| *aspect == Aspect::Data);
        data.map(|(ino, _)| *ino).collect()
    }

    /// Whether a failed sync stopped the file system: it accepts no change until it is mounted
    /// again.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }
}
