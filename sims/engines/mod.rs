//! The engines that the sims put under test. Each is plain `std::fs` code, usable on a real disk,
//! that does not know whether it is simulated.

pub mod aof;
pub mod append_log;
pub mod checkpoint;
pub mod document_log;
pub mod fjall_fold;
pub mod snapshot_store;
pub mod toy;
pub mod toy_threads;
