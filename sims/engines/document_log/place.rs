//! The paths of a log: its file, its directory, its snapshot, its temporary files and its backups.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::LogError;

/// The folder next to a log in which older snapshots are kept.
const BACKUPS: &str = "backup";

/// The number of older snapshots that are kept.
const BACKUPS_KEPT: usize = 4;

/// A log's paths.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) snapshot: PathBuf,
    dir: PathBuf,
    name: OsString,
}

/// The temporary files to which a new log is written before it takes the log's name. Each has one
/// writer at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TempLog {
    /// For a compaction, while the log is written to.
    Compaction,
    /// For the replacement of a log that nothing may be appended to.
    Renewal,
}

impl TempLog {
    /// The other file.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Compaction => Self::Renewal,
            Self::Renewal => Self::Compaction,
        }
    }
}

impl Place {
    /// The paths that go with a log's.
    ///
    /// # Errors
    /// `Invalid` if the path has no parent or no file name.
    pub(super) fn of(path: &Path) -> Result<Self, LogError> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(LogError::Invalid(format!("a log needs a name: {}", path.display())));
        };
        // A bare file name has the empty path as its parent, which no call accepts.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let name = name.to_owned();
        let snapshot = dir.join(with(&name, ".snapshot.bin"));
        Ok(Self { path: path.to_owned(), snapshot, dir: dir.to_owned(), name })
    }

    fn temp_path(&self, temp: TempLog) -> PathBuf {
        self.dir.join(with(
            &self.name,
            match temp {
                TempLog::Compaction => ".tmp",
                TempLog::Renewal => ".new.tmp",
            },
        ))
    }

    fn snapshot_temp(&self) -> PathBuf {
        self.dir.join(with(&self.name, ".snapshot.bin.tmp"))
    }

    /// Creates a temporary file, in the place of one that an interrupted call left.
    pub(super) fn create(&self, temp: TempLog) -> io::Result<File> {
        create(&self.temp_path(temp))
    }

    /// Removes a temporary file.
    pub(super) fn remove(&self, temp: TempLog) -> io::Result<()> {
        remove(&self.temp_path(temp))
    }

    /// Renames a temporary file to the log's name.
    pub(super) fn install(&self, temp: TempLog) -> io::Result<()> {
        fs::rename(self.temp_path(temp), &self.path)
    }

    /// Makes names durable.
    pub(super) fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// Creates the temporary file of a snapshot.
    pub(super) fn create_snapshot(&self) -> io::Result<File> {
        create(&self.snapshot_temp())
    }

    /// Renames a new snapshot over the old one, which is kept among the backups.
    pub(super) fn install_snapshot(&self) -> io::Result<()> {
        self.back_up()?;
        fs::rename(self.snapshot_temp(), &self.snapshot)
    }

    /// Removes the temporary file of an interrupted snapshot.
    pub(super) fn remove_snapshot_temp(&self) -> io::Result<()> {
        remove(&self.snapshot_temp())
    }

    /// Links the snapshot under a name with the current second. It also keeps its own name until
    /// the next one takes it, and two of one second get different names.
    fn back_up(&self) -> io::Result<()> {
        if !fs::exists(&self.snapshot)? {
            return Ok(());
        }
        let second = now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let folder = self.dir.join(BACKUPS);
        fs::create_dir_all(&folder)?;
        let mut backups = self.backups(&folder)?;
        // Above all counts of this second, even of removed backups: names sort by age.
        let of_second = backups.iter().rev().find(|((other, _), _)| *other == second);
        let first = of_second.map_or(0, |((_, count), _)| count + 1);
        for count in first.. {
            let more = if count == 0 { String::new() } else { format!("-{count}") };
            let name = with(&self.name, &format!(".snapshot.bin.{second}{more}.bak"));
            match fs::hard_link(&self.snapshot, folder.join(&name)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    backups.push(((second, count), name));
                    break;
                }
            }
        }
        let too_many = backups.len().saturating_sub(BACKUPS_KEPT);
        backups.iter().take(too_many).try_for_each(|(_, name)| remove(&folder.join(name)))?;
        File::open(&folder)?.sync_all()
    }

    /// The backups of this log, the oldest first, each with its second and count.
    fn backups(&self, folder: &Path) -> io::Result<Vec<((u64, u32), OsString)>> {
        let prefix = with(&self.name, ".snapshot.bin.");
        let mut backups = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            backups.extend(age(&name, &prefix).map(|age| (age, name)));
        }
        backups.sort();
        Ok(backups)
    }
}

#[expect(clippy::disallowed_methods, reason = "backups are named by the second")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Second and count in the name of a backup of this log; the smaller, the older.
fn age(name: &OsStr, prefix: &OsStr) -> Option<(u64, u32)> {
    let rest = name.to_str()?.strip_prefix(prefix.to_str()?)?.strip_suffix(".bak")?;
    match rest.split_once('-') {
        None => Some((rest.parse().ok()?, 0)),
        Some((second, count)) => Some((second.parse().ok()?, count.parse().ok()?)),
    }
}

fn with(name: &OsString, more: &str) -> OsString {
    let mut name = name.clone();
    name.push(more);
    name
}

fn create(path: &Path) -> io::Result<File> {
    remove(path)?;
    File::options().read(true).append(true).create_new(true).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
