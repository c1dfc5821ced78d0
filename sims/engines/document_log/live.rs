//! Finds the live lines of a log: those of each document, each index and each schema.

use std::collections::BTreeMap;

use super::entry::{DELETE, DROP, INDEX, INSERT, LogEntry, SCHEMA};
use super::lines::Extent;

/// The lines that a compaction keeps.
#[derive(Debug, Default)]
pub(super) struct Live {
    schemas: BTreeMap<String, Extent>,
    indexes: BTreeMap<(String, String), Extent>,
    documents: BTreeMap<(String, String), Extent>,
    /// Commands that this version does not know: kept as they are, in their order.
    others: Vec<Extent>,
}

impl Live {
    /// Accepts the next entry.
    pub(super) fn apply(&mut self, entry: LogEntry, extent: Extent) {
        let LogEntry { cmd, collection, key, .. } = entry;
        match cmd.as_str() {
            INSERT => drop(self.documents.insert((collection, key), extent)),
            DELETE => drop(self.documents.remove(&(collection, key))),
            DROP => {
                self.documents.retain(|(of, _), _| *of != collection);
                self.indexes.retain(|(of, _), _| *of != collection);
            }
            INDEX => drop(self.indexes.insert((collection, key), extent)),
            SCHEMA => drop(self.schemas.insert(collection, extent)),
            _ => self.others.push(extent),
        }
    }

    /// The lines, in the order in which they are written: the same state gives the same order.
    /// Schemas and indexes come before the documents that they apply to.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        let schemas = self.schemas.values();
        schemas
            .chain(self.indexes.values())
            .chain(&self.others)
            .chain(self.documents.values())
            .copied()
    }
}
