//! The paths of a file that is only replaced as a whole: the file, its directory, and the one
//! temporary file next to it that a new one is written to before it takes the name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::AofError;

/// The paths of one file that is only ever replaced as a whole.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    dir: PathBuf,
    temp: PathBuf,
}

impl Place {
    /// The paths that go with a file's.
    ///
    /// # Errors
    /// `Format` if the path has no parent or no file name.
    pub(super) fn of(path: &Path) -> Result<Self, AofError> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(AofError::Format(format!("{} is not a file's path", path.display())));
        };
        // A bare file name has the empty path as its parent, which no call accepts.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        // The name is fixed, so that the file of an interrupted write can be distinguished from
        // foreign files. There is one writer, so one name is enough.
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

    /// Removes the file of an interrupted write.
    pub(super) fn sweep(&self) -> Result<(), AofError> {
        match fs::remove_file(&self.temp) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("sweep", error)),
            _ => Ok(()),
        }
    }

    /// Creates a new file next to the current one, to append to.
    pub(super) fn create_temp(&self) -> Result<File, AofError> {
        self.sweep()?;
        let created = File::options().append(true).create_new(true).open(&self.temp);
        created.map_err(|error| self.failed("replace", error))
    }

    /// Renames the new file over the current one.
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
