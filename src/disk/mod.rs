//! The simulated disk.

mod block;
pub mod content;
pub mod effect;
pub mod family;
pub mod fate;
pub mod keep;
pub mod naming;
pub mod pending;
pub mod piece;
pub mod profile;
mod settle;
pub mod tree;
