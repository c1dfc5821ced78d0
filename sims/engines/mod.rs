//! The engines that the sims put under test. Each is plain `std::fs` code, usable on a real disk,
//! that does not know whether it is simulated.

pub mod append_log;
pub mod document_log;
pub mod toy;
