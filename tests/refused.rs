//! A store that refuses some ops: these must have no effect, and all others are still checked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crashpoint::{Error, Refused, Store};

/// Refuses values longer than a few bytes; if it is not `HONEST`, it stores them anyway. `SYNC`
/// says whether `sync` does what it promises. A sync replaces its one file.
struct Picky<const HONEST: bool, const SYNC: bool> {
    dir: PathBuf,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

const LONGEST: usize = 3;

impl<const HONEST: bool, const SYNC: bool> Store for Picky<HONEST, SYNC> {
    const NAME: &'static str = match (HONEST, SYNC) {
        (true, true) => "picky",
        (true, false) => "picky-without-sync",
        (false, _) => "picky-and-lying",
    };

    fn open(dir: &Path) -> Result<Self, Error> {
        let text = String::from_utf8(fs::read(dir.join("items")).unwrap_or_default())?;
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ').ok_or("a line without a space")?;
            Ok::<_, Error>((key.into(), value.into()))
        };
        let items = text.lines().map(pair).collect::<Result<_, _>>()?;
        Ok(Self { dir: dir.to_owned(), items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let refused = value.len() > LONGEST;
        if !refused || !HONEST {
            self.items.insert(key.to_vec(), value.to_vec());
        }
        if refused { Err(Refused::because("the value is too long").into()) } else { Ok(()) }
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut text = Vec::new();
        for (key, value) in &self.items {
            text.extend_from_slice(&[key, &b" "[..], value, b"\n"].concat());
        }
        let mut file = File::create(self.dir.join("items.new"))?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(self.dir.join("items.new"), self.dir.join("items"))?;
        if SYNC { Ok(File::open(&self.dir)?.sync_all()?) } else { Ok(()) }
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

impl<const HONEST: bool, const SYNC: bool> Drop for Picky<HONEST, SYNC> {
    fn drop(&mut self) {
        self.sync().expect("no fault is injected");
    }
}

fn report(check: fn()) -> String {
    let payload = std::panic::catch_unwind(check).expect_err("it breaks a promise");
    payload.downcast_ref::<String>().expect("a report").clone()
}

#[test]
fn a_store_that_refuses_half_of_the_puts_passes() {
    crashpoint::check_store::<Picky<true, true>>();
}

#[test]
fn ops_that_are_not_refused_are_still_checked() {
    let report = report(crashpoint::check_store::<Picky<true, false>>);
    assert!(report.contains("lost a write that had been acknowledged"), "{report}");
}

#[test]
fn a_refused_put_that_shows_anyway_is_found() {
    let report = report(crashpoint::check_store::<Picky<false, true>>);
    assert!(report.contains("FAIL picky-and-lying on posix"), "{report}");
}
