//! The calls of a program, carried out on a simulated disk.

use super::descriptors::Descriptors;
use super::program::Op;
use crate::base::time::Time;
use crate::disk::attributes::Subject;
use crate::disk::linux;
use crate::disk::{Disk, Errno, Handle, Ino};

const ROOT: Ino = Ino::ROOT;
const CREATE: i32 = linux::O_RDWR | linux::O_CREAT;
/// The bytes of a page: `msync` takes whole ones.
const PAGE: u64 = 4096;

/// A process that carries out the ops of one program.
pub(super) struct Caller {
    disk: Disk,
    descriptors: Descriptors<Handle>,
}

impl Caller {
    pub(super) fn new(disk: Disk) -> Self {
        Self { disk, descriptors: Descriptors::default() }
    }

    /// `sync`, between the sections of a program.
    pub(super) fn sync_all(&mut self) {
        self.disk.sync_all();
    }

    /// Carries out one op.
    pub(super) fn call(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::Mkdir(path) => self.disk.mkdir(ROOT, path, 0o755),
            Op::Rmdir(path) => self.disk.rmdir(ROOT, path),
            Op::Unlink(path) => self.disk.unlink(ROOT, path),
            Op::Rename(old, new) => self.rename(old, new),
            Op::Exchange(one, other) => {
                self.disk.rename(ROOT, one, ROOT, other, linux::RENAME_EXCHANGE)?;
                self.descriptors.exchange(one, other);
                Ok(())
            }
            Op::Link(old, new) if Descriptors::<Handle>::is_handle(old) => {
                let h = self.kept(old)?;
                self.disk.link_handle(h, ROOT, new)
            }
            Op::Link(old, new) => self.disk.link(ROOT, old, ROOT, new, false),
            Op::Symlink { target, path } => self.disk.symlink(target, ROOT, path),
            Op::Sync => {
                self.disk.sync_all();
                Ok(())
            }
            Op::Mark(_) => Ok(()),
            _ => self.call_on_file(op),
        }
    }

    /// Carries out an op on one file or directory.
    fn call_on_file(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::Creat(path) => self.open(path, path, CREATE | linux::O_EXCL).map(drop),
            Op::OpenTrunc(path) => self.open(path, path, CREATE | linux::O_TRUNC).map(drop),
            Op::Open { path, handle } => self.open(path, handle, linux::O_RDWR).map(drop),
            Op::Tmpfile { path, handle } => {
                self.open(path, handle, linux::O_TMPFILE | linux::O_RDWR).map(drop)
            }
            Op::Close(path) => {
                let h = self.file(path)?;
                self.descriptors.take(path);
                self.disk.close(h)
            }
            Op::Fsync(path) => {
                let h = self.file(path)?;
                self.disk.fsync(h)
            }
            Op::Fdatasync(path) => {
                let h = self.file(path)?;
                self.disk.fdatasync(h)
            }
            Op::SetAttribute { path, name, value } => {
                let h = self.file(path)?;
                self.disk.set_attribute(Subject::Handle(h), name, value, 0)
            }
            Op::RemoveAttribute { path, name } => {
                let h = self.file(path)?;
                self.disk.remove_attribute(Subject::Handle(h), name)
            }
            Op::Times { path, seconds } => {
                let h = self.file(path)?;
                self.disk.set_times(h, None, Some(Time(seconds * 1_000_000_000)))
            }
            _ => self.call_on_content(op),
        }
    }

    /// Carries out an op on the content of a file.
    fn call_on_content(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::Write { path, offset, length, fill } => {
                let h = self.file_or_new(path)?;
                let bytes = vec![*fill; *length as usize];
                self.disk.write_at(h, &bytes, offset.cast_signed()).map(drop)
            }
            Op::Append { path, length, fill } => {
                let h = self.file_or_new(path)?;
                let end = self.disk.stat(h)?.size.cast_signed();
                self.disk.write_at(h, &vec![*fill; *length as usize], end).map(drop)
            }
            // Opening and ending a map makes nothing durable. The file is open as long as it is
            // mapped, as it is anyway.
            Op::Map(path) | Op::Unmap(path) => self.file(path).map(drop),
            Op::Store { path, offset, length, fill } => {
                let h = self.file(path)?;
                self.disk.store_pages(h, *offset, &vec![*fill; *length as usize])
            }
            Op::Msync { path, offset, length } => {
                let h = self.file(path)?;
                let (start, end) =
                    (offset - offset % PAGE, (offset + length).next_multiple_of(PAGE));
                self.disk.sync_mapped(h, start, end - start)
            }
            Op::Truncate { path, size } => {
                let h = self.file(path)?;
                self.disk.truncate(h, size.cast_signed())
            }
            Op::Allocate { path, offset, length, mode } => {
                let h = self.file_or_new(path)?;
                self.disk.allocate(h, mode.flags(), offset.cast_signed(), length.cast_signed())
            }
            _ => Ok(()),
        }
    }

    fn rename(&mut self, old: &[u8], new: &[u8]) -> Result<(), Errno> {
        let is_one = self.ino(old) == self.ino(new);
        self.disk.rename(ROOT, old, ROOT, new, 0)?;
        // Two names of one file stay.
        if !is_one {
            for h in self.descriptors.rename(old, new) {
                self.disk.close(h)?;
            }
        }
        Ok(())
    }

    fn ino(&self, path: &[u8]) -> Option<Ino> {
        self.disk.stat_path(ROOT, path, true).ok().map(|stat| stat.ino)
    }

    fn kept(&self, handle: &[u8]) -> Result<Handle, Errno> {
        self.descriptors.get(handle).copied().ok_or(Errno::EBADF)
    }

    /// The descriptor of a path or handle, opened if this is the first use. One whose name was
    /// removed is used until there is a new file of that name.
    fn file(&mut self, word: &[u8]) -> Result<Handle, Errno> {
        if Descriptors::<Handle>::is_handle(word) {
            return self.kept(word);
        }
        let there = self.ino(word);
        match self.descriptors.get(word) {
            Some(&h) if there.is_none_or(|there| self.disk.ino(h) == Ok(there)) => Ok(h),
            _ => self.open(word, word, linux::O_RDWR),
        }
    }

    /// The same for a call that makes the file if its name is missing.
    fn file_or_new(&mut self, word: &[u8]) -> Result<Handle, Errno> {
        if Descriptors::<Handle>::is_handle(word) || self.ino(word).is_some() {
            return self.file(word);
        }
        self.open(word, word, CREATE)
    }

    /// Opens a path and keeps the descriptor.
    fn open(&mut self, path: &[u8], word: &[u8], flags: i32) -> Result<Handle, Errno> {
        let h = match self.disk.open(ROOT, path, flags, 0o644) {
            Err(Errno::EISDIR) if flags == linux::O_RDWR => {
                self.disk.open(ROOT, path, linux::O_RDONLY, 0)
            }
            opened => opened,
        }?;
        if let Some(before) = self.descriptors.keep(word, h) {
            self.disk.close(before)?;
        }
        Ok(h)
    }
}
