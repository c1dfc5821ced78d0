//! Where a store lives: its directory, the log and the snapshot in it, and the one name beside
//! each under which a new file is written before it takes the name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::AofError;

/// One file that is only ever replaced as a whole.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    dir: PathBuf,
    temp: PathBuf,
}

impl Place {
    /// The names that go with a path.
    ///
    /// # Errors
    /// `Format` if the path has no parent or no file name.
    pub(super) fn of(path: &Path) -> Result<Self, AofError> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(AofError::Format(format!("{} is no path of a file", path.display())));
        };
        // A bare file name has the empty path as its parent, which no call accepts.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        // The name is fixed, so that what an interrupted write left can be told from the files of
        // others. There is one writer, so it is enough.
        let mut temp = OsString::from(".tmp-");
        temp.push(name);
        Ok(Self { path: path.to_owned(), temp: dir.join(temp), dir: dir.to_owned() })
    }

    /// All bytes of the file; `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, AofError> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_symlink() => {
                let shown = self.path.display();
                let what = "is a symbolic link; the file is replaced by renaming, which would \
                            replace the link";
                return Err(AofError::Format(format!("{shown} {what}")));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        fs::read(&self.path).map(Some).map_err(|error| self.failed("read", error))
    }

    /// Removes what an interrupted write left.
    pub(super) fn sweep(&self) -> Result<(), AofError> {
        match fs::remove_file(&self.temp) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("sweep", error)),
            _ => Ok(()),
        }
    }

    /// Makes a new file beside the one that is there, to append to.
    pub(super) fn create_temp(&self) -> Result<File, AofError> {
        self.sweep()?;
        let created = File::options().append(true).create_new(true).open(&self.temp);
        created.map_err(|error| self.failed("replace", error))
    }

    /// Gives the new file the name.
    pub(super) fn rename_temp(&self) -> Result<(), AofError> {
        fs::rename(&self.temp, &self.path).map_err(|error| self.failed("replace", error))
    }

    /// Makes the name durable.
    pub(super) fn sync_dir(&self) -> Result<(), AofError> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| self.failed("sync the directory of", error))
    }

    fn failed(&self, what: &str, error: io::Error) -> AofError {
        AofError::Io { what: format!("cannot {what} {}", self.path.display()), source: error }
    }
}
