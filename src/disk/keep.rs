//! From a fate to the disk as the next mount finds it.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::block::Limits;
use super::content::{Content, PAGE, Page};
use super::effect::Ino;
use super::fate::{Fate, Keep, Tear};
use super::pending::Pending;
use super::piece::{
    AttributeChange, EntryChange, GroupId, Piece, PieceChange, Requirement, seq_digest,
};
use super::profile::PieceClass;
use super::tree::{Body, Node, Tree};
use crate::base::digest::{Digest, Digester};

/// A disk that may be found after a crash.
#[derive(Clone)]
pub struct CrashState {
    /// The tree that a mount shows.
    pub tree: Tree,
    /// Its [`Tree::digest`]: equal states are one.
    pub digest: Digest,
    /// Whether some pieces were kept only because others need them: the state also belongs to
    /// another fate.
    pub raised: bool,
}

/// A piece that a crash did not keep whole.
#[derive(Clone, Debug)]
pub struct Loss<'a> {
    /// Its group.
    pub group: &'a GroupId,
    /// The piece.
    pub piece: &'a Piece,
    /// The ranges of its block that survived, if it was torn; empty if it was lost.
    pub kept: Vec<Range<u16>>,
    /// The range of its block that holds junk, if it was torn that way.
    pub junk: Option<Range<u16>>,
}

/// One cut for each group: the pieces below `limit` are kept, or as many as `exceptions` say.
struct Cuts {
    limit: u64,
    /// How many pieces are below the limit.
    below: usize,
    exceptions: BTreeMap<GroupId, usize>,
    raised: bool,
    tear: Option<Tear>,
}

impl Pending {
    /// The disk after a crash with this fate. Groups that have no pending piece are ignored, cuts
    /// beyond the end of a group keep all of it, and a tear of anything but data is ignored.
    ///
    /// Costs as much as the groups that lose something, or those that keep something, whichever
    /// have fewer pieces; for groups with several files or entries, all such pieces; and the
    /// inodes.
    pub fn keep(&self, fate: &Fate) -> CrashState {
        let cuts = self.cuts(fate);
        let kept = self.count_kept(&cuts);
        let mut tree =
            if kept < self.len() - kept { self.built_up(&cuts) } else { self.taken_away(&cuts) };
        if fate.stale && self.profile.stale {
            self.fill_stale(&mut tree, fate);
        }
        tree.drop_unreachable();
        tree.renew_numbers();
        CrashState { digest: tree.digest(), tree, raised: cuts.raised }
    }

    /// A digest of the pieces that a fate keeps, without building the disk that it leaves: of two
    /// fates of one run with the same fingerprint, at one crash point or at two, one is enough.
    /// Fates with different fingerprints may still leave equal disks.
    pub fn fingerprint(&self, fate: &Fate) -> u64 {
        let cuts = self.cuts(fate);
        let digests = |seqs: btree_map::Range<'_, u64, GroupId>| {
            seqs.fold(0u64, |sum, (&seq, _)| sum.wrapping_add(seq_digest(seq)))
        };
        let mut sum = if cuts.below < self.len() / 2 {
            digests(self.order.range(..cuts.limit))
        } else {
            self.pending_sum.wrapping_sub(digests(self.order.range(cuts.limit..)))
        };
        for (id, &cut) in &cuts.exceptions {
            let Some(group) = self.group(id) else { continue };
            sum =
                sum.wrapping_sub(group.sum(group.before(cuts.limit))).wrapping_add(group.sum(cut));
        }
        if let Some((tear, piece)) = self.torn(&cuts) {
            let mut digester = Digester::default();
            digester.add_number(piece.seq);
            tear.kept
                .iter()
                .for_each(|r| digester.add_number(u64::from(r.start) << 16 | u64::from(r.end)));
            if let Some(junk) = &tear.junk {
                digester.add_number(u64::from(junk.start) << 16 | u64::from(junk.end) | JUNK);
            }
            sum = sum.wrapping_add(digester.finish().0);
        }
        if fate.stale {
            sum = sum.wrapping_add(STALE);
        }
        sum.wrapping_add(self.settled_sum)
    }

    /// Fills new blocks whose data is lost with junk, up to the file's size.
    fn fill_stale(&self, tree: &mut Tree, fate: &Fate) {
        let losses = self.losses(fate).into_iter().map(|loss| loss.piece);
        for piece in losses.filter(|piece| piece.class == PieceClass::Extend) {
            let PieceChange::Data { ino, block, more, .. } = piece.change else { continue };
            let Some(Node { body: Body::File(content), .. }) = tree.node_mut(ino) else { continue };
            for block in block..=block + more {
                if block * (PAGE as u64) < content.size() && content.page(block).is_none() {
                    content.set_page(block, Some(Arc::new(junk(ino, block))));
                }
            }
            content.trim();
        }
    }

    /// The pieces that a fate loses or tears, in their global order.
    pub fn losses(&self, fate: &Fate) -> Vec<Loss<'_>> {
        let cuts = self.cuts(fate);
        let torn = self.torn(&cuts);
        let left = |piece: &Piece| match torn {
            Some((tear, torn)) if torn.seq == piece.seq => (tear.kept.clone(), tear.junk.clone()),
            _ => (Vec::new(), None),
        };
        let lost = self.sides(&cuts, false).into_iter();
        let lost = lost.flat_map(|(group, pieces)| pieces.iter().map(move |piece| (group, piece)));
        let loss = |(group, piece)| {
            let (kept, junk) = left(piece);
            Loss { group, piece, kept, junk }
        };
        let mut losses: Vec<Loss<'_>> = lost.map(loss).collect();
        losses.sort_by_key(|loss| loss.piece.seq);
        losses
    }

    /// Whether some pieces need others.
    pub fn is_constrained(&self) -> bool {
        !self.constrained.is_empty()
    }

    /// The fate that keeps the most of what another one keeps without needing anything that it
    /// loses: where [`Pending::keep`] raises cuts, this lowers those that ask for more.
    pub fn lowered(&self, fate: &Fate) -> Fate {
        let mut cuts = self.asked_for(fate);
        loop {
            let mut lowered = false;
            for id in &self.constrained {
                let Some(group) = self.group(id) else { continue };
                let cut = self.cut(&cuts, id);
                let lacks = |need: &Requirement| {
                    if !self.binds(need) {
                        return false;
                    }
                    let has = self.cut(&cuts, &need.group);
                    let least = self.group(&need.group).map_or(0, |g| g.before(need.seq + 1));
                    has < least && !(need.or_nothing && has == 0)
                };
                let mut kept = group.pieces()[..cut].iter().enumerate();
                let first = kept.position(|(at, piece)| piece.needs_as(at + 1 == cut).any(lacks));
                if let Some(first) = first {
                    cuts.exceptions.insert(id.clone(), first);
                    lowered = true;
                }
            }
            if !lowered {
                return Fate { exceptions: cuts.exceptions, ..fate.clone() };
            }
        }
    }

    /// Whether the tear of a fate finds data after the cut that the fate asks for.
    pub(super) fn tears_data(&self, fate: &Fate) -> bool {
        self.torn(&self.asked_for(fate)).is_some()
    }

    /// The number of the torn piece in the global order, and how many pieces of its group the fate
    /// keeps.
    pub(super) fn torn_piece(&self, fate: &Fate) -> Option<(u64, usize)> {
        let cuts = self.asked_for(fate);
        let (tear, piece) = self.torn(&cuts)?;
        Some((piece.seq, self.cut(&cuts, &tear.group)))
    }

    fn cuts(&self, fate: &Fate) -> Cuts {
        let mut cuts = self.asked_for(fate);
        self.close(&mut cuts);
        cuts
    }

    /// The cuts of a fate as it states them, without their requirements.
    fn asked_for(&self, fate: &Fate) -> Cuts {
        let below = match fate.base {
            Keep::Nothing => 0,
            Keep::All => self.len(),
            Keep::Prefix(count) => count.min(self.len()),
        };
        let above = self.len() - below;
        let next = match below {
            0 => Some(0),
            _ if above == 0 => None,
            _ if below < above => self.order.keys().nth(below).copied(),
            _ => self.order.keys().nth_back(above - 1).copied(),
        };
        let limit = next.unwrap_or(u64::MAX);
        let pending = fate.exceptions.iter().filter_map(|(id, &cut)| {
            let length = self.group(id)?.len();
            Some((id.clone(), cut.min(length)))
        });
        let mut exceptions: BTreeMap<GroupId, usize> = pending.collect();
        for (id, &seq) in &self.never_kept {
            let Some(group) = self.group(id) else { continue };
            let cut = exceptions.get(id).copied().unwrap_or_else(|| group.before(limit));
            exceptions.insert(id.clone(), cut.min(group.before(seq)));
        }
        Cuts { limit, below, exceptions, raised: false, tear: fate.tear.clone() }
    }

    /// Raises cuts until every kept piece has its requirements. A prefix of the global order has
    /// them.
    fn close(&self, cuts: &mut Cuts) {
        if cuts.exceptions.is_empty() && cuts.tear.is_none() {
            return;
        }
        let mut open: Vec<&GroupId> = self.constrained.iter().collect();
        while let Some(id) = open.pop() {
            let Some(group) = self.group(id) else { continue };
            let cut = self.cut(cuts, id);
            let torn = cuts.tear.as_ref().filter(|tear| tear.group == *id);
            let end =
                torn.map_or(cut, |tear| tear.piece.unwrap_or(cut + 1)).clamp(cut, group.len());
            // Under a torn piece the one before it shows.
            let needs = group.needs(end).chain(group.needs(cut).filter(|_| end > cut));
            for need in needs.filter(|need| self.binds(need)) {
                let other = &need.group;
                let Some(needed) = self.group(other).map(|group| group.before(need.seq + 1)) else {
                    continue;
                };
                let has = self.cut(cuts, other);
                if has < needed && !(need.or_nothing && has == 0) {
                    cuts.exceptions.insert(other.clone(), needed);
                    cuts.raised = true;
                    // The piece that was after the cut is now kept whole.
                    cuts.tear.take_if(|tear| tear.group == *other);
                    if has == 0 {
                        // Pieces that were content with nothing of it now require more.
                        open.extend(self.constrained.iter());
                    } else {
                        open.extend(self.constrained.get(other));
                    }
                }
            }
        }
    }

    /// How many pieces of a group are kept.
    fn cut(&self, cuts: &Cuts, id: &GroupId) -> usize {
        match cuts.exceptions.get(id) {
            Some(&cut) => cut,
            None => self.group(id).map_or(0, |group| group.before(cuts.limit)),
        }
    }

    /// The sequence number below which the pieces of a group are kept.
    fn limit(&self, cuts: &Cuts, id: &GroupId) -> u64 {
        match (cuts.exceptions.get(id), self.group(id)) {
            (Some(&cut), Some(group)) => {
                group.pieces().get(cut).map_or(u64::MAX, |piece| piece.seq)
            }
            _ => cuts.limit,
        }
    }

    fn count_kept(&self, cuts: &Cuts) -> usize {
        let mut kept = cuts.below;
        for (id, &cut) in &cuts.exceptions {
            let before = self.group(id).map_or(0, |group| group.before(cuts.limit));
            kept = kept + cut - before;
        }
        kept
    }

    /// The groups that keep some pieces (`kept`) or that lose some, with these pieces.
    fn sides(&self, cuts: &Cuts, kept: bool) -> Vec<(&GroupId, &[Piece])> {
        let range = if kept { 0..cuts.limit } else { cuts.limit..u64::MAX };
        let mut ids: BTreeSet<&GroupId> = cuts.exceptions.keys().collect();
        // For a few pieces, looking up their groups is cheaper than going through all groups.
        let mut rest = self.order.range(range).map(|(_, id)| id);
        ids.extend(rest.by_ref().take(self.groups.len()));
        if rest.next().is_some() {
            ids.extend(self.groups.keys());
        }
        let side = ids.into_iter().filter_map(|id| {
            let (id, group) = self.groups.get_key_value(id)?;
            let (before, after) = group.pieces().split_at(self.cut(cuts, id));
            Some((id, if kept { before } else { after }))
        });
        side.filter(|(_, pieces)| !pieces.is_empty()).collect()
    }

    /// The differences from the durable tree, because they are kept, or from the live tree, because
    /// they are lost.
    fn differences(&self, cuts: &Cuts, kept: bool) -> Differences<'_> {
        let mut differences = Differences::default();
        for (id, pieces) in self.sides(cuts, kept) {
            let pieces = match id {
                // All are versions of one thing: the one next to the cut decides.
                GroupId::Block(..) | GroupId::Size(_) if kept => &pieces[pieces.len() - 1..],
                GroupId::Block(..) | GroupId::Size(_) => &pieces[..1],
                GroupId::Entry(..) | GroupId::Inode(_) | GroupId::Log | GroupId::Attribute(..) => {
                    pieces
                }
            };
            for piece in pieces {
                let attribute = piece.attribute().map(|change| (piece.seq, change));
                differences.attributes.extend(attribute);
                let changes = piece.changes().iter().map(|change| (piece.seq, change));
                differences.changes.extend(changes);
                differences.sizes.extend(piece.sizes().map(|(ino, ..)| ino));
                self.add_blocks_of(piece, &mut differences.blocks);
            }
        }
        // Entries follow each other across groups.
        differences.changes.sort_by_key(|(seq, _)| *seq);
        differences.attributes.sort_by_key(|(seq, _)| *seq);
        differences.blocks.sort_unstable();
        differences.blocks.dedup();
        differences
    }

    /// The piece that is torn, if the tear is one of data.
    fn torn<'a>(&'a self, cuts: &'a Cuts) -> Option<(&'a Tear, &'a Piece)> {
        let tear = cuts.tear.as_ref()?;
        let next = self.cut(cuts, &tear.group) + 1;
        let number = tear.piece.unwrap_or(next);
        if number < next || (number > next && !matches!(tear.group, GroupId::Block(..))) {
            return None;
        }
        let piece = self.group(&tear.group)?.pieces().get(number - 1)?;
        matches!(piece.change, PieceChange::Data { .. }).then_some((tear, piece))
    }

    /// The live tree without the lost pieces.
    fn taken_away(&self, cuts: &Cuts) -> Tree {
        let lost = self.differences(cuts, false);
        let mut state =
            StateBuilder { tree: self.live.clone(), pending: self, untrimmed: BTreeSet::new() };
        let mut entries = BTreeMap::new();
        // Losing a repeated entry changes nothing.
        for (seq, change) in lost.changes.iter().filter(|(_, change)| change.old != change.new) {
            // The first lost change has the state before it.
            if let btree_map::Entry::Vacant(entry) = entries.entry((change.dir, &change.name)) {
                entry.insert(*seq);
                state.set_entry(change.dir, &change.name, change.old);
            }
        }
        let repeated = self
            .restated
            .iter()
            .filter_map(|id| Some(&self.group(id)?.pieces()[..self.cut(cuts, id)]));
        let mut repeated: Vec<&Piece> = repeated.flatten().collect();
        repeated.sort_by_key(|piece| piece.seq);
        for (piece, change) in repeated.iter().flat_map(|p| p.changes().iter().map(|c| (*p, c))) {
            if entries.get(&(change.dir, &change.name)).is_some_and(|lost| *lost < piece.seq) {
                state.set_entry(change.dir, &change.name, change.new);
            }
        }
        // The first lost value of each has the one before it: it is set last.
        for (_, change) in lost.attributes.iter().rev() {
            state.set_attribute(change.ino, &change.name, change.old.clone());
        }
        state.finish(cuts, lost)
    }

    /// The durable tree with the kept pieces.
    fn built_up(&self, cuts: &Cuts) -> Tree {
        let kept = self.differences(cuts, true);
        let untrimmed = self.untrimmed.clone();
        let mut state = StateBuilder { tree: self.durable.clone(), pending: self, untrimmed };
        for (_, change) in &kept.changes {
            state.set_entry(change.dir, &change.name, change.new);
        }
        for (_, change) in &kept.attributes {
            state.set_attribute(change.ino, &change.name, change.new.clone());
        }
        state.finish(cuts, kept)
    }

    /// The page of a block after the newest version that is kept.
    fn kept_page(&self, cuts: &Cuts, ino: Ino, number: u64) -> Option<Arc<Page>> {
        let limits = Limits {
            own: self.limit(cuts, &GroupId::Block(ino, number)),
            inode: self.limit(cuts, &GroupId::Inode(ino)),
            log: self.limit(cuts, &GroupId::Log),
        };
        let versions = self.blocks.get(&(ino, number));
        let count = versions.map_or(0, |versions| versions.newest(limits));
        self.version(ino, number, count)
    }

    /// The newest size of a file that is kept.
    fn kept_size(&self, cuts: &Cuts, ino: Ino) -> u64 {
        let groups = [GroupId::Size(ino), GroupId::Inode(ino), GroupId::Log];
        let newest = groups.iter().filter_map(|id| {
            let (first, limit) = ((ino, id.home(), 0), (ino, id.home(), self.limit(cuts, id)));
            let (&(.., seq), &size) = self.sizes.range(first..limit).next_back()?;
            Some((seq, size))
        });
        let settled = self.sized.get(&ino).copied();
        let newest = newest.max().filter(|(seq, _)| settled.is_none_or(|settled| settled < *seq));
        let durable = || self.durable.node(ino).and_then(Node::content).map_or(0, Content::size);
        newest.map_or_else(durable, |(_, size)| size)
    }
}

/// Distinguishes the fingerprint of a fate with stale blocks from that without.
const STALE: u64 = 0x57a1_e000_57a1_e000;

/// Distinguishes junk from bytes that survive.
const JUNK: u64 = 1 << 32;

/// A page that another file or a failing write may have left: neither zeros nor text.
fn junk(ino: Ino, block: u64) -> Page {
    let mut page = Page::zeroed();
    let mut random = ChaCha8Rng::seed_from_u64(ino.0 ^ block << 32);
    random.fill_bytes(page.bytes_mut());
    page.bytes_mut().iter_mut().for_each(|byte| *byte |= 0x80);
    page
}

/// The differences of a crash state from the tree that it is built from.
#[derive(Default)]
struct Differences<'a> {
    /// Changes of entries with the sequence numbers of their pieces, in order.
    changes: Vec<(u64, &'a EntryChange)>,
    /// Changes of attributes, in the same way.
    attributes: Vec<(u64, &'a AttributeChange)>,
    /// The files that get another size.
    sizes: BTreeSet<Ino>,
    /// The blocks that get another version.
    blocks: Vec<(Ino, u64)>,
}

/// A crash state in the making.
struct StateBuilder<'a> {
    tree: Tree,
    pending: &'a Pending,
    /// Files that may have bytes beyond their size.
    untrimmed: BTreeSet<Ino>,
}

impl StateBuilder<'_> {
    fn set_entry(&mut self, dir: Ino, name: &[u8], ino: Option<Ino>) {
        for ino in ino.into_iter().chain([dir]) {
            if self.tree.node(ino).is_none()
                && let Some(node) = self.pending.freed_inodes.get(&ino)
            {
                self.tree.adopt(ino, node);
            }
        }
        // Its times follow from the pieces that are kept.
        self.tree.place(dir, name, ino);
    }

    fn set_attribute(&mut self, ino: Ino, name: &[u8], value: Option<Arc<[u8]>>) {
        if let Some(node) = self.tree.node_mut(ino) {
            node.set_attribute(name, value);
        }
    }

    fn content(&mut self, ino: Ino) -> Option<&mut Content> {
        match &mut self.tree.node_mut(ino)?.body {
            Body::File(content) => Some(content),
            Body::Directory(_) | Body::Symlink(_) => None,
        }
    }

    /// Sets blocks and sizes, applies the tear, and trims files to their sizes.
    fn finish(mut self, cuts: &Cuts, differences: Differences<'_>) -> Tree {
        for (ino, number) in differences.blocks {
            let page = self.pending.kept_page(cuts, ino, number);
            self.set_page(ino, number, page);
        }
        for ino in differences.sizes {
            let size = self.pending.kept_size(cuts, ino);
            self.set_size(ino, size);
        }
        if let Some((tear, piece)) = self.pending.torn(cuts) {
            self.tear(tear, piece);
        }
        for (ino, times) in self.pending.kept_times(|id| self.pending.limit(cuts, id)) {
            if let Some(node) = self.tree.node_mut(ino) {
                node.set_times(times);
            }
        }
        for ino in std::mem::take(&mut self.untrimmed) {
            if let Some(content) = self.content(ino) {
                content.trim();
            }
        }
        self.tree
    }

    fn set_page(&mut self, ino: Ino, number: u64, page: Option<Arc<Page>>) {
        if let Some(content) = self.content(ino) {
            content.set_page(number, page);
            self.untrimmed.insert(ino);
        }
    }

    fn set_size(&mut self, ino: Ino, size: u64) {
        if let Some(content) = self.content(ino) {
            content.set_size(size);
            self.untrimmed.insert(ino);
        }
    }

    /// Copies the surviving ranges of a torn piece, and junk, over the kept version of its block. A
    /// block that is one piece with the size that it gives its file grows the file up to the end of
    /// the last range.
    fn tear(&mut self, tear: &Tear, piece: &Piece) {
        let PieceChange::Data { ino, block, grows, .. } = piece.change else { return };
        let Some(versions) = self.pending.blocks.get(&(ino, block)) else { return };
        let new = self.pending.version(ino, block, versions.before(piece.seq + 1));
        let old = self.tree.node(ino).and_then(Node::content).and_then(|c| c.page(block));
        let mut page = old.cloned().unwrap_or_else(|| Arc::new(Page::zeroed()));
        let bytes = Arc::make_mut(&mut page).bytes_mut();
        for range in &tear.kept {
            let range = usize::from(range.start)..usize::from(range.end).min(PAGE);
            match &new {
                Some(new) => bytes[range.clone()].copy_from_slice(&new.bytes()[range]),
                None => bytes[range].fill(0),
            }
        }
        if let Some(range) = &tear.junk {
            let range = usize::from(range.start)..usize::from(range.end).min(PAGE);
            bytes[range.clone()].copy_from_slice(&junk(ino, block).bytes()[range]);
        }
        self.set_page(ino, block, Some(page));
        if let (Some((_, new)), Some(last)) = (grows, tear.junk.as_ref().or(tear.kept.last())) {
            let end = (block * PAGE as u64 + u64::from(last.end)).min(new);
            let size = self.content(ino).map_or(0, |content| content.size());
            self.set_size(ino, size.max(end));
        }
    }
}
