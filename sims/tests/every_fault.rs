//! Every call of a workload and of a recovery fails in turn: the engines keep their promises, and
//! a small store with one planted bug for each kind of fault does not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crashpoint::engine::{Error, Level};
use crashpoint::oracle::{Answer, Harm};
use crashpoint::seed::Seed;
use crashpoint::store::{Bytes, KeyValue};
use crashpoint::{Store, check_case, fail_every_call, sim};
use sims::toy::ToySim;

/// What a small store gets wrong.
const NOTHING: u8 = 0;
/// A log that cannot be opened is taken for none.
const UNOPENED_IS_NONE: u8 = 1;
/// A log that cannot be read is taken for an empty one.
const UNREAD_IS_EMPTY: u8 = 2;
/// One `read` is taken for the whole log.
const ONE_READ: u8 = 3;
/// One `write` is taken for the whole record.
const ONE_WRITE: u8 = 4;
/// A new log that does not get its name is gone on with.
const RENAME_IGNORED: u8 = 5;
/// A disk that is read-only needs no sync.
const READ_ONLY_IS_SYNCED: u8 = 6;
/// A sync that took long is undone, and called good.
const SLOW_IS_UNDONE: u8 = 7;
/// A write that fails is called good.
const WRITE_IGNORED: u8 = 8;
/// A sync that fails is called good.
const SYNC_IGNORED: u8 = 9;

/// A log of records; each opening writes a new one and gives it the name.
struct Log<const BUG: u8, const HARM: u8> {
    /// `None` after an error: open it again.
    log: Option<File>,
    synced: u64,
    items: BTreeMap<Bytes, Bytes>,
}

/// `len:u32le sum:u32le key_len:u8 key rest`; the rest is a letter and the value.
fn record(key: &[u8], value: Option<&[u8]>) -> Bytes {
    let mut payload = vec![key.len() as u8];
    payload.extend_from_slice(key);
    payload.push(if value.is_some() { b'+' } else { b'-' });
    payload.extend_from_slice(value.unwrap_or_default());
    let mut record = (payload.len() as u32).to_le_bytes().to_vec();
    record.extend_from_slice(&sum(&payload).to_le_bytes());
    record.extend_from_slice(&payload);
    record
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The items of the records up to the first that is not whole.
fn replay(mut bytes: &[u8]) -> BTreeMap<Bytes, Bytes> {
    let mut items = BTreeMap::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(payload) = rest.get(..length).filter(|payload| sum(payload) == expected) else {
            break;
        };
        let Some((key_length, payload)) = payload.split_first() else { break };
        let (key, payload) = payload.split_at(usize::from(*key_length));
        match payload.split_first() {
            Some((b'+', value)) => drop(items.insert(key.to_vec(), value.to_vec())),
            _ => drop(items.remove(key)),
        }
        bytes = &rest[length..];
    }
    items
}

impl<const BUG: u8, const HARM: u8> Log<BUG, HARM> {
    fn read(path: &Path) -> io::Result<Bytes> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(_) if BUG == UNOPENED_IS_NONE => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        if BUG == ONE_READ {
            bytes.resize(file.metadata()?.len() as usize, 0);
            let read = file.read(&mut bytes)?;
            bytes.truncate(read);
            return Ok(bytes);
        }
        match file.read_to_end(&mut bytes) {
            Err(_) if BUG == UNREAD_IS_EMPTY => Ok(Vec::new()),
            read => read.map(|_| bytes),
        }
    }

    fn begin(dir: &Path, items: &BTreeMap<Bytes, Bytes>) -> io::Result<File> {
        let (next, path): (PathBuf, PathBuf) = (dir.join("next"), dir.join("log"));
        let mut log = File::create(&next)?;
        for (key, value) in items {
            log.write_all(&record(key, Some(value)))?;
        }
        log.sync_all()?;
        match fs::rename(&next, &path) {
            Err(_) if BUG == RENAME_IGNORED => {}
            renamed => renamed?,
        }
        File::open(dir)?.sync_all()?;
        Ok(log)
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let mut log = self.log.take().ok_or("an earlier error: open the store again")?;
        let record = record(key, value);
        match BUG {
            ONE_WRITE => drop(log.write(&record)?),
            WRITE_IGNORED => drop(log.write_all(&record)),
            _ => log.write_all(&record)?,
        }
        self.log = Some(log);
        match value {
            Some(value) => drop(self.items.insert(key.to_vec(), value.to_vec())),
            None => drop(self.items.remove(key)),
        }
        Ok(())
    }
}

impl<const BUG: u8, const HARM: u8> Store for Log<BUG, HARM> {
    const NAME: &'static str = "small-log";
    const WRITES: Level = Level::Flushed;
    const SURVIVES: &'static [(Harm, Answer)] = &[(Harm::ALL[HARM as usize], Answer::Right)];

    fn open(dir: &Path) -> Result<Self, Error> {
        let items = replay(&Self::read(&dir.join("log"))?);
        let log = Self::begin(dir, &items)?;
        Ok(Self { synced: log.metadata()?.len(), log: Some(log), items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.change(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.change(key, None)
    }

    #[expect(clippy::disallowed_methods, reason = "an engine reads whatever clock it likes")]
    fn sync(&mut self) -> Result<(), Error> {
        let log = self.log.take().ok_or("an earlier error: open the store again")?;
        let began = std::time::Instant::now();
        match log.sync_data() {
            Err(error) if BUG == READ_ONLY_IS_SYNCED => {
                if error.kind() != ErrorKind::ReadOnlyFilesystem {
                    return Err(error.into());
                }
            }
            Err(_) if BUG == SYNC_IGNORED => {}
            synced => synced?,
        }
        if BUG == SLOW_IS_UNDONE && began.elapsed().as_secs() >= 1 {
            log.set_len(self.synced)?;
        }
        self.synced = log.metadata()?.len();
        self.log = Some(log);
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// How many workloads may be spent on one bug, and how many faults on each.
const WORKLOADS: u64 = 4;
const FAULTS: u64 = 400;

/// The classes of what is found when every call fails that does this harm.
fn found<const BUG: u8, const HARM: u8>() -> Vec<String> {
    let entry = sim::<KeyValue<Log<BUG, HARM>>>();
    let mut found = Vec::new();
    for number in 0..WORKLOADS {
        let failed = fail_every_call(&entry, "posix", Seed(7).derive("every", number), 8, FAULTS);
        assert!(failed.faults > 0, "no call was made to fail");
        if failed.violations.is_empty() {
            continue;
        }
        assert_eq!(check_case(&entry, &failed.case), Ok(()), "{}", failed.case);
        found.extend(failed.violations.iter().map(|(class, fault)| format!("{class} ({fault})")));
        break;
    }
    found
}

/// One planted bug, found by the faults of one kind.
macro_rules! finds {
    ($($name:ident: $bug:ident by $harm:literal;)*) => {$(
        #[test]
        fn $name() {
            let clean = found::<NOTHING, $harm>();
            assert!(clean.is_empty(), "the store without the bug: {clean:?}");
            assert!(!found::<$bug, $harm>().is_empty(), "{:?} finds nothing", Harm::ALL[$harm]);
        }
    )*};
}

finds! {
    a_failed_open_finds_a_log_that_is_taken_for_none: UNOPENED_IS_NONE by 3;
    a_failed_read_finds_a_log_that_is_taken_for_empty: UNREAD_IS_EMPTY by 2;
    a_short_read_finds_a_single_read: ONE_READ by 5;
    a_short_write_finds_a_single_write: ONE_WRITE by 5;
    a_failed_rename_finds_one_that_is_ignored: RENAME_IGNORED by 4;
    a_disk_that_turns_read_only_finds_a_sync_that_is_not_done: READ_ONLY_IS_SYNCED by 6;
    a_slow_sync_finds_one_that_is_undone: SLOW_IS_UNDONE by 7;
    a_failed_write_finds_one_that_is_ignored: WRITE_IGNORED by 0;
    a_failed_sync_finds_one_that_is_ignored: SYNC_IGNORED by 1;
}

#[test]
fn the_toy_keeps_its_promises_whichever_call_fails() {
    crashpoint::check_faults::<ToySim<0>>();
}

#[test]
fn failing_every_call_is_a_function_of_the_seed() {
    let once = || fail_every_call(&sim::<ToySim<0>>(), "posix", Seed(3), 4, 60).digest;
    assert_eq!(once(), once());
}
