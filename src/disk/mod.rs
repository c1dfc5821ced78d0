//! The simulated disk.

mod block;
pub mod content;
pub mod effect;
pub mod errno;
pub mod family;
pub mod fate;
pub mod io;
pub mod keep;
pub mod live;
pub mod lock;
pub mod names;
pub mod naming;
pub mod open;
pub mod path;
pub mod pending;
pub mod piece;
pub mod profile;
mod settle;
pub mod stat;
mod sync;
pub mod tree;

pub use effect::Ino;
pub use errno::Errno;
pub use live::{Disk, Journal};
pub use open::Handle;
pub use stat::{Listed, Stat};
