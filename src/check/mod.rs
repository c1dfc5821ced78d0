//! What a `cargo test` calls.

#[cfg(not(simulated))]
pub(crate) mod elsewhere;
#[cfg(simulated)]
mod entry;
#[cfg(simulated)]
pub(crate) mod real;

#[cfg(not(simulated))]
pub use elsewhere::{Acks, as_client, check, check_corpus, check_faults, check_pair, check_store};
#[cfg(simulated)]
pub use entry::{
    CaseFailed, FailedCalls, Found, check, check_case, check_corpus, check_faults, check_pair,
    check_store, fail_every_call, find, measure, record,
};
#[cfg(simulated)]
pub use real::check_on_real_disk;
