//! Reads a log's entries, in order: those that count, without the marks around them.
//!
//! An entry inside a batch counts once the batch is whole. The origin's batches may be interleaved
//! with each other; those of one collection never are, so an entry belongs to the batch that its
//! collection has open.

use std::io::Read;
use std::ops::ControlFlow;

use serde_json::Value;
use xxhash_rust::xxh3::Xxh3Default;

use super::entry::{BASE, ENC, LogEntry, TX_BEGIN, TX_COMMIT};
use super::lines::{Extent, Lines};
use super::{Bugs, LogError};

/// The version of this module's addition to the origin's format.
pub(super) const FORMAT: u64 = 1;

/// The first line of a log: how many lines after it the log began with, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// XXH3 of the lines, newlines included.
    pub(super) sum: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// The extent of a log's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The byte of the file where it ends.
    pub(super) end: u64,
    /// The number of its lines.
    pub(super) lines: u64,
    /// The number of lines that a compaction wrote, the first included.
    pub(super) base_lines: u64,
    /// The number of entries that were visited.
    pub(super) entries: u64,
}

/// Called with each entry; may stop the reading.
pub(super) type Visit<'a> = dyn FnMut(LogEntry, Extent) -> Result<ControlFlow<()>, LogError> + 'a;

impl Base {
    /// The line.
    pub(super) fn entry(&self) -> LogEntry {
        let value = serde_json::json!({
            "bytes": self.bytes, "format": FORMAT, "lines": self.lines,
        });
        LogEntry::of(BASE, "", &format!("{:016x}", self.sum), value)
    }

    /// Reads the line back.
    pub(super) fn of(entry: &LogEntry) -> Result<Self, LogError> {
        let number = |name: &str| entry.value.get(name).and_then(Value::as_u64);
        let damaged = || {
            let what = "the numbers of its first line are missing".to_owned();
            LogError::Corrupted { line: 1, offset: 0, what }
        };
        match number("format") {
            Some(FORMAT) => {}
            Some(format) => return Err(LogError::Unsupported(format!("format {format}"))),
            None => return Err(damaged()),
        }
        let sum = u64::from_str_radix(&entry.key, 16).ok();
        let read = || Some(Self { sum: sum?, lines: number("lines")?, bytes: number("bytes")? });
        read().ok_or_else(damaged)
    }
}

/// A batch that is not whole yet.
struct Batch {
    key: String,
    collection: String,
    entries: Vec<(LogEntry, Extent)>,
}

/// Sorts entries into batches, and passes on those that count.
#[derive(Default)]
pub(super) struct Sorter {
    open: Vec<Batch>,
    entries: u64,
    bugs: Bugs,
}

impl Sorter {
    pub(super) fn new(bugs: Bugs) -> Self {
        Self { bugs, ..Self::default() }
    }

    /// Accepts the next entry of the log.
    pub(super) fn take(
        &mut self,
        entry: LogEntry,
        extent: Extent,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, LogError> {
        match entry.cmd.as_str() {
            TX_BEGIN => {
                // A batch that its collection still has open was never finished, and never will be.
                let interleave = self.bugs.batches_interleave;
                self.open.retain(|batch| batch.collection != entry.collection && !interleave);
                let LogEntry { key, collection, .. } = entry;
                self.open.push(Batch { key, collection, entries: Vec::new() });
            }
            TX_COMMIT => {
                let Some(at) = self.open.iter().rposition(|batch| batch.key == entry.key) else {
                    return Ok(ControlFlow::Continue(()));
                };
                for (entry, extent) in self.open.remove(at).entries {
                    if self.pass_on(entry, extent, visit)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            ENC => return Err(LogError::Unsupported("encryption".to_owned())),
            _ => {
                let of = |batch: &&mut Batch| {
                    [entry.collection.as_str(), ""].contains(&batch.collection.as_str())
                };
                match self.open.iter_mut().find(of) {
                    Some(batch) => batch.entries.push((entry, extent)),
                    None => return self.pass_on(entry, extent, visit),
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn pass_on(
        &mut self,
        entry: LogEntry,
        extent: Extent,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, LogError> {
        let flow = visit(entry, extent)?;
        self.entries += u64::from(flow.is_continue());
        Ok(flow)
    }

    /// The number of entries that were visited.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }
}

/// Reads the first line of a log, if it is a [`Base`]; also returns where the lines end that the
/// log began with.
///
/// # Errors
/// As [`read`].
pub(super) fn read_base(input: impl Read, bugs: Bugs) -> Result<Option<(Base, u64)>, LogError> {
    let mut lines = Lines::from(input, 0, 0, bugs);
    match lines.next()? {
        Some((entry, _)) if entry.cmd == BASE => {
            let base = Base::of(&entry)?;
            let end = lines.end().saturating_add(base.bytes);
            Ok(Some((base, end)))
        }
        _ => Ok(None),
    }
}

/// Skips `count` lines, as if the log had begun with them: only with planted bugs.
pub(super) fn skip(input: impl Read, count: u64) -> Result<(Base, u64), LogError> {
    let mut lines = Lines::from(input, 0, 0, Bugs::default());
    while lines.count() < count && lines.next()?.is_some() {}
    let base = Base { sum: 0, lines: lines.count().saturating_sub(1), bytes: 0 };
    Ok((base, lines.end()))
}

/// Reads the lines after those that the log began with, which were visited already.
///
/// # Errors
/// As [`read`].
pub(super) fn read_on(
    input: impl Read,
    (base, offset): (&Base, u64),
    bugs: Bugs,
    visit: &mut Visit<'_>,
) -> Result<History, LogError> {
    let mut lines = Lines::from(input, offset, base.lines + 1, bugs);
    let mut sorter = Sorter::new(bugs);
    while let Some((entry, extent)) = lines.next()? {
        if entry.cmd == BASE {
            return Err(second_base(lines.count(), extent));
        }
        if sorter.take(entry, extent, visit)?.is_break() {
            return Ok(History { entries: sorter.entries(), ..History::default() });
        }
    }
    let (end, lines, base_lines) = (lines.end(), lines.count(), base.lines + 1);
    Ok(History { end, lines, base_lines, entries: sorter.entries() })
}

/// Reads a log from its first byte.
///
/// # Errors
/// As [`Lines::next`]; `Unsupported` if a later version or an encrypting one wrote it; the error of
/// `visit`.
pub(super) fn read(
    input: impl Read,
    bugs: Bugs,
    visit: &mut Visit<'_>,
) -> Result<History, LogError> {
    let mut lines = Lines::from(input, 0, 0, bugs);
    let mut sorter = Sorter::new(bugs);
    let mut base: Option<Base> = None;
    let mut sum = Xxh3Default::new();
    while let Some((entry, extent)) = lines.next()? {
        if entry.cmd == BASE {
            if lines.count() > 1 {
                return Err(second_base(lines.count(), extent));
            }
            base = Some(Base::of(&entry)?);
            continue;
        }
        if base.as_ref().is_some_and(|base| lines.count() <= base.lines + 1) {
            sum.update(lines.text());
            sum.update(b"\n");
        }
        if sorter.take(entry, extent, visit)?.is_break() {
            return Ok(History { entries: sorter.entries(), ..History::default() });
        }
    }
    if let Some(base) = &base
        && (sum.digest() != base.sum || lines.count() <= base.lines)
        && !bugs.skips_lines()
    {
        let what = "the lines that the log began with do not match its first line".to_owned();
        return Err(LogError::Corrupted { line: 1, offset: 0, what });
    }
    let base_lines = base.map_or(0, |base| base.lines + 1);
    let (end, lines) = (lines.end(), lines.count());
    Ok(History { end, lines, base_lines, entries: sorter.entries() })
}

fn second_base(line: u64, extent: Extent) -> LogError {
    let what = "the first line of a log inside another".to_owned();
    LogError::Corrupted { line, offset: extent.offset, what }
}
