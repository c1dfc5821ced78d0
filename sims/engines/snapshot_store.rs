//! The interface of a store that a consumer folds a stream of updates into.

use std::path::Path;

use super::append_log::{Cursor, Entry, SnapshotError, Update};

/// A fold of a stream of updates: the live keys, and how far the stream has been followed.
///
/// The two belong together. After a restart the consumer follows the stream from the cursor that
/// it finds, so a cursor ahead of the data loses updates for ever; data ahead of the cursor is
/// folded again, with the same result.
pub trait SnapshotStore: Sized {
    /// Opens the store at `path` with its default settings, or creates it. The cursor is
    /// [`Cursor::none`] if nothing has been applied yet.
    ///
    /// # Errors
    /// `Io` for an error of the file system, `Backend` for one of the underlying engine,
    /// `InvalidFormat` or `Corrupted` if `path` holds something other than such a store.
    fn load(path: &Path) -> Result<(Cursor, Self), SnapshotError>;

    /// Folds a batch in, and moves the cursor.
    ///
    /// # Errors
    /// `InvalidFormat` if an update cannot be stored; then none of the batch is. After any other
    /// error any part of the batch may survive, but the cursor only with the whole batch.
    fn apply(&mut self, batch: &[Update], cursor: &Cursor) -> Result<(), SnapshotError>;

    /// The live entry of a key.
    ///
    /// # Errors
    /// As [`SnapshotStore::load`].
    fn get(&self, key: &str) -> Result<Option<Entry>, SnapshotError>;

    /// Visits the live entries whose keys start with `prefix`, in the order of their keys, one at a
    /// time.
    ///
    /// # Errors
    /// As [`SnapshotStore::load`]; the visitor's own error ends the visit.
    fn for_each_in_range(
        &self,
        prefix: &str,
        visit: impl FnMut(Entry) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError>;

    /// The live entries whose keys start with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// As [`SnapshotStore::load`].
    fn range(&self, prefix: &str) -> Result<Vec<Entry>, SnapshotError> {
        let mut entries = Vec::new();
        self.for_each_in_range(prefix, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }
}
