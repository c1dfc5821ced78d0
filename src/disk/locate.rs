//! From inodes back to paths, and the calls that resolve a path.

use super::effect::Ino;
use super::errno::Errno;
use super::live::Disk;
use super::path::{Intent, LastComponent, ResolvedPath, find, must_be_directory, walk};
use super::tree::Node;

/// The name of an inode in a directory.
fn entry_of(dir: &Node, ino: Ino) -> Option<&[u8]> {
    let mut entries = dir.directory()?.entries.iter();
    entries.find_map(|(name, &entry)| (entry == ino).then_some(&**name))
}

impl Disk {
    /// The directory that a path leads to: a base for other paths.
    ///
    /// # Errors
    /// Those of path_resolution(7); `ENOTDIR` if it is not a directory.
    pub fn directory(&self, base: Ino, path: &[u8]) -> Result<Ino, Errno> {
        let ino = find(&self.tree, base, path, true)?;
        must_be_directory(&self.tree, ino)?;
        Ok(ino)
    }

    /// The absolute path of the inode that a path leads to, without symbolic links, `.` and `..`.
    ///
    /// # Errors
    /// Those of path_resolution(7); `ENOENT` if no path from the root leads to it any more.
    pub fn real_path(&self, base: Ino, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let place = walk(&self.tree, base, path, Intent::Follow)?;
        let ino = place.ino.ok_or(Errno::ENOENT)?;
        if place.slash {
            must_be_directory(&self.tree, ino)?;
        }
        self.place_path(&place).ok_or(Errno::ENOENT)
    }

    /// An absolute path of an inode; of several, the one whose directory has the lowest number.
    /// `None` if no name is left, or if the root does not lead to it.
    pub fn path_of(&self, ino: Ino) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while at != self.tree.root() {
            let (dir, name) = self.name_of(at)?;
            names.push(name);
            at = dir;
        }
        if names.is_empty() {
            return Some(b"/".to_vec());
        }
        Some(names.iter().rev().flat_map(|name| [b"/", *name].concat()).collect())
    }

    /// A directory that names an inode, and the name.
    fn name_of(&self, ino: Ino) -> Option<(Ino, &[u8])> {
        if let Some(directory) = self.tree.node(ino)?.directory() {
            return Some((directory.parent, entry_of(self.tree.node(directory.parent)?, ino)?));
        }
        self.tree.nodes().find_map(|(dir, node)| Some((dir, entry_of(node, ino)?)))
    }

    /// The absolute path of a resolved path; with the name by which it was reached, if there are
    /// several.
    pub(super) fn place_path(&self, place: &ResolvedPath) -> Option<Vec<u8>> {
        match &place.last {
            LastComponent::Name(name) => {
                let mut path = self.path_of(place.dir)?;
                if path.len() > 1 {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                Some(path)
            }
            _ => self.path_of(place.ino?),
        }
    }
}
