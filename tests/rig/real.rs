//! The calls of a litmus program, carried out on a mounted file system, and the state of one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crashpoint::inner::litmus::{Descriptors, Op, runs};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT,
    XattrFlags,
};
use rustix::io::Errno;

/// The name of the file that nudges sync. It is no part of a state.
pub(crate) const UNRELATED: &str = ".unrelated";

pub(crate) struct Caller {
    root: PathBuf,
    descriptors: Descriptors<File>,
}

type Outcome = Result<(), Errno>;

fn plain(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl Caller {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, descriptors: Descriptors::default() }
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    pub(crate) fn call(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Mkdir(path) => std::fs::create_dir(self.at(path)).map_err(plain),
            Op::Rmdir(path) => std::fs::remove_dir(self.at(path)).map_err(plain),
            Op::Unlink(path) => std::fs::remove_file(self.at(path)).map_err(plain),
            Op::Rename(old, new) => {
                let is_one = self.ino(old) == self.ino(new);
                std::fs::rename(self.at(old), self.at(new)).map_err(plain)?;
                if !is_one {
                    drop(self.descriptors.rename(old, new));
                }
                Ok(())
            }
            Op::Exchange(one, other) => {
                let (first, second) = (self.at(one), self.at(other));
                rustix::fs::renameat_with(CWD, first, CWD, second, RenameFlags::EXCHANGE)?;
                self.descriptors.exchange(one, other);
                Ok(())
            }
            Op::Link(old, new) if Descriptors::<File>::is_handle(old) => {
                let file = self.descriptors.get(old).ok_or(Errno::BADF)?;
                rustix::fs::linkat(file, c"", CWD, self.at(new), AtFlags::EMPTY_PATH)
            }
            Op::Link(old, new) => std::fs::hard_link(self.at(old), self.at(new)).map_err(plain),
            Op::Symlink { target, path } => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), self.at(path)).map_err(plain)
            }
            Op::Sync => {
                let root = File::open(&self.root).map_err(plain)?;
                rustix::fs::syncfs(&root)
            }
            Op::Mark(_) => Ok(()),
            _ => self.call_on_file(op),
        }
    }

    fn call_on_file(&mut self, op: &Op) -> Outcome {
        const CREATE: OFlags = OFlags::RDWR.union(OFlags::CREATE);
        match op {
            Op::Creat(path) => self.open(path, path, CREATE | OFlags::EXCL).map(drop),
            Op::OpenTrunc(path) => self.open(path, path, CREATE | OFlags::TRUNC).map(drop),
            Op::Open { path, handle } => self.open(path, handle, OFlags::RDWR).map(drop),
            Op::Tmpfile { path, handle } => {
                self.open(path, handle, OFlags::TMPFILE | OFlags::RDWR).map(drop)
            }
            Op::Close(path) => {
                self.file(path)?;
                drop(self.descriptors.take(path));
                Ok(())
            }
            Op::Fsync(path) => self.file(path)?.sync_all().map_err(plain),
            Op::Fdatasync(path) => self.file(path)?.sync_data().map_err(plain),
            Op::SetAttribute { path, name, value } => {
                let name = OsStr::from_bytes(name);
                rustix::fs::fsetxattr(self.file(path)?, name, value, XattrFlags::empty())
            }
            Op::RemoveAttribute { path, name } => {
                rustix::fs::fremovexattr(self.file(path)?, OsStr::from_bytes(name))
            }
            Op::Times { path, seconds } => {
                let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let modified = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: 0 };
                let times = Timestamps { last_access: omitted, last_modification: modified };
                rustix::fs::futimens(self.file(path)?, &times)
            }
            Op::Write { path, offset, length, fill } => {
                let bytes = vec![*fill; *length as usize];
                self.file_or_new(path)?.write_all_at(&bytes, *offset).map_err(plain)
            }
            Op::Append { path, length, fill } => {
                let file = self.file_or_new(path)?;
                let end = file.metadata().map_err(plain)?.len();
                file.write_all_at(&vec![*fill; *length as usize], end).map_err(plain)
            }
            Op::Truncate { path, size } => self.file(path)?.set_len(*size).map_err(plain),
            Op::Allocate { path, offset, length, mode } => {
                let flags = FallocateFlags::from_bits_retain(mode.flags().cast_unsigned());
                rustix::fs::fallocate(self.file_or_new(path)?, flags, *offset, *length)
            }
            // Maps are not drawn.
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn ino(&self, path: &[u8]) -> Option<u64> {
        std::fs::metadata(self.at(path)).ok().map(|metadata| metadata.ino())
    }

    fn file(&mut self, word: &[u8]) -> Result<&File, Errno> {
        if !Descriptors::<File>::is_handle(word) {
            let there = self.ino(word);
            let kept = self.descriptors.get(word).map(|file| file.metadata());
            let kept = kept.transpose().map_err(plain)?.map(|metadata| metadata.ino());
            if kept.is_none() || there.is_some() && there != kept {
                self.open(word, word, OFlags::RDWR)?;
            }
        }
        self.descriptors.get(word).ok_or(Errno::BADF)
    }

    fn file_or_new(&mut self, word: &[u8]) -> Result<&File, Errno> {
        if !Descriptors::<File>::is_handle(word) && self.ino(word).is_none() {
            self.open(word, word, OFlags::RDWR | OFlags::CREATE)?;
        }
        self.file(word)
    }

    fn open(&mut self, path: &[u8], word: &[u8], flags: OFlags) -> Outcome {
        let path = self.at(path);
        let file = match rustix::fs::open(&path, flags, Mode::from_raw_mode(0o644)) {
            Err(Errno::ISDIR) if flags == OFlags::RDWR => {
                rustix::fs::open(&path, OFlags::RDONLY, Mode::empty())
            }
            opened => opened,
        }?;
        drop(self.descriptors.keep(word, file.into()));
        Ok(())
    }
}

/// The lines of the state of a mounted file system.
pub(crate) fn state(root: &Path) -> std::io::Result<String> {
    let mut lines = Vec::new();
    describe(root, "", &mut lines)?;
    lines.sort();
    Ok(lines.join("; "))
}

fn describe(folder: &Path, above: &str, lines: &mut Vec<String>) -> std::io::Result<()> {
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        entries.insert(entry.file_name(), entry.path());
    }
    for (name, path) in entries {
        let name = name.to_string_lossy();
        if above.is_empty() && (name == UNRELATED || name == "lost+found") {
            continue;
        }
        let line = format!("{above}{name}");
        let kind = std::fs::symlink_metadata(&path)?.file_type();
        if kind.is_symlink() {
            lines.push(format!("{line}->{}", std::fs::read_link(&path)?.display()));
            continue;
        }
        let mut value = [0; 256];
        if let Ok(length) = rustix::fs::getxattr(&path, c"user.a", &mut value) {
            lines.push(format!("{line}@user.a={}", runs(&value[..length])));
        }
        if kind.is_dir() {
            lines.push(format!("{line}/"));
            describe(&path, &format!("{line}/"), lines)?;
        } else {
            lines.push(format!("{line}={}", runs(&std::fs::read(&path)?)));
        }
    }
    Ok(())
}
