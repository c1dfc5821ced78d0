//! The command over engines that nobody here wrote, as they are built by Debian or in their crates.
//!
//! Each engine is a key-value store behind a small adapter. Where an engine's documentation makes a
//! promise only for some disks, its sim lists these. `corpus/` has what was found in the others.

#[cfg(berkeley)]
mod berkeley;
mod c;
#[cfg(gdbm)]
mod gdbm;
#[cfg(lmdb)]
mod lmdb;
#[cfg(any(leveldb, rocksdb))]
mod lsm;
mod redb;
mod sled;
#[cfg(sqlite)]
mod sqlite;

use std::path::PathBuf;
use std::process::ExitCode;

use crashpoint::{Entry, KeyValue, Registry, Store, sim};

fn store<S: Store>() -> Entry {
    sim::<KeyValue<S>>()
}

fn registry() -> Registry {
    let mut sims = vec![store::<redb::Redb>(), store::<sled::Sled>()];
    #[cfg(leveldb)]
    sims.push(store::<lsm::Lsm<lsm::LevelDb>>());
    #[cfg(rocksdb)]
    sims.push(store::<lsm::Lsm<lsm::RocksDb>>());
    #[cfg(lmdb)]
    sims.extend(lmdb::sims());
    #[cfg(sqlite)]
    sims.extend(sqlite::sims());
    #[cfg(gdbm)]
    sims.extend(gdbm::sims());
    #[cfg(berkeley)]
    sims.extend(berkeley::sims());
    let corpus = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    Registry { sims, canary: None, corpus }
}

#[expect(clippy::print_stderr, reason = "a reader of the table should know what is not in it")]
fn main() -> ExitCode {
    for package in env!("OTHERS_SKIPPED").split_whitespace() {
        eprintln!("skipped: {package} was not installed when this was built");
    }
    crashpoint::main(&registry())
}
