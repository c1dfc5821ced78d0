//! Where a log lives: its name, its directory, and the one name beside it under which a new file
//! is written before it takes the log's name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::SnapshotError;

/// A log's names.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    dir: PathBuf,
    temp: PathBuf,
}

impl Place {
    /// The names that go with a log's path.
    ///
    /// # Errors
    /// `InvalidFormat` if the path has no parent or no file name.
    pub(super) fn of(path: &Path) -> Result<Self, SnapshotError> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            let shown = path.display();
            return Err(SnapshotError::InvalidFormat(format!("path has no parent: {shown}")));
        };
        // A bare file name has the empty path as its parent, which no call accepts.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        // The name is fixed, so that what an interrupted compaction left can be told from the
        // files of others. There is one writer, so it is enough.
        let mut temp = OsString::from(".tmp-");
        temp.push(name);
        Ok(Self { path: path.to_owned(), temp: dir.join(temp), dir: dir.to_owned() })
    }

    /// Removes what an interrupted compaction left.
    pub(super) fn sweep(&self) -> io::Result<()> {
        match fs::remove_file(&self.temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a new file beside the log, to append to.
    pub(super) fn create_temp(&self) -> io::Result<File> {
        self.sweep()?;
        File::options().read(true).append(true).create_new(true).open(&self.temp)
    }

    /// Gives the new file the log's name.
    pub(super) fn rename_temp(&self) -> io::Result<()> {
        fs::rename(&self.temp, &self.path)
    }

    /// Makes the log's name durable.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
