//! The paths of a log: its file, its directory, and the one temporary file next to it that a new
//! log is written to before it takes the log's name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::SnapshotError;

/// A log's paths.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    dir: PathBuf,
    temp: PathBuf,
}

impl Place {
    /// The paths that go with a log's.
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
        // The name is fixed, so that the file of an interrupted compaction can be distinguished
        // from foreign files. There is one writer, so one name is enough.
        let mut temp = OsString::from(".tmp-");
        temp.push(name);
        Ok(Self { path: path.to_owned(), temp: dir.join(temp), dir: dir.to_owned() })
    }

    /// Removes the file of an interrupted compaction.
    pub(super) fn sweep(&self) -> io::Result<()> {
        match fs::remove_file(&self.temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates a new file next to the log, to append to.
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
