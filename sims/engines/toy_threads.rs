//! A small key-value store with background threads, that can be given one bug at a time, which a
//! harness finds only if it explores the order of threads.
//!
//! Changes are made in memory and queued. Two flushers write the queue to the log, and sync it if a
//! caller waits for that. A compactor makes a snapshot with an empty log whenever the log has grown
//! long, or when asked to. Each is its own thread.
//!
//! # Files
//!
//! | name | content |
//! |---|---|
//! | `snap-N` | the items of the store when generation `N` began; the highest `N` is the store |
//! | `log-N` | the changes since |
//! | `next-N` | a snapshot that has not taken its name yet |
//!
//! A generation begins with its snapshot written and synced as `next-N` and its log created; when
//! both names are durable, the snapshot takes its own name, and that is synced.
//! [`ToyThreads::open`] begins one with the items that it recovered.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | [`write`](ToyThreads::write) | in the process |
//! | [`sync`](ToyThreads::sync), [`checkpoint`](ToyThreads::checkpoint) | survives power loss, with all before it |
//! | [`close`](ToyThreads::close) | survives the process, with all before it |
//! | [`open`](ToyThreads::open) | what it shows survives power loss |
//!
//! A crash leaves a prefix of the calls; of a batch all or nothing. After a failed write or sync
//! the store refuses every call until it is opened again.
//!
//! # Locks
//!
//! `log` is taken before `state`. Only the holder of `log` writes files; `state` is never held over
//! a call that can block.

mod bug;
mod files;
mod threads;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::toy::{Op, changed_by};
pub use bug::ThreadBug;
use files::Log;
use threads::{Request, compact_on_request, flush_until_closed};

/// The number of batches that may be queued: the next waits until a flusher has taken them.
const QUEUE_MAX: usize = 16;

/// The keys and their values.
type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// The store, open.
#[derive(Debug)]
pub struct ToyThreads {
    shared: Arc<Shared>,
    /// Sends to the compactor, which ends when all senders are gone.
    compactor: Option<Sender<Request>>,
    threads: Vec<JoinHandle<()>>,
}

/// The state that the threads share.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    bug: Option<ThreadBug>,
    log: Mutex<Log>,
    state: Mutex<State>,
    /// There is something to flush, or the store closes.
    work: Condvar,
    /// Records were taken, or became durable, or will not.
    progress: Condvar,
}

/// The state in memory. Numbers count batches, from 1.
#[derive(Debug, Default)]
struct State {
    items: Items,
    /// Batches that are not in the log yet, with their numbers.
    queue: Vec<(u64, Vec<Op>)>,
    /// The last batch.
    issued: u64,
    /// The last batch that a flusher took, or that is in a snapshot.
    taken: u64,
    /// The last batch that survives power loss, with all before it.
    durable: u64,
    /// The last batch that a caller wants durable.
    wanted: u64,
    /// The error after which every call is refused.
    error: Option<String>,
    closing: bool,
}

impl ToyThreads {
    /// Opens the store in a directory, or creates it there; with a planted bug if one is given.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData` if the store is damaged in a way that no crash
    /// explains.
    pub fn open(dir: &Path, bug: Option<ThreadBug>) -> io::Result<Self> {
        let (items, highest) = files::recover(dir)?;
        let log = files::write_snapshot(dir, highest + 1, &items)?.become_current(&[])?;
        files::remove_before(dir, highest + 1);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            bug,
            log: Mutex::new(log),
            state: Mutex::new(State { items, ..State::default() }),
            work: Condvar::new(),
            progress: Condvar::new(),
        });
        let (compactor, requests) = channel();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run)
        };
        let mut threads = Vec::new();
        for name in ["flusher-1", "flusher-2"] {
            let (shared, compactor) = (shared.clone(), compactor.clone());
            let run = move || flush_until_closed(&shared, &compactor);
            threads.push(spawn(name, Box::new(run))?);
        }
        let of_compactor = shared.clone();
        let run = move || compact_on_request(&of_compactor, &requests);
        threads.push(spawn("compactor", Box::new(run))?);
        Ok(Self { shared, compactor: Some(compactor), threads })
    }

    /// Carries out all of these or none.
    ///
    /// # Errors
    /// `InvalidInput` if a key or a value is too long, or if a value is not a number where one is
    /// needed; any call is refused after a failed write or sync.
    pub fn write(&self, batch: &[Op]) -> io::Result<()> {
        let state = self.shared.state();
        let mut state = self
            .shared
            .progress
            .wait_while(state, |state| state.queue.len() >= QUEUE_MAX && state.error.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.refuse_after_an_error()?;
        for (key, value) in changed_by(&state.items, batch)? {
            match value {
                Some(value) => state.items.insert(key, value),
                None => state.items.remove(&key),
            };
        }
        state.issued += 1;
        let number = state.issued;
        state.queue.push((number, batch.to_vec()));
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&self) -> io::Result<()> {
        let shared = &*self.shared;
        let mut state = shared.state();
        let ticket = state.issued;
        let done = |state: &State| {
            let upto = match shared.bug {
                Some(ThreadBug::AckBeforeFlush) => state.taken,
                _ => state.durable,
            };
            upto >= ticket || state.error.is_some()
        };
        if done(&state) {
            return state.refuse_after_an_error();
        }
        state.wanted = state.wanted.max(ticket);
        drop(state);
        shared.work.notify_one();
        let mut state = shared.state();
        let mut must_wait = shared.has(ThreadBug::LostWakeup) || !done(&state);
        while must_wait {
            state = shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
            must_wait = !done(&state);
        }
        state.refuse_after_an_error()
    }

    /// Makes all changes durable, as a snapshot with an empty log.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn checkpoint(&self) -> io::Result<()> {
        self.shared.state().refuse_after_an_error()?;
        let (done, is_done) = channel();
        let gone = |_| Error::other("the compactor is gone");
        if let Some(compactor) = &self.compactor {
            compactor.send(Some(done)).map_err(|_| gone(()))?;
        }
        is_done.recv().map_err(|_| gone(()))?;
        self.shared.state().refuse_after_an_error()
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.shared.state().items.get(key).cloned()
    }

    /// All keys and values.
    #[must_use]
    pub fn scan(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.shared.state().items.clone()
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state().items.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Passes the queue to the kernel, and ends the threads.
    ///
    /// # Errors
    /// Those of the file system; the error of an earlier call.
    pub fn close(mut self) -> io::Result<()> {
        self.end();
        self.shared.state().refuse_after_an_error()
    }

    fn end(&mut self) {
        self.shared.state().closing = true;
        self.shared.work.notify_all();
        self.compactor = None;
        for thread in self.threads.drain(..) {
            if self.shared.has(ThreadBug::CloseDoesNotWait) {
                continue;
            }
            if thread.join().is_err() {
                self.shared.fail(&Error::other("a thread of the store panicked"));
            }
        }
    }
}

impl Drop for ToyThreads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn has(&self, bug: ThreadBug) -> bool {
        self.bug == Some(bug)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the store refuse every call: the remains of a failed write are unknown, and after a
    /// failed sync the kernel may report the next one as successful.
    fn fail(&self, error: &Error) {
        self.state().error.get_or_insert_with(|| error.to_string());
        self.work.notify_all();
        self.progress.notify_all();
    }
}

impl State {
    fn refuse_after_an_error(&self) -> io::Result<()> {
        match &self.error {
            Some(error) => Err(Error::other(format!("open the store again: {error}"))),
            None => Ok(()),
        }
    }
}
