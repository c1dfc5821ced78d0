//! The calls on the attributes of an inode: stat(2), listings, permissions and times.

use super::content::PAGE;
use super::effect::{Effect, Ino, Kind};
use super::errno::Errno;
use super::linux;
use super::live::Disk;
use super::open::Handle;
use super::path::{find, kind};
use super::tree::{Body, Directory, Node};
use crate::base::digest::hash;
use crate::base::time::Time;

/// The unit in which [`Stat::blocks`] counts, in bytes.
const SECTOR: u64 = 512;

/// The attributes that stat(2) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The number of the inode.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// Type bits (`S_IFREG`, ...) and permission bits.
    pub mode: u32,
    /// Its user and its group.
    pub owner: (u32, u32),
    /// How many names it has; for a directory, 2 plus its sub-directories, 0 once removed.
    pub nlink: u64,
    /// Its size in bytes: of a symbolic link the length of its target, of a directory one block.
    pub size: u64,
    /// How many units of 512 bytes hold bytes of it; reserved ones do not count.
    pub blocks: u64,
    /// The preferred unit of reading and writing, in bytes.
    pub block_size: u64,
    /// The time of last access, as last set by a call.
    pub accessed: Time,
    /// When its content last changed.
    pub modified: Time,
    /// When anything of it last changed.
    pub changed: Time,
    /// When it was created.
    pub created: Time,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Vec<u8>,
    /// The inode that it leads to.
    pub ino: Ino,
    /// The type of that inode.
    pub kind: Kind,
}

fn type_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File => linux::S_IFREG,
        Kind::Directory => linux::S_IFDIR,
        Kind::Symlink => linux::S_IFLNK,
    }
}

impl Disk {
    /// The attributes of an open file, as fstat(2); a handle of `O_PATH` is enough.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn stat(&self, h: Handle) -> Result<Stat, Errno> {
        self.stat_ino(self.opens.get(h)?.ino)
    }

    /// The attributes of the inode that a path leads to; of the link itself if it is a symbolic
    /// link and `follow` is false (lstat(2)).
    ///
    /// # Errors
    /// Those of path_resolution(7).
    pub fn stat_path(&self, base: Ino, path: &[u8], follow: bool) -> Result<Stat, Errno> {
        self.stat_ino(find(&self.tree, base, path, follow)?)
    }

    fn stat_ino(&self, ino: Ino) -> Result<Stat, Errno> {
        let node = self.node(ino)?;
        let (nlink, size, pages) = match &node.body {
            Body::File(content) => (u64::from(node.links), content.size(), content.resident()),
            Body::Directory(directory) => (self.directory_links(node, directory), PAGE as u64, 1),
            Body::Symlink(target) => (u64::from(node.links), target.len() as u64, 0),
        };
        Ok(Stat {
            ino,
            kind: node.kind(),
            mode: type_bits(node.kind()) | node.mode,
            owner: node.owner,
            nlink,
            size,
            blocks: pages * (PAGE as u64 / SECTOR),
            block_size: PAGE as u64,
            accessed: node.accessed,
            modified: node.modified,
            changed: node.changed,
            created: node.created,
        })
    }

    /// The link count of a directory: the name in its parent, its own `.`, and the `..` of each
    /// sub-directory.
    fn directory_links(&self, node: &Node, directory: &Directory) -> u64 {
        if node.links == 0 {
            return 0;
        }
        let inside = directory.entries.values();
        2 + inside.filter(|&&ino| kind(&self.tree, ino) == Some(Kind::Directory)).count() as u64
    }

    /// The entries of an open directory: `.` and `..`, then the others in an order that is fixed
    /// but not sorted, as on file systems that hash names, so that engines which rely on a sorted
    /// order fail.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `ENOTDIR` if it is no directory;
    /// `ENOENT` if it was removed.
    pub fn list(&self, h: Handle) -> Result<Vec<Listed>, Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let node = self.node(open.ino)?;
        let directory = node.directory().ok_or(Errno::ENOTDIR)?;
        if node.links == 0 {
            return Err(Errno::ENOENT);
        }
        let dots = [(&b"."[..], open.ino), (&b".."[..], directory.parent)];
        let mut entries: Vec<_> =
            directory.entries.iter().map(|(name, &ino)| (hash(name), &**name, ino)).collect();
        entries.sort_unstable();
        let entries = entries.into_iter().map(|(_, name, ino)| (name, ino));
        let listed = |(name, ino): (&[u8], Ino)| {
            Some(Listed { name: name.to_vec(), ino, kind: kind(&self.tree, ino)? })
        };
        Ok(dots.into_iter().chain(entries).filter_map(listed).collect())
    }

    /// Checks that root may use a file, as access(2): `mode` is `F_OK` or bits of `R_OK`, `W_OK`
    /// and `X_OK`.
    ///
    /// # Errors
    /// Those of path_resolution(7); `EINVAL` for other bits; `EACCES` for `X_OK` of a file with
    /// no execute bit.
    pub fn access(&self, base: Ino, path: &[u8], mode: i32) -> Result<(), Errno> {
        if mode & !(linux::R_OK | linux::W_OK | linux::X_OK) != 0 {
            return Err(Errno::EINVAL);
        }
        self.access_ino(find(&self.tree, base, path, true)?, mode)
    }

    /// As [`Disk::access`], for an open file; a handle of `O_PATH` is enough.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there; otherwise those of [`Disk::access`].
    pub fn access_handle(&self, h: Handle, mode: i32) -> Result<(), Errno> {
        if mode & !(linux::R_OK | linux::W_OK | linux::X_OK) != 0 {
            return Err(Errno::EINVAL);
        }
        self.access_ino(self.opens.get(h)?.ino, mode)
    }

    fn access_ino(&self, ino: Ino, mode: i32) -> Result<(), Errno> {
        let node = self.node(ino)?;
        let runs = node.kind() == Kind::Directory || node.mode & 0o111 != 0;
        if mode & linux::X_OK != 0 && !runs { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Sets permission bits, as fchmod(2).
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`.
    pub fn chmod(&mut self, h: Handle, mode: u32) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let ino = open.ino;
        self.may_change()?;
        self.change(&Effect::Mode { ino, mode: mode & 0o7777 });
        Ok(())
    }

    /// Sets the permission bits of the inode that a path leads to, as fchmodat2(2); `follow` is
    /// false with `AT_SYMLINK_NOFOLLOW`.
    ///
    /// # Errors
    /// Those of path_resolution(7); `EOPNOTSUPP` for a symbolic link, whose bits cannot be set.
    pub fn chmod_path(
        &mut self,
        base: Ino,
        path: &[u8],
        mode: u32,
        follow: bool,
    ) -> Result<(), Errno> {
        let ino = find(&self.tree, base, path, follow)?;
        if kind(&self.tree, ino) == Some(Kind::Symlink) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.may_change()?;
        self.change(&Effect::Mode { ino, mode: mode & 0o7777 });
        Ok(())
    }

    /// Sets the owner of an open file, as fchown(2); `None` leaves the user or the group as it is.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`.
    pub fn chown(&mut self, h: Handle, owner: (Option<u32>, Option<u32>)) -> Result<(), Errno> {
        self.opens.get(h)?.must_be_usable()?;
        self.chown_by_handle(h, owner)
    }

    /// As [`Disk::chown`], as fchownat(2) with `AT_EMPTY_PATH`: a handle of `O_PATH` is enough.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn chown_by_handle(
        &mut self,
        h: Handle,
        owner: (Option<u32>, Option<u32>),
    ) -> Result<(), Errno> {
        let ino = self.opens.get(h)?.ino;
        self.chown_ino(ino, owner)
    }

    /// Sets the owner of the inode that a path leads to, as fchownat(2); `follow` is false with
    /// `AT_SYMLINK_NOFOLLOW`.
    ///
    /// # Errors
    /// Those of path_resolution(7).
    pub fn chown_path(
        &mut self,
        base: Ino,
        path: &[u8],
        owner: (Option<u32>, Option<u32>),
        follow: bool,
    ) -> Result<(), Errno> {
        let ino = find(&self.tree, base, path, follow)?;
        self.chown_ino(ino, owner)
    }

    /// A file loses the bits that run it as its owner, though root sets the owner (chown(2)); the
    /// one for the group only if the group may run it.
    fn chown_ino(&mut self, ino: Ino, owner: (Option<u32>, Option<u32>)) -> Result<(), Errno> {
        self.may_change()?;
        let node = self.node(ino)?;
        let (user, group) = (owner.0.unwrap_or(node.owner.0), owner.1.unwrap_or(node.owner.1));
        let lost = match node.mode {
            _ if node.kind() == Kind::Directory => 0,
            mode if mode & 0o10 != 0 => 0o6000,
            _ => 0o4000,
        };
        let mode = node.mode & !lost;
        self.change(&Effect::Owner { ino, owner: (user, group), mode });
        Ok(())
    }

    /// Sets times, as futimens(2); `None` leaves one as it is (`UTIME_OMIT`).
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`. Nothing is checked if no time is to be
    /// set.
    pub fn set_times(
        &mut self,
        h: Handle,
        accessed: Option<Time>,
        modified: Option<Time>,
    ) -> Result<(), Errno> {
        if accessed.is_none() && modified.is_none() {
            return Ok(());
        }
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let ino = open.ino;
        self.may_change()?;
        self.change(&Effect::Times { ino, accessed, modified });
        Ok(())
    }

    /// Sets times, as utimensat(2) with `AT_EMPTY_PATH`: a handle of `O_PATH` is enough.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn set_times_by_handle(
        &mut self,
        h: Handle,
        (accessed, modified): (Option<Time>, Option<Time>),
    ) -> Result<(), Errno> {
        let ino = self.opens.get(h)?.ino;
        self.may_change()?;
        self.change(&Effect::Times { ino, accessed, modified });
        Ok(())
    }

    /// Sets the permission bits of an open file, as fchmodat2(2) with `AT_EMPTY_PATH`: a handle of
    /// `O_PATH` is enough.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there; `EOPNOTSUPP` for a symbolic link.
    pub fn chmod_by_handle(&mut self, h: Handle, mode: u32) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        if open.kind == Kind::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        let ino = open.ino;
        self.may_change()?;
        self.change(&Effect::Mode { ino, mode: mode & 0o7777 });
        Ok(())
    }

    /// Sets the times of the inode that a path leads to, as utimensat(2): those of last access and
    /// of last modification. `follow` is false with `AT_SYMLINK_NOFOLLOW`.
    ///
    /// # Errors
    /// Those of path_resolution(7). Nothing is checked if no time is to be set.
    pub fn set_times_path(
        &mut self,
        base: Ino,
        path: &[u8],
        (accessed, modified): (Option<Time>, Option<Time>),
        follow: bool,
    ) -> Result<(), Errno> {
        if accessed.is_none() && modified.is_none() {
            return Ok(());
        }
        let ino = find(&self.tree, base, path, follow)?;
        self.may_change()?;
        self.change(&Effect::Times { ino, accessed, modified });
        Ok(())
    }
}
