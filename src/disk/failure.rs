//! The effects of a failed sync on a file system, as data of its profile.
//!
//! The values are those of [`super::profiles`]. The observations of Linux 6.18 are in
//! `tests/litmus/fsync-failure.jsonl`; those of 2020 are in Rebello and others, ATC'20, table 1.

use super::errno::Errno;

/// The effects of a failed write-back of data, besides marking the pages clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedSync {
    /// The content that the page cache shows afterwards.
    pub shows: Shows,
    /// The sync call that returns the error.
    pub reported: Reported,
    /// The outcome of a size over the blocks whose write failed.
    pub sizes: Sizes,
    /// The state of the file system from then on.
    pub mount: MountState,
}

/// The content that the page cache shows after a failed sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The written data, until the pages are evicted.
    New,
    /// The medium's data and its old size. Offsets of descriptors stay, so a later write through
    /// one leaves a hole.
    Old,
}

/// The sync call on a file that returns the error of a failed write-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The one that failed, and then the next one on each other descriptor that was open.
    Now,
    /// The next one on each descriptor: the one that failed returns success.
    Next,
}

/// The outcome of a new size if the write of the blocks below it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// It is logged anyway: the blocks read as zeros.
    Logged,
    /// It waits for the data: it is never logged, unless a later append succeeds.
    Lost,
}

/// The state of a file system after a failed write-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountState {
    /// Reads and writes continue.
    Usable,
    /// It is read-only until it is mounted again: `EROFS`, for the sync that failed too.
    ReadOnly,
    /// Nothing works until it is mounted again: `EIO`.
    ShutDown,
}

impl FailedSync {
    /// The behaviour observed of ext4, xfs and btrfs on Linux 6.18, except for a size on xfs.
    pub const USUAL: Self = Self {
        shows: Shows::New,
        reported: Reported::Now,
        sizes: Sizes::Logged,
        mount: MountState::Usable,
    };
}

/// Errors that wait to be reported, once on each descriptor: the kernel's `errseq_t`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    count: u32,
    seen: bool,
    /// The last error.
    error: Option<Errno>,
}

impl Errors {
    /// Adds an error. It merges with one that no descriptor has reported yet.
    pub(super) fn add(&mut self, error: Errno) {
        if self.seen || self.count == 0 {
            *self = Self { count: self.count + 1, seen: false, error: Some(error) };
        }
    }

    /// The errors that a newly opened descriptor has seen: all, except one that no descriptor has
    /// reported.
    pub(super) fn sample(self) -> u32 {
        if self.seen { self.count } else { 0 }
    }

    /// Reports the error that a descriptor has not seen, if there is one, and marks it as seen.
    pub(super) fn report(&mut self, since: &mut u32) -> Result<(), Errno> {
        if *since == self.count {
            return Ok(());
        }
        (*since, self.seen) = (self.count, true);
        self.error.map_or(Ok(()), Err)
    }
}
