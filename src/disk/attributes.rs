//! Extended attributes: values by name, as ext4 keeps them for root.
//!
//! Errors are found in the order of the kernel's fs/xattr.c. The name spaces are `user` (of regular
//! files and directories), `trusted` and `security`.

use super::effect::{Effect, Ino, Kind};
use super::errno::Errno;
use super::linux::{XATTR_CREATE, XATTR_REPLACE};
use super::live::Disk;
use super::open::Handle;
use super::path::find;
use super::tree::{Attributes, Node};
use std::sync::Arc;

/// The names under which the permission bits, the owner and the times of an inode are pieces, like
/// attributes. No extended attribute has such a name: theirs have a name space.
pub(super) const MODE: &[u8] = b"mode";
pub(super) const OWNER: &[u8] = b"owner";
pub(super) const TIMES: &[u8] = b"times";

/// The longest value in bytes.
pub const VALUE_MAX: usize = 65_536;
/// The longest name in bytes, with its name space.
pub const ATTRIBUTE_NAME_MAX: usize = 255;

/// The bytes that attributes may take in an inode of 256 bytes, and in the one block that an inode
/// has for more of them (fs/ext4/xattr.c).
const IN_INODE: usize = 88;
const IN_BLOCK: usize = 4060;

/// The inode that a call on attributes is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The one that a path leads to from a directory, through a last symbolic link or not.
    Path(Ino, &'a [u8], bool),
    /// The one that is open.
    Handle(Handle),
}

/// The name within its name space.
fn suffix(name: &[u8]) -> Result<&[u8], Errno> {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    let known = spaces.iter().find_map(|space| name.strip_prefix(*space));
    match known {
        Some(b"") => Err(Errno::EINVAL),
        Some(suffix) => Ok(suffix),
        None => Err(Errno::EOPNOTSUPP),
    }
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    let valid = (1..=ATTRIBUTE_NAME_MAX).contains(&name.len()) && !name.contains(&0);
    if valid { Ok(()) } else { Err(Errno::ERANGE) }
}

/// Whether the kind of an inode can have this attribute.
fn fits(node: &Node, name: &[u8]) -> bool {
    !name.starts_with(b"user.") || matches!(node.kind(), Kind::File | Kind::Directory)
}

/// Whether all these attributes have room on ext4, as it packs them: each entry with its value in
/// the inode or, if that is full, in the block.
fn have_room(attributes: &Attributes) -> bool {
    let (mut inode, mut block) = (0, 0);
    for (name, value) in attributes {
        let name = suffix(name).map_or(name.len(), <[u8]>::len);
        let size = (16 + name).next_multiple_of(4) + value.len().next_multiple_of(4);
        let home = if inode + size <= IN_INODE { &mut inode } else { &mut block };
        *home += size;
    }
    block <= IN_BLOCK
}

impl Disk {
    fn subject(&self, subject: Subject<'_>) -> Result<Ino, Errno> {
        match subject {
            Subject::Path(base, path, follow) => find(&self.tree, base, path, follow),
            Subject::Handle(h) => {
                self.check_usable(h)?;
                self.ino(h)
            }
        }
    }

    /// The value of an attribute, as getxattr(2).
    ///
    /// # Errors
    /// Those of getxattr(2), except for the size of the buffer.
    pub fn attribute(&self, subject: Subject<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
        check_name(name)?;
        let node = self.node(self.subject(subject)?)?;
        if !fits(node, name) {
            return Err(Errno::ENODATA);
        }
        suffix(name)?;
        node.attributes.get(name).map(|value| value.to_vec()).ok_or(Errno::ENODATA)
    }

    /// The names of all attributes, each with a NUL after it, as listxattr(2).
    ///
    /// # Errors
    /// Those of listxattr(2), except for the size of the buffer.
    pub fn attribute_names(&self, subject: Subject<'_>) -> Result<Vec<u8>, Errno> {
        let node = self.node(self.subject(subject)?)?;
        Ok(node.attributes.keys().flat_map(|name| [name, &b"\0"[..]].concat()).collect())
    }

    /// Sets an attribute, as setxattr(2); to the value that it has already, it changes nothing.
    ///
    /// # Errors
    /// Those of setxattr(2); `ENOSPC` where ext4 has no room.
    pub fn set_attribute(
        &mut self,
        subject: Subject<'_>,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<(), Errno> {
        if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
            return Err(Errno::EINVAL);
        }
        check_name(name)?;
        if value.len() > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        let ino = self.changeable(subject, name)?;
        let mut attributes = self.node(ino)?.attributes.clone();
        let before = attributes.get(name);
        match before {
            Some(_) if flags & XATTR_CREATE != 0 => return Err(Errno::EEXIST),
            None if flags & XATTR_REPLACE != 0 => return Err(Errno::ENODATA),
            Some(before) if **before == *value => return Ok(()),
            _ => drop(attributes.insert(name.into(), value.into())),
        }
        if !have_room(&attributes) {
            return Err(Errno::ENOSPC);
        }
        self.change(&Effect::Attribute { ino, name, value: Some(value) });
        Ok(())
    }

    /// Removes an attribute, as removexattr(2).
    ///
    /// # Errors
    /// Those of removexattr(2).
    pub fn remove_attribute(&mut self, subject: Subject<'_>, name: &[u8]) -> Result<(), Errno> {
        check_name(name)?;
        let ino = self.changeable(subject, name)?;
        if !self.node(ino)?.attributes.contains_key(name) {
            return Err(Errno::ENODATA);
        }
        self.change(&Effect::Attribute { ino, name, value: None });
        Ok(())
    }

    /// The inode whose attribute a call may change.
    fn changeable(&self, subject: Subject<'_>, name: &[u8]) -> Result<Ino, Errno> {
        let ino = self.subject(subject)?;
        self.may_change()?;
        if !fits(self.node(ino)?, name) {
            return Err(Errno::EPERM);
        }
        suffix(name)?;
        Ok(ino)
    }
}

impl Node {
    /// Sets an extended attribute, or removes it; or the permission bits, or the owner.
    pub(super) fn set_attribute(&mut self, name: &[u8], value: Option<Arc<[u8]>>) {
        let words = |value: Option<Arc<[u8]>>| -> Vec<u32> {
            let value = value.unwrap_or_default();
            value.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
        };
        match (name, value) {
            (MODE, value) => self.mode = words(value).first().copied().unwrap_or(self.mode),
            (OWNER, value) => match words(value)[..] {
                [user, group] => self.owner = (user, group),
                [user, group, mode] => (self.owner, self.mode) = ((user, group), mode),
                _ => {}
            },
            // They follow from the newest change that is kept of the inode.
            (TIMES, _) => {}
            (name, Some(value)) => drop(self.attributes.insert(name.into(), value)),
            (name, None) => drop(self.attributes.remove(name)),
        }
    }

    /// Its permission bits as the value of a piece.
    pub(super) fn mode_value(&self) -> Arc<[u8]> {
        Arc::new(self.mode.to_le_bytes())
    }

    /// Its owner as the value of a piece, and its permission bits where these change too.
    pub(super) fn owner_value(&self, with_mode: bool) -> Arc<[u8]> {
        let words = [self.owner.0, self.owner.1, self.mode];
        let words = if with_mode { &words[..] } else { &words[..2] };
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
