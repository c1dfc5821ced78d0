//! A small store: a log with a write buffer, compacted into snapshots, with one planted bug.
#![expect(clippy::disallowed_methods, reason = "on the engine's side this clock is the run's own")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crashpoint::{AfterFault, Bytes, Error, FaultKind, Refused, Store};

/// A bug.
pub mod bug {
    /// Recovery does not truncate a torn tail.
    pub const TORN_TAIL: u8 = 1;
    /// The old log is unlinked before the directory is synced.
    pub const UNLINKED_EARLY: u8 = 2;
    /// The snapshot loses entries past 64 keys.
    pub const SHORT_SNAPSHOT: u8 = 3;
    /// A long write bypasses the buffer.
    pub const BYPASS: u8 = 4;
    /// A failed fsync is forgotten.
    pub const FAILED_SYNC: u8 = 5;
    /// The sequence restarts after a compaction.
    pub const SEQUENCE: u8 = 6;
    /// A delete does not mark the store dirty.
    pub const CLEAN_DELETE: u8 = 7;
    /// Recovery rewrites the log without a sync.
    pub const UNSYNCED_REWRITE: u8 = 8;
    /// The rotation by the hour leaves the tail unsynced.
    pub const ROTATION: u8 = 9;
    /// A short write is taken for a whole one.
    pub const SHORT_WRITE: u8 = 10;
    /// The newest snapshot is chosen by its time.
    pub const BY_TIME: u8 = 11;
    /// Appends go to the log that was replaced.
    pub const REPLACED: u8 = 12;
    /// The name of the new log is not synced.
    pub const UNSYNCED_NAME: u8 = 13;
    /// The state depends on the number of openings.
    pub const OPENINGS: u8 = 14;
    /// The snapshot misses the write buffer.
    pub const BUFFER_MISSED: u8 = 15;
}

/// The buffer is written when it holds more.
const BUFFER: usize = 1 << 10;
/// A longer record is written past the buffer.
const LONG: usize = 600;
/// A log is compacted when it is longer.
const LOG: u64 = 6 << 10;
const HOUR: Duration = Duration::from_secs(3600);

/// The store; its twin without the bug has the same paths.
pub struct Planted<const BUG: u8, const TWIN: bool> {
    dir: PathBuf,
    items: BTreeMap<Bytes, Bytes>,
    /// The items without those in the buffer.
    written: BTreeMap<Bytes, Bytes>,
    log: File,
    length: u64,
    /// The number of the snapshot and of the log after it, and of the segment of that log.
    number: u64,
    segment: u64,
    sequence: u64,
    buffer: Vec<u8>,
    dirty: bool,
    /// No op is carried out after an error: it is not known what is in the log.
    failed: bool,
    rotated: SystemTime,
}

/// One record.
struct Record {
    sequence: u64,
    key: Bytes,
    value: Option<Bytes>,
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut body = self.sequence.to_le_bytes().to_vec();
        body.extend((self.key.len() as u32).to_le_bytes());
        body.extend(&self.key);
        body.push(u8::from(self.value.is_some()));
        body.extend(self.value.iter().flatten());
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend(checksum(&body).to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// The record at the front of some bytes, and its length.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let sum = u64::from_le_bytes(bytes.get(4..12)?.try_into().ok()?);
        let body = bytes.get(12..12 + length)?;
        if length < 13 || checksum(body) != sum {
            return None;
        }
        let sequence = u64::from_le_bytes(body[..8].try_into().ok()?);
        let key = u32::from_le_bytes(body[8..12].try_into().ok()?) as usize;
        let (key, rest) = body.get(12..)?.split_at_checked(key)?;
        let value = (*rest.first()? == 1).then(|| rest[1..].to_vec());
        Some((Self { sequence, key: key.to_vec(), value }, 12 + length))
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn apply(items: &mut BTreeMap<Bytes, Bytes>, record: Record) {
    match record.value {
        Some(value) => drop(items.insert(record.key, value)),
        None => drop(items.remove(&record.key)),
    }
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    Ok(File::open(dir)?.sync_all()?)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl<const BUG: u8, const TWIN: bool> Planted<BUG, TWIN> {
    /// Whether the store has this bug.
    fn has(bug: u8) -> bool {
        BUG == bug && !TWIN
    }

    fn snapshot_path(&self) -> PathBuf {
        self.dir.join(format!("snapshot-{}", self.number))
    }

    fn log_path(&self) -> PathBuf {
        log_path(&self.dir, self.number, self.segment)
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        self.working()?;
        self.failed = true;
        if BUG == bug::ROTATION && self.rotated.elapsed().is_ok_and(|since| since >= HOUR) {
            self.rotate()?;
        }
        self.sequence += 1;
        let value = value.map(<[u8]>::to_vec);
        let record = Record { sequence: self.sequence, key: key.to_vec(), value };
        let bytes = record.encode();
        if BUG == bug::BYPASS && bytes.len() > LONG {
            if !Self::has(bug::BYPASS) {
                self.flush()?;
            }
            self.write(&bytes)?;
            apply(
                &mut self.written,
                Record { key: record.key.clone(), value: record.value.clone(), ..record },
            );
        } else {
            self.buffer.extend(bytes);
        }
        self.dirty |= record.value.is_some() || !Self::has(bug::CLEAN_DELETE);
        apply(&mut self.items, record);
        if self.buffer.len() > BUFFER {
            self.flush()?;
        }
        if self.length + self.buffer.len() as u64 > LOG {
            self.compact()?;
        }
        self.failed = false;
        Ok(())
    }

    /// Refuses to work after an error.
    fn working(&self) -> Result<(), Error> {
        match self.failed {
            true => Err(Refused::because("an earlier op failed").into()),
            false => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if Self::has(bug::SHORT_WRITE) {
            let _ = self.log.write(bytes)?;
        } else {
            self.log.write_all(bytes)?;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            self.write(&buffer)?;
        }
        self.written.clone_from(&self.items);
        Ok(())
    }

    /// Begins another segment of the log.
    fn rotate(&mut self) -> Result<(), Error> {
        self.flush()?;
        if !Self::has(bug::ROTATION) {
            self.log.sync_all()?;
        }
        self.segment += 1;
        self.log = File::create(self.log_path())?;
        self.rotated = SystemTime::now();
        sync_dir(&self.dir)
    }

    /// Writes all items into a new snapshot, which a new log follows.
    fn compact(&mut self) -> Result<(), Error> {
        let items = match Self::has(bug::BUFFER_MISSED) {
            true => self.written.clone(),
            false => self.items.clone(),
        };
        let most = if Self::has(bug::SHORT_SNAPSHOT) { 64 } else { usize::MAX };
        let mut bytes = Vec::new();
        for (key, value) in items.into_iter().take(most) {
            bytes.extend(Record { sequence: self.sequence, key, value: Some(value) }.encode());
        }
        bytes.extend(Record { sequence: self.sequence, key: Vec::new(), value: None }.encode());
        let new = self.dir.join("new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let (old_snapshot, old_log) = (self.snapshot_path(), self.log_path());
        let segments = self.segment;
        let old_number = self.number;
        self.number += 1;
        self.segment = 0;
        fs::rename(&new, self.snapshot_path())?;
        if !Self::has(bug::UNLINKED_EARLY) {
            sync_dir(&self.dir)?;
        }
        let log = File::create(self.log_path())?;
        if !Self::has(bug::REPLACED) {
            self.log = log;
        }
        if !Self::has(bug::UNLINKED_EARLY) && !Self::has(bug::UNSYNCED_NAME) {
            sync_dir(&self.dir)?;
        }
        remove(&old_log)?;
        for segment in 0..segments {
            remove(&log_path(&self.dir, old_number, segment))?;
        }
        remove(&old_snapshot)?;
        if Self::has(bug::UNLINKED_EARLY) {
            sync_dir(&self.dir)?;
        }
        self.buffer.clear();
        self.written.clone_from(&self.items);
        self.length = 0;
        self.dirty = false;
        if Self::has(bug::SEQUENCE) {
            self.sequence = 0;
        }
        Ok(())
    }

    /// The number of the newest snapshot; 0 if there is none.
    fn newest(dir: &Path) -> Result<u64, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some(number) = name.strip_prefix("snapshot-") else { continue };
            found.push((entry.metadata()?.modified()?, number.parse::<u64>()?));
        }
        if Self::has(bug::BY_TIME) {
            // The first of those with the same time.
            let first = found.iter().max_by_key(|(at, number)| (*at, u64::MAX - number));
            return Ok(first.map_or(0, |(_, number)| *number));
        }
        Ok(found.iter().map(|(_, number)| *number).max().unwrap_or(0))
    }

    /// Removes the files that do not belong to this snapshot.
    fn clean(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            let mut parts = name.split('-').skip(1);
            let number = parts.next().and_then(|number| number.parse::<u64>().ok());
            if name == "new" || number.is_some_and(|number| number != self.number) {
                remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Reads the segments of the log.
    fn replay(&mut self) -> Result<(), Error> {
        self.segment = 0;
        loop {
            let path = self.log_path();
            let bytes = fs::read(&path)?;
            let mut at = 0;
            while let Some((record, length)) = Record::decode(&bytes[at..]) {
                at += length;
                if record.sequence > self.sequence {
                    self.sequence = record.sequence;
                    apply(&mut self.items, record);
                }
            }
            if at < bytes.len() {
                self.cut(&path, &bytes[..at])?;
            }
            self.length = at as u64;
            self.log = OpenOptions::new().append(true).open(&path)?;
            // A process that was killed may have left it unsynced.
            self.log.sync_all()?;
            let next = log_path(&self.dir, self.number, self.segment + 1);
            if !next.exists() {
                return Ok(());
            }
            self.segment += 1;
        }
    }

    /// Cuts a torn tail off a log.
    fn cut(&self, path: &Path, whole: &[u8]) -> Result<(), Error> {
        if Self::has(bug::TORN_TAIL) {
            return Ok(());
        }
        if BUG != bug::UNSYNCED_REWRITE {
            let log = OpenOptions::new().write(true).open(path)?;
            log.set_len(whole.len() as u64)?;
            return Ok(log.sync_all()?);
        }
        let new = self.dir.join("new");
        let mut file = File::create(&new)?;
        file.write_all(whole)?;
        if !Self::has(bug::UNSYNCED_REWRITE) {
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        sync_dir(&self.dir)
    }

    /// Counts the openings; the fourth one of every four tidies up.
    fn count_opening(&mut self) -> Result<(), Error> {
        let path = self.dir.join("openings");
        let count = fs::read(&path).map_or(0, |bytes| bytes.len() % 4) + 1;
        fs::write(&path, vec![b'x'; count])?;
        if count == 4 {
            let tidied = self.items.iter().filter(|(_, value)| TWIN || !value.is_empty());
            self.items = tidied.map(|(key, value)| (key.clone(), value.clone())).collect();
            self.compact()?;
        }
        Ok(())
    }
}

fn log_path(dir: &Path, number: u64, segment: u64) -> PathBuf {
    dir.join(format!("log-{number}-{segment}"))
}

impl<const BUG: u8, const TWIN: bool> Store for Planted<BUG, TWIN> {
    const NAME: &'static str = if TWIN { "twin" } else { "planted" };
    const SURVIVES: &'static [(FaultKind, AfterFault)] = match BUG {
        bug::FAILED_SYNC => &[(FaultKind::FailedSync, AfterFault::Right)],
        bug::SHORT_WRITE => &[(FaultKind::Interrupted, AfterFault::Right)],
        _ => &[],
    };

    fn open(dir: &Path) -> Result<Self, Error> {
        let number = Self::newest(dir)?;
        let path = log_path(dir, number, 0);
        if !path.exists() {
            File::create(&path)?;
        }
        sync_dir(dir)?;
        let mut store = Self {
            dir: dir.to_owned(),
            items: BTreeMap::new(),
            written: BTreeMap::new(),
            log: File::open(&path)?,
            length: 0,
            number,
            segment: 0,
            sequence: 0,
            buffer: Vec::new(),
            dirty: false,
            failed: false,
            rotated: SystemTime::now(),
        };
        if number > 0 {
            let bytes = fs::read(store.snapshot_path())?;
            let mut at = 0;
            while let Some((record, length)) = Record::decode(&bytes[at..]) {
                at += length;
                store.sequence = record.sequence;
                if !record.key.is_empty() {
                    apply(&mut store.items, record);
                }
            }
            if at < bytes.len() || at == 0 {
                return Err("the snapshot is damaged".into());
            }
        }
        store.clean()?;
        store.replay()?;
        store.written.clone_from(&store.items);
        if BUG == bug::OPENINGS {
            store.count_opening()?;
        }
        if BUG == bug::FAILED_SYNC && TWIN && store.length > 0 {
            // An earlier sync may have failed: what the cache shows may not be on the disk.
            store.compact()?;
        }
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.append(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.append(key, None)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.working()?;
        if !self.dirty {
            return Ok(());
        }
        self.failed = !Self::has(bug::FAILED_SYNC);
        self.flush()?;
        self.log.sync_all()?;
        (self.failed, self.dirty) = (false, false);
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

impl<const BUG: u8, const TWIN: bool> Drop for Planted<BUG, TWIN> {
    fn drop(&mut self) {
        if !self.failed {
            // An error shows when the store is opened again.
            let _ = self.flush();
        }
    }
}
