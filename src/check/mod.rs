//! The interface for a user's own code: the entries of `cargo test`, and the sims of a command.

#[cfg(not(simulated))]
mod elsewhere;
#[cfg(simulated)]
mod entry;
#[cfg(simulated)]
mod passed;
#[cfg(simulated)]
mod real;

#[cfg(all(not(simulated), feature = "command"))]
pub use elsewhere::main;
#[cfg(not(simulated))]
pub use elsewhere::{
    Acks, Entry, Registry, as_client, check, check_corpus, check_faults, check_pair, check_store,
    sim,
};
#[cfg(simulated)]
pub use entry::{
    CaseFailed, FailedCalls, Found, check, check_case, check_corpus, check_faults, check_pair,
    check_store, fail_every_call, find, record,
};
#[cfg(all(simulated, feature = "inner"))]
pub use entry::{Small, check_at, measure, shrink_case};
#[cfg(simulated)]
pub use real::check_on_real_disk;

#[cfg(simulated)]
pub use crate::campaign::entry::{Entry, sim};
#[cfg(simulated)]
pub use crate::campaign::registry::Registry;
#[cfg(simulated)]
pub use crate::host::clients::as_client;
#[cfg(simulated)]
pub use crate::host::pair::Acks;
