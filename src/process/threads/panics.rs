//! Panics on threads of the engine that nothing joins: std ends such a thread in silence.
//!
//! A panic is noted when it is raised. It is the engine's own affair if the thread is joined, which
//! passes the panic on, or if the thread makes another call after it has unwound, which shows that
//! the panic was caught. A scope joins its threads without a call, and reports that some of them
//! panicked by a panic of its own. What remains are threads that a panic ended and that nothing
//! joined.

use super::baton;
use crate::process::world;
use crate::process::world::panics::UnseenPanic;
use crate::process::world::schedule::FIRST;

/// Bytes of a panic's message that are kept.
const MESSAGE: usize = 1024;

/// The message of `std::thread::scope` when threads of it panicked that were not joined one by one.
const SCOPED: &str = "a scoped thread panicked";

/// A panic is raised on the calling thread. The first thread's own ends the process.
pub(crate) fn raised(place: &str, message: &str) {
    if message == SCOPED {
        // Which panics were the scope's is unknown: better to miss one than to blame a scope.
        world::try_enter(|world| world.panics.clear());
    }
    let thread = baton::own();
    if thread <= FIRST {
        return;
    }
    let length = message.floor_char_boundary(MESSAGE);
    let current = std::thread::current();
    let name = current.name().unwrap_or_default().to_owned();
    let panic =
        UnseenPanic { thread, name, place: place.to_owned(), message: message[..length].into() };
    // A panic inside the world is the harness's.
    world::try_enter(|world| world.panics.add(panic));
}

/// Takes the panics that ended a thread which was not joined.
pub(crate) fn take_unseen() -> Vec<UnseenPanic> {
    world::enter(|world| world.panics.take_unseen(&world.schedule)).unwrap_or_default()
}
