//! The storage whose writes return at once: a thread of its own writes them out.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::{Lines, mark};
use super::core::{Core, lock};
use super::generation::Pointer;
use super::{Bugs, Counts, LogEntry, LogError, Storage};

/// How long a write may wait in memory before it is written out.
pub const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// How many queued bytes are written out at once, whatever the time.
const ENOUGH: usize = 64 << 10;

/// How many bytes may be queued before a write waits for the disk.
const TOO_MUCH: usize = 8 << 20;

/// A write returns once it is queued; it is in the kernel at most [`FLUSH_AFTER`] and the time of
/// a write later. Dropping the storage writes out what is queued.
///
/// While the file system refuses what is queued it stays queued and is tried again, and every
/// write and [`flush`](Storage::flush) says so; a write that returned an error is not queued.
/// After a failed fsync, or a failure that leaves it open which file has the log's name, every
/// write is refused until the log is opened again.
#[derive(Debug)]
pub struct AsyncStorage {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    core: Core,
    wanted: Mutex<Wanted>,
    /// There is something for the writer to do.
    work: Condvar,
    /// The writer has tried.
    tried: Condvar,
}

/// What the writer is to do, and what came of it.
#[derive(Debug, Default)]
struct Wanted {
    /// When what is queued must be written out.
    deadline: Option<Instant>,
    /// Do not wait for that.
    now: bool,
    /// How often the writer has begun, and how often it has tried.
    begun: u64,
    tried: u64,
    /// Why it failed when it tried last.
    failed: Option<String>,
    closing: bool,
}

#[expect(clippy::disallowed_methods, reason = "a deadline needs a clock")]
fn now() -> Instant {
    Instant::now()
}

impl AsyncStorage {
    /// Opens the log at `path`, as [`SyncStorage::open`](super::SyncStorage::open) does, and
    /// starts the writer.
    ///
    /// # Errors
    /// As there; `Io` if there can be no thread.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_with(path, Bugs::default())
    }

    /// [`open`](Self::open) with planted bugs.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_with(path: &Path, bugs: Bugs) -> Result<Self, LogError> {
        let core = Core::open(path, bugs)?;
        let (wanted, work, tried) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { core, wanted, work, tried });
        let of_writer = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("document-log".to_owned());
        let writer = builder.spawn(move || of_writer.write_out_until_closed())?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Has the writer write out what is queued, and waits for its end.
    fn end(&mut self) -> Result<(), LogError> {
        lock(&self.shared.wanted).closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so; there is nobody to tell once more.
            let _ = writer.join();
        }
        match &lock(&self.shared.wanted).failed {
            Some(why) => Err(LogError::Refused(why.clone())),
            None => Ok(()),
        }
    }

    fn write(&self, lines: &Lines) -> Result<Vec<Pointer>, LogError> {
        let shared = &self.shared;
        let mut wanted = lock(&shared.wanted);
        while wanted.failed.is_none() && shared.core.queued() >= TOO_MUCH {
            wanted = shared.wait(wanted);
        }
        if let Some(why) = &wanted.failed {
            return Err(LogError::Refused(why.clone()));
        }
        let pointers = shared.core.append(&lines.bytes, &lines.extents)?;
        if wanted.deadline.is_none() || shared.core.bugs.flush_on_idle {
            wanted.deadline = Some(now() + FLUSH_AFTER);
            shared.work.notify_one();
        }
        if shared.core.queued() >= ENOUGH {
            wanted.now = true;
            shared.work.notify_one();
        }
        Ok(pointers)
    }
}

impl Shared {
    fn wait<'a>(&self, wanted: MutexGuard<'a, Wanted>) -> MutexGuard<'a, Wanted> {
        self.tried.wait(wanted).unwrap_or_else(PoisonError::into_inner)
    }

    /// What the writer does.
    fn write_out_until_closed(&self) {
        loop {
            let closing = self.await_work();
            let written = self.core.write_out(&self.core.writing());
            let mut wanted = lock(&self.wanted);
            wanted.tried = wanted.begun;
            wanted.failed = written.err().map(|error| chain(&error));
            if wanted.failed.is_some() && wanted.deadline.is_none() {
                wanted.deadline = Some(now() + FLUSH_AFTER);
            }
            self.tried.notify_all();
            // Who closes the log writes no more: what was queued is written, or cannot be.
            if closing {
                return;
            }
        }
    }

    /// Waits until something is to be written out; says whether it is the last.
    fn await_work(&self) -> bool {
        let mut wanted = lock(&self.wanted);
        while !wanted.closing && !wanted.now {
            let left = wanted.deadline.map(|deadline| deadline.saturating_duration_since(now()));
            wanted = match left {
                None => self.work.wait(wanted).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = self.work.wait_timeout(wanted, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        (wanted.deadline, wanted.now) = (None, false);
        wanted.begun += 1;
        wanted.closing
    }
}

/// An error with its source, on one line.
fn chain(error: &LogError) -> String {
    match error {
        LogError::Io(source) => source.to_string(),
        LogError::Refused(why) => why.clone(),
        other => other.to_string(),
    }
}

impl Storage for AsyncStorage {
    fn write_entry(&self, entry: &LogEntry) -> Result<Pointer, LogError> {
        let mut pointers = self.write(&Lines::of(entry)?)?;
        Ok(pointers.remove(0))
    }

    fn write_batch(&self, entries: &[LogEntry]) -> Result<Vec<Pointer>, LogError> {
        let core = &self.shared.core;
        let lines = Lines::batch(entries, core.next_batch(), core.bugs)?;
        if core.bugs.batches_interleave {
            let parts = lines.apart(entries)?;
            let written: Result<Vec<_>, _> = parts.iter().map(|part| self.write(part)).collect();
            return Ok(written?.concat());
        }
        self.write(&lines)
    }

    fn refused(&self, collection: &str) -> Result<(), LogError> {
        match self.shared.core.bugs.refused_batch_begun {
            true => self.write(&mark(collection)?).map(drop),
            false => Ok(()),
        }
    }

    fn replay(
        &self,
        visit: &mut dyn FnMut(LogEntry, Pointer) -> ControlFlow<()>,
    ) -> Result<u64, LogError> {
        self.shared.core.replay(visit)
    }

    fn read_at(&self, pointer: &Pointer) -> Result<LogEntry, LogError> {
        self.shared.core.read_at(pointer)
    }

    fn flush(&self) -> Result<(), LogError> {
        let mut wanted = lock(&self.shared.wanted);
        wanted.now = true;
        self.shared.work.notify_one();
        // The try that is under way, if one is, may have begun before the last write.
        let next = wanted.begun + 1;
        while wanted.tried < next {
            wanted = self.shared.wait(wanted);
        }
        match &wanted.failed {
            Some(why) => Err(LogError::Refused(why.clone())),
            None => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), LogError> {
        let writing = self.shared.core.writing();
        self.shared.core.write_out(&writing)?;
        self.shared.core.sync(&writing)
    }

    fn compact(&self) -> Result<(), LogError> {
        self.shared.core.compact()
    }

    fn counts(&self) -> Counts {
        self.shared.core.counts()
    }

    fn close(mut self) -> Result<(), LogError> {
        self.end()
    }

    fn bugs(&self) -> Bugs {
        self.shared.core.bugs
    }
}

impl Drop for AsyncStorage {
    /// Who wants to know whether it could be written calls [`close`](Storage::close).
    fn drop(&mut self) {
        let _ = self.end();
    }
}
