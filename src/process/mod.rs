//! What an unmodified engine sees in place of the kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#![expect(
    unsafe_code,
    reason = "the C library's symbols, and what the kernel is asked for directly"
)]

mod channel;
mod cpu;
pub mod ending;
mod kernel;
pub mod leaf;
mod note;
pub mod place;
pub mod region;
mod server;
mod signals;
mod start;
mod stderr;
pub mod template;
pub mod watch;

pub use signals::{AltStack, PanicNote, last_panic, last_words};
