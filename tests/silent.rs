//! No test passes that tested nothing: each says what to do instead.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crashpoint::{
    Acks, Bytes, Class, Error, KeyValue, Seed, Store, check_case, check_corpus, check_faults,
    check_pair, check_store, find, sim,
};

/// The message of a test that panics.
fn message(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(test).expect_err("it passed");
    payload.downcast_ref::<String>().cloned().expect("a text")
}

/// A store that keeps everything in one file, which it replaces at each sync.
struct Whole<const BUG: u8> {
    dir: PathBuf,
    /// Whether this session created it.
    created: bool,
    items: BTreeMap<Bytes, Bytes>,
    /// What a scan of the open store shows.
    shown: BTreeMap<Bytes, Bytes>,
}

/// The planted bugs.
const NONE: u8 = 0;
/// Nothing is ever written.
const MEMORY: u8 = 1;
/// The session that created the store does not sync the directory.
const FIRST_SESSION: u8 = 2;
/// A long value that is overwritten shows its old value until the store is opened again.
const STALE: u8 = 3;

impl<const BUG: u8> Store for Whole<BUG> {
    const NAME: &'static str = "whole";
    const CREATED_APART: bool = BUG == FIRST_SESSION;

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut items = BTreeMap::new();
        let created = !dir.join("items").exists();
        if !created {
            let text = fs::read(dir.join("items"))?;
            for line in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
                let at = line.iter().position(|&b| b == b' ').ok_or("a line without a value")?;
                items.insert(line[..at].to_vec(), line[at + 1..].to_vec());
            }
        }
        let store = Self { dir: dir.to_owned(), created, shown: items.clone(), items };
        if created {
            store.write(true)?;
        }
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let old = self.items.insert(key.to_vec(), value.to_vec());
        if BUG != STALE || old.is_none_or(|old| old.len() < 300) {
            self.shown.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        self.shown.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.write(BUG != FIRST_SESSION || !self.created)
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        Ok(self.shown.clone().into_iter().collect())
    }
}

impl<const BUG: u8> Whole<BUG> {
    fn write(&self, syncs: bool) -> Result<(), Error> {
        if BUG == MEMORY {
            return Ok(());
        }
        let lines = self.items.iter().map(|(key, value)| [key, &b" "[..], value, b"\n"].concat());
        let mut file = File::create(self.dir.join("new"))?;
        file.write_all(&lines.collect::<Vec<_>>().concat())?;
        file.sync_all()?;
        fs::rename(self.dir.join("new"), self.dir.join("items"))?;
        if syncs {
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }
}

impl<const BUG: u8> Drop for Whole<BUG> {
    fn drop(&mut self) {
        // An error shows when the store is opened again.
        let _ = self.write(true);
    }
}

#[test]
fn a_store_in_memory_fails_without_a_crash() {
    let text = message(check_store::<Whole<MEMORY>>);
    assert!(text.contains("none: it happens without one"), "{text}");
}

fn does_nothing(_: &Path, _: &mut Acks) -> Result<(), Error> {
    Ok(())
}

fn writes(dir: &Path, _: &mut Acks) -> Result<(), Error> {
    Ok(fs::write(dir.join("a"), "b")?)
}

fn fails(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    fs::write(dir.join("a"), "b")?;
    acks.flushed("a");
    Err("no more".into())
}

fn accepts(_: &Path, _: &[String]) -> Result<(), Error> {
    Ok(())
}

#[test]
fn two_functions_that_do_nothing_promise_nothing_or_fail_do_not_pass() {
    let text = message(|| check_pair(does_nothing, accepts));
    assert!(text.contains("it never changed the simulated disk"), "{text}");
    let text = message(|| check_pair(writes, accepts));
    assert!(text.contains("it acknowledged nothing as durable"), "{text}");
    assert!(text.contains("call `acks.durable`"), "{text}");
    let text = message(|| check_pair(fails, accepts));
    assert!(text.contains("class    op-failed"), "{text}");
    assert!(text.contains("no more"), "{text}");
}

#[test]
fn check_faults_fails_where_nothing_is_promised_after_one() {
    let text = message(check_faults::<KeyValue<Whole<NONE>>>);
    assert!(
        text.contains("cannot test whole: it promises nothing after an injected error"),
        "{text}"
    );
    assert!(text.contains("`SURVIVES`"), "{text}");
}

#[test]
fn a_missing_corpus_fails() {
    let text = message(|| check_corpus::<KeyValue<Whole<NONE>>>(Path::new("tests/corpse")));
    assert!(text.contains("tests/corpse: no such folder"), "{text}");
}

/// Runs in a process of its own; see the test below.
#[test]
#[ignore = "the test of a budget of 0 calls it"]
fn a_store_under_test() {
    check_store::<Whole<NONE>>();
}

#[test]
fn a_budget_of_nothing_fails() {
    let test = std::env::current_exe().expect("the path of this test");
    let run = Command::new(test)
        .args(["--ignored", "--exact", "a_store_under_test"])
        .env("CRASHPOINT_BUDGET", "0")
        .output()
        .expect("a run of this test");
    let text =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success(), "{text}");
    assert!(
        text.contains("CRASHPOINT_BUDGET=0: a test without recoveries tests nothing"),
        "{text}"
    );
}

#[test]
fn a_violation_without_a_crash_is_found_where_the_store_is_read_back() {
    let text = message(check_store::<Whole<STALE>>);
    // The shrunk case needs no step to read back: the end of a run reads the store, too.
    assert!(text.contains("it happens without one"), "{text}");
    let case = text.split_whitespace().find(|word| word.ends_with(".case")).expect("a case");
    let case = fs::read_to_string(case).expect("the case");
    assert!(!case.contains("\ncrash "), "{case}");
    assert_eq!(check_case(&sim::<KeyValue<Whole<STALE>>>(), &case), Ok(()), "{case}");
}

#[test]
fn the_session_that_creates_a_store_is_cut_after_its_creation() {
    let entry = sim::<KeyValue<Whole<FIRST_SESSION>>>();
    let found = find(&entry, "posix", Seed(1), 6);
    assert_eq!(found.class, Some(Class::LostWrite), "{}", found.report);
    assert_eq!(check_case(&entry, &found.case), Ok(()), "{}", found.case);
    // As cases of older formats have it, the store is opened again first, and syncs.
    let old = found.case.replacen("crashpoint-case 3", "crashpoint-case 2", 1);
    assert_ne!(check_case(&entry, &old), Ok(()), "{old}");
}
