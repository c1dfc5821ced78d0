//! Writes, recovers and removes the files of a generation.

use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Items;
use crate::engines::toy::{Op, Replay, apply, encode, replay};

/// The log of the current generation.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    generation: u64,
    len: u64,
}

impl Log {
    pub(super) fn append<'a>(&mut self, batches: impl Iterator<Item = &'a [Op]>) -> io::Result<()> {
        let mut records = Vec::new();
        for batch in batches {
            encode(&mut records, batch, None);
        }
        self.len += records.len() as u64;
        self.file.write_all(&records)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

/// A snapshot that is durable, but does not have its own name yet.
pub(super) struct Snapshot<'a> {
    dir: &'a Path,
    generation: u64,
}

/// Writes a snapshot aside.
pub(super) fn write_snapshot<'a>(
    dir: &'a Path,
    generation: u64,
    items: &Items,
) -> io::Result<Snapshot<'a>> {
    let all: Vec<Op> = items
        .iter()
        .map(|(key, value)| Op::Put { key: key.clone(), value: value.clone() })
        .collect();
    let mut records = Vec::new();
    encode(&mut records, &all, None);
    let file = create(&path(dir, "next", generation))?;
    (&file).write_all(&records)?;
    file.sync_all()?;
    Ok(Snapshot { dir, generation })
}

impl Snapshot<'_> {
    /// Gives the snapshot its name, and a log that begins with these changes.
    pub(super) fn become_current(self, since: &[Op]) -> io::Result<Log> {
        let Self { dir, generation } = self;
        let mut log = Log { file: create(&path(dir, "log", generation))?, generation, len: 0 };
        if !since.is_empty() {
            log.append([since].into_iter())?;
            log.sync()?;
        }
        sync_dir(dir)?;
        fs::rename(path(dir, "next", generation), path(dir, "snap", generation))?;
        sync_dir(dir)?;
        Ok(log)
    }
}

/// Reads the store in a directory without changing anything: its items, and the highest number of
/// a file. A number that is used again could, after a crash, resolve to the file that had it first.
pub(super) fn recover(dir: &Path) -> io::Result<(Items, u64)> {
    let files = numbered(dir)?;
    let highest = files.iter().map(|file| file.number).max().unwrap_or(0);
    let mut items = Items::new();
    let Some(current) = files.iter().filter(|file| file.kind == "snap").max_by_key(|f| f.number)
    else {
        return Ok((items, highest));
    };
    let snapshot = fs::read(path(dir, "snap", current.number))?;
    let Replay { ops, end } = replay(&snapshot, None);
    if end != snapshot.len() {
        return Err(Error::new(ErrorKind::InvalidData, "the snapshot is damaged"));
    }
    let log = fs::read(path(dir, "log", current.number))?;
    ops.iter().chain(&replay(&log, None).ops).for_each(|op| apply(&mut items, op));
    Ok((items, highest))
}

/// Removes the files of earlier generations. A file that cannot be removed is tried again later.
pub(super) fn remove_before(dir: &Path, generation: u64) {
    for file in numbered(dir).unwrap_or_default() {
        if file.number < generation {
            let _ = fs::remove_file(path(dir, &file.kind, file.number));
        }
    }
}

/// Does the same, but fails if one cannot be removed: only with a planted bug.
pub(super) fn remove_all_before(dir: &Path, generation: u64) -> io::Result<()> {
    for file in numbered(dir)?.iter().filter(|file| file.number < generation) {
        fs::remove_file(path(dir, &file.kind, file.number))?;
    }
    Ok(())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Numbered {
    number: u64,
    kind: String,
}

fn numbered(dir: &Path) -> io::Result<Vec<Numbered>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let file = name.to_str().and_then(|name| {
            let (kind, number) = name.split_once('-')?;
            let kind = ["log", "next", "snap"].contains(&kind).then(|| kind.to_owned())?;
            Some(Numbered { number: number.parse().ok()?, kind })
        });
        files.extend(file);
    }
    files.sort();
    Ok(files)
}

fn path(dir: &Path, kind: &str, generation: u64) -> PathBuf {
    dir.join(format!("{kind}-{generation}"))
}

fn create(path: &Path) -> io::Result<File> {
    File::options().append(true).create_new(true).open(path)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
