//! What a consumer of a stream asks of the store that it folds the stream into.

use std::path::Path;

use super::append_log::{Cursor, Entry, SnapshotError, Update};

/// A fold of a stream of updates: the live keys, and how far the stream was followed.
///
/// The two belong together. After a restart the consumer follows the stream from the cursor that
/// it finds, so a cursor that is ahead of the data loses updates for ever; data ahead of the cursor
/// is folded once more, with the same result.
pub trait SnapshotStore: Sized {
    /// Opens the store at `path` with its default settings, or creates it. The cursor is
    /// [`Cursor::none`] where nothing was applied yet.
    ///
    /// # Errors
    /// `Io` for what the file system says, `Backend` for what the engine below says,
    /// `InvalidFormat` or `Corrupted` if what is there is not such a store.
    fn load(path: &Path) -> Result<(Cursor, Self), SnapshotError>;

    /// Folds a batch in, and moves the cursor.
    ///
    /// # Errors
    /// `InvalidFormat` if an update cannot be stored; then nothing of the batch is. Anything else
    /// leaves open how much of the batch survives; the cursor does not without the whole batch.
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
