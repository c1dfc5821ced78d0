//! The keyspace with its append-only log under test: a service with one client, in each of the
//! three policies.

mod model;
mod op;
#[cfg(feature = "kevy")]
pub mod origin;
mod workload;

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::State;
use crashpoint::{Ack, Engine, Error, Level};
use crashpoint::{AfterFault, Promises, Source};
use crashpoint::{Damage, Rotting};
use crashpoint::{Entry as SimEntry, sim};
use crashpoint::{Sim, Step};
use proptest::prelude::*;

pub use model::AofModel;
pub use op::{AofOp, Side};

use crate::engines::aof::{Bugs, Database, Entry, Fsync, LOG, SNAPSHOT, Value, told_up_to};
use model::{Held, shown};

/// How often the service's loop goes round while nobody asks for anything.
const TICK: Duration = Duration::from_millis(100);
/// What the calls of a sync may take.
const IN_SYNC: Duration = Duration::from_millis(10);
/// When what was written is durable with `EverySec`, and a loop that ticks.
pub(crate) const WITHIN: Duration = Duration::from_millis(1000 + 100 + 10);
const _: () = assert!(WITHIN.as_millis() == 1000 + TICK.as_millis() + IN_SYNC.as_millis());

/// Which policy and which bugs an adapter has.
pub trait Planted: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// The policy.
    const FSYNC: Fsync;
    /// The bugs.
    fn bugs() -> Bugs {
        Bugs::default()
    }
}

/// The store as it is shipped, each command durable.
pub struct Always;
/// The store as it is shipped, synced once a second.
pub struct EverySec;
/// The store as it is shipped, synced when the kernel likes.
pub struct No;

impl Planted for Always {
    const NAME: &'static str = "aof-always";
    const FSYNC: Fsync = Fsync::Always;
}

impl Planted for EverySec {
    const NAME: &'static str = "aof-everysec";
    const FSYNC: Fsync = Fsync::EverySec;
}

impl Planted for No {
    const NAME: &'static str = "aof-no";
    const FSYNC: Fsync = Fsync::No;
}

/// What a command promises.
fn promise(fsync: Fsync) -> Ack {
    match fsync {
        Fsync::Always => Ack::DURABLE,
        Fsync::EverySec => Ack::Rising(Level::Flushed, Level::Durable, WITHIN),
        Fsync::No => Ack::FLUSHED,
    }
}

/// The adapter.
pub struct AofEngine<P> {
    store: Database,
    planted: PhantomData<P>,
}

/// A crash may leave the temporary file of a rewrite or a snapshot; opening the store sweeps it.
fn is_ours(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    let ours =
        |entry: &std::fs::DirEntry| [LOG, SNAPSHOT].iter().any(|name| entry.file_name() == *name);
    entry.as_ref().is_ok_and(ours)
}

fn held(value: &Value) -> Held {
    match value.clone() {
        Value::Str(text) => Held::Str(text),
        Value::Hash(hash) => Held::Hash(hash),
        Value::List(list) => Held::List(list.into()),
        Value::Set(set) => Held::Set(set),
        Value::ZSet(scores) => Held::ZSet(scores),
    }
}

fn entry_shown(entry: &Entry) -> Vec<u8> {
    shown(&held(&entry.value), entry.deadline.map(remaining))
}

/// How long it is to a deadline.
fn remaining(deadline: u64) -> Duration {
    let end = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(deadline);
    #[expect(clippy::disallowed_methods, reason = "the engine's deadlines are by this clock")]
    let now = std::time::SystemTime::now();
    end.duration_since(now).unwrap_or_default()
}

/// Lets time pass as a service does that ticks.
fn wait(ms: u64, mut tick: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let mut left = Duration::from_millis(ms);
    while !left.is_zero() {
        let nap = left.min(TICK);
        std::thread::sleep(nap);
        left -= nap;
        tick()?;
    }
    Ok(())
}

impl<P: Planted> Engine for AofEngine<P> {
    type Op = AofOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let store = Database::open_with(dir, P::FSYNC, P::bugs())?;
        if let Some(left) = std::fs::read_dir(dir)?.find(|entry| !is_ours(entry)) {
            return Err(format!("{:?} was left behind", left?.file_name()).into());
        }
        Ok(Self { store, planted: PhantomData })
    }

    fn apply(&mut self, op: &AofOp) -> Result<Ack, Error> {
        match op {
            AofOp::Save => self.store.save()?,
            AofOp::Snapshot => self.store.snapshot()?,
            AofOp::Truncate => {
                // Without a snapshot there is nothing to do.
                return Ok(if self.store.truncate()? { Ack::DURABLE } else { Ack::BUFFERED });
            }
            AofOp::Rewrite => drop(self.store.rewrite()?),
            AofOp::Sync => self.store.sync()?,
            AofOp::Wait(ms) => {
                wait(*ms, || Ok(self.store.tick()?))?;
                return Ok(Ack::BUFFERED);
            }
            command => {
                let words = command.words();
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                self.store.execute(&words)?;
                return Ok(promise(P::FSYNC));
            }
        }
        Ok(Ack::DURABLE)
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(self.store.entries().map(|(key, entry)| (key.clone(), entry_shown(entry))).collect())
    }

    fn get(&mut self, item: &[u8]) -> Option<Result<Option<Vec<u8>>, Error>> {
        Some(Ok(self.store.get(item).map(entry_shown)))
    }

    fn count(&mut self) -> Option<Result<usize, Error>> {
        Some(Ok(self.store.entries().count()))
    }

    fn close(self) -> Result<(), Error> {
        Ok(self.store.close()?)
    }
}

/// The sim of the store in one policy.
pub struct Aof<P>(PhantomData<P>);

impl<P: Planted> Sim for Aof<P> {
    type Engine = AofEngine<P>;
    type Model = AofModel;

    const NAME: &'static str = P::NAME;
    const ABOUT: &'static str = match P::FSYNC {
        Fsync::Always => "keyspace with append-only log and KEVYSNAP 2, each command synced",
        Fsync::EverySec => "the same, synced once a second",
        Fsync::No => "the same, synced when the kernel likes",
    };

    fn promises() -> Promises<AofModel> {
        let source = |promise, sentence| Source { promise, sentence, at: "engines/aof.rs" };
        let command = match P::FSYNC {
            Fsync::Always => source("a command survives power loss", "survives power loss"),
            Fsync::EverySec => source(
                "a command survives the process at once, power loss after 1.11 s of ticks of 0.1 s",
                "survives the process; within a second and the time to the next tick, power loss",
            ),
            Fsync::No => source("a command survives the process", "survives the process"),
        };
        Promises {
            close: if P::FSYNC == Fsync::EverySec { Level::Durable } else { Level::Flushed },
            survives: crate::whatever_fails_or_rots(P::FSYNC == Fsync::EverySec, AfterFault::Loud),
            sources: vec![
                command,
                source(
                    "save, snapshot, truncate, rewrite and sync survive power loss, with all before",
                    "that have returned `Ok`: all before survives power loss",
                ),
                source(
                    "a crash leaves a prefix of the commands",
                    "A crash always leaves a prefix of the commands, in their order, each whole.",
                ),
                source(
                    "a damaged snapshot is told, as is a flipped bit of the log before its last \
                     record",
                    "Damage that no crash explains is reported when the store is opened, and \
                     changes no file.",
                ),
                source(
                    "a failed call takes nothing back",
                    "A failed call takes nothing back: all that earlier calls promised still holds",
                ),
            ],
            ..Promises::default()
        }
    }

    /// The snapshot, and a bit of the log with a record behind it.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        let place = at.bytes.start;
        let flipped = |bit: u8| at.content[place] != 1 << bit && place < told_up_to(at.content);
        match at.rot.damage {
            _ if at.is_in(SNAPSHOT) => AfterFault::Loud,
            Damage::Bit(bit) if at.is_in(LOG) && flipped(bit) => AfterFault::Loud,
            _ => AfterFault::Nothing,
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<AofOp>>> {
        workload::workload(steps)
    }
}

macro_rules! planted {
    ($($name:ident $text:literal $fsync:ident $bug:ident;)*) => {
        $(
            /// The store with one bug.
            pub struct $name;

            impl Planted for $name {
                const NAME: &'static str = $text;
                const FSYNC: Fsync = Fsync::$fsync;

                fn bugs() -> Bugs {
                    Bugs { $bug: true, ..Bugs::default() }
                }
            }
        )*

        /// The store with each bug of its origin that a crash, an error of a write or a sync, bit
        /// rot or a clean restart can show, and some that it never had. K7 (what a damaged count
        /// allocates) and K10 (a failing open) are looked for in the engine's own tests.
        pub fn planted() -> Vec<SimEntry> {
            vec![$(sim::<Aof<$name>>()),*]
        }
    };
}

planted! {
    TailKept "k1-tail-kept" Always tail_kept;
    TornRecordFilled "k1b-torn-record-filled" No torn_record_filled;
    SnapshotNotPaired "k2-snapshot-not-paired" Always snapshot_not_paired;
    RewriteFollowsSnapshot "k2b-rewrite-follows-snapshot" Always rewrite_follows_snapshot;
    TextExecuted "k3-text-executed" No text_executed;
    ScoresRounded "k4-scores-rounded" Always scores_rounded;
    Buffered "k5-buffered" No buffered;
    SnapshotUnverified "k6-snapshot-unverified" Always snapshot_unverified;
    DamageEndsLog "k8-damage-ends-log" Always damage_ends_log;
    TtlRestarted "k9-ttl-restarted" Always ttl_restarted;
    HalfRecordKept "k11-half-record-kept" Always half_record_kept;
    SnapshotNameNotSynced "k12-snapshot-name-not-synced" Always snapshot_name_not_synced;
    LogNameNotSynced "k13-log-name-not-synced" Always log_name_not_synced;
    FailedSyncForgiven "k14-failed-sync-forgiven" Always failed_sync_forgiven;
    SyncForgotten "sync-forgotten" No sync_forgotten;
    TickForgotten "tick-forgotten" EverySec tick_forgotten;
    ExpiryNotLogged "expiry-not-logged" Always expiry_not_logged;
    LogCutFirst "log-cut-first" Always log_cut_first;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_crash_point_when_each_command_is_synced() {
        crashpoint::check::<Aof<Always>>();
    }

    #[test]
    fn survives_every_crash_point_when_synced_once_a_second() {
        crashpoint::check::<Aof<EverySec>>();
    }

    #[test]
    fn survives_every_crash_point_when_synced_by_the_kernel() {
        crashpoint::check::<Aof<No>>();
    }

    #[test]
    fn corpus_replays() {
        crashpoint::check_corpus::<Aof<Always>>(&crate::corpus());
        crashpoint::check_corpus::<Aof<EverySec>>(&crate::corpus());
        crashpoint::check_corpus::<Aof<No>>(&crate::corpus());
    }
}
