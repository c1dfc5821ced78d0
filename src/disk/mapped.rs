//! Files that are mapped into memory: the stores that arrive through a map, the sync of a range,
//! and the changes that a map has to show.

use std::collections::BTreeSet;

use super::content::{Content, PAGE};
use super::effect::{Allocation, Effect, Ino, Sync};
use super::errno::Errno;
use super::live::Disk;
use super::open::Handle;
use super::tree::{Node, Tree};

/// A change of a mapped file, which its maps have to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    /// The size is another one; what lay beyond a smaller one is gone.
    Size(Ino, u64),
    /// This many bytes from an offset on are others; beyond the end of the file they are zeros.
    Bytes(Ino, u64, u64),
}

/// The files that are mapped, and what has happened to them.
#[derive(Default)]
pub(super) struct Watch {
    files: BTreeSet<Ino>,
    changes: Vec<FileChange>,
}

impl Watch {
    /// Notes a change that is about to be made.
    #[inline]
    pub(super) fn note(&mut self, effect: &Effect<'_>, tree: &Tree) {
        if !self.files.is_empty() {
            self.note_change(effect, tree);
        }
    }

    #[cold]
    fn note_change(&mut self, effect: &Effect<'_>, tree: &Tree) {
        let (Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Evict { ino, .. }) = *effect
        else {
            return;
        };
        if !self.files.contains(&ino) {
            return;
        }
        let old = tree.node(ino).and_then(Node::content).map_or(0, Content::size);
        let page = PAGE as u64;
        let (size, bytes) = match *effect {
            Effect::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                (old.max(end), Some((offset, end - offset)))
            }
            Effect::Size { size, .. } => (size, None),
            Effect::Allocate { offset, length, what, .. } => {
                let zeroes = matches!(what, Allocation::Punch | Allocation::Zero);
                let grows = matches!(what, Allocation::Extend | Allocation::Zero);
                let size = if grows { old.max(offset.saturating_add(length)) } else { old };
                (size, zeroes.then_some((offset, length)))
            }
            Effect::Evict { size, block, .. } => (size, Some((block * page, page))),
            _ => return,
        };
        if size != old {
            self.changes.push(FileChange::Size(ino, size));
        }
        // What was stored beyond the end, in the last page, is not in the file when it grows, and
        // a truncation drops it.
        let ends = matches!(effect, Effect::Size { .. }) && size == old;
        if (size > old || ends) && !old.is_multiple_of(page) {
            self.changes.push(FileChange::Bytes(ino, old, page - old % page));
        }
        self.changes.extend(bytes.map(|(offset, length)| FileChange::Bytes(ino, offset, length)));
    }
}

impl Disk {
    /// From now on changes of a file are noted for [`Disk::take_changes`].
    pub(crate) fn watch(&mut self, ino: Ino) {
        self.watch.files.insert(ino);
    }

    /// Ends [`Disk::watch`].
    pub(crate) fn unwatch(&mut self, ino: Ino) {
        self.watch.files.remove(&ino);
    }

    /// The changes of the watched files since the last call of this, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<FileChange> {
        std::mem::take(&mut self.watch.changes)
    }

    /// The bytes of a file, as processes see them.
    pub(crate) fn content(&self, ino: Ino) -> Option<&Content> {
        self.tree.node(ino).and_then(Node::content)
    }

    /// Bytes were stored through a map. A store never makes a file longer: bytes beyond its end
    /// are ignored.
    pub(crate) fn store(&mut self, ino: Ino, offset: u64, bytes: &[u8]) {
        let inside = self.size(ino).saturating_sub(offset).min(bytes.len() as u64) as usize;
        if inside > 0 {
            self.change(&Effect::Write { ino, offset, bytes: &bytes[..inside] });
        }
    }

    /// How many pages that are holes may still be stored to; `None` without a limit, and where
    /// only a sync notices it.
    pub(crate) fn room_for_stores(&self) -> Option<u64> {
        let limit = self.account.as_ref()?.limit;
        (!limit.delayed).then(|| limit.pages.saturating_sub(self.used().0))
    }

    /// The pages of a file that have their place on the disk, so that a store needs no room.
    pub(crate) fn places(&self, ino: Ino) -> Vec<u64> {
        let held = self.content(ino).into_iter().flat_map(Content::pages);
        let reserved = self.account.iter().flat_map(|account| &account.reserved);
        let reserved = reserved.filter(|(of, _)| *of == ino);
        held.map(|(page, _)| page).chain(reserved.map(|&(_, page)| page)).collect()
    }

    /// `msync` with `MS_SYNC`: a `fdatasync` of a range alone, as `vfs_fsync_range` does it.
    ///
    /// # Errors
    /// As [`Disk::fsync`], on the description that was mapped.
    pub fn sync_mapped(&mut self, h: Handle, offset: u64, length: u64) -> Result<(), Errno> {
        let ino = self.opens.get(h)?.ino;
        self.report_error(h)?;
        let sync = Sync::Written { ino, offset, length, data_only: true };
        self.find_room(sync, &[ino]);
        self.report_error(h)?;
        self.change(&Effect::Sync(sync));
        Ok(())
    }

    /// As [`Disk::fail_sync`], for [`Disk::sync_mapped`].
    ///
    /// # Errors
    /// As [`Disk::fail_sync`].
    pub fn fail_sync_mapped(&mut self, h: Handle, offset: u64, length: u64) -> Result<(), Errno> {
        let ino = self.opens.get(h)?.ino;
        self.fail_sync_of(h, Sync::Written { ino, offset, length, data_only: true })
    }
}
