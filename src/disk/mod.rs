//! The simulated disk.

pub mod content;
pub mod effect;
pub mod errno;
pub mod io;
pub mod live;
pub mod lock;
pub mod names;
pub mod open;
pub mod path;
pub mod stat;
mod sync;
pub mod tree;

pub use effect::Ino;
pub use errno::Errno;
pub use live::{Disk, Journal};
pub use open::Handle;
pub use stat::{Listed, Stat};
