//! The core that both storages share: the file, the queue for it, and its replacement.
//!
//! One lock protects the writing of files ([`Core::writing`]), one the choice of the generation
//! that is the log ([`State`]), and each generation has one for its end. They are taken in this
//! order. Entries are added under the second and third alone, so that adding one never waits for
//! the disk.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::generation::{Generation, Pointer, Tail};
use super::history::{self, History};
use super::lines::Extent;
use super::place::{Place, TempLog};
use super::renewal::{self, Renewed};
use super::{Bugs, Counts, LogEntry, LogError};

/// A log, open.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) place: Place,
    pub(super) bugs: Bugs,
    writing: Mutex<()>,
    /// One compaction at a time.
    compacting: Mutex<()>,
    state: Mutex<State>,
    /// The number of the last batch.
    batches: AtomicU64,
}

#[derive(Debug)]
struct State {
    generation: Arc<Generation>,
    /// The number of lines of the file that a compaction wrote.
    base_lines: u64,
    /// The error after which nothing more may be written: the content of the disk is unknown.
    poison: Option<String>,
    /// Why the last snapshot could not be written.
    snapshot_error: Option<String>,
}

/// Held while files are written.
pub(super) type Writing<'a> = MutexGuard<'a, ()>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Opens the log at `path`. It only reads; a missing log is empty.
    pub(super) fn open(path: &Path, bugs: Bugs) -> Result<Self, LogError> {
        let place = Place::of(path)?;
        let file = match open_file(path, bugs) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) if bugs.unreadable_is_empty => None,
            Err(error) => return Err(error.into()),
        };
        let generation = Generation::new(0, file, bugs.appends_to_any(), Tail::default());
        let found =
            load(&place, &generation, u64::MAX, bugs, &mut |_, _| Ok(ControlFlow::Continue(())))?;
        *generation.tail() = Tail { written: found.end, lines: found.lines, ..Tail::default() };
        if bugs.skips_lines() {
            renewal::end_torn_line(&generation, bugs)?;
        }
        generation.set_own(generation.own() && generation.file.is_some());
        let generation = Arc::new(generation);
        let base_lines = found.base_lines;
        let state = State { generation, base_lines, poison: None, snapshot_error: None };
        let (writing, compacting, state) = (Mutex::default(), Mutex::default(), Mutex::new(state));
        Ok(Self { place, bugs, writing, compacting, state, batches: AtomicU64::new(0) })
    }

    pub(super) fn writing(&self) -> Writing<'_> {
        lock(&self.writing)
    }

    /// The number of the next batch.
    pub(super) fn next_batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn generation(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.state).generation)
    }

    /// Queues lines that belong together; returns the place of each entry.
    pub(super) fn append(
        &self,
        lines: &[u8],
        extents: &[Extent],
    ) -> Result<Vec<Pointer>, LogError> {
        let state = lock(&self.state);
        state.check()?;
        let generation = &state.generation;
        let mut tail = generation.tail();
        let end = tail.written + tail.queue.len() as u64;
        tail.queue.extend_from_slice(lines);
        tail.lines += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        let pointer = |extent: &Extent| Pointer {
            generation: Arc::clone(generation),
            extent: Extent { offset: end + extent.offset, ..*extent },
        };
        Ok(extents.iter().map(pointer).collect())
    }

    /// Removes from the queue the lines that were queued last and could not be written.
    pub(super) fn retract(&self, pointers: &[Pointer], lines: &[u8]) {
        let Some(first) = pointers.first() else { return };
        let mut tail = first.generation.tail();
        let kept = tail.queue.len().saturating_sub(lines.len());
        tail.queue.truncate(kept);
        tail.lines -= lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    }

    /// The number of queued bytes.
    pub(super) fn queued(&self) -> usize {
        self.generation().tail().queue.len()
    }

    /// Writes out the queue: into a new file if nothing may be appended to the old one. Then it is
    /// durable, and this returns true.
    pub(super) fn write_out(&self, writing: &Writing<'_>) -> Result<bool, LogError> {
        lock(&self.state).check()?;
        let generation = self.generation();
        let tail = generation.tail();
        let (queue, torn) = (tail.queue.clone(), tail.torn);
        drop(tail);
        if queue.is_empty() {
            return Ok(false);
        }
        let Some(mut file) = generation.file.as_ref().filter(|_| generation.own() && !torn) else {
            self.renew(writing, None)?;
            return Ok(true);
        };
        let written = file.write_all(&queue);
        let mut tail = generation.tail();
        match written {
            Ok(()) => {
                tail.written += queue.len() as u64;
                tail.queue.drain(..queue.len());
                Ok(false)
            }
            Err(_) if self.bugs.half_line_kept => {
                let end = file.metadata()?.len();
                tail.written = end;
                tail.queue.clear();
                written.map(|()| false).map_err(LogError::Io)
            }
            Err(error) => {
                tail.torn = true;
                Err(error.into())
            }
        }
    }

    /// Makes the content of the file durable. A file of an earlier process is replaced: that
    /// process may have died before the name was durable, or after a failed sync.
    ///
    /// # Errors
    /// `Io`; after that nothing more is written: the kernel may have dropped the data, and would
    /// report the next sync as successful.
    pub(super) fn sync(&self, writing: &Writing<'_>) -> Result<(), LogError> {
        lock(&self.state).check()?;
        let generation = self.generation();
        let Some(file) = &generation.file else { return Ok(()) };
        if self.bugs.nothing_synced {
            return Ok(());
        }
        if !generation.own() {
            return self.renew(writing, None);
        }
        file.sync_data().map_err(|error| {
            if !self.bugs.failed_sync_forgiven {
                self.poison(&error);
            }
            error.into()
        })
    }

    /// Replaces the log, durably: with the one that a compaction has begun, or with a new one.
    pub(super) fn renew(&self, _: &Writing<'_>, begun: Option<Renewed>) -> Result<(), LogError> {
        lock(&self.state).check()?;
        let old = self.generation();
        let snapshot = begun.is_some();
        let mut new = match begun {
            Some(begun) if begun.of == old.number => begun,
            _ => renewal::begin(&self.place, &old, TempLog::Renewal, self.bugs)?,
        };
        let finished = new.finish(&self.place, &old, self.bugs);
        let taken = finished.inspect_err(|_| new.abandon(&self.place))?;
        if snapshot {
            let written = new.write_snapshot(&self.place, self.bugs);
            lock(&self.state).snapshot_error = written.err().map(|error| error.to_string());
        }
        let installed = new.install(&self.place, self.bugs);
        if let Err(error) = installed {
            // Either file may have the log's name.
            match self.bugs.old_file_kept {
                true => old.set_own(true),
                false => self.poison(&error),
            }
            return Err(error.into());
        }
        let base_lines = new.base_lines();
        let mut state = lock(&self.state);
        let next = new.into_generation(&mut old.tail(), taken);
        state.generation = Arc::new(next);
        state.base_lines = base_lines;
        Ok(())
    }

    /// Replaces the log with one that holds the live lines, and those written meanwhile.
    pub(super) fn compact(&self) -> Result<(), LogError> {
        let _alone = lock(&self.compacting);
        lock(&self.state).check()?;
        // The long part: other threads may write meanwhile.
        let old = self.generation();
        let begun = renewal::begin(&self.place, &old, TempLog::Compaction, self.bugs)?;
        let writing = self.writing();
        let stale = self.generation().number != begun.of;
        if stale {
            begun.abandon(&self.place);
            drop(begun);
            let old = self.generation();
            let begun = renewal::begin(&self.place, &old, TempLog::Compaction, self.bugs)?;
            return self.renew(&writing, Some(begun));
        }
        self.renew(&writing, Some(begun))
    }

    /// Passes the entries that count to `visit`, each with its place, until it breaks; returns
    /// their number.
    pub(super) fn replay(
        &self,
        visit: &mut dyn FnMut(LogEntry, Pointer) -> ControlFlow<()>,
    ) -> Result<u64, LogError> {
        let generation = self.generation();
        let found = load(&self.place, &generation, 0, self.bugs, &mut |entry, extent| {
            Ok(visit(entry, Pointer { generation: Arc::clone(&generation), extent }))
        })?;
        Ok(found.entries)
    }

    /// The entry at a place.
    pub(super) fn read_at(&self, pointer: &Pointer) -> Result<LogEntry, LogError> {
        if self.bugs.places_not_moved {
            return self.generation().entry(pointer.extent);
        }
        pointer.generation.entry(pointer.extent)
    }

    pub(super) fn counts(&self) -> Counts {
        let state = lock(&self.state);
        let tail = state.generation.tail();
        Counts {
            generation: state.generation.number,
            lines: tail.lines,
            base_lines: state.base_lines,
            bytes: tail.written + tail.queue.len() as u64,
            queued: tail.queue.len() as u64,
            snapshot_error: state.snapshot_error.clone(),
        }
    }

    fn poison(&self, error: &std::io::Error) {
        lock(&self.state).poison = Some(error.to_string());
    }
}

impl State {
    fn check(&self) -> Result<(), LogError> {
        match &self.poison {
            Some(why) => Err(LogError::Refused(why.clone())),
            None => Ok(()),
        }
    }
}

fn open_file(path: &Path, bugs: Bugs) -> std::io::Result<File> {
    match bugs.appends_to_any() || bugs.old_file_kept {
        true => File::options().read(true).append(true).open(path),
        false => File::open(path),
    }
}

/// Reads a log: its snapshot, if that belongs to it, and the rest. `most` is the number of bytes of
/// the file to read; 0 means its known history and the queue.
fn load(
    place: &Place,
    generation: &Generation,
    most: u64,
    bugs: Bugs,
    visit: &mut history::Visit<'_>,
) -> Result<History, LogError> {
    let from = |start: u64| match most {
        0 => generation.all(start),
        _ => generation.bytes(start, most),
    };
    let Some((base, end)) = history::read_base(from(0), bugs)? else {
        return history::read(from(0), bugs, visit);
    };
    let length = generation.file.as_ref().map_or(Ok(0), |file| file.metadata().map(|m| m.len()))?;
    let snapshot = super::snapshot::load(&place.snapshot, &base, bugs);
    let Some(snapshot) = snapshot.filter(|_| end <= length) else {
        return history::read(from(0), bugs, visit);
    };
    let visited = snapshot.entries.len() as u64;
    for (index, (entry, extent)) in (0..).zip(snapshot.entries) {
        if visit(entry, extent)?.is_break() {
            return Ok(History { entries: index, ..History::default() });
        }
    }
    let (base, end) = match snapshot.lines == base.lines + 1 {
        true => (base, end),
        // Only with planted bugs.
        false => history::skip(from(0), snapshot.lines)?,
    };
    let mut found = history::read_on(from(end), (&base, end), bugs, visit)?;
    found.entries += visited;
    Ok(found)
}
