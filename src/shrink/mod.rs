//! Makes a failing case small: a search over cases, and the replays that judge its candidates.

mod asked;
mod counts;
mod edit;
mod passes;
mod search;
mod shown;
mod simpler;
mod size;
#[cfg(test)]
mod tests;
mod trial;

pub(crate) use asked::is_asked_for;
pub(crate) use counts::Counts;
pub(crate) use shown::{Shown, shown};
pub(crate) use trial::shrink;

/// The recoveries that are spent on one failure if nothing else is asked for.
pub(crate) const BUDGET: u64 = 2000;
