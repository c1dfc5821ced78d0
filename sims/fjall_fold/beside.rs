//! A thread that reads the fold while the service writes it, and checks what it reads.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crashpoint::Error;

use crate::engines::append_log::{Entry, Update};
use crate::engines::fjall_fold::{FjallFold, FoldReader};
use crate::engines::snapshot_store::SnapshotStore;

/// What each key may show to a read: one of these entries, where `None` is no entry.
type Allowed = BTreeMap<String, Vec<Option<Entry>>>;

/// The thread, and what it may find.
pub(super) struct Beside {
    requests: Sender<Allowed>,
    answers: Receiver<Result<(), String>>,
    thread: JoinHandle<()>,
    /// Of each key that a batch was about in this life: the entry that it surely had last, and
    /// those that it may have had since.
    allowed: Allowed,
    /// The first read that found what it may not.
    complaint: Option<String>,
}

impl Beside {
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
        Self { requests, answers, thread, allowed: Allowed::new(), complaint: None }
    }

    /// Has the keys of a batch read, while the batch is applied.
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

    /// Waits for the reads; if the batch was applied, what was before it may not be found again.
    pub(super) fn end(&mut self, applied: bool) -> Result<(), Error> {
        let answer = self.answers.recv().map_err(|_| "the reader is gone")?;
        self.complaint = self.complaint.take().or(answer.err());
        for entries in self.allowed.values_mut().filter(|_| applied) {
            entries.drain(..entries.len() - 1);
        }
        Ok(())
    }

    /// Fails with the first read that found what it may not.
    pub(super) fn complaint(&self) -> Result<(), Error> {
        self.complaint.clone().map_or(Ok(()), |complaint| Err(complaint.into()))
    }

    /// Ends the thread.
    pub(super) fn stop(self) -> Result<(), Error> {
        drop(self.requests);
        self.thread.join().map_err(|_| "the reader panicked".into())
    }
}

/// Reads each key alone, then all in one scan.
fn read(reader: &FoldReader, allowed: &Allowed) -> Result<(), String> {
    for (key, entries) in allowed {
        let found = reader.get(key).map_err(|error| failed(&error))?;
        check(key, found.as_ref(), entries)?;
    }
    let scanned = reader.range("").map_err(|error| failed(&error))?;
    for (key, entries) in allowed {
        check(key, scanned.iter().find(|entry| entry.key == *key), entries)?;
    }
    Ok(())
}

fn failed(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("a read beside the writer: {error}{source}")
}

fn check(key: &str, found: Option<&Entry>, entries: &[Option<Entry>]) -> Result<(), String> {
    if entries.iter().any(|entry| entry.as_ref() == found) {
        return Ok(());
    }
    let short = |entry: Option<&Entry>| match entry {
        Some(entry) => format!("{} bytes", entry.value.len()),
        None => "nothing".into(),
    };
    let may: Vec<String> = entries.iter().map(|entry| short(entry.as_ref())).collect();
    let found = short(found);
    Err(format!("a read of {key} beside the writer found {found}, may find {}", may.join(" or ")))
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
    fn a_read_that_finds_what_it_may_not_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = FoldConfig { workers: 1, cache_bytes: 0, ..FoldConfig::default() };
        let (_, mut fold) = FjallFold::open(dir.path(), config).expect("opens");
        let mut beside = Beside::start(fold.reader());
        let mut fold_in = |value: &[u8], told: &[u8], beside: &mut Beside| {
            beside.begin(&fold, &[put(told)]).expect("asks");
            fold.apply(&[put(value)], &Cursor::none()).expect("applies");
            beside.end(true).expect("answers");
            beside.complaint().map_err(|error| error.to_string())
        };
        assert_eq!(fold_in(b"1", b"1", &mut beside), Ok(()));
        assert_eq!(fold_in(b"12", b"12", &mut beside), Ok(()));
        // The fold does not do what it is told; one read later this shows at the latest, and that
        // read may come before the second batch or behind it.
        let told = [fold_in(b"123", b"", &mut beside), fold_in(b"123", b"", &mut beside)];
        let wrong = "a read of k beside the writer found 3 bytes, may find";
        assert!(told[1].as_ref().is_err_and(|error| error.starts_with(wrong)), "{told:?}");
        beside.stop().expect("ends");
    }
}
