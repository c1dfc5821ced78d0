//! Many workloads of many sims: what is run, and what comes of it.

pub(crate) mod client;
pub(crate) mod parts;
pub mod registry;
pub(crate) mod run;
pub(crate) mod target;
