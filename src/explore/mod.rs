//! Crash points, crash states and the chooser.
