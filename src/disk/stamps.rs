//! The times of inodes among the pending pieces: which a crash leaves depends on what it keeps.
//!
//! A file system writes an inode as a whole. So an inode is found with the times that it had after
//! the newest of its changes that was kept, whatever that change was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effect::Ino;
use super::pending::Pending;
use super::piece::{GroupId, Piece};
use super::tree::{Node, Times};

impl Pending {
    /// The times of an inode, if neither a pending piece nor the durable inode has them.
    pub(super) fn new_times(&self, ino: Ino) -> Option<Times> {
        let now = self.live.node(ino)?.times();
        let newest = self.times.range((ino, 0)..=(ino, u64::MAX)).next_back();
        let newest = newest.map(|(_, times)| *times);
        let known = newest.or_else(|| self.durable.node(ino).map(Node::times));
        (known != Some(now)).then_some(now)
    }

    /// Notes the times of the inodes that a new piece changes.
    pub(super) fn push_times(&mut self, piece: &Piece) -> Option<Arc<[(Ino, Times)]>> {
        let mut moved = Vec::new();
        for ino in piece.timed() {
            let pending = self.times.range((ino, 0)..=(ino, u64::MAX)).next().is_some();
            let times = match pending {
                true => self.live.node(ino).map(Node::times),
                false => self.new_times(ino),
            };
            if let Some(times) = times {
                self.times.insert((ino, piece.seq), times);
                moved.push((ino, times));
            }
        }
        (!moved.is_empty()).then(|| moved.into())
    }

    /// Makes the times of a piece durable, unless newer ones are.
    pub(super) fn settle_times(&mut self, piece: &Piece) {
        for &(ino, times) in piece.times.as_deref().unwrap_or_default() {
            if self.timed.get(&ino).is_some_and(|timed| *timed > piece.seq) {
                continue;
            }
            self.timed.insert(ino, piece.seq);
            if let Some(node) = self.durable.node_mut(ino) {
                node.set_times(times);
            }
        }
    }

    /// Forgets the times of a piece that is no longer pending.
    pub(super) fn forget_times(&mut self, piece: &Piece) {
        for (ino, _) in piece.times.as_deref().unwrap_or_default() {
            self.times.remove(&(*ino, piece.seq));
        }
    }

    /// The times that a crash leaves of each inode for which they depend on the pieces that it
    /// keeps; `limit` is the number below which the pieces of a group are kept.
    pub(super) fn kept_times(
        &self,
        limit: impl Fn(&GroupId) -> u64,
    ) -> impl Iterator<Item = (Ino, Times)> {
        let mut kept: BTreeMap<Ino, Times> = BTreeMap::new();
        for (&(ino, seq), &times) in &self.times {
            kept.entry(ino).or_insert_with(|| {
                let durable = self.durable.node(ino).map(Node::times);
                durable.unwrap_or(times)
            });
            let group = self.order.get(&seq);
            let settled = self.timed.get(&ino).is_some_and(|timed| *timed > seq);
            if !settled && group.is_some_and(|group| seq < limit(group)) {
                kept.insert(ino, times);
            }
        }
        kept.into_iter()
    }
}
