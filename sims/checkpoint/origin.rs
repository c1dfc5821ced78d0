//! The sims of the published crate whose format the event store uses, `batpak` 0.3.0, under the
//! same workloads. It breaks its promises: `corpus/origins` has the cases.
//!
//! Two of its known bugs have no case: B15 takes bit rot in a frame, and B14 is its documented
//! policy.
//!
//! It accepts the caller's id only for a single event, so the id is the correlation here. It
//! renumbers the events that it replays after a checkpoint, so their numbers are not compared.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use batpak::coordinate::{Coordinate, Region};
use batpak::event::EventKind;
use batpak::store::{
    AppendOptions, BatchAppendItem, CausationRef, CompactionConfig, IndexEntry, Store, StoreConfig,
};
use crashpoint::{
    Ack, AfterFault, Engine, Entry, Error, FaultKind, Level, Promises, Sim, Source, State, Step,
    sim,
};
use proptest::strategy::BoxedStrategy;

use super::damage;
use super::model::{StoreModel, id, item, scope, shown};
use super::op::{Event, StoreOp};
use super::{SEGMENT_LEN, workload};

/// What the crate's documentation is read to promise.
pub trait Claim: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// What a sync, a batch and a close promise.
    const SYNCED: Level;
}

/// What the documentation says: what was synced survives power loss.
pub struct Durable;

impl Claim for Durable {
    const NAME: &'static str = "batpak";
    const SYNCED: Level = Level::Durable;
}

/// Less than the documentation says: what was synced survives the process. The crate syncs no
/// directory, so a lost segment name, and all events with it, would hide most other violations.
pub struct Written;

impl Claim for Written {
    const NAME: &'static str = "batpak-written";
    const SYNCED: Level = Level::Flushed;
}

/// The sims of the origin.
pub fn sims() -> Vec<Entry> {
    vec![sim::<Origin<Durable>>(), sim::<Origin<Written>>()]
}

/// The adapter.
pub struct OriginEngine<C> {
    dir: PathBuf,
    store: Store,
    claim: PhantomData<C>,
}

fn coordinate(Event(id, entity, _): &Event) -> Result<Coordinate, Error> {
    Ok(Coordinate::new(entity, scope(*id))?)
}

/// The payload as text: payloads come back as JSON, which cannot hold bytes.
fn payload(Event(_, _, payload): &Event) -> Result<&str, Error> {
    Ok(std::str::from_utf8(payload)?)
}

fn options(Event(id, ..): &Event) -> AppendOptions {
    let options = AppendOptions::new().with_correlation((*id).into());
    if id % 2 == 0 { options } else { options.with_causation((*id).into()) }
}

impl<C> OriginEngine<C> {
    fn entries(&self) -> Vec<IndexEntry> {
        self.store.query(&Region::all())
    }

    fn knows(&self, id: u16) -> bool {
        self.entries().iter().any(|entry| entry.correlation_id == id.into())
    }

    /// Reads an event, and returns the value of the item that shows it.
    fn value(&self, entry: &IndexEntry) -> Result<Vec<u8>, Error> {
        let id = u16::try_from(entry.correlation_id)?;
        let event = self.store.get(entry.event_id)?;
        if entry.coord.scope() != scope(id) || event.coordinate != entry.coord {
            return Err(format!("event {id} is at {:?}", event.coordinate).into());
        }
        let text = event.event.payload.as_str().ok_or("a payload is not text")?;
        Ok(shown(0, entry.coord.entity(), entry.clock, text.as_bytes()))
    }

    fn batch(&self, events: &[Event]) -> Result<bool, Error> {
        let mut fresh: Vec<&Event> = Vec::new();
        for event in events {
            if !self.knows(event.0) && fresh.iter().all(|other| other.0 != event.0) {
                fresh.push(event);
            }
        }
        if fresh.is_empty() {
            return Ok(false);
        }
        let mut items = Vec::new();
        for event in fresh {
            let (at, options) = (coordinate(event)?, options(event));
            let payload = payload(event)?;
            items.push(BatchAppendItem::new(
                at,
                EventKind::DATA,
                &payload,
                options,
                CausationRef::None,
            )?);
        }
        self.store.append_batch(items)?;
        Ok(true)
    }
}

impl<C: Claim> Engine for OriginEngine<C> {
    type Op = StoreOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let config = StoreConfig::new(dir).with_segment_max_bytes(SEGMENT_LEN);
        Ok(Self { dir: dir.to_owned(), store: Store::open(config)?, claim: PhantomData })
    }

    fn apply(&mut self, op: &StoreOp) -> Result<Ack, Error> {
        match op {
            StoreOp::Append(event) => {
                let key = options(event).with_idempotency(event.0.into());
                if !self.knows(event.0) {
                    let (at, payload) = (coordinate(event)?, payload(event)?);
                    self.store.append_with_options(&at, EventKind::DATA, &payload, key)?;
                }
                return Ok(Ack::FLUSHED);
            }
            StoreOp::Batch(events) => {
                let appended = self.batch(events)?;
                return Ok(if appended { Ack::Now(C::SYNCED) } else { Ack::BUFFERED });
            }
            StoreOp::Sync => self.store.sync()?,
            StoreOp::Compact => {
                self.store.compact(&CompactionConfig::default())?;
            }
            other => {
                // The crate has no call for a checkpoint, and its sync policy is fixed by its
                // configuration; the other ops damage files.
                damage::apply(&self.dir, other)?;
                return Ok(Ack::BUFFERED);
            }
        }
        Ok(Ack::Now(C::SYNCED))
    }

    fn scan(&mut self) -> Result<State, Error> {
        let mut state = State::new();
        for entry in self.entries() {
            state.set(item(entry.correlation_id), self.value(&entry)?);
        }
        Ok(state)
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let id = id(item)?;
        let found = self.entries().into_iter().find(|entry| entry.correlation_id == id);
        Some(found.map(|entry| self.value(&entry)).transpose())
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.store.stats().event_count))
    }

    fn close(self) -> Result<(), Error> {
        self.store.close()?;
        Ok(())
    }
}

/// The sim of the origin.
pub struct Origin<C = Durable>(PhantomData<C>);

impl<C: Claim> Sim for Origin<C> {
    type Engine = OriginEngine<C>;
    type Model = StoreModel<false>;

    const NAME: &'static str = C::NAME;
    const ABOUT: &'static str = "the origin of the event store: batpak 0.3.0";

    fn promises() -> Promises<StoreModel<false>> {
        let source = |promise, sentence, at| Source { promise, sentence, at };
        let writer = "batpak 0.3.0, store/writer.rs";
        Promises {
            close: C::SYNCED,
            survives: vec![
                (FaultKind::FailedWrite, AfterFault::Right),
                (FaultKind::FailedSync, AfterFault::Right),
            ],
            sources: vec![
                source(
                    "an append survives the process",
                    "AppendReceipt: proof an event was persisted.",
                    "batpak 0.3.0, store/contracts.rs",
                ),
                source(
                    "a batch is atomic and survives power loss, with all before it",
                    "Sync to disk (atomic durability point).",
                    writer,
                ),
                source(
                    "sync and compact survive power loss, with all before them",
                    "sync_all: syncs data + metadata (safest, slower)",
                    "batpak 0.3.0, store/config.rs",
                ),
                source(
                    "close survives power loss",
                    "`close(self) -> Closed` for explicit durable shutdown",
                    "batpak 0.3.0, README.md",
                ),
                source(
                    "the checkpoint changes no answer",
                    "Fall back to full segment scan if checkpoint is missing, corrupt, or stale.",
                    "batpak 0.3.0, store/index_rebuild.rs",
                ),
            ],
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<StoreOp>>> {
        workload::workload(steps)
    }
}
