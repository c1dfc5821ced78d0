//! Path resolution: from names to inodes, through `.`, `..` and symbolic links.
//!
//! Errors are found in the order of `link_path_walk` and `open_last_lookups` of the kernel's
//! fs/namei.c, since a path may be wrong in several ways at once.

use std::borrow::Cow;

use super::effect::{Ino, Kind};
use super::errno::Errno;
use super::tree::{Body, Node, Tree};

/// The longest name in bytes.
pub const NAME_MAX: usize = 255;
/// The longest path in bytes: `PATH_MAX` of the C library counts a final NUL too.
pub const PATH_MAX: usize = 4095;
/// How many symbolic links one path may lead through.
pub const SYMLINKS_MAX: u32 = 40;

/// The way in which a call uses the last name of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Changes the entry itself: the name is not even looked up.
    Entry,
    /// Uses the inode that it leads to, which may be a symbolic link, unless a slash follows it.
    Keep,
    /// Uses the inode that it leads to, through symbolic links.
    Follow,
    /// Uses the inode that it leads to, or creates it (`O_CREAT`); a slash may not follow it.
    Create {
        /// Whether symbolic links are followed.
        follow: bool,
    },
}

impl Intent {
    fn follows(self, slash: bool) -> bool {
        match self {
            Self::Entry => false,
            Self::Keep => slash,
            Self::Follow => true,
            Self::Create { follow } => follow,
        }
    }
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LastComponent {
    Name(Vec<u8>),
    Dot,
    DotDot,
    Root,
}

impl LastComponent {
    fn of(component: &[u8]) -> Self {
        match component {
            b"." => Self::Dot,
            b".." => Self::DotDot,
            name => Self::Name(name.to_vec()),
        }
    }
}

/// The outcome of a path's resolution.
pub(super) struct ResolvedPath {
    /// The directory of the last component.
    pub dir: Ino,
    /// The last component.
    pub last: LastComponent,
    /// Whether a slash follows it.
    pub slash: bool,
    /// The inode that it leads to, if it exists; not looked up for [`Intent::Entry`].
    pub ino: Option<Ino>,
}

impl ResolvedPath {
    /// The name to change, or `error` for `.`, `..` and `/`, which are no entries.
    pub(super) fn name(&self, error: Errno) -> Result<&[u8], Errno> {
        match &self.last {
            LastComponent::Name(name) => Ok(name),
            _ => Err(error),
        }
    }
}

/// Walks a path.
pub(super) fn walk(
    tree: &Tree,
    base: Ino,
    path: &[u8],
    intent: Intent,
) -> Result<ResolvedPath, Errno> {
    check(path)?;
    let (mut dir, mut links) = (base, 0);
    let (mut text, mut at) = (Cow::Borrowed(path), 0);
    if path[0] == b'/' {
        dir = tree.root();
    }
    must_be_directory(tree, dir)?;
    loop {
        let Some((start, end)) = component(&text, at) else {
            return Ok(ResolvedPath {
                dir,
                last: LastComponent::Root,
                slash: true,
                ino: Some(dir),
            });
        };
        let (name, rest) = (&text[start..end], &text[end..]);
        let is_last = rest.iter().all(|&b| b == b'/');
        let slash = is_last && !rest.is_empty();
        let place = |ino| ResolvedPath { dir, last: LastComponent::of(name), slash, ino };
        if is_last && intent == Intent::Entry {
            return Ok(place(None));
        }
        let is_created = is_last && matches!(intent, Intent::Create { .. });
        if is_created && slash && !matches!(name, b"." | b"..") {
            return Err(Errno::EISDIR);
        }
        let found = step(tree, dir, name)?;
        if let Some(target) = found.and_then(|ino| link_target(tree, ino))
            && (!is_last || intent.follows(slash))
        {
            links += 1;
            if links > SYMLINKS_MAX {
                return Err(Errno::ELOOP);
            }
            if target.first() == Some(&b'/') {
                dir = tree.root();
            }
            text = Cow::Owned([target, rest].concat());
            at = 0;
            continue;
        }
        if is_last {
            return Ok(place(found));
        }
        dir = found.ok_or(Errno::ENOENT)?;
        must_be_directory(tree, dir)?;
        at = end;
    }
}

/// Walks a path to something that exists.
pub(super) fn find(tree: &Tree, base: Ino, path: &[u8], follow: bool) -> Result<Ino, Errno> {
    let place = walk(tree, base, path, if follow { Intent::Follow } else { Intent::Keep })?;
    let ino = place.ino.ok_or(Errno::ENOENT)?;
    if place.slash {
        must_be_directory(tree, ino)?;
    }
    Ok(ino)
}

/// The inode that a name leads to, in a directory that can still be used.
pub(super) fn lookup(tree: &Tree, dir: Ino, name: &[u8]) -> Result<Option<Ino>, Errno> {
    let node = tree.node(dir).ok_or(Errno::ENOENT)?;
    // A directory that was removed while open has no entries and accepts none.
    if node.links == 0 {
        return Err(Errno::ENOENT);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let directory = node.directory().ok_or(Errno::ENOTDIR)?;
    Ok(directory.entries.get(name).copied())
}

/// The type of an inode, if it exists.
pub(super) fn kind(tree: &Tree, ino: Ino) -> Option<Kind> {
    tree.node(ino).map(Node::kind)
}

fn check(path: &[u8]) -> Result<(), Errno> {
    match path {
        [] => Err(Errno::ENOENT),
        _ if path.len() > PATH_MAX => Err(Errno::ENAMETOOLONG),
        // C's paths cannot hold a NUL. Those of a direct caller can, but no name may.
        _ if path.contains(&0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

pub(super) fn must_be_directory(tree: &Tree, ino: Ino) -> Result<(), Errno> {
    match kind(tree, ino) {
        Some(Kind::Directory) => Ok(()),
        Some(_) => Err(Errno::ENOTDIR),
        None => Err(Errno::ENOENT),
    }
}

/// The bounds of the next component of a path; `None` if only slashes are left.
fn component(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = at + text[at..].iter().position(|&b| b != b'/')?;
    let length = text[start..].iter().position(|&b| b == b'/');
    Some((start, length.map_or(text.len(), |length| start + length)))
}

fn step(tree: &Tree, dir: Ino, component: &[u8]) -> Result<Option<Ino>, Errno> {
    match component {
        b"." => Ok(Some(dir)),
        b".." => Ok(tree.node(dir).and_then(Node::directory).map(|directory| directory.parent)),
        name => lookup(tree, dir, name),
    }
}

fn link_target(tree: &Tree, ino: Ino) -> Option<&[u8]> {
    match &tree.node(ino)?.body {
        Body::Symlink(target) => Some(target),
        _ => None,
    }
}
