//! The processes that engine code runs in: the fork server, its explorers, their children, and how
//! they end.
#![expect(unsafe_code, reason = "forks, signals, shared memory, and direct requests to the kernel")]

pub(crate) mod channel;
pub mod child;
pub(crate) mod clients;
pub(crate) mod cpu;
pub mod ending;
pub(crate) mod entry;
pub mod environment;
pub mod fork_server;
pub(crate) mod interrupt;
pub(crate) mod item;
pub(crate) mod limits;
pub(crate) mod note;
pub(crate) mod pair;
pub mod probe;
pub mod region;
pub(crate) mod role;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod shelf;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod stderr;
pub(crate) mod watch;

#[cfg(feature = "inner")]
pub use item::item;
#[cfg(feature = "inner")]
pub use signals::{PanicNote, last_panic, last_words};

#[cfg(feature = "inner")]
pub use crate::process::seam::altstack::AltStack;
