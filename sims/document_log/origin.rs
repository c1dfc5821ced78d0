//! The published crate whose format the document log has, `moltendb-core` 0.5.1, under the same
//! workloads, in both its modes. It breaks its promises: what was found is in `corpus/origins`.
//!
//! Its documents get a version each time they are set, and times, which are left out here. Its
//! batches are of one collection.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::Rotting;
use crashpoint::State;
use crashpoint::Time;
use crashpoint::as_client;
use crashpoint::{Ack, Engine, Error, Level};
use crashpoint::{AfterFault, FaultKind, Model, Promises, Source};
use crashpoint::{Entry, sim};
use crashpoint::{Sim, Step};
use moltendb_core::engine::{Db, DbError};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::op::{DocOp, Document, item};
use super::workload::{self, Who};

/// The collections that workloads name: the origin cannot list its own.
const COLLECTIONS: [&str; 12] =
    ["c0", "c1", "c2", "x0", "x1", "x2", "y0", "y1", "y2", "z0", "z1", "z2"];

/// The documents as the origin keeps them: each with a version that grows.
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

/// What is taken for promised.
pub trait Claim: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// What a write promises.
    const WRITE: Ack;
    /// The sentence that says so.
    const SENTENCE: &'static str = "Zero data loss on crash, but much lower throughput.";
    /// Whether it writes in the background.
    const LATE: bool = false;
    /// Who is at work.
    const WHO: Who = Who::One;
}

/// "Zero data loss on crash", a loss of power included.
pub struct Durable;

impl Claim for Durable {
    const NAME: &'static str = "moltendb-core";
    const WRITE: Ack = Ack::DURABLE;
}

/// What it does keep to at least: the process may crash. Else M4 is all that is ever found.
pub struct Written;

impl Claim for Written {
    const NAME: &'static str = "moltendb-core-written";
    const WRITE: Ack = Ack::FLUSHED;
}

/// The same with several clients, each in collections of its own.
pub struct WrittenByClients;

impl Claim for WrittenByClients {
    const NAME: &'static str = "moltendb-core-clients";
    const WRITE: Ack = Ack::FLUSHED;
    const WHO: Who = Who::Apart;
}

/// "Up to 50ms data loss", and the time that a write takes.
pub struct Late;

impl Claim for Late {
    const NAME: &'static str = "moltendb-core-async";
    const WRITE: Ack = Ack::Within(Level::Flushed, Duration::from_millis(55));
    const SENTENCE: &'static str = "Highest throughput, up to 50ms data loss.";
    const LATE: bool = true;
}

/// The same with several clients, each in collections of its own.
pub struct LateByClients;

impl Claim for LateByClients {
    const NAME: &'static str = "moltendb-core-async-clients";
    const WRITE: Ack = Late::WRITE;
    const SENTENCE: &'static str = Late::SENTENCE;
    const LATE: bool = true;
    const WHO: Who = Who::Apart;
}

/// The origin in each of its modes.
pub fn sims() -> Vec<Entry> {
    vec![
        sim::<Origin<Durable>>(),
        sim::<Origin<Written>>(),
        sim::<Origin<WrittenByClients>>(),
        sim::<Origin<Late>>(),
        sim::<Origin<LateByClients>>(),
    ]
}

/// The adapter.
pub struct OriginEngine<C> {
    /// `None` once it is dropped.
    store: Option<Db>,
    /// Where its background writer runs, if it has one.
    runtime: Option<Runtime>,
    claim: PhantomData<C>,
}

/// Opens the origin's store as its sync mode.
///
/// # Errors
/// What it says.
pub fn open(path: &Path) -> Result<Db, Error> {
    open_as(path, true)
}

fn open_as(path: &Path, sync: bool) -> Result<Db, Error> {
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    // Documents in memory, requests and their window and size: as in its own tests.
    Db::open(path, sync, false, 1000, 100, 60, 1 << 20, None).map_err(told)
}

/// Its errors are none.
fn told(error: DbError) -> Error {
    error.to_string().into()
}

/// A document without what the clock put in.
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
        let runtime = C::LATE.then(|| {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
        });
        let runtime = runtime.transpose()?;
        let inside = runtime.as_ref().map(Runtime::enter);
        let store = open_as(&dir.join("log"), !C::LATE)?;
        drop(inside);
        Ok(Self { store: Some(store), runtime, claim: PhantomData })
    }

    fn apply(&mut self, op: &DocOp) -> Result<Ack, Error> {
        match op {
            DocOp::Together(clients) => together::<C>(self.store(), clients),
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
            None => unreachable!("only `drop` takes the store"),
        }
    }
}

impl<C> Drop for OriginEngine<C> {
    /// The store waits for its writer, for which it must be inside the runtime.
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
        Err(error) => Err(told(error)),
    }
}

/// Each client in a thread of its own.
fn together<C: Claim>(store: &Db, clients: &[Vec<DocOp>]) -> Result<Ack, Error> {
    std::thread::scope(|scope| {
        let start = |(client, ops): (usize, &Vec<DocOp>)| {
            let (store, ops) = (store.clone(), ops.clone());
            scope.spawn(move || {
                ops.iter().enumerate().try_for_each(|(number, op)| {
                    as_client(client, number, || do_one::<C>(&store, op)).map(drop)
                })
            })
        };
        let clients: Vec<_> = clients.iter().enumerate().map(start).collect();
        let ended = clients.into_iter().map(|client| match client.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>, _>>()
    })?;
    Ok(Ack::BUFFERED)
}

/// The sim of the origin.
pub struct Origin<C = Durable>(PhantomData<C>);

impl<C: Claim> Sim for Origin<C> {
    type Engine = OriginEngine<C>;
    type Model = OriginModel;

    const NAME: &'static str = C::NAME;
    const ABOUT: &'static str = "the published crate whose format the document log has";
    // With several clients it is not what one alone can lose that is looked for: M14 needs a store
    // that was opened again, M6 versions.
    const AFTER_RECOVERY: bool = matches!(C::WHO, Who::One);

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
        let one = matches!(C::WHO, Who::One);
        let wanted = move |step: &Step<DocOp>| one || !matches!(step, Step::Reopen);
        let all = move |steps: Vec<Step<DocOp>>| {
            steps.into_iter().filter(wanted).filter_map(|step| known(step, one)).collect()
        };
        workload::workload(steps, C::LATE, C::WHO).prop_map(all).boxed()
    }
}

/// The step as the origin can take it: batches are of one collection, and there is nothing to flush
/// or to sync; with versions or without.
fn known(step: Step<DocOp>, versions: bool) -> Option<Step<DocOp>> {
    match step {
        Step::Op(op) => known_op(op, versions).map(Step::Op),
        step => Some(step),
    }
}

fn known_op(op: DocOp, versions: bool) -> Option<DocOp> {
    let plain = |document: &mut Document| document.version *= u64::from(versions);
    match op {
        DocOp::Put(mut document) => {
            plain(&mut document);
            Some(DocOp::Put(document))
        }
        DocOp::Batch(mut documents) => {
            let name = documents[0].collection.clone();
            documents.iter_mut().for_each(|document| document.collection.clone_from(&name));
            documents.iter_mut().for_each(plain);
            Some(DocOp::Batch(documents))
        }
        DocOp::Together(clients) => {
            let known = |ops: Vec<DocOp>| -> Vec<DocOp> {
                ops.into_iter().filter_map(|op| known_op(op, versions)).collect()
            };
            Some(DocOp::Together(clients.into_iter().map(known).collect()))
        }
        DocOp::Flush | DocOp::Sync => None,
        op => Some(op),
    }
}
