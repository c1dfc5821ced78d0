//! The adapter to the engine under test: how to open it, apply one op, and read it back.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::text::{TextError, Word};
use crate::sim::state::State;

/// The error of an adapter's calls: any error. Reports show its text and its sources. If it says
/// why a store cannot be opened or read, the names of types and variants in its `Debug` form are
/// part of the violation's signature.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// An error that is no violation: the op failed, had no effect and never will have one.
///
/// An adapter that returns `Refused` promises that the op did not happen: if the store shows it
/// after a crash, that is a violation. It is meant for ops that the engine rejects before it
/// touches anything: a value beyond a limit, a write conflict, and every op after an error that the
/// engine cannot recover from without being reopened.
///
/// ```
/// use crashpoint::{Ack, Error, Refused};
///
/// fn put(value: &[u8]) -> Result<Ack, Error> {
///     if value.len() > 1024 {
///         return Err(Refused::because("the value is too long").into());
///     }
///     // ...
///     Ok(Ack::BUFFERED)
/// }
/// # assert!(put(&[0; 2000]).is_err_and(|error| error.is::<Refused>()));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(#[source] Error);

impl Refused {
    /// The op was refused with this error of the engine.
    pub fn because(error: impl Into<Error>) -> Self {
        Self(error.into())
    }
}

/// An error that is no violation: the op may have happened, or may not.
///
/// Any other error of an op is a violation, unless a fault was injected or the disk was full
/// before it. Both histories are followed, so each further error doubles their number. It is meant
/// for ops that are cut short by design, such as a commit whose time is up.
///
/// ```
/// use crashpoint::{Error, Uncertain};
///
/// let error: Error = Uncertain::because("the commit timed out").into();
/// assert!(error.is::<Uncertain>());
/// ```
#[derive(Debug, thiserror::Error)]
#[error("uncertain: {0}")]
pub struct Uncertain(#[source] Error);

impl Uncertain {
    /// The op was cut short, with this error of the engine.
    pub fn because(error: impl Into<Error>) -> Self {
        Self(error.into())
    }
}

/// The worst kind of crash that an acknowledged op survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// None: the op is in the memory of the process, and may be lost with it.
    Buffered,
    /// A crash of the process: the op is in the kernel, and may be lost with the power.
    Flushed,
    /// A power loss: the op is on the medium.
    Durable,
}

/// The promise that an op returns with: the [`Level`] that the op has reached or will reach, and
/// with it every op that returned before it.
///
/// Times are virtual and count from the return of the op. A promise for later is void if, before
/// its time has come, the process ends, an op fails or an injected error refuses a call; the next
/// acknowledgement covers the op again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// The level is reached now.
    Now(Level),
    /// The level is reached once this much time has passed; `Buffered` until then.
    Within(Level, Duration),
    /// The first level is reached now, the second once this much time has passed.
    Rising(Level, Level, Duration),
}

impl Ack {
    /// The op may be lost in any crash.
    pub const BUFFERED: Self = Self::Now(Level::Buffered);
    /// The op survives a crash of the process.
    pub const FLUSHED: Self = Self::Now(Level::Flushed);
    /// The op survives power loss.
    pub const DURABLE: Self = Self::Now(Level::Durable);

    /// The level that is reached in the end.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Now(level) | Self::Within(level, _) => level,
            Self::Rising(now, later, _) => now.max(later),
        }
    }
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

/// One operation of a workload, such as `put k1 v`.
///
/// Its `Display` form is its line in a case file, made of words (write keys
/// and values with [`quote`](crate::base::text::quote)). [`Operation::parse`] must read it
/// back. The first word names the op in a violation's signature, and must not be one of
/// the case grammar's, such as `fault`, `crash` or `sleep`.
pub trait Operation: Clone + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Reads an op from the words of its line, the op's name first.
    ///
    /// # Errors
    /// The column of the word that is wrong, and what was expected.
    fn parse(words: &[Word]) -> Result<Self, TextError>;
}

/// The adapter to the storage engine under test. Its code, and all that it calls, sees the
/// simulated disk and the simulated clocks; it needs no change to run there.
///
/// A run opens the store, applies ops, and reads the store back after each reopening and at the
/// end. After a crash it opens the store, reads it back, reopens it and reads it back again: the
/// two reads must agree. After two errors in a row, or three since the last opening that were not
/// [`Refused`], the store is closed and opened again.
///
/// An uncaught panic, an abort or a hang is a violation, and so is a thread that outlives
/// [`Engine::close`] (see [`Sim::THREADS_MAY_STAY`](crate::sim::Sim::THREADS_MAY_STAY)).
pub trait Engine: Sized + 'static {
    /// One operation.
    type Op: Operation;

    /// Opens the store in this directory, which exists; creates the store if it is not there.
    ///
    /// # Errors
    /// The engine's error. It is a violation, unless an injected fault or bit rot came before and
    /// [`Promises::survives`](crate::sim::promise::Promises::survives) allows it. After an
    /// injected error the call is tried again first.
    fn open(dir: &Path) -> Result<Self, Error>;

    /// Applies one op, and says how durable it and all ops before it are now.
    ///
    /// # Errors
    /// The engine's error. It is a violation of the class `op-failed` if no fault was injected and
    /// the disk was not full before it, unless it is [`Refused`] (the op did not happen) or
    /// [`Uncertain`]. After a fault the op may have happened, in whole or in one of its
    /// [parts](crate::sim::model::Model::partial), or not at all.
    fn apply(&mut self, op: &Self::Op) -> Result<Ack, Error>;

    /// Reads all items of the store, as its [`Model`](crate::sim::model::Model) would show them.
    ///
    /// # Errors
    /// The engine's error; judged as one of [`Engine::open`].
    fn scan(&mut self) -> Result<State, Error>;

    /// Looks up one item: `Some(Ok(None))` if it is absent, `None` (the default) if the engine
    /// has no lookup apart from the scan. It is called for every item that the scan lists or an
    /// op of the run sets, and for one that no op sets. Its result must agree with the scan;
    /// an error is judged as one of [`Engine::scan`].
    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let _ = item;
        None
    }

    /// The number of items in the store; `None` (the default) if the engine does not count them.
    /// It must agree with the scan; an error is judged as one of [`Engine::scan`].
    fn count(&mut self) -> Option<Result<usize, Error>> {
        None
    }

    /// Closes the store cleanly; by default it is dropped. The promise of a close is
    /// [`Promises::close`](crate::sim::promise::Promises::close).
    ///
    /// # Errors
    /// The engine's error. It is a violation of the class `close-failed` if no fault was injected
    /// and the disk was not full before it; else the close promises nothing.
    fn close(self) -> Result<(), Error> {
        Ok(())
    }
}
