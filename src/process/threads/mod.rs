//! The real threads of the engine: who holds the baton, who spins, who panicked.

pub(crate) mod baton;
pub(crate) mod panics;
pub(crate) mod spin;
