//! Lines that are written together: encoded, marked as a batch.

use super::entry::{LogEntry, TX_BEGIN, TX_COMMIT};
use super::lines::Extent;
use super::{Bugs, LogError};
use serde_json::Value;

/// Lines that are written together, and the places of the entries among them.
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) extents: Vec<Extent>,
}

impl Lines {
    /// The line of one entry.
    pub(super) fn of(entry: &LogEntry) -> Result<Self, LogError> {
        entry.check()?;
        let mut lines = Self { bytes: Vec::new(), extents: Vec::new() };
        lines.add(entry)?;
        Ok(lines)
    }

    /// The lines of a batch between its marks, for a single write.
    pub(super) fn batch(entries: &[LogEntry], number: u64, bugs: Bugs) -> Result<Self, LogError> {
        entries.iter().try_for_each(LogEntry::check)?;
        let mut lines = Self { bytes: Vec::new(), extents: Vec::new() };
        let mut collections = entries.iter().map(|entry| entry.collection.as_str());
        let first = collections.next().unwrap_or_default();
        // A reader assigns lines to batches by collection, because those of the origin interleave.
        let collection = if collections.all(|other| other == first) { first } else { "" };
        let mark = |cmd| LogEntry::of(cmd, collection, &number.to_string(), Value::Null);
        if !bugs.batch_not_marked {
            mark(TX_BEGIN).encode(&mut lines.bytes)?;
        }
        entries.iter().try_for_each(|entry| lines.add(entry))?;
        if !bugs.batch_not_marked {
            mark(TX_COMMIT).encode(&mut lines.bytes)?;
        }
        Ok(lines)
    }

    fn add(&mut self, entry: &LogEntry) -> Result<(), LogError> {
        let offset = self.bytes.len() as u64;
        let length = entry.encode(&mut self.bytes)?;
        self.extents.push(Extent { offset, length });
        Ok(())
    }

    /// The planted M13: splits off each line.
    pub(super) fn split(&self, entries: &[LogEntry]) -> Result<Vec<Self>, LogError> {
        let mut parts: Vec<Self> = Vec::new();
        for (index, line) in self.bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let mark = index == 0 || index == entries.len() + 1;
            let length = line.len() as u32 - 1;
            let extents = if mark { Vec::new() } else { vec![Extent { offset: 0, length }] };
            parts.push(Self { bytes: line.to_vec(), extents });
        }
        Ok(parts)
    }
}

/// The planted M6: a batch of the collection begins, and never ends.
pub(super) fn mark(collection: &str) -> Result<Lines, LogError> {
    let mut lines = Lines { bytes: Vec::new(), extents: Vec::new() };
    LogEntry::of(TX_BEGIN, collection, "refused", Value::Null).encode(&mut lines.bytes)?;
    Ok(lines)
}
