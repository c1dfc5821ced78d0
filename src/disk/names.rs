//! Names: the calls that make, move and remove entries of directories.
//!
//! Errors are found in the order of `do_renameat2` and its neighbours in the kernel's fs/namei.c.

use super::effect::{Effect, Ino, Kind};
use super::errno::Errno;
use super::linux::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use super::live::Disk;
use super::open::Handle;
use super::path::{Intent, LastComponent, PATH_MAX, ResolvedPath, find, kind, lookup, walk};
use super::tree::{Body, Node};

/// How many names an inode may have: ext4's limit.
pub const LINK_MAX: u32 = 65_000;

impl Disk {
    /// Makes a directory. `mode` is used as it is: the caller applies the umask.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn mkdir(&mut self, base: Ino, path: &[u8], mode: u32) -> Result<(), Errno> {
        let (dir, name) = self.vacancy(base, path, true)?;
        self.may_change()?;
        self.room_for_inode(1)?;
        self.room_for_entry(dir, &name)?;
        let ino = self.new_inode(Kind::Directory, mode & 0o1777, b"");
        self.change(&Effect::Entry { dir, name: &name, ino: Some(ino) });
        Ok(())
    }

    /// Makes an empty file, as mknod(2) with `S_IFREG`. `mode` is used as it is.
    ///
    /// # Errors
    /// Those of mknod(2).
    pub fn make_file(&mut self, base: Ino, path: &[u8], mode: u32) -> Result<(), Errno> {
        let (dir, name) = self.vacancy(base, path, false)?;
        self.may_change()?;
        self.room_for_inode(0)?;
        self.room_for_entry(dir, &name)?;
        let ino = self.new_inode(Kind::File, mode, b"");
        self.change(&Effect::Entry { dir, name: &name, ino: Some(ino) });
        Ok(())
    }

    /// Makes a symbolic link that points to `target`, which need not exist.
    ///
    /// # Errors
    /// Those of symlink(2).
    pub fn symlink(&mut self, target: &[u8], base: Ino, path: &[u8]) -> Result<(), Errno> {
        match target {
            [] => return Err(Errno::ENOENT),
            _ if target.len() > PATH_MAX => return Err(Errno::ENAMETOOLONG),
            _ if target.contains(&0) => return Err(Errno::EINVAL),
            _ => {}
        }
        let (dir, name) = self.vacancy(base, path, false)?;
        self.may_change()?;
        self.room_for_inode(0)?;
        self.room_for_entry(dir, &name)?;
        let ino = self.new_inode(Kind::Symlink, 0o777, target);
        self.change(&Effect::Entry { dir, name: &name, ino: Some(ino) });
        Ok(())
    }

    /// The target of the symbolic link at a path.
    ///
    /// # Errors
    /// Those of readlink(2); `EINVAL` for anything but a symbolic link.
    pub fn readlink(&self, base: Ino, path: &[u8]) -> Result<Vec<u8>, Errno> {
        match &self.node(find(&self.tree, base, path, false)?)?.body {
            Body::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The target of a symbolic link that is open by `O_PATH`, as readlinkat(2) with an empty path.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, `ENOENT` if it is no link.
    pub fn readlink_handle(&self, h: Handle) -> Result<Vec<u8>, Errno> {
        match &self.node(self.opens.get(h)?.ino)?.body {
            Body::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::ENOENT),
        }
    }

    /// Gives an inode another name. If `old` is a symbolic link, the link itself gets the name,
    /// unless `follow` (`AT_SYMLINK_FOLLOW`) is true.
    ///
    /// # Errors
    /// Those of linkat(2).
    pub fn link(
        &mut self,
        old_base: Ino,
        old: &[u8],
        new_base: Ino,
        new: &[u8],
        follow: bool,
    ) -> Result<(), Errno> {
        let ino = find(&self.tree, old_base, old, follow)?;
        self.link_ino(ino, new_base, new, false)
    }

    /// Gives an open inode a name, as linkat(2) with `AT_EMPTY_PATH`: the first one of a file
    /// that was opened with `O_TMPFILE` and without `O_EXCL`.
    ///
    /// # Errors
    /// Those of linkat(2); `ENOENT` if the last name of the inode is gone.
    pub fn link_handle(&mut self, h: Handle, base: Ino, new: &[u8]) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        self.link_ino(open.ino, base, new, open.linkable)?;
        self.opens.get_mut(h)?.linkable = false;
        Ok(())
    }

    fn link_ino(
        &mut self,
        ino: Ino,
        base: Ino,
        new: &[u8],
        may_be_first: bool,
    ) -> Result<(), Errno> {
        let (dir, name) = self.vacancy(base, new, false)?;
        let node = self.node(ino)?;
        match node.links {
            _ if node.kind() == Kind::Directory => return Err(Errno::EPERM),
            0 if !may_be_first => return Err(Errno::ENOENT),
            LINK_MAX.. => return Err(Errno::EMLINK),
            _ => {}
        }
        self.may_change()?;
        self.room_for_entry(dir, &name)?;
        self.change(&Effect::Entry { dir, name: &name, ino: Some(ino) });
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub fn rmdir(&mut self, base: Ino, path: &[u8]) -> Result<(), Errno> {
        let place = walk(&self.tree, base, path, Intent::Entry)?;
        let name = place.name(match place.last {
            LastComponent::Dot => Errno::EINVAL,
            LastComponent::DotDot => Errno::ENOTEMPTY,
            _ => Errno::EBUSY,
        })?;
        let ino = lookup(&self.tree, place.dir, name)?.ok_or(Errno::ENOENT)?;
        if kind(&self.tree, ino) != Some(Kind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        self.may_change()?;
        self.must_be_empty(ino)?;
        self.remove(place.dir, name, ino);
        Ok(())
    }

    /// Removes a name of a file or symbolic link. Its inode remains while it has other names or is
    /// open.
    ///
    /// # Errors
    /// Those of unlink(2) on Linux: `EISDIR` for a directory.
    pub fn unlink(&mut self, base: Ino, path: &[u8]) -> Result<(), Errno> {
        let place = walk(&self.tree, base, path, Intent::Entry)?;
        let name = place.name(Errno::EISDIR)?;
        let ino = lookup(&self.tree, place.dir, name)?.ok_or(Errno::ENOENT)?;
        if kind(&self.tree, ino) == Some(Kind::Directory) {
            return Err(Errno::EISDIR);
        }
        if place.slash {
            return Err(Errno::ENOTDIR);
        }
        self.may_change()?;
        self.remove(place.dir, name, ino);
        Ok(())
    }

    fn remove(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        self.change(&Effect::Entry { dir, name, ino: None });
        self.free_if_unused(ino);
    }

    /// Moves a name, replacing the inode of the new one. `flags` is 0, `RENAME_NOREPLACE` or
    /// `RENAME_EXCHANGE`. Two names of one inode stay as they are.
    ///
    /// # Errors
    /// Those of rename(2); `EINVAL` for other flags.
    pub fn rename(
        &mut self,
        old_base: Ino,
        old: &[u8],
        new_base: Ino,
        new: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        let keep = flags == RENAME_NOREPLACE;
        let exchange = flags == RENAME_EXCHANGE;
        if flags != 0 && !keep && !exchange {
            return Err(Errno::EINVAL);
        }
        let from = walk(&self.tree, old_base, old, Intent::Entry)?;
        let to = walk(&self.tree, new_base, new, Intent::Entry)?;
        let old = from.name(Errno::EBUSY)?;
        let new = to.name(if keep { Errno::EEXIST } else { Errno::EBUSY })?;
        let moved = lookup(&self.tree, from.dir, old)?.ok_or(Errno::ENOENT)?;
        let replaced = lookup(&self.tree, to.dir, new)?;
        if keep && replaced.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange && replaced.is_none() {
            return Err(Errno::ENOENT);
        }
        self.check_move(&from, moved, &to, replaced, exchange)?;
        if replaced == Some(moved) {
            return Ok(());
        }
        if let (Some(replaced), false) = (replaced, exchange) {
            self.check_replace(moved, replaced)?;
        }
        self.may_change()?;
        self.room_for_entry(to.dir, new)?;
        self.change(&Effect::Rename { from: from.dir, old, to: to.dir, new, exchange });
        if let Some(replaced) = replaced {
            self.free_if_unused(replaced);
        }
        Ok(())
    }

    /// Checks the names of a move: slashes after files, loops of directories.
    fn check_move(
        &self,
        from: &ResolvedPath,
        moved: Ino,
        to: &ResolvedPath,
        replaced: Option<Ino>,
        exchange: bool,
    ) -> Result<(), Errno> {
        let is_directory = |ino| kind(&self.tree, ino) == Some(Kind::Directory);
        if exchange && to.slash && !replaced.is_some_and(is_directory) {
            return Err(Errno::ENOTDIR);
        }
        if (from.slash || to.slash && !exchange) && !is_directory(moved) {
            return Err(Errno::ENOTDIR);
        }
        if self.is_inside(to.dir, moved) {
            return Err(Errno::EINVAL);
        }
        if replaced.is_some_and(|replaced| self.is_inside(from.dir, replaced)) {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        Ok(())
    }

    /// Checks that one inode may replace another.
    fn check_replace(&self, moved: Ino, replaced: Ino) -> Result<(), Errno> {
        let is_directory = |ino| kind(&self.tree, ino) == Some(Kind::Directory);
        match (is_directory(moved), is_directory(replaced)) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (true, true) => self.must_be_empty(replaced),
            (false, false) => Ok(()),
        }
    }

    /// Whether a directory is `outer` or somewhere below it.
    fn is_inside(&self, dir: Ino, outer: Ino) -> bool {
        let mut at = dir;
        while at != outer && at != self.tree.root() {
            match self.tree.node(at).and_then(Node::directory) {
                Some(directory) => at = directory.parent,
                None => return false,
            }
        }
        at == outer
    }

    fn must_be_empty(&self, dir: Ino) -> Result<(), Errno> {
        let directory = self.node(dir)?.directory().ok_or(Errno::ENOTDIR)?;
        if directory.entries.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
    }

    /// The directory and the name for a new inode at a path.
    fn vacancy(&self, base: Ino, path: &[u8], directory: bool) -> Result<(Ino, Vec<u8>), Errno> {
        let place = walk(&self.tree, base, path, Intent::Entry)?;
        let name = place.name(Errno::EEXIST)?;
        if lookup(&self.tree, place.dir, name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        if place.slash && !directory {
            return Err(Errno::ENOENT);
        }
        Ok((place.dir, name.to_vec()))
    }
}
