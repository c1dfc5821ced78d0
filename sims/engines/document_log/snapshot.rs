//! The snapshot next to a log: the entries that the log began with, in a form that is faster to
//! read. The log alone is the truth; a snapshot that is missing, damaged or of another log is
//! ignored.
//!
//! ```text
//! file    "MOLTSNAP" lines:u64le count:u64le record* crc32:u32le
//! record  len:u64le bincode(cmd, collection, key, value) line_len:u32le
//! ```
//!
//! `lines` is the number of lines of the log that the snapshot covers. Each string has its length
//! in front (`u64le`); the value is the text of the JSON value. The first record is the first line
//! of the log that the snapshot belongs to. The origin stores values without their types, which its
//! own loader cannot read, and has no such first record: its snapshots are ignored here, ours are
//! ignored there, and both load the log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Bugs;
use super::entry::LogEntry;
use super::history::Base;
use super::lines::Extent;

/// The first bytes of a snapshot.
const MAGIC: &[u8; 8] = b"MOLTSNAP";

/// The number of bytes of a snapshot that are written at once.
const CHUNK: usize = 1 << 20;

/// Writes a snapshot.
pub(super) struct Writer<'a> {
    out: BufWriter<&'a File>,
    crc: crc32fast::Hasher,
    record: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins a snapshot that belongs to the log with this first line.
    pub(super) fn new(file: &'a File, base: &Base, lines: u64) -> io::Result<Self> {
        let out = BufWriter::with_capacity(CHUNK, file);
        let mut new = Self { out, crc: crc32fast::Hasher::new(), record: Vec::new() };
        new.put(MAGIC)?;
        new.put(&lines.to_le_bytes())?;
        new.put(&(base.lines + 1).to_le_bytes())?;
        let first = base.entry();
        let mut line = Vec::new();
        let length = first.encode(&mut line).map_err(io::Error::other)?;
        new.add(&first, length)?;
        Ok(new)
    }

    /// Adds an entry whose line in the log has this length.
    pub(super) fn add(&mut self, entry: &LogEntry, length: u32) -> io::Result<()> {
        let value = entry.value.to_string();
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        for text in [&entry.cmd, &entry.collection, &entry.key, &value] {
            record.extend_from_slice(&(text.len() as u64).to_le_bytes());
            record.extend_from_slice(text.as_bytes());
        }
        record.extend_from_slice(&length.to_le_bytes());
        self.put(&(record.len() as u64).to_le_bytes())?;
        self.put(&record)?;
        self.record = record;
        Ok(())
    }

    /// Ends the snapshot, and makes its content durable.
    pub(super) fn finish(mut self, bugs: Bugs) -> io::Result<()> {
        let crc = std::mem::take(&mut self.crc).finalize();
        self.out.write_all(&crc.to_le_bytes())?;
        self.out.flush()?;
        match bugs.nothing_synced {
            true => Ok(()),
            false => self.out.get_ref().sync_all(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }
}

/// A snapshot that was found whole.
pub(super) struct Snapshot {
    /// The number of lines of the log that it covers.
    pub(super) lines: u64,
    /// The entries, each with the place of its line in the log.
    pub(super) entries: Vec<(LogEntry, Extent)>,
}

/// Reads the snapshot that belongs to the log with this first line, if there is one.
pub(super) fn load(path: &Path, base: &Base, bugs: Bugs) -> Option<Snapshot> {
    // Whatever is wrong with the snapshot, the log can be read instead.
    let bytes = std::fs::read(path).ok()?;
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) && !bugs.snapshot_unverified {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let (lines, count) = (number(&mut rest)?, number(&mut rest)?);
    let (first, length) = record(&mut rest)?;
    let bound = Base::of(&first).ok()? == *base && lines == base.lines + 1 && count == lines;
    if !bound && !bugs.snapshot_not_bound && !bugs.snapshot_counts_old_lines {
        return None;
    }
    let mut offset = u64::from(length) + 1;
    let mut entries = Vec::new();
    for _ in 1..count {
        let (entry, length) = record(&mut rest)?;
        entries.push((entry, Extent { offset, length }));
        offset += u64::from(length) + 1;
    }
    Some(Snapshot { lines, entries })
}

/// One record: the entry and the length of its line.
fn record(rest: &mut &[u8]) -> Option<(LogEntry, u32)> {
    let length = number(rest)?;
    let mut record = take(rest, length)?;
    let mut text = || {
        let length = number(&mut record)?;
        Some(std::str::from_utf8(take(&mut record, length)?).ok()?.to_owned())
    };
    let (cmd, collection, key, value) = (text()?, text()?, text()?, text()?);
    let value = serde_json::from_str(&value).ok()?;
    let length = u32::from_le_bytes(record.try_into().ok()?);
    Some((LogEntry { cmd, collection, key, value }, length))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

/// Takes `length` bytes off `rest`, if it has that many.
fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}
