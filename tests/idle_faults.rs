//! A case that passes because its fault hits no call has tested nothing: that is an error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crashpoint::{Error, KeyValue, Store, check_case, sim};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// A log that is written and synced once for each put.
struct Plain(File, Items);

impl Store for Plain {
    fn open(dir: &Path) -> Result<Self, Error> {
        let log = OpenOptions::new().append(true).create(true).open(dir.join("log"))?;
        File::open(dir)?.sync_all()?;
        let text = std::fs::read_to_string(dir.join("log"))?;
        let items = text.lines().filter_map(|line| line.split_once(' '));
        let items = items.map(|(key, value)| (key.into(), value.into()));
        Ok(Self(log, items.collect()))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.write_all(&[key, b" ", value, b"\n"].concat())?;
        self.0.sync_all()?;
        self.1.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.1.clone().into_iter().collect())
    }
}

fn check(lines: &str) -> Result<(), String> {
    let head = "crashpoint-case 2\nsim store\nprofile posix\nseed 0x1\nexpect pass\n";
    let entry = sim::<KeyValue<Plain>>();
    check_case(&entry, &format!("{head}{lines}")).map_err(|error| error.to_string())
}

#[test]
fn a_fault_that_hits_a_call_may_pass() {
    assert_eq!(check("fault EIO step=1 write=1\ndelete k\nput k v\n"), Ok(()));
    assert_eq!(check("fault slow step=1 write=1 ms=1000\ndelete k\nput k v\nput k v\n"), Ok(()));
}

#[test]
fn a_fault_that_hits_no_call_is_refused_with_its_line() {
    for (lines, line) in [
        ("fault EIO step=1 rename=1\nput k v\n", 6),
        ("fault EIO step=1 write=3\nput k v\n", 6),
        ("fault EIO step=1 write=1\nfault EIO step=1 rename=1\nput k v\n", 7),
        ("fault EROFS step=1 rename=1\nput k v\n", 6),
        // It comes after the crash.
        ("fault EIO step=2 sync=1\ndelete k\nput k v\ncrash process step=1 effect=0\n", 6),
    ] {
        let why = check(lines).expect_err("it hits nothing");
        assert!(why.contains(&format!("line {line}: this fault hits no call")), "{lines}{why}");
    }
}
