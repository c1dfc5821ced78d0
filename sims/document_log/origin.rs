//! The sims of the published crate whose format the document log uses, `moltendb-core` 0.5.1, under
//! the same workloads, in both its modes. It breaks its promises: `corpus/origins` has the cases.
//!
//! It gives a document a new version each time it is set, and timestamps, which are left out here.
//! A batch is limited to one collection.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::{
    Ack, AfterFault, Engine, Entry, Error, FaultKind, Level, Model, Promises, Rotting, Sim, Source,
    State, Step, Time, sim,
};
use moltendb_core::engine::{Db, DbError};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::op::{DocOp, Document, item};
use super::run_clients;
use super::workload::{self, Concurrency};

/// The collections that workloads name: the origin cannot list its own.
const COLLECTIONS: [&str; 12] =
    ["c0", "c1", "c2", "x0", "x1", "x2", "y0", "y1", "y2", "z0", "z1", "z2"];

/// The documents that the origin should hold, each with a version that grows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OriginModel {
    versions: BTreeMap<Vec<u8>, u64>,
    shown: State,
}

impl OriginModel {
    fn put(&mut self, documents: &[Document]) {
        let mut versions = BTreeMap::new();
        for document in documents {
            let item = item(&document.collection, &document.key);
            let stored = versions.get(&item).or_else(|| self.versions.get(&item)).copied();
            let version = match (stored, document.version) {
                (Some(stored), given) if (1..=stored).contains(&given) => return,
                (Some(stored), _) => stored + 1,
                (None, 0) => 1,
                (None, given) => given,
            };
            versions.insert(item, version);
        }
        for document in documents {
            let item = item(&document.collection, &document.key);
            let shown = Document { version: versions[&item], ..document.clone() };
            self.shown.set(item, shown.value().to_string());
        }
        self.versions.extend(versions);
    }
}

impl Model for OriginModel {
    type Op = DocOp;

    fn apply(&mut self, op: &DocOp, _at: Time) {
        match op {
            DocOp::Put(document) => self.put(std::slice::from_ref(document)),
            DocOp::Batch(documents) => self.put(documents),
            DocOp::Delete(collection, key) => {
                self.versions.remove(&item(collection, key));
                self.shown.remove(&item(collection, key));
            }
            DocOp::Drop(collection) => {
                let of = item(collection, "");
                for (item, _) in self.versions.extract_if(.., |item, _| item.starts_with(&of)) {
                    self.shown.remove(&item);
                }
            }
            DocOp::Compact | DocOp::Flush | DocOp::Sync | DocOp::Together(_) => {}
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.shown
    }

    fn items(op: &DocOp) -> Option<Vec<Vec<u8>>> {
        super::op::DocModel::items(op)
    }

    fn clients(op: &DocOp) -> Option<&[Vec<DocOp>]> {
        super::op::DocModel::clients(op)
    }
}

/// What the crate's documentation is read to promise.
pub trait Claim: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// What a write promises.
    const WRITE: Ack;
    /// The sentence that promises it.
    const SENTENCE: &'static str = "Zero data loss on crash, but much lower throughput.";
    /// Whether a background task writes.
    const BACKGROUND: bool = false;
    /// How many clients work at the same time, and in which collections.
    const CONCURRENCY: Concurrency = Concurrency::OneClient;
}

/// "Zero data loss on crash", power loss included.
pub struct Durable;

impl Claim for Durable {
    const NAME: &'static str = "moltendb-core";
    const WRITE: Ack = Ack::DURABLE;
}

/// What it keeps at least: writes survive the process. With power loss, M4 would hide every other
/// violation.
pub struct Written;

impl Claim for Written {
    const NAME: &'static str = "moltendb-core-written";
    const WRITE: Ack = Ack::FLUSHED;
}

/// As [`Written`] with several clients, each with its own collections.
pub struct WrittenByClients;

impl Claim for WrittenByClients {
    const NAME: &'static str = "moltendb-core-clients";
    const WRITE: Ack = Ack::FLUSHED;
    const CONCURRENCY: Concurrency = Concurrency::Disjoint;
}

/// "Up to 50ms data loss", and the time that a write takes.
pub struct Background;

impl Claim for Background {
    const NAME: &'static str = "moltendb-core-async";
    const WRITE: Ack = Ack::Within(Level::Flushed, Duration::from_millis(55));
    const SENTENCE: &'static str = "Highest throughput, up to 50ms data loss.";
    const BACKGROUND: bool = true;
}

/// As [`Background`] with several clients, each with its own collections.
pub struct BackgroundByClients;

impl Claim for BackgroundByClients {
    const NAME: &'static str = "moltendb-core-async-clients";
    const WRITE: Ack = Background::WRITE;
    const SENTENCE: &'static str = Background::SENTENCE;
    const BACKGROUND: bool = true;
    const CONCURRENCY: Concurrency = Concurrency::Disjoint;
}

/// The origin in each of its modes.
pub fn sims() -> Vec<Entry> {
    vec![
        sim::<Origin<Durable>>(),
        sim::<Origin<Written>>(),
        sim::<Origin<WrittenByClients>>(),
        sim::<Origin<Background>>(),
        sim::<Origin<BackgroundByClients>>(),
    ]
}

/// The adapter.
pub struct OriginEngine<C> {
    /// `None` once the adapter is being dropped.
    store: Option<Db>,
    /// The runtime of the background writer, if there is one.
    runtime: Option<Runtime>,
    claim: PhantomData<C>,
}

/// Opens the origin's store in its sync mode.
///
/// # Errors
/// The store's error.
pub fn open(path: &Path) -> Result<Db, Error> {
    open_as(path, true)
}

fn open_as(path: &Path, sync: bool) -> Result<Db, Error> {
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    // The limits (documents in memory, requests, their window and size) are those of its own tests.
    Db::open(path, sync, false, 1000, 100, 60, 1 << 20, None).map_err(boxed)
}

/// Its error as text, since it does not implement `std::error::Error`.
fn boxed(error: DbError) -> Error {
    error.to_string().into()
}

/// The text of a document without its timestamps.
pub fn shown(mut value: Value) -> String {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("createdAt");
        fields.remove("modifiedAt");
    }
    value.to_string()
}

impl<C: Claim> Engine for OriginEngine<C> {
    type Op = DocOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let runtime = C::BACKGROUND.then(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        });
        let runtime = runtime.transpose()?;
        let inside = runtime.as_ref().map(Runtime::enter);
        let store = open_as(&dir.join("log"), !C::BACKGROUND)?;
        drop(inside);
        Ok(Self { store: Some(store), runtime, claim: PhantomData })
    }

    fn apply(&mut self, op: &DocOp) -> Result<Ack, Error> {
        match op {
            DocOp::Together(clients) => {
                let store = self.store();
                run_clients(clients, |op| do_one::<C>(store, op))
            }
            op => do_one::<C>(self.store(), op),
        }
    }

    fn scan(&mut self) -> Result<State, Error> {
        let mut state = State::new();
        for name in COLLECTIONS {
            for (key, value) in self.store().get_all(name) {
                state.set(item(name, &key), shown(value));
            }
        }
        Ok(state)
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let (collection, key) = str::from_utf8(item).ok()?.split_once('/')?;
        Some(Ok(self.store().get(collection, key).map(|value| shown(value).into_bytes())))
    }
}

impl<C> OriginEngine<C> {
    fn store(&self) -> &Db {
        match &self.store {
            Some(store) => store,
            None => unreachable!("only `drop` removes the store"),
        }
    }
}

impl<C> Drop for OriginEngine<C> {
    /// Dropping the store waits for its writer, which works only inside the runtime.
    fn drop(&mut self) {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        drop(self.store.take());
    }
}

fn do_one<C: Claim>(store: &Db, op: &DocOp) -> Result<Ack, Error> {
    let batch = |documents: &[Document]| {
        let items = documents.iter().map(|new| (new.key.clone(), new.value())).collect();
        documents.first().map_or(Ok(()), |new| store.insert_batch(&new.collection, items))
    };
    let done = match op {
        DocOp::Put(document) => batch(std::slice::from_ref(document)),
        DocOp::Batch(documents) => batch(documents),
        DocOp::Delete(collection, key) => store.delete(collection, key),
        DocOp::Drop(collection) => store.delete_collection(collection),
        DocOp::Compact => store.compact(),
        DocOp::Flush | DocOp::Sync | DocOp::Together(_) => {
            return Err("the origin has no such call".into());
        }
    };
    match done {
        Ok(()) => Ok(C::WRITE),
        Err(DbError::Conflict) => Ok(Ack::BUFFERED),
        Err(error) => Err(boxed(error)),
    }
}

/// The sim of the origin.
pub struct Origin<C = Durable>(PhantomData<C>);

impl<C: Claim> Sim for Origin<C> {
    type Engine = OriginEngine<C>;
    type Model = OriginModel;

    const NAME: &'static str = C::NAME;
    const ABOUT: &'static str = "the published crate whose format the document log uses";
    // With several clients, the violations that one client alone can cause are avoided, since they
    // would hide the others: M14 needs a store that was reopened, M6 needs versions.
    const AFTER_RECOVERY: bool = matches!(C::CONCURRENCY, Concurrency::OneClient);

    fn promises() -> Promises<OriginModel> {
        let at = "moltendb-core 0.5.1, engine/storage/disk.rs";
        Promises {
            survives: vec![
                (FaultKind::FailedOpen, AfterFault::Right),
                (FaultKind::BitRot, AfterFault::Right),
            ],
            sources: vec![
                Source { promise: "a write survives a crash", sentence: C::SENTENCE, at },
                Source {
                    promise: "a batch is atomic",
                    sentence: "marks the start of an atomic batch transaction.",
                    at: "moltendb-core 0.5.1, engine/types.rs",
                },
                Source {
                    promise: "a damaged snapshot changes no answer",
                    sentence: "fall back to full log replay instead of crashing.",
                    at,
                },
            ],
            ..Promises::default()
        }
    }

    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        if at.is_in("log.snapshot.bin") { AfterFault::Right } else { AfterFault::Nothing }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<DocOp>>> {
        let one = matches!(C::CONCURRENCY, Concurrency::OneClient);
        let wanted = move |step: &Step<DocOp>| one || !matches!(step, Step::Reopen);
        let all = move |steps: Vec<Step<DocOp>>| {
            steps.into_iter().filter(wanted).filter_map(|step| supported(step, one)).collect()
        };
        workload::workload(steps, C::BACKGROUND, C::CONCURRENCY).prop_map(all).boxed()
    }
}

/// The step in the form that the origin supports, with `versions` or without: a batch is limited to
/// one collection, and there is no call to flush or to sync.
fn supported(step: Step<DocOp>, versions: bool) -> Option<Step<DocOp>> {
    match step {
        Step::Op(op) => supported_op(op, versions).map(Step::Op),
        step => Some(step),
    }
}

fn supported_op(op: DocOp, versions: bool) -> Option<DocOp> {
    let strip = |document: &mut Document| document.version *= u64::from(versions);
    match op {
        DocOp::Put(mut document) => {
            strip(&mut document);
            Some(DocOp::Put(document))
        }
        DocOp::Batch(mut documents) => {
            let name = documents[0].collection.clone();
            documents.iter_mut().for_each(|document| document.collection.clone_from(&name));
            documents.iter_mut().for_each(strip);
            Some(DocOp::Batch(documents))
        }
        DocOp::Together(clients) => {
            let supported = |ops: Vec<DocOp>| -> Vec<DocOp> {
                ops.into_iter().filter_map(|op| supported_op(op, versions)).collect()
            };
            Some(DocOp::Together(clients.into_iter().map(supported).collect()))
        }
        DocOp::Flush | DocOp::Sync => None,
        op => Some(op),
    }
}
