//! A small key-value store that can be given one bug at a time, for a harness to find.
//!
//! # Files
//!
//! | name | content |
//! |---|---|
//! | `CURRENT` | the pointer: which generation is the store |
//! | `snap-N` | the items of the store when generation `N` began |
//! | `log-N` | the changes since |
//! | `next-N` | a pointer to generation `N` that has not taken its name yet |
//!
//! A checkpoint begins the next generation: snapshot and empty log are written and synced, then
//! their names, then the pointer's content; then it is renamed over the old one and the name is
//! synced; then the old generation is deleted. [`Toy::open`] does the same with the items that it
//! recovered. So all that it shows is durable, whatever the page cache held after a crash, or after
//! a failed sync that only an earlier process knew of; no torn log is ever appended to; and no byte
//! of a log is written twice.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | [`put`](Toy::put), [`delete`](Toy::delete), [`add`](Toy::add) | survives the process, with all before it |
//! | [`batch`](Toy::batch), [`sync`](Toy::sync), [`checkpoint`](Toy::checkpoint) | survives power loss, with all before it |
//! | [`open`](Toy::open) | what it shows survives power loss |
//!
//! A crash leaves a prefix of the calls; of a batch all or nothing. After a failed write or sync
//! the store refuses every change until it is opened again. The op that failed may then be there or
//! not.

mod bug;
mod wal;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub use bug::Bug;
pub use wal::Op;
pub(super) use wal::{Replay, encode, replay};

/// The length of a pointer: four sectors, of which the first and the last differ between pointers.
const POINTER_LEN: usize = 2048;

/// The longest value.
const VALUE_MAX: usize = 1 << 30;

/// The store, open.
#[derive(Debug)]
pub struct Toy {
    dir: PathBuf,
    bug: Option<Bug>,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    generation: u64,
    /// `None` after a failed write or sync.
    log: Option<File>,
    /// Whether a sync was acknowledged but not done: [`Bug::AckBeforeSync`].
    owed: bool,
}

/// The store that was recovered from a directory.
#[derive(Debug, Default)]
struct Recovered {
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    /// 0 if there is no store.
    generation: u64,
    /// Whether the log ends with a whole batch.
    whole: bool,
}

impl Toy {
    /// Opens the store in a directory, or creates it there; with a planted bug if one is given.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData` if the store is damaged in a way that no crash
    /// explains.
    pub fn open(dir: &Path, bug: Option<Bug>) -> io::Result<Self> {
        let recovered = recover(dir, bug)?;
        let mut toy = Self {
            dir: dir.to_owned(),
            bug,
            items: recovered.items,
            generation: recovered.generation,
            log: None,
            owed: false,
        };
        let keep_log =
            toy.has(Bug::TornTailKept) || toy.has(Bug::PageCacheTrusted) && recovered.whole;
        if keep_log && recovered.generation > 0 {
            toy.log = Some(File::options().append(true).open(log_path(dir, recovered.generation))?);
        } else {
            toy.begin_generation()?;
        }
        Ok(toy)
    }

    /// Sets a key's value.
    ///
    /// # Errors
    /// `InvalidInput` if the key or the value is too long; those of the file system; any change is
    /// refused after a failed write or sync.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.write(&[Op::Put { key: key.to_vec(), value: value.to_vec() }], false)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.write(&[Op::Delete { key: key.to_vec() }], false)
    }

    /// Adds to a key's value, a decimal number; a missing one counts as 0.
    ///
    /// # Errors
    /// As [`put`](Self::put); `InvalidInput` if the value is not a number or the sum is too large.
    pub fn add(&mut self, key: &[u8], n: i64) -> io::Result<()> {
        self.write(&[Op::Add { key: key.to_vec(), n }], false)
    }

    /// Carries out all of these or none, durably.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn batch(&mut self, ops: &[Op]) -> io::Result<()> {
        self.write(ops, true)
    }

    /// Makes all changes durable.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.has(Bug::AckBeforeSync) {
            self.owed = true;
            return Ok(());
        }
        self.guarded(|toy, log| toy.sync_file(log))
    }

    /// Makes all changes durable, as a snapshot with an empty log.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn checkpoint(&mut self) -> io::Result<()> {
        self.guarded(|_, _| Ok(()))?;
        self.begin_generation()
    }

    /// Whether the store refuses every change, after an earlier error, until it is opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.log.is_none()
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.items.get(key).map(Vec::as_slice)
    }

    /// All keys and values, in the order of the keys.
    pub fn scan(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.items.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Logs a batch, then carries it out.
    fn write(&mut self, batch: &[Op], sync: bool) -> io::Result<()> {
        let changed = changed_by(&self.items, batch)?;
        let mut records = Vec::new();
        let last = encode(&mut records, batch, self.bug);
        self.guarded(|toy, mut log| {
            if sync && toy.has(Bug::SyncBeforeLastWrite) {
                log.write_all(&records[..last])?;
                toy.sync_file(log)?;
                return log.write_all(&records[last..]);
            }
            if toy.has(Bug::WriteErrorIgnored) {
                let _ = log.write(&records);
            } else {
                log.write_all(&records)?;
            }
            if sync { toy.sync_file(log) } else { Ok(()) }
        })?;
        for (key, value) in changed {
            match value {
                Some(value) => self.items.insert(key, value),
                None => self.items.remove(&key),
            };
        }
        Ok(())
    }

    /// Runs `act` on the log; if that fails, the log is closed. The remains of a failed write are
    /// unknown, and after a failed sync the kernel may report the next one as successful.
    fn guarded(&mut self, act: impl FnOnce(&Self, &File) -> io::Result<()>) -> io::Result<()> {
        let log = self.log.take();
        let log = log.ok_or_else(|| Error::other("an earlier error: open the store again"))?;
        if std::mem::take(&mut self.owed) {
            self.sync_file(&log)?;
        }
        act(self, &log)?;
        self.log = Some(log);
        Ok(())
    }

    /// Makes the items a new generation, and continues with its log. On an error the old one still
    /// exists, or both do, and the store accepts no more changes.
    fn begin_generation(&mut self) -> io::Result<()> {
        self.log = None;
        let generation = self.last_number()?.max(self.generation) + 1;
        let begun = self.write_generation(generation);
        let log = match begun {
            Ok(log) => log,
            Err(error) => {
                // Nothing points to it yet.
                self.remove_files(|number| number == generation);
                return Err(error);
            }
        };
        if self.has(Bug::OldDeletedFirst) {
            self.remove_files(|number| number < generation);
        }
        let pointer = self.dir.join("CURRENT");
        if !(self.has(Bug::PointerInPlace) && pointer.exists()) {
            fs::rename(self.dir.join(format!("next-{generation}")), &pointer)?;
        }
        if self.has(Bug::RenameBeforeSync) {
            self.sync_file(&File::open(&pointer)?)?;
        }
        if !self.has(Bug::NoDirSyncAfterRename) {
            self.sync_dir()?;
        }
        self.remove_files(|number| number != generation);
        self.generation = generation;
        self.log = Some(log);
        Ok(())
    }

    /// Writes all of a generation except the pointer's name.
    fn write_generation(&self, generation: u64) -> io::Result<File> {
        let all: Vec<Op> = self
            .scan()
            .map(|(key, value)| Op::Put { key: key.into(), value: value.into() })
            .collect();
        let mut records = Vec::new();
        encode(&mut records, &all, None);
        let snapshot = create(&snapshot_path(&self.dir, generation))?;
        (&snapshot).write_all(&records)?;
        if !self.has(Bug::SnapshotNotSynced) {
            self.sync_file(&snapshot)?;
        }
        let log = create(&log_path(&self.dir, generation))?;
        if !self.has(Bug::NoDirSyncAfterCreate) {
            self.sync_dir()?;
        }
        let bytes = pointer_bytes(generation, records.len() as u64);
        let in_place = self.dir.join("CURRENT");
        let pointer = if self.has(Bug::PointerInPlace) && in_place.exists() {
            File::options().write(true).open(in_place)?
        } else {
            create(&self.dir.join(format!("next-{generation}")))?
        };
        (&pointer).write_all(&bytes)?;
        if !self.has(Bug::RenameBeforeSync) {
            self.sync_file(&pointer)?;
        }
        Ok(log)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.has(Bug::NoSync) {
            return Ok(());
        }
        let synced = file.sync_all();
        if self.has(Bug::SyncErrorIgnored) { Ok(()) } else { synced }
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.sync_file(&File::open(&self.dir)?)
    }

    /// The highest number of a file. A number that is used again could, after a crash, resolve to
    /// the file that had it first.
    fn last_number(&self) -> io::Result<u64> {
        Ok(numbered(&self.dir)?.into_iter().map(|(number, _)| number).max().unwrap_or(0))
    }

    /// Removes files by their numbers. A file that cannot be removed is tried again with the next
    /// generation.
    fn remove_files(&self, which: impl Fn(u64) -> bool) {
        for (number, path) in numbered(&self.dir).unwrap_or_default() {
            if which(number) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Reads the store in a directory, without changing anything.
fn recover(dir: &Path, bug: Option<Bug>) -> io::Result<Recovered> {
    let pointer = match fs::read(dir.join("CURRENT")) {
        Ok(pointer) => pointer,
        // No call returned before the first pointer was durable.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Recovered::default()),
        Err(error) => return Err(error),
    };
    let (generation, snapshot_len) =
        parse_pointer(&pointer).ok_or_else(|| damaged("the pointer"))?;
    let snapshot = fs::read(snapshot_path(dir, generation))?;
    let Replay { ops, end } = replay(&snapshot, None);
    if end != snapshot.len() || end as u64 != snapshot_len {
        return Err(damaged("the snapshot"));
    }
    let mut items = BTreeMap::new();
    ops.iter().for_each(|op| apply(&mut items, op));

    let mut whole = true;
    for path in logs(dir, generation, bug)? {
        let log = fs::read(path)?;
        let Replay { ops, end } = replay(&log, bug);
        ops.iter().for_each(|op| apply(&mut items, op));
        whole = end == log.len();
        if !whole && bug == Some(Bug::TornTailFatal) {
            return Err(damaged("the log"));
        }
    }
    Ok(Recovered { items, generation, whole })
}

/// The logs to replay, oldest first.
fn logs(dir: &Path, generation: u64, bug: Option<Bug>) -> io::Result<Vec<PathBuf>> {
    if bug != Some(Bug::OldLogsReplayed) {
        return Ok(vec![log_path(dir, generation)]);
    }
    let mut logs = numbered(dir)?;
    logs.retain(|(number, path)| *path == log_path(dir, *number));
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

/// The values that a batch gives its keys.
pub(super) fn changed_by(
    items: &BTreeMap<Vec<u8>, Vec<u8>>,
    batch: &[Op],
) -> io::Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let refused = |what| Error::new(ErrorKind::InvalidInput, what);
    let mut changed = BTreeMap::new();
    for op in batch {
        let key = op.key().to_vec();
        if key.len() > usize::from(u16::MAX) {
            return Err(refused("the key is too long"));
        }
        let value = match op {
            Op::Put { value, .. } if value.len() > VALUE_MAX => {
                return Err(refused("the value is too long"));
            }
            Op::Put { value, .. } => Some(value.clone()),
            Op::Delete { .. } => None,
            Op::Add { n, .. } => {
                let old = changed.get(&key).cloned().unwrap_or_else(|| items.get(&key).cloned());
                let old =
                    number(old.as_deref()).ok_or_else(|| refused("the value is not a number"))?;
                let sum = old.checked_add(*n).ok_or_else(|| refused("the sum is too large"))?;
                Some(sum.to_string().into_bytes())
            }
        };
        changed.insert(key, value);
    }
    Ok(changed)
}

/// Carries out a logged op. It was checked when it was logged; one that a bug accepted from damaged
/// bytes is carried out as far as possible.
pub(super) fn apply(items: &mut BTreeMap<Vec<u8>, Vec<u8>>, op: &Op) {
    match op {
        Op::Put { key, value } => drop(items.insert(key.clone(), value.clone())),
        Op::Delete { key } => drop(items.remove(key)),
        Op::Add { key, n } => {
            let old = number(items.get(key).map(Vec::as_slice)).unwrap_or(0);
            items.insert(key.clone(), old.wrapping_add(*n).to_string().into_bytes());
        }
    }
}

fn number(value: Option<&[u8]>) -> Option<i64> {
    value.map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse().ok())
}

/// The files of a directory whose names end in a number, by that number.
fn numbered(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.split_once('-')).and_then(|(kind, number)| {
                ["snap", "log", "next"].contains(&kind).then(|| number.parse().ok())?
            });
        files.extend(number.map(|number| (number, dir.join(name))));
    }
    files.sort();
    Ok(files)
}

fn create(path: &Path) -> io::Result<File> {
    File::options().append(true).create_new(true).open(path)
}

fn snapshot_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("snap-{generation}"))
}

fn log_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("log-{generation}"))
}

/// `generation:u64le snapshot_len:u64le zeros generation:u64le crc32:u32le`.
fn pointer_bytes(generation: u64, snapshot_len: u64) -> Vec<u8> {
    let mut bytes = [generation.to_le_bytes(), snapshot_len.to_le_bytes()].concat();
    bytes.resize(POINTER_LEN - 12, 0);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn parse_pointer(bytes: &[u8]) -> Option<(u64, u64)> {
    let field = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (generation, snapshot_len) = (field(0)?, field(8)?);
    (bytes == pointer_bytes(generation, snapshot_len)).then_some((generation, snapshot_len))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what} is damaged"))
}
