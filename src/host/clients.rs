//! Clients that work at the same time, within one step of a workload.
//!
//! The step's op lists the ops of each client ([`Model::clients`](crate::oracle::Model::clients));
//! the adapter starts a thread for each client and carries every op out by [`as_client`]. So the
//! log has when each op was issued and how it returned, and the oracle sees which of them
//! overlapped.

use super::script::{chain, with_kind};
use crate::log::Mark;
use crate::process::world;
use crate::sim::engine::{Ack, Error, Refused, Uncertain};

/// Carries out op `number` of client `client`, both counted from 0 as the model counts them, on
/// the client's own thread. A client's ops come one after the other, in their order; those after
/// one that failed may be left out.
///
/// # Errors
/// The error of `op`.
pub fn as_client(
    client: usize,
    number: usize,
    op: impl FnOnce() -> Result<Ack, Error>,
) -> Result<Ack, Error> {
    let [client, number] = [client, number].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    world::mark(Mark::IssuedBy(client, number));
    let result = op();
    match &result {
        Ok(ack) => world::mark(Mark::ReturnedBy(client, Ok(*ack))),
        Err(error) if error.is::<Refused>() => {
            world::mark(Mark::RefusedBy(client, &chain(&**error)));
        }
        Err(error) if error.is::<Uncertain>() => {
            world::mark(Mark::UncertainBy(client, &chain(&**error)));
        }
        Err(error) => {
            with_kind(error, |error| world::mark(Mark::ReturnedBy(client, Err(error))));
        }
    }
    result
}
