//! Crash testing for storage engines.

#[cfg(all(target_os = "linux", any(target_env = "musl", target_feature = "crt-static")))]
compile_error!(
    "crashpoint needs a dynamically linked glibc: in a static binary the engine's calls into the \
     C library cannot be taken over"
);

pub mod digest;
pub mod disk;
pub mod engine;
pub mod explore;
pub mod fault;
pub mod log;
pub mod oracle;
pub mod process;
pub mod seed;
pub mod state;
pub mod text;
pub mod time;
