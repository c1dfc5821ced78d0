//! The fold on fjall under test: a service that folds a stream batch by batch, while another
//! thread reads.

mod beside;
mod op;

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::Digester;
use crashpoint::State;
use crashpoint::Time;
use crashpoint::{Ack, Engine, Error, Level};
use crashpoint::{AfterFault, FaultKind, History, Model, Order, Promises, Source};
use crashpoint::{Entry as SimEntry, sim};
use crashpoint::{Sim, Step};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::engines::append_log::{Cursor, Entry, Update, VersionToken};
use crate::engines::fjall_fold::{FjallFold, FoldConfig};
use crate::engines::snapshot_store::SnapshotStore;
use beside::Beside;
pub use op::{Change, FoldOp};

/// The item that holds the cursor; keys are items with `key ` in front.
const CURSOR: &[u8] = b"cursor";

/// Above so many bytes a memtable is flushed to a table: some five batches, so that workloads of a
/// few steps reach flush and, four tables later, compaction.
const MEMTABLE_BYTES: u64 = 1024;

/// The engine makes room for the cache's index when it opens; a recovery is to cost little.
const CACHE_BYTES: u64 = 64 * 1024;

/// With more than one worker, fjall's worker 0 answers a request for compaction with sending it
/// again, to itself if nobody else takes it (`worker_pool.rs`, `WorkerMessage::Compact`): where one
/// thread runs at a time that is a loop without an end. So one worker flushes and compacts, and
/// what two workers do to each other is not tested.
const WORKERS: usize = 1;

/// The longest value that a report shows; of others it shows the length and a digest.
const SHOWN: usize = 16 * 1024;

fn item(key: &str) -> Vec<u8> {
    [b"key ", key.as_bytes()].concat()
}

/// A value with its version in front, as an item's value shows both.
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

/// What the service knows.
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

/// The promise without sync. Somewhere at or behind what must survive, the history had this
/// cursor; each item is as it was there or later, so that folding again from there leads to where
/// the stream is.
fn cursor_is_not_ahead(seen: &State, history: &History<'_, FoldModel>) -> bool {
    let states = history.states();
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
    (history.low()..states.len()).any(fits)
}

/// How the fold is opened, and what is done to it.
pub trait Mode: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// One line about it.
    const ABOUT: &'static str;
    /// Whether each batch waits until it survives power loss.
    const SYNC: bool;
    /// Creates the store in place, as the engine does by itself.
    const CREATED_IN_PLACE: bool = false;
    /// Leaves the names of the keyspaces' folders unsynced, as the engine does by itself.
    const NAMES_NOT_SYNCED: bool = false;
    /// Writes so much that the journal, of 64 MB whatever its settings, is rotated.
    const ROTATES: bool = false;
}

/// Batches survive the process. The store is created in place, so that what the engine makes of a
/// crash in its first open is seen; all other modes create it aside, so that this hides nothing.
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

/// As [`Synced`], without what the fold adds to fjall.
pub struct NamesNotSynced;

impl Mode for NamesNotSynced {
    const NAME: &'static str = "fjall-fold-names-not-synced";
    const ABOUT: &'static str = "the synced fold, without the sync of fjall's keyspaces folder";
    const SYNC: bool = true;
    const NAMES_NOT_SYNCED: bool = true;
}

/// The adapter.
pub struct FoldEngine<M> {
    fold: FjallFold,
    beside: Beside,
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
        let beside = Beside::start(fold.reader());
        Ok(Self { fold, beside, mode: PhantomData })
    }

    fn apply(&mut self, op: &FoldOp) -> Result<Ack, Error> {
        let batch: Vec<Update> = op.changes.iter().map(update).collect::<Result<_, _>>()?;
        self.beside.begin(&self.fold, &batch)?;
        let applied = self.fold.apply(&batch, &Cursor::from_u64(op.cursor));
        self.beside.end(applied.is_ok())?;
        applied?;
        Ok(if M::SYNC { Ack::DURABLE } else { Ack::FLUSHED })
    }

    fn scan(&mut self) -> Result<State, Error> {
        self.beside.complaint()?;
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

    /// The reader holds the store open; so it ends first.
    fn close(self) -> Result<(), Error> {
        let Self { fold, beside, mode: _ } = self;
        beside.stop()?;
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
    /// The engine opens in milliseconds, where others take a tenth of one.
    const WORKLOADS: u64 = 30;
    const RECOVERIES: u64 = 60;
    const CPU: Duration = Duration::from_secs(if M::ROTATES { 60 } else { 10 });

    fn promises() -> Promises<FoldModel> {
        Promises {
            order: if M::SYNC { Order::Prefix } else { Order::Custom(cursor_is_not_ahead) },
            // Each batch is handed to the kernel when it is applied.
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

fn fold_says(promise: &'static str, sentence: &'static str) -> Source {
    Source { promise, sentence, at: "engines/fjall_fold.rs" }
}

fn after_an_error() -> Source {
    Source {
        promise: "after a failed write, opening again finds all that was promised",
        sentence: "At this point, it's best to let the application crash and try to recover.",
        at: "fjall 3.1.13, Error::Poisoned",
    }
}

fn unsynced_sources() -> Vec<Source> {
    vec![
        fold_says(
            "a batch survives the process, with all before it",
            "survives the process, with all before it",
        ),
        fold_says(
            "a crash leaves no cursor that is ahead of the data; folding again converges",
            "Without it the cursor that a crash leaves is never ahead of the data, and folding \
             again from that cursor ends in the state of the stream; data may be ahead of the \
             cursor, and is then folded again.",
        ),
        Source {
            promise: "a crash without a sync loses data, never the store",
            sentence: "Persisting only affects durability, NOT consistency! Even without flushing \
                       data is crash-safe.",
            at: "fjall 3.1.13, Database::persist",
        },
        after_an_error(),
    ]
}

fn synced_sources() -> Vec<Source> {
    vec![
        fold_says(
            "a batch survives power loss, with all before it",
            "survives power loss, with all before it",
        ),
        fold_says(
            "data and cursor are one: a crash leaves a prefix of the batches",
            "With `sync` a crash leaves a prefix of the batches.",
        ),
        after_an_error(),
    ]
}

/// Cursors only ever grow in a stream; the number of the draw is as good as its order here, and
/// tells one batch from another.
fn cursor() -> impl Strategy<Value = u64> {
    1..u64::from(u32::MAX)
}

/// Pauses let the worker flush and compact.
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

/// Empty, short, a sector, and several blocks: a batch then spans pages and two writes, and is
/// compressed.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![1 => Just(0usize), 6 => 1..30usize, 2 => 400..1400usize,
        1 => 5000..13000usize];
    (any::<u16>(), length, prop_oneof![3 => Just(b'v'), 1 => Just(0u8)]).prop_map(
        |(number, length, fill)| {
            let mut value = if length == 0 { Vec::new() } else { number.to_string().into_bytes() };
            value.resize(length.max(value.len()), fill);
            value
        },
    )
}

fn version() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (1..u64::from(u16::MAX)).prop_map(|n| VersionToken::from_u64(n).as_bytes().to_vec()),
        1 => vec(any::<u8>(), 10),
    ]
}

/// Nine times 8 MiB that do not compress, with other steps between them: the engine rotates a
/// journal of more than 64 MB when it flushes next, and deletes it when all of it was flushed.
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

/// The fold with what it adds to fjall taken away.
pub fn planted() -> Vec<SimEntry> {
    vec![sim::<FjallFoldSim<NamesNotSynced>>()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::Seed;

    fn on_a_real_disk<M: Mode>(workloads: u64, least: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let steps =
            crashpoint::check_on_real_disk::<FjallFoldSim<M>>(dir.path(), Seed(7), workloads);
        assert!(steps > least, "{steps} steps are too few to mean something");
        dir
    }

    #[test]
    fn a_real_directory_shows_the_same() {
        on_a_real_disk::<NoSync>(24, 100);
    }

    #[test]
    fn a_real_directory_shows_the_same_with_sync() {
        on_a_real_disk::<Synced>(12, 50);
    }

    #[test]
    fn a_real_directory_shows_the_same_while_the_journal_is_rotated() {
        let dir = on_a_real_disk::<Rotating>(1, 20);
        let first = dir.path().join(format!("{}-0/fold/0.jnl", Rotating::NAME));
        assert!(first.with_file_name("1.jnl").exists(), "the journal was rotated");
        assert!(!first.exists(), "the journal that was flushed is deleted");
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<FjallFoldSim<NoSync>>(&crate::corpus());
        crashpoint::check_corpus::<FjallFoldSim<Synced>>(&crate::corpus());
    }
}
