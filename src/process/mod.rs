//! What an unmodified engine sees in place of the kernel.
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#![expect(
    unsafe_code,
    reason = "the C library's symbols, and what the kernel is asked for directly"
)]

mod clock;
mod descriptors;
mod doors;
mod entropy;
mod faults;
mod kernel;
mod lock;
pub mod probe;
pub mod seam;
pub mod traps;
pub mod world;
