//! Directories that a sync of a file logs in addition to it, as btrfs does.
//!
//! A file that was renamed or linked in the running transaction makes a sync log the directories
//! that had its names when the transaction began, with all their entries
//! (`btrfs_log_all_parents`). After a crash these entries are found as they were at the sync, while
//! the changes of other directories may be lost: a file that was moved there has both names. If the
//! transaction was committed in between, nothing is logged. So these entries are an optional piece:
//! it repeats changes that are in the log anyway.

use std::collections::BTreeSet;

use super::effect::{Ino, Kind, Sync};
use super::pending::Pending;
use super::piece::{EntryChange, Group, GroupId, Piece, PieceChange, aspects, replaced};
use super::profile::PieceClass;
use super::tree::{Name, Node};

impl Pending {
    /// Repeats the entries of the directories that a sync of a file logs.
    pub(super) fn restate(&mut self, sync: Sync) {
        let (Sync::Inode(ino) | Sync::Data(ino) | Sync::Written { ino, .. }) = sync else { return };
        if self.live.node(ino).map(Node::kind) != Some(Kind::File) {
            return;
        }
        let parents = self.former_parents(ino);
        let entries = self.logged_entries(parents);
        let Some((dir, name)) = entries.iter().flatten().next().cloned() else { return };
        let changes: Vec<EntryChange> = entries
            .into_iter()
            .flatten()
            .map(|(dir, name)| {
                let now = self.live.entry(dir, &name);
                EntryChange { dir, name, old: now, new: now }
            })
            .collect();
        for named in changes.iter().filter_map(|change| change.new) {
            *self.pending_links.entry(named).or_default() += 1;
        }
        let group = GroupId::Entry(dir, name);
        let change = PieceChange::Entries(changes.into());
        let seq = self.push(group.clone(), change, PieceClass::Entry, Vec::new());
        // No sync makes it durable: it is replaced when the log is.
        let piece = self.group(&group).and_then(|group| group.piece(seq));
        for key in piece.map(aspects).unwrap_or_default() {
            self.mark_clean(key, &group);
        }
        self.restated.insert(group);
    }

    /// The directories that had names of a file when the log began, if its names changed since.
    fn former_parents(&mut self, ino: Ino) -> BTreeSet<Ino> {
        let log = self.group(&GroupId::Log).map(Group::pieces).unwrap_or_default();
        let mut changes = log.iter().flat_map(|piece| piece.changes());
        let changed = changes.any(|change| change.old == Some(ino) || change.new == Some(ino));
        if changed && self.durable.node(ino).is_some_and(|node| node.links > 0) {
            let parents = self.durable.nodes().filter(|(_, node)| {
                let directory = node.directory();
                directory.is_some_and(|dir| dir.entries.values().any(|named| *named == ino))
            });
            let parents: BTreeSet<Ino> = parents.map(|(dir, _)| dir).collect();
            self.former_parents.entry(ino).or_default().extend(parents);
        }
        self.former_parents.get(&ino).cloned().unwrap_or_default()
    }

    /// The pending entries of some directories, and of new ones below them. `None` where the whole
    /// transaction is committed instead: something left one of them for another directory.
    fn logged_entries(&self, mut dirs: BTreeSet<Ino>) -> Option<BTreeSet<(Ino, Name)>> {
        let mut entries = BTreeSet::new();
        let is_directory = |ino| self.live.node(ino).map(Node::kind) == Some(Kind::Directory);
        let log = self.group(&GroupId::Log).map(Group::pieces).unwrap_or_default();
        for piece in log {
            let changes = piece.changes();
            let leaves = |change: &EntryChange| {
                dirs.contains(&change.dir)
                    && change.old.is_some_and(|old| {
                        changes.iter().any(|c| c.dir != change.dir && c.new == Some(old))
                    })
            };
            if changes.iter().any(leaves) {
                return None;
            }
            for change in changes.iter().filter(|change| dirs.contains(&change.dir)) {
                entries.insert((change.dir, change.name.clone()));
            }
            for change in changes.iter().filter(|change| dirs.contains(&change.dir)) {
                if change.old.is_some_and(|old| self.has_changed_inside(old, log)) {
                    return None;
                }
                entries.insert((change.dir, change.name.clone()));
            }
            let here = changes.iter().filter(|change| dirs.contains(&change.dir));
            let arrived: Vec<Ino> = here.filter_map(|change| change.new).collect();
            for new in arrived.into_iter().filter(|new| is_directory(*new)) {
                if self.durable.node(new).is_none_or(|node| node.links == 0) {
                    dirs.insert(new);
                } else if !changes.iter().any(|c| c.old == Some(new) && dirs.contains(&c.dir)) {
                    return None;
                }
            }
        }
        Some(entries)
    }

    /// Whether a directory that was removed still has pending changes of its entries.
    fn has_changed_inside(&self, dir: Ino, log: &[Piece]) -> bool {
        let removed = self.live.node(dir).is_none();
        removed && log.iter().any(|piece| piece.changes().iter().any(|c| c.dir == dir))
    }

    /// Forgets the repeated entries: the log holds nothing older any more.
    pub(super) fn forget_restated(&mut self) {
        for group in std::mem::take(&mut self.restated) {
            self.take(&group, usize::MAX);
        }
        self.former_parents.clear();
    }

    /// Forgets repeated entries that changed again and are durable since.
    pub(super) fn forget_restated_before(&mut self, seq: u64, changes: &[EntryChange]) {
        let outdated = |group: &Group| {
            group.pieces().iter().any(|piece| {
                let same = |a: &EntryChange, b: &EntryChange| (a.dir, &a.name) == (b.dir, &b.name);
                let mut repeated = piece.changes().iter();
                piece.seq < seq && repeated.any(|old| changes.iter().any(|new| same(old, new)))
            })
        };
        let ids = self.restated.iter().filter(|id| self.group(id).is_some_and(outdated));
        for id in ids.cloned().collect::<Vec<_>>() {
            self.take(&id, usize::MAX);
            self.restated.remove(&id);
        }
    }

    /// Whether all names of an open file went to others by renames. On btrfs a sync of it then
    /// writes nothing; after an `unlink` it commits the removal.
    pub(super) fn was_replaced(&self, ino: Ino) -> bool {
        if self.live.node(ino).is_none_or(|node| node.links > 0 || node.kind() != Kind::File) {
            return false;
        }
        let log = self.group(&GroupId::Log).map(Group::pieces).unwrap_or_default();
        let mut lost = log
            .iter()
            .filter(|piece| piece.changes().iter().any(|change| change.old == Some(ino)))
            .peekable();
        lost.peek().is_some() && lost.all(|piece| replaced(piece, ino))
    }
}
