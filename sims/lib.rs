//! The registry of sims: one line each.

pub mod engines;
