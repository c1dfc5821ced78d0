//! What a person reads of a failure.

pub(crate) mod text;
