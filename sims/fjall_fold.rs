//! The sims of the fold on fjall: a service folds a stream batch by batch, while another thread
//! reads.

mod concurrent_reader;
mod op;

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::{
    Ack, AfterFault, Digester, Engine, Entry as SimEntry, Error, FaultKind, History, Level, Model,
    Order, Promises, Sim, Source, State, Step, Time, sim,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::engines::append_log::{Cursor, Entry, Update, VersionToken};
use crate::engines::fjall_fold::{FjallFold, FoldConfig};
use crate::engines::snapshot_store::SnapshotStore;
use crate::support::{self, CURSOR, item, value, version};
use concurrent_reader::ConcurrentReader;
pub use op::{Change, FoldOp};

/// The size in bytes above which a memtable is flushed to a table: about five batches, so that
/// workloads of a few steps reach a flush and, four tables later, a compaction.
const MEMTABLE_BYTES: u64 = 1024;

/// Small, because each open allocates the cache's index, and a recovery should be cheap.
const CACHE_BYTES: u64 = 64 * 1024;

/// With more than one worker, fjall's worker 0 resends a request for compaction, and receives it
/// again itself if no other worker takes it (`worker_pool.rs`, `WorkerMessage::Compact`): where one
/// thread runs at a time, that loop never ends. So a single worker flushes and compacts, and races
/// between two workers are not tested.
const WORKERS: usize = 1;

/// The length of the longest value that is shown whole; longer ones are shown by length and digest.
const SHOWN: usize = 16 * 1024;

/// The value of a key's item: the version, then the value.
fn versioned(version: &[u8], value: &[u8]) -> Vec<u8> {
    if value.len() <= SHOWN {
        return [version, b":", value].concat();
    }
    let mut digester = Digester::default();
    digester.add(value);
    [version, format!(":{} bytes {:?}", value.len(), digester.finish()).as_bytes()].concat()
}

fn shown(entry: &Entry) -> Vec<u8> {
    versioned(entry.version.as_bytes(), &entry.value)
}

/// The state that the service has folded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoldModel(State);

impl Model for FoldModel {
    type Op = FoldOp;

    fn apply(&mut self, op: &FoldOp, _at: Time) {
        for change in &op.changes {
            match change.value() {
                Some((version, value)) => {
                    self.0.set(item(change.key()), versioned(&version, &value));
                }
                None => {
                    self.0.remove(&item(change.key()));
                }
            }
        }
        self.0.set(CURSOR, op.cursor.to_string());
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }

    fn items(op: &FoldOp) -> Option<Vec<Vec<u8>>> {
        let keys = op.changes.iter().map(|change| item(change.key()));
        Some(keys.chain([CURSOR.to_vec()]).collect())
    }

    fn restored(state: &State) -> Option<Self> {
        Some(Self(state.clone()))
    }
}

/// The promise without sync: at some point of the history, not before what must survive, the cursor
/// was the one read back, and each item is as it was at that point or later. Folding again from
/// that cursor then ends in the stream's current state.
fn cursor_is_not_ahead(seen: &State, line: &History<'_, FoldModel>) -> bool {
    let states = line.states();
    let had = |state: &State, item: &[u8], value: Option<&[u8]>| state.get(item) == value;
    let fits = |from: usize| {
        let later = &states[from..];
        let known = later.iter().flat_map(State::iter).map(|(item, _)| item);
        had(&later[0], CURSOR, seen.get(CURSOR))
            && known
                .chain(seen.iter().map(|(item, _)| item))
                .filter(|item| *item != CURSOR)
                .all(|item| later.iter().any(|state| had(state, item, seen.get(item))))
    };
    (line.low()..states.len()).any(fits)
}

/// The configuration of the fold, and the kind of workload.
pub trait Mode: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// One line about it, for the list of sims.
    const ABOUT: &'static str;
    /// Whether each batch waits until it survives power loss.
    const SYNC: bool;
    /// Whether the store is created in place, as fjall alone does.
    const CREATED_IN_PLACE: bool = false;
    /// Whether the names of the keyspaces' folders stay unsynced, as with fjall alone.
    const NAMES_NOT_SYNCED: bool = false;
    /// Whether workloads write enough to rotate the journal, whose size of 64 MB is fixed.
    const ROTATES: bool = false;
}

/// Batches survive the process. The store is created in place, to test how the engine handles a
/// crash in its first open; all other modes create it aside, so that this finding hides no others.
pub struct NoSync;

impl Mode for NoSync {
    const NAME: &'static str = "fjall-fold";
    const ABOUT: &'static str = "a fold on fjall 3.1, batches not synced, read by another thread";
    const SYNC: bool = false;
    const CREATED_IN_PLACE: bool = true;
}

/// Batches survive power loss.
pub struct Synced;

impl Mode for Synced {
    const NAME: &'static str = "fjall-fold-sync";
    const ABOUT: &'static str = "a fold on fjall 3.1, each batch synced, read by another thread";
    const SYNC: bool = true;
}

/// As [`NoSync`], with enough data to rotate the journal.
pub struct Rotating;

impl Mode for Rotating {
    const NAME: &'static str = "fjall-fold-rotation";
    const ABOUT: &'static str = "a fold on fjall 3.1 that fills and rotates its journal of 64 MB";
    const SYNC: bool = false;
    const ROTATES: bool = true;
}

/// As [`Synced`], without the directory sync that the fold adds to fjall.
pub struct NamesNotSynced;

impl Mode for NamesNotSynced {
    const NAME: &'static str = "fjall-fold-names-not-synced";
    const ABOUT: &'static str = "the synced fold without its sync of fjall's keyspaces folder";
    const SYNC: bool = true;
    const NAMES_NOT_SYNCED: bool = true;
}

/// The adapter.
pub struct FoldEngine<M> {
    fold: FjallFold,
    reader: ConcurrentReader,
    mode: PhantomData<M>,
}

fn update(change: &Change) -> Result<Update, Error> {
    let key = change.key().to_owned();
    Ok(match (change, change.value()) {
        (_, Some((version, value))) => {
            Update::Put(Entry { key, value, version: VersionToken::from_bytes(&version)? })
        }
        (Change::Purge(_), None) => Update::Purge { key, version: VersionToken::unknown() },
        (_, None) => Update::Delete { key, version: VersionToken::unknown() },
    })
}

impl<M: Mode> Engine for FoldEngine<M> {
    type Op = FoldOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let config = FoldConfig {
            sync: M::SYNC,
            cache_bytes: CACHE_BYTES,
            workers: WORKERS,
            memtable_bytes: MEMTABLE_BYTES,
            created_in_place: M::CREATED_IN_PLACE,
            names_not_synced: M::NAMES_NOT_SYNCED,
        };
        let (_, fold) = FjallFold::open(&dir.join("fold"), config)?;
        let reader = ConcurrentReader::start(fold.reader());
        Ok(Self { fold, reader, mode: PhantomData })
    }

    fn apply(&mut self, op: &FoldOp) -> Result<Ack, Error> {
        let batch: Vec<Update> = op.changes.iter().map(update).collect::<Result<_, _>>()?;
        self.reader.begin(&self.fold, &batch)?;
        let applied = self.fold.apply(&batch, &Cursor::from_u64(op.cursor));
        self.reader.end(applied.is_ok())?;
        applied?;
        Ok(if M::SYNC { Ack::DURABLE } else { Ack::FLUSHED })
    }

    fn scan(&mut self) -> Result<State, Error> {
        self.reader.check()?;
        let entries = self.fold.range("")?;
        let mut state: State =
            entries.iter().map(|entry| (item(&entry.key), shown(entry))).collect();
        if let Some(cursor) = self.fold.cursor().as_u64() {
            state.set(CURSOR, cursor.to_string());
        }
        Ok(state)
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        if item == CURSOR {
            return Some(Ok(self.fold.cursor().as_u64().map(|n| n.to_string().into_bytes())));
        }
        let key = item.strip_prefix(b"key ").and_then(|key| std::str::from_utf8(key).ok());
        let found = key.map_or(Ok(None), |key| self.fold.get(key));
        Some(found.map(|entry| entry.as_ref().map(shown)).map_err(Error::from))
    }

    /// Stops the reader first, since it holds the store open.
    fn close(self) -> Result<(), Error> {
        let Self { fold, reader, mode: _ } = self;
        reader.stop()?;
        drop(fold);
        Ok(())
    }
}

/// The sim of the fold.
pub struct FjallFoldSim<M = NoSync>(PhantomData<M>);

impl<M: Mode> Sim for FjallFoldSim<M> {
    type Engine = FoldEngine<M>;
    type Model = FoldModel;

    const NAME: &'static str = M::NAME;
    const ABOUT: &'static str = M::ABOUT;
    // The engine takes milliseconds to open, where others take a tenth of one.
    const WORKLOADS: u64 = 30;
    const RECOVERIES: u64 = 60;
    const CPU: Duration = Duration::from_secs(if M::ROTATES { 60 } else { 10 });

    fn promises() -> Promises<FoldModel> {
        Promises {
            order: if M::SYNC { Order::Prefix } else { Order::Custom(cursor_is_not_ahead) },
            // Each batch is written to the kernel when it is applied.
            close: Level::Flushed,
            survives: vec![(FaultKind::FailedWrite, AfterFault::Right)],
            sources: if M::SYNC { synced_sources() } else { unsynced_sources() },
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<FoldOp>>> {
        if M::ROTATES { rotating(steps).boxed() } else { vec(step(), 1..=steps.max(1)).boxed() }
    }
}

/// The file whose documentation makes the promises of the fold.
const FOLD: &str = "engines/fjall_fold.rs";

fn after_an_error() -> Source {
    Source {
        promise: "after a failed write, opening again finds all that was promised",
        sentence: "At this point, it's best to let the application crash and try to recover.",
        at: "fjall 3.1.13, Error::Poisoned",
    }
}

fn unsynced_sources() -> Vec<Source> {
    let quotes = [
        (
            "a batch survives the process, with all before it",
            "survives the process, with all before it",
        ),
        (
            "a crash leaves no cursor that is ahead of the data; folding again converges",
            "Without it the cursor that a crash leaves is never ahead of the data, and folding \
             again from that cursor ends in the state of the stream; data may be ahead of the \
             cursor, and is then folded again.",
        ),
    ];
    let of_fjall = Source {
        promise: "a crash without a sync loses data, never the store",
        sentence: "Persisting only affects durability, NOT consistency! Even without flushing \
                   data is crash-safe.",
        at: "fjall 3.1.13, Database::persist",
    };
    [support::sources(FOLD, quotes), vec![of_fjall, after_an_error()]].concat()
}

fn synced_sources() -> Vec<Source> {
    let quotes = [
        (
            "a batch survives power loss, with all before it",
            "survives power loss, with all before it",
        ),
        (
            "data and cursor are one: a crash leaves a prefix of the batches",
            "With `sync` a crash leaves a prefix of the batches.",
        ),
    ];
    [support::sources(FOLD, quotes), vec![after_an_error()]].concat()
}

/// Random cursors, although those of a stream only grow: the fold does not compare them, and random
/// ones distinguish batches just as well.
fn cursor() -> impl Strategy<Value = u64> {
    1..u64::from(u32::MAX)
}

/// A batch, a pause in which the worker can flush and compact, or a reopening.
fn step() -> impl Strategy<Value = Step<FoldOp>> {
    let apply = (vec(change(), 0..6), cursor())
        .prop_map(|(changes, cursor)| Step::Op(FoldOp { cursor, changes }));
    prop_oneof![
        12 => apply,
        3 => (1..30u64).prop_map(|millis| Step::Sleep(Duration::from_millis(millis))),
        1 => Just(Step::Reopen),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let key = prop_oneof![5 => 0..4u16, 1 => 0..60u16].prop_map(|n| format!("k{n}"));
    prop_oneof![
        6 => (key.clone(), value(), version()).prop_map(|(k, v, t)| Change::Put(k, v, t)),
        2 => key.clone().prop_map(Change::Delete),
        1 => key.prop_map(Change::Purge),
    ]
}

/// Nine times 8 MiB of incompressible data, with other steps in between: the engine rotates a
/// journal of more than 64 MB at the next flush, and deletes it once all of it was flushed.
fn rotating(steps: usize) -> impl Strategy<Value = Vec<Step<FoldOp>>> {
    let fill = (any::<u32>(), cursor()).prop_map(|(number, cursor)| {
        let fill = Change::Fill { key: "fill".into(), number, kib: 8 * 1024 };
        Step::Op(FoldOp { cursor, changes: vec![fill] })
    });
    let pause = Just(Step::Sleep(Duration::from_millis(40)));
    let part = (fill, pause, vec(step(), 0..3));
    (vec(part, 9), vec(step(), 1..=steps.max(1))).prop_map(|(parts, last)| {
        let part = |(fill, pause, then)| [vec![fill, pause], then].concat();
        parts.into_iter().map(part).collect::<Vec<_>>().concat().into_iter().chain(last).collect()
    })
}

/// The fold without the directory sync that it adds to fjall.
pub fn planted() -> Vec<SimEntry> {
    vec![sim::<FjallFoldSim<NamesNotSynced>>()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<FjallFoldSim<NoSync>>(24, 100);
    }

    #[test]
    fn matches_its_model_in_a_real_directory_with_sync() {
        support::check_in_a_real_directory::<FjallFoldSim<Synced>>(12, 50);
    }

    #[test]
    fn matches_its_model_in_a_real_directory_while_the_journal_is_rotated() {
        let dir = support::check_in_a_real_directory::<FjallFoldSim<Rotating>>(1, 20);
        let first = dir.path().join(format!("{}-0/fold/0.jnl", Rotating::NAME));
        assert!(first.with_file_name("1.jnl").exists(), "the journal was not rotated");
        assert!(!first.exists(), "the flushed journal was not deleted");
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<FjallFoldSim<NoSync>>(&crate::corpus());
        crashpoint::check_corpus::<FjallFoldSim<Synced>>(&crate::corpus());
    }
}
