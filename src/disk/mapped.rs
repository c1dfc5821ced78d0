//! Files that are mapped into memory: stores that arrive through a map, and the sync of a range.

use super::content::{Content, PAGE};
use super::effect::{Effect, Ino, Sync};
use super::errno::Errno;
use super::live::Disk;
use super::open::Handle;
use super::tree::Node;
use super::watch::FileChange;

impl Disk {
    /// From now on changes of a file are noted for [`Disk::take_changes`].
    pub(crate) fn watch(&mut self, ino: Ino) {
        self.watch.add(ino);
    }

    /// Ends [`Disk::watch`].
    pub(crate) fn unwatch(&mut self, ino: Ino) {
        self.watch.remove(ino);
    }

    /// The changes of the watched files since the last call of this, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<FileChange> {
        self.watch.take()
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

    /// As `Disk::store`, of any number of bytes, page by page: nothing orders the pages.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn store_pages(&mut self, h: Handle, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (ino, mut offset, mut rest) = (self.opens.get(h)?.ino, offset, bytes);
        while !rest.is_empty() {
            let in_page = PAGE - (offset % PAGE as u64) as usize;
            let (now, later) = rest.split_at(in_page.min(rest.len()));
            self.store(ino, offset, now);
            offset += now.len() as u64;
            rest = later;
        }
        Ok(())
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
