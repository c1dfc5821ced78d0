//! The registry of sims: one line each.
