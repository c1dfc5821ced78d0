//! The stamps of changes: the kernel's coarse clock, with finer times where a process would notice.
//!
//! A change is stamped with the clock of the last timer tick (`current_time`). Since Linux 6.13 the
//! stamps of ext4, xfs and btrfs are *multigrain*: the first change of an inode after a process saw
//! its times is stamped with the time itself, unless a tick has passed in between, and no later
//! stamp of any inode is before that one (the kernel's `Documentation/filesystems/multigrain-ts`).
//! A change of several inodes has one stamp here: where the kernel would give a finer time to one
//! of them, all have it.

use std::collections::BTreeSet;

use super::effect::{Effect, Ino};
use super::tree::Tree;
use crate::base::time::Time;

/// The length of a tick in nanoseconds: that of a kernel with `HZ=250`.
pub const TICK: u64 = 4_000_000;

/// The clock of one mount.
#[derive(Default)]
pub(super) struct Stamps {
    now: Time,
    first_tick: Time,
    /// The last stamp that was finer than a tick.
    floor: Time,
    /// The inodes whose times a process saw since their last change.
    seen: BTreeSet<Ino>,
}

impl Stamps {
    pub(super) fn set_time(&mut self, at: Time) {
        self.now = at;
    }

    pub(super) fn set_first_tick(&mut self, at: Time) {
        self.first_tick = at;
    }

    /// The time of the last tick, or the last stamp if that is later.
    pub(super) fn coarse(&self) -> Time {
        let since = self.now.0.saturating_sub(self.first_tick.0);
        let tick = Time(self.now.0.min(self.first_tick.0) + since / TICK * TICK);
        tick.max(self.floor)
    }

    pub(super) fn see(&mut self, ino: Ino) {
        self.seen.insert(ino);
    }

    /// The stamp of a change that is about to be made.
    pub(super) fn next(&mut self, effect: &Effect<'_>, tree: &Tree) -> Time {
        let coarse = self.coarse();
        if self.seen.is_empty() {
            return coarse;
        }
        let mut noticed = false;
        for ino in stamped(effect, tree) {
            let last = tree.node(ino).map(|node| node.changed);
            noticed |= self.seen.remove(&ino) && last.is_some_and(|last| coarse <= last);
        }
        if noticed {
            self.floor = self.now.max(coarse);
        }
        self.coarse()
    }
}

/// The inodes whose times an effect moves.
fn stamped(effect: &Effect<'_>, tree: &Tree) -> Vec<Ino> {
    match *effect {
        Effect::Entry { dir, name, ino } => {
            [dir].into_iter().chain(tree.entry(dir, name)).chain(ino).collect()
        }
        Effect::Rename { from, old, to, new, .. } => {
            let moved = [tree.entry(from, old), tree.entry(to, new)];
            [from, to].into_iter().chain(moved.into_iter().flatten()).collect()
        }
        Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Mode { ino, .. }
        | Effect::Owner { ino, .. }
        | Effect::Times { ino, .. }
        | Effect::Attribute { ino, .. } => vec![ino],
        Effect::Inode { .. }
        | Effect::Free { .. }
        | Effect::Sync(_)
        | Effect::SyncFailed(_)
        | Effect::Evict { .. } => Vec::new(),
    }
}
