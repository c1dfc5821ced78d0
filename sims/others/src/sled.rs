//! [sled](https://docs.rs/sled): puts go to its cache, `sync` is its flush.

use std::path::Path;
use std::time::Duration;

use crashpoint::{Bytes, Error, Store};
use sled::{Db, IVec};

/// Its thread pool releases a dropped store some time later, and refuses an open until then: on
/// tmpfs, without the harness, 1 in 3,000 opens right after a drop.
pub(crate) struct Sled(Db);

fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

impl Store for Sled {
    const NAME: &'static str = "sled";
    // Its thread pool belongs to the process.
    const THREADS_MAY_STAY: bool = true;
    // It writes its `conf` in place with two calls, and reports a file of 58 of the 62 bytes as
    // "corrupted".
    const CREATED_APART: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        let store = dir.join("store.sled");
        // A kill during the write of a snapshot leaves a file that no later open can read: sled
        // ignores names that end in `.in___motion`, but this one ends in `.generating` (0.34.7,
        // src/config.rs, line 838; src/pagecache/snapshot.rs, line 532).
        for entry in store.read_dir().into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "generating") {
                std::fs::remove_file(path)?;
            }
        }
        loop {
            match sled::open(&store) {
                Err(error) if is_held(&error) => std::thread::sleep(Duration::from_millis(10)),
                opened => return Ok(Self(opened?)),
            }
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.remove(key)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.0.flush()?;
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let item = |item: sled::Result<(IVec, IVec)>| {
            let (key, value) = item?;
            Ok((key.to_vec(), value.to_vec()))
        };
        self.0.iter().map(item).collect()
    }
}
