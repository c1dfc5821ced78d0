//! The live half of the disk: the state that processes see, and the one place where it changes.

use super::clock::Stamps;
use super::effect::{Effect, Ino};
use super::errno::Errno;
use super::failure::{Errors, FailedSync, MountState, Shows};
use super::lock::Locks;
use super::open::Opens;
use super::pending::Pending;
use super::profile::Profile;
use super::space::Account;
use super::tree::{Node, Tree};
use super::watch::Watch;
use crate::base::time::Time;
use std::collections::BTreeMap;

/// Is notified of every change of a disk, in order.
pub trait Journal {
    /// Records a change, just before it is made.
    fn record(&mut self, at: Time, effect: &Effect<'_>);
}

/// A simulated disk as the processes of one machine see it: a tree of inodes, open file
/// descriptions and locks, with the semantics of a local Linux file system used by root.
///
/// Paths are bytes. A path that begins with `/` starts at the disk's root, any other at the
/// directory `base`; `..` in the root is the root. Permission bits are kept and shown, but no call
/// is refused because of them, except that [`Disk::access`] requires an execute bit of an
/// executable.
///
/// Every change is an [`Effect`] that the journal records before it is made, so replaying the
/// effects on a copy of the initial tree gives the same tree. Reading changes nothing: the disk
/// behaves as if mounted with `noatime`, and the time of last access moves only by
/// [`Disk::set_times`].
///
/// An inode without a name lives on while a [`Handle`](super::open::Handle) refers to it. A bare
/// `base: Ino` does not hold a directory: once that is removed, paths from it are `ENOENT`.
pub struct Disk {
    pub(super) tree: Tree,
    pub(super) opens: Opens,
    pub(super) locks: Locks,
    /// The effects of a failed sync.
    failure: FailedSync,
    /// The medium's state, for profiles on which a failed sync may make it visible.
    medium: Option<Box<Pending>>,
    /// Failed write-backs that not every descriptor has reported, by file and for all files.
    pub(super) errors: BTreeMap<Ino, Errors>,
    pub(super) all_errors: Errors,
    /// Hints about the life of written data, by file.
    pub(super) hints: BTreeMap<Ino, u64>,
    /// Set by a failed sync, until the file system is mounted again.
    state: MountState,
    /// The most that it may hold.
    pub(super) account: Option<Account>,
    /// The files that are mapped.
    pub(super) watch: Watch,
    /// The time of the clock, and the stamp of a change at that time.
    stamps: Stamps,
    journal: Option<Box<dyn Journal + Send>>,
}

impl Disk {
    /// A disk that holds `tree`, with nothing open, nothing locked and no journal.
    pub fn new(tree: Tree) -> Self {
        let (opens, locks) = (Opens::default(), Locks::default());
        Self {
            tree,
            opens,
            locks,
            failure: FailedSync::USUAL,
            medium: None,
            errors: BTreeMap::new(),
            all_errors: Errors::default(),
            hints: BTreeMap::new(),
            state: MountState::Usable,
            account: None,
            watch: Watch::default(),
            stamps: Stamps::default(),
            journal: None,
        }
    }

    /// The same, mounted with a profile: its failed syncs have the effects that the profile says,
    /// and the disk keeps the medium's state of its files, for [`Disk::evict`].
    #[must_use]
    pub fn mounted(tree: Tree, profile: &Profile) -> Self {
        let medium = Some(Box::new(Pending::new(tree.clone(), profile)));
        Self { failure: profile.failure, medium, ..Self::new(tree) }
    }

    /// Drops the pages whose write failed from the cache: reads show the medium's version, as if
    /// none of these writes had reached it. Nothing happens on a disk that was not
    /// [`Disk::mounted`].
    pub fn evict(&mut self) {
        let evictable = self.medium.as_ref().map(|medium| medium.evictable(false));
        for evicted in evictable.unwrap_or_default() {
            self.change(&evicted.effect());
        }
    }

    /// Whether a file has data in the cache that the medium lacks, if that is known.
    pub(super) fn is_dirty(&self, ino: Ino) -> bool {
        self.medium.as_ref().is_some_and(|medium| medium.is_dirty(ino))
    }

    /// The files with data in the cache that the medium lacks.
    pub(super) fn dirty_files(&self) -> Vec<Ino> {
        self.medium.as_ref().map(|medium| medium.dirty_files()).unwrap_or_default()
    }

    /// Puts the file system into its state after a failed sync, and returns the effects of one.
    pub(super) fn fail(&mut self) -> FailedSync {
        self.state = self.failure.mount;
        if self.failure.shows == Shows::Old {
            self.evict();
        }
        self.failure
    }

    /// Checks that the file system accepts changes.
    pub(super) fn may_change(&self) -> Result<(), Errno> {
        match self.state {
            MountState::Usable => Ok(()),
            MountState::ReadOnly => Err(Errno::EROFS),
            MountState::ShutDown => Err(Errno::EIO),
        }
    }

    /// Whether a failed sync stopped the file system: it accepts no change until it is mounted
    /// again, as another disk with the tree that this one left.
    pub fn is_stopped(&self) -> bool {
        self.state != MountState::Usable
    }

    /// Checks that the file system accepts reads.
    pub(super) fn may_read(&self) -> Result<(), Errno> {
        if self.state == MountState::ShutDown { Err(Errno::EIO) } else { Ok(()) }
    }

    /// The current tree, with unsynced changes.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the tree. Inodes that only a handle kept are still in it.
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    /// Sets the clock that changes are stamped with.
    pub fn set_time(&mut self, at: Time) {
        self.stamps.set_time(at);
    }

    /// Begins the ticks of the coarse clock at a time.
    pub fn set_first_tick(&mut self, at: Time) {
        self.stamps.set_first_tick(at);
    }

    /// The stamp of a change now, of an inode whose times nothing has asked for.
    pub fn stamp(&self) -> Time {
        self.stamps.coarse()
    }

    /// Notes that a process saw when an inode was last changed: the next change of it gets a later
    /// stamp.
    pub fn see_times(&mut self, ino: Ino) {
        self.stamps.see(ino);
    }

    /// Records every later change in `journal`, which replaces the one before.
    pub fn set_journal(&mut self, journal: Box<dyn Journal + Send>) {
        self.journal = Some(journal);
    }

    /// Makes one change: the only way in which the tree of a disk ever changes.
    pub(super) fn change(&mut self, effect: &Effect<'_>) {
        let at = self.stamps.next(effect, &self.tree);
        if let Some(journal) = &mut self.journal {
            journal.record(at, effect);
        }
        self.watch.note(effect, &self.tree);
        self.tree.apply(effect, at);
        if let Some(account) = &mut self.account {
            account.follow(effect, &self.tree);
        }
        if let Some(medium) = &mut self.medium {
            medium.apply(effect, at);
        }
    }

    /// Frees an inode that has no name and no open file description left.
    pub(super) fn free_if_unused(&mut self, ino: Ino) {
        let nameless = self.tree.node(ino).is_some_and(|node| node.links == 0);
        if nameless && !self.opens.refer_to(ino) {
            self.errors.remove(&ino);
            self.change(&Effect::Free { ino });
        }
    }

    /// The node of an inode.
    pub(super) fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.tree.node(ino).ok_or(Errno::ENOENT)
    }
}
