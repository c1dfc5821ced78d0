//! The requirements of a piece, by the rules of the profile: computed once, when the piece is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{Content, PAGE};
use super::effect::Ino;
use super::pending::Pending;
use super::piece::{Aspect, GroupId, Requirement, Subject};
use super::profile::{PieceClass, Required};
use super::tree::Node;

impl Pending {
    /// The requirements of a new piece of a class.
    pub(super) fn needs(
        &self,
        group: &GroupId,
        class: PieceClass,
        subject: &Subject,
    ) -> Vec<Requirement> {
        let mut needs = Vec::new();
        for need in self.profile.needs.iter().filter(|need| need.of == class) {
            match need.on {
                Required::Log => needs.extend(require(self.newest(&GroupId::Log))),
                Required::Size => needs.extend(self.newest_of(subject.ino, Aspect::Size)),
                Required::Block => needs.extend(self.wrote(class, subject)),
                Required::BlockAlone if self.has_older_data(subject.ino) => {}
                Required::BlockAlone => needs.extend(self.wrote(class, subject)),
                // Reserved blocks count as unwritten until they are converted.
                Required::First if class == PieceClass::Reach && self.is_reserved(subject) => {
                    needs.extend(in_turn(self.lower_or_unwritten(subject)));
                }
                Required::First => needs.extend(require(self.first(subject))),
                Required::Lower => needs.extend(in_turn(self.lower(subject))),
                Required::LowerOfCall => needs.extend(in_turn(self.lower_of_call(subject))),
                Required::LowerOrUnwritten => {
                    needs.extend(in_turn(self.lower_or_unwritten(subject)))
                }
                Required::Tail => needs.extend(self.tail(subject)),
                Required::File => needs.extend(self.newest_of(subject.ino, Aspect::Data)),
            }
        }
        needs.retain(|need| need.group != *group);
        needs
    }

    /// The block that the same call wrote. A block that was zeroed after a new end and is not on
    /// the medium yet may be missing altogether.
    fn wrote(&self, class: PieceClass, subject: &Subject) -> Option<Requirement> {
        let mut need = require(subject.wrote.clone())?;
        need.while_last = matches!(class, PieceClass::Grow | PieceClass::Reach);
        if let (PieceClass::Resize, GroupId::Block(ino, block)) = (class, &need.group) {
            let at = Subject { ino: *ino, block: Some(*block), wrote: None, resized: None };
            need.or_nothing = matches!(self.first(&at), Some((GroupId::Block(..), _)));
        }
        Some(need)
    }

    fn newest_of(&self, ino: Ino, aspect: Aspect) -> impl Iterator<Item = Requirement> {
        let newest = self.unsynced.get(&(ino, aspect)).into_iter().flatten();
        newest.map(|(group, &seq)| Requirement::new(group.clone(), seq))
    }

    /// Whether pending data of a file was written by other calls.
    fn has_older_data(&self, ino: Ino) -> bool {
        let newest = self.unsynced.get(&(ino, Aspect::Data)).into_iter().flatten();
        let pieces = newest.filter_map(|(id, &seq)| self.group(id)?.piece(seq));
        pieces.into_iter().any(|piece| piece.effect != self.effects())
    }

    /// The piece that puts a block on the medium, if it is pending.
    fn first(&self, subject: &Subject) -> Option<(GroupId, u64)> {
        let (ino, block) = (subject.ino, subject.block?);
        let (seq, home) = self.blocks.get(&(ino, block))?.first(self.is_mapped(ino, block))?;
        Some((self.home(home, GroupId::Block(ino, block), ino), seq))
    }

    /// Whether a block was reserved before it was written.
    fn is_reserved(&self, subject: &Subject) -> bool {
        let reserved = self.reserved.get(&subject.ino).into_iter().flatten();
        subject.block.is_some_and(|block| reserved.into_iter().any(|range| range.contains(&block)))
    }

    /// Whether the medium has a page of this block.
    fn is_mapped(&self, ino: Ino, block: u64) -> bool {
        let content = self.durable.node(ino).and_then(Node::content);
        content.is_some_and(|content| content.page(block).is_some())
    }

    /// The newest versions of the blocks of a file before one.
    ///
    /// A new block before it has its own requirements, so of the blocks before that one only those
    /// written since are required: a long run of new blocks stays linear.
    fn lower(&self, subject: &Subject) -> Vec<Requirement> {
        let (ino, Some(block)) = (subject.ino, subject.block) else { return Vec::new() };
        let Some(newest) = self.unsynced.get(&(ino, Aspect::Data)) else { return Vec::new() };
        let mut needs = Vec::new();
        let before = newest.range(GroupId::Block(ino, 0)..GroupId::Block(ino, block)).rev();
        for (id, &seq) in before {
            let GroupId::Block(_, number) = *id else { continue };
            needs.push(Requirement::new(id.clone(), seq));
            let at = Subject { ino, block: Some(number), wrote: None, resized: None };
            if let Some((_, first)) = self.first(&at) {
                needs.extend(self.written_since(ino, number, first));
                break;
            }
        }
        needs
    }

    /// The block right before one, if it is new and from the same call.
    fn lower_of_call(&self, subject: &Subject) -> Vec<Requirement> {
        let before = subject.block.and_then(|block| block.checked_sub(1));
        let Some(id) = before.map(|block| GroupId::Block(subject.ino, block)) else {
            return Vec::new();
        };
        let newest = self.group(&id).and_then(|group| group.pieces().last());
        let new = newest.filter(|piece| {
            piece.effect == self.effects()
                && matches!(piece.class, PieceClass::Fill | PieceClass::Extend)
        });
        new.map(|piece| Requirement::new(id.clone(), piece.seq)).into_iter().collect()
    }

    /// Forgets the order in which the blocks of a file go out, because a part of the file is
    /// written back.
    pub(super) fn forget_block_order(&mut self, ino: Ino) {
        if !self.profile.asks(PieceClass::Extend, Required::LowerOfCall) {
            return;
        }
        let blocks = GroupId::Block(ino, 0)..=GroupId::Block(ino, u64::MAX);
        for (_, group) in self.groups.range_mut(blocks) {
            let pieces = Arc::unwrap_or_clone(std::mem::take(group));
            *group = Arc::new(pieces.rebuild(|piece| Some(piece.in_no_turn())));
        }
    }

    /// The newest versions of the blocks before one that were written since.
    fn written_since(&self, ino: Ino, block: u64, since: u64) -> Vec<Requirement> {
        let mut needs = BTreeMap::new();
        for (&seq, id) in self.order.range(since..) {
            if matches!(id, GroupId::Block(of, number) if *of == ino && *number < block) {
                needs.insert(id, seq);
            }
        }
        needs.into_iter().map(|(id, seq)| Requirement::new(id.clone(), seq)).collect()
    }

    /// The same for a size: the blocks written since the size before it, which requires those
    /// written earlier.
    fn lower_or_unwritten(&self, subject: &Subject) -> Vec<Requirement> {
        let (ino, Some(block)) = (subject.ino, subject.block) else { return Vec::new() };
        let before = self.newest(&GroupId::Size(ino)).map_or(0, |(_, seq)| seq);
        let mut needs = self.written_since(ino, block, before);
        for need in &mut needs {
            let GroupId::Block(_, number) = need.group else { continue };
            let at = Subject { ino, block: Some(number), wrote: None, resized: None };
            need.or_nothing = self.first(&at).is_some();
        }
        needs
    }

    /// The blocks that are written out before a size is set: those from the end of the file on the
    /// medium to the new end, and the one that was the last if the file grows after a partial
    /// block.
    fn tail(&self, subject: &Subject) -> Vec<Requirement> {
        let (ino, Some((old, new))) = (subject.ino, subject.resized) else { return Vec::new() };
        let page = PAGE as u64;
        let durable = self.durable.node(ino).and_then(Node::content).map_or(0, Content::size);
        let lags = self.groups.contains_key(&GroupId::Size(ino)) && new > durable;
        let first = if lags { durable / page } else { old / page };
        let zeroes = new > old && !old.is_multiple_of(page) && self.is_on_medium(ino, old / page);
        if !lags && !zeroes {
            return Vec::new();
        }
        let within = |need: &Requirement| {
            matches!(need.group, GroupId::Block(_, number)
                if (first..new.div_ceil(page)).contains(&number))
        };
        self.newest_of(ino, Aspect::Data).filter(within).collect()
    }
}

fn in_turn(mut needs: Vec<Requirement>) -> Vec<Requirement> {
    needs.iter_mut().for_each(|need| need.in_turn = true);
    needs
}

fn require(piece: Option<(GroupId, u64)>) -> Option<Requirement> {
    piece.map(|(group, seq)| Requirement::new(group, seq))
}
