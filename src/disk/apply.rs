//! How each effect of a disk becomes pieces, or makes some durable.

use super::attributes::{MODE, OWNER, TIMES};
use super::content::PAGE;
use super::effect::{Allocation, Effect, Ino, Kind};
use super::parts::{BlockPart, skipped, written, zeroed};
use super::pending::Pending;
use super::piece::{Aspect, AttributeChange, EntryChange, GroupId, Piece, Requirement};
use super::profile::{Home, PieceClass, Required};
use super::tree::{Name, Node};
use crate::base::time::Time;
use std::sync::Arc;

impl Pending {
    /// Applies one effect. Changes of inodes that do not exist are ignored, as by
    /// [`Tree::apply`](super::tree::Tree::apply).
    pub fn apply(&mut self, effect: &Effect<'_>, at: Time) {
        self.commit_by_time(at);
        self.touch(effect);
        let first = self.next;
        self.apply_kind(effect, at);
        self.stamp_unrecorded(effect, first);
        self.effects += 1;
    }

    fn apply_kind(&mut self, effect: &Effect<'_>, at: Time) {
        match *effect {
            // An inode alone is no piece: its entries decide whether it is found. So it is on the
            // medium at once, empty, with its mode and, for a symbolic link, its target.
            Effect::Inode { ino, kind, .. } => {
                self.live.apply(effect, at);
                self.durable.apply(effect, at);
                if kind == Kind::File {
                    self.nameless.insert(ino, false);
                }
            }
            Effect::Mode { ino, .. } => self.set_mode(ino, effect, at),
            Effect::Owner { ino, .. } => self.set_owner(ino, effect, at),
            // The piece follows from the new times.
            Effect::Times { .. } => self.live.apply(effect, at),
            Effect::Attribute { ino, name, value } => self.set_attribute(ino, name, value, at),
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
            Effect::Sync(sync) => self.sync(sync),
            Effect::SyncFailed(sync) => self.sync_failed(sync),
            Effect::Evict { ino, block, size, .. } => {
                self.evict((ino, block, size), effect, at);
            }
        }
    }

    /// Adds a piece if an effect moved times of its inode, and no piece of it records that.
    fn stamp_unrecorded(&mut self, effect: &Effect<'_>, first: u64) {
        let (Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Mode { ino, .. }
        | Effect::Owner { ino, .. }
        | Effect::Times { ino, .. }) = *effect
        else {
            return;
        };
        if self.next == first && self.new_times(ino).is_some() {
            let name: Name = TIMES.into();
            self.push_attribute(AttributeChange { ino, name, old: None, new: None });
        }
    }

    /// Makes the log durable, if a commit was due since the last effect. Everything that is pending
    /// is older than that commit: otherwise the commit would have been made before.
    fn commit_by_time(&mut self, at: Time) {
        let Some(every) = self.profile.commits.filter(|_| !self.frozen) else { return };
        let commit = at.0 / (every.as_nanos() as u64).max(1);
        if std::mem::replace(&mut self.commits, commit) != commit {
            self.commit();
        }
    }

    /// Notes the end of the log when an inode changes: the time of the change is logged there.
    fn touch(&mut self, effect: &Effect<'_>) {
        let (Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Mode { ino, .. }
        | Effect::Owner { ino, .. }
        | Effect::Times { ino, .. }
        | Effect::Attribute { ino, .. }) = *effect
        else {
            return;
        };
        if let Some((_, seq)) =
            self.newest(&GroupId::Log).filter(|_| self.profile.fsync_file.touched)
        {
            self.touched.insert(ino, seq);
        }
    }

    /// The disk after the process died and the kernel kept running: all writes stay, and stay
    /// pending; inodes that only descriptors held are gone.
    pub fn process_crash(&self, at: Time) -> Self {
        let mut after = self.clone();
        let root = after.live.root();
        let nameless: Vec<Ino> = after
            .live
            .nodes()
            .filter_map(|(ino, node)| (node.links == 0 && ino != root).then_some(ino))
            .collect();
        for ino in nameless {
            after.apply(&Effect::Free { ino }, at);
        }
        after
    }

    /// The disk after the process died, the kernel kept running, and the cache dropped the pages
    /// whose write had failed.
    pub fn evicted(&self, at: Time) -> Self {
        let mut after = self.process_crash(at);
        for evicted in after.evictable(true) {
            after.apply(&evicted.effect(), at);
        }
        after
    }

    /// The disk after the process died inside this write: the kernel copies page by page and can
    /// only stop between two pages, so the first `pages` of those that the write touches are
    /// written and the others are not. Other effects are not applied at all.
    pub fn partial_write(&self, effect: &Effect<'_>, pages: u64, at: Time) -> Self {
        let mut during = self.clone();
        if let Effect::Write { ino, offset, bytes } = *effect {
            let end = (offset / PAGE as u64 + pages) * PAGE as u64;
            let length = (end.saturating_sub(offset) as usize).min(bytes.len());
            during.apply(&Effect::Write { ino, offset, bytes: &bytes[..length] }, at);
        }
        during.process_crash(at)
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

    /// Whether a pending size waits for another block, so that this block takes it along.
    fn size_waits_elsewhere(&self, ino: Ino, block: u64) -> bool {
        let newest = self.group(&GroupId::Size(ino)).and_then(|group| group.pieces().last());
        let here = GroupId::Block(ino, block);
        let waits = |piece: &Piece| {
            let mut needs = piece.needs().iter();
            self.profile.asks(piece.class, Required::BlockAlone)
                && needs.any(|need| need.while_last && need.group != here)
        };
        newest.is_some_and(waits)
    }

    fn resize(&mut self, ino: Ino, size: u64, at: Time) {
        self.forget_block_order(ino);
        let Some(content) = self.content(ino) else { return };
        let old = content.size();
        if old == size {
            return self.live.apply(&Effect::Size { ino, size }, at);
        }
        let parts = if size < old { zeroed(content, size, u64::MAX) } else { Vec::new() };
        self.live.apply(&Effect::Size { ino, size }, at);
        let joins = self.profile.joins(PieceClass::Hole, PieceClass::Resize);
        // A size that waits for the zeros after the new end comes after them.
        let (first, rest): (Vec<BlockPart>, Vec<BlockPart>) = parts.into_iter().partition(|part| {
            part.class == PieceClass::Zero && self.profile.asks(PieceClass::Resize, Required::Block)
        });
        if self.profile.home(PieceClass::Hole) == Home::Own {
            return self.cut_off(ino, (old, size), rest);
        }
        let zeroed = first.into_iter().map(|part| self.push_data(ino, part, None)).last();
        let seq = self.push_size(ino, (old, size), PieceClass::Resize, zeroed);
        for part in rest {
            if joins && part.class == PieceClass::Hole {
                self.push_version(ino, part.block, (seq, self.profile.hole), None);
            } else {
                self.push_data(ino, part, None);
            }
        }
    }

    /// Cuts a file where the blocks that become free are pieces of their own. The size may stop at
    /// the end of each, as in ALICE's default model; none is a hole below the size that is kept,
    /// unless the file has grown again.
    fn cut_off(&mut self, ino: Ino, (old, size): (u64, u64), parts: Vec<BlockPart>) {
        let mut last = old;
        let (freed, cut): (Vec<BlockPart>, Vec<BlockPart>) =
            parts.into_iter().partition(|part| part.class == PieceClass::Hole);
        let mut holes = Vec::new();
        for part in freed.into_iter().rev() {
            let end = (part.block * PAGE as u64).max(size);
            if end < last {
                let seq = self.push_size(ino, (last, end), PieceClass::Resize, None);
                last = end;
                holes.push((part, seq));
            }
        }
        if last != size {
            self.push_size(ino, (last, size), PieceClass::Resize, None);
        }
        for (part, seq) in holes {
            self.push_hole(ino, part, seq);
        }
        for part in cut {
            self.push_data(ino, part, None);
        }
    }

    fn allocate(&mut self, ino: Ino, (offset, length): (u64, u64), what: Allocation, at: Time) {
        self.forget_block_order(ino);
        let Some(content) = self.content(ino) else { return };
        let (old, end) = (content.size(), offset.saturating_add(length));
        if what != Allocation::Punch && self.profile.asks(PieceClass::Reach, Required::First) {
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
            self.push_size(ino, (old, end), PieceClass::Resize, None);
        }
    }

    fn enter(&mut self, dir: Ino, name: &[u8], ino: Option<Ino>, at: Time) {
        if let Some(change) = self.change(dir, name, ino) {
            let logged = ino.is_some_and(|ino| self.nameless.remove(&ino) == Some(true));
            let born = ino.filter(|ino| !logged && self.is_nameless(*ino));
            self.live.set_entry(dir, name, ino, at);
            let seq = self.push_entries(vec![change], Vec::new(), PieceClass::Entry);
            if let Some(born) = born {
                let group = self.order[&seq].clone();
                self.unsynced.entry((born, Aspect::Birth)).or_default().insert(group, seq);
            }
        }
    }

    fn set_attribute(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>, at: Time) {
        let Some(node) = self.live.node(ino) else { return };
        let (old, new) = (node.attributes.get(name).cloned(), value.map(Arc::from));
        self.live.apply(&Effect::Attribute { ino, name, value }, at);
        if old != new {
            self.push_attribute(AttributeChange { ino, name: name.into(), old, new });
        }
    }

    fn set_mode(&mut self, ino: Ino, effect: &Effect<'_>, at: Time) {
        self.set_in_inode(ino, MODE, effect, at, |node, _| node.mode_value());
    }

    fn set_owner(&mut self, ino: Ino, effect: &Effect<'_>, at: Time) {
        let moved = |mode: u32| matches!(*effect, Effect::Owner { mode: new, .. } if new != mode);
        self.set_in_inode(ino, OWNER, effect, at, |node, before| node.owner_value(moved(before)));
    }

    /// Applies a change of an inode that is a piece like an attribute: `value` is its value in the
    /// inode, of which it is also given the permission bits before the change.
    fn set_in_inode(
        &mut self,
        ino: Ino,
        name: &[u8],
        effect: &Effect<'_>,
        at: Time,
        value: impl Fn(&Node, u32) -> Arc<[u8]>,
    ) {
        let Some(node) = self.live.node(ino) else { return };
        let mode = node.mode;
        let old = Some(value(node, mode));
        self.live.apply(effect, at);
        let new = self.live.node(ino).map(|node| value(node, mode));
        if old != new {
            self.push_attribute(AttributeChange { ino, name: name.into(), old, new });
        }
    }

    /// Whether no entry leads to an inode, or ever did since the disk was mounted.
    fn is_nameless(&self, ino: Ino) -> bool {
        !self.pending_links.contains_key(&ino)
            && self.durable.node(ino).is_some_and(|node| node.links == 0)
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
        let swaps = back.is_some_and(|back| !is_directory(back)) && !is_directory(moved);
        self.live.set_entry(from.0, from.1, back, at);
        self.live.set_entry(to.0, to.1, Some(moved), at);
        let changes: Vec<EntryChange> = changes.into_iter().flatten().collect();
        if one {
            let replaces = replaced.is_some() && !exchange;
            let class = match (replaces, swaps) {
                (true, _) => PieceClass::Replace,
                (false, true) => PieceClass::Exchange,
                (false, false) => PieceClass::Entry,
            };
            let needs = self.pieces_placing(to.0);
            self.push_entries(changes, needs, class);
        } else {
            let push = |change| self.push_entries(vec![change], Vec::new(), PieceClass::Entry);
            if let [one, other] = changes.into_iter().map(push).collect::<Vec<u64>>()[..] {
                self.rename_partners.extend([(one, other), (other, one)]);
            }
        }
    }

    /// The pieces that put a directory, and those above it, where they are. A directory that moves
    /// there needs them: without them, its old name gone, it would be lost or be inside itself.
    fn pieces_placing(&self, dir: Ino) -> Vec<Requirement> {
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

    /// The change that makes a name lead to `new`, or `None` if it does already.
    fn change(&self, dir: Ino, name: &[u8], new: Option<Ino>) -> Option<EntryChange> {
        let directory = self.live.node(dir)?.directory()?;
        let old = directory.entries.get(name).copied();
        (old != new).then(|| EntryChange { dir, name: name.into(), old, new })
    }
}
