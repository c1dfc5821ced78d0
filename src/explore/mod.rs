//! Crash points, crash states and the chooser.

mod acked;
mod calls;
pub mod chooser;
mod every;
pub mod explorer;
mod failure;
mod fates;
pub(crate) mod injected;
mod judge;
mod moment;
pub mod protocol;
mod remembered;
mod replay;
mod schedules;
mod subject;
mod trace;
mod twice;
mod verdict;
mod walk;
