//! The calls that take, test and drop advisory locks.

use super::effect::Ino;
use super::errno::Errno;
use super::linux;
use super::live::Disk;
use super::lock::{ByteRange, LockKind, LockOwner, RangeLock, excludes};
use super::open::Handle;

impl Disk {
    /// Locks or unlocks the file of a handle, as flock(2): `LOCK_SH`, `LOCK_EX` or `LOCK_UN`, each
    /// perhaps with `LOCK_NB`. Locks of different handles conflict, whichever process has them. A
    /// change of kind first gives up the old lock, even if the new one is then refused, as on
    /// Linux.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for another `op`. A conflict is
    /// `EWOULDBLOCK` with `LOCK_NB`. Without it the caller would have to wait: that is `EDEADLK`,
    /// which flock(2) itself never returns, so a scheduler can wait and try again. With one thread
    /// no other could ever release the lock, so the error is accurate.
    pub fn flock(&mut self, h: Handle, op: i32) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let ino = open.ino;
        let kind = match op & !linux::LOCK_NB {
            linux::LOCK_SH => LockKind::Shared,
            linux::LOCK_EX => LockKind::Exclusive,
            linux::LOCK_UN => {
                self.locks.retain(ino, |whole| whole != h, |_| true);
                return Ok(());
            }
            _ => return Err(Errno::EINVAL),
        };
        let whole = &mut self.locks.0.entry(ino).or_default().whole;
        if whole.contains(&(h, kind)) {
            return Ok(());
        }
        whole.retain(|&(holder, _)| holder != h);
        if whole.iter().any(|&(_, held)| excludes(held, kind)) {
            let waits = op & linux::LOCK_NB == 0;
            return Err(if waits { Errno::EDEADLK } else { Errno::EWOULDBLOCK });
        }
        whole.push((h, kind));
        Ok(())
    }

    /// The range that `l_whence`, `l_start` and `l_len` of fcntl(2)'s `struct flock` denote for a
    /// handle.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there; `EINVAL` if it begins before the file or `whence` is none
    /// of `SEEK_SET`, `SEEK_CUR` and `SEEK_END`; `EOVERFLOW` if it ends beyond the largest offset.
    pub fn byte_range(
        &self,
        h: Handle,
        whence: i32,
        start: i64,
        length: i64,
    ) -> Result<ByteRange, Errno> {
        let open = self.opens.get(h)?;
        let base = match whence {
            linux::SEEK_SET => 0,
            linux::SEEK_CUR => open.offset,
            linux::SEEK_END => self.size(open.ino),
            _ => return Err(Errno::EINVAL),
        };
        // Neither an offset nor a size ever exceeds what an i64 holds.
        let start = base.cast_signed().checked_add(start).ok_or(Errno::EOVERFLOW)?;
        let (first, last) = match length {
            0 => (start, i64::MAX),
            1.. => (start, start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?),
            _ => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
        };
        if first < 0 || start < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(ByteRange { first: first.unsigned_abs(), last: last.unsigned_abs() })
    }

    /// Locks a range for `owner`, or unlocks it (`None`), as fcntl(2) `F_SETLK` and `F_OFD_SETLK`.
    /// It never waits: a scheduler implements `F_SETLKW` by trying again.
    ///
    /// # Errors
    /// `EAGAIN` if another owner holds a part of it in a way that conflicts; `EBADF` if nothing is
    /// open there, or not for reading (shared) or not for writing (exclusive).
    pub fn lock_range(
        &mut self,
        h: Handle,
        owner: LockOwner,
        kind: Option<LockKind>,
        range: ByteRange,
    ) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let ino = open.ino;
        if let Some(kind) = kind {
            let allowed = match kind {
                LockKind::Shared => open.readable,
                LockKind::Exclusive => open.writable,
            };
            if !allowed {
                return Err(Errno::EBADF);
            }
            if self.locks.conflict(ino, owner, kind, range).is_some() {
                return Err(Errno::EAGAIN);
            }
        }
        self.locks.set(ino, owner, kind, range);
        Ok(())
    }

    /// The lock that would keep `owner` from locking a range, as fcntl(2) `F_GETLK` and
    /// `F_OFD_GETLK`: of several the one that begins first. `None` if nothing would.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`.
    pub fn test_range(
        &self,
        h: Handle,
        owner: LockOwner,
        kind: LockKind,
        range: ByteRange,
    ) -> Result<Option<RangeLock>, Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        Ok(self.locks.conflict(open.ino, owner, kind, range))
    }

    /// Drops all range locks that a process holds on an inode: POSIX demands it whenever the
    /// process closes *any* descriptor of that file.
    pub fn drop_process_locks(&mut self, ino: Ino, pid: i32) {
        self.locks.retain(ino, |_| true, |owner| owner != LockOwner::Process(pid));
    }
}
