//! The published crate under the same sim.
