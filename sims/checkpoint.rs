//! The sim of the event store: a service appends events and batches, checkpoints and compacts,
//! while its checkpoint and its segments' footers are damaged, or an old checkpoint is put back.

mod damage;
mod model;
mod op;
#[cfg(feature = "batpak")]
pub mod origin;
mod workload;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crashpoint::{
    Ack, AfterFault, Engine, Entry as SimEntry, Error, Level, Promises, Rotting, Sim, State, Step,
    sim,
};
use proptest::strategy::BoxedStrategy;
use serde_bytes::{ByteBuf, Bytes};

pub use model::StoreModel;
pub use op::{Event, Part, StoreOp};

use crate::engines::checkpoint::{
    Bugs, Config, Entry, NewEvent, Store, StoredEvent, reported_up_to,
};
use crate::support;
use model::{id, item, scope, shown};

/// The length of a segment: about four events, so that workloads of a few steps reach the next.
const SEGMENT_LEN: u64 = 1600;

/// The bugs to plant in the engine, and the name of the sim that has them.
pub trait Planted: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// The bugs.
    fn bugs() -> Bugs;
}

/// The store without planted bugs.
pub struct Shipped;

impl Planted for Shipped {
    const NAME: &'static str = "checkpoint";

    fn bugs() -> Bugs {
        Bugs::default()
    }
}

/// The adapter: opens the store from its frames alone, then with its footers, then with its
/// checkpoint too, and compares the answers.
pub struct StoreEngine<P> {
    dir: PathBuf,
    store: Store,
    planted: PhantomData<P>,
}

/// The index of a store: all about its events except their payloads, and the next sequence number.
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
            return Err("the footers disagree with the frames".into());
        }
        let store = Store::open(dir, with)?;
        if answers(&store) != plain {
            return Err("the checkpoint disagrees with the frames".into());
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
            damage => {
                damage::apply(&self.dir, damage)?;
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
                return Err(format!("event {id} does not follow its entity's last one").into());
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
        let quotes = [
            (
                "an append survives the process, with all before it",
                "survives the process, with all before it",
            ),
            (
                "a batch, sync, compact and close survive power loss, with all before them",
                "survives power loss, with all before it",
            ),
            (
                "a crash leaves a prefix of the events, and of a batch all or nothing",
                "A crash always leaves a prefix of the events in the order in which they were \
                 appended, and of a batch all or nothing.",
            ),
            (
                "the checkpoint changes no answer",
                "with it, without it, with a stale, torn or foreign one, the store answers the \
                 same",
            ),
            (
                "open reports damage in a finished segment, except in the last one",
                "Damage in a segment that no crash explains is reported when the store is opened.",
            ),
            (
                "a failed call takes nothing back",
                "The file system said no. All that earlier calls promised still holds; what this \
                 call was to do is done or not.",
            ),
        ];
        Promises {
            close: Level::Durable,
            survives: support::right_after_failed_calls_and_rot(false, AfterFault::Right),
            sources: support::sources("engines/checkpoint.rs", quotes),
            ..Promises::default()
        }
    }

    /// The store can do without its checkpoint. It must report damage in a segment that was
    /// finished and is not the last one.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        let number =
            |path: &[u8]| str::from_utf8(path.strip_suffix(b".fbat")?).ok()?.parse::<u64>().ok();
        let last = at.files.iter().filter_map(|path| number(path)).max();
        match number(&at.rot.path) {
            _ if at.is_in("index.ckpt") => AfterFault::Right,
            Some(id) if last > Some(id) && at.bytes.end <= reported_up_to(id, at.content) => {
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
            /// The store with one planted bug.
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
    /// The store with each bug of its origin, and with some that are typical of a checkpoint. B14
    /// is missing because it breaks no promise that was made, and B15 because the footers, which
    /// list the frames, hide it.
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
    /// The store with bugs that saved cases find, but that no workload is known to find: one takes
    /// a disk that is full in the middle of an append and another append right after it, the other
    /// a failed sync, a reopening, and a sync before the power fails.
    planted_in_cases:
    HalfFrameKept "b7-half-frame-kept" half_frame_kept;
    PageCacheTrusted "page-cache-trusted" page_cache_trusted;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<Checkpoint>();
    }

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<Checkpoint>(60, 300);
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<Checkpoint>(&crate::corpus());
    }
}
