//! The real threads of the engine: which one holds the baton, which one spins, which one panicked.

pub(crate) mod baton;
pub(crate) mod holder;
pub(crate) mod inner_locks;
pub(crate) mod panics;
pub(crate) mod spin;
