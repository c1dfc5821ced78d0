//! The store's folder is an entry of its parent: it has siblings, and can be renamed and removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crashpoint::{Error, KeyValue, Seed, Store, check_case, find, sim};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store that writes its items to a new folder aside and gives that the name of the old one,
/// which it then removes. A lock file next to the folder outlives both.
struct Aside<const SYNCS: bool> {
    dir: PathBuf,
    items: Items,
    _lock: File,
}

/// Removes a folder that may not exist.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(bytes: &[u8]) -> Items {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let pairs = lines.filter_map(|line| {
        let space = line.iter().position(|&byte| byte == b' ')?;
        Some((line[..space].to_vec(), line[space + 1..].to_vec()))
    });
    pairs.collect()
}

impl<const SYNCS: bool> Aside<SYNCS> {
    fn write(&self) -> Result<(), Error> {
        let (new, old) = (self.dir.with_extension("new"), self.dir.with_extension("old"));
        fs::create_dir(&new)?;
        let mut file = File::create(new.join("items"))?;
        for (key, value) in &self.items {
            file.write_all(&[key, &b" "[..], value, b"\n"].concat())?;
        }
        file.sync_all()?;
        File::open(&new)?.sync_all()?;
        fs::rename(&self.dir, &old)?;
        fs::rename(&new, &self.dir)?;
        if SYNCS {
            File::open(self.dir.join(".."))?.sync_all()?;
        }
        Ok(fs::remove_dir_all(old)?)
    }
}

impl<const SYNCS: bool> Store for Aside<SYNCS> {
    fn open(dir: &Path) -> Result<Self, Error> {
        let lock = File::create(dir.with_extension("lock"))?;
        lock.try_lock()?;
        let old = dir.with_extension("old");
        if !dir.exists() {
            if old.exists() { fs::rename(&old, dir)? } else { fs::create_dir(dir)? }
        }
        File::open(dir.parent().ok_or("no parent")?)?.sync_all()?;
        remove(&old)?;
        remove(&dir.with_extension("new"))?;
        let items = fs::read(dir.join("items")).unwrap_or_default();
        Ok(Self { dir: dir.to_owned(), items: read(&items), _lock: lock })
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
        self.write()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

#[test]
fn a_store_that_replaces_its_folder_and_syncs_the_parent_passes() {
    for profile in ["ext4", "xfs", "btrfs"] {
        let found = find(&sim::<KeyValue<Aside<true>>>(), profile, Seed(1), 4);
        assert_eq!(found.class, None, "{profile}: {}", found.report);
        assert!(found.states > 50, "{profile}: {} states", found.states);
    }
}

#[test]
fn a_store_that_replaces_its_folder_without_a_sync_of_the_parent_is_found() {
    let entry = sim::<KeyValue<Aside<false>>>();
    for profile in ["ext4", "xfs", "btrfs"] {
        let found = find(&entry, profile, Seed(1), 20);
        assert!(found.class.is_some(), "{profile}");
        assert!(found.report.contains("../store"), "{}", found.report);
        let replayed = check_case(&entry, &found.case);
        assert!(replayed.is_ok(), "{replayed:?}");
    }
}
