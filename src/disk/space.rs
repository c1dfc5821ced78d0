//! The limit of a disk in pages and inodes, and the reservations under it.

use std::collections::BTreeSet;

use super::content::PAGE;
use super::effect::{Allocation, Effect, Ino};
use super::errno::Errno;
use super::tree::{Directory, Node, Tree};

/// The most that a disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Space {
    /// Pages of 4096 bytes, including those of directories.
    pub pages: u64,
    /// Inodes, including the root.
    pub inodes: u64,
    /// The error of a call that finds no room: `ENOSPC`, or `EDQUOT` for a quota.
    pub error: Errno,
    /// Whether pages are allocated when they are written back, not by the call that fills them: a
    /// sync finds no room, and the pages are lost. Only where the profile delays allocation.
    pub delayed: bool,
}

/// A limit and the reservations under it.
pub(super) struct Account {
    pub(super) limit: Space,
    /// Pages that `fallocate` reserved and that were not written since.
    pub(super) reserved: BTreeSet<(Ino, u64)>,
}

impl Account {
    /// Updates the reservations after a change of the tree.
    pub(super) fn follow(&mut self, effect: &Effect<'_>, tree: &Tree) {
        match *effect {
            Effect::Allocate { ino, offset, length, what } => {
                let content = tree.node(ino).and_then(Node::content);
                for page in pages(offset, length) {
                    let free = content.is_some_and(|content| content.page(page).is_none());
                    if free && what != Allocation::Punch {
                        self.reserved.insert((ino, page));
                    } else {
                        self.reserved.remove(&(ino, page));
                    }
                }
            }
            Effect::Write { ino, offset, bytes } => {
                for page in pages(offset, bytes.len() as u64) {
                    self.reserved.remove(&(ino, page));
                }
            }
            Effect::Size { ino, size } => {
                let kept = size.div_ceil(PAGE as u64);
                self.reserved.retain(|&(of, page)| of != ino || page < kept);
            }
            Effect::Free { ino } => self.reserved.retain(|(of, _)| *of != ino),
            _ => {}
        }
    }
}

/// The pages that a range touches.
pub(super) fn pages(offset: u64, length: u64) -> std::ops::Range<u64> {
    offset / PAGE as u64..(offset + length).div_ceil(PAGE as u64)
}

/// How many pages the entries of a directory take, as ext4 packs them.
pub(super) fn directory_pages(directory: &Directory, new: Option<&[u8]>) -> u64 {
    let names = directory.entries.keys().map(AsRef::as_ref).chain(new);
    let bytes: u64 = names.map(|name: &[u8]| (8 + name.len() as u64).next_multiple_of(4)).sum();
    (24 + bytes).div_ceil(PAGE as u64)
}
