//! Makes a failing case small: a search over cases, and the replays that judge its candidates.

mod counts;
mod edit;
mod passes;
mod search;
mod simpler;
mod size;
#[cfg(test)]
mod tests;
mod trial;

pub(crate) use counts::Counts;
#[cfg(test)]
use search::{End, Search};
pub(crate) use trial::shrink;

/// The recoveries that are spent on one failure if nothing else is asked for.
pub(crate) const BUDGET: u64 = 2000;
