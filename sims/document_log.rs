//! The document log under test, in both its modes: clients that set, batch, delete and compact.

mod op;
#[cfg(feature = "moltendb")]
pub mod origin;
mod planted;
mod workload;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crashpoint::Rotting;
use crashpoint::State;
use crashpoint::as_client;
use crashpoint::{Ack, Engine, Error, Level, Refused};
use crashpoint::{AfterFault, Promises, Source};
use crashpoint::{Sim, Step};
use proptest::prelude::*;

use crate::engines::document_log::{
    AsyncStorage, Bugs, Documents, FLUSH_AFTER, LogError, Storage, SyncStorage,
};
pub use op::{DocModel, DocOp, Document, item};
pub use planted::{FailedSyncForgiven, planted};
pub use workload::Who;

/// The time that a write may take in the kernel: a generous bound on a call's virtual time.
const WRITE_TIME: std::time::Duration = std::time::Duration::from_millis(5);

/// A mode of the log.
pub trait Mode: 'static {
    /// The storage.
    type Storage: Storage + 'static;
    /// The name of the sim.
    const NAME: &'static str;
    /// The same with several clients.
    const NAME_OF_SEVERAL: &'static str;
    /// One line for the list.
    const ABOUT: &'static str;
    /// What a write promises.
    const WRITE: Ack;
    /// The sentence of the documentation that says so.
    const SENTENCE: &'static str;
    /// Whether there is anything to flush or to wait for.
    const LATE: bool;
    /// Who is at work.
    const WHO: Who = Who::One;

    /// Opens the log.
    ///
    /// # Errors
    /// What the log says.
    fn open(path: &Path, bugs: Bugs) -> Result<Self::Storage, LogError>;
}

/// Writes are durable when they return.
pub struct SyncMode;

impl Mode for SyncMode {
    type Storage = SyncStorage;
    const NAME: &'static str = "document-log";
    const NAME_OF_SEVERAL: &'static str = "document-log-clients";
    const ABOUT: &'static str = "log of JSON documents with snapshots, durable writes";
    const WRITE: Ack = Ack::DURABLE;
    const SENTENCE: &'static str = "survives power loss, with all before it";
    const LATE: bool = false;

    fn open(path: &Path, bugs: Bugs) -> Result<SyncStorage, LogError> {
        SyncStorage::open_with(path, bugs)
    }
}

/// Writes are in the kernel a little after they return.
pub struct AsyncMode;

impl Mode for AsyncMode {
    type Storage = AsyncStorage;
    const NAME: &'static str = "document-log-async";
    const NAME_OF_SEVERAL: &'static str = "document-log-async-clients";
    const ABOUT: &'static str = "log of JSON documents with snapshots and a background writer";
    const WRITE: Ack = Ack::Within(Level::Flushed, FLUSH_AFTER.saturating_add(WRITE_TIME));
    const SENTENCE: &'static str =
        "survives the process after at most 50 ms and the time of a write, with all before it";
    const LATE: bool = true;

    fn open(path: &Path, bugs: Bugs) -> Result<AsyncStorage, LogError> {
        AsyncStorage::open_with(path, bugs)
    }
}

/// A mode with several clients; `APART`: each in collections of its own, so that what comes of it
/// hangs on no order between them.
pub struct Clients<M, const APART: bool = false>(PhantomData<M>);

impl<M: Mode, const APART: bool> Mode for Clients<M, APART> {
    type Storage = M::Storage;
    const NAME: &'static str = M::NAME_OF_SEVERAL;
    const NAME_OF_SEVERAL: &'static str = M::NAME_OF_SEVERAL;
    const ABOUT: &'static str = M::ABOUT;
    const WRITE: Ack = M::WRITE;
    const SENTENCE: &'static str = M::SENTENCE;
    const LATE: bool = M::LATE;
    const WHO: Who = if APART { Who::Apart } else { Who::Several };

    fn open(path: &Path, bugs: Bugs) -> Result<M::Storage, LogError> {
        M::open(path, bugs)
    }
}

/// Which bugs an adapter plants.
pub trait Planted: 'static {
    /// The name of the sim; that of the mode if it is empty.
    const NAME: &'static str;
    /// The bugs.
    fn bugs() -> Bugs;
}

/// The log as it is shipped.
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

/// Whether a file is one of a log at rest.
fn belongs(name: &std::ffi::OsStr) -> bool {
    ["log", "log.snapshot.bin", "backup"].iter().any(|known| name == *known)
}

/// What a call returned, as a promise: a conflict is an answer, which promises nothing, and what
/// was refused since an earlier error has no effect.
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
        DocOp::Together(clients) => together::<M>(documents, clients),
    }
}

/// Each client in a thread of its own. What each op promises is noted there.
fn together<M: Mode>(
    documents: &Documents<M::Storage>,
    clients: &[Vec<DocOp>],
) -> Result<Ack, Error> {
    let work = |client: usize, ops: &[DocOp]| -> Result<(), Error> {
        ops.iter().enumerate().try_for_each(|(number, op)| {
            as_client(client, number, || do_one::<M>(documents, op)).map(drop)
        })
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
        // All have ended before an error is returned.
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
        // The first write sweeps what an interrupted call of an earlier life left. While anything
        // is queued the background writer may have a file beside the log.
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
    // Four modes share what one engine has, and three of them record several schedules.
    const RECOVERIES: u64 = 240;

    fn promises() -> Promises<DocModel> {
        let source =
            |promise, sentence| Source { promise, sentence, at: "engines/document_log.rs" };
        let write = match M::LATE {
            false => "a write survives power loss, with all before it",
            true => "a write survives the process within 55 ms, with all before it",
        };
        Promises {
            // Dropping the storage writes out what is queued.
            close: Level::Flushed,
            survives: crate::whatever_fails_or_rots(M::LATE, AfterFault::Right),
            sources: vec![
                source(write, M::SENTENCE),
                source(
                    "compact and sync survive power loss, with all before them",
                    "survives power loss, with all before it",
                ),
                source(
                    "a crash leaves a prefix of the writes; a batch is atomic",
                    "A crash always leaves a prefix of the writes; of a batch all or nothing.",
                ),
                source(
                    "a damaged snapshot changes no answer",
                    "A damaged snapshot is ignored: the log has all that it has.",
                ),
                source(
                    "a failed call takes nothing back",
                    "The file system said no. All that earlier calls promised still holds.",
                ),
            ],
            ..Promises::default()
        }
    }

    /// The snapshot: nothing reads its backups, and the log's lines have no checksum.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        if at.is_in("log.snapshot.bin") { AfterFault::Right } else { AfterFault::Nothing }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<DocOp>>> {
        workload::workload(steps, M::LATE, M::WHO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::Seed;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<DocumentLog>();
    }

    #[test]
    fn corpus_replays() {
        let corpus = crate::corpus();
        crashpoint::check_corpus::<DocumentLog>(&corpus);
        crashpoint::check_corpus::<DocumentLog<AsyncMode>>(&corpus);
        crashpoint::check_corpus::<DocumentLog<Clients<SyncMode>>>(&corpus);
        crashpoint::check_corpus::<DocumentLog<Clients<AsyncMode>>>(&corpus);
    }

    fn on_a_real_disk<M: Mode>(workloads: u64) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let steps =
            crashpoint::check_on_real_disk::<DocumentLog<M>>(dir.path(), Seed(7), workloads);
        assert!(steps > 4 * workloads, "{steps} steps are too few to mean something");
    }

    #[test]
    fn a_real_directory_shows_the_same() {
        on_a_real_disk::<SyncMode>(24);
    }

    #[test]
    fn a_real_directory_shows_the_same_with_several_clients() {
        on_a_real_disk::<Clients<SyncMode, true>>(24);
    }

    #[test]
    fn a_real_directory_shows_the_same_behind_a_background_writer() {
        on_a_real_disk::<AsyncMode>(24);
    }

    #[test]
    fn a_real_directory_shows_the_same_behind_a_background_writer_with_several_clients() {
        on_a_real_disk::<Clients<AsyncMode, true>>(24);
    }
}
