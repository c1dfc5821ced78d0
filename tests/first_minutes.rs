//! What an outsider does in the first ten minutes: put a small store under test.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crashpoint::Store;
use crashpoint::engine::Error;

/// Appends lines to a log; `SYNC` says whether `sync` does what it promises.
struct Lines<const SYNC: bool> {
    path: PathBuf,
    log: File,
}

impl<const SYNC: bool> Store for Lines<SYNC> {
    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path)?;
        if SYNC {
            File::open(dir)?.sync_all()?;
        }
        // What the last line lost, it lost whole: cut it off before something follows it.
        let bytes = std::fs::read(&path)?;
        let whole = whole_lines(&bytes);
        if whole < bytes.len() {
            log.set_len(whole as u64)?;
            log.sync_all()?;
        }
        Ok(Self { path, log })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.line(&[b"put", key, value])
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.line(&[b"delete", key])
    }

    fn sync(&mut self) -> Result<(), Error> {
        if SYNC {
            self.log.sync_data()?;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let bytes = std::fs::read(&self.path)?;
        let mut items = std::collections::BTreeMap::new();
        for line in bytes[..whole_lines(&bytes)].split(|&b| b == b'\n') {
            match line.splitn(3, |&b| b == b' ').collect::<Vec<_>>()[..] {
                [b"put", key, value] => drop(items.insert(key.to_vec(), value.to_vec())),
                [b"delete", key] => drop(items.remove(key)),
                _ => {}
            }
        }
        Ok(items.into_iter().collect())
    }
}

impl<const SYNC: bool> Lines<SYNC> {
    fn line(&mut self, words: &[&[u8]]) -> Result<(), Error> {
        let mut line = words.join(&b' ');
        line.push(b'\n');
        Ok(self.log.write_all(&line)?)
    }
}

/// How many bytes the whole lines at the front have: up to the last newline before a zero.
fn whole_lines(bytes: &[u8]) -> usize {
    let written = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    bytes[..written].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)
}

#[test]
fn a_store_that_syncs_passes() {
    crashpoint::check_store::<Lines<true>>();
}

#[test]
fn a_store_without_its_fsync_fails_with_a_report() {
    let failed = std::panic::catch_unwind(crashpoint::check_store::<Lines<false>>);
    let payload = failed.expect_err("the fsync is missing");
    let report = payload.downcast_ref::<String>().expect("a report");
    println!("{report}");
    assert!(report.contains("FAIL store on posix"), "{report}");
}
