//! Open file descriptions: `open` returns them, and descriptors share them.

use super::effect::{Ino, Kind};
use super::errno::Errno;
use super::linux::O_PATH;

/// The number of an open file description, which has an inode, an offset and flags. Numbers are
/// reused after the last reference is closed, like those of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(u32);

impl Handle {
    /// The number, counted from 0.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// An open file description.
pub(super) struct Open {
    pub ino: Ino,
    pub kind: Kind,
    pub flags: i32,
    pub offset: u64,
    /// May be read from; false with `O_PATH`.
    pub readable: bool,
    /// May be written to; false with `O_PATH`.
    pub writable: bool,
    /// How many failed write-backs of the file, and of all files, it has reported.
    pub seen: u32,
    pub seen_all: u32,
    /// Made by `O_TMPFILE` and not named yet: it may still get a first name.
    pub linkable: bool,
    pub references: u32,
    pub path: Box<[u8]>,
}

/// All open file descriptions.
#[derive(Default)]
pub(super) struct Opens {
    slots: Vec<Option<Open>>,
    free: Vec<u32>,
}

impl Opens {
    pub(super) fn get(&self, h: Handle) -> Result<&Open, Errno> {
        self.slots.get(h.0 as usize).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    pub(super) fn get_mut(&mut self, h: Handle) -> Result<&mut Open, Errno> {
        self.slots.get_mut(h.0 as usize).and_then(Option::as_mut).ok_or(Errno::EBADF)
    }

    /// Whether any handle refers to an inode. This is a scan: it happens only when a name or a
    /// handle goes, and a process has few handles.
    pub(super) fn refer_to(&self, ino: Ino) -> bool {
        self.slots.iter().flatten().any(|open| open.ino == ino)
    }

    pub(super) fn insert(&mut self, open: Open) -> Handle {
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = Some(open);
            return Handle(number);
        }
        self.slots.push(Some(open));
        Handle(self.slots.len() as u32 - 1)
    }

    /// Drops one reference; returns the description if that was the last.
    pub(super) fn release(&mut self, h: Handle) -> Result<Option<Open>, Errno> {
        let open = self.get_mut(h)?;
        open.references -= 1;
        if open.references > 0 {
            return Ok(None);
        }
        self.free.push(h.0);
        Ok(self.slots[h.0 as usize].take())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Open {
    /// `EBADF` for a handle opened with `O_PATH`, which names an inode and can do nothing else.
    pub(super) fn must_be_usable(&self) -> Result<(), Errno> {
        if self.flags & O_PATH == 0 { Ok(()) } else { Err(Errno::EBADF) }
    }
}
