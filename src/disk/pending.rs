//! What is pending and what is durable while effects are applied to a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::block::{Block, Difference};
use super::content::{Content, PAGE};
use super::effect::{Allocation, Effect, Ino, Kind};
use super::needs::Cause;
use super::piece::{Change, Group, GroupId, Piece, Requirement, What, seq_digest};
use super::profile::{Class, Home, On, Profile};
use super::relax::Synced;
use super::tree::{Name, Node, Tree};
use crate::base::time::Time;

/// A disk in use: what processes see, what is durable, and the pieces between the two.
///
/// [`Pending::apply`] costs what its effect touches. Cloning shares all inodes, groups and
/// pages.
#[derive(Clone)]
pub struct Pending {
    pub(super) profile: Profile,
    /// What processes see.
    pub(super) live: Tree,
    /// What is on the medium. Content may reach beyond a file's size: see `ragged`.
    pub(super) durable: Tree,
    pub(super) groups: BTreeMap<GroupId, Arc<Group>>,
    /// The group of each pending piece, by sequence number.
    pub(super) order: BTreeMap<u64, GroupId>,
    /// The pending versions of each block.
    pub(super) blocks: BTreeMap<(Ino, u64), Arc<Block>>,
    /// What the next sync of an inode has to write: the newest piece of each group. A piece
    /// that is pending but not reached from here is undecided for ever.
    pub(super) unsynced: BTreeMap<(Ino, Aspect), BTreeMap<GroupId, u64>>,
    /// The sizes that pending pieces give files, by file, by where the pieces queue and by their
    /// sequence numbers.
    pub(super) sizes: BTreeMap<(Ino, Home, u64), u64>,
    /// The piece that gave a file its durable size: older ones have no say any more.
    pub(super) sized: BTreeMap<Ino, u64>,
    /// How far the log went when an inode was last changed in any way.
    pub(super) touched: BTreeMap<Ino, u64>,
    /// Entries that a piece outside their own group changed last: a directory's rename.
    pub(super) moved: BTreeMap<(Ino, Name), (GroupId, u64)>,
    /// Blocks of files that were reserved by `fallocate` and not written at that time, where the
    /// profile treats them otherwise than holes.
    pub(super) reserved: BTreeMap<Ino, Vec<std::ops::Range<u64>>>,
    /// The two pieces of each rename that is not atomic: each names the other.
    pub(super) halves: BTreeMap<u64, u64>,
    /// Pending changes of names whose file was synced since.
    pub(super) synced_names: BTreeMap<u64, Synced>,
    /// The blocks whose newest version a failed sync left undecided: their pages are clean, and
    /// nobody knows what the medium has.
    pub(super) undecided: BTreeSet<(Ino, u64)>,
    /// Groups of which no crash keeps the pieces from a sequence number on, though processes see
    /// them: sizes over data that the medium turned out not to have.
    pub(super) hopeless: BTreeMap<GroupId, u64>,
    /// Whether a failed sync made the file system read-only, or shut it down.
    pub(super) frozen: bool,
    /// The groups with pieces that need others.
    pub(super) constrained: BTreeSet<GroupId>,
    /// How many pending changes of entries lead to an inode.
    pub(super) leads: BTreeMap<Ino, u32>,
    /// Freed inodes that a crash may bring back, as they were last.
    pub(super) graves: BTreeMap<Ino, Node>,
    /// Files whose durable content may reach beyond their durable size.
    pub(super) ragged: BTreeSet<Ino>,
    /// The sequence number of the next piece.
    next: u64,
    /// How many commits by the clock have passed, where the profile has them.
    commits: u64,
    /// How many effects were applied.
    effects: u64,
    /// The sum of the digests of the pending pieces, and of all that came before.
    pub(super) pending_sum: u64,
    pub(super) settled_sum: u64,
}

/// What of an inode a piece changes; a sync asks for some of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    Data,
    Size,
    Entries,
    Names,
    /// The entry that named it first.
    Birth,
}

/// One block's share of a write or of a range that becomes zeros.
struct Part {
    block: u64,
    start: u16,
    end: u16,
    class: Class,
    /// Whether the call goes on behind the block.
    goes_on: bool,
    /// `None`: the page is shared whole.
    difference: Option<Difference>,
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
            touched: BTreeMap::new(),
            moved: BTreeMap::new(),
            reserved: BTreeMap::new(),
            halves: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            undecided: BTreeSet::new(),
            hopeless: BTreeMap::new(),
            frozen: false,
            constrained: BTreeSet::new(),
            leads: BTreeMap::new(),
            graves: BTreeMap::new(),
            ragged: BTreeSet::new(),
            next: 0,
            commits: 0,
            effects: 0,
            pending_sum: 0,
            settled_sum: 0,
        }
    }

    /// The profile that the disk keeps to.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What processes see: the page cache over the medium.
    pub fn live(&self) -> &Tree {
        &self.live
    }

    /// The medium, as syncs have left it. It holds nameless inodes and may hold bytes beyond a
    /// file's size; what a mount would show is [`Pending::keep`] of nothing.
    pub fn durable(&self) -> &Tree {
        &self.durable
    }

    /// How many effects were applied: the number that the next one will have in
    /// [`Piece::effect`].
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

    /// How many pages are held to build pending versions from, beside those of the two trees.
    pub fn whole_pages(&self) -> usize {
        self.blocks.values().map(|block| block.whole_pages()).sum()
    }

    /// Makes one change. Changes of inodes that do not exist are ignored, as by [`Tree::apply`].
    pub fn apply(&mut self, effect: &Effect<'_>, at: Time) {
        self.commit_by_time(at);
        self.touch(effect);
        match *effect {
            // An inode alone is nothing: it is found, or not, by its entries. So it is on the
            // medium at once, empty, with its mode and, for a symbolic link, its target.
            Effect::Inode { .. } => {
                self.live.apply(effect, at);
                self.durable.apply(effect, at);
            }
            Effect::Mode { .. } => {
                self.live.apply(effect, at);
                self.durable.apply(effect, at);
                self.stamp();
            }
            Effect::Times { .. } => self.live.apply(effect, at),
            Effect::Entry { dir, name, ino } => self.enter(dir, name, ino, at),
            Effect::Rename { from, old, to, new, exchange } => {
                self.rename((from, old), (to, new), exchange, at);
            }
            Effect::Write { ino, offset, bytes } => self.write(ino, offset, bytes, at),
            Effect::Size { ino, size } => self.resize(ino, size, at),
            Effect::Allocate { ino, offset, length, what } => {
                self.allocate(ino, (offset, length), what, at);
            }
            Effect::Free { ino } => self.free(ino, at),
            Effect::Sync(_) if self.frozen => {}
            Effect::Sync(sync) => self.sync(sync, at),
            Effect::SyncFailed(sync) => self.sync_failed(sync),
            Effect::Evict { ino, block, size, .. } => {
                self.evict((ino, block, size), effect, at);
            }
        }
        self.effects += 1;
    }

    /// Makes what is in the log durable, if a commit was due since it was looked at last. All that
    /// is pending is older than that commit: else it would have been made before.
    fn commit_by_time(&mut self, at: Time) {
        let Some(every) = self.profile.commits.filter(|_| !self.frozen) else { return };
        let commit = at.0 / (every.as_nanos() as u64).max(1);
        if std::mem::replace(&mut self.commits, commit) != commit {
            self.commit(at);
        }
    }

    /// Notes how far the log goes when an inode changes: a time of change is logged with it.
    fn touch(&mut self, effect: &Effect<'_>) {
        let (Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Mode { ino, .. }
        | Effect::Times { ino, .. }) = *effect
        else {
            return;
        };
        if let Some((_, seq)) =
            self.newest(&GroupId::Log).filter(|_| self.profile.fsync_file.touched)
        {
            self.touched.insert(ino, seq);
        }
    }

    /// The disk after the process died and the kernel went on: what was written stays, and
    /// stays pending; inodes that only descriptors held are gone.
    pub fn process_crash(&self, at: Time) -> Self {
        let mut after = self.clone();
        let nameless: Vec<Ino> = after
            .live
            .nodes()
            .filter_map(|(ino, node)| (node.links == 0 && ino != Ino::ROOT).then_some(ino))
            .collect();
        for ino in nameless {
            after.apply(&Effect::Free { ino }, at);
        }
        after
    }

    /// The disk after the process died inside this write: the kernel copies page by page and
    /// can only stop between two pages, so the first `pages` of those that the write touches
    /// are written and the others are not. Other effects are not made at all.
    pub fn partial_write(&self, effect: &Effect<'_>, pages: u64, at: Time) -> Self {
        let mut during = self.clone();
        if let Effect::Write { ino, offset, bytes } = *effect {
            let end = (offset / PAGE as u64 + pages) * PAGE as u64;
            let length = (end.saturating_sub(offset) as usize).min(bytes.len());
            during.apply(&Effect::Write { ino, offset, bytes: &bytes[..length] }, at);
        }
        during.process_crash(at)
    }

    fn content(&self, ino: Ino) -> Option<&Content> {
        self.live.node(ino)?.content()
    }

    fn write(&mut self, ino: Ino, offset: u64, bytes: &[u8], at: Time) {
        let Some(content) = self.content(ino) else { return };
        let mut size = content.size();
        let parts = written(content, offset, bytes);
        let tail = if self.profile.zeroes_tail { skipped(content, offset) } else { Vec::new() };
        self.live.apply(&Effect::Write { ino, offset, bytes }, at);
        if self.profile.whole_writes && parts.len() > 1 {
            let end = offset + bytes.len() as u64;
            self.push_whole(ino, parts, (end > size).then_some((size, end)));
            return;
        }
        for part in tail.into_iter().chain(parts) {
            let end = part.block * PAGE as u64 + u64::from(part.end);
            let takes_along = self.size_waits_elsewhere(ino, part.block);
            let grows = (end > size || takes_along).then_some((size, end.max(size)));
            size = size.max(end);
            self.push_data(ino, part, grows);
        }
    }

    /// Whether a size is pending that waits for another block, and that this one takes along.
    fn size_waits_elsewhere(&self, ino: Ino, block: u64) -> bool {
        let newest = self.group(&GroupId::Size(ino)).and_then(|group| group.pieces().last());
        let here = GroupId::Block(ino, block);
        let waits = |piece: &Piece| {
            let mut needs = piece.needs().iter();
            self.profile.asks(piece.class, On::BlockAlone)
                && needs.any(|need| need.while_last && need.group != here)
        };
        newest.is_some_and(waits)
    }

    fn resize(&mut self, ino: Ino, size: u64, at: Time) {
        self.loosen(ino);
        let Some(content) = self.content(ino) else { return };
        let old = content.size();
        if old == size {
            return self.live.apply(&Effect::Size { ino, size }, at);
        }
        let parts = if size < old { zeroed(content, size, u64::MAX) } else { Vec::new() };
        self.live.apply(&Effect::Size { ino, size }, at);
        let joins = self.profile.joins(Class::Hole, Class::Resize);
        // A size that waits for the zeros behind it comes after them.
        let (first, rest): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| {
            part.class == Class::Zero && self.profile.asks(Class::Resize, On::Block)
        });
        let zeroed = first.into_iter().map(|part| self.push_data(ino, part, None)).last();
        let seq = self.push_size(ino, (old, size), Class::Resize, zeroed);
        for part in rest {
            if joins && part.class == Class::Hole {
                self.push_version(ino, part.block, (seq, self.profile.hole), None);
            } else {
                self.push_data(ino, part, None);
            }
        }
    }

    fn allocate(&mut self, ino: Ino, (offset, length): (u64, u64), what: Allocation, at: Time) {
        self.loosen(ino);
        let Some(content) = self.content(ino) else { return };
        let (old, end) = (content.size(), offset.saturating_add(length));
        if what != Allocation::Punch && self.profile.asks(Class::Reach, On::First) {
            let blocks = offset / PAGE as u64..end.div_ceil(PAGE as u64);
            self.reserved.entry(ino).or_default().push(blocks);
        }
        let Some(content) = self.content(ino) else { return };
        let zeroes = matches!(what, Allocation::Punch | Allocation::Zero);
        let grows = matches!(what, Allocation::Extend | Allocation::Zero);
        let parts = if zeroes { zeroed(content, offset, end) } else { Vec::new() };
        self.live.apply(&Effect::Allocate { ino, offset, length, what }, at);
        for part in parts {
            self.push_data(ino, part, None);
        }
        if grows && end > old {
            self.push_size(ino, (old, end), Class::Resize, None);
        }
    }

    fn enter(&mut self, dir: Ino, name: &[u8], ino: Option<Ino>, at: Time) {
        if let Some(change) = self.change(dir, name, ino) {
            let born = ino.filter(|ino| self.is_nameless(*ino));
            self.live.set_entry(dir, name, ino, at);
            let seq = self.push_entries(vec![change], Vec::new(), Class::Entry);
            if let Some(born) = born {
                let group = self.order[&seq].clone();
                self.unsynced.entry((born, Aspect::Birth)).or_default().insert(group, seq);
            }
        }
    }

    /// Whether nothing leads to an inode or ever did since the disk was mounted.
    fn is_nameless(&self, ino: Ino) -> bool {
        !self.leads.contains_key(&ino) && self.durable.node(ino).is_some_and(|node| node.links == 0)
    }

    fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), exchange: bool, at: Time) {
        let Some(moved) = self.live.entry(from.0, from.1) else { return };
        let replaced = self.live.entry(to.0, to.1);
        let back = if exchange { replaced } else { None };
        // The new name comes first, so that a prefix of all pieces never lacks both.
        let changes = [self.change(to.0, to.1, Some(moved)), self.change(from.0, from.1, back)];
        if from == to || changes.iter().any(Option::is_none) {
            return;
        }
        let is_directory = |ino: Ino| self.live.node(ino).map(Node::kind) == Some(Kind::Directory);
        let one =
            self.profile.atomic_rename || is_directory(moved) || back.is_some_and(is_directory);
        self.live.set_entry(from.0, from.1, back, at);
        self.live.set_entry(to.0, to.1, Some(moved), at);
        let changes: Vec<Change> = changes.into_iter().flatten().collect();
        if one {
            let replaces = replaced.is_some() && !exchange;
            let class = if replaces { Class::Replace } else { Class::Entry };
            let needs = self.placed(to.0);
            self.push_entries(changes, needs, class);
        } else {
            let push = |change| self.push_entries(vec![change], Vec::new(), Class::Entry);
            if let [one, other] = changes.into_iter().map(push).collect::<Vec<u64>>()[..] {
                self.halves.extend([(one, other), (other, one)]);
            }
        }
    }

    /// The pieces that put a directory, and those above it, where they are. A directory that
    /// moves there needs them: with its old place gone it would else be lost, or lie in itself.
    fn placed(&self, dir: Ino) -> Vec<Requirement> {
        let mut needs = Vec::new();
        let mut at = dir;
        while let Some(directory) = self.live.node(at).and_then(Node::directory) {
            let names = self.unsynced.get(&(at, Aspect::Names)).into_iter().flatten();
            needs.extend(names.map(|(id, &seq)| Requirement::new(id.clone(), seq)));
            if directory.parent == at {
                break;
            }
            at = directory.parent;
        }
        needs
    }

    /// The change that makes a name lead to `new`, unless it does already.
    fn change(&self, dir: Ino, name: &[u8], new: Option<Ino>) -> Option<Change> {
        let directory = self.live.node(dir)?.directory()?;
        let old = directory.entries.get(name).copied();
        (old != new).then(|| Change { dir, name: name.into(), old, new })
    }

    /// Adds a version of a block, and the size that the file grows to with it. Returns the piece
    /// of the block.
    fn push_data(&mut self, ino: Ino, part: Part, grows: Option<(u64, u64)>) -> (GroupId, u64) {
        let Part { block, start, end, class, goes_on, difference } = part;
        let within = self.is_on_medium(ino, block) && !goes_on;
        let growth = if within { Class::Grow } else { Class::Reach };
        let joins = self.profile.joins(class, growth);
        let joined = if joins { grows } else { None };
        let what = What::Data { ino, block, more: 0, start, end, grows: joined };
        let home = self.profile.home(class);
        let group = self.home(home, GroupId::Block(ino, block), ino);
        let cause = Cause { ino, block: Some(block), wrote: None, resized: None };
        let needs = self.needs(&group, class, &cause);
        let seq = self.push(group.clone(), what, class, needs);
        if joined.is_some() {
            // Should a failed sync divide the piece, its size gets this number.
            self.next += 1;
        }
        self.push_version(ino, block, (seq, home), difference);
        if let Some((old, new)) = grows.filter(|_| !joins) {
            self.drop_lost_sizes(ino);
            let what = What::Size { ino, old, new };
            let own = self.home(self.profile.home(growth), GroupId::Size(ino), ino);
            let wrote = Some((group.clone(), seq));
            let needs =
                self.needs(&own, growth, &Cause { ino, block: Some(block), wrote, resized: None });
            self.push(own, what, growth, needs);
        }
        (group, seq)
    }

    /// Adds one piece for all blocks of a write.
    fn push_whole(&mut self, ino: Ino, parts: Vec<Part>, grows: Option<(u64, u64)>) {
        let [first, .., last] = parts.as_slice() else { return };
        let (block, more) = (first.block, last.block - first.block);
        let (start, end, class) = (first.start, last.end, first.class);
        let what = What::Data { ino, block, more, start, end, grows };
        let home = self.profile.home(class);
        let group = self.home(home, GroupId::Inode(ino), ino);
        let needs = self.needs(
            &group,
            class,
            &Cause { ino, block: Some(block), wrote: None, resized: None },
        );
        let seq = self.push(group, what, class, needs);
        // Should a failed sync divide the piece, its size and its other blocks get these numbers.
        self.next += 1 + more;
        for part in parts {
            self.push_version(ino, part.block, (seq, home), part.difference);
        }
    }

    /// Whether the medium has a block: whether new data in it replaces old data.
    pub(super) fn is_on_medium(&self, ino: Ino, block: u64) -> bool {
        let node = self.durable.node(ino).and_then(Node::content);
        let mapped = node.is_some_and(|content| content.page(block).is_some());
        !self.blocks.get(&(ino, block)).map_or(!mapped, |versions| versions.is_hole(mapped))
    }

    /// Adds a version of a block that the live tree shows already.
    fn push_version(
        &mut self,
        ino: Ino,
        block: u64,
        (seq, home): (u64, Home),
        difference: Option<Difference>,
    ) {
        let page = self.live.node(ino).and_then(Node::content).and_then(|c| c.page(block));
        let difference = difference.unwrap_or_else(|| Difference::Whole(page.cloned()));
        self.undecided.remove(&(ino, block));
        let versions = Arc::make_mut(self.blocks.entry((ino, block)).or_default());
        versions.push(seq, home, difference, page);
    }

    fn push_size(
        &mut self,
        ino: Ino,
        (old, new): (u64, u64),
        class: Class,
        wrote: Option<(GroupId, u64)>,
    ) -> u64 {
        let group = self.home(self.profile.home(class), GroupId::Size(ino), ino);
        let needs = self.needs(
            &group,
            class,
            &Cause { ino, block: None, wrote, resized: Some((old, new)) },
        );
        self.push(group, What::Size { ino, old, new }, class, needs)
    }

    /// Adds a piece of one or two entries to the group of the first.
    fn push_entries(
        &mut self,
        changes: Vec<Change>,
        mut needs: Vec<Requirement>,
        class: Class,
    ) -> u64 {
        let group = self.entry_group(changes[0].dir, &changes[0].name);
        let ino = changes[0].new.unwrap_or(changes[0].dir);
        needs.extend(self.needs(
            &group,
            class,
            &Cause { ino, block: None, wrote: None, resized: None },
        ));
        needs.extend(self.emptied(&changes));
        let mut elsewhere = Vec::new();
        for change in &changes {
            let entry = (change.dir, change.name.clone());
            let own = self.entry_group(change.dir, &change.name);
            // The versions of one entry follow each other even where an atomic rename put one
            // of them into the group of another entry: else a directory had two parents.
            let moved = self.moved.get(&entry).cloned();
            needs.extend(moved.map(|(group, seq)| Requirement::new(group, seq)));
            if own != group {
                let newest = self.newest(&own);
                needs.extend(newest.map(|(group, seq)| Requirement::new(group, seq)));
                elsewhere.push(entry);
            }
            if let Some(ino) = change.new {
                *self.leads.entry(ino).or_default() += 1;
            }
        }
        needs.retain(|need| need.group != group);
        let what = What::Entries(changes.into());
        let seq = self.push(group.clone(), what, class, needs);
        for entry in elsewhere {
            self.moved.insert(entry, (group.clone(), seq));
        }
        seq
    }

    /// The pieces that emptied the directories which some changes remove. What was moved out of
    /// them would else be in two places, or in none.
    fn emptied(&self, changes: &[Change]) -> Vec<Requirement> {
        let mut needs = Vec::new();
        for old in changes.iter().filter_map(|change| change.old) {
            if changes.iter().all(|change| change.new != Some(old)) {
                let entries = self.unsynced.get(&(old, Aspect::Entries)).into_iter().flatten();
                needs.extend(entries.map(|(id, &seq)| Requirement::new(id.clone(), seq)));
            }
        }
        needs
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

    fn push(&mut self, id: GroupId, what: What, class: Class, needs: Vec<Requirement>) -> u64 {
        let seq = self.next;
        self.next += 1;
        self.pending_sum = self.pending_sum.wrapping_add(seq_digest(seq));
        if !needs.is_empty() {
            self.constrained.insert(id.clone());
        }
        let needs = (!needs.is_empty()).then(|| needs.into());
        let piece = Piece { seq, effect: self.effects, what, class, needs, sum: 0 };
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

    /// Notes that something changed that no piece tells of: no fate of before equals one of
    /// after.
    pub(super) fn stamp(&mut self) {
        self.settled_sum = self.settled_sum.wrapping_add(seq_digest(self.next));
        self.next += 1;
    }
}

/// What of which inodes a piece changes.
pub(super) fn aspects(piece: &Piece) -> Vec<(Ino, Aspect)> {
    match &piece.what {
        What::Data { ino, grows: None, .. } => vec![(*ino, Aspect::Data)],
        What::Data { ino, .. } => vec![(*ino, Aspect::Data), (*ino, Aspect::Size)],
        What::Size { ino, .. } => vec![(*ino, Aspect::Size)],
        What::Entries(changes) => {
            let mut aspects = Vec::new();
            for change in changes.iter() {
                aspects.push((change.dir, Aspect::Entries));
                let named = change.old.into_iter().chain(change.new);
                aspects.extend(named.map(|ino| (ino, Aspect::Names)));
            }
            aspects
        }
    }
}

/// The blocks that a write touches.
fn written(content: &Content, offset: u64, bytes: &[u8]) -> Vec<Part> {
    let page = PAGE as u64;
    let blocks_in_file = content.size().div_ceil(page);
    let mut parts = Vec::new();
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let (block, start) = (at / page, (at % page) as usize);
        let length = (PAGE - start).min(bytes.len() - done);
        let old = content.page(block);
        let class = match old {
            Some(_) => Class::Overwrite,
            None if block < blocks_in_file => Class::Fill,
            None => Class::Extend,
        };
        let difference = Difference::of(old, start, &bytes[done..done + length]);
        let (start, end) = (start as u16, (start + length) as u16);
        done += length;
        let goes_on = done < bytes.len();
        parts.push(Part { block, start, end, class, goes_on, difference });
    }
    parts
}

/// The rest of the last block, if a write that begins behind it skips it.
fn skipped(content: &Content, offset: u64) -> Vec<Part> {
    let (size, page) = (content.size(), PAGE as u64);
    let end = size.next_multiple_of(page);
    if end > offset { Vec::new() } else { zeroed(content, size, end) }
}

/// The written blocks that a range of zeros touches.
fn zeroed(content: &Content, from: u64, to: u64) -> Vec<Part> {
    let page = PAGE as u64;
    let part = |block: u64| {
        let start = from.saturating_sub(block * page) as u16;
        let end = (to - block * page).min(page) as u16;
        let whole = usize::from(end - start) == PAGE;
        let class = if whole { Class::Hole } else { Class::Zero };
        let difference = (!whole).then_some(Difference::Zeros(start, end));
        Part { block, start, end, class, goes_on: false, difference }
    };
    content.pages_between(from / page, to.div_ceil(page)).into_iter().map(part).collect()
}
