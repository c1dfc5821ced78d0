//! The bodies of the threads: two flushers, one compactor.

use std::io;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, Sender};

use super::files;
use super::{Items, Shared, State, ThreadBug};
use crate::engines::toy::Op;

/// The log is compacted when it is longer than this, in bytes: some ten batches.
const LOG_MAX: u64 = 256;

/// Asks for a compaction; a caller that waits for it is notified when it is done.
pub(super) type Request = Option<Sender<()>>;

/// Batches that a flusher took from the queue.
struct Taken {
    batches: Vec<(u64, Vec<Op>)>,
    /// The last batch that is in the log once these are.
    upto: u64,
    /// Whether a caller waits until that is durable.
    sync: bool,
}

/// Writes the queue out, until the store closes and the queue is empty.
pub(super) fn flush_until_closed(shared: &Shared, compactor: &Sender<Request>) {
    loop {
        let idle = |state: &mut State| state.error.is_none() && !state.closing && !state.has_work();
        let state = shared.state();
        let state = shared.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.error.is_some() || (state.closing && !state.has_work()) {
            return;
        }
        drop(state);
        match flush(shared) {
            // A compactor that has ended need not compact.
            Ok(len) if len > LOG_MAX => drop(compactor.send(None)),
            Ok(_) => {}
            // The error was already recorded.
            Err(_) => return,
        }
    }
}

/// Writes the queue to the log; returns the log's length.
fn flush(shared: &Shared) -> io::Result<u64> {
    let early = shared.has(ThreadBug::FlushOutOfOrder).then(|| take(shared));
    let mut log = shared.log();
    if shared.state().error.is_some() {
        return Ok(0);
    }
    let taken = early.unwrap_or_else(|| take(shared));
    let written = log.append(taken.batches.iter().map(|(_, batch)| batch.as_slice()));
    // Recorded while the log is held: its next holder must not sync past the missing records.
    written.inspect_err(|error| shared.fail(error))?;
    if taken.sync {
        log.sync().inspect_err(|error| shared.fail(error))?;
        let mut state = shared.state();
        state.durable = state.durable.max(taken.upto);
        drop(state);
        shared.progress.notify_all();
    }
    Ok(log.len())
}

/// Takes the queue, and wakes the callers that wait for room in it.
fn take(shared: &Shared) -> Taken {
    let mut state = shared.state();
    let batches = std::mem::take(&mut state.queue);
    let upto = batches.last().map_or(state.taken, |(number, _)| *number);
    state.taken = upto;
    let sync = state.wanted > state.durable;
    drop(state);
    shared.progress.notify_all();
    Taken { batches, upto, sync }
}

impl State {
    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.wanted > self.durable
    }
}

/// Compacts whenever it is asked to, until all senders are gone.
pub(super) fn compact_on_request(shared: &Shared, requests: &Receiver<Request>) {
    for request in requests {
        // The log may have been compacted since a flusher found it long.
        let wanted = request.is_some() || shared.log().len() > LOG_MAX;
        if wanted
            && shared.state().error.is_none()
            && let Err(error) = compact(shared)
        {
            shared.fail(&error);
        }
        // The caller may be gone.
        request.map(|done| done.send(()));
    }
}

/// Begins a generation with all changes. While the log is held, new changes stay queued, and go to
/// the new log.
fn compact(shared: &Shared) -> io::Result<()> {
    let races = shared.has(ThreadBug::CompactionRacesWriter)
        || shared.has(ThreadBug::CheckpointRacesDelete);
    let (generation, held) = {
        let log = shared.log();
        (log.generation() + 1, (!races).then_some(log))
    };
    let (items, mut upto) = {
        let state = shared.state();
        (state.items.clone(), state.issued)
    };
    let snapshot = files::write_snapshot(&shared.dir, generation, &items)?;
    let mut log = held.unwrap_or_else(|| shared.log());
    let mut since = Vec::new();
    if shared.has(ThreadBug::CheckpointRacesDelete) {
        let state = shared.state();
        (since, upto) = (changed(&items, &state.items), state.issued);
    }
    // Recorded as in a flush: a log that a newer snapshot may hide must not be written to any more.
    *log = snapshot.become_current(&since).inspect_err(|error| shared.fail(error))?;
    let mut state = shared.state();
    state.queue.retain(|(number, _)| *number > upto);
    state.taken = state.taken.max(upto);
    state.durable = state.durable.max(upto);
    drop(state);
    shared.progress.notify_all();
    if shared.has(ThreadBug::RemoverPanics) {
        let dir = shared.dir.clone();
        let remove = move || {
            files::remove_all_before(&dir, generation).expect("no other thread removes files")
        };
        drop(std::thread::Builder::new().name("remover".to_owned()).spawn(remove)?);
        return Ok(());
    }
    files::remove_before(&shared.dir, generation);
    Ok(())
}

/// The planted catch-up: the keys that are new or have another value now, but not those deleted.
fn changed(before: &Items, now: &Items) -> Vec<Op> {
    let differs = |(key, value): &(&Vec<u8>, &Vec<u8>)| before.get(*key) != Some(*value);
    let put =
        |(key, value): (&Vec<u8>, &Vec<u8>)| Op::Put { key: key.clone(), value: value.clone() };
    now.iter().filter(differs).map(put).collect()
}
