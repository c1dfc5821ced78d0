//! Reports of a run, for people and for machines: text, tables, JSON.

#[cfg(feature = "command")]
pub(crate) mod event;
#[cfg(feature = "command")]
pub(crate) mod json;
pub(crate) mod page;
#[cfg(feature = "command")]
pub(crate) mod table;
pub(crate) mod text;
#[cfg(feature = "command")]
pub(crate) mod trace;
