//! The calls that read, write, seek, and change sizes.

use super::content::{PAGE, filling};
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
/// What offsets, lengths and addresses must be multiples of with `O_DIRECT`, in bytes: what ext4
/// reports by statx(2) on a device with sectors of 512 bytes.
pub const DIRECT_ALIGN: u64 = 512;
/// A flag of a write that overrides the `O_APPEND` of its handle, as `RWF_NOAPPEND` does.
pub(crate) const NO_APPEND: i32 = 1 << 30;

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

    /// The flags of a write: those of the handle, and those of the call.
    fn flags_of_write(&self, flags: i32) -> i32 {
        let kept = if flags & NO_APPEND == 0 { self.flags } else { self.flags & !linux::O_APPEND };
        kept | flags & !NO_APPEND
    }

    fn must_write(&self) -> Result<(), Errno> {
        if self.writable { Ok(()) } else { Err(Errno::EBADF) }
    }
}

impl Disk {
    /// Reads at the handle's offset and moves it; returns how many bytes, 0 at the end.
    ///
    /// # Errors
    /// `EBADF` if it is not open for reading, `EISDIR` for a directory; with `O_DIRECT`, `EINVAL`
    /// if what is to be read is not aligned to `DIRECT_ALIGN`.
    pub fn read(&mut self, h: Handle, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.check_direct_read(h, None, buffer.len(), 0)?;
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
        self.check_direct_read(h, Some(offset), buffer.len(), 0)?;
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

    /// Checks the alignment of a read with `O_DIRECT`, as `iomap_dio_rw` does: `memory` has the
    /// bits of all addresses of the buffers, and of the lengths of all but the last. Only blocks
    /// that hold bytes are read from the device. Other errors come first, and from the read itself.
    pub(crate) fn check_direct_read(
        &self,
        h: Handle,
        at: Option<i64>,
        length: usize,
        memory: u64,
    ) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        if open.flags & linux::O_DIRECT == 0 || !open.readable || length == 0 {
            return Ok(());
        }
        let Ok(start) = at.map_or(Ok(open.offset), u64::try_from) else { return Ok(()) };
        let Some(content) = self.node(open.ino)?.content().filter(|all| start < all.size()) else {
            return Ok(());
        };
        let end = start.saturating_add(length as u64);
        let ragged =
            |at: u64| !at.is_multiple_of(DIRECT_ALIGN) && content.page(at / PAGE as u64).is_some();
        let reads = || content.seek(start, true).is_some_and(|data| data < end);
        let misplaced = !memory.is_multiple_of(DIRECT_ALIGN) && reads();
        if ragged(start) || ragged(end) || misplaced { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// As [`Disk::check_direct_read`], for a write. Every block is written to the device.
    pub(crate) fn check_direct_write(
        &self,
        h: Handle,
        at: Option<i64>,
        (length, flags): (usize, i32),
        memory: u64,
    ) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        let flags = open.flags_of_write(flags);
        if flags & linux::O_DIRECT == 0 || !open.writable || length == 0 {
            return Ok(());
        }
        let Ok(at) = at.map_or(Ok(open.offset), u64::try_from) else { return Ok(()) };
        let start = if flags & linux::O_APPEND == 0 { at } else { self.size(open.ino) };
        if start >= SIZE_MAX {
            return Ok(());
        }
        let aligned = (start | length as u64 | memory).is_multiple_of(DIRECT_ALIGN);
        if aligned { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Whether a handle transfers whole sectors, as `O_DIRECT` asks for.
    pub(crate) fn is_direct(&self, h: Handle) -> bool {
        self.opens.get(h).is_ok_and(|open| open.flags & linux::O_DIRECT != 0)
    }

    /// Checks that a handle may be read from.
    ///
    /// # Errors
    /// `EBADF` if not, `EISDIR` for a directory.
    pub(crate) fn check_readable(&self, h: Handle) -> Result<(), Errno> {
        self.opens.get(h)?.must_read()
    }

    /// Checks that a handle may be written to.
    ///
    /// # Errors
    /// `EBADF` if not.
    pub(crate) fn check_writable(&self, h: Handle) -> Result<(), Errno> {
        self.opens.get(h)?.must_write()
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
    /// `EBADF` if it is not open for writing, `EFBIG` from [`SIZE_MAX`] on; with `O_DIRECT`,
    /// `EINVAL` if offset and length are not aligned to `DIRECT_ALIGN`.
    pub fn write(&mut self, h: Handle, bytes: &[u8]) -> Result<usize, Errno> {
        self.check_direct_write(h, None, (bytes.len(), 0), 0)?;
        self.write_as(h, bytes, 0)
    }

    /// [`Disk::write`], with flags in addition to those of the handle: `O_APPEND`, `O_DSYNC` or
    /// `O_SYNC`, as pwritev2(2) can ask for. Alignment is not checked.
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
        self.check_direct_write(h, Some(offset), (bytes.len(), 0), 0)?;
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
        let (ino, flags) = (open.ino, open.flags_of_write(flags));
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
    /// if not open for writing, `EFBIG` beyond [`SIZE_MAX`]; `ENOSYS`, which no kernel returns,
    /// where ext4 would cut the range out of the file or put it in (`FALLOC_FL_COLLAPSE_RANGE`,
    /// `FALLOC_FL_INSERT_RANGE`).
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
            linux::FALLOC_FL_COLLAPSE_RANGE | linux::FALLOC_FL_INSERT_RANGE => {
                return self.refuse_to_move(h, mode, offset, length);
            }
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

    /// A range is cut out of a file or put into it: not modelled. The errors of ext4 come first.
    fn refuse_to_move(&self, h: Handle, mode: i32, offset: i64, length: i64) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        open.must_write()?;
        let (start, length) = (offset.unsigned_abs(), length.unsigned_abs());
        if start + length > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        let size = self.size(open.ino);
        if !(start | length).is_multiple_of(PAGE as u64) {
            return Err(Errno::EINVAL);
        }
        if mode == linux::FALLOC_FL_INSERT_RANGE && size + length > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        let last = if mode == linux::FALLOC_FL_INSERT_RANGE { start } else { start + length };
        if last >= size { Err(Errno::EINVAL) } else { Err(Errno::ENOSYS) }
    }

    /// Checks the arguments of posix_fadvise(3): advice has no effect.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for unknown advice or a negative
    /// length.
    pub fn advise(&self, h: Handle, length: i64, advice: i32) -> Result<(), Errno> {
        self.opens.get(h)?.must_be_usable()?;
        let known = linux::POSIX_FADV_NORMAL..=linux::POSIX_FADV_NOREUSE;
        if length < 0 || !known.contains(&advice) { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Checks the arguments of readahead(2), which has no effect.
    ///
    /// # Errors
    /// `EBADF` if it is not open for reading; `EINVAL` for a directory, and if the length is beyond
    /// the largest offset.
    pub fn read_ahead(&self, h: Handle, length: usize) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        match open.must_read() {
            Err(Errno::EISDIR) => Err(Errno::EINVAL),
            Ok(()) if i64::try_from(length).is_err() => Err(Errno::EINVAL),
            usable => usable,
        }
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
