//! Replaces a log: a new one is written aside, synced, renamed over it, and the directory synced.
//!
//! Apart from that a log is only appended to, and only by the process that wrote the file. So a
//! torn line is never followed by another, nothing is truncated in place, and no file is made
//! durable by syncing data that an earlier process may have failed to sync.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;

use xxhash_rust::xxh3::Xxh3Default;

use super::generation::{Generation, Tail, entry_in};
use super::history::{self, Base};
use super::lines::Extent;
use super::live::Live;
use super::place::{Place, TempLog};
use super::snapshot;
use super::{Bugs, LogError};

/// The number of bytes of a new log that are written at once.
const CHUNK: usize = 1 << 20;

/// A new log next to the old one.
pub(super) struct Renewed {
    /// The generation that it will replace.
    pub(super) of: u64,
    temp: TempLog,
    file: File,
    base: Base,
    /// The places of the base's lines in the new file.
    extents: Vec<Extent>,
    /// The number of bytes of the old file that it replaces.
    cut: u64,
    /// The number of lines in those.
    old_lines: u64,
    /// Its length in bytes and in lines.
    length: u64,
    lines: u64,
}

/// Writes the live lines of a log to a new file next to it.
///
/// # Errors
/// `Io`; `Corrupted` if the old log does not read back. The new file is removed then.
pub(super) fn begin(
    place: &Place,
    old: &Generation,
    temp: TempLog,
    bugs: Bugs,
) -> Result<Renewed, LogError> {
    let cut = old.tail().written;
    let mut live = Live::default();
    let found = history::read(old.bytes(0, cut), bugs, &mut |entry, extent| {
        live.apply(entry, extent);
        Ok(ControlFlow::Continue(()))
    })?;
    let file = place.create(temp)?;
    let written = write_base(&file, old, &live);
    match written {
        Ok((base, extents)) => {
            let length = extents.last().map_or(0, |last| last.offset + u64::from(last.length) + 1);
            let lines = base.lines + 1;
            let (of, old_lines) = (old.number, found.lines);
            Ok(Renewed { of, temp, file, base, extents, cut, old_lines, length, lines })
        }
        Err(error) => {
            let _ = place.remove(temp);
            Err(error)
        }
    }
}

/// Writes the first line and the live ones, byte for byte; returns the place of each.
fn write_base(
    mut file: &File,
    old: &Generation,
    live: &Live,
) -> Result<(Base, Vec<Extent>), LogError> {
    let mut base = Base { sum: 0, lines: 0, bytes: 0 };
    let mut sum = Xxh3Default::new();
    for extent in live.extents() {
        sum.update(&old.line(extent)?);
        sum.update(b"\n");
        base.lines += 1;
        base.bytes += u64::from(extent.length) + 1;
    }
    base.sum = sum.digest();
    let mut out = BufWriter::with_capacity(CHUNK, &mut file);
    let mut first = Vec::new();
    let length = base.entry().encode(&mut first)?;
    out.write_all(&first)?;
    let mut extents = vec![Extent { offset: 0, length }];
    let mut offset = first.len() as u64;
    for extent in live.extents() {
        out.write_all(&old.line(extent)?)?;
        out.write_all(b"\n")?;
        extents.push(Extent { offset, ..extent });
        offset += u64::from(extent.length) + 1;
    }
    out.flush()?;
    Ok((base, extents))
}

impl Renewed {
    /// Adds the lines that were written to the old log meanwhile and those queued for it, and makes
    /// the new file's content durable. Returns the number of bytes taken from the queue. The caller
    /// ensures that nothing writes to the old file.
    pub(super) fn finish(
        &mut self,
        place: &Place,
        old: &Generation,
        bugs: Bugs,
    ) -> Result<usize, LogError> {
        let tail = old.tail();
        let (written, queue) = (tail.written, tail.queue.clone());
        drop(tail);
        let mut late = Vec::new();
        if !bugs.compaction_forgets {
            old.bytes(self.cut, written).read_to_end(&mut late)?;
        }
        // A log of the origin may end with a line that has no newline; this process's never does.
        late.extend_from_slice(&queue);
        (&self.file).write_all(&late)?;
        self.length += late.len() as u64;
        self.lines += late.iter().filter(|byte| **byte == b'\n').count() as u64;
        if !bugs.rename_before_sync && !bugs.nothing_synced {
            self.file.sync_all()?;
        }
        // Files that an interrupted call of an earlier process left.
        if !old.own() {
            place.remove(self.temp.other())?;
            place.remove_snapshot_temp()?;
        }
        Ok(queue.len())
    }

    /// Writes the snapshot that belongs to the new log.
    pub(super) fn write_snapshot(&self, place: &Place, bugs: Bugs) -> Result<(), LogError> {
        let file = place.create_snapshot()?;
        let lines = match bugs.snapshot_counts_old_lines {
            true => self.old_lines,
            false => self.base.lines + 1,
        };
        let write = || -> Result<(), LogError> {
            let mut out = snapshot::Writer::new(&file, &self.base, lines)?;
            for extent in &self.extents[1..] {
                let entry = entry_in(&self.file, *extent)?;
                out.add(&entry, extent.length)?;
            }
            out.finish(bugs)?;
            Ok(place.install_snapshot()?)
        };
        write().inspect_err(|_| drop(place.remove_snapshot_temp()))
    }

    /// Renames the new file to the log's name, durably.
    pub(super) fn install(&self, place: &Place, bugs: Bugs) -> io::Result<()> {
        place.install(self.temp)?;
        if bugs.rename_before_sync {
            self.file.sync_all()?;
        }
        if !bugs.directory_not_synced && !bugs.nothing_synced {
            place.sync_dir()?;
        }
        Ok(())
    }

    /// Removes the new file: the old one stays the log.
    pub(super) fn abandon(&self, place: &Place) {
        let _ = place.remove(self.temp);
    }

    pub(super) fn base_lines(&self) -> u64 {
        self.base.lines + 1
    }

    /// The next generation, with the lines that were queued since.
    pub(super) fn into_generation(self, old: &mut Tail, taken: usize) -> Generation {
        let queue = old.queue[taken..].to_vec();
        let lines = self.lines + queue.iter().filter(|byte| **byte == b'\n').count() as u64;
        let tail = Tail { written: self.length, queue, torn: false, lines };
        Generation::new(self.of + 1, Some(self.file), true, tail)
    }
}

/// The planted M5 and M7: a torn line stays, and is followed by the next line, or by a newline.
pub(super) fn end_torn_line(generation: &Generation, bugs: Bugs) -> Result<(), LogError> {
    let Some(mut file) = generation.file.as_ref() else { return Ok(()) };
    let length = file.metadata()?.len();
    generation.tail().written = length;
    let mut last = Vec::new();
    generation.bytes(length.saturating_sub(1), length).read_to_end(&mut last)?;
    if bugs.skipped_lines_shift && !last.is_empty() && last != b"\n" {
        file.write_all(b"\n")?;
        generation.tail().written += 1;
    }
    Ok(())
}
