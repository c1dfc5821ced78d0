//! Many workloads of many sims: jobs, findings, saved cases, replays.

pub(crate) mod client;
pub(crate) mod corpus;
pub mod entry;
pub(crate) mod jobs;
pub(crate) mod mute;
pub mod problem;
pub mod registry;
pub mod replay;
pub(crate) mod run;
pub(crate) mod side_by_side;
pub(crate) mod spend;
pub(crate) mod target;
