//! New pieces of data, sizes and entries, with the requirements of each.

use std::sync::Arc;

use super::block::Difference;
use super::effect::Ino;
use super::parts::BlockPart;
use super::pending::Pending;
use super::piece::{
    Aspect, AttributeChange, EntryChange, GroupId, PieceChange, Requirement, Subject,
};
use super::profile::{Home, PieceClass};
use super::tree::Node;

impl Pending {
    /// Adds a version of a block, and the size that the file grows to with it. Returns the piece
    /// of the block.
    pub(super) fn push_data(
        &mut self,
        ino: Ino,
        part: BlockPart,
        grows: Option<(u64, u64)>,
    ) -> (GroupId, u64) {
        let BlockPart { block, start, end, class, goes_on, difference } = part;
        let within = self.is_on_medium(ino, block) && !goes_on;
        let growth = if within { PieceClass::Grow } else { PieceClass::Reach };
        let joins = self.profile.joins(class, growth);
        let joined = if joins { grows } else { None };
        let change = PieceChange::Data { ino, block, more: 0, start, end, grows: joined };
        let home = self.profile.home(class);
        let group = self.home(home, GroupId::Block(ino, block), ino);
        let subject = Subject { ino, block: Some(block), wrote: None, resized: None };
        let needs = self.needs(&group, class, &subject);
        let seq = self.push(group.clone(), change, class, needs);
        if joined.is_some() {
            // If a failed sync divides the piece, its size gets this number.
            self.next += 1;
        }
        self.push_version(ino, block, (seq, home), difference);
        if let Some((old, new)) = grows.filter(|_| !joins) {
            self.drop_lost_sizes(ino);
            let change = PieceChange::Size { ino, old, new };
            let own = self.home(self.profile.home(growth), GroupId::Size(ino), ino);
            let wrote = Some((group.clone(), seq));
            let needs = self.needs(
                &own,
                growth,
                &Subject { ino, block: Some(block), wrote, resized: None },
            );
            self.push(own, change, growth, needs);
        }
        (group, seq)
    }

    /// Adds the hole that a truncation makes of a block, once the size with this number is kept.
    pub(super) fn push_hole(&mut self, ino: Ino, part: BlockPart, size: u64) {
        let BlockPart { block, start, end, class, difference, .. } = part;
        let change = PieceChange::Data { ino, block, more: 0, start, end, grows: None };
        let home = self.profile.home(class);
        let group = self.home(home, GroupId::Block(ino, block), ino);
        let sizes = self.home(self.profile.home(PieceClass::Resize), GroupId::Size(ino), ino);
        let need = Requirement { while_last: true, ..Requirement::new(sizes, size) };
        let seq = self.push(group, change, class, vec![need]);
        self.push_version(ino, block, (seq, home), difference);
    }

    /// Adds one piece for all blocks of a write.
    pub(super) fn push_whole(
        &mut self,
        ino: Ino,
        parts: Vec<BlockPart>,
        grows: Option<(u64, u64)>,
    ) {
        let [first, .., last] = parts.as_slice() else { return };
        let (block, more) = (first.block, last.block - first.block);
        let (start, end, class) = (first.start, last.end, first.class);
        let change = PieceChange::Data { ino, block, more, start, end, grows };
        let home = self.profile.home(class);
        let group = self.home(home, GroupId::Inode(ino), ino);
        let needs = self.needs(
            &group,
            class,
            &Subject { ino, block: Some(block), wrote: None, resized: None },
        );
        let seq = self.push(group, change, class, needs);
        // If a failed sync divides the piece, its size and its other blocks get these numbers.
        self.next += 1 + more;
        for part in parts {
            self.push_version(ino, part.block, (seq, home), part.difference);
        }
    }

    /// Adds a version of a block that the live tree shows already.
    pub(super) fn push_version(
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

    pub(super) fn push_size(
        &mut self,
        ino: Ino,
        (old, new): (u64, u64),
        class: PieceClass,
        wrote: Option<(GroupId, u64)>,
    ) -> u64 {
        let group = self.home(self.profile.home(class), GroupId::Size(ino), ino);
        let needs = self.needs(
            &group,
            class,
            &Subject { ino, block: None, wrote, resized: Some((old, new)) },
        );
        self.push(group, PieceChange::Size { ino, old, new }, class, needs)
    }

    /// Adds a piece of one or two entries to the group of the first.
    pub(super) fn push_entries(
        &mut self,
        changes: Vec<EntryChange>,
        mut needs: Vec<Requirement>,
        class: PieceClass,
    ) -> u64 {
        let group = self.entry_group(changes[0].dir, &changes[0].name);
        let ino = changes[0].new.unwrap_or(changes[0].dir);
        needs.extend(self.needs(
            &group,
            class,
            &Subject { ino, block: None, wrote: None, resized: None },
        ));
        needs.extend(self.emptied(&changes));
        let mut elsewhere = Vec::new();
        for change in &changes {
            let entry = (change.dir, change.name.clone());
            let own = self.entry_group(change.dir, &change.name);
            // The versions of one entry stay in order even where an atomic rename put one of them
            // into the group of another entry: otherwise a directory could have two parents.
            let moved = self.moved.get(&entry).cloned();
            needs.extend(moved.map(|(group, seq)| Requirement::new(group, seq)));
            if own != group {
                let newest = self.newest(&own);
                needs.extend(newest.map(|(group, seq)| Requirement::new(group, seq)));
                elsewhere.push(entry);
            }
            if let Some(ino) = change.new {
                *self.pending_links.entry(ino).or_default() += 1;
            }
        }
        needs.retain(|need| need.group != group);
        let change = PieceChange::Entries(changes.into());
        let seq = self.push(group.clone(), change, class, needs);
        for entry in elsewhere {
            self.moved.insert(entry, (group.clone(), seq));
        }
        seq
    }

    /// Adds a piece of an extended attribute.
    pub(super) fn push_attribute(&mut self, change: AttributeChange) {
        let class = PieceClass::Attribute;
        let (ino, own) = (change.ino, GroupId::Attribute(change.ino, change.name.clone()));
        let group = self.home(self.profile.home(class), own, ino);
        let subject = Subject { ino, block: None, wrote: None, resized: None };
        let needs = self.needs(&group, class, &subject);
        self.push(group, PieceChange::Attribute(Arc::new(change)), class, needs);
    }

    /// The pieces that emptied the directories which some changes remove. Without them, files moved
    /// out of these directories could be in two places, or in none.
    pub(super) fn emptied(&self, changes: &[EntryChange]) -> Vec<Requirement> {
        let mut needs = Vec::new();
        for old in changes.iter().filter_map(|change| change.old) {
            if changes.iter().all(|change| change.new != Some(old)) {
                let entries = self.unsynced.get(&(old, Aspect::Entries)).into_iter().flatten();
                needs.extend(entries.map(|(id, &seq)| Requirement::new(id.clone(), seq)));
            }
        }
        needs
    }
}
