//! The room on a disk with a limit.
//!
//! Use is counted from the tree, so nothing is counted twice, and freed pages and inodes come back.

use std::collections::BTreeSet;

use super::content::{Content, PAGE};
use super::effect::Ino;
use super::errno::Errno;
use super::live::Disk;
use super::space::{Account, Space, directory_pages, pages};
use super::tree::{Body, Node};

impl Disk {
    /// Sets the limit of the disk, which may be below its present use.
    pub fn limit(&mut self, limit: Space) {
        self.account = Some(Account { limit, reserved: BTreeSet::new() });
    }

    /// The numbers of pages and inodes that the disk holds at most; `None` without a limit.
    pub fn capacity(&self) -> Option<(u64, u64)> {
        let Account { limit, .. } = self.account.as_ref()?;
        Some((limit.pages, limit.inodes))
    }

    /// The numbers of pages and inodes in use, including those of files without a name.
    pub fn used(&self) -> (u64, u64) {
        let reserved = self.account.as_ref().map_or(0, |account| account.reserved.len() as u64);
        let pages = self.tree.nodes().map(|(_, node)| match &node.body {
            Body::File(content) => content.resident(),
            Body::Directory(directory) => directory_pages(directory, None),
            Body::Symlink(_) => 0,
        });
        // The disk of a run has as much room as one whose root is the store's folder.
        let above = u64::from(self.tree.root() == Ino::MOUNT);
        (pages.sum::<u64>() + reserved - above, self.tree.nodes().count() as u64 - above)
    }

    /// Checks that there is room for an inode that takes this many pages.
    pub(super) fn room_for_inode(&self, pages: u64) -> Result<(), Errno> {
        let Some(Account { limit, .. }) = &self.account else { return Ok(()) };
        let (used, inodes) = self.used();
        let full = inodes >= limit.inodes || pages > 0 && used + pages > limit.pages;
        if full { Err(limit.error) } else { Ok(()) }
    }

    /// Checks that a directory has room for another name.
    pub(super) fn room_for_entry(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let Some(Account { limit, .. }) = &self.account else { return Ok(()) };
        let directory = self.tree.node(dir).and_then(Node::directory);
        let grows = directory.is_some_and(|directory| {
            !directory.entries.contains_key(name)
                && directory_pages(directory, Some(name)) > directory_pages(directory, None)
        });
        if grows && self.used().0 >= limit.pages { Err(limit.error) } else { Ok(()) }
    }

    /// How many of `length` bytes there is room for; at least one, or an error.
    pub(super) fn room_for_bytes(
        &self,
        ino: Ino,
        offset: u64,
        length: usize,
    ) -> Result<usize, Errno> {
        let Some(account) = self.account.as_ref().filter(|account| !account.limit.delayed) else {
            return Ok(length);
        };
        let mut room = account.limit.pages.saturating_sub(self.used().0);
        let content = self.tree.node(ino).and_then(Node::content);
        for page in pages(offset, length as u64) {
            let has = |content: &Content| content.page(page).is_some();
            if content.is_some_and(has) || account.reserved.contains(&(ino, page)) {
                continue;
            }
            if room == 0 {
                let fits = (page * PAGE as u64).saturating_sub(offset) as usize;
                return if fits == 0 { Err(account.limit.error) } else { Ok(fits) };
            }
            room -= 1;
        }
        Ok(length)
    }

    /// Checks that there is room for all pages of a range.
    pub(super) fn room_for_range(&self, ino: Ino, offset: u64, length: u64) -> Result<(), Errno> {
        let Some(account) = &self.account else { return Ok(()) };
        let content = self.tree.node(ino).and_then(Node::content);
        let is_new = |page: &u64| {
            let has = |content: &Content| content.page(*page).is_some();
            !content.is_some_and(has) && !account.reserved.contains(&(ino, *page))
        };
        let room = account.limit.pages.saturating_sub(self.used().0);
        let new = pages(offset, length).filter(is_new).take(room as usize + 1).count() as u64;
        if new > room { Err(account.limit.error) } else { Ok(()) }
    }

    /// The error of a sync that has to allocate pages and finds no room.
    pub(super) fn overdrawn(&self) -> Option<Errno> {
        let limit = self.account.as_ref()?.limit;
        (limit.delayed && self.used().0 > limit.pages).then_some(limit.error)
    }
}
