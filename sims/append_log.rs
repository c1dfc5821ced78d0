//! The sim of the append log: a service follows a stream of updates, checkpoints its position, and
//! compacts when the log asks for it.

use std::fmt;
use std::path::{Path, PathBuf};

use crashpoint::{
    Ack, Engine, Entry as SimEntry, Error, Level, Model, Operation, Promises, Sim, State, Step,
    TextError, Time, Word, quote, sim,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::engines::append_log::{
    Bugs, Cursor, Entry, Snapshot, SnapshotWriter, Update, VersionToken, load_with,
};
use crate::support::{self, CURSOR, item, value, version};

/// Bytes after which a checkpoint asks for compaction: about ten records, so that workloads of a
/// few steps reach it.
const THRESHOLD: u64 = 600;

/// One op of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOp {
    /// A key got a new value, with a version.
    Put(String, Vec<u8>, Vec<u8>),
    /// A key was deleted.
    Delete(String),
    /// A key and its history were deleted.
    Purge(String),
    /// The stream was followed up to this cursor; compact if the log asks for it.
    Checkpoint(u64),
    /// Write the buffer to the kernel.
    Flush,
    /// Make all durable.
    Sync,
    /// Rewrite the log.
    Compact,
}

impl fmt::Display for LogOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |text: &String| quote(text.as_bytes());
        match self {
            Self::Put(key, value, version) => {
                write!(f, "put {} {} {}", word(key), quote(value), quote(version))
            }
            Self::Delete(key) => write!(f, "delete {}", word(key)),
            Self::Purge(key) => write!(f, "purge {}", word(key)),
            Self::Checkpoint(cursor) => write!(f, "checkpoint {cursor}"),
            Self::Flush => f.write_str("flush"),
            Self::Sync => f.write_str("sync"),
            Self::Compact => f.write_str("compact"),
        }
    }
}

impl Operation for LogOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let key = |word: &Word| {
            String::from_utf8(word.bytes.clone())
                .map_err(|_| TextError::new(word.column, "a key is UTF-8"))
        };
        let name = words.first().map(|word| word.bytes.as_slice()).unwrap_or_default();
        match (name, words.get(1..).unwrap_or_default()) {
            (b"put", [name, value, version]) if version.bytes.len() <= 10 => {
                Ok(Self::Put(key(name)?, value.bytes.clone(), version.bytes.clone()))
            }
            (b"put", [_, _, version]) => {
                Err(TextError::new(version.column, "a version has at most 10 bytes"))
            }
            (b"delete", [name]) => Ok(Self::Delete(key(name)?)),
            (b"purge", [name]) => Ok(Self::Purge(key(name)?)),
            (b"checkpoint", [cursor]) => {
                let number = cursor.text().parse();
                number
                    .map(Self::Checkpoint)
                    .map_err(|_| TextError::new(cursor.column, "expected a cursor, a number"))
            }
            (b"flush", []) => Ok(Self::Flush),
            (b"sync", []) => Ok(Self::Sync),
            (b"compact", []) => Ok(Self::Compact),
            _ => {
                let column = words.first().map_or(1, |word| word.column);
                let message = "expected `put KEY VALUE VERSION`, `delete KEY`, `purge KEY`, \
                               `checkpoint N`, `flush`, `sync` or `compact`";
                Err(TextError::new(column, message))
            }
        }
    }
}

/// The value of a key's item: the version, then the value.
fn versioned(version: &[u8], value: &[u8]) -> Vec<u8> {
    [version, b":", value].concat()
}

/// The state that the service has followed the stream to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogModel(State);

impl Model for LogModel {
    type Op = LogOp;

    fn apply(&mut self, op: &LogOp, _at: Time) {
        match op {
            LogOp::Put(key, value, version) => {
                self.0.set(item(key), versioned(version, value));
            }
            LogOp::Delete(key) | LogOp::Purge(key) => {
                self.0.remove(&item(key));
            }
            LogOp::Checkpoint(cursor) => {
                self.0.set(CURSOR, cursor.to_string());
            }
            LogOp::Flush | LogOp::Sync | LogOp::Compact => {}
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.0
    }

    fn items(op: &LogOp) -> Option<Vec<Vec<u8>>> {
        match op {
            LogOp::Put(key, ..) | LogOp::Delete(key) | LogOp::Purge(key) => Some(vec![item(key)]),
            LogOp::Checkpoint(_) => Some(vec![CURSOR.to_vec()]),
            LogOp::Flush | LogOp::Sync | LogOp::Compact => None,
        }
    }
}

/// The bugs to plant in the engine, and the name of the sim that has them.
pub trait Planted: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// The bugs.
    fn bugs() -> Bugs;
}

/// The log without planted bugs.
pub struct Shipped;

impl Planted for Shipped {
    const NAME: &'static str = "append-log";

    fn bugs() -> Bugs {
        Bugs::default()
    }
}

/// The adapter: opens the log as a service does, first loading it and then opening the writer.
pub struct LogEngine<P> {
    path: PathBuf,
    writer: SnapshotWriter,
    planted: std::marker::PhantomData<P>,
}

impl<P: Planted> LogEngine<P> {
    fn load(&self) -> Result<State, Error> {
        Ok(load_with(&self.path, P::bugs())?.as_ref().map(state).unwrap_or_default())
    }
}

/// Whether a file is the log. A crash may leave the temporary file of a compaction, which opening
/// the writer must remove.
fn is_log(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name() == "log")
}

fn state(snapshot: &Snapshot) -> State {
    let entry =
        |entry: &Entry| (item(&entry.key), versioned(entry.version.as_bytes(), &entry.value));
    let mut state: State = snapshot.entries.values().map(entry).collect();
    if let Some(cursor) = snapshot.cursor.as_u64() {
        state.set(CURSOR, cursor.to_string());
    }
    state
}

impl<P: Planted> Engine for LogEngine<P> {
    type Op = LogOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log");
        let before = load_with(&path, P::bugs())?;
        let writer = SnapshotWriter::open_with(&path, THRESHOLD, P::bugs())?;
        let after = load_with(&path, P::bugs())?;
        if before != after {
            return Err("opening the writer changed what is loaded".into());
        }
        if let Some(left) = std::fs::read_dir(dir)?.find(|entry| !is_log(entry)) {
            return Err(format!("{:?} was left behind", left?.file_name()).into());
        }
        Ok(Self { path, writer, planted: std::marker::PhantomData })
    }

    fn apply(&mut self, op: &LogOp) -> Result<Ack, Error> {
        let update = match op {
            LogOp::Put(key, value, version) => Update::Put(Entry {
                key: key.clone(),
                value: value.clone(),
                version: VersionToken::from_bytes(version)?,
            }),
            LogOp::Delete(key) => {
                Update::Delete { key: key.clone(), version: VersionToken::unknown() }
            }
            LogOp::Purge(key) => {
                Update::Purge { key: key.clone(), version: VersionToken::unknown() }
            }
            LogOp::Checkpoint(cursor) => {
                if self.writer.checkpoint(&Cursor::from_u64(*cursor))? {
                    self.writer.compact()?;
                    return Ok(Ack::DURABLE);
                }
                return Ok(Ack::FLUSHED);
            }
            LogOp::Flush => {
                self.writer.flush()?;
                return Ok(Ack::FLUSHED);
            }
            LogOp::Sync => {
                self.writer.sync()?;
                return Ok(Ack::DURABLE);
            }
            LogOp::Compact => {
                self.writer.compact()?;
                return Ok(Ack::DURABLE);
            }
        };
        self.writer.write_update(&update)?;
        Ok(Ack::BUFFERED)
    }

    /// The log's only read is `load`, which sees what was written to the kernel.
    fn scan(&mut self) -> Result<State, Error> {
        self.writer.flush()?;
        self.load()
    }

    fn close(mut self) -> Result<(), Error> {
        Ok(self.writer.flush()?)
    }
}

/// The sim of the append log.
pub struct AppendLog<P = Shipped>(std::marker::PhantomData<P>);

impl<P: Planted> Sim for AppendLog<P> {
    type Engine = LogEngine<P>;
    type Model = LogModel;

    const NAME: &'static str = P::NAME;
    const ABOUT: &'static str =
        "append-only snapshot log (PGSS v2), cursor checkpoints, compaction";

    fn promises() -> Promises<LogModel> {
        let quotes = [
            (
                "a checkpoint or flush survives the process, with all before it",
                "survives the process, with all before it",
            ),
            (
                "compact and sync survive power loss, with all before them",
                "survives power loss, with all before it",
            ),
            (
                "a crash leaves a prefix of what was written",
                "A crash always leaves a prefix of the records in the order in which they were \
                 written.",
            ),
            (
                "a failed call takes nothing back",
                "The file system said no. All that earlier calls promised still holds.",
            ),
        ];
        Promises {
            // The adapter flushes before it closes.
            close: Level::Flushed,
            survives: support::right_after_failed_calls(false),
            sources: support::sources("engines/append_log.rs", quotes),
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<LogOp>>> {
        let steps = steps.max(1);
        prop_oneof![2 => vec(step(), 1..=steps), 1 => commits(steps)].boxed()
    }
}

/// A service that syncs after each update, with a new key each time. When such a sync fails, no
/// later append rewrites the pages that it covered; and since the log is already compact, no
/// compaction rewrites them either.
fn commits(steps: usize) -> impl Strategy<Value = Vec<Step<LogOp>>> {
    vec((any::<u16>(), 4200..9000usize), 1..=steps.div_ceil(2)).prop_map(move |values| {
        let commit = |(number, (fill, length)): (usize, (u16, usize))| {
            let mut value = fill.to_string().into_bytes();
            value.resize(length, b'c');
            [LogOp::Put(format!("k{number:02}"), value, Vec::new()), LogOp::Sync]
        };
        let ops = values.into_iter().enumerate().flat_map(commit);
        ops.take(steps).map(Step::Op).collect()
    })
}

/// Random cursors, although those of a stream only grow: the log does not compare them, and random
/// ones distinguish checkpoints just as well.
fn step() -> impl Strategy<Value = Step<LogOp>> {
    let key = prop_oneof![5 => 0..4u16, 1 => 0..60u16].prop_map(|n| format!("k{n}"));
    prop_oneof![
        10 => (key.clone(), value(), version()).prop_map(|(k, v, t)| LogOp::Put(k, v, t)),
        2 => key.clone().prop_map(LogOp::Delete),
        1 => key.prop_map(LogOp::Purge),
        5 => (1..u64::from(u16::MAX)).prop_map(LogOp::Checkpoint),
        1 => Just(LogOp::Flush),
        2 => Just(LogOp::Sync),
        1 => Just(LogOp::Compact),
    ]
    .prop_map(Step::Op)
    .prop_flat_map(|op| prop_oneof![14 => Just(op), 1 => Just(Step::Reopen)])
}

macro_rules! planted {
    ($($name:ident $text:literal $bug:ident;)*) => {
        $(
            /// The log with one planted bug.
            pub struct $name;

            impl Planted for $name {
                const NAME: &'static str = $text;

                fn bugs() -> Bugs {
                    Bugs { $bug: true, ..Bugs::default() }
                }
            }
        )*

        /// The log with each bug of its origin, and with some that the origin never had.
        /// `load_must_write` (S8) is missing: it shows only while the disk is full, and a transient
        /// error is not a violation.
        pub fn planted() -> Vec<SimEntry> {
            vec![$(sim::<AppendLog<$name>>()),*]
        }
    };
}

planted! {
    HeaderInPlace "s1-header-in-place" header_in_place;
    LostPageIsAnError "s2-lost-page-is-an-error" lost_page_is_an_error;
    ZeroTailIsAnError "s3-zero-tail-is-an-error" zero_tail_is_an_error;
    TailKeptIfNothingPrecedes "s4-s13-first-tail-kept" tail_kept_if_nothing_precedes;
    TailKept "s5-tail-kept" tail_kept;
    DirectoryNotSynced "s6-directory-not-synced" directory_not_synced;
    LeftoversKept "s8-leftovers-kept" leftovers_kept;
    HalfRecordKept "s9-half-record-kept" half_record_kept;
    RenameBeforeSync "rename-before-sync" rename_before_sync;
    PageCacheTrusted "p22-page-cache-trusted" page_cache_trusted;
    FailedSyncForgiven "p21-log-goes-on" failed_sync_forgiven;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<AppendLog>();
    }

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<AppendLog>(24, 100);
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<AppendLog>(&crate::corpus());
    }
}
