//! Crash points, crash states and the chooser.

mod acked;
mod calls;
pub mod chooser;
pub mod explorer;
mod failure;
mod fates;
mod judge;
mod moment;
pub mod protocol;
mod remembered;
mod replay;
mod schedules;
mod trace;
mod verdict;
mod walk;
