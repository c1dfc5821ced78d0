//! The fold on [fjall](https://docs.rs/fjall): for folds that do not fit into memory.
//!
//! # Format
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `data` | the key | `version_len:u8 version value` |
//! | `meta` | `cursor` | the cursor's token, none to ten bytes |
//!
//! It is that of the crate `beyond-slipstream` (0.3.1, feature `fjall`): its stores open here, and
//! the other way round.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | [`SnapshotStore::apply`], `sync` off | survives the process, with all before it |
//! | [`SnapshotStore::apply`], `sync` on | survives power loss, with all before it |
//!
//! Data and cursor of a batch are one atomic write of the engine. With `sync` a crash leaves a
//! prefix of the batches. Without it the cursor that a crash leaves is never ahead of the data, and
//! folding again from that cursor ends in the state of the stream; data may be ahead of the cursor,
//! and is then folded again.
//!
//! One process at a time; [`FoldReader`]s read while the writer writes, on any thread. A read that
//! begins after `apply` has returned sees its batch. One that begins while `apply` is committing
//! waits for it.
//!
//! # What this adds to the engine
//!
//! fjall 3.1.13 syncs neither the folder that the store's folder is created in, nor the folder in
//! which it creates its keyspaces (`Keyspace::create_new`, and the tree of the meta keyspace, sync
//! the content of a new folder, but nothing syncs the folder's own name). A disk that does only
//! what fsync(2) promises may lose such a name after a power loss, and with it all that was ever
//! synced below it. So [`FjallFold::open`] syncs both before it returns.
//!
//! And fjall does not open a store that a crash left half created: it creates the first journal
//! before the file by which it recognises a store, and then finds that a journal exists already. So
//! a new fold is created next to its path, as `PATH.new`, and takes its name when it is complete.
//!
//! And a snapshot of fjall's may see half of a batch: a batch draws its number and is then inserted
//! into the memtables entry by entry; a flush or a compaction that ends meanwhile draws the next
//! number and makes all up to it visible (lsm-tree 3.1.10,
//! `SuperVersions::upgrade_version_with_seqno`). So no snapshot is taken while a batch is being
//! committed.

mod entry;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::Mutex;

use super::append_log::{Cursor, Entry, SnapshotError, Update, VersionToken};
use super::snapshot_store::SnapshotStore;
use entry::{check, decode, encode};

const DATA: &str = "data";
const META: &str = "meta";
const CURSOR: &[u8] = b"cursor";

/// The folder, below the store's, in which the engine keeps its keyspaces.
const KEYSPACES: &str = "keyspaces";

/// The settings of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldConfig {
    /// Whether each [`SnapshotStore::apply`] waits until its batch survives power loss. Off by
    /// default: a fold can always be folded again from its cursor.
    pub sync: bool,
    /// Bytes of the cache for blocks; 0 means the engine's own default. 1 GiB by default: the fold
    /// is read at random, and its blocks should stay in memory.
    pub cache_bytes: u64,
    /// The number of threads that flush and compact; 0 means the engine's own default, which
    /// depends on the number of CPUs.
    pub workers: usize,
    /// Bytes of a memtable above which it is flushed to a table; 0 means the engine's own default.
    /// The engine keeps the value that a store was created with.
    pub memtable_bytes: u64,
    /// Create a new store directly at its path, as the engine does: one that a crash interrupts
    /// never opens.
    pub created_in_place: bool,
    /// A planted bug: leave the names of the keyspaces' folders unsynced, as the engine does.
    #[doc(hidden)]
    pub names_not_synced: bool,
}

impl Default for FoldConfig {
    fn default() -> Self {
        Self {
            sync: false,
            cache_bytes: 1 << 30,
            workers: 0,
            memtable_bytes: 0,
            created_in_place: false,
            names_not_synced: false,
        }
    }
}

/// The writer of a fold.
pub struct FjallFold {
    meta: Keyspace,
    reader: FoldReader,
    durability: PersistMode,
    cursor: Cursor,
}

/// Reads a fold while its writer writes it; cheap to clone, and usable on any thread. While one is
/// alive the store stays open, and locked.
#[derive(Clone)]
pub struct FoldReader {
    database: Database,
    data: Keyspace,
    /// Held while a batch is committed, and while a snapshot is taken. A fair lock: with the
    /// standard library's, a writer that never pauses could shut the readers out for ever.
    between_batches: Arc<Mutex<()>>,
}

impl FjallFold {
    /// Opens the fold in the folder `path`, or creates it; returns the cursor from which to follow
    /// the stream.
    ///
    /// # Errors
    /// `Io` for an error of the file system, `Backend` for one of the engine, `InvalidFormat` if
    /// the stored cursor is longer than a cursor can be.
    pub fn open(path: &Path, config: FoldConfig) -> Result<(Cursor, Self), SnapshotError> {
        create_dir(path)?;
        if !config.created_in_place && fs::read_dir(path)?.next().is_none() {
            create_aside(path, config)?;
        }
        Self::open_here(path, config)
    }

    /// Opens or creates the fold in an existing folder.
    fn open_here(path: &Path, config: FoldConfig) -> Result<(Cursor, Self), SnapshotError> {
        let mut builder = Database::builder(path);
        if config.cache_bytes > 0 {
            builder = builder.cache_size(config.cache_bytes);
        }
        if config.workers > 0 {
            builder = builder.worker_threads(config.workers);
        }
        let database = builder.open().map_err(backend)?;
        let data = keyspace(&database, DATA, config.memtable_bytes)?;
        // The cursor is a fraction of a batch: its memtable should fill at about the same time.
        let meta = keyspace(&database, META, config.memtable_bytes.div_ceil(8))?;
        if !config.names_not_synced {
            sync_dir(&path.join(KEYSPACES))?;
        }
        let cursor = stored_cursor(&meta)?;
        let durability = if config.sync { PersistMode::SyncAll } else { PersistMode::Buffer };
        let reader = FoldReader { database, data, between_batches: Arc::default() };
        Ok((cursor, Self { meta, reader, durability, cursor }))
    }

    /// The cursor of the last batch.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// A handle that reads the fold while this one writes it.
    #[must_use]
    pub fn reader(&self) -> FoldReader {
        self.reader.clone()
    }
}

impl SnapshotStore for FjallFold {
    fn load(path: &Path) -> Result<(Cursor, Self), SnapshotError> {
        Self::open(path, FoldConfig::default())
    }

    fn apply(&mut self, batch: &[Update], cursor: &Cursor) -> Result<(), SnapshotError> {
        batch.iter().try_for_each(check)?;
        let FoldReader { database, data, .. } = &self.reader;
        let mut write = database.batch().durability(Some(self.durability));
        for update in batch {
            match update {
                Update::Put(entry) => write.insert(data, entry.key.as_bytes(), encode(entry)),
                Update::Delete { key, .. } | Update::Purge { key, .. } => {
                    write.remove(data, key.as_bytes());
                }
            }
        }
        write.insert(&self.meta, CURSOR, cursor.version().as_bytes());
        let alone = self.reader.between_batches.lock();
        write.commit().map_err(backend)?;
        drop(alone);
        self.cursor = *cursor;
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, SnapshotError> {
        self.reader.get(key)
    }

    fn for_each_in_range(
        &self,
        prefix: &str,
        visit: impl FnMut(Entry) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        self.reader.for_each_in_range(prefix, visit)
    }
}

impl FoldReader {
    /// As [`SnapshotStore::get`].
    ///
    /// # Errors
    /// As [`SnapshotStore::load`].
    pub fn get(&self, key: &str) -> Result<Option<Entry>, SnapshotError> {
        let value = self.data.get(key.as_bytes()).map_err(backend)?;
        value.map(|value| decode(key.as_bytes(), &value)).transpose()
    }

    /// As [`SnapshotStore::for_each_in_range`]. The entries are those of one point in time.
    ///
    /// # Errors
    /// As [`SnapshotStore::load`]; the visitor's own error ends the visit.
    pub fn for_each_in_range(
        &self,
        prefix: &str,
        mut visit: impl FnMut(Entry) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        // `Keyspace::prefix` reads whatever is newest when it gets there (3.1.13): half a batch, if
        // the writer is committing one.
        let alone = self.between_batches.lock();
        let snapshot = self.database.snapshot();
        drop(alone);
        for entry in snapshot.prefix(&self.data, prefix.as_bytes()) {
            let (key, value) = entry.into_inner().map_err(backend)?;
            visit(decode(&key, &value)?)?;
        }
        Ok(())
    }

    /// As [`SnapshotStore::range`].
    ///
    /// # Errors
    /// As [`SnapshotStore::load`].
    pub fn range(&self, prefix: &str) -> Result<Vec<Entry>, SnapshotError> {
        let mut entries = Vec::new();
        self.for_each_in_range(prefix, |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }
}

fn keyspace(
    database: &Database,
    name: &str,
    memtable_bytes: u64,
) -> Result<Keyspace, SnapshotError> {
    let options = || match memtable_bytes {
        0 => KeyspaceCreateOptions::default(),
        bytes => KeyspaceCreateOptions::default().max_memtable_size(bytes),
    };
    database.keyspace(name, options).map_err(backend)
}

fn stored_cursor(meta: &Keyspace) -> Result<Cursor, SnapshotError> {
    match meta.get(CURSOR).map_err(backend)? {
        Some(token) => {
            let token = VersionToken::from_bytes(&token).map_err(|_| {
                SnapshotError::InvalidFormat(format!("stored cursor of {} bytes", token.len()))
            })?;
            Ok(Cursor::from_version(token))
        }
        None => Ok(Cursor::none()),
    }
}

/// Creates a folder, if need be, so that its name survives power loss.
fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        // An earlier process may have died before it synced the name.
        return sync_parent(path);
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => create_dir(parent)?,
        _ => {}
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_parent(path)
}

/// Creates a fold next to `path`, an empty folder, and renames it there. A path without a name of
/// its own, such as `.`, is left for the caller to create the fold in.
fn create_aside(path: &Path, config: FoldConfig) -> Result<(), SnapshotError> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let mut aside = name.to_owned();
    aside.push(".new");
    let aside = &path.with_file_name(aside);
    match fs::remove_dir_all(aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    fs::create_dir(aside)?;
    let (_, fold) = FjallFold::open_here(aside, config)?;
    drop(fold);
    // The new folder replaces the empty one.
    fs::rename(aside, path)?;
    Ok(sync_parent(path)?)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An error of the file system stays one; all others become the source of a `Backend` error.
fn backend(error: fjall::Error) -> SnapshotError {
    match error {
        fjall::Error::Io(error) => SnapshotError::Io(error),
        other => SnapshotError::Backend(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_fold_that_a_crash_left_half_created_is_created_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, aside) = (dir.path().join("store"), dir.path().join("store.new"));
        fs::create_dir(&aside).expect("creates");
        fs::write(aside.join("0.jnl"), b"").expect("writes");
        let config = FoldConfig { workers: 1, cache_bytes: 0, ..FoldConfig::default() };
        let (cursor, fold) = FjallFold::open(&path, config).expect("opens");
        assert!(cursor.is_none() && !aside.exists());
        drop(fold);
        FjallFold::open(&path, config).expect("opens again");
    }

    #[test]
    fn a_stored_cursor_that_is_too_long_is_refused_at_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store");
        let config = FoldConfig { workers: 1, cache_bytes: 0, ..FoldConfig::default() };
        let (_, fold) = FjallFold::open(&path, config).expect("opens");
        fold.meta.insert(CURSOR, [7; 11]).expect("inserts");
        drop(fold);
        let refused = FjallFold::open(&path, config).map(|(cursor, _)| cursor);
        let Err(SnapshotError::InvalidFormat(what)) = refused else { panic!("{refused:?}") };
        assert_eq!(what, "stored cursor of 11 bytes");
    }

    #[test]
    fn an_entry_of_another_format_is_an_error_that_says_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = FoldConfig { workers: 1, cache_bytes: 0, ..FoldConfig::default() };
        let (_, fold) = FjallFold::open(&dir.path().join("store"), config).expect("opens");
        let stored: [(&[u8], &[u8], &str); 4] = [
            (b"k", b"", "entry \"k\" is empty"),
            (b"k", &[3, 1, 2], "entry \"k\" ends inside its version of 3 bytes"),
            (b"k", &[11; 12], "token of 11 bytes (at most 10)"),
            (b"\xff", &[0, 1], "key \"\\xff\" is not UTF-8"),
        ];
        for (key, value, says) in stored {
            fold.reader.data.insert(key, value).expect("inserts");
            let error = fold.range("").expect_err("is no entry");
            assert_eq!(error.to_string(), format!("invalid snapshot format: {says}"));
            fold.reader.data.remove(key).expect("removes");
        }
    }
}
