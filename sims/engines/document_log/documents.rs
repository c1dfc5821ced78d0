//! Documents by collection and key, on either storage. Only their places are in memory; a read
//! takes the document from the log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::core::lock;
use super::entry::{DELETE, DROP, INSERT};
use super::generation::Pointer;
use super::{LogEntry, LogError, Storage};

/// The places of a collection's documents.
type Places = BTreeMap<String, Pointer>;

/// A store of JSON documents. All calls may be made by several threads: those on different
/// collections do not wait for each other's version checks.
#[derive(Debug)]
pub struct Documents<S> {
    storage: S,
    collections: Mutex<BTreeMap<String, Arc<Mutex<Places>>>>,
    /// The generation that all places were last moved to.
    generation: Mutex<u64>,
}

/// A document to write: collection, key, value.
pub type Item = (String, String, Value);

impl<S: Storage> Documents<S> {
    /// Opens the documents of a log.
    ///
    /// # Errors
    /// As [`Storage::replay`].
    pub fn open(storage: S) -> Result<Self, LogError> {
        let mut collections: BTreeMap<String, Places> = BTreeMap::new();
        let generation = storage.counts().generation;
        storage.replay(&mut |entry, pointer| {
            apply(&mut collections, entry, pointer);
            ControlFlow::Continue(())
        })?;
        let shared = |(name, places)| (name, Arc::new(Mutex::new(places)));
        let collections = collections.into_iter().map(shared).collect();
        let generation = Mutex::new(generation);
        Ok(Self { storage, collections: Mutex::new(collections), generation })
    }

    /// The storage below.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Sets a document. If it has a version (a number in its field `_v`), that must be above the
    /// version of the stored document.
    ///
    /// # Errors
    /// `Conflict` if it is not; then nothing is written. Otherwise as [`Storage::write_entry`].
    pub fn insert(&self, collection: &str, key: &str, value: Value) -> Result<(), LogError> {
        let places = self.collection(collection);
        let mut places = lock(&places);
        self.check_version(&places, collection, key, &value)?;
        let pointer = self.storage.write_entry(&LogEntry::insert(collection, key, value))?;
        places.insert(key.to_owned(), pointer);
        drop(places);
        self.move_places()
    }

    /// Sets all of these or none; versions are checked as in [`insert`](Self::insert), each against
    /// the document stored before the batch or an earlier one of the batch.
    ///
    /// # Errors
    /// `Conflict` if one of them may not be set; then nothing is written. Otherwise as
    /// [`Storage::write_batch`].
    pub fn insert_batch(&self, items: &[Item]) -> Result<(), LogError> {
        let mut names: Vec<&str> = items.iter().map(|(name, ..)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        // Locked in the order of their names, so that two batches never wait for each other.
        let shared: Vec<_> = names.iter().map(|name| self.collection(name)).collect();
        let mut held: BTreeMap<&str, MutexGuard<'_, Places>> =
            names.iter().zip(&shared).map(|(name, places)| (*name, lock(places))).collect();
        let mut before: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
        for (name, key, value) in items {
            let checked = match before.insert((name, key), value) {
                Some(earlier) => check(earlier, value, name, key),
                None => self.check_version(&held[name.as_str()], name, key, value),
            };
            if let Err(error) = checked {
                self.storage.refused(name)?;
                return Err(error);
            }
        }
        let entry = |(name, key, value): &Item| LogEntry::insert(name, key, value.clone());
        let pointers = self.storage.write_batch(&items.iter().map(entry).collect::<Vec<_>>())?;
        for ((name, key, _), pointer) in items.iter().zip(pointers) {
            held.entry(name).and_modify(|places| drop(places.insert(key.clone(), pointer)));
        }
        drop(held);
        self.move_places()
    }

    /// Removes a document, if it exists.
    ///
    /// # Errors
    /// As [`Storage::write_entry`].
    pub fn delete(&self, collection: &str, key: &str) -> Result<(), LogError> {
        let places = self.collection(collection);
        let mut places = lock(&places);
        self.storage.write_entry(&LogEntry::delete(collection, key))?;
        places.remove(key);
        drop(places);
        self.move_places()
    }

    /// Removes a collection, if it exists.
    ///
    /// # Errors
    /// As [`Storage::write_entry`].
    pub fn drop_collection(&self, collection: &str) -> Result<(), LogError> {
        let places = self.collection(collection);
        let mut places = lock(&places);
        self.storage.write_entry(&LogEntry::drop_collection(collection))?;
        places.clear();
        drop(places);
        self.move_places()
    }

    /// A document.
    ///
    /// # Errors
    /// As [`Storage::read_at`]; `Changed` if another document is in its place.
    pub fn get(&self, collection: &str, key: &str) -> Result<Option<Value>, LogError> {
        let places = self.collection(collection);
        let pointer = lock(&places).get(key).cloned();
        pointer.map(|pointer| self.read(collection, key, &pointer)).transpose()
    }

    /// All documents, in the order of collection and key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn all(&self) -> Result<Vec<Item>, LogError> {
        let mut all = Vec::new();
        for (name, places) in self.shared() {
            for (key, pointer) in lock(&places).clone() {
                let value = self.read(&name, &key, &pointer)?;
                all.push((name.clone(), key, value));
            }
        }
        Ok(all)
    }

    /// The number of documents.
    pub fn count(&self) -> usize {
        self.shared().iter().map(|(_, places)| lock(places).len()).sum()
    }

    /// Replaces the log with one that holds only the live lines. Other threads may read and write
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Storage::compact`].
    pub fn compact(&self) -> Result<(), LogError> {
        self.storage.compact()?;
        self.move_places()
    }

    /// Closes the log.
    ///
    /// # Errors
    /// As [`Storage::close`].
    pub fn close(self) -> Result<(), LogError> {
        self.storage.close()
    }

    fn collection(&self, name: &str) -> Arc<Mutex<Places>> {
        Arc::clone(lock(&self.collections).entry(name.to_owned()).or_default())
    }

    fn shared(&self) -> Vec<(String, Arc<Mutex<Places>>)> {
        lock(&self.collections)
            .iter()
            .map(|(name, places)| (name.clone(), places.clone()))
            .collect()
    }

    fn read(&self, collection: &str, key: &str, at: &Pointer) -> Result<Value, LogError> {
        let entry = self.storage.read_at(at)?;
        if !self.storage.bugs().skipped_lines_shift
            && (entry.cmd != INSERT || entry.collection != collection || entry.key != key)
        {
            let what = format!("expected {collection}/{key}");
            return Err(LogError::Changed { offset: at.offset(), what });
        }
        Ok(entry.value)
    }

    fn check_version(
        &self,
        places: &Places,
        collection: &str,
        key: &str,
        new: &Value,
    ) -> Result<(), LogError> {
        match places.get(key) {
            Some(pointer) if version(new).is_some() => {
                check(&self.read(collection, key, pointer)?, new, collection, key)
            }
            _ => Ok(()),
        }
    }

    /// Moves the places to the new file after the log was replaced: old ones keep the old file
    /// alive, and resolve to the right documents until then.
    fn move_places(&self) -> Result<(), LogError> {
        let now = self.storage.counts().generation;
        let mut known = lock(&self.generation);
        if *known == now || self.storage.bugs().places_not_moved {
            return Ok(());
        }
        let mut moved: BTreeMap<String, Places> = BTreeMap::new();
        self.storage.replay(&mut |entry, pointer| {
            apply(&mut moved, entry, pointer);
            ControlFlow::Continue(())
        })?;
        for (name, places) in self.shared() {
            let mut places = lock(&places);
            for (key, place) in places.iter_mut() {
                let new = moved.get(&name).and_then(|found| found.get(key));
                // A place of the same generation is from a write that the replay may have missed.
                if let Some(new) = new.filter(|new| new.generation() > place.generation()) {
                    *place = new.clone();
                }
            }
        }
        *known = now;
        Ok(())
    }
}

fn version(value: &Value) -> Option<u64> {
    value.get("_v").and_then(Value::as_u64)
}

/// Checks that a document may replace another.
fn check(old: &Value, new: &Value, collection: &str, key: &str) -> Result<(), LogError> {
    let Some(given) = version(new) else { return Ok(()) };
    let stored = version(old).unwrap_or(0);
    if given > stored {
        return Ok(());
    }
    let (collection, key) = (collection.to_owned(), key.to_owned());
    Err(LogError::Conflict { collection, key, stored, given })
}

fn apply(collections: &mut BTreeMap<String, Places>, entry: LogEntry, pointer: Pointer) {
    let LogEntry { cmd, collection, key, .. } = entry;
    match cmd.as_str() {
        INSERT => drop(collections.entry(collection).or_default().insert(key, pointer)),
        DELETE => {
            if let Some(places) = collections.get_mut(&collection) {
                places.remove(&key);
            }
        }
        DROP => drop(collections.remove(&collection)),
        _ => {}
    }
}
