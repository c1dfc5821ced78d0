//! Crash testing for storage engines.
#![doc = include_str!("../README.md")]

#[cfg(all(target_os = "linux", any(target_env = "musl", target_feature = "crt-static")))]
compile_error!(
    "crashpoint needs a dynamically linked glibc: in a static binary the engine's calls into the \
     C library cannot be taken over"
);

pub mod base;
#[cfg(simulated)]
pub mod campaign;
pub mod case;
mod check;
#[cfg(all(simulated, feature = "command"))]
pub mod command;
pub mod disk;
#[cfg(simulated)]
pub mod explore;
#[cfg(simulated)]
#[doc(hidden)]
pub mod host;
pub mod litmus;
#[cfg(simulated)]
pub mod log;
pub mod oracle;
#[cfg(simulated)]
#[doc(hidden)]
pub mod process;
#[cfg(simulated)]
mod report;
pub mod sim;

#[cfg(simulated)]
pub use campaign::entry::sim;
#[cfg(simulated)]
#[doc(hidden)]
pub use check::measure;
#[cfg(not(simulated))]
pub use check::{Acks, as_client, check, check_corpus, check_faults, check_pair, check_store};
#[cfg(simulated)]
pub use check::{
    CaseFailed, FailedCalls, Found, check, check_case, check_corpus, check_faults,
    check_on_real_disk, check_pair, check_store, fail_every_call, find, record,
};
#[cfg(simulated)]
pub use host::clients::as_client;
#[cfg(simulated)]
pub use host::pair::Acks;
pub use sim::store::Store;
