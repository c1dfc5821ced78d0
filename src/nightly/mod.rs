//! Campaigns: cells that are drawn without end, a ledger that survives any crash, and what the
//! ledgers of many machines add up to.

pub(crate) mod arguments;
pub(crate) mod build;
pub(crate) mod cell;
pub(crate) mod estimate;
pub(crate) mod findings;
pub(crate) mod ledger;
pub mod lines;
pub(crate) mod merge;
pub(crate) mod page;
pub(crate) mod replace;
pub(crate) mod shard;
pub(crate) mod summary;
pub(crate) mod total;
pub(crate) mod universe;
pub(crate) mod work;
