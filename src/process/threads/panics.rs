//! Panics on threads that nobody looks after: std ends such a thread in silence.
//!
//! A panic is noted when it is raised. It is the engine's own affair if the thread is joined, which
//! hands the panic over, or goes on to make calls when it has unwound, which shows that it was
//! caught. A scope joins its threads without a call, and says of those that panicked by a panic of
//! its own. What is left are threads that a panic ended and that nobody joined.

use std::fmt;

use super::baton;
use crate::process::world::schedule::{FIRST, Id};
use crate::process::world::{self, World};

/// Bytes of a panic's message that are kept.
const MESSAGE: usize = 1024;

/// What `std::thread::scope` says when threads of it panicked that were not joined one by one.
const SCOPED: &str = "a scoped thread panicked";

/// A panic on a thread of the engine, which nobody has dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// The thread.
    pub(crate) thread: Id,
    /// Its name; empty if it has none.
    pub(crate) name: String,
    /// Where the panic was raised, as `file:line`; empty if nobody knows.
    pub(crate) place: String,
    /// What it said.
    pub(crate) message: String,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.thread)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        write!(f, " panicked at {}: {}", self.place, self.message)
    }
}

/// A panic is raised on the calling thread. The first thread's own ends the process.
pub(crate) fn raised(place: &str, message: &str) {
    if message == SCOPED {
        // Whose they were is not known: better to miss one than to blame a scope.
        world::try_enter(|world| world.panics.clear());
    }
    let thread = baton::own();
    if thread <= FIRST {
        return;
    }
    let length = message.floor_char_boundary(MESSAGE);
    let current = std::thread::current();
    let name = current.name().unwrap_or_default().to_owned();
    let unseen =
        Unseen { thread, name, place: place.to_owned(), message: message[..length].into() };
    // A panic inside the world is the harness's.
    world::try_enter(|world| world.panics.push(unseen));
}

impl World {
    /// A call of the running thread: if it has unwound, somebody caught its panic.
    #[cold]
    pub(crate) fn outlived_panics(&mut self) {
        if !std::thread::panicking() {
            self.forget_panics(self.schedule.current());
        }
    }

    /// Somebody has dealt with the panics of a thread.
    pub(crate) fn forget_panics(&mut self, thread: Id) {
        self.panics.retain(|unseen| unseen.thread != thread);
    }

    /// What ended threads that nobody has joined.
    pub(crate) fn unseen_panics(&self) -> Vec<Unseen> {
        let ended = |unseen: &&Unseen| self.schedule.has_ended(unseen.thread);
        self.panics.iter().filter(ended).cloned().collect()
    }
}

/// Takes the panics that ended threads which nobody has joined.
pub(crate) fn take() -> Vec<Unseen> {
    let take = |world: &mut World| {
        let unseen = world.unseen_panics();
        world.panics.retain(|panic| !unseen.contains(panic));
        unseen
    };
    world::enter(take).unwrap_or_default()
}
