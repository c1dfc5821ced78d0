//! A thread that reads the fold while the service writes to it, and checks the results.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crashpoint::Error;

use crate::engines::append_log::{Entry, Update};
use crate::engines::fjall_fold::{FjallFold, FoldReader};
use crate::engines::snapshot_store::SnapshotStore;

/// For each key the entries that a read may return; `None` is no entry.
type Allowed = BTreeMap<String, Vec<Option<Entry>>>;

/// The thread, and the results that its reads may have.
pub(super) struct ConcurrentReader {
    requests: Sender<Allowed>,
    answers: Receiver<Result<(), String>>,
    thread: JoinHandle<()>,
    /// For each key that a batch changed since the store was opened: the last entry that it is
    /// known to have had, and those that it may have had since.
    allowed: Allowed,
    /// The error of the first read that returned a wrong result or failed.
    error: Option<String>,
}

impl ConcurrentReader {
    pub(super) fn start(reader: FoldReader) -> Self {
        let (requests, asked) = channel::<Allowed>();
        let (answer, answers) = channel();
        #[expect(clippy::disallowed_methods, reason = "the reader is a thread of the service")]
        let thread = std::thread::spawn(move || {
            for allowed in asked {
                if answer.send(read(&reader, &allowed)).is_err() {
                    return;
                }
            }
        });
        Self { requests, answers, thread, allowed: Allowed::new(), error: None }
    }

    /// Starts reads of a batch's keys, to run while the batch is applied.
    pub(super) fn begin(&mut self, fold: &FjallFold, batch: &[Update]) -> Result<(), Error> {
        let mut request = Allowed::new();
        for update in batch {
            let (key, entry) = match update {
                Update::Put(entry) => (&entry.key, Some(entry.clone())),
                Update::Delete { key, .. } | Update::Purge { key, .. } => (key, None),
            };
            if !self.allowed.contains_key(key) {
                self.allowed.insert(key.clone(), vec![fold.get(key)?]);
            }
            let entries = self.allowed.entry(key.clone()).or_default();
            entries.push(entry);
            request.insert(key.clone(), entries.clone());
        }
        self.requests.send(request).map_err(|_| "the reader is gone".into())
    }

    /// Waits for the reads. If the batch was applied, later reads must not return older entries.
    pub(super) fn end(&mut self, applied: bool) -> Result<(), Error> {
        let answer = self.answers.recv().map_err(|_| "the reader is gone")?;
        self.error = self.error.take().or(answer.err());
        for entries in self.allowed.values_mut().filter(|_| applied) {
            entries.drain(..entries.len() - 1);
        }
        Ok(())
    }

    /// Fails with the error of the first read that returned a wrong result or failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.error.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends the thread.
    pub(super) fn stop(self) -> Result<(), Error> {
        drop(self.requests);
        self.thread.join().map_err(|_| "the reader panicked".into())
    }
}

/// Reads each key by itself, then all in one scan, and compares.
fn read(reader: &FoldReader, allowed: &Allowed) -> Result<(), String> {
    for (key, entries) in allowed {
        let found = reader.get(key).map_err(|error| failed(&error))?;
        compare(key, found.as_ref(), entries)?;
    }
    let scanned = reader.range("").map_err(|error| failed(&error))?;
    for (key, entries) in allowed {
        compare(key, scanned.iter().find(|entry| entry.key == *key), entries)?;
    }
    Ok(())
}

fn failed(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("a concurrent read: {error}{source}")
}

fn compare(key: &str, found: Option<&Entry>, entries: &[Option<Entry>]) -> Result<(), String> {
    if entries.iter().any(|entry| entry.as_ref() == found) {
        return Ok(());
    }
    let short = |entry: Option<&Entry>| match entry {
        Some(entry) => format!("{} bytes", entry.value.len()),
        None => "nothing".into(),
    };
    let allowed: Vec<String> = entries.iter().map(|entry| short(entry.as_ref())).collect();
    let (found, allowed) = (short(found), allowed.join(" or "));
    Err(format!("a concurrent read of {key} found {found}, expected {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::append_log::{Cursor, VersionToken};
    use crate::engines::fjall_fold::FoldConfig;

    fn put(value: &[u8]) -> Update {
        let version = VersionToken::unknown();
        Update::Put(Entry { key: "k".into(), value: value.to_vec(), version })
    }

    #[test]
    fn a_concurrent_read_with_a_wrong_result_is_reported() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = FoldConfig { workers: 1, cache_bytes: 0, ..FoldConfig::default() };
        let (_, mut fold) = FjallFold::open(dir.path(), config).expect("opens");
        let mut reader = ConcurrentReader::start(fold.reader());
        let mut fold_in = |value: &[u8], announced: &[u8], reader: &mut ConcurrentReader| {
            reader.begin(&fold, &[put(announced)]).expect("asks");
            fold.apply(&[put(value)], &Cursor::none()).expect("applies");
            reader.end(true).expect("answers");
            reader.check().map_err(|error| error.to_string())
        };
        assert_eq!(fold_in(b"1", b"1", &mut reader), Ok(()));
        assert_eq!(fold_in(b"12", b"12", &mut reader), Ok(()));
        // The fold applies another value than the reader expects. The first reads may run before
        // the value is applied; the second must see it.
        let results = [fold_in(b"123", b"", &mut reader), fold_in(b"123", b"", &mut reader)];
        let wrong = "a concurrent read of k found 3 bytes, expected";
        assert!(results[1].as_ref().is_err_and(|error| error.starts_with(wrong)), "{results:?}");
        reader.stop().expect("ends");
    }
}
