//! The state after a failed sync, and the eviction of the pages that it left undecided.

use std::sync::Arc;

use super::content::SharedPage;
use super::effect::{Effect, Ino, Sync};
use super::failure::{MountState, Shows, Sizes};
use super::pending::Pending;
use super::piece::{Aspect, Group, GroupId, Piece, PieceChange, aspects, seq_digest};
use super::profile::{Home, PieceClass};
use super::settle::{Blocks, blocks_of};
use super::tree::Node;
use crate::base::time::Time;

/// A page whose write failed, as the medium has it.
pub struct Evicted {
    ino: Ino,
    size: u64,
    block: u64,
    page: Option<SharedPage>,
}

impl Evicted {
    /// The change by which the cache drops it.
    pub fn effect(&self) -> Effect<'_> {
        let bytes = self.page.as_ref().map_or(&[][..], |page| &page.bytes()[..]);
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Effect::Evict { ino: self.ino, size: self.size, block: self.block, bytes: &bytes[..used] }
    }
}

impl Pending {
    /// The pages of files once the cache drops those whose write failed, if none of these writes
    /// reached the medium. `anew`: no descriptor of the files is open any more, so their sizes are
    /// read again too.
    pub fn evictable(&self, anew: bool) -> Vec<Evicted> {
        let evicted = |&(ino, block): &(Ino, u64)| {
            let live = self.live.node(ino)?.content()?;
            let medium = self.durable.node(ino)?.content()?;
            let size = match (self.profile.failure.shows, self.profile.failure.sizes) {
                (Shows::Old, _) => medium.size(),
                (Shows::New, Sizes::Lost) if anew => self.size_without_lost(ino),
                _ => live.size(),
            };
            let page = match self.blocks.get(&(ino, block)) {
                Some(versions) => versions.page(versions.holes(), medium.page(block)),
                None => medium.page(block).cloned(),
            };
            Some(Evicted { ino, size, block, page })
        };
        self.undecided.iter().filter_map(evicted).collect()
    }

    /// Marks the pages clean that a failed sync covered. It is unknown which of them reached the
    /// disk, and no later sync writes them, until they are written again. Sizes and names are
    /// metadata: a later sync makes them durable.
    pub(super) fn sync_failed(&mut self, sync: Sync) {
        if self.profile.failure.mount != MountState::Usable {
            // The contents of the log stay there, in order, and nothing follows them.
            self.frozen = true;
            return self.stamp();
        }
        let files: Vec<Ino> = match sync {
            Sync::Inode(ino) | Sync::Data(ino) => vec![ino],
            Sync::Pages { ino, .. } | Sync::Written { ino, .. } => vec![ino],
            Sync::All => self.dirty_files(),
        };
        let blocks = blocks_of(sync);
        for ino in files {
            let newest = self.unsynced.get(&(ino, Aspect::Data)).cloned().unwrap_or_default();
            for (id, _) in newest {
                match id {
                    GroupId::Block(_, number) => self.give_up_block(&id, number, ino, &blocks),
                    GroupId::Inode(_) | GroupId::Log => self.give_up_data(&id, ino, &blocks),
                    GroupId::Size(_) | GroupId::Entry(..) | GroupId::Attribute(..) => {}
                }
            }
            self.give_up_sizes(ino);
        }
        self.stamp();
    }

    /// Marks one block clean. A hole is metadata, so a block that became one stays unsynced.
    fn give_up_block(&mut self, id: &GroupId, number: u64, ino: Ino, blocks: &Blocks) {
        let last = self.group(id).and_then(|group| group.pieces().last());
        if blocks.contains(&number) && last.is_some_and(|piece| piece.class != PieceClass::Hole) {
            self.mark_clean((ino, Aspect::Data), id);
            self.note_undecided(ino, number);
        }
    }

    /// Notes that a block is undecided, unless it has become a hole since.
    fn note_undecided(&mut self, ino: Ino, number: u64) {
        if self.blocks.get(&(ino, number)).is_some_and(|block| block.newest_home() == Home::Own) {
            self.undecided.insert((ino, number));
        }
    }

    /// Whether the size of a piece was to follow data whose write failed.
    fn is_lost(&self, piece: &Piece) -> bool {
        piece.needs().iter().any(|need| !need.in_turn && !need.or_nothing && self.is_given_up(need))
    }

    /// No later sync logs a size that was to follow data whose write failed.
    fn give_up_sizes(&mut self, ino: Ino) {
        let id = GroupId::Size(ino);
        if self.profile.failure.sizes == Sizes::Logged || !self.groups.contains_key(&id) {
            return;
        }
        let pieces = self.group(&id).map(Group::pieces).unwrap_or_default();
        let newest = pieces.iter().rev().find(|piece| !self.is_lost(piece)).map(|piece| piece.seq);
        self.mark_clean((ino, Aspect::Size), &id);
        if let Some(seq) = newest {
            self.unsynced.entry((ino, Aspect::Size)).or_default().insert(id, seq);
        }
    }

    /// Drops the sizes that will never be logged: a write that succeeded made the file grow over
    /// blocks whose write failed.
    pub(super) fn drop_lost_sizes(&mut self, ino: Ino) {
        let lost = self.lost_sizes(ino);
        if !lost.is_empty() {
            self.drop_pieces(&GroupId::Size(ino), |piece| lost.contains(&piece.seq));
            self.never_kept.remove(&GroupId::Size(ino));
            self.stamp();
        }
    }

    /// The sequence numbers of the sizes that no sync will log.
    fn lost_sizes(&self, ino: Ino) -> Vec<u64> {
        let id = GroupId::Size(ino);
        if self.profile.failure.sizes == Sizes::Logged {
            return Vec::new();
        }
        let never_kept = self.never_kept.get(&id).copied().unwrap_or(u64::MAX);
        let pieces = self.group(&id).map(Group::pieces).unwrap_or_default();
        let lost = pieces.iter().filter(|piece| piece.seq >= never_kept || self.is_lost(piece));
        lost.map(|piece| piece.seq).collect()
    }

    /// The size of a file without those that were to follow data whose write failed.
    fn size_without_lost(&self, ino: Ino) -> u64 {
        let of = |home| (ino, home, 0)..=(ino, home, u64::MAX);
        let pending = [Home::Own, Home::Inode, Home::Log].into_iter();
        let pending = pending.flat_map(|home| self.sizes.range(of(home)));
        let lost = self.lost_sizes(ino);
        let sized = self.sized.get(&ino).copied();
        let good = pending.map(|(&(.., seq), &size)| (seq, size));
        let good =
            good.filter(|&(seq, _)| sized.is_none_or(|sized| sized < seq) && !lost.contains(&seq));
        let durable = || self.durable.node(ino).and_then(Node::content).map_or(0, |c| c.size());
        good.max().map_or_else(durable, |(_, size)| size)
    }

    /// Takes pieces out of a group, wherever they are in it: they will never be durable.
    fn drop_pieces(&mut self, id: &GroupId, dropped: impl Fn(&Piece) -> bool) {
        let Some(group) = self.groups.remove(id) else { return };
        let mut gone = Vec::new();
        let rest = Arc::unwrap_or_clone(group).rebuild(|piece| {
            if dropped(&piece) {
                gone.push(piece);
                return None;
            }
            Some(piece)
        });
        let newest: Vec<_> = rest
            .pieces()
            .iter()
            .flat_map(|p| aspects(p).into_iter().map(|key| (key, p.seq)))
            .collect();
        if rest.is_empty() {
            self.constrained.remove(id);
        } else {
            self.groups.insert(id.clone(), Arc::new(rest));
        }
        gone.iter().for_each(|piece| self.uncount(piece, id));
        if !gone.is_empty() {
            for (key, seq) in newest {
                self.unsynced.entry(key).or_default().insert(id.clone(), seq);
            }
        }
    }

    /// Drops a page whose write failed from the cache, with the versions that the medium turned out
    /// not to have and, where the file now shows another size, those sizes.
    pub(super) fn evict(
        &mut self,
        (ino, block, size): (Ino, u64, u64),
        effect: &Effect<'_>,
        at: Time,
    ) {
        let shown = self.live.node(ino).and_then(Node::content).map(|content| content.size());
        if shown.is_some_and(|shown| shown != size) {
            self.forget_sizes(ino, size);
        } else if let Some(&lost) = self.lost_sizes(ino).first() {
            self.never_kept.insert(GroupId::Size(ino), lost);
        }
        let undecided = self.undecided.remove(&(ino, block));
        self.live.apply(effect, at);
        if undecided {
            self.take(&GroupId::Block(ino, block), usize::MAX);
            let pending = &self.order;
            if let Some(versions) = self.blocks.get_mut(&(ino, block)) {
                Arc::make_mut(versions).retain(|seq| pending.contains_key(&seq));
                if versions.is_empty() {
                    self.blocks.remove(&(ino, block));
                }
            }
            let page = self.live.node(ino).and_then(Node::content).and_then(|c| c.page(block));
            let page = page.cloned();
            self.change_durable(ino, |content| content.set_page(block, page));
        }
        self.stamp();
    }

    /// Drops the sizes of a file that are newer than the one that it now shows.
    fn forget_sizes(&mut self, ino: Ino, size: u64) {
        let shown = |id: &GroupId| {
            let group = self.group(id)?;
            let sized =
                |piece: &&Piece| piece.sizes().is_some_and(|(of, _, new)| (of, new) == (ino, size));
            group.pieces().iter().rev().find(sized).map(|piece| piece.seq)
        };
        let groups = [GroupId::Size(ino), GroupId::Inode(ino), GroupId::Log];
        let newest = groups.iter().filter_map(shown).max();
        for id in &groups {
            self.drop_pieces(id, |piece| {
                matches!(piece.change, PieceChange::Size { ino: of, .. } if of == ino)
                    && newest.is_none_or(|newest| piece.seq > newest)
            });
        }
        if newest.is_none() {
            self.change_durable(ino, |content| content.set_size(size));
        }
    }

    /// Moves the data of a file out of a shared group, into groups that no sync reaches. The sizes
    /// that were parts of these pieces stay in the group as separate pieces.
    fn give_up_data(&mut self, id: &GroupId, ino: Ino, blocks: &Blocks) {
        let Some(group) = self.groups.remove(id) else { return };
        let rest = Arc::unwrap_or_clone(group).rebuild(|piece| {
            let undecided = matches!(piece.change, PieceChange::Data { ino: of, block, more, .. }
                if of == ino && *blocks.start() <= block + more && block <= *blocks.end()
                    && piece.class != PieceClass::Hole);
            if !undecided {
                return Some(piece);
            }
            let size = self.divide(&piece, id);
            self.leave_undecided(piece);
            size
        });
        self.mark_clean((ino, Aspect::Data), id);
        for piece in rest.pieces() {
            for key in aspects(piece) {
                self.unsynced.entry(key).or_default().insert(id.clone(), piece.seq);
            }
        }
        if rest.is_empty() {
            self.constrained.remove(id);
        } else {
            self.groups.insert(id.clone(), Arc::new(rest));
        }
    }

    /// The size that is a part of a block's piece, as a separate piece.
    fn divide(&mut self, piece: &Piece, id: &GroupId) -> Option<Piece> {
        let (ino, old, new) = piece.sizes()?;
        let seq = piece.seq + 1;
        self.sizes.remove(&(ino, id.home(), piece.seq));
        self.sizes.insert((ino, id.home(), seq), new);
        self.order.insert(seq, id.clone());
        self.pending_sum = self.pending_sum.wrapping_add(seq_digest(seq));
        let change = PieceChange::Size { ino, old, new };
        Some(Piece { seq, change, class: PieceClass::Grow, ..piece.clone() })
    }

    /// Gives each block of a piece its own group, which no sync reaches.
    fn leave_undecided(&mut self, piece: Piece) {
        let PieceChange::Data { ino, block, more, start, end, .. } = piece.change else { return };
        for number in block..=block + more {
            // The numbers after that of its size were kept free for this.
            let seq = if number == block { piece.seq } else { piece.seq + 1 + (number - block) };
            if seq != piece.seq {
                self.pending_sum = self.pending_sum.wrapping_add(seq_digest(seq));
            }
            if let Some(versions) = self.blocks.get_mut(&(ino, number)) {
                Arc::make_mut(versions).set_undecided(piece.seq, seq);
            }
            let id = GroupId::Block(ino, number);
            if piece.needs.is_some() {
                self.constrained.insert(id.clone());
            }
            self.order.insert(seq, id.clone());
            let change = PieceChange::Data { ino, block: number, more: 0, start, end, grows: None };
            let piece = Piece { seq, change, ..piece.clone() };
            // The block may have been written again since, as a piece of its new group.
            Arc::make_mut(self.groups.entry(id).or_default()).insert(piece);
            self.note_undecided(ino, number);
        }
    }
}
