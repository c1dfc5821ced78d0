//! The sims that a command knows.

use std::path::PathBuf;

use super::entry::Entry;

/// The sims that a command knows.
#[derive(Clone)]
pub struct Registry {
    /// The sims, in the order of the table.
    pub sims: Vec<Entry>,
    /// A sim with a bug that each run must find.
    pub canary: Option<Entry>,
    /// The folder of saved cases, with one folder for each sim.
    pub corpus: PathBuf,
}

impl Registry {
    /// All sims, the canary among them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.sims.iter().chain(&self.canary)
    }

    /// The sim of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.all().find(|entry| entry.name == name)
    }
}
