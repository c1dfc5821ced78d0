//! The public interface on platforms without the simulation: the same calls, which refuse to run.

use std::path::{Path, PathBuf};
#[cfg(feature = "command")]
use std::process::ExitCode;

use crate::sim::Sim;
use crate::sim::engine::{Ack, Error};
use crate::sim::store::Store;

/// Why nothing was tested.
const NEEDS: &str = "crashpoint needs Linux on x86-64 with glibc; nothing was tested";

/// A sim of a command.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
}

impl Entry {
    /// [`Sim::NAME`].
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The entry of a sim.
pub const fn sim<S: Sim>() -> Entry {
    Entry { name: S::NAME }
}

/// The sims that a command knows.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The sims, in the order of the table.
    pub sims: Vec<Entry>,
    /// A sim with a bug that each run must find.
    pub canary: Option<Entry>,
    /// The folder of saved cases, with one folder for each sim.
    pub corpus: PathBuf,
}

/// The command: it says that it needs Linux, and exits with 2.
#[cfg(feature = "command")]
pub fn main(_registry: &Registry) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the command's only message on this platform")]
    {
        eprintln!("error: {NEEDS}");
    }
    ExitCode::from(2)
}

/// Notes what the first of two functions acknowledged.
#[derive(Debug)]
pub struct Acks(());

impl Acks {
    /// This survives power loss from now on.
    pub fn durable(&mut self, _what: impl Into<String>) {}

    /// This survives the process from now on.
    pub fn flushed(&mut self, _what: impl Into<String>) {}
}

/// Carries out an op of one of several clients.
///
/// # Errors
/// What `op` returns.
pub fn as_client(
    _client: usize,
    _number: usize,
    op: impl FnOnce() -> Result<Ack, Error>,
) -> Result<Ack, Error> {
    op()
}

/// Tests a sim.
///
/// # Panics
/// Always: it needs Linux.
#[track_caller]
pub fn check<S: Sim>() {
    panic!("{NEEDS}");
}

/// Tests a key-value store.
///
/// # Panics
/// Always: it needs Linux.
#[track_caller]
pub fn check_store<S: Store>() {
    panic!("{NEEDS}");
}

/// Fails every call of a sim.
///
/// # Panics
/// Always: it needs Linux.
#[track_caller]
pub fn check_faults<S: Sim>() {
    panic!("{NEEDS}");
}

/// Tests two functions.
///
/// # Panics
/// Always: it needs Linux.
#[track_caller]
pub fn check_pair<R, C>(_run: R, _check: C)
where
    R: Fn(&Path, &mut Acks) -> Result<(), Error>,
    C: Fn(&Path, &[String]) -> Result<(), Error>,
{
    panic!("{NEEDS}");
}

/// Replays a corpus.
///
/// # Panics
/// Always: it needs Linux.
#[track_caller]
pub fn check_corpus<S: Sim>(_corpus: &Path) {
    panic!("{NEEDS}");
}
