//! What an adapter brings: how to open the engine under test, apply one op, and read it back.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::text::{TextError, Word};
use crate::sim::state::State;

/// What an adapter's calls fail with: any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// An error that says more: the op failed, and it had no effect and never will have.
///
/// After any other error nobody knows whether the op happened, so both are followed, and a store
/// that goes on failing doubles what is followed with each op. An adapter that returns this one
/// states a promise: what shows a refused op after a crash is a violation. It is for ops that the
/// engine turns down before it touches anything, such as every op after an error that it cannot
/// go on from.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(#[source] Error);

impl Refused {
    /// The op was refused, and this is what the engine said.
    pub fn because(said: impl Into<Error>) -> Self {
        Self(said.into())
    }
}

/// How much an engine promised for an op, and for all before it, when the op returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// In the process: lost with it.
    Buffered,
    /// In the kernel: survives the process, not a power loss.
    Flushed,
    /// Survives power loss.
    Durable,
}

/// The promise that an op returned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// At this level now.
    Now(Level),
    /// At this level once this much virtual time has passed.
    Within(Level, Duration),
    /// At the first level now, and at the second once this much virtual time has passed.
    Rising(Level, Level, Duration),
}

impl Ack {
    /// In the process only.
    pub const BUFFERED: Self = Self::Now(Level::Buffered);
    /// Survives the process.
    pub const FLUSHED: Self = Self::Now(Level::Flushed);
    /// Survives power loss.
    pub const DURABLE: Self = Self::Now(Level::Durable);
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffered => "buffered",
            Self::Flushed => "flushed",
            Self::Durable => "durable",
        })
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(level) => write!(f, "{level}"),
            Self::Within(level, duration) => write!(f, "{level} within {duration:?}"),
            Self::Rising(now, later, duration) => {
                write!(f, "{now}, {later} within {duration:?}")
            }
        }
    }
}

/// One operation of a workload. Its `Display` form is what a case file holds: one line of words
/// (see [`crate::base::text`]), which [`Operation::parse`] reads back.
pub trait Operation: Clone + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Reads an op from the words of its line.
    ///
    /// # Errors
    /// The column of the word that is wrong, and what was expected.
    fn parse(words: &[Word]) -> Result<Self, TextError>;
}

/// The adapter to the storage engine under test.
pub trait Engine: Sized + 'static {
    /// One operation.
    type Op: Operation;

    /// Opens the store in a directory, creating it if there is none.
    ///
    /// # Errors
    /// What the engine says. After a pure crash that is a violation.
    fn open(dir: &Path) -> Result<Self, Error>;

    /// Applies one op; says what the engine promised when it returned.
    ///
    /// # Errors
    /// What the engine says: the op may then have happened or not, unless it is [`Refused`].
    fn apply(&mut self, op: &Self::Op) -> Result<Ack, Error>;

    /// All items of the store.
    ///
    /// # Errors
    /// What the engine says.
    fn scan(&mut self) -> Result<State, Error>;

    /// Looks one item up. An engine that has no lookup beside the scan leaves the default, which
    /// says so with `None`.
    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let _ = item;
        None
    }

    /// How many items the engine says that it has, if it can say.
    fn count(&mut self) -> Option<Result<usize, Error>> {
        None
    }

    /// Closes the store in good order.
    ///
    /// # Errors
    /// What the engine says.
    fn close(self) -> Result<(), Error> {
        Ok(())
    }
}
