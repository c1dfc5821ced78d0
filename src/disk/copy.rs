//! The rules of the calls that copy from one file to another, in the order in which the kernel
//! checks them.

use super::effect::Kind;
use super::errno::Errno;
use super::io::{SIZE_MAX, TRANSFER_MAX};
use super::linux;
use super::live::Disk;
use super::open::Handle;

/// The call that copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// copy_file_range(2).
    CopyFileRange,
    /// sendfile(2).
    Sendfile,
}

/// A file, and an offset in it; without one, the handle's own.
type Place = (Handle, Option<i64>);

impl Disk {
    /// How many bytes a call may copy, of `length`: no more than the source has.
    ///
    /// # Errors
    /// Those of the call; `ENOSYS`, which no kernel returns, where `sendfile` is not modelled.
    pub fn length_to_copy(
        &self,
        kind: Transfer,
        from: Place,
        to: Place,
        length: usize,
    ) -> Result<usize, Errno> {
        match kind {
            Transfer::CopyFileRange => self.length_of_range(from, to, length),
            Transfer::Sendfile => self.length_to_send(from, to, length),
        }
    }

    fn offset(&self, (h, at): Place) -> Result<i64, Errno> {
        let own = self.opens.get(h)?.offset.cast_signed();
        Ok(at.unwrap_or(own))
    }

    /// As `generic_copy_file_checks` and `rw_verify_area`.
    fn length_of_range(&self, from: Place, to: Place, length: usize) -> Result<usize, Errno> {
        let (source, target) = (self.opens.get(from.0)?, self.opens.get(to.0)?);
        source.must_be_usable()?;
        target.must_be_usable()?;
        if source.kind == Kind::Directory || target.kind == Kind::Directory {
            return Err(Errno::EISDIR);
        }
        if !source.readable || !target.writable || target.flags & linux::O_APPEND != 0 {
            return Err(Errno::EBADF);
        }
        let (start, end) = (self.offset(from)?, self.offset(to)?);
        let wraps = |at: i64| at.cast_unsigned().checked_add(length as u64).is_none();
        if wraps(start) || wraps(end) {
            return Err(Errno::EOVERFLOW);
        }
        let rest = self.size(source.ino).cast_signed().saturating_sub(start).max(0);
        let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if end >= SIZE_MAX.cast_signed() {
            return Err(Errno::EFBIG);
        }
        let room = usize::try_from(SIZE_MAX.cast_signed().saturating_sub(end));
        let length = length.min(room.unwrap_or(usize::MAX));
        let count = length as i64;
        let meets = end.saturating_add(count) > start && end < start.saturating_add(count);
        if source.ino == target.ino && meets {
            return Err(Errno::EINVAL);
        }
        if start < 0 || end < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(length.min(TRANSFER_MAX))
    }

    /// As `do_sendfile` and `do_splice_direct`. Where the ranges meet in one file, the result
    /// depends on the size of the kernel's pipe: `ENOSYS`.
    fn length_to_send(&self, from: Place, to: Place, length: usize) -> Result<usize, Errno> {
        let source = self.opens.get(from.0)?;
        if !source.readable {
            return Err(Errno::EBADF);
        }
        let start = u64::try_from(self.offset(from)?).map_err(|_| Errno::EINVAL)?;
        if start.checked_add(length as u64).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(Errno::EINVAL);
        }
        let target = self.opens.get(to.0)?;
        if !target.writable {
            return Err(Errno::EBADF);
        }
        if start + length as u64 > SIZE_MAX && start >= SIZE_MAX {
            return Err(Errno::EOVERFLOW);
        }
        if source.kind == Kind::Directory || target.flags & linux::O_APPEND != 0 {
            return Err(Errno::EINVAL);
        }
        let end = target.offset;
        let length = length.min(TRANSFER_MAX);
        let meets = end + length as u64 > start && end < start + length as u64;
        if source.ino == target.ino && meets {
            return Err(Errno::ENOSYS);
        }
        let rest = usize::try_from(self.size(source.ino).saturating_sub(start));
        Ok(length.min(rest.unwrap_or(usize::MAX)))
    }
}
