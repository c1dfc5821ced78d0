//! A store's directory: the names in it, and how a file takes one of them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Bugs;

/// The checkpoint's name.
const CHECKPOINT: &str = "index.ckpt";
/// The suffix of a segment's name.
const SEGMENT: &str = ".fbat";
/// The suffix of the name under which the origin keeps a segment that it is merging.
const SOURCE: &str = ".fbat.compact-src";

/// A store's directory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
    bugs: Bugs,
}

impl Place {
    /// The directory, which is created if it does not exist.
    pub(super) fn make(dir: &Path, bugs: Bugs) -> io::Result<Self> {
        if !dir.is_dir() {
            fs::create_dir_all(dir).map_err(|error| named(dir, error))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { dir: dir.to_owned(), bugs })
    }

    pub(super) fn segment(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:06}{SEGMENT}"))
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.dir.join(CHECKPOINT)
    }

    /// The temporary file, next to a file, that its successor is written to.
    fn temp(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        PathBuf::from(name)
    }

    /// The numbers of the segments, in order. An interrupted compaction of the origin is undone: a
    /// segment that it moved away is complete, and the one that has its name since is not.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        let mut moved = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|error| named(&self.dir, error))? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if let Some(id) = name.strip_suffix(SOURCE).and_then(number) {
                moved.push(id);
            }
            found.extend(name.strip_suffix(SEGMENT).and_then(number));
        }
        if !self.bugs.source_moved_away && !moved.is_empty() {
            for id in &moved {
                fs::rename(self.moved_away(*id), self.segment(*id))?;
            }
            self.sync()?;
            found.append(&mut moved);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The path at which the origin keeps a segment that it is merging.
    pub(super) fn moved_away(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:06}{SOURCE}"))
    }

    /// Removes all temporary files, as far as it can.
    pub(super) fn sweep(&self) {
        let left = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in left.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")) {
            // One that stays is removed before its name is needed.
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Creates the temporary file of `path`, empty.
    pub(super) fn create_temp(&self, path: &Path) -> io::Result<File> {
        let temp = Self::temp(path);
        remove(&temp)?;
        File::options().read(true).append(true).create_new(true).open(temp)
    }

    /// Removes the temporary file of `path`.
    pub(super) fn remove_temp(&self, path: &Path) {
        let _ = remove(&Self::temp(path));
    }

    /// Renames the temporary file of `path` to `path`.
    pub(super) fn rename(&self, path: &Path) -> io::Result<()> {
        fs::rename(Self::temp(path), path)
    }

    /// Makes the directory's entries durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.bugs.directory_not_synced {
            return Ok(());
        }
        File::open(&self.dir)?.sync_all()
    }
}

/// Adds a file's path to the error of a call.
pub(super) fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes a file if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A segment's number, written as the origin writes it.
fn number(name: &str) -> Option<u64> {
    let id: u64 = name.parse().ok()?;
    (name == format!("{id:06}")).then_some(id)
}
