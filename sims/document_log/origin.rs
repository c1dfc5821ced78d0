//! The published crate whose format the document log has, `moltendb-core` 0.5.1 in its sync mode,
//! under the same workloads. It breaks its promises: what was found is in `corpus/origins`.
//!
//! Its documents get a version each time they are set, and times, which are left out here. Its
//! batches are of one collection.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use crashpoint::engine::{Ack, Engine, Error};
use crashpoint::oracle::{Model, Promises, Source};
use crashpoint::sim::{Sim, Step};
use crashpoint::state::State;
use crashpoint::time::Time;
use moltendb_core::engine::{Db, DbError};
use proptest::prelude::*;
use serde_json::Value;

use super::op::{DocOp, Document, item};
use super::workload;

/// The collections that workloads name: the origin cannot list its own.
const COLLECTIONS: [&str; 3] = ["c0", "c1", "c2"];

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
}

/// What is taken for promised.
pub trait Claim: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// What a write promises.
    const WRITE: Ack;
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

/// The adapter.
pub struct OriginEngine<C>(Db, PhantomData<C>);

/// Opens the origin's store as its sync mode.
///
/// # Errors
/// What it says.
pub fn open(path: &Path) -> Result<Db, Error> {
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    // Documents in memory, requests and their window and size: as in its own tests.
    Db::open(path, true, false, 1000, 100, 60, 1 << 20, None).map_err(told)
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
        Ok(Self(open(&dir.join("log"))?, PhantomData))
    }

    fn apply(&mut self, op: &DocOp) -> Result<Ack, Error> {
        let batch = |documents: &[Document]| {
            let items = documents.iter().map(|new| (new.key.clone(), new.value())).collect();
            documents.first().map_or(Ok(()), |new| self.0.insert_batch(&new.collection, items))
        };
        let done = match op {
            DocOp::Put(document) => batch(std::slice::from_ref(document)),
            DocOp::Batch(documents) => batch(documents),
            DocOp::Delete(collection, key) => self.0.delete(collection, key),
            DocOp::Drop(collection) => self.0.delete_collection(collection),
            DocOp::Compact => self.0.compact(),
            DocOp::Flush | DocOp::Sync | DocOp::Together(_) => {
                return Err("the origin's sync mode has no such call".into());
            }
        };
        match done {
            Ok(()) => Ok(C::WRITE),
            Err(DbError::Conflict) => Ok(Ack::BUFFERED),
            Err(error) => Err(told(error)),
        }
    }

    fn scan(&mut self) -> Result<State, Error> {
        let mut state = State::new();
        for name in COLLECTIONS {
            for (key, value) in self.0.get_all(name) {
                state.set(item(name, &key), shown(value));
            }
        }
        Ok(state)
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let (collection, key) = str::from_utf8(item).ok()?.split_once('/')?;
        Some(Ok(self.0.get(collection, key).map(|value| shown(value).into_bytes())))
    }
}

/// The sim of the origin.
pub struct Origin<C = Durable>(PhantomData<C>);

impl<C: Claim> Sim for Origin<C> {
    type Engine = OriginEngine<C>;
    type Model = OriginModel;

    const NAME: &'static str = C::NAME;
    const ABOUT: &'static str = "the published crate whose format the document log has";

    fn promises() -> Promises<OriginModel> {
        let at = "moltendb-core 0.5.1, engine/storage/disk.rs";
        Promises {
            sources: vec![
                Source {
                    promise: "a write survives a crash",
                    sentence: "Zero data loss on crash, but much lower throughput.",
                    at,
                },
                Source {
                    promise: "a batch is atomic",
                    sentence: "marks the start of an atomic batch transaction.",
                    at: "moltendb-core 0.5.1, engine/types.rs",
                },
            ],
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<DocOp>>> {
        let of_one = |step| match step {
            Step::Op(DocOp::Batch(mut documents)) => {
                let name = documents[0].collection.clone();
                documents.iter_mut().for_each(|document| document.collection.clone_from(&name));
                Step::Op(DocOp::Batch(documents))
            }
            step => step,
        };
        let all = move |steps: Vec<_>| steps.into_iter().map(of_one).collect();
        workload::workload(steps, false, 1).prop_map(all).boxed()
    }
}
