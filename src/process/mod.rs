//! What an unmodified engine sees in place of the kernel.
#![expect(
    unsafe_code,
    reason = "the C library's symbols, and what the kernel is asked for directly"
)]

mod baton;
mod channel;
mod clock;
mod cpu;
mod descriptors;
mod dispatch;
mod doors;
pub mod ending;
mod entropy;
mod faults;
mod heap;
mod item;
mod kernel;
pub mod leaf;
mod lock;
mod note;
mod panics;
pub mod place;
pub mod probe;
pub mod region;
pub mod schedule;
pub mod seam;
mod server;
mod shelf;
mod signals;
mod spin;
mod start;
mod stderr;
mod strike;
pub mod template;
pub mod traps;
pub mod watch;
pub mod world;

pub use baton::settle;
pub use item::item;
pub(crate) use panics::{Unseen, take as take_unseen_panics};
pub use signals::{AltStack, PanicNote, last_panic, last_words};
