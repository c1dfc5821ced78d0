//! Fails every call of a workload and of a recovery in turn: a small store keeps its promises, and
//! with a planted bug, one or more for each fault kind, it does not.
#![expect(unsafe_code, reason = "no safe form of close(2) reports its error")]
#![expect(clippy::print_stdout, reason = "shows how many states and faults each bug took")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crashpoint::inner::host::fork_server::Reply;
use crashpoint::{
    AfterFault, Bytes, Entry, Error, FaultKind, KeyValue, Level, OpOf, Promises, Seed, Sim, Step,
    Store, check_case, fail_every_call, sim,
};
use proptest::strategy::BoxedStrategy;

/// The planted bugs of the small store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    Nothing,
    /// A log that cannot be opened is treated as absent.
    UnopenedIsNone,
    /// As above, if the process has no descriptor left.
    NoDescriptorIsNone,
    /// A log that cannot be read is treated as empty.
    UnreadIsEmpty,
    /// An interrupted read is mistaken for the end of the log.
    InterruptedIsEnd,
    /// One `read` is expected to return the whole log.
    OneRead,
    /// A record with a wrong checksum is treated as torn, and never read again.
    NotReadAgain,
    /// One `write` is expected to write the whole record.
    OneWrite,
    /// A failed write is reported as a success.
    WriteIgnored,
    /// A write that finds the disk full is reported as a success.
    FullIsGood,
    /// A record for which a spare file made room is written after the front of an earlier attempt.
    FrontBeforeSpare,
    /// A write beyond the quota is reported as a success.
    QuotaIsGood,
    /// A failed sync is reported as a success.
    SyncIgnored,
    /// A sync that finds no room for the data written is reported as a success.
    FullAtSync,
    /// A sync of a read-only disk is reported as a success.
    ReadOnlyIsSynced,
    /// A slow sync is undone, and reported as a success.
    SlowIsUndone,
    /// A new log whose rename failed is used anyway.
    RenameIgnored,
    /// As above, if two attempts failed.
    RenameTriedTwice,
    /// As above, if the log was torn.
    TornRenameIgnored,
    /// If there is no room for a new log, the old one is overwritten.
    WrittenOver,
    /// If its directory cannot be created, the store does without it.
    Homeless,
    /// A failed close is repeated until it succeeds.
    ClosedAgain,
}

/// The bug of the store, and the fault kind after which it promises a right answer, as indexes
/// into `Bug` and [`FaultKind::ALL`]. They are set in an explorer before it starts, so that its
/// children have them. One sim whose bug is set like this builds in a twentieth of the time that a
/// sim for each bug takes.
static BUG: AtomicUsize = AtomicUsize::new(0);
static FAULT_KIND: AtomicUsize = AtomicUsize::new(ALL);
/// All fault kinds at once.
const ALL: usize = usize::MAX;

fn has(bug: Bug) -> bool {
    BUG.load(Ordering::Relaxed) == bug as usize
}

/// A log of records; each open writes a new log and renames it over the old one.
struct Log {
    home: PathBuf,
    /// `None` after an error: the store must be reopened.
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

/// The items of the records before the first that is not whole, and whether there is such a record.
fn replay(mut bytes: &[u8]) -> (BTreeMap<Bytes, Bytes>, bool) {
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
    (items, !bytes.is_empty())
}

fn is(error: &io::Error, number: i32) -> bool {
    error.raw_os_error() == Some(number)
}

impl Log {
    /// The directory of the store. If its name cannot be synced, it is removed again.
    fn home(dir: &Path) -> io::Result<PathBuf> {
        let home = dir.join("data");
        match fs::create_dir(&home) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(home),
            Err(_) if has(Bug::Homeless) => return Ok(dir.to_owned()),
            made => made?,
        }
        let synced = Self::sync_folder(dir);
        if synced.is_err() {
            fs::remove_dir(&home)?;
        }
        synced.map(|()| home)
    }

    fn sync_folder(path: &Path) -> io::Result<()> {
        let folder = File::open(path)?;
        folder.sync_all()?;
        if has(Bug::ClosedAgain) {
            let number = folder.into_raw_fd();
            // SAFETY: `into_raw_fd` made this code the only owner of the descriptor.
            while unsafe { libc::close(number) } != 0 {
                let error = io::Error::last_os_error();
                assert!(!is(&error, libc::EBADF), "the descriptor of the directory is closed");
            }
        }
        Ok(())
    }

    fn read(path: &Path) -> io::Result<Bytes> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(_) if has(Bug::UnopenedIsNone) => return Ok(Vec::new()),
            Err(error) if has(Bug::NoDescriptorIsNone) && is(&error, libc::EMFILE) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        if has(Bug::OneRead) {
            bytes.resize(file.metadata()?.len() as usize, 0);
            let read = file.read(&mut bytes)?;
            bytes.truncate(read);
            return Ok(bytes);
        }
        if has(Bug::InterruptedIsEnd) {
            let mut part = [0; 16];
            loop {
                match rustix::io::read(&file, &mut part) {
                    Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(bytes),
                    read => bytes.extend_from_slice(&part[..read?]),
                }
            }
        }
        match file.read_to_end(&mut bytes) {
            Err(_) if has(Bug::UnreadIsEmpty) => Ok(Vec::new()),
            read => read.map(|_| bytes),
        }
    }

    /// The items of the log, and whether its end is torn. A log with a wrong checksum is read
    /// again: only if it reads the same twice is it like this on the disk.
    fn load(path: &Path) -> io::Result<(BTreeMap<Bytes, Bytes>, bool)> {
        let mut bytes = Self::read(path)?;
        loop {
            let (items, torn) = replay(&bytes);
            if !torn || has(Bug::NotReadAgain) || has(Bug::OneRead) {
                return Ok((items, torn));
            }
            let again = Self::read(path)?;
            if again == bytes {
                return Ok((items, torn));
            }
            bytes = again;
        }
    }

    /// Writes a new log with these items, and renames it over the old one.
    fn begin(home: &Path, items: &BTreeMap<Bytes, Bytes>, torn: bool) -> io::Result<File> {
        let (next, path) = (home.join("next"), home.join("log"));
        let mut over = false;
        let mut log = match File::create(&next) {
            Err(error) if has(Bug::WrittenOver) && is(&error, libc::ENOSPC) => {
                over = true;
                File::create(&path)?
            }
            created => created?,
        };
        for (key, value) in items {
            log.write_all(&record(key, Some(value)))?;
        }
        if has(Bug::FrontBeforeSpare) {
            fs::write(home.join("spare"), [0; 4096])?;
        }
        log.sync_all()?;
        let renamed = match fs::rename(&next, &path) {
            Err(_) if has(Bug::RenameTriedTwice) => fs::rename(&next, &path),
            renamed => renamed,
        };
        let ignored = over
            || has(Bug::RenameIgnored)
            || has(Bug::RenameTriedTwice)
            || has(Bug::TornRenameIgnored) && torn;
        if !ignored {
            renamed?;
        }
        Self::sync_folder(home)?;
        Ok(log)
    }

    /// Tries twice to write a record on a full disk, then deletes the spare file to make room.
    fn write_or_spare(&self, log: &mut File, record: &[u8]) -> io::Result<()> {
        let end = log.metadata()?.len();
        match log.write_all(record) {
            Err(error) if is(&error, libc::ENOSPC) => {}
            written => return written,
        }
        log.set_len(end)?;
        log.seek(SeekFrom::Start(end))?;
        match log.write_all(record) {
            Err(error) if is(&error, libc::ENOSPC) => {}
            written => return written,
        }
        fs::remove_file(self.home.join("spare"))?;
        log.write_all(record)
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let mut log = self.log.take().ok_or("an earlier error: open the store again")?;
        let record = record(key, value);
        let written = if has(Bug::OneWrite) {
            log.write(&record).map(drop)
        } else if has(Bug::FrontBeforeSpare) {
            self.write_or_spare(&mut log, &record)
        } else {
            log.write_all(&record)
        };
        if let Err(error) = written {
            let ignored = has(Bug::WriteIgnored)
                || has(Bug::FullIsGood) && is(&error, libc::ENOSPC)
                || has(Bug::QuotaIsGood) && is(&error, libc::EDQUOT);
            if !ignored {
                return Err(error.into());
            }
        }
        self.log = Some(log);
        match value {
            Some(value) => drop(self.items.insert(key.to_vec(), value.to_vec())),
            None => drop(self.items.remove(key)),
        }
        Ok(())
    }
}

impl Store for Log {
    const NAME: &'static str = "small-log";
    const WRITES: Level = Level::Flushed;

    fn open(dir: &Path) -> Result<Self, Error> {
        let home = Self::home(dir)?;
        let (items, torn) = Self::load(&home.join("log"))?;
        let log = Self::begin(&home, &items, torn)?;
        Ok(Self { home, synced: log.metadata()?.len(), log: Some(log), items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.change(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.change(key, None)
    }

    #[expect(clippy::disallowed_methods, reason = "an engine may read any clock")]
    fn sync(&mut self) -> Result<(), Error> {
        let log = self.log.take().ok_or("an earlier error: open the store again")?;
        let began = Instant::now();
        if let Err(error) = log.sync_data() {
            let ignored = has(Bug::SyncIgnored)
                || has(Bug::FullAtSync) && is(&error, libc::ENOSPC)
                || has(Bug::ReadOnlyIsSynced) && is(&error, libc::EROFS);
            if !ignored {
                return Err(error.into());
            }
        }
        if has(Bug::SlowIsUndone) && began.elapsed().as_secs() >= 1 {
            log.set_len(self.synced)?;
        }
        self.synced = log.metadata()?.len();
        self.log = Some(log);
        Ok(())
    }

    /// Fails after an error too.
    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.log.as_ref().ok_or("an earlier error: open the store again")?;
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The store with the promises that are set.
struct Small;

impl Sim for Small {
    type Engine = <KeyValue<Log> as Sim>::Engine;
    type Model = <KeyValue<Log> as Sim>::Model;

    const NAME: &'static str = "small-log";
    const ABOUT: &'static str = "a log of records";

    fn promises() -> Promises<Self::Model> {
        let fault_kind = FAULT_KIND.load(Ordering::Relaxed);
        let fault_kinds = FaultKind::ALL.into_iter().enumerate();
        let promised = fault_kinds.filter(|(place, _)| fault_kind == ALL || fault_kind == *place);
        let survives = promised.map(|(_, fault_kind)| (fault_kind, AfterFault::Right)).collect();
        Promises { survives, ..KeyValue::<Log>::promises() }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<OpOf<Self>>>> {
        KeyValue::<Log>::workload(steps)
    }
}

fn explore<const SET_BUG: usize, const SET_FAULT_KIND: usize>(
    request: &[u8],
    reply: &mut Reply<'_>,
) {
    BUG.store(SET_BUG, Ordering::Relaxed);
    FAULT_KIND.store(SET_FAULT_KIND, Ordering::Relaxed);
    (sim::<Small>().explore)(request, reply);
}

/// The most workloads for each bug, and the faults for each workload.
const WORKLOADS: u64 = 6;
const FAULTS: u64 = 200;

/// The violations found if every call fails in turn for which this fault kind is promised: classes
/// with their faults, and the number of states and faults that it took.
fn found<const SET_BUG: usize, const SET_FAULT_KIND: usize>(
    steps: usize,
) -> (Vec<String>, u64, u64) {
    let entry = Entry { explore: explore::<SET_BUG, SET_FAULT_KIND>, ..sim::<Small>() };
    let (mut found, mut states, mut faults) = (Vec::new(), 0, 0);
    for number in 0..WORKLOADS {
        let failed =
            fail_every_call(&entry, "posix", Seed(8).derive("every", number), steps, FAULTS);
        assert!(failed.faults > 0, "no call was made to fail");
        states += failed.states;
        faults += failed.faults;
        if failed.violations.is_empty() {
            continue;
        }
        assert_eq!(check_case(&entry, &failed.case), Ok(()), "{}", failed.case);
        found.extend(failed.violations.iter().map(|(class, fault)| format!("{class} ({fault})")));
        break;
    }
    (found, states, faults)
}

const fn place(fault_kind: FaultKind) -> usize {
    let mut at = 0;
    while FaultKind::ALL[at] as u8 != fault_kind as u8 {
        at += 1;
    }
    at
}

/// One planted bug, found by faults of one kind; each fault that finds it has this word.
macro_rules! finds {
    ($($name:ident: $bug:ident by $fault_kind:ident in $word:literal;)*) => {$(
        #[test]
        fn $name() {
            let (found, states, faults) =
                found::<{ Bug::$bug as usize }, { place(FaultKind::$fault_kind) }>(8);
            println!("{:?}: {states} states, {faults} faults: {}", Bug::$bug, found.join(", "));
            assert!(!found.is_empty(), "{:?} is not found", Bug::$bug);
            assert!(found.iter().all(|found| found.contains($word)), "{found:?}");
        }
    )*};
}

finds! {
    a_failed_open_finds_a_log_that_is_treated_as_absent: UnopenedIsNone by FailedOpen in "fault";
    a_process_out_of_descriptors_finds_the_same:
        NoDescriptorIsNone by FailedOpen in "EMFILE";
    a_failed_read_finds_a_log_that_is_treated_as_empty: UnreadIsEmpty by FailedRead in "EIO";
    an_interrupted_read_finds_one_mistaken_for_the_end_of_the_log:
        InterruptedIsEnd by Interrupted in "EINTR";
    a_short_read_finds_a_read_that_is_not_continued: OneRead by Interrupted in "short";
    a_corrupt_read_finds_one_that_is_not_repeated: NotReadAgain by CorruptRead in "corrupt";
    a_short_write_finds_a_write_that_is_not_continued: OneWrite by Interrupted in "short";
    a_failed_write_finds_one_that_is_ignored: WriteIgnored by FailedWrite in "fault";
    a_full_disk_finds_a_write_that_is_ignored: FullIsGood by FailedWrite in "ENOSPC";
    a_quota_finds_a_write_that_is_ignored: QuotaIsGood by FailedWrite in "EDQUOT";
    a_failed_sync_finds_one_that_is_ignored: SyncIgnored by FailedSync in "fault";
    delayed_allocation_finds_a_sync_that_is_ignored: FullAtSync by FailedSync in "ENOSPC";
    a_read_only_disk_finds_a_sync_that_is_ignored:
        ReadOnlyIsSynced by ReadOnly in "EROFS";
    a_slow_sync_finds_one_that_is_undone: SlowIsUndone by Slow in "slow";
    a_failed_rename_finds_one_that_is_ignored: RenameIgnored by FailedChange in "fault";
    a_permanent_fault_finds_a_rename_that_is_tried_twice:
        RenameTriedTwice by FailedChange in "always";
    a_fault_in_a_recovery_finds_a_bug_of_recovery_alone:
        TornRenameIgnored by FailedChange in "epoch=2";
    a_full_disk_finds_a_log_that_is_overwritten: WrittenOver by FailedChange in "ENOSPC";
    a_failed_mkdir_finds_a_store_that_does_without_it: Homeless by FailedChange in "fault";
    an_interrupted_close_finds_one_that_is_repeated: ClosedAgain by Interrupted in "EINTR";
    a_failed_close_finds_one_that_is_repeated: ClosedAgain by FailedClose in "fault";
}

/// No single failed call finds this: there must be room again once a file is deleted.
#[test]
fn only_a_small_disk_finds_a_torn_record_left_before_a_spare_file_is_deleted() {
    let (found, states, faults) = found::<{ Bug::FrontBeforeSpare as usize }, ALL>(24);
    println!("{states} states, {faults} faults: {}", found.join(", "));
    assert!(!found.is_empty(), "it is not found");
    assert!(found.iter().all(|found| found.contains("(space pages=")), "{found:?}");
}

#[test]
fn without_a_bug_the_store_keeps_its_promises_whichever_call_fails() {
    let (found, states, faults) = found::<{ Bug::Nothing as usize }, ALL>(8);
    println!("{states} states, {faults} faults");
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn failing_every_call_is_a_function_of_the_seed() {
    let once = || fail_every_call(&sim::<Small>(), "posix", Seed(3), 4, 60).digest;
    assert_eq!(once(), once());
}
