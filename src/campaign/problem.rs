//! Why a job has no result.

use crate::explore::message::{Nondeterminism, Refusal};

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The machine does not allow it, or a file or an argument is wrong: exit 2.
    #[error("{0}")]
    Environment(String),
    /// The machine does not allow it now, and may later: a full disk, a missing permission, a lock
    /// that another process holds. Exit 75.
    #[error("{0}")]
    Unavailable(String),
    /// The explorer cannot carry the job out: exit 2.
    #[error("{}", .0.why)]
    Refused(Refusal),
    /// The same thing was done twice with different calls: exit 3.
    #[error("not deterministic: {0}")]
    NotDeterministic(Box<Nondeterminism>),
}

impl Problem {
    /// A problem with the machine, a file or an argument.
    pub(crate) fn environment(why: impl std::fmt::Display) -> Self {
        Self::Environment(why.to_string())
    }
}
