//! Crash points, crash states and the chooser.

mod acked;
mod calls;
pub mod chooser;
mod event;
pub mod explorer;
mod fail_calls;
mod failure;
mod fates;
pub(crate) mod fault_plan;
mod judge;
pub mod protocol;
mod recheck;
mod remembered;
mod replay;
mod schedules;
mod subject;
mod trace;
mod verdict;
mod walk;
