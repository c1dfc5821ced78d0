//! Crash testing for storage engines.

pub mod digest;
pub mod disk;
pub mod engine;
pub mod explore;
pub mod fault;
pub mod log;
pub mod oracle;
pub mod process;
pub mod seed;
pub mod state;
pub mod text;
pub mod time;
