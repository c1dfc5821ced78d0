//! The advisory locks of a disk: flock(2) of whole files, and the byte ranges of fcntl(2).
//!
//! Locks are in memory only: they are no effects, and no crash leaves one.

use std::collections::BTreeMap;

use super::effect::Ino;
use super::open::Handle;

/// The kind of a lock: whether others may hold one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// `LOCK_SH`, `F_RDLCK`.
    Shared,
    /// `LOCK_EX`, `F_WRLCK`.
    Exclusive,
}

/// The owner of a lock of a byte range: two owners may conflict, one never does with itself.
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
    /// Its last byte; `i64::MAX` means to the end, however large the file grows.
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

/// A lock that an owner holds on a byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeLock {
    /// The range.
    pub range: ByteRange,
    /// Its owner.
    pub owner: LockOwner,
    /// Whether others may hold it too.
    pub kind: LockKind,
}

impl RangeLock {
    fn conflicts(&self, owner: LockOwner, kind: LockKind, range: ByteRange) -> bool {
        self.owner != owner && self.range.overlaps(range) && excludes(self.kind, kind)
    }

    /// The parts of the lock that remain on either side when a range is taken out.
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

pub(super) fn excludes(one: LockKind, other: LockKind) -> bool {
    one == LockKind::Exclusive || other == LockKind::Exclusive
}

/// The locks of one inode.
#[derive(Default)]
pub(super) struct InodeLocks {
    pub(super) whole: Vec<(Handle, LockKind)>,
    ranges: Vec<RangeLock>,
}

/// All locks of a disk.
#[derive(Default)]
pub(super) struct Locks(pub(super) BTreeMap<Ino, InodeLocks>);

impl Locks {
    /// Drops the locks that a handle holds on its inode.
    pub(super) fn drop_handle(&mut self, ino: Ino, h: Handle) {
        self.retain(ino, |whole| whole != h, |owner| owner != LockOwner::Handle(h));
    }

    pub(super) fn retain(
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

    pub(super) fn conflict(
        &self,
        ino: Ino,
        owner: LockOwner,
        kind: LockKind,
        range: ByteRange,
    ) -> Option<RangeLock> {
        let ranges = &self.0.get(&ino)?.ranges;
        ranges.iter().find(|lock| lock.conflicts(owner, kind, range)).copied()
    }

    /// Gives `range` to `owner` as `kind`, or takes it away: the owner's earlier locks there are
    /// cut, and touching locks of the same kind are joined.
    pub(super) fn set(
        &mut self,
        ino: Ino,
        owner: LockOwner,
        kind: Option<LockKind>,
        range: ByteRange,
    ) {
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
