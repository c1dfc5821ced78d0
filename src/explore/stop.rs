//! Why an exploration ends early.

use super::message::{Nondeterminism, Refusal};

/// Why an exploration ends early.
pub(crate) enum Stop {
    /// The job cannot be carried out.
    Refused(Refusal),
    /// The same thing was done twice with different calls.
    NotDeterministic(Box<Nondeterminism>),
    /// The caller asked to stop at the first violation.
    Found,
}

impl Stop {
    /// The job cannot be carried out, and no part of its case is to blame.
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self::Refused(why.to_string().into())
    }
}
