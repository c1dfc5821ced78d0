//! Crash points, crash states and the chooser.

pub mod chooser;
