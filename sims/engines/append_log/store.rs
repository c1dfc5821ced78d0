//! The log as a store to query: its live entries in memory, each batch appended to the file.

use std::path::Path;

use super::{Cursor, Entry, Snapshot, SnapshotError, SnapshotWriter, Update, load};
use crate::engines::snapshot_store::SnapshotStore;

/// A store from [`SnapshotStore::load`] compacts when more than this many bytes (64 MiB) were
/// appended since the last compaction.
const COMPACT_THRESHOLD: u64 = 64 * 1024 * 1024;

/// A [`SnapshotStore`] on an append log.
///
/// A batch is appended record by record, its cursor last. A crash may keep the front of a batch
/// without its cursor; the consumer then folds the batch again.
#[derive(Debug)]
pub struct AppendLogStore {
    writer: SnapshotWriter,
    snapshot: Snapshot,
}

impl AppendLogStore {
    /// Opens the log at `path`, or creates it; it is compacted whenever more than
    /// `compact_threshold` bytes were appended.
    ///
    /// # Errors
    /// As [`SnapshotWriter::open`].
    pub fn open(path: &Path, compact_threshold: u64) -> Result<(Cursor, Self), SnapshotError> {
        let writer = SnapshotWriter::open(path, compact_threshold)?;
        let snapshot = load(path)?.unwrap_or_default();
        Ok((snapshot.cursor, Self { writer, snapshot }))
    }

    /// The cursor of the last batch.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.snapshot.cursor
    }
}

impl SnapshotStore for AppendLogStore {
    fn load(path: &Path) -> Result<(Cursor, Self), SnapshotError> {
        Self::open(path, COMPACT_THRESHOLD)
    }

    fn apply(&mut self, batch: &[Update], cursor: &Cursor) -> Result<(), SnapshotError> {
        batch.iter().try_for_each(super::record::check)?;
        for update in batch {
            self.writer.write_update(update)?;
            // A queued update is in the log, whatever happens to the rest of the batch.
            match update {
                Update::Put(entry) => {
                    self.snapshot.entries.insert(entry.key.clone(), entry.clone());
                }
                Update::Delete { key, .. } | Update::Purge { key, .. } => {
                    self.snapshot.entries.remove(key);
                }
            }
        }
        let compact = self.writer.checkpoint(cursor)?;
        self.snapshot.cursor = *cursor;
        if compact {
            self.writer.compact()?;
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, SnapshotError> {
        Ok(self.snapshot.entries.get(key).cloned())
    }

    fn for_each_in_range(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Entry) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let from = self.snapshot.entries.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .try_for_each(|(_, entry)| visit(entry.clone()))
    }
}
