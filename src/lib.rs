//! Crash testing for storage engines.
#![doc = include_str!("../README.md")]

#[cfg(all(target_os = "linux", any(target_env = "musl", target_feature = "crt-static")))]
compile_error!(
    "crashpoint needs a dynamically linked glibc: in a static binary the engine's calls into the \
     C library cannot be taken over"
);

pub mod case;
#[cfg(simulated)]
mod check;
#[cfg(simulated)]
pub mod cli;
#[cfg(simulated)]
mod client;
#[cfg(simulated)]
mod clients;
pub mod digest;
#[cfg(simulated)]
pub mod disk;
#[cfg(not(simulated))]
mod elsewhere;
pub mod engine;
#[cfg(simulated)]
pub mod explore;
pub mod fault;
#[cfg(simulated)]
mod injected;
#[cfg(simulated)]
pub mod litmus;
#[cfg(simulated)]
pub mod log;
pub mod oracle;
#[cfg(simulated)]
mod out;
#[cfg(simulated)]
mod pair;
#[cfg(simulated)]
mod parts;
#[cfg(simulated)]
#[doc(hidden)]
pub mod process;
#[cfg(simulated)]
mod real;
#[cfg(simulated)]
pub mod registry;
#[cfg(simulated)]
mod report;
#[cfg(simulated)]
mod run;
#[cfg(simulated)]
mod script;
pub mod seed;
pub mod sim;
pub mod state;
pub mod store;
#[cfg(simulated)]
mod target;
pub mod text;
pub mod time;
#[cfg(simulated)]
mod verbs;

#[cfg(simulated)]
#[doc(hidden)]
pub use check::measure;
#[cfg(simulated)]
pub use check::{
    Failed, Finding, check, check_case, check_corpus, check_faults, check_pair, check_store,
    fail_every_call, find, record,
};
#[cfg(simulated)]
pub use clients::as_client;
#[cfg(not(simulated))]
pub use elsewhere::{Acks, as_client, check, check_corpus, check_faults, check_pair, check_store};
#[cfg(simulated)]
pub use pair::Acks;
#[cfg(simulated)]
pub use real::check_on_real_disk;
#[cfg(simulated)]
pub use registry::sim;
pub use store::Store;
