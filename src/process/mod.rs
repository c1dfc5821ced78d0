//! The simulated kernel interface that an unmodified engine runs on.
//!
//! From the bottom up: `seam` (which side of the engine/harness boundary a thread is on, and what
//! both sides need), `world` (the simulated state), `threads` (which real thread runs), `doors`
//! (our definitions of the C library's symbols).
#![expect(unsafe_code, reason = "the C library's symbols, and direct requests to the kernel")]

pub mod doors;
pub mod seam;
pub(crate) mod threads;
pub mod world;

#[cfg(feature = "inner")]
pub use doors::traps;
pub use threads::baton::settle;
pub(crate) use threads::panics::take_unseen as take_unseen_panics;
pub(crate) use world::panics::UnseenPanic;
