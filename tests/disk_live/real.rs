//! The real side of the comparison: a temporary directory of the host.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crashpoint::inner::disk::effect::Kind;
use rustix::fs::{
    self, Access, AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RawDir,
    RenameFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::{self, Errno};
use tempfile::TempDir;

use super::calls::{Base, Call, OnBytes, OnPath, OnPaths, OnSlot, Outcome, Slot, Slots};
use super::rarer::{Aligned, Rarer, at_real_path, at_real_slot, on_ext4, real_copy};

/// A real directory and the files open in it.
pub(crate) struct Real {
    open: Slots<OwnedFd>,
    here: OwnedFd,
    /// The path of the directory that corresponds to the root of the simulated disk.
    root: Vec<u8>,
    /// Whether `SEEK_DATA` and `SEEK_HOLE` can be compared: tmpfs may report reserved blocks as
    /// data, and so does ext4 once they have been read.
    shows_holes: bool,
    /// Whether directories are listed by the C library: a raw `getdents64` reaches no door.
    pub(crate) by_libc: bool,
    _dir: Option<TempDir>,
}

fn by_path(dir: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    fs::openat(dir, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
}

/// The path of an open file, as the kernel knows it.
fn path_of(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(fs::readlink(link, Vec::new())?.into_bytes())
}

/// A new directory of the host: on ext4 if the environment names a directory there, otherwise on a
/// tmpfs if the machine has a writable one at `/dev/shm`.
pub(crate) fn new_directory() -> std::io::Result<TempDir> {
    match on_ext4() {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
    }
}

impl Real {
    /// A new directory of the host, which is removed when this is dropped.
    pub(crate) fn new(depth: usize, dir: TempDir) -> Self {
        let real = Self::at(dir.path(), depth);
        Self { _dir: Some(dir), ..real }
    }

    /// An existing directory.
    pub(crate) fn at(path: &std::path::Path, depth: usize) -> Self {
        // The simulated disk leaves the umask to its caller, too.
        rustix::process::umask(Mode::empty());
        let mut here =
            fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("a dir");
        let root = path_of(&here).expect("a path");
        let kind = fs::fstatfs(&here).expect("a file system").f_type;
        let shows_holes = on_ext4().is_none() && kind != libc::TMPFS_MAGIC;
        for _ in 0..depth {
            fs::mkdirat(&here, "n", Mode::from_raw_mode(0o755)).expect("a new directory");
            here = by_path(std::os::fd::AsFd::as_fd(&here), b"n").expect("a directory");
        }
        Self { open: Slots(Vec::new()), here, root, shows_holes, by_libc: false, _dir: None }
    }

    /// Makes one call.
    pub(crate) fn call(&mut self, call: &Call) -> Outcome {
        let outcome = match call {
            Call::Path { base, path, what } => self.on_path(*base, path, what),
            Call::Paths { from, old, to, new, what } => {
                let (from, to) = (self.base(*from), self.base(*to));
                match what {
                    OnPaths::Rename { flags } => {
                        let flags = RenameFlags::from_bits_retain(*flags);
                        fs::renameat_with(from, &old[..], to, &new[..], flags)
                    }
                    OnPaths::Link { follow } => {
                        let flags =
                            if *follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
                        fs::linkat(from, &old[..], to, &new[..], flags)
                    }
                }
                .map(|()| Outcome::Done)
            }
            Call::Bytes { slot, what } => match self.open.index(*slot) {
                Some(index) if fails_halfway(&self.open.0[index], what) => Ok(Outcome::Skipped),
                Some(index) => self.on_bytes(&self.open.0[index], what),
                None => Ok(Outcome::Skipped),
            },
            Call::Slot { slot, what } => match self.open.index(*slot) {
                Some(index) => self.on_slot(index, what),
                None => Ok(Outcome::Skipped),
            },
            Call::Rarer(call) => return self.rarer(call),
        };
        outcome.unwrap_or_else(|errno| Outcome::Failed(errno.raw_os_error()))
    }

    fn rarer(&self, call: &Rarer) -> Outcome {
        let open = |slot: Slot| self.open.index(slot).map(|index| self.open.0[index].as_raw_fd());
        let outcome = match call {
            Rarer::Path { base, path, what } => {
                at_real_path(self.base(*base).as_raw_fd(), path, what)
            }
            Rarer::Slot { slot, what } => match open(*slot) {
                Some(fd) => at_real_slot(fd, what),
                None => Ok(Outcome::Skipped),
            },
            Rarer::Copy { from, to, what } => match (open(*from), open(*to)) {
                (Some(from), Some(to)) => real_copy(from, to, what),
                _ => Ok(Outcome::Skipped),
            },
        };
        outcome.unwrap_or_else(Outcome::Failed)
    }

    fn base(&self, base: Base) -> &OwnedFd {
        self.open.base(base).unwrap_or(&self.here)
    }

    /// The path of an open file as it would be on the simulated disk.
    fn shown(&self, fd: &OwnedFd) -> Result<Outcome, Errno> {
        let path = path_of(fd)?;
        let path = path.strip_prefix(&self.root[..]).expect("no path leads out of the directory");
        if path.ends_with(b" (deleted)") {
            return Err(Errno::NOENT);
        }
        Ok(Outcome::Bytes(path.to_vec()))
    }

    fn on_path(&mut self, base: Base, path: &[u8], what: &OnPath) -> Result<Outcome, Errno> {
        let dir = self.base(base);
        let follow = |follow| if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        match what {
            OnPath::Open { flags, mode } => {
                let (flags, mode) = (OFlags::from_bits_retain(flags.cast_unsigned()), *mode);
                let fd = fs::openat(dir, path, flags, Mode::from_raw_mode(mode))?;
                let shown = self.shown(&fd);
                self.open.0.push(fd);
                return Ok(shown.unwrap_or(Outcome::Done));
            }
            OnPath::Stat { follow: f } => return Ok(stat(fs::statat(dir, path, follow(*f))?)),
            OnPath::Readlink => {
                let target = fs::readlinkat(dir, path, Vec::new())?;
                // The C library cannot distinguish an empty path from the directory itself.
                return Ok(Outcome::Bytes(target.into_bytes()));
            }
            OnPath::RealPath => {
                return self.shown(&fs::openat(dir, path, OFlags::PATH, Mode::empty())?);
            }
            OnPath::Mkdir(mode) => fs::mkdirat(dir, path, Mode::from_raw_mode(*mode))?,
            OnPath::Rmdir => fs::unlinkat(dir, path, AtFlags::REMOVEDIR)?,
            OnPath::Unlink => fs::unlinkat(dir, path, AtFlags::empty())?,
            OnPath::Symlink { target } => fs::symlinkat(&target[..], dir, path)?,
            OnPath::Access(mode) => {
                let mode = Access::from_bits_retain(*mode);
                fs::accessat(dir, path, mode, AtFlags::empty())?;
            }
            OnPath::Chmod(mode) => {
                fs::chmodat(dir, path, Mode::from_raw_mode(*mode), AtFlags::empty())?;
            }
            OnPath::SetTimes { follow: f } => {
                fs::utimensat(dir, path, &times(false), follow(*f))?;
            }
            OnPath::LinkHandle(slot) => match self.open.index(*slot) {
                Some(index) => {
                    fs::linkat(&self.open.0[index], "", dir, path, AtFlags::EMPTY_PATH)?;
                }
                None => return Ok(Outcome::Skipped),
            },
        }
        Ok(Outcome::Done)
    }

    fn on_bytes(&self, fd: &OwnedFd, what: &OnBytes) -> Result<Outcome, Errno> {
        match what {
            OnBytes::Read { length } => {
                let mut bytes = Aligned::new(*length);
                let done = io::read(fd, bytes.bytes())?;
                return Ok(Outcome::Bytes(bytes.bytes()[..done].to_vec()));
            }
            OnBytes::ReadAt { length, offset } => {
                let mut bytes = Aligned::new(*length);
                let done = io::pread(fd, bytes.bytes(), offset.cast_unsigned())?;
                return Ok(Outcome::Bytes(bytes.bytes()[..done].to_vec()));
            }
            OnBytes::Write { bytes } => {
                let done = io::write(fd, Aligned::of(bytes).bytes())?;
                return Ok(Outcome::Number(done as u64));
            }
            OnBytes::WriteAt { bytes, offset } => {
                let done = io::pwrite(fd, Aligned::of(bytes).bytes(), offset.cast_unsigned())?;
                return Ok(Outcome::Number(done as u64));
            }
            OnBytes::Seek { whence: libc::SEEK_DATA | libc::SEEK_HOLE, .. }
                if !self.shows_holes =>
            {
                return Ok(Outcome::Skipped);
            }
            // The meaning of a directory's offset differs between file systems.
            OnBytes::Seek { .. } if kind(fs::fstat(fd)?.st_mode) == Kind::Directory => {
                return Ok(Outcome::Skipped);
            }
            OnBytes::Seek { offset, whence } => {
                let to = match *whence {
                    libc::SEEK_SET => SeekFrom::Start(offset.cast_unsigned()),
                    libc::SEEK_CUR => SeekFrom::Current(*offset),
                    libc::SEEK_END => SeekFrom::End(*offset),
                    libc::SEEK_DATA => SeekFrom::Data(offset.cast_unsigned()),
                    _ => SeekFrom::Hole(offset.cast_unsigned()),
                };
                return Ok(Outcome::Number(fs::seek(fd, to)?));
            }
            OnBytes::Truncate { size } => fs::ftruncate(fd, size.cast_unsigned())?,
            OnBytes::Allocate { mode, offset, length } => {
                let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
                fs::fallocate(fd, mode, offset.cast_unsigned(), length.cast_unsigned())?;
            }
        }
        Ok(Outcome::Done)
    }

    fn on_slot(&mut self, index: usize, what: &OnSlot) -> Result<Outcome, Errno> {
        let fd = &self.open.0[index];
        match what {
            OnSlot::Close => drop(self.open.0.remove(index)),
            OnSlot::Dup => {
                let fd = io::dup(fd)?;
                self.open.0.push(fd);
            }
            OnSlot::Stat => return Ok(stat(fs::fstat(fd)?)),
            OnSlot::List if self.by_libc => return list_by_libc(fd),
            OnSlot::List => return list(fd),
            OnSlot::Flags => {
                let flags = fs::fcntl_getfl(fd)?;
                return Ok(Outcome::Number(u64::from(flags.bits())));
            }
            OnSlot::SetFlags(flags) => {
                fs::fcntl_setfl(fd, OFlags::from_bits_retain(flags.cast_unsigned()))?;
            }
            OnSlot::Chmod(mode) => fs::fchmod(fd, Mode::from_raw_mode(*mode))?,
            OnSlot::SetTimes { omit } => fs::futimens(fd, &times(*omit))?,
            OnSlot::Flock(op) => fs::flock(
                fd,
                match op & !libc::LOCK_NB {
                    libc::LOCK_SH => FlockOperation::NonBlockingLockShared,
                    libc::LOCK_EX => FlockOperation::NonBlockingLockExclusive,
                    _ => FlockOperation::Unlock,
                },
            )?,
        }
        Ok(Outcome::Done)
    }
}

fn list(fd: &OwnedFd) -> Result<Outcome, Errno> {
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = BTreeMap::new();
    let mut dir = RawDir::new(fd, &mut space);
    while let Some(entry) = dir.next() {
        let entry = entry?;
        entries.insert(entry.file_name().to_bytes().to_vec(), kind_of(entry.file_type()));
    }
    // The offset at the end differs between file systems.
    fs::seek(fd, SeekFrom::Start(0))?;
    Ok(Outcome::Listed(entries))
}

fn list_by_libc(fd: &OwnedFd) -> Result<Outcome, Errno> {
    let mut entries = BTreeMap::new();
    for entry in fs::Dir::read_from(fd)? {
        let entry = entry?;
        entries.insert(entry.file_name().to_bytes().to_vec(), kind_of(entry.file_type()));
    }
    Ok(Outcome::Listed(entries))
}

fn times(omit: bool) -> Timestamps {
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let one = Timespec { tv_sec: 0, tv_nsec: 1 };
    Timestamps { last_access: if omit { omitted } else { one }, last_modification: omitted }
}

fn kind(mode: u32) -> Kind {
    kind_of(FileType::from_raw_mode(mode))
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::File,
    }
}

fn stat(stat: fs::Stat) -> Outcome {
    let kind = kind(stat.st_mode);
    Outcome::Stat {
        kind,
        mode: stat.st_mode,
        nlink: stat.st_nlink,
        size: (kind != Kind::Directory).then_some(stat.st_size.cast_unsigned()),
    }
}

/// Whether the call is a direct write whose end is not aligned: ext4 fails it with `EINVAL` when it
/// gets there, and has by then overwritten the blocks before. The simulated disk fails it at once.
fn fails_halfway(file: &impl AsFd, what: &OnBytes) -> bool {
    let (OnBytes::Write { bytes } | OnBytes::WriteAt { bytes, .. }) = what else { return false };
    let direct = fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
    direct && bytes.len() > 512 && !bytes.len().is_multiple_of(512)
}
