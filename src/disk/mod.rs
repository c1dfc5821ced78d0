//! The simulated disk.

pub mod content;
pub mod effect;
pub mod tree;
