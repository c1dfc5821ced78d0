//! Crash testing for storage engines.

#[cfg(all(target_os = "linux", any(target_env = "musl", target_feature = "crt-static")))]
compile_error!(
    "crashpoint needs a dynamically linked glibc: in a static binary the engine's calls into the \
     C library cannot be taken over"
);

pub mod case;
mod check;
pub mod cli;
mod client;
pub mod digest;
pub mod disk;
pub mod engine;
pub mod explore;
pub mod fault;
pub mod log;
pub mod oracle;
mod out;
mod pair;
pub mod process;
mod real;
pub mod registry;
mod report;
mod run;
mod script;
pub mod seed;
pub mod sim;
pub mod state;
pub mod store;
mod target;
pub mod text;
pub mod time;
mod verbs;

pub use check::{Finding, check, check_corpus, check_pair, check_store, find};
pub use pair::Acks;
pub use real::check_on_real_disk;
pub use registry::sim;
pub use store::Store;
