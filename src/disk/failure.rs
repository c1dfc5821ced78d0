//! What a sync that fails does to a file system, as data of its profile.
//!
//! The values are those of [`super::profiles`]; what Linux 6.18 was seen to do is in
//! `tests/litmus/fsync-failure.jsonl`, what it did in 2020 in Rebello and others, ATC'20, table 1.

use super::errno::Errno;

/// What a failed write-back of data does, beside that the pages count as clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedSync {
    /// What the page cache shows afterwards.
    pub shows: Shows,
    /// Which sync call returns the error.
    pub reported: Reported,
    /// What becomes of a size over the blocks whose write failed.
    pub sizes: Sizes,
    /// What the file system does from then on.
    pub mount: MountState,
}

/// What the page cache shows after a failed sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// What was written, until the pages are evicted.
    New,
    /// What the medium has, the old size too. Offsets of descriptors stay, so a later write
    /// through one leaves a hole.
    Old,
}

/// Which sync call on a file returns the error of a failed write-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The one that failed, and then the next one on each other descriptor that was open.
    Now,
    /// The next one on each descriptor: the one that failed returns success.
    Next,
}

/// What becomes of a new size if the write of the blocks below it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// It is logged all the same: the blocks read as zeros.
    Logged,
    /// It waits for the data: it is never logged, but for a later append that succeeds.
    Lost,
}

/// What a file system does after a failed write-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountState {
    /// It goes on.
    Usable,
    /// It is read-only until it is mounted again: `EROFS`, for the sync that failed too.
    ReadOnly,
    /// Nothing works until it is mounted again: `EIO`.
    ShutDown,
}

impl FailedSync {
    /// What ext4, xfs and btrfs of Linux 6.18 were seen to do, but for a size on xfs.
    pub const USUAL: Self = Self {
        shows: Shows::New,
        reported: Reported::Now,
        sizes: Sizes::Logged,
        mount: MountState::Usable,
    };
}

/// Errors that wait to be told, to each descriptor once: the kernel's `errseq_t`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    count: u32,
    seen: bool,
    /// The last one.
    error: Option<Errno>,
}

impl Errors {
    /// One more. It merges with one that nobody has seen yet.
    pub(super) fn add(&mut self, error: Errno) {
        if self.seen || self.count == 0 {
            *self = Self { count: self.count + 1, seen: false, error: Some(error) };
        }
    }

    /// What a descriptor that is opened now has seen: all, but for an error that nobody has.
    pub(super) fn sample(self) -> u32 {
        if self.seen { self.count } else { 0 }
    }

    /// The error that a descriptor has not seen, if there is one; then it has.
    pub(super) fn report(&mut self, since: &mut u32) -> Result<(), Errno> {
        if *since == self.count {
            return Ok(());
        }
        (*since, self.seen) = (self.count, true);
        self.error.map_or(Ok(()), Err)
    }
}
