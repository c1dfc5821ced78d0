//! What an unmodified engine sees in place of the kernel.
#![expect(
    unsafe_code,
    reason = "the C library's symbols, and what the kernel is asked for directly"
)]

pub mod doors;
pub mod seam;
pub(crate) mod threads;
pub mod world;

pub use doors::traps;
pub use threads::baton::settle;
pub(crate) use threads::panics::take_unseen as take_unseen_panics;
pub(crate) use world::panics::UnseenPanic;
