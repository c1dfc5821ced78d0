//! The event store under test: a service that appends events and batches, checkpoints, compacts;
//! and someone who damages its checkpoint, or puts an old one back.

mod harm;
mod model;
mod op;
#[cfg(feature = "batpak")]
pub mod origin;
mod workload;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crashpoint::Rotting;
use crashpoint::State;
use crashpoint::{Ack, Engine, Error, Level};
use crashpoint::{AfterFault, Promises, Source};
use crashpoint::{Entry as SimEntry, sim};
use crashpoint::{Sim, Step};
use proptest::strategy::BoxedStrategy;
use serde_bytes::{ByteBuf, Bytes};

pub use model::StoreModel;
pub use op::{Event, Part, StoreOp};

use crate::engines::checkpoint::{Bugs, Config, Entry, NewEvent, Store, StoredEvent, told_up_to};
use model::{id, item, scope, shown};

/// The length of a segment: some four events, so that workloads of a few steps reach the next.
const SEGMENT_LEN: u64 = 1600;
/// Which bugs an adapter plants.
pub trait Planted: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// The bugs.
    fn bugs() -> Bugs;
}

/// The store as it is shipped.
pub struct Shipped;

impl Planted for Shipped {
    const NAME: &'static str = "checkpoint";

    fn bugs() -> Bugs {
        Bugs::default()
    }
}

/// The adapter: opens the store by its frames alone, then by its footers, then with its checkpoint.
pub struct StoreEngine<P> {
    dir: PathBuf,
    store: Store,
    planted: PhantomData<P>,
}

/// All that a store says of its events but their payloads, and what comes next.
fn answers(store: &Store) -> (Vec<(Entry, String, String)>, u64) {
    let row = |(entry, entity, scope): (&Entry, &str, &str)| {
        (entry.clone(), entity.to_owned(), scope.to_owned())
    };
    (store.entries().map(row).collect(), store.next_sequence())
}

fn value(event: &StoredEvent) -> Result<Vec<u8>, Error> {
    let payload: ByteBuf = event.decode()?;
    let id = u16::try_from(event.entry.id)?;
    if event.scope != scope(id) {
        return Err(format!("event {id} has the scope {:?}", event.scope).into());
    }
    Ok(shown(event.entry.sequence, &event.entity, event.entry.clock, &payload))
}

fn new_event(Event(id, entity, payload): &Event) -> Result<NewEvent, Error> {
    let event = NewEvent::new(entity, scope(*id), Bytes::new(payload))?.with_id((*id).into());
    // Every other event has a cause.
    Ok(if id % 2 == 0 { event } else { event.caused_by((*id).into()) })
}

impl<P> StoreEngine<P> {
    fn batch(&mut self, events: &[Event]) -> Result<Ack, Error> {
        let mut fresh: Vec<NewEvent> = Vec::new();
        for event in events {
            let id = Some(u128::from(event.0));
            if self.store.entry(event.0.into()).is_none()
                && fresh.iter().all(|other| other.id != id)
            {
                fresh.push(new_event(event)?);
            }
        }
        if fresh.is_empty() {
            return Ok(Ack::BUFFERED);
        }
        self.store.append_batch(&fresh)?;
        Ok(Ack::DURABLE)
    }
}

impl<P: Planted> Engine for StoreEngine<P> {
    type Op = StoreOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let with = Config { segment_len: SEGMENT_LEN, bugs: P::bugs(), ..Config::default() };
        let without = Config { checkpoint: false, footers: false, ..with };
        let plain = answers(&Store::open(dir, without)?);
        if answers(&Store::open(dir, Config { checkpoint: false, ..with })?) != plain {
            return Err("the footers say something else than the frames".into());
        }
        let store = Store::open(dir, with)?;
        if answers(&store) != plain {
            return Err("the checkpoint says something else than the frames".into());
        }
        Ok(Self { dir: dir.to_owned(), store, planted: PhantomData })
    }

    fn apply(&mut self, op: &StoreOp) -> Result<Ack, Error> {
        match op {
            StoreOp::Append(event) => {
                self.store.append(&new_event(event)?)?;
                return Ok(if self.store.unsynced() == 0 { Ack::DURABLE } else { Ack::FLUSHED });
            }
            StoreOp::Batch(events) => return self.batch(events),
            StoreOp::Sync => self.store.sync()?,
            StoreOp::Checkpoint => self.store.checkpoint()?,
            StoreOp::Compact => drop(self.store.compact()?),
            StoreOp::Every(events) => {
                self.store.set_sync_every(*events);
                return Ok(Ack::BUFFERED);
            }
            happening => {
                harm::harm(&self.dir, happening)?;
                return Ok(Ack::BUFFERED);
            }
        }
        Ok(Ack::DURABLE)
    }

    fn scan(&mut self) -> Result<State, Error> {
        let mut state = State::new();
        let ids: Vec<u128> = self.store.entries().map(|(entry, ..)| entry.id).collect();
        let mut heads: BTreeMap<String, (u32, [u8; 32])> = BTreeMap::new();
        for id in ids {
            let event = self.store.get(id)?;
            state.set(item(id), value(&event)?);
            let head = heads.entry(event.entity).or_default();
            if *head != (event.entry.clock, event.entry.prev_hash) {
                return Err(format!("event {id} does not follow its entity's last").into());
            }
            *head = (event.entry.clock + 1, event.entry.event_hash);
        }
        Ok(state)
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let id = id(item)?;
        if self.store.entry(id).is_none() {
            return Some(Ok(None));
        }
        let value = |event: StoredEvent| value(&event).map(Some);
        Some(self.store.get(id).map_err(Error::from).and_then(value))
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.store.len()))
    }

    fn close(self) -> Result<(), Error> {
        Ok(self.store.close()?)
    }
}

/// The sim of the event store.
pub struct Checkpoint<P = Shipped>(PhantomData<P>);

impl<P: Planted> Sim for Checkpoint<P> {
    type Engine = StoreEngine<P>;
    type Model = StoreModel;

    const NAME: &'static str = P::NAME;
    const ABOUT: &'static str =
        "event store over segments (FBAT), batches, compaction, index checkpoint (FBATCK v2)";

    fn promises() -> Promises<StoreModel> {
        let source = |promise, sentence| Source { promise, sentence, at: "engines/checkpoint.rs" };
        Promises {
            close: Level::Durable,
            survives: crate::whatever_fails_or_rots(false, AfterFault::Right),
            sources: vec![
                source(
                    "an append survives the process, with all before it",
                    "survives the process, with all before it",
                ),
                source(
                    "a batch, sync, compact and close survive power loss, with all before them",
                    "survives power loss, with all before it",
                ),
                source(
                    "a crash leaves a prefix of the events, and of a batch all or nothing",
                    "A crash always leaves a prefix of the events in the order in which they were \
                     appended, and of a batch all or nothing.",
                ),
                source(
                    "the checkpoint changes no answer",
                    "with it, without it, with a stale, torn or foreign one, the store answers the \
                     same",
                ),
                source(
                    "damage in a finished segment is told, but for the last one",
                    "Damage in a segment that no crash explains is reported when the store is \
                     opened.",
                ),
                source(
                    "a failed call takes nothing back",
                    "The file system said no. All that earlier calls promised still holds; what \
                     this call was to do is done or not.",
                ),
            ],
            ..Promises::default()
        }
    }

    /// The checkpoint is done without. Damage in a segment is told if it was finished and is not
    /// the last one.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        let number =
            |path: &[u8]| str::from_utf8(path.strip_suffix(b".fbat")?).ok()?.parse::<u64>().ok();
        let last = at.files.iter().filter_map(|path| number(path)).max();
        match number(&at.rot.path) {
            _ if at.is_in("index.ckpt") => AfterFault::Right,
            Some(id) if last > Some(id) && at.bytes.end <= told_up_to(id, at.content) => {
                AfterFault::Loud
            }
            _ => AfterFault::Nothing,
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<StoreOp>>> {
        workload::workload(steps)
    }
}

macro_rules! planted {
    ($(#[$about:meta])+ $list:ident: $($name:ident $text:literal $($bug:ident)+;)*) => {
        $(
            /// The store with one bug of its origin, or of its kind.
            pub struct $name;

            impl Planted for $name {
                const NAME: &'static str = $text;

                fn bugs() -> Bugs {
                    Bugs { $($bug: true,)+ ..Bugs::default() }
                }
            }
        )*

        $(#[$about])+
        pub fn $list() -> Vec<SimEntry> {
            vec![$(sim::<Checkpoint<$name>>()),*]
        }
    };
}

planted! {
    /// The store with each bug of its origin, and some that a checkpoint invites. B14 is a promise
    /// that was never made, and B15 is hidden by the footers, which name the frames.
    planted:
    DirectoryNotSynced "b3-directory-not-synced" directory_not_synced checkpoint_believed;
    SourceMovedAway "b4a-source-moved-away" source_moved_away;
    CheckpointBelieved "b4c-checkpoint-believed" checkpoint_believed;
    TornBytesCopied "b4e-torn-bytes-copied" torn_bytes_copied;
    FooterBelieved "b5-footer-believed" footer_believed;
    BatchStaysOpen "b8-batch-stays-open" batch_stays_open;
    HeaderlessIsAnError "b13-headerless-is-an-error" headerless_is_an_error;
    BatchRotates "brot-batch-rotates" batch_rotates;
    ChecksumUnchecked "checksum-unchecked" checksum_unchecked;
    TailNotReplayed "tail-not-replayed" tail_not_replayed;
    RenameBeforeSync "segment-renamed-before-sync" rename_before_sync;
    FailedSyncForgiven "failed-sync-forgiven" failed_sync_forgiven;
}

planted! {
    /// The store with bugs that have not been seen found by the workloads, only by saved cases:
    /// the one needs a full disk in the midst of an append and another append right behind it, the
    /// other a failed sync, a reopening, and a sync before the power goes.
    planted_in_cases:
    HalfFrameKept "b7-half-frame-kept" half_frame_kept;
    PageCacheTrusted "page-cache-trusted" page_cache_trusted;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::Seed;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<Checkpoint>();
    }

    #[test]
    fn a_real_directory_shows_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let steps = crashpoint::check_on_real_disk::<Checkpoint>(dir.path(), Seed(7), 60);
        assert!(steps > 300, "{steps} steps are too few to mean something");
    }

    #[test]
    fn corpus_replays() {
        crashpoint::check_corpus::<Checkpoint>(&crate::corpus());
    }
}
