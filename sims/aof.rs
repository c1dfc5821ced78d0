//! The sims of the keyspace with its append-only log: a service with one client, under each of the
//! three sync policies.

mod model;
mod op;
#[cfg(feature = "kevy")]
pub mod origin;
mod workload;

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use crashpoint::{
    Ack, AfterFault, Damage, Engine, Entry as SimEntry, Error, Level, Promises, Rotting, Sim,
    State, Step, sim,
};
use proptest::prelude::*;

pub use model::AofModel;
pub use op::{AofOp, Side};

use crate::engines::aof::{Bugs, Database, Entry, Fsync, LOG, SNAPSHOT, Value, reported_up_to};
use crate::support;
use model::{Held, shown};

/// The time between two ticks of the service's loop while no client sends a command.
const TICK: Duration = Duration::from_millis(100);
/// The time that the calls of a sync may take.
const IN_SYNC: Duration = Duration::from_millis(10);
/// The time after which a command is durable under `EverySec`, if the loop keeps ticking.
pub(crate) const WITHIN: Duration = Duration::from_millis(1000 + 100 + 10);
const _: () = assert!(WITHIN.as_millis() == 1000 + TICK.as_millis() + IN_SYNC.as_millis());

/// The sync policy and the planted bugs of an adapter, and the name of the sim that has them.
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

/// The store without planted bugs, each command durable.
pub struct Always;
/// The store without planted bugs, synced once a second.
pub struct EverySec;
/// The store without planted bugs, synced only by the kernel.
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

/// What a command promises under a policy.
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

/// Whether a file is the log or the snapshot. A crash may leave the temporary file of a rewrite or
/// a snapshot, which opening the store must remove.
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

/// The time left until a deadline in milliseconds since 1970.
fn remaining(deadline: u64) -> Duration {
    let end = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(deadline);
    #[expect(clippy::disallowed_methods, reason = "the engine's deadlines use this clock")]
    let now = std::time::SystemTime::now();
    end.duration_since(now).unwrap_or_default()
}

/// Sleeps as the service's idle loop does, with a tick after each [`TICK`] and at the end.
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

/// The sim of the store under one policy.
pub struct Aof<P>(PhantomData<P>);

impl<P: Planted> Sim for Aof<P> {
    type Engine = AofEngine<P>;
    type Model = AofModel;

    const NAME: &'static str = P::NAME;
    const ABOUT: &'static str = match P::FSYNC {
        Fsync::Always => "keyspace with append-only log and KEVYSNAP 2, each command synced",
        Fsync::EverySec => "the same, synced once a second",
        Fsync::No => "the same, synced only by the kernel",
    };

    fn promises() -> Promises<AofModel> {
        let timed = P::FSYNC == Fsync::EverySec;
        let command = match P::FSYNC {
            Fsync::Always => ("a command survives power loss", "survives power loss"),
            Fsync::EverySec => (
                "a command survives the process at once, and power loss after 1.11 s if the \
                 service ticks every 0.1 s",
                "survives the process; within a second and the time to the next tick, power loss",
            ),
            Fsync::No => ("a command survives the process", "survives the process"),
        };
        let quotes = [
            command,
            (
                "save, snapshot, truncate, rewrite and sync survive power loss, with all before \
                 them",
                "that have returned `Ok`: all before survives power loss",
            ),
            (
                "a crash leaves a prefix of the commands",
                "A crash always leaves a prefix of the commands, in their order, each whole.",
            ),
            (
                "open reports a damaged snapshot, and a flipped bit of the log before its last \
                 record",
                "Damage that no crash explains is reported when the store is opened, and changes \
                 no file.",
            ),
            (
                "a failed call takes nothing back",
                "A failed call takes nothing back: all that earlier calls promised still holds",
            ),
        ];
        Promises {
            close: if timed { Level::Durable } else { Level::Flushed },
            survives: support::right_after_failed_calls_and_rot(timed, AfterFault::Loud),
            sources: support::sources("engines/aof.rs", quotes),
            ..Promises::default()
        }
    }

    /// The engine must report damage in the snapshot, and a flipped bit of the log that is followed
    /// by another record.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        let place = at.bytes.start;
        let flipped = |bit: u8| at.content[place] != 1 << bit && place < reported_up_to(at.content);
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
            /// The store with one planted bug.
            pub struct $name;

            impl Planted for $name {
                const NAME: &'static str = $text;
                const FSYNC: Fsync = Fsync::$fsync;

                fn bugs() -> Bugs {
                    Bugs { $bug: true, ..Bugs::default() }
                }
            }
        )*

        /// The store with each bug of its origin that a crash, a failed write or sync, bit rot or a
        /// clean restart can show, and with some that the origin never had. The engine's own tests
        /// cover K7 (memory allocated for a damaged count) and K10 (an open that fails).
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
    fn survives_every_crash_point_when_synced_only_by_the_kernel() {
        crashpoint::check::<Aof<No>>();
    }

    #[test]
    fn the_corpus_replays() {
        crashpoint::check_corpus::<Aof<Always>>(&crate::corpus());
        crashpoint::check_corpus::<Aof<EverySec>>(&crate::corpus());
        crashpoint::check_corpus::<Aof<No>>(&crate::corpus());
    }
}
