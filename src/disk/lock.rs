//! Advisory locks: flock(2) of whole files, and the byte ranges of fcntl(2).
//!
//! Locks are in memory only: they are no effects, and no crash leaves one.

use std::collections::BTreeMap;

use super::effect::Ino;
use super::errno::Errno;
use super::live::Disk;
use super::open::Handle;

/// Whether others may hold such a lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// `LOCK_SH`, `F_RDLCK`.
    Shared,
    /// `LOCK_EX`, `F_WRLCK`.
    Exclusive,
}

/// Whom a lock of a byte range belongs to: two owners may conflict, one never does with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockOwner {
    /// The process with this id (`F_SETLK`).
    Process(i32),
    /// An open file description (`F_OFD_SETLK`).
    Handle(Handle),
}

/// A range of bytes that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    /// Its first byte.
    pub first: u64,
    /// Its last byte; `i64::MAX` stands for all that the file may grow to.
    pub last: u64,
}

impl ByteRange {
    /// Every byte of a file.
    pub const ALL: Self = Self { first: 0, last: i64::MAX as u64 };

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn overlaps_or_touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// A lock that someone holds on a byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeLock {
    /// What is locked.
    pub range: ByteRange,
    /// Who holds it.
    pub owner: LockOwner,
    /// Whether others may hold it too.
    pub kind: LockKind,
}

impl RangeLock {
    fn conflicts(&self, owner: LockOwner, kind: LockKind, range: ByteRange) -> bool {
        self.owner != owner && self.range.overlaps(range) && excludes(self.kind, kind)
    }

    /// What is left of it on either side when a range is taken out.
    fn without(self, range: ByteRange) -> impl Iterator<Item = Self> {
        let left = (self.range.first < range.first).then(|| ByteRange {
            first: self.range.first,
            last: self.range.last.min(range.first - 1),
        });
        let right = (self.range.last > range.last).then(|| ByteRange {
            first: self.range.first.max(range.last + 1),
            last: self.range.last,
        });
        left.into_iter().chain(right).map(move |range| Self { range, ..self })
    }
}

fn excludes(one: LockKind, other: LockKind) -> bool {
    one == LockKind::Exclusive || other == LockKind::Exclusive
}

/// The locks of one inode.
#[derive(Default)]
struct InodeLocks {
    whole: Vec<(Handle, LockKind)>,
    ranges: Vec<RangeLock>,
}

/// All locks of a disk.
#[derive(Default)]
pub(super) struct Locks(BTreeMap<Ino, InodeLocks>);

impl Locks {
    /// Drops what a handle holds on its inode.
    pub(super) fn drop_handle(&mut self, ino: Ino, h: Handle) {
        self.retain(ino, |whole| whole != h, |owner| owner != LockOwner::Handle(h));
    }

    fn retain(
        &mut self,
        ino: Ino,
        whole: impl Fn(Handle) -> bool,
        ranges: impl Fn(LockOwner) -> bool,
    ) {
        let Some(locks) = self.0.get_mut(&ino) else { return };
        locks.whole.retain(|&(h, _)| whole(h));
        locks.ranges.retain(|lock| ranges(lock.owner));
        if locks.whole.is_empty() && locks.ranges.is_empty() {
            self.0.remove(&ino);
        }
    }

    fn conflict(
        &self,
        ino: Ino,
        owner: LockOwner,
        kind: LockKind,
        range: ByteRange,
    ) -> Option<RangeLock> {
        let ranges = &self.0.get(&ino)?.ranges;
        ranges.iter().find(|lock| lock.conflicts(owner, kind, range)).copied()
    }

    /// Gives `range` to `owner` as `kind`, or takes it away: what the owner held there before is
    /// cut out, and what touches and is alike is joined.
    fn set(&mut self, ino: Ino, owner: LockOwner, kind: Option<LockKind>, range: ByteRange) {
        let ranges = &mut self.0.entry(ino).or_default().ranges;
        let (own, mut all): (Vec<_>, Vec<_>) =
            ranges.drain(..).partition(|lock| lock.owner == owner);
        let mut left: Vec<_> = own.into_iter().flat_map(|lock| lock.without(range)).collect();
        if let Some(kind) = kind {
            let mut joined = range;
            left.retain(|lock| {
                let joins = lock.kind == kind && lock.range.overlaps_or_touches(range);
                if joins {
                    joined.first = joined.first.min(lock.range.first);
                    joined.last = joined.last.max(lock.range.last);
                }
                !joins
            });
            left.push(RangeLock { range: joined, owner, kind });
        }
        all.append(&mut left);
        all.sort_unstable();
        *ranges = all;
        self.retain(ino, |_| true, |_| true);
    }
}

impl Disk {
    /// Locks or unlocks the file of a handle, as flock(2): `LOCK_SH`, `LOCK_EX` or `LOCK_UN`, each
    /// perhaps with `LOCK_NB`. Locks of different handles conflict, whichever process has them.
    /// A change of kind first gives up the old lock, even if the new one is then refused: Linux
    /// does so too.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there, or by `O_PATH`; `EINVAL` for another `op`. A conflict is
    /// `EWOULDBLOCK` with `LOCK_NB`. Without it the caller would have to wait: that is `EDEADLK`,
    /// which flock(2) itself never gives, so a scheduler can wait and ask again. With one thread
    /// nobody could ever give the lock up, and the word fits.
    pub fn flock(&mut self, h: Handle, op: i32) -> Result<(), Errno> {
        let open = self.opens.get(h)?;
        open.must_be_usable()?;
        let ino = open.ino;
        let kind = match op & !libc::LOCK_NB {
            libc::LOCK_SH => LockKind::Shared,
            libc::LOCK_EX => LockKind::Exclusive,
            libc::LOCK_UN => {
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
            let waits = op & libc::LOCK_NB == 0;
            return Err(if waits { Errno::EDEADLK } else { Errno::EWOULDBLOCK });
        }
        whole.push((h, kind));
        Ok(())
    }

    /// The range that `l_whence`, `l_start` and `l_len` of fcntl(2)'s `struct flock` mean for a
    /// handle.
    ///
    /// # Errors
    /// `EBADF` if nothing is open there; `EINVAL` if it begins before the file or `whence` is
    /// none of `SEEK_SET`, `SEEK_CUR` and `SEEK_END`; `EOVERFLOW` if it ends beyond what an
    /// offset can be.
    pub fn byte_range(
        &self,
        h: Handle,
        whence: i32,
        start: i64,
        length: i64,
    ) -> Result<ByteRange, Errno> {
        let open = self.opens.get(h)?;
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => open.offset,
            libc::SEEK_END => self.size(open.ino),
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
    /// It never waits: a scheduler waits for `F_SETLKW` by asking again.
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
