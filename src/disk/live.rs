//! The live half of the disk: what a process sees, and the one place where it changes.

use super::effect::{Effect, Ino};
use super::errno::Errno;
use super::lock::Locks;
use super::open::Opens;
use super::tree::{Node, Tree};
use crate::time::Time;

/// Is told of every change of a disk, in the order in which they are made.
pub trait Journal {
    /// Takes note of a change, just before it is made.
    fn record(&mut self, at: Time, effect: &Effect<'_>);
}

/// A simulated disk as the processes of one machine see it: a tree of inodes, open file
/// descriptions and locks, with the semantics of a local Linux file system used by root.
///
/// Paths are bytes. A path that begins with `/` starts at the disk's root, any other at the
/// directory `base`; `..` in the root is the root. Permission bits are kept and shown, but nobody
/// is refused by them, save that [`Disk::access`] asks an executable for one execute bit.
///
/// Every change is an [`Effect`] that the journal sees before it is made, so replaying the effects
/// on a copy of the initial tree gives the same tree. Reading changes nothing: the disk behaves as
/// if mounted with `noatime`, and the time of last access moves only by [`Disk::set_times`].
///
/// An inode without a name lives on while a [`Handle`](super::open::Handle) refers to it. A bare
/// `base: Ino` does not hold a directory: once that is removed, paths from it are `ENOENT`.
pub struct Disk {
    pub(super) tree: Tree,
    pub(super) opens: Opens,
    pub(super) locks: Locks,
    now: Time,
    journal: Option<Box<dyn Journal + Send>>,
}

impl Disk {
    /// A disk that holds `tree`, with nothing open, nothing locked and no journal.
    pub fn new(tree: Tree) -> Self {
        let (opens, locks) = (Opens::default(), Locks::default());
        Self { tree, opens, locks, now: Time::START, journal: None }
    }

    /// What the disk holds at this moment, unsynced changes included.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Gives the tree back. Inodes that only a handle kept are still in it.
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    /// Sets the clock that changes are stamped with.
    pub fn set_time(&mut self, at: Time) {
        self.now = at;
    }

    /// From now on, tells `journal` of every change, instead of whom it told before.
    pub fn set_journal(&mut self, journal: Box<dyn Journal + Send>) {
        self.journal = Some(journal);
    }

    /// Makes one change: the only way in which the tree of a disk ever changes.
    pub(super) fn change(&mut self, effect: &Effect<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.record(self.now, effect);
        }
        self.tree.apply(effect, self.now);
    }

    /// Frees an inode that has no name and no open file description left.
    pub(super) fn free_if_unused(&mut self, ino: Ino) {
        let nameless = self.tree.node(ino).is_some_and(|node| node.links == 0);
        if nameless && !self.opens.refer_to(ino) {
            self.change(&Effect::Free { ino });
        }
    }

    /// An inode that something refers to.
    pub(super) fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.tree.node(ino).ok_or(Errno::ENOENT)
    }
}
