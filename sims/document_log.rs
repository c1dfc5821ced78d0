//! The sims of the document log, in both its modes: clients set, batch, delete and compact.

mod op;
#[cfg(feature = "moltendb")]
pub mod origin;
mod planted;
mod workload;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crashpoint::{
    Ack, AfterFault, Engine, Error, Level, Promises, Refused, Rotting, Sim, State, Step, as_client,
};
use proptest::prelude::*;

use crate::engines::document_log::{
    AsyncStorage, Bugs, Documents, FLUSH_AFTER, LogError, Storage, SyncStorage,
};
use crate::support;
pub use op::{DocModel, DocOp, Document, item};
pub use planted::{FailedSyncForgiven, planted};
pub use workload::Concurrency;

/// The time that a write may take in the kernel: a generous bound on a call's virtual time.
const WRITE_TIME: std::time::Duration = std::time::Duration::from_millis(5);

/// A mode of the log.
pub trait Mode: 'static {
    /// The storage.
    type Storage: Storage + 'static;
    /// The name of the sim.
    const NAME: &'static str;
    /// The name of the sim with several clients.
    const NAME_WITH_CLIENTS: &'static str;
    /// One line about it, for the list of sims.
    const ABOUT: &'static str;
    /// What a write promises.
    const WRITE: Ack;
    /// The sentence of the documentation that promises it.
    const SENTENCE: &'static str;
    /// Whether a background thread writes, so that there is something to flush or to wait for.
    const BACKGROUND: bool;
    /// How many clients work at the same time, and in which collections.
    const CONCURRENCY: Concurrency = Concurrency::OneClient;

    /// Opens the log.
    ///
    /// # Errors
    /// The log's error.
    fn open(path: &Path, bugs: Bugs) -> Result<Self::Storage, LogError>;
}

/// Writes are durable when they return.
pub struct SyncMode;

impl Mode for SyncMode {
    type Storage = SyncStorage;
    const NAME: &'static str = "document-log";
    const NAME_WITH_CLIENTS: &'static str = "document-log-clients";
    const ABOUT: &'static str = "log of JSON documents with snapshots, durable writes";
    const WRITE: Ack = Ack::DURABLE;
    const SENTENCE: &'static str = "survives power loss, with all before it";
    const BACKGROUND: bool = false;

    fn open(path: &Path, bugs: Bugs) -> Result<SyncStorage, LogError> {
        SyncStorage::open_with(path, bugs)
    }
}

/// A background thread writes to the kernel, a little after a write returned.
pub struct AsyncMode;

impl Mode for AsyncMode {
    type Storage = AsyncStorage;
    const NAME: &'static str = "document-log-async";
    const NAME_WITH_CLIENTS: &'static str = "document-log-async-clients";
    const ABOUT: &'static str = "log of JSON documents with snapshots and a background writer";
    const WRITE: Ack = Ack::Within(Level::Flushed, FLUSH_AFTER.saturating_add(WRITE_TIME));
    const SENTENCE: &'static str =
        "survives the process after at most 50 ms and the time of a write, with all before it";
    const BACKGROUND: bool = true;

    fn open(path: &Path, bugs: Bugs) -> Result<AsyncStorage, LogError> {
        AsyncStorage::open_with(path, bugs)
    }
}

/// A mode with several clients. If `DISJOINT`, each has its own collections, so that the final
/// state does not depend on the order of their calls.
pub struct Clients<M, const DISJOINT: bool = false>(PhantomData<M>);

impl<M: Mode, const DISJOINT: bool> Mode for Clients<M, DISJOINT> {
    type Storage = M::Storage;
    const NAME: &'static str = M::NAME_WITH_CLIENTS;
    const NAME_WITH_CLIENTS: &'static str = M::NAME_WITH_CLIENTS;
    const ABOUT: &'static str = M::ABOUT;
    const WRITE: Ack = M::WRITE;
    const SENTENCE: &'static str = M::SENTENCE;
    const BACKGROUND: bool = M::BACKGROUND;
    const CONCURRENCY: Concurrency =
        if DISJOINT { Concurrency::Disjoint } else { Concurrency::Shared };

    fn open(path: &Path, bugs: Bugs) -> Result<M::Storage, LogError> {
        M::open(path, bugs)
    }
}

/// The bugs to plant in the engine, and the name of the sim that has them.
pub trait Planted: 'static {
    /// The name of the sim; if it is empty, the mode's name is used.
    const NAME: &'static str;
    /// The bugs.
    fn bugs() -> Bugs;
}

/// The log without planted bugs.
pub struct Shipped;

impl Planted for Shipped {
    const NAME: &'static str = "";

    fn bugs() -> Bugs {
        Bugs::default()
    }
}

/// The adapter.
pub struct DocEngine<M: Mode, P> {
    dir: PathBuf,
    documents: Documents<M::Storage>,
    planted: PhantomData<P>,
}

/// Whether a file belongs to a log while no call is running.
fn belongs(name: &std::ffi::OsStr) -> bool {
    ["log", "log.snapshot.bin", "backup"].iter().any(|known| name == *known)
}

/// The promise of a call that returned: a conflict is an answer that promises nothing, and a call
/// that was refused because of an earlier error has no effect.
fn answer(result: Result<(), LogError>, ack: Ack) -> Result<Ack, Error> {
    match result {
        Ok(()) => Ok(ack),
        Err(LogError::Conflict { .. }) => Ok(Ack::BUFFERED),
        Err(error @ LogError::Refused(_)) => Err(Refused::because(error).into()),
        Err(error) => Err(error.into()),
    }
}

fn do_one<M: Mode>(documents: &Documents<M::Storage>, op: &DocOp) -> Result<Ack, Error> {
    match op {
        DocOp::Put(new) => {
            answer(documents.insert(&new.collection, &new.key, new.value()), M::WRITE)
        }
        DocOp::Batch(new) => {
            let items: Vec<_> = new.iter().map(Document::item).collect();
            answer(documents.insert_batch(&items), M::WRITE)
        }
        DocOp::Delete(collection, key) => answer(documents.delete(collection, key), M::WRITE),
        DocOp::Drop(collection) => answer(documents.drop_collection(collection), M::WRITE),
        DocOp::Compact => answer(documents.compact(), Ack::DURABLE),
        DocOp::Flush => answer(documents.storage().flush(), Ack::FLUSHED),
        DocOp::Sync => answer(documents.storage().sync(), Ack::DURABLE),
        DocOp::Together(clients) => run_clients(clients, |op| do_one::<M>(documents, op)),
    }
}

/// Runs the ops of each client in its own thread, where the promise of each op is recorded.
fn run_clients(
    clients: &[Vec<DocOp>],
    run: impl Fn(&DocOp) -> Result<Ack, Error> + Sync,
) -> Result<Ack, Error> {
    let work = |client: usize, ops: &[DocOp]| -> Result<(), Error> {
        ops.iter()
            .enumerate()
            .try_for_each(|(number, op)| as_client(client, number, || run(op)).map(drop))
    };
    let work = &work;
    std::thread::scope(|scope| {
        let start = |(client, ops): (usize, &'_ Vec<DocOp>)| {
            let ops = ops.clone();
            scope.spawn(move || work(client, &ops))
        };
        let clients: Vec<_> = clients.iter().enumerate().map(start).collect();
        let ended = clients.into_iter().map(|client| match client.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // `collect` joins all of them before an error is returned.
        ended.collect::<Vec<_>>().into_iter().collect::<Result<Vec<()>, _>>()
    })?;
    Ok(Ack::BUFFERED)
}

impl<M: Mode, P: Planted> Engine for DocEngine<M, P> {
    type Op = DocOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let storage = M::open(&dir.join("log"), P::bugs())?;
        let documents = Documents::open(storage)?;
        Ok(Self { dir: dir.to_owned(), documents, planted: PhantomData })
    }

    fn apply(&mut self, op: &DocOp) -> Result<Ack, Error> {
        do_one::<M>(&self.documents, op)
    }

    fn scan(&mut self) -> Result<State, Error> {
        // The first write removes what a call that was interrupted by a crash left. While anything
        // is queued, the background writer may have a temporary file next to the log.
        let counts = self.documents.storage().counts();
        if counts.generation > 0 && counts.queued == 0 {
            for entry in std::fs::read_dir(&self.dir)? {
                let name = entry?.file_name();
                if !belongs(&name) {
                    return Err(format!("{} was left behind", name.display()).into());
                }
            }
        }
        let all = self.documents.all()?;
        Ok(all.iter().map(|(of, key, value)| (item(of, key), value.to_string())).collect())
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        let found = str::from_utf8(item).ok().and_then(|item| item.split_once('/'));
        let Some((collection, key)) = found else { return Some(Ok(None)) };
        let found = self.documents.get(collection, key);
        Some(match found {
            Ok(value) => Ok(value.map(|value| value.to_string().into_bytes())),
            Err(error) => Err(error.into()),
        })
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.documents.count()))
    }

    fn close(self) -> Result<(), Error> {
        Ok(self.documents.close()?)
    }
}

/// The sim of the document log.
pub struct DocumentLog<M = SyncMode, P = Shipped>(PhantomData<(M, P)>);

impl<M: Mode, P: Planted> Sim for DocumentLog<M, P> {
    type Engine = DocEngine<M, P>;
    type Model = DocModel;

    const NAME: &'static str = if P::NAME.is_empty() { M::NAME } else { P::NAME };
    const ABOUT: &'static str = M::ABOUT;
    // Four modes share the budget of one engine, and three of them record several schedules.
    const RECOVERIES: u64 = 240;

    fn promises() -> Promises<DocModel> {
        let write = match M::BACKGROUND {
            false => "a write survives power loss, with all before it",
            true => "a write survives the process within 55 ms, with all before it",
        };
        let quotes = [
            (write, M::SENTENCE),
            (
                "compact and sync survive power loss, with all before them",
                "survives power loss, with all before it",
            ),
            (
                "a crash leaves a prefix of the writes; a batch is atomic",
                "A crash always leaves a prefix of the writes; of a batch all or nothing.",
            ),
            (
                "a damaged snapshot changes no answer",
                "A damaged snapshot is ignored: the log has all that it has.",
            ),
            (
                "a failed call takes nothing back",
                "The file system said no. All that earlier calls promised still holds.",
            ),
        ];
        Promises {
            // Dropping the storage writes what is queued.
            close: Level::Flushed,
            survives: support::right_after_failed_calls_and_rot(M::BACKGROUND, AfterFault::Right),
            sources: support::sources("engines/document_log.rs", quotes),
            ..Promises::default()
        }
    }

    /// Only a damaged snapshot is survived: nothing reads its backups, and the log's lines have no
    /// checksum.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        if at.is_in("log.snapshot.bin") { AfterFault::Right } else { AfterFault::Nothing }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<DocOp>>> {
        workload::workload(steps, M::BACKGROUND, M::CONCURRENCY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<DocumentLog>();
    }

    #[test]
    fn the_corpus_replays() {
        let corpus = crate::corpus();
        crashpoint::check_corpus::<DocumentLog>(&corpus);
        crashpoint::check_corpus::<DocumentLog<AsyncMode>>(&corpus);
        crashpoint::check_corpus::<DocumentLog<Clients<SyncMode>>>(&corpus);
        crashpoint::check_corpus::<DocumentLog<Clients<AsyncMode>>>(&corpus);
    }

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<DocumentLog<SyncMode>>(24, 96);
    }

    #[test]
    fn matches_its_model_in_a_real_directory_with_several_clients() {
        support::check_in_a_real_directory::<DocumentLog<Clients<SyncMode, true>>>(24, 96);
    }

    #[test]
    fn matches_its_model_in_a_real_directory_with_a_background_writer() {
        support::check_in_a_real_directory::<DocumentLog<AsyncMode>>(24, 96);
    }

    #[test]
    fn matches_its_model_in_a_real_directory_with_a_background_writer_and_several_clients() {
        support::check_in_a_real_directory::<DocumentLog<Clients<AsyncMode, true>>>(24, 96);
    }
}
