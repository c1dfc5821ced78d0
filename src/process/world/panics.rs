//! The panics on threads of the engine that nothing has dealt with.

use std::fmt;

use super::schedule::{Schedule, ThreadId};

/// A panic on a thread of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnseenPanic {
    /// The thread.
    pub(crate) thread: ThreadId,
    /// Its name; empty if it has none.
    pub(crate) name: String,
    /// Where the panic was raised, as `file:line`; empty if that is unknown.
    pub(crate) place: String,
    /// Its message.
    pub(crate) message: String,
}

impl fmt::Display for UnseenPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.thread)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        write!(f, " panicked at {}: {}", self.place, self.message)
    }
}

/// The panics that were raised and not yet caught, joined or reported.
#[derive(Default)]
pub(crate) struct Panics(Vec<UnseenPanic>);

impl Panics {
    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a panic that was raised just now.
    pub(crate) fn add(&mut self, panic: UnseenPanic) {
        self.0.push(panic);
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets those of one thread: it was joined, or they were caught.
    pub(crate) fn forget(&mut self, thread: ThreadId) {
        self.0.retain(|panic| panic.thread != thread);
    }

    /// Those that ended a thread which was not joined.
    pub(crate) fn unseen(&self, schedule: &Schedule) -> Vec<UnseenPanic> {
        let ended = |panic: &&UnseenPanic| schedule.has_ended(panic.thread);
        self.0.iter().filter(ended).cloned().collect()
    }

    /// Takes those that ended a thread which was not joined.
    pub(crate) fn take_unseen(&mut self, schedule: &Schedule) -> Vec<UnseenPanic> {
        let unseen = self.unseen(schedule);
        self.0.retain(|panic| !unseen.contains(panic));
        unseen
    }
}
