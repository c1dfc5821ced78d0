//! The store: a keyspace, its log and its snapshot, kept consistent with each other.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::command::{self, Command};
use super::keyspace::{Keyspace, Reply};
use super::load::{Loaded, load};
use super::log::{Log, Put, dump};
use super::place::Place;
use super::scan::{Header, scan};
use super::snapshot::{self, Name};
use super::value::{Bytes, Entry};
use super::{AofError, Bugs, Fsync, resp, unix_millis};

/// The name of the log in a store's directory.
pub const LOG: &str = "append.aof";
/// The name of the snapshot in a store's directory.
pub const SNAPSHOT: &str = "dump.snap";
/// The time that `EverySec` lets pass between two syncs.
const SECOND: Duration = Duration::from_secs(1);

/// The size of a rewritten log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteStats {
    /// The number of keys in the new log.
    pub keys: u64,
    /// The length of the new log, in bytes.
    pub bytes: u64,
}

/// An open store.
#[derive(Debug)]
pub struct Database {
    place: Place,
    snapshot_place: Place,
    keyspace: Keyspace,
    /// `None` once poisoned.
    log: Option<Log>,
    generation: u64,
    fsync: Fsync,
    /// When the log was last synced, or when the first record after the opening was written.
    last_sync: Option<Instant>,
    size_at_last_rewrite: u64,
    rewrites_total: u64,
    bugs: Bugs,
}

impl Database {
    /// Opens the store in a directory, or creates it.
    ///
    /// A log with a torn tail, or one without our lines, is replaced at once; an intact one stays
    /// as it is, byte for byte, until it is relied on.
    ///
    /// # Errors
    /// `Format` or `Corrupt` for the existing files; `Io`. The files are then as they were.
    pub fn open(dir: &Path, fsync: Fsync) -> Result<Self, AofError> {
        Self::open_with(dir, fsync, Bugs::default())
    }

    /// [`open`](Self::open) with planted bugs.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_with(dir: &Path, fsync: Fsync, bugs: Bugs) -> Result<Self, AofError> {
        let place = Place::of(&dir.join(LOG))?;
        let snapshot_place = Place::of(&dir.join(SNAPSHOT))?;
        place.sweep()?;
        snapshot_place.sweep()?;
        let bytes = place.read()?;
        let loaded = load(bytes.as_deref(), &mut || snapshot_place.read(), bugs)?;
        let Loaded { keyspace, log: intact, generation } = loaded;
        let mut store = Self {
            place,
            snapshot_place,
            keyspace,
            log: None,
            generation,
            fsync,
            last_sync: None,
            size_at_last_rewrite: 0,
            rewrites_total: 0,
            bugs,
        };
        match intact {
            Some((seal, len)) => {
                store.log = Some(Log::reopen(&store.place, seal, len)?);
                store.size_at_last_rewrite = len;
            }
            None => {
                store.replace()?;
            }
        }
        Ok(store)
    }

    /// Carries out a Redis command that changes something, and logs it. Its durability depends on
    /// [`Fsync`].
    ///
    /// # Errors
    /// `Command` if it cannot be carried out, `Io` if it could not be logged: it has not happened.
    /// After a failed sync it may have happened; the store is then poisoned.
    pub fn execute(&mut self, args: &[&[u8]]) -> Result<Reply, AofError> {
        self.log()?;
        let mut now = None;
        let command = command::parse(args, &mut || *now.get_or_insert_with(unix_millis))?;
        self.drop_expired(&command)?;
        let command = self.keyspace.settled(command)?;
        self.record(&command)?;
        if self.fsync == Fsync::EverySec && self.last_sync.is_none() {
            self.last_sync = Some(instant());
        }
        if self.fsync == Fsync::Always
            && let Err(error) = self.sync()
        {
            if self.bugs.failed_sync_forgiven {
                self.keyspace.apply(&command)?;
            }
            return Err(error);
        }
        self.keyspace.apply(&command)
    }

    /// Removes the expired keys of a command, and logs that: a replay does not know the time.
    fn drop_expired(&mut self, command: &Command) -> Result<(), AofError> {
        let deadline = |key: &&Bytes| self.keyspace.entry(key).and_then(|entry| entry.deadline);
        let keys = command.keys();
        let timed: Vec<_> = keys.into_iter().filter(|key| deadline(key).is_some()).collect();
        if timed.is_empty() {
            return Ok(());
        }
        let now = unix_millis();
        let expired = timed.into_iter().filter(|key| deadline(key) <= Some(now));
        let delete = Command::Delete { keys: expired.cloned().collect() };
        if delete.keys().is_empty() {
            return Ok(());
        }
        if !self.bugs.expiry_not_logged {
            self.record(&delete)?;
        }
        self.keyspace.apply(&delete).map(drop)
    }

    /// Logs a command: passes it to the kernel.
    fn record(&mut self, command: &Command) -> Result<(), AofError> {
        let (bugs, always) = (self.bugs, self.fsync == Fsync::Always);
        let log = self.log()?;
        if log.torn || (always && log.inherited && !bugs.tail_kept && !bugs.torn_record_filled) {
            self.replace()?;
        }
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, &command.args());
        self.log()?.append(&bytes, bugs).map_err(|source| self.failed("append to", source))
    }

    /// Syncs if the policy is `EverySec` and it is time. The service calls this periodically.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn tick(&mut self) -> Result<(), AofError> {
        let dirty = self.log()?.dirty;
        if self.fsync != Fsync::EverySec || !dirty || self.bugs.tick_forgotten {
            return Ok(());
        }
        let now = instant();
        if now.duration_since(*self.last_sync.get_or_insert(now)) >= SECOND {
            self.last_sync = Some(now);
            self.sync()?;
        }
        Ok(())
    }

    /// Makes all that was logged durable.
    ///
    /// # Errors
    /// `Io`. A failed sync poisons the store: the kernel may have dropped the data, and would
    /// report the next sync as successful.
    pub fn sync(&mut self) -> Result<(), AofError> {
        let bugs = self.bugs;
        let log = self.log()?;
        if log.torn || (log.inherited && !bugs.tail_kept && !bugs.torn_record_filled) {
            self.replace()?;
            return Ok(());
        }
        if bugs.sync_forgotten {
            return Ok(log.flush()?);
        }
        match log.sync() {
            Err(source) => {
                let error = self.failed("sync", source);
                if !bugs.failed_sync_forgiven {
                    self.log = None;
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes a snapshot of all keys, and drops from the log the records that it holds.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot) and [`truncate`](Self::truncate).
    pub fn save(&mut self) -> Result<(), AofError> {
        if self.bugs.log_cut_first {
            let name = self.write_snapshot()?;
            self.install(Some(name), &mut |_| Ok(()))?;
            self.snapshot_place.rename_temp()?;
            return self.snapshot_place.sync_dir();
        }
        self.snapshot()?;
        self.truncate().map(drop)
    }

    /// Takes a snapshot of all keys; the log stays, and says which part of it the snapshot holds.
    ///
    /// # Errors
    /// `Io`; `Format` if something is too long for the format. The snapshot is then the old one,
    /// or it is unknown which it is; the log fits either.
    pub fn snapshot(&mut self) -> Result<(), AofError> {
        let bugs = self.bugs;
        // The sync below is only reliable for a log that this process wrote.
        if self.log()?.torn || self.log()?.inherited {
            self.replace()?;
        }
        let name = self.write_snapshot()?;
        let appended = self.log()?.append_snapshot(&name, bugs);
        appended.map_err(|source| self.failed("append to", source))?;
        self.sync()?;
        let end = self.log()?.len;
        // From here on, either snapshot may have the name. The log fits both, but after a failed
        // sync of the directory the result of a second one cannot be relied on.
        let log = self.log.take();
        self.snapshot_place.rename_temp()?;
        if !bugs.snapshot_name_not_synced {
            self.snapshot_place.sync_dir()?;
        }
        self.log = log;
        self.log()?.covered = Some((name, end));
        Ok(())
    }

    fn write_snapshot(&self) -> Result<Name, AofError> {
        write_snapshot(&self.snapshot_place, &self.keyspace, unix_millis())
    }

    /// Drops from the log the records that the last snapshot of this process holds; returns whether
    /// there was one.
    ///
    /// # Errors
    /// `Io`; `Corrupt` if the log does not read back as it was written. The log is then the old
    /// one, or the store is poisoned.
    pub fn truncate(&mut self) -> Result<bool, AofError> {
        let bugs = self.bugs;
        let Some((name, _)) = self.log()?.covered else { return Ok(false) };
        self.log()?.flush()?;
        let mut bytes = self.place.read()?.unwrap_or_default();
        bytes.truncate(usize::try_from(self.log()?.len).unwrap_or(usize::MAX));
        let scan = scan(&bytes, bugs)?;
        let from = scan.snapshots.iter().rev().find(|(found, _)| *found == name);
        let Some((_, from)) = from.filter(|_| !scan.damaged) else {
            return Err(AofError::Corrupt("the log is not as it was written".into()));
        };
        let kept = &scan.records[*from..];
        self.install(Some(name), &mut |put| {
            kept.iter().try_for_each(|(commands, _)| put(commands))
        })?;
        Ok(true)
    }

    /// Replaces the log with one that holds only the commands that make up the live keys, and
    /// follows no snapshot.
    ///
    /// # Errors
    /// `Io`. Until the new log is renamed, the old one is the log, and the store continues with it;
    /// an error from then on poisons the store.
    pub fn rewrite(&mut self) -> Result<RewriteStats, AofError> {
        self.log()?.flush()?;
        let stats = self.replace()?;
        self.rewrites_total += 1;
        Ok(stats)
    }

    fn replace(&mut self) -> Result<RewriteStats, AofError> {
        let bugs = self.bugs;
        let now = if self.keyspace.has_deadlines() { unix_millis() } else { 0 };
        let follows = if bugs.rewrite_follows_snapshot { self.existing_snapshot()? } else { None };
        let keyspace = std::mem::take(&mut self.keyspace);
        let mut keys = 0;
        let installed = self.install(follows, &mut |put| {
            keys = dump(&keyspace, now, bugs, put)?;
            Ok(())
        });
        self.keyspace = keyspace;
        installed?;
        // The expired keys are in no file any more, so their removal need not be logged.
        if self.keyspace.has_deadlines() {
            let dead = |(_, entry): &(&Bytes, &Entry)| entry.deadline.is_some_and(|at| at <= now);
            let dead: Vec<_> =
                self.keyspace.entries().filter(dead).map(|(k, _)| k.clone()).collect();
            dead.iter().for_each(|key| drop(self.keyspace.remove(key)));
        }
        let bytes = self.log()?.len;
        self.size_at_last_rewrite = bytes;
        Ok(RewriteStats { keys, bytes })
    }

    /// The planted K2b: the snapshot that happens to exist.
    fn existing_snapshot(&self) -> Result<Option<Name>, AofError> {
        let name = |bytes: Vec<u8>| {
            let crc = crc32fast::hash(&bytes);
            Name { crc, len: bytes.len() as u64, saved: unix_millis() }
        };
        Ok(self.snapshot_place.read()?.map(name))
    }

    /// Puts a new log in the place of the old one, if there is one, durably.
    fn install(
        &mut self,
        follows: Option<Name>,
        records: &mut dyn FnMut(Put<'_>) -> io::Result<()>,
    ) -> Result<(), AofError> {
        let generation = self.generation + 1;
        let header = Header { generation, follows };
        let mut new = Log::write_aside(&self.place, header, records)?;
        // From here on, either file may have the name.
        let old = self.log.take();
        self.place.rename_temp()?;
        if self.bugs.reopened_by_name
            && let Err(source) = new.open_again(&self.place)
        {
            self.log = old;
            return Err(self.failed("open", source));
        }
        if !self.bugs.log_name_not_synced {
            self.place.sync_dir()?;
        }
        self.generation = generation;
        self.log = Some(new);
        Ok(())
    }

    /// Closes the store. With `EverySec` all is durable on return.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn close(mut self) -> Result<(), AofError> {
        let bugs = self.bugs;
        let log = self.log()?;
        log.flush()?;
        let dirty = log.dirty;
        if self.fsync == Fsync::EverySec && dirty && !bugs.tick_forgotten {
            self.sync()
        } else {
            Ok(())
        }
    }

    /// The entry of a key, if it lives.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        let alive = |entry: &&Entry| entry.deadline.is_none_or(|deadline| deadline > unix_millis());
        self.keyspace.entry(key).filter(alive)
    }

    /// All live keys, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        let now = if self.keyspace.has_deadlines() { unix_millis() } else { 0 };
        let alive = move |(_, entry): &(&Bytes, &Entry)| {
            entry.deadline.is_none_or(|deadline| deadline > now)
        };
        self.keyspace.entries().filter(alive)
    }

    /// The keyspace as it is in memory, including expired keys that were not touched since.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The length of the log, in bytes; 0 if the store is poisoned.
    pub fn size_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.len)
    }

    /// The length of the log after the last rewrite, or at opening, in bytes: its growth since then
    /// says when to rewrite.
    pub fn size_at_last_rewrite(&self) -> u64 {
        self.size_at_last_rewrite
    }

    /// The number of successful calls of [`rewrite`](Self::rewrite) since the store was opened.
    pub fn rewrites_total(&self) -> u64 {
        self.rewrites_total
    }

    fn log(&mut self) -> Result<&mut Log, AofError> {
        self.log.as_mut().ok_or(AofError::Poisoned)
    }

    fn failed(&self, what: &str, source: io::Error) -> AofError {
        AofError::Io { what: format!("cannot {what} {}", self.place.path.display()), source }
    }
}

/// Writes a snapshot to its temporary file, durably. An error leaves no file behind.
pub(super) fn write_snapshot(
    place: &Place,
    keyspace: &Keyspace,
    now: u64,
) -> Result<Name, AofError> {
    let file = place.create_temp()?;
    let written = snapshot::write(io::BufWriter::new(&file), keyspace, now)
        .and_then(|name| Ok(file.sync_all().map(|()| name)?));
    if written.is_err() {
        let _ = place.sweep();
    }
    written
}

/// Writes a log in the form in which the origin writes one.
pub(super) fn export(
    keyspace: &Keyspace,
    place: &Place,
    now: u64,
) -> Result<RewriteStats, AofError> {
    let file = place.create_temp()?;
    let mut out = io::BufWriter::new(&file);
    let mut bytes = 0;
    let mut write = || {
        let keys = dump(keyspace, now, Bugs::default(), &mut |commands| {
            let plain = with_remaining_times(commands, now);
            bytes += plain.len() as u64;
            io::Write::write_all(&mut out, &plain)
        })?;
        io::Write::flush(&mut out)?;
        file.sync_all()?;
        Ok(keys)
    };
    let written: io::Result<u64> = write();
    let keys = written.inspect_err(|_| drop(place.sweep()))?;
    place.rename_temp()?;
    place.sync_dir()?;
    Ok(RewriteStats { keys, bytes })
}

/// The same commands with `PEXPIRE` for `PEXPIREAT`, which the origin does not write.
fn with_remaining_times(mut commands: &[u8], now: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok((args, len)) = resp::parse(commands) {
        let deadline =
            std::str::from_utf8(args[args.len() - 1]).ok().and_then(|at| at.parse().ok());
        match (args[0], deadline) {
            (b"PEXPIREAT", Some(at)) => {
                let remaining = u64::saturating_sub(at, now).to_string().into_bytes();
                resp::encode(&mut out, &[b"PEXPIRE".to_vec(), args[1].to_vec(), remaining]);
            }
            _ => out.extend_from_slice(&commands[..len]),
        }
        commands = &commands[len..];
    }
    out
}

#[expect(clippy::disallowed_methods, reason = "a second passes by the monotonic clock")]
fn instant() -> Instant {
    Instant::now()
}
