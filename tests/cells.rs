//! After a failed sync an engine continues or restarts, with the cache kept or evicted: stores that
//! are correct except in one of these cells, and one that is correct in all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crashpoint::inner::base::digest::hash;
use crashpoint::inner::sim::store::{KeyModel, KeyOp, StoreEngine};
use crashpoint::{
    AfterFault, Error, FaultKind, Found, KeyValue, Promises, Seed, Sim, Step, Store, check_case,
    find, sim,
};
use proptest::strategy::{BoxedStrategy, Strategy};

/// Data of a failed sync is not trusted.
const NOTHING: u8 = 0;
/// After a failed sync the log is copied as it reads.
const READABLE_LOG: u8 = 1;
/// The log that is found at open is assumed to be durable.
const FOUND_LOG: u8 = 2;
/// A second sync that succeeds is assumed to have written the data of the first.
const SECOND_SYNC: u8 = 3;

/// A log of checksummed records; `current` names it. New records wait in memory for the sync.
struct Log<const TRUSTS: u8> {
    dir: PathBuf,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Records that no sync has covered.
    waiting: Vec<u8>,
    number: u64,
    /// `None` after an error.
    file: Option<File>,
}

fn record(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![key.len() as u8, u8::from(value.is_some())];
    body.extend_from_slice(key);
    body.extend_from_slice(value.unwrap_or_default());
    let mut record = (body.len() as u32).to_le_bytes().to_vec();
    record.extend_from_slice(&(hash(&body) as u32).to_le_bytes());
    record.extend_from_slice(&body);
    record
}

/// The records at the front of a log, and how many bytes they take.
fn decode(log: &[u8], items: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> usize {
    let mut at = 0;
    while let Some((head, rest)) = log[at..].split_first_chunk::<8>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(body) = rest.get(..length).filter(|body| body.len() >= 2) else { break };
        if hash(body) as u32 != crc {
            break;
        }
        let (key, value) = body[2..].split_at(usize::from(body[0]));
        match body[1] {
            0 => drop(items.remove(key)),
            _ => drop(items.insert(key.to_vec(), value.to_vec())),
        }
        at += 8 + length;
    }
    at
}

impl<const TRUSTS: u8> Log<TRUSTS> {
    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("log-{number}"))
    }

    /// Starts another log with these records, and makes it the current one.
    fn begin(&mut self, records: &[u8]) -> Result<(), Error> {
        let number = self.number + 1;
        let mut file = File::create(self.path(number))?;
        file.write_all(records)?;
        file.sync_all()?;
        let mut pointer = File::create(self.dir.join("next"))?;
        pointer.write_all(number.to_string().as_bytes())?;
        pointer.sync_all()?;
        let directory = File::open(&self.dir)?;
        directory.sync_all()?;
        fs::rename(self.dir.join("next"), self.dir.join("current"))?;
        directory.sync_all()?;
        if self.number > 0 {
            let _ = fs::remove_file(self.path(self.number));
        }
        self.number = number;
        self.file = Some(file);
        Ok(())
    }

    fn all(&self) -> Vec<u8> {
        self.items.iter().flat_map(|(key, value)| record(key, Some(value))).collect()
    }
}

impl<const TRUSTS: u8> Store for Log<TRUSTS> {
    const NAME: &'static str = match TRUSTS {
        NOTHING => "trusts-nothing",
        READABLE_LOG => "trusts-what-is-read",
        FOUND_LOG => "trusts-what-is-found",
        _ => "trusts-the-second-try",
    };

    fn open(dir: &Path) -> Result<Self, Error> {
        let (items, waiting) = (BTreeMap::new(), Vec::new());
        let mut log = Self { dir: dir.to_owned(), items, waiting, number: 0, file: None };
        let current = match fs::read_to_string(dir.join("current")) {
            Ok(current) => current,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                log.begin(b"")?;
                return Ok(log);
            }
            Err(error) => return Err(error.into()),
        };
        log.number = current.parse()?;
        let path = log.path(log.number);
        let mut bytes = Vec::new();
        File::open(&path)?.read_to_end(&mut bytes)?;
        let end = decode(&bytes, &mut log.items);
        if TRUSTS == FOUND_LOG && end == bytes.len() {
            // The name may still be pending, so it is synced.
            File::open(dir)?.sync_all()?;
            log.file = Some(File::options().append(true).open(path)?);
        } else {
            let all = log.all();
            log.begin(&all)?;
        }
        Ok(log)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.waiting.extend(record(key, Some(value)));
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.waiting.extend(record(key, None));
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut file = self.file.take().ok_or("an earlier error: open it again")?;
        file.write_all(&std::mem::take(&mut self.waiting))?;
        match file.sync_all() {
            Ok(()) => self.file = Some(file),
            Err(error) => match TRUSTS {
                READABLE_LOG => {
                    let mut items = BTreeMap::new();
                    let log = fs::read(self.path(self.number))?;
                    let end = decode(&log, &mut items);
                    self.begin(&log[..end])?;
                }
                SECOND_SYNC => {
                    file.sync_all()?;
                    self.file = Some(file);
                }
                _ => return Err(error.into()),
            },
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The sim of such a store: its promises hold after a failed sync, too.
struct Cells<const TRUSTS: u8>;

impl<const TRUSTS: u8> Sim for Cells<TRUSTS> {
    type Engine = StoreEngine<Log<TRUSTS>>;
    type Model = KeyModel;

    const NAME: &'static str = Log::<TRUSTS>::NAME;
    const ABOUT: &'static str = "a log whose sync fails";

    fn promises() -> Promises<KeyModel> {
        let survives = vec![
            (FaultKind::FailedWrite, AfterFault::Right),
            (FaultKind::FailedSync, AfterFault::Right),
        ];
        Promises { survives, ..KeyValue::<Log<TRUSTS>>::promises() }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        let synced = |step| [step, Step::Op(KeyOp::Sync)];
        let all = KeyValue::<Log<TRUSTS>>::workload(steps.div_ceil(2));
        all.prop_map(move |steps| steps.into_iter().flat_map(synced).collect()).boxed()
    }
}

/// The first finding, whose case replays.
fn found<const TRUSTS: u8>(profile: &str, seed: u64, workloads: u64) -> Found {
    let entry = sim::<Cells<TRUSTS>>();
    let finding = find(&entry, profile, Seed(seed), workloads);
    if finding.class.is_some() {
        assert_eq!(check_case(&entry, &finding.case), Ok(()), "{}", finding.case);
    }
    finding
}

/// The factor for the number of workloads: 1, or for example 10 with `CELLS=10`.
fn factor() -> u64 {
    std::env::var_os("CELLS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(1)
}

#[test]
fn a_store_that_trusts_nothing_is_correct_in_every_cell() {
    for profile in ["posix", "ext4-journal", "xfs"] {
        let finding = found::<NOTHING>(profile, 1, 3 * factor());
        assert!(finding.class.is_none(), "{}", finding.report);
    }
}

#[test]
fn a_store_that_reads_back_unsynced_data_fails_with_the_cache_evicted_while_it_runs() {
    // It takes 15 seconds; each_cell_replays_from_a_case has a written case of it.
    if factor() == 1 {
        return;
    }
    let finding = found::<READABLE_LOG>("posix", 1, 60);
    assert!(finding.class.is_some(), "not found");
    assert!(finding.case.contains("\ncache evicted\n"), "{}", finding.case);
    assert!(finding.report.contains("cache evicted when a sync had failed"), "{}", finding.report);
}

#[test]
fn a_store_that_retries_the_sync_fails_whether_the_cache_is_evicted_or_not() {
    let finding = found::<SECOND_SYNC>("posix", 5, 6);
    assert!(finding.class.is_some(), "not found");
}

/// Checks a written case: one store, one failed sync, and the rest of the run.
fn check_written<const TRUSTS: u8>(rest: &str) {
    let entry = sim::<Cells<TRUSTS>>();
    let name = Log::<TRUSTS>::NAME;
    let case = format!("sim {name}\nprofile posix\nseed 0x1\n{rest}");
    assert_eq!(check_case(&entry, &case), Ok(()), "{case}");
}

#[test]
fn each_cell_replays_from_a_case() {
    let failed = "fault EIO step=2 sync=1\nput k 1\nsync\n";
    let evicted_in_run = "fault EIO step=2 sync=1\ncache evicted\nput k 1\nsync\n";
    let power = "crash power step=2 effect=3 returned keep=nothing\n";
    let kept = "crash process step=2 effect=3 returned\n";
    let evicted = "crash process step=2 effect=3 returned cache=evicted\n";
    // It continues, and a second sync succeeds: the data is lost with the power, or with the page.
    check_written::<SECOND_SYNC>(&format!("expect lost-write\n{failed}{power}"));
    check_written::<SECOND_SYNC>(&format!("expect lost-write\n{failed}{evicted}"));
    check_written::<SECOND_SYNC>(&format!("expect pass\n{failed}{kept}"));
    check_written::<SECOND_SYNC>(&format!("expect lost-write\n{evicted_in_run}"));
    // It copies the log as it reads: correct with the cache kept, whatever happens then.
    check_written::<READABLE_LOG>(&format!("expect pass\n{failed}"));
    check_written::<READABLE_LOG>(&format!("expect lost-write\n{evicted_in_run}"));
    // It gives up, is restarted, and assumes that the log it finds is durable.
    let failed = "fault EIO step=2 sync=1\nput k \"v\"*9000\nsync\n";
    let died = "crash process step=2 effect=2 returned\n";
    let then = "put j 2\nsync\ncrash power step=2 effect=2 returned keep=nothing\n";
    check_written::<FOUND_LOG>(&format!("expect lost-write\n{failed}{died}{then}"));
    check_written::<NOTHING>(&format!("expect pass\n{failed}{died}{then}"));
    let died = "crash process step=2 effect=2 returned cache=evicted\n";
    check_written::<FOUND_LOG>(&format!("expect pass\n{failed}{died}{then}"));
}

#[test]
fn a_store_that_trusts_the_log_it_finds_fails_after_a_restart() {
    if factor() == 1 {
        return;
    }
    let finding = found::<FOUND_LOG>("posix", 1, 60);
    assert!(finding.class.is_some(), "not found");
    assert!(finding.case.contains("\nfault EIO"), "{}", finding.case);
}

/// A store that writes all items at each sync, with a checksum or without.
struct Sealed<const CHECKED: bool> {
    dir: PathBuf,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<const CHECKED: bool> Store for Sealed<CHECKED> {
    const NAME: &'static str = if CHECKED { "sealed" } else { "unsealed" };

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut items = BTreeMap::new();
        match fs::read(dir.join("items")) {
            Ok(bytes) => {
                let (seal, all) = bytes.split_first_chunk().ok_or("no seal")?;
                if CHECKED && u64::from_le_bytes(*seal) != hash(all) {
                    return Err("the checksum is wrong".into());
                }
                let mut rest = all;
                while !rest.is_empty() {
                    let take = |rest: &mut &[u8]| -> Result<Vec<u8>, Error> {
                        let (length, tail) = rest.split_first_chunk().ok_or("cut short")?;
                        let length = u32::from_le_bytes(*length) as usize;
                        let (taken, tail) = tail.split_at_checked(length).ok_or("cut short")?;
                        *rest = tail;
                        Ok(taken.to_vec())
                    };
                    let key = take(&mut rest)?;
                    items.insert(key, take(&mut rest)?);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { dir: dir.to_owned(), items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut all = Vec::new();
        for part in self.items.iter().flat_map(|(key, value)| [key, value]) {
            all.extend_from_slice(&(part.len() as u32).to_le_bytes());
            all.extend_from_slice(part);
        }
        let mut file = File::create(self.dir.join("new"))?;
        file.write_all(&[&hash(&all).to_le_bytes()[..], &all].concat())?;
        file.sync_all()?;
        fs::rename(self.dir.join("new"), self.dir.join("items"))?;
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The sim of such a store, which promises to report damage, or does not.
struct Rots<const CHECKED: bool, const PROMISED: bool>;

impl<const CHECKED: bool, const PROMISED: bool> Sim for Rots<CHECKED, PROMISED> {
    type Engine = StoreEngine<Sealed<CHECKED>>;
    type Model = KeyModel;

    const NAME: &'static str = Sealed::<CHECKED>::NAME;
    const ABOUT: &'static str = "a store whose disk rots";

    fn promises() -> Promises<KeyModel> {
        let survives =
            if PROMISED { vec![(FaultKind::BitRot, AfterFault::Loud)] } else { Vec::new() };
        Promises { survives, ..KeyValue::<Sealed<CHECKED>>::promises() }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        KeyValue::<Sealed<CHECKED>>::workload(steps)
    }
}

#[test]
fn only_bit_rot_finds_a_store_without_a_checksum() {
    let finding = find(&sim::<Rots<false, false>>(), "posix", Seed(1), 6);
    assert!(finding.class.is_none(), "{}", finding.report);
    let finding = find(&sim::<Rots<true, true>>(), "posix", Seed(1), 6);
    assert!(finding.class.is_none(), "{}", finding.report);
    let entry = sim::<Rots<false, true>>();
    let finding = find(&entry, "posix", Seed(1), 6);
    assert!(finding.class.is_some(), "not found");
    assert!(finding.case.contains(" rot=items@"), "{}", finding.case);
    assert_eq!(check_case(&entry, &finding.case), Ok(()), "{}", finding.case);
}

#[test]
fn a_case_names_the_damage_and_its_place() {
    let head = "sim unsealed\nprofile posix\nseed 0x1\n";
    let run = "put k abc\nsync\ncrash power step=2 effect=6 returned keep=all";
    let check = |rest: &str| check_case(&sim::<Rots<false, true>>(), &format!("{head}{rest}\n"));
    assert_eq!(check(&format!("expect pass\n{run}")), Ok(()));
    assert_eq!(check(&format!("expect phantom-value\n{run} rot=items@18:bit1")), Ok(()));
    let wrong = check(&format!("expect pass\n{run} rot=item@18:bit1")).unwrap_err().to_string();
    assert!(wrong.contains("line 7: the crash state has no item@18"), "{wrong}");
    let wrong = check(&format!("expect pass\n{run} rot=items@18:bit9")).unwrap_err().to_string();
    assert!(wrong.contains("line 7, column"), "{wrong}");
}

#[test]
fn a_full_disk_that_only_a_sync_notices_loses_the_data_without_room() {
    let case = |name: &str, expect: &str, profile: &str| {
        format!(
            "sim {name}\nprofile {profile}\nseed 0x1\nexpect {expect}\nspace pages=3 delayed\n\
             put k \"v\"*9000\nsync\n"
        )
    };
    let tries = sim::<Cells<SECOND_SYNC>>();
    assert_eq!(check_case(&tries, &case(tries.name, "lost-write", "ext4")), Ok(()));
    let trusts = sim::<Cells<NOTHING>>();
    assert_eq!(check_case(&trusts, &case(trusts.name, "pass", "ext4")), Ok(()));
    let refused = check_case(&trusts, &case(trusts.name, "pass", "posix")).unwrap_err();
    assert!(refused.to_string().contains("posix does not delay its allocation"), "{refused}");
}

#[test]
fn a_disk_that_is_full_at_the_call_fails_the_call() {
    for limit in ["pages=3", "pages=4 EDQUOT", "inodes=3"] {
        let case = format!(
            "sim trusts-nothing\nprofile posix\nseed 0x1\nexpect pass\nspace {limit}\n\
             put k \"v\"*9000\nsync\nput j 1\nsync\n"
        );
        assert_eq!(check_case(&sim::<Cells<NOTHING>>(), &case), Ok(()), "{limit}");
    }
}
