//! The calls that open, share and close files, and those on the flags of a handle.

use super::effect::{Effect, Ino, Kind};
use super::errno::Errno;
use super::linux;
use super::live::Disk;
use super::open::{Handle, Open};
use super::path::{Intent, ResolvedPath, find, kind, walk};

/// The bit that distinguishes `O_TMPFILE` from `O_DIRECTORY`, which it includes.
const TMPFILE: i32 = linux::O_TMPFILE & !linux::O_DIRECTORY;
/// Flags that concern only `open` itself and are not kept.
const FORGOTTEN: i32 =
    linux::O_CREAT | linux::O_EXCL | linux::O_NOCTTY | linux::O_TRUNC | linux::O_CLOEXEC;
/// Flags that fcntl(2) `F_SETFL` may change; it ignores the others.
const CHANGEABLE: i32 =
    linux::O_APPEND | linux::O_ASYNC | linux::O_DIRECT | linux::O_NOATIME | linux::O_NONBLOCK;

/// Checks and reduces the flags as `build_open_flags` of the kernel's fs/open.c does.
fn checked(flags: i32) -> Result<i32, Errno> {
    let is = |flag| flags & flag != 0;
    if is(linux::O_PATH) {
        return Ok(flags & (linux::O_PATH | linux::O_DIRECTORY | linux::O_NOFOLLOW));
    }
    if is(linux::O_CREAT) && is(linux::O_DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    if is(TMPFILE) && (!is(linux::O_DIRECTORY) || !may_write(flags)) {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}

/// Whether the access mode needs the right to write. Mode 3, `O_WRONLY | O_RDWR`, needs both
/// rights, but the description can neither read nor write: Linux keeps it for ioctl(2).
fn may_write(flags: i32) -> bool {
    flags & linux::O_ACCMODE != linux::O_RDONLY
}

impl Disk {
    /// Opens a file, as openat(2) with the flags of [`linux`] and permission bits. `mode` is used
    /// as it is: the caller applies the umask.
    ///
    /// `O_TRUNC` truncates even with `O_RDONLY`. `O_DIRECT` asks for alignment to 512 bytes.
    /// `O_CLOEXEC`, `O_NOCTTY`, `O_NOATIME` and `O_NONBLOCK` change nothing. A new file is an
    /// `Inode` and an `Entry` effect.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(&mut self, base: Ino, path: &[u8], flags: i32, mode: u32) -> Result<Handle, Errno> {
        let flags = checked(flags)?;
        self.may_read()?;
        if flags & TMPFILE != 0 {
            return self.open_unnamed(base, path, flags, mode);
        }
        let create = flags & linux::O_CREAT != 0;
        let exclusive = create && flags & linux::O_EXCL != 0;
        let follow = flags & linux::O_NOFOLLOW == 0 && !exclusive;
        let intent = match (create, follow) {
            (true, follow) => Intent::Create { follow },
            (false, true) => Intent::Follow,
            (false, false) => Intent::Keep,
        };
        let place = walk(&self.tree, base, path, intent)?;
        let ino = match place.ino {
            Some(_) if exclusive => return Err(Errno::EEXIST),
            Some(ino) => self.open_existing(ino, place.slash, flags)?,
            None if create => self.create(&place, mode)?,
            None => return Err(Errno::ENOENT),
        };
        let path = self.place_path(&place).unwrap_or_default();
        self.insert(ino, flags, path)
    }

    /// Checks that an inode may be opened with these flags, and truncates it for `O_TRUNC`.
    fn open_existing(&mut self, ino: Ino, slash: bool, flags: i32) -> Result<Ino, Errno> {
        let is = |flag| flags & flag != 0;
        let kind = kind(&self.tree, ino).ok_or(Errno::ENOENT)?;
        if is(linux::O_CREAT) && kind == Kind::Directory {
            return Err(Errno::EISDIR);
        }
        if (slash || is(linux::O_DIRECTORY)) && kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if is(linux::O_PATH) {
            return Ok(ino);
        }
        match kind {
            Kind::Symlink => Err(Errno::ELOOP),
            Kind::Directory if may_write(flags) || is(linux::O_TRUNC) => Err(Errno::EISDIR),
            Kind::Directory if is(linux::O_DIRECT) => Err(Errno::EINVAL),
            Kind::File if may_write(flags) || is(linux::O_TRUNC) => {
                self.may_change()?;
                if is(linux::O_TRUNC) {
                    self.change(&Effect::Size { ino, size: 0 });
                }
                Ok(ino)
            }
            _ => Ok(ino),
        }
    }

    /// Creates a file by name.
    fn create(&mut self, place: &ResolvedPath, mode: u32) -> Result<Ino, Errno> {
        let name = place.name(Errno::EISDIR)?;
        self.may_change()?;
        self.room_for_inode(0)?;
        self.room_for_entry(place.dir, name)?;
        let ino = self.new_inode(Kind::File, mode, b"");
        self.change(&Effect::Entry { dir: place.dir, name, ino: Some(ino) });
        Ok(ino)
    }

    /// Opens a file without a name (`O_TMPFILE`), in the directory that the path leads to.
    fn open_unnamed(
        &mut self,
        base: Ino,
        path: &[u8],
        flags: i32,
        mode: u32,
    ) -> Result<Handle, Errno> {
        if flags & linux::O_CREAT != 0 {
            return Err(Errno::EINVAL);
        }
        let dir = find(&self.tree, base, path, flags & linux::O_NOFOLLOW == 0)?;
        if kind(&self.tree, dir) != Some(Kind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        self.may_change()?;
        self.room_for_inode(0)?;
        let ino = self.new_inode(Kind::File, mode, b"");
        let dir = self.path_of(dir).unwrap_or_default();
        let path = [&dir, &b"/#"[..], ino.0.to_string().as_bytes(), b" (deleted)"].concat();
        let h = self.insert(ino, flags, path)?;
        self.opens.get_mut(h)?.linkable = flags & linux::O_EXCL == 0;
        Ok(h)
    }

    /// Makes an inode that has no name yet.
    pub(super) fn new_inode(&mut self, kind: Kind, mode: u32, target: &[u8]) -> Ino {
        let ino = self.tree.next_ino();
        self.change(&Effect::Inode { ino, kind, mode: mode & 0o7777, target });
        ino
    }

    fn insert(&mut self, ino: Ino, flags: i32, path: Vec<u8>) -> Result<Handle, Errno> {
        let by_path = flags & linux::O_PATH != 0;
        let access = flags & linux::O_ACCMODE;
        let open = Open {
            ino,
            kind: kind(&self.tree, ino).ok_or(Errno::ENOENT)?,
            flags: if by_path { flags } else { flags & !FORGOTTEN | linux::O_LARGEFILE },
            offset: 0,
            readable: !by_path && (access == linux::O_RDONLY || access == linux::O_RDWR),
            writable: !by_path && (access == linux::O_WRONLY || access == linux::O_RDWR),
            seen: self.errors.get(&ino).map_or(0, |errors| errors.sample()),
            seen_all: self.all_errors.sample(),
            linkable: false,
            references: 1,
            path: path.into(),
        };
        Ok(self.opens.insert(open))
    }

    /// Adds a reference to a handle, as dup(2) and fork(2) do.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn share(&mut self, h: Handle) -> Result<(), Errno> {
        self.opens.get_mut(h)?.references += 1;
        Ok(())
    }

    /// Drops one reference. With the last one, the handle's `flock` and `F_OFD` locks go, and an
    /// inode without names is freed. POSIX locks belong to the process and go with *any* descriptor
    /// of the file, so the caller that closes a descriptor calls [`Disk::drop_process_locks`] too.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn close(&mut self, h: Handle) -> Result<(), Errno> {
        if let Some(open) = self.opens.release(h)? {
            self.locks.drop_handle(open.ino, h);
            self.free_if_unused(open.ino);
        }
        Ok(())
    }

    /// The inode of a handle.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn ino(&self, h: Handle) -> Result<Ino, Errno> {
        Ok(self.opens.get(h)?.ino)
    }

    /// The flags of a handle, as fcntl(2) `F_GETFL` returns them: without those that concern only
    /// `open`, and with the kernel's `O_LARGEFILE`.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn flags(&self, h: Handle) -> Result<i32, Errno> {
        Ok(self.opens.get(h)?.flags)
    }

    /// Changes flags, as fcntl(2) `F_SETFL`: `O_APPEND`, `O_ASYNC`, `O_DIRECT`, `O_NOATIME` and
    /// `O_NONBLOCK`; the others stay as they are.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for `O_DIRECT` of a directory.
    pub fn set_flags(&mut self, h: Handle, flags: i32) -> Result<(), Errno> {
        let open = self.opens.get_mut(h)?;
        open.must_be_usable()?;
        if flags & linux::O_DIRECT != 0 && open.kind != Kind::File {
            return Err(Errno::EINVAL);
        }
        open.flags = open.flags & !CHANGEABLE | flags & CHANGEABLE;
        Ok(())
    }

    /// Checks that a handle can be used for more than naming its inode.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`.
    pub fn check_usable(&self, h: Handle) -> Result<(), Errno> {
        self.opens.get(h)?.must_be_usable()
    }

    /// The hint about the life of written data, as fcntl(2) `F_GET_RW_HINT`: 0 until one is set. A
    /// crash loses it.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn hint(&self, h: Handle) -> Result<u64, Errno> {
        Ok(self.hints.get(&self.opens.get(h)?.ino).copied().unwrap_or(0))
    }

    /// Sets that hint, as fcntl(2) `F_SET_RW_HINT`.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn set_hint(&mut self, h: Handle, hint: u64) -> Result<(), Errno> {
        self.hints.insert(self.opens.get(h)?.ino, hint);
        Ok(())
    }

    /// The absolute path in the disk by which a handle was opened, symbolic links resolved. Later
    /// renames do not change it. Empty if the inode could not be reached from the root even then.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there.
    pub fn opened_as(&self, h: Handle) -> Result<&[u8], Errno> {
        Ok(&self.opens.get(h)?.path)
    }

    /// How many handles are open.
    pub fn open_count(&self) -> usize {
        self.opens.len()
    }
}
