//! Fault kinds: the faults that an engine may meet, as the promises of a sim name them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The effect of a fault on the engine, in the terms in which a sim promises to survive it.
///
/// One kind covers many calls and errors: a `FailedWrite` is any write that returned `EIO`,
/// `ENOSPC` or `EDQUOT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultKind {
    /// A write failed, or was cut short and the next one failed.
    FailedWrite,
    /// A sync failed.
    FailedSync,
    /// A read or a listing failed.
    FailedRead,
    /// Bytes on the medium changed.
    BitRot,
    /// A file could not be opened or looked up: open, stat, access, readlink.
    FailedOpen,
    /// A name or a size could not be changed: create, link, rename, unlink, mkdir, truncate,
    /// allocate.
    FailedChange,
    /// A call was interrupted, or transferred fewer bytes than it was asked to.
    Interrupted,
    /// The file system turned read-only.
    ReadOnly,
    /// A call took long.
    Slow,
    /// A read returned wrong bytes; those on the medium are right.
    CorruptRead,
    /// A close failed; the descriptor is gone anyway.
    FailedClose,
}

impl FaultKind {
    /// The kinds of an `EIO`: each call that returns it falls into one of them.
    pub const OF_EVERY_CALL: [Self; 6] = [
        Self::FailedWrite,
        Self::FailedSync,
        Self::FailedRead,
        Self::FailedOpen,
        Self::FailedChange,
        Self::FailedClose,
    ];

    /// Every kind, in the order in which reports list them.
    pub const ALL: [Self; 11] = [
        Self::FailedWrite,
        Self::FailedSync,
        Self::FailedRead,
        Self::FailedOpen,
        Self::FailedChange,
        Self::Interrupted,
        Self::ReadOnly,
        Self::Slow,
        Self::CorruptRead,
        Self::FailedClose,
        Self::BitRot,
    ];

    /// Whether a call was refused that the engine may need to keep a deadline.
    pub(crate) fn refuses(self) -> bool {
        match self {
            Self::FailedWrite
            | Self::FailedSync
            | Self::FailedRead
            | Self::FailedOpen
            | Self::FailedChange
            | Self::ReadOnly => true,
            Self::BitRot
            | Self::Interrupted
            | Self::Slow
            | Self::CorruptRead
            | Self::FailedClose => false,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FailedWrite => "failed write",
            Self::FailedSync => "failed sync",
            Self::FailedRead => "failed read",
            Self::FailedOpen => "failed open",
            Self::FailedChange => "failed change",
            Self::Interrupted => "interrupted call",
            Self::ReadOnly => "read-only disk",
            Self::Slow => "slow call",
            Self::CorruptRead => "corrupt read",
            Self::FailedClose => "failed close",
            Self::BitRot => "bit rot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_listed_once() {
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::ALL.iter().filter(|listed| **listed == kind).count(), 1);
        }
    }
}
