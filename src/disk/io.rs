//! The calls that read, write, seek, and change sizes.

use super::content::filling;
use super::effect::{Allocation, Effect, Ino, Kind, Sync};
use super::errno::Errno;
use super::linux;
use super::live::Disk;
use super::open::{Handle, Open};
use super::path::find;
use super::tree::Node;

/// The largest size of a file in bytes: that of ext4 with blocks of 4 KiB.
pub const SIZE_MAX: u64 = (1 << 44) - 4096;
/// The most bytes that one call reads or writes (`MAX_RW_COUNT` of the kernel).
pub const TRANSFER_MAX: usize = 0x7fff_f000;

/// Checks an offset and a length as `rw_verify_area` of the kernel does.
fn offset_of(offset: i64, length: usize) -> Result<u64, Errno> {
    let start = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    match start.checked_add(length as u64) {
        Some(end) if i64::try_from(end).is_ok() => Ok(start),
        _ => Err(Errno::EINVAL),
    }
}

impl Open {
    fn must_read(&self) -> Result<(), Errno> {
        match self.kind {
            _ if !self.readable => Err(Errno::EBADF),
            Kind::Directory => Err(Errno::EISDIR),
            _ => Ok(()),
        }
    }

    fn must_write(&self) -> Result<(), Errno> {
        if self.writable { Ok(()) } else { Err(Errno::EBADF) }
    }
}

impl Disk {
    /// Reads at the handle's offset and moves it; returns how many bytes, 0 at the end.
    ///
    /// # Errors
    /// `EBADF` if it is not open for reading, `EISDIR` for a directory.
    pub fn read(&mut self, h: Handle, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.read_pieces(h, buffer.len(), filling(buffer))
    }

    /// As [`Disk::read`], of `length` bytes, which `give` gets in pieces.
    ///
    /// # Errors
    /// As [`Disk::read`].
    pub(crate) fn read_pieces(
        &mut self,
        h: Handle,
        length: usize,
        give: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        let open = self.opens.get(h)?;
        let offset = open.offset;
        open.must_read()?;
        self.may_read()?;
        let done = self.give_out(open.ino, offset, length, give);
        self.opens.get_mut(h)?.offset = offset + done as u64;
        Ok(done)
    }

    /// Reads at `offset`, as pread(2), and leaves the handle's offset alone.
    ///
    /// # Errors
    /// As [`Disk::read`]; `EINVAL` if the offset is negative or the end is beyond the largest
    /// offset.
    pub fn read_at(&self, h: Handle, buffer: &mut [u8], offset: i64) -> Result<usize, Errno> {
        self.read_pieces_at(h, buffer.len(), offset, filling(buffer))
    }

    /// As [`Disk::read_at`], of `length` bytes, which `give` gets in pieces.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub(crate) fn read_pieces_at(
        &self,
        h: Handle,
        length: usize,
        offset: i64,
        give: impl FnMut(&[u8]),
    ) -> Result<usize, Errno> {
        if offset < 0 {
            return Err(Errno::EINVAL);
        }
        let open = self.opens.get(h)?;
        if !open.readable {
            return Err(Errno::EBADF);
        }
        let offset = offset_of(offset, length)?;
        open.must_read()?;
        self.may_read()?;
        Ok(self.give_out(open.ino, offset, length, give))
    }

    fn give_out(&self, ino: Ino, offset: u64, length: usize, give: impl FnMut(&[u8])) -> usize {
        let content = self.tree.node(ino).and_then(Node::content);
        content.map_or(0, |content| content.read_pieces(offset, length.min(TRANSFER_MAX), give))
    }

    /// Writes at the handle's offset, with `O_APPEND` at the end, and moves the offset past the
    /// written bytes. With `O_DSYNC` or `O_SYNC` a [`Sync::Written`] follows. Writing nothing
    /// changes nothing. A write is short only at [`SIZE_MAX`], beyond [`TRANSFER_MAX`] bytes, or on
    /// a full disk.
    ///
    /// # Errors
    /// `EBADF` if it is not open for writing, `EFBIG` from [`SIZE_MAX`] on.
    pub fn write(&mut self, h: Handle, bytes: &[u8]) -> Result<usize, Errno> {
        self.write_as(h, bytes, 0)
    }

    /// [`Disk::write`], with flags in addition to those of the handle: `O_DSYNC` or `O_SYNC`, as
    /// pwritev2(2) can ask for.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn write_as(&mut self, h: Handle, bytes: &[u8], flags: i32) -> Result<usize, Errno> {
        let open = self.opens.get(h)?;
        open.must_write()?;
        let (start, done) = self.copy_in(h, open.offset, bytes, flags)?;
        if done > 0 {
            self.opens.get_mut(h)?.offset = start + done as u64;
        }
        Ok(done)
    }

    /// Writes at `offset`, as pwrite(2), and leaves the handle's offset alone. With `O_APPEND` it
    /// still writes at the end, as Linux does.
    ///
    /// # Errors
    /// As [`Disk::write`]; `EINVAL` if the offset is negative or the end is beyond the largest
    /// offset.
    pub fn write_at(&mut self, h: Handle, bytes: &[u8], offset: i64) -> Result<usize, Errno> {
        self.write_at_as(h, bytes, offset, 0)
    }

    /// [`Disk::write_at`], with flags as in [`Disk::write_as`].
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn write_at_as(
        &mut self,
        h: Handle,
        bytes: &[u8],
        offset: i64,
        flags: i32,
    ) -> Result<usize, Errno> {
        if offset < 0 {
            return Err(Errno::EINVAL);
        }
        self.opens.get(h)?.must_write()?;
        let offset = offset_of(offset, bytes.len())?;
        Ok(self.copy_in(h, offset, bytes, flags)?.1)
    }

    /// Returns the offset of the written bytes and their number.
    fn copy_in(
        &mut self,
        h: Handle,
        at: u64,
        bytes: &[u8],
        flags: i32,
    ) -> Result<(u64, usize), Errno> {
        let open = self.opens.get(h)?;
        let (ino, flags) = (open.ino, open.flags | flags);
        if bytes.is_empty() {
            return Ok((at, 0));
        }
        let offset = if flags & linux::O_APPEND == 0 { at } else { self.size(ino) };
        if offset >= SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.may_change()?;
        let room = usize::try_from(SIZE_MAX - offset).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(TRANSFER_MAX).min(room)];
        let bytes = &bytes[..self.room_for_bytes(ino, offset, bytes.len())?];
        self.change(&Effect::Write { ino, offset, bytes });
        // O_SYNC includes the bit of O_DSYNC.
        if flags & linux::O_DSYNC != 0 {
            let data_only = flags & linux::O_SYNC != linux::O_SYNC;
            self.report_error(h)?;
            let length = bytes.len() as u64;
            self.change(&Effect::Sync(Sync::Written { ino, offset, length, data_only }));
        }
        Ok((offset, bytes.len()))
    }

    /// The size of a file's content; 0 for other inodes.
    pub(super) fn size(&self, ino: Ino) -> u64 {
        let content = self.tree.node(ino).and_then(Node::content);
        content.map_or(0, super::content::Content::size)
    }

    /// Moves the handle's offset, as lseek(2), and returns the new one. A directory's offset is
    /// kept but unused: [`Disk::list`] always starts at the beginning.
    ///
    /// # Errors
    /// `EBADF` for `O_PATH`; `EINVAL` if the offset would be negative or beyond [`SIZE_MAX`];
    /// `ENXIO` for `SEEK_DATA` and `SEEK_HOLE` outside the file or with no data after the offset.
    pub fn seek(&mut self, h: Handle, offset: i64, whence: i32) -> Result<u64, Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let base = match whence {
            linux::SEEK_SET => 0,
            linux::SEEK_CUR => open.offset,
            linux::SEEK_END => self.size(open.ino),
            linux::SEEK_DATA | linux::SEEK_HOLE => self.seek_content(open, offset, whence)?,
            _ => return Err(Errno::EINVAL),
        };
        let moved = if whence > linux::SEEK_END { 0 } else { offset };
        let target = base.checked_add_signed(moved).ok_or(Errno::EINVAL)?;
        let open = self.opens.get_mut(h)?;
        let most = if open.kind == Kind::File { SIZE_MAX } else { i64::MAX.unsigned_abs() };
        if target > most {
            return Err(Errno::EINVAL);
        }
        open.offset = target;
        Ok(target)
    }

    fn seek_content(&self, open: &Open, offset: i64, whence: i32) -> Result<u64, Errno> {
        let content = self.node(open.ino)?.content().ok_or(Errno::EINVAL)?;
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        content.seek(offset, whence == linux::SEEK_DATA).ok_or(Errno::ENXIO)
    }

    /// Sets the size of an open file, as ftruncate(2).
    ///
    /// # Errors
    /// `EINVAL` if the size is negative or the handle is not open for writing, `EBADF` for
    /// `O_PATH`, `EFBIG` beyond [`SIZE_MAX`].
    pub fn truncate(&mut self, h: Handle, size: i64) -> Result<(), Errno> {
        let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        if !open.writable {
            return Err(Errno::EINVAL);
        }
        self.resize(open.ino, size)
    }

    /// Sets the size of a file by its path, as truncate(2).
    ///
    /// # Errors
    /// Those of path_resolution(7); `EINVAL` if the size is negative, `EISDIR` for a directory,
    /// `EFBIG` beyond [`SIZE_MAX`].
    pub fn truncate_path(&mut self, base: Ino, path: &[u8], size: i64) -> Result<(), Errno> {
        let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
        let ino = find(&self.tree, base, path, true)?;
        match self.node(ino)?.kind() {
            Kind::Directory => Err(Errno::EISDIR),
            Kind::Symlink => Err(Errno::EINVAL),
            Kind::File => self.resize(ino, size),
        }
    }

    fn resize(&mut self, ino: Ino, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.may_change()?;
        self.change(&Effect::Size { ino, size });
        Ok(())
    }

    /// Reserves, zeroes or frees a range, as fallocate(2) with the modes 0, `FALLOC_FL_KEEP_SIZE`,
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE` and `FALLOC_FL_ZERO_RANGE` with or without
    /// `FALLOC_FL_KEEP_SIZE`.
    ///
    /// # Errors
    /// `EINVAL` for a negative offset or a length below 1, `EOPNOTSUPP` for other modes, `EBADF`
    /// if not open for writing, `EFBIG` beyond [`SIZE_MAX`].
    pub fn allocate(
        &mut self,
        h: Handle,
        mode: i32,
        offset: i64,
        length: i64,
    ) -> Result<(), Errno> {
        const PUNCH: i32 = linux::FALLOC_FL_PUNCH_HOLE | linux::FALLOC_FL_KEEP_SIZE;
        const ZERO_INSIDE: i32 = linux::FALLOC_FL_ZERO_RANGE | linux::FALLOC_FL_KEEP_SIZE;
        let open = self.opens.get(h)?;
        let ino = open.ino;
        open.must_be_usable()?;
        if offset < 0 || length <= 0 {
            return Err(Errno::EINVAL);
        }
        let what = match mode {
            0 => Allocation::Extend,
            linux::FALLOC_FL_KEEP_SIZE => Allocation::KeepSize,
            PUNCH => Allocation::Punch,
            linux::FALLOC_FL_ZERO_RANGE | ZERO_INSIDE => Allocation::Zero,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        open.must_write()?;
        let (offset, length) = (offset.unsigned_abs(), length.unsigned_abs());
        if offset + length > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        self.may_change()?;
        if what != Allocation::Punch {
            self.room_for_range(ino, offset, length)?;
        }
        if mode == ZERO_INSIDE {
            self.zero_inside(ino, offset, length);
        } else {
            self.change(&Effect::Allocate { ino, offset, length, what });
        }
        Ok(())
    }

    /// Zeroes the part of a range inside the file, and only reserves the part after its end.
    fn zero_inside(&mut self, ino: Ino, offset: u64, length: u64) {
        let end = offset + length;
        let border = self.size(ino).clamp(offset, end);
        if border > offset {
            let what = Allocation::Zero;
            self.change(&Effect::Allocate { ino, offset, length: border - offset, what });
        }
        if border < end {
            let what = Allocation::KeepSize;
            self.change(&Effect::Allocate { ino, offset: border, length: end - border, what });
        }
    }
}
