//! The sim of the published crate whose formats the store uses: `kevy-persist` 1.0.4 with the
//! keyspace `kevy-store`, combined as its documentation says. Each of its known bugs has a case in
//! `corpus/origins`.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crashpoint::{
    Ack, AfterFault, Damage, Engine, Entry, Error, FaultKind, Level, Promises, Rotting, Sim, State,
    Step, sim,
};
use kevy_persist::{Aof, Argv, load_snapshot, replay_aof, save_snapshot};
use kevy_store::{Store, StoreError, Value};
use proptest::strategy::BoxedStrategy;

use super::model::{AofModel, Held, shown};
use super::op::AofOp;
use super::{Always, EverySec, No, Planted, WITHIN, promise, wait, workload};
use crate::engines::aof::Fsync;
use crate::support;

/// The name of the origin's snapshot.
const SNAPSHOT: &str = "dump.rdb";
/// The name of the origin's log.
const LOG: &str = "appendonly.aof";

/// A sync policy under which the origin has a sim too.
pub trait Policy: Planted {
    /// The name of the origin's sim.
    const ORIGIN: &'static str;
}

impl Policy for Always {
    const ORIGIN: &'static str = "kevy-persist-always";
}

impl Policy for EverySec {
    const ORIGIN: &'static str = "kevy-persist-everysec";
}

impl Policy for No {
    const ORIGIN: &'static str = "kevy-persist-no";
}

/// The sims of the origin, one for each policy.
pub fn sims() -> Vec<Entry> {
    vec![sim::<Origin<Always>>(), sim::<Origin<EverySec>>(), sim::<Origin<No>>()]
}

/// The adapter.
pub struct OriginEngine<P> {
    store: Store,
    log: Aof,
    snapshot: PathBuf,
    planted: PhantomData<P>,
}

fn failed(error: StoreError) -> Error {
    format!("{error:?}").into()
}

/// Executes a command in memory, as the crate's server does with one from the network or the log.
pub fn dispatch(store: &mut Store, args: &[Vec<u8>]) -> Result<(), Error> {
    let name = args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    if !has_its_arguments(&name, args.len()) {
        return Err(format!("wrong number of arguments: {}", args.len()).into());
    }
    let rest = || args[2..].to_vec();
    let number = |at: usize| -> Result<i64, Error> { Ok(std::str::from_utf8(&args[at])?.parse()?) };
    let float = |at: usize| -> Result<f64, Error> { Ok(std::str::from_utf8(&args[at])?.parse()?) };
    let millis = |at: usize| Ok::<_, Error>(Duration::from_millis(number(at)?.try_into()?));
    match (name.as_slice(), args.len()) {
        (b"SET", 3) => drop(store.set(&args[1], args[2].clone(), None, false, false)),
        (b"SET", 5) => {
            store.set(&args[1], args[2].clone(), Some(millis(4)?), false, false);
        }
        (b"APPEND", _) => drop(store.append(&args[1], &args[2]).map_err(failed)?),
        (b"INCRBY", _) => drop(store.incr_by(&args[1], number(2)?).map_err(failed)?),
        (b"HSET", _) => {
            let pairs: Vec<_> =
                args[2..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            store.hset(&args[1], &pairs).map_err(failed)?;
        }
        (b"HINCRBY", _) => {
            store.hincrby(&args[1], &args[2], number(3)?).map_err(failed)?;
        }
        (b"HDEL", _) => drop(store.hdel(&args[1], &rest()).map_err(failed)?),
        (b"LPUSH", _) => drop(store.lpush(&args[1], &rest()).map_err(failed)?),
        (b"RPUSH", _) => drop(store.rpush(&args[1], &rest()).map_err(failed)?),
        (b"LPOP", _) => drop(store.lpop(&args[1], 1).map_err(failed)?),
        (b"RPOP", _) => drop(store.rpop(&args[1], 1).map_err(failed)?),
        (b"SADD", _) => drop(store.sadd(&args[1], &rest()).map_err(failed)?),
        (b"SREM", _) => drop(store.srem(&args[1], &rest()).map_err(failed)?),
        (b"ZADD", _) => {
            let scored = |at: usize| Ok::<_, Error>((float(at)?, args[at + 1].clone()));
            let pairs: Result<Vec<_>, _> = (2..args.len()).step_by(2).map(scored).collect();
            store.zadd(&args[1], &pairs?).map_err(failed)?;
        }
        (b"ZINCRBY", _) => {
            store.zincrby(&args[1], float(2)?, &args[3]).map_err(failed)?;
        }
        (b"ZREM", _) => drop(store.zrem(&args[1], &rest()).map_err(failed)?),
        (b"DEL", _) => drop(store.del(&args[1..])),
        (b"PEXPIRE", _) => {
            store.expire(&args[1], millis(2)?);
        }
        (b"PERSIST", _) => {
            store.persist(&args[1]);
        }
        (b"FLUSHALL", _) => store.flush(),
        _ => return Err(format!("unknown command {}", String::from_utf8_lossy(&name)).into()),
    }
    Ok(())
}

/// Whether a command of this many words has all its arguments: a replay that mistakes text for
/// commands can produce one that has not.
fn has_its_arguments(name: &[u8], words: usize) -> bool {
    match name {
        b"HSET" | b"ZADD" => words >= 4 && words.is_multiple_of(2),
        b"HINCRBY" | b"ZINCRBY" => words >= 4,
        b"DEL" | b"LPOP" | b"RPOP" | b"PERSIST" => words >= 2,
        b"FLUSHALL" => words >= 1,
        _ => words >= 3,
    }
}

/// The items of a keyspace.
pub fn state(store: &Store) -> State {
    let mut state = State::new();
    store.snapshot_each(|key, value, ttl| {
        state.set(key.to_vec(), shown(&held(value), ttl.map(Duration::from_millis)));
    });
    state
}

fn held(value: &Value) -> Held {
    match value {
        Value::Str(text) => Held::Str(text.to_vec()),
        Value::Hash(hash) => {
            Held::Hash(hash.iter().map(|(f, v)| (f.as_slice().to_vec(), v.clone())).collect())
        }
        Value::List(list) => Held::List(list.iter().cloned().collect()),
        Value::Set(set) => Held::Set(set.iter().map(|member| member.as_slice().to_vec()).collect()),
        Value::ZSet(zset) => {
            Held::ZSet(zset.ordered().map(|(member, score)| (member.to_vec(), score)).collect())
        }
    }
}

/// Loads the snapshot, if it exists, and then replays the log.
pub fn load(snapshot: &Path, log: &Path) -> Result<Store, Error> {
    let mut store = Store::new();
    if snapshot.exists() {
        load_snapshot(&mut store, snapshot)?;
    }
    replay_aof(log, |args| {
        let args: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
        // The server drops the error of a replayed command: no client waits for it.
        let _ = dispatch(&mut store, &args);
    })?;
    Ok(store)
}

impl<P: Planted> Engine for OriginEngine<P> {
    type Op = AofOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        let (snapshot, log) = (dir.join(SNAPSHOT), dir.join(LOG));
        let store = load(&snapshot, &log)?;
        let fsync = match P::FSYNC {
            Fsync::Always => kevy_persist::Fsync::Always,
            Fsync::EverySec => kevy_persist::Fsync::EverySec,
            Fsync::No => kevy_persist::Fsync::No,
        };
        Ok(Self { store, log: Aof::open(&log, fsync)?, snapshot, planted: PhantomData })
    }

    fn apply(&mut self, op: &AofOp) -> Result<Ack, Error> {
        match op {
            AofOp::Save => {
                save_snapshot(&self.store, &self.snapshot)?;
                self.log.truncate()?;
            }
            AofOp::Rewrite => drop(self.log.rewrite_from(&self.store)?),
            // The crate has no such calls: `SAVE` does the first two, and only the policy syncs.
            AofOp::Snapshot | AofOp::Truncate | AofOp::Sync => return Ok(Ack::BUFFERED),
            AofOp::Wait(ms) => {
                wait(*ms, || Ok(self.log.maybe_sync()?))?;
                return Ok(Ack::BUFFERED);
            }
            command => {
                let words = command.words();
                dispatch(&mut self.store, &words)?;
                self.log.append(&Argv::from(words))?;
                return Ok(match P::FSYNC {
                    Fsync::EverySec => Ack::Within(Level::Durable, WITHIN),
                    fsync => promise(fsync),
                });
            }
        }
        Ok(Ack::DURABLE)
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(state(&self.store))
    }
}

/// The sim of the origin under one policy.
pub struct Origin<P>(PhantomData<P>);

impl<P: Policy> Sim for Origin<P> {
    type Engine = OriginEngine<P>;
    type Model = AofModel;

    const NAME: &'static str = P::ORIGIN;
    const ABOUT: &'static str = "the origin of the keyspace: kevy-persist 1.0.4";

    fn promises() -> Promises<AofModel> {
        let command = match P::FSYNC {
            Fsync::Always => {
                ("a command survives power loss", "fsync after every write: safest, slowest.")
            }
            Fsync::EverySec => (
                "a command survives power loss after 1.11 s if the service ticks every 0.1 s",
                "fsync at most once per second (call Aof::maybe_sync periodically).",
            ),
            Fsync::No => {
                ("a command survives the process", "Never fsync explicitly; leave it to the OS.")
            }
        };
        let quotes = [
            command,
            (
                "save and rewrite survive power loss, with all before them",
                "`SAVE` writes the snapshot then truncates the log, so replay never double-applies.",
            ),
            (
                "a crash leaves a prefix of the commands",
                "tolerating a truncated trailing frame from a crash mid-write",
            ),
            ("open reports a damaged snapshot", "Errors on a bad magic/version or truncation."),
            (
                "open reports a damaged command that is followed by others",
                "A truncated or corrupt trailing frame (e.g. a crash mid-append) is ignored.",
            ),
        ];
        Promises {
            // The log flushes when it is dropped.
            close: Level::Flushed,
            survives: [FaultKind::FailedWrite, FaultKind::FailedSync, FaultKind::FailedOpen]
                .map(|fault_kind| (fault_kind, AfterFault::Right))
                .into_iter()
                .chain([(FaultKind::BitRot, AfterFault::Loud)])
                .collect(),
            sources: support::sources("kevy-persist 1.0.4, lib.rs", quotes),
            ..Promises::default()
        }
    }

    /// The crate must report damage in the snapshot, and a flipped bit of the log that is followed
    /// by a whole command.
    fn after_rot(at: &Rotting<'_>) -> AfterFault {
        let followed = || at.after().windows(4).filter(|start| start.starts_with(b"\r\n*")).count();
        match at.rot.damage {
            _ if at.is_in(SNAPSHOT) => AfterFault::Loud,
            Damage::Bit(_) if at.is_in(LOG) && followed() > 1 => AfterFault::Loud,
            _ => AfterFault::Nothing,
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<AofOp>>> {
        workload::workload(steps)
    }
}
