//! Event stores in temporary directories, and their contents as text.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sims::engines::checkpoint::{Config, NewEvent, Store};
use tempfile::TempDir;

/// A directory, and a store's path in it.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    (dir, path)
}

/// The configuration of a store that reads only its frames.
pub(crate) fn plain() -> Config {
    Config { checkpoint: false, footers: false, ..Config::default() }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, Config::default()).expect("opens")
}

/// The event with this number; its id is one higher.
pub(crate) fn numbered(number: u128) -> NewEvent {
    let payload = format!("event {number}");
    let entity = format!("entity {}", number % 3);
    // At the end of a frame, this scope can be mistaken for the end of a footer.
    let scope = if number.is_multiple_of(2) { "SIDX" } else { "scope" };
    NewEvent::new(&entity, scope, payload.as_str()).expect("encodes").with_id(number + 1)
}

pub(crate) fn fill(store: &mut Store, numbers: Range<u128>) {
    for number in numbers {
        store.append(&numbered(number)).expect("appends");
    }
}

/// All events of the store at `path`, a line for each.
pub(crate) fn dump(path: &Path, config: Config) -> Vec<String> {
    let mut store = Store::open(path, config).expect("opens");
    events(&mut store)
}

/// All events of an open store, a line for each.
pub(crate) fn events(store: &mut Store) -> Vec<String> {
    let row = |(entry, entity, scope): (&sims::engines::checkpoint::Entry, &str, &str)| {
        (entry.id, format!("{entry:?} {entity} {scope}"))
    };
    let rows: Vec<(u128, String)> = store.entries().map(row).collect();
    let mut lines = Vec::new();
    for (id, line) in rows {
        let event = store.get(id).expect("reads");
        store.verify(&event.entity).expect("is a chain");
        lines.push(format!("{line} {} {:?}", event.timestamp_us, event.payload));
    }
    lines
}

/// The names in the store's directory.
pub(crate) fn files(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("store")).expect("lists");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("an entry").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

pub(crate) fn segment(dir: &TempDir, id: u64) -> PathBuf {
    dir.path().join("store").join(format!("{id:06}.fbat"))
}
