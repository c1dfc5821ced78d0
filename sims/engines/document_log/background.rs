//! The storage whose writes return at once: a background thread writes them out.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::{Lines, mark};
use super::core::{Core, lock};
use super::generation::Pointer;
use super::{Bugs, Counts, LogEntry, LogError, Storage};

/// The time that a write may wait in memory before it is written out.
pub const FLUSH_AFTER: Duration = Duration::from_millis(50);

/// The number of queued bytes at which they are written out without further delay.
const FLUSH_LEN: usize = 64 << 10;

/// The number of queued bytes at which a write waits for the disk.
const QUEUE_MAX: usize = 8 << 20;

/// A write returns once it is queued; it is in the kernel at most [`FLUSH_AFTER`] and the time of
/// a write later. Dropping the storage writes out the queue.
///
/// While the file system refuses the queue, it is kept and tried again, and every write and
/// [`flush`](Storage::flush) returns the error; a write that returned an error is not queued.
/// After a failed fsync, or a failure that leaves it unknown which file has the log's name, every
/// write is refused until the log is opened again.
#[derive(Debug)]
pub struct AsyncStorage {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    core: Core,
    state: Mutex<WriterState>,
    /// There is something for the writer to do.
    work: Condvar,
    /// The writer has finished an attempt.
    tried: Condvar,
}

/// The writer's orders, and their outcome.
#[derive(Debug, Default)]
struct WriterState {
    /// When the queue must be written out.
    deadline: Option<Instant>,
    /// Do not wait for the deadline.
    now: bool,
    /// The number of attempts that the writer has begun, and of those that it has finished.
    begun: u64,
    tried: u64,
    /// Why its last attempt failed, if it did.
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
    /// As there; `Io` if the thread cannot be started.
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
        let (state, work, tried) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { core, state, work, tried });
        let of_writer = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("document-log".to_owned());
        let writer = builder.spawn(move || of_writer.write_out_until_closed())?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Makes the writer write out the queue, and waits for it to end.
    fn end(&mut self) -> Result<(), LogError> {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already reported on its own thread.
            let _ = writer.join();
        }
        match &lock(&self.shared.state).failed {
            Some(why) => Err(LogError::Refused(why.clone())),
            None => Ok(()),
        }
    }

    fn write(&self, lines: &Lines) -> Result<Vec<Pointer>, LogError> {
        let shared = &self.shared;
        let mut state = lock(&shared.state);
        while state.failed.is_none() && shared.core.queued() >= QUEUE_MAX {
            state = shared.wait(state);
        }
        if let Some(why) = &state.failed {
            return Err(LogError::Refused(why.clone()));
        }
        let pointers = shared.core.append(&lines.bytes, &lines.extents)?;
        if state.deadline.is_none() || shared.core.bugs.flush_on_idle {
            state.deadline = Some(now() + FLUSH_AFTER);
            shared.work.notify_one();
        }
        if shared.core.queued() >= FLUSH_LEN {
            state.now = true;
            shared.work.notify_one();
        }
        Ok(pointers)
    }
}

impl Shared {
    fn wait<'a>(&self, state: MutexGuard<'a, WriterState>) -> MutexGuard<'a, WriterState> {
        self.tried.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the writer's thread.
    fn write_out_until_closed(&self) {
        loop {
            let closing = self.await_work();
            let written = self.core.write_out(&self.core.writing());
            let mut state = lock(&self.state);
            state.tried = state.begun;
            state.failed = written.err().map(|error| cause(&error));
            if state.failed.is_some() && state.deadline.is_none() {
                state.deadline = Some(now() + FLUSH_AFTER);
            }
            self.tried.notify_all();
            // Nothing is queued after a close: the queue is written out, or cannot be.
            if closing {
                return;
            }
        }
    }

    /// Waits until something is to be written out; returns whether that is for the last time.
    fn await_work(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.closing && !state.now {
            let left = state.deadline.map(|deadline| deadline.saturating_duration_since(now()));
            state = match left {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = self.work.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        (state.deadline, state.now) = (None, false);
        state.begun += 1;
        state.closing
    }
}

/// An error's cause, on one line.
fn cause(error: &LogError) -> String {
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
            let parts = lines.split(entries)?;
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
        let mut state = lock(&self.shared.state);
        state.now = true;
        self.shared.work.notify_one();
        // An attempt that is under way may have begun before the last write.
        let next = state.begun + 1;
        while state.tried < next {
            state = self.shared.wait(state);
        }
        match &state.failed {
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
    /// Ignores an error; [`close`](Storage::close) reports it.
    fn drop(&mut self) {
        let _ = self.end();
    }
}
