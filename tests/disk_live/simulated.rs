//! The simulated side of the comparison.

use crashpoint::Time;
use crashpoint::inner::disk::attributes::Subject;
use crashpoint::inner::disk::copy::Transfer;
use crashpoint::inner::disk::effect::Kind;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::disk::{Disk, Errno, Handle, Ino, Stat};

use crate::calls::{Base, Call, OnBytes, OnPath, OnPaths, OnSlot, Outcome, Slot, Slots};
use crate::rarer::{AtPath, AtSlot, Copy, OnAttribute, Rarer, names};

/// A simulated disk, the files open on it, and its working directory.
pub(crate) struct Simulated {
    disk: Disk,
    open: Slots<Handle>,
    here: Ino,
}

impl Simulated {
    pub(crate) fn new(mut disk: Disk, depth: usize) -> Self {
        let mut here = Ino::ROOT;
        for _ in 0..depth {
            disk.mkdir(here, b"n", 0o755).expect("a new directory");
            here = disk.directory(here, b"n").expect("a directory");
        }
        Self { disk, open: Slots(Vec::new()), here }
    }

    /// Makes one call.
    pub(crate) fn call(&mut self, call: &Call) -> Outcome {
        let outcome = match call {
            Call::Path { base, path, what } => self.on_path(self.base(*base), path, what),
            Call::Paths { from, old, to, new, what } => {
                let (from, to) = (self.base(*from), self.base(*to));
                match what {
                    OnPaths::Rename { flags } => self.disk.rename(from, old, to, new, *flags),
                    OnPaths::Link { follow } => self.disk.link(from, old, to, new, *follow),
                }
                .map(|()| Outcome::Done)
            }
            Call::Bytes { slot, what } => match self.open.index(*slot) {
                Some(index) => self.on_bytes(self.open.0[index], what),
                None => Ok(Outcome::Skipped),
            },
            Call::Slot { slot, what } => match self.open.index(*slot) {
                Some(index) => self.on_slot(index, what),
                None => Ok(Outcome::Skipped),
            },
            Call::Rarer(call) => self.rarer(call),
        };
        outcome.unwrap_or_else(|errno| Outcome::Failed(errno.0))
    }

    fn rarer(&mut self, call: &Rarer) -> Result<Outcome, Errno> {
        let open = |slot: Slot| self.open.index(slot).map(|index| self.open.0[index]);
        match call {
            Rarer::Path { base, path, what } => {
                let base = self.base(*base);
                match what {
                    AtPath::Attribute { follow, what } => {
                        return self.on_attribute(Subject::Path(base, path, *follow), what);
                    }
                    AtPath::MakeNode(mode) => match mode & libc::S_IFMT {
                        0 | libc::S_IFREG => self.disk.make_file(base, path, mode & 0o7777)?,
                        _ => return Ok(Outcome::Skipped),
                    },
                    AtPath::Access { mode, .. } => self.disk.access(base, path, *mode)?,
                    AtPath::SetTimes { .. } | AtPath::Statx { .. } => return Ok(Outcome::Skipped),
                }
            }
            Rarer::Slot { slot, what } => {
                let Some(h) = open(*slot) else { return Ok(Outcome::Skipped) };
                match what {
                    AtSlot::Attribute(what) => {
                        return self.on_attribute(Subject::Handle(h), what);
                    }
                    AtSlot::Advise { length, advice, .. } => {
                        self.disk.advise(h, *length, *advice)?;
                    }
                    AtSlot::ReadAhead { length } => self.disk.read_ahead(h, *length)?,
                    AtSlot::SyncRange { offset, length, flags } => {
                        self.disk.sync_range(h, *offset, *length, *flags)?;
                    }
                    _ => return Ok(Outcome::Skipped),
                }
            }
            Rarer::Copy { from, to, what } => {
                let (Some(from), Some(to)) = (open(*from), open(*to)) else {
                    return Ok(Outcome::Skipped);
                };
                return self.copy((from, what.from_at), (to, what.to_at), what);
            }
        }
        Ok(Outcome::Done)
    }

    fn copy(
        &mut self,
        (from, from_at): (Handle, Option<i64>),
        (to, to_at): (Handle, Option<i64>),
        what: &Copy,
    ) -> Result<Outcome, Errno> {
        let disk = &mut self.disk;
        let kind = if what.sends { Transfer::Sendfile } else { Transfer::CopyFileRange };
        let length = disk.length_to_copy(kind, (from, from_at), (to, to_at), what.length)?;
        let mut bytes = vec![0; length];
        let start = match from_at {
            Some(at) => at,
            None => disk.seek(from, 0, libc::SEEK_CUR)?.cast_signed(),
        };
        let read = disk.read_at(from, &mut bytes, start)?;
        let written = match to_at {
            _ if read == 0 => 0,
            Some(at) => disk.write_at(to, &bytes[..read], at)?,
            None => disk.write(to, &bytes[..read])?,
        };
        if from_at.is_none() && written > 0 {
            disk.seek(from, start + written as i64, libc::SEEK_SET)?;
        }
        Ok(Outcome::Number(written as u64))
    }

    fn on_attribute(&mut self, subject: Subject<'_>, what: &OnAttribute) -> Result<Outcome, Errno> {
        let disk = &mut self.disk;
        match what {
            OnAttribute::Set { name, value, flags } => {
                disk.set_attribute(subject, name.as_bytes(), value, *flags)?;
            }
            OnAttribute::Get { name, size } => {
                let value = disk.attribute(subject, name.as_bytes())?;
                return match *size {
                    0 => Ok(Outcome::Number(value.len() as u64)),
                    size if size < value.len() => Err(Errno::ERANGE),
                    _ => Ok(Outcome::Bytes(value)),
                };
            }
            OnAttribute::List => return Ok(names(&disk.attribute_names(subject)?)),
            OnAttribute::Remove { name } => disk.remove_attribute(subject, name.as_bytes())?,
        }
        Ok(Outcome::Done)
    }

    /// Closes everything and returns the tree.
    pub(crate) fn finish(mut self) -> Tree {
        for h in self.open.0.drain(..) {
            self.disk.close(h).expect("it is open");
        }
        assert_eq!(self.disk.open_count(), 0);
        self.disk.into_tree()
    }

    fn base(&self, base: Base) -> Ino {
        let open = self.open.base(base);
        open.map_or(self.here, |&h| self.disk.ino(h).expect("it is open"))
    }

    fn on_path(&mut self, base: Ino, path: &[u8], what: &OnPath) -> Result<Outcome, Errno> {
        let disk = &mut self.disk;
        match what {
            OnPath::Open { flags, mode } => {
                let h = disk.open(base, path, *flags, *mode)?;
                self.open.0.push(h);
                return Ok(match disk.opened_as(h)? {
                    path if path.is_empty() || path.ends_with(b" (deleted)") => Outcome::Done,
                    path => Outcome::Bytes(path.to_vec()),
                });
            }
            OnPath::Stat { follow } => return Ok(stat(disk.stat_path(base, path, *follow)?)),
            OnPath::Readlink => return Ok(Outcome::Bytes(disk.readlink(base, path)?)),
            OnPath::RealPath => return Ok(Outcome::Bytes(disk.real_path(base, path)?)),
            OnPath::Mkdir(mode) => disk.mkdir(base, path, *mode)?,
            OnPath::Rmdir => disk.rmdir(base, path)?,
            OnPath::Unlink => disk.unlink(base, path)?,
            OnPath::Symlink { target } => disk.symlink(target, base, path)?,
            OnPath::Access(mode) => disk.access(base, path, *mode)?,
            OnPath::Chmod(mode) => disk.chmod_path(base, path, *mode, true)?,
            OnPath::SetTimes { follow } => {
                disk.set_times_path(base, path, (Some(Time(1)), None), *follow)?;
            }
            OnPath::LinkHandle(slot) => match self.open.index(*slot) {
                Some(index) => disk.link_handle(self.open.0[index], base, path)?,
                None => return Ok(Outcome::Skipped),
            },
        }
        Ok(Outcome::Done)
    }

    fn on_bytes(&mut self, h: Handle, what: &OnBytes) -> Result<Outcome, Errno> {
        let disk = &mut self.disk;
        match what {
            OnBytes::Read { length } => {
                let mut bytes = vec![0; *length];
                let done = disk.read(h, &mut bytes)?;
                bytes.truncate(done);
                return Ok(Outcome::Bytes(bytes));
            }
            OnBytes::ReadAt { length, offset } => {
                let mut bytes = vec![0; *length];
                let done = disk.read_at(h, &mut bytes, *offset)?;
                bytes.truncate(done);
                return Ok(Outcome::Bytes(bytes));
            }
            OnBytes::Write { bytes } => {
                return Ok(Outcome::Number(disk.write(h, bytes)? as u64));
            }
            OnBytes::WriteAt { bytes, offset } => {
                return Ok(Outcome::Number(disk.write_at(h, bytes, *offset)? as u64));
            }
            OnBytes::Seek { offset, whence } => {
                return Ok(Outcome::Number(disk.seek(h, *offset, *whence)?));
            }
            OnBytes::Truncate { size } => disk.truncate(h, *size)?,
            OnBytes::Allocate { mode, offset, length } => {
                disk.allocate(h, *mode, *offset, *length)?;
            }
        }
        Ok(Outcome::Done)
    }

    fn on_slot(&mut self, index: usize, what: &OnSlot) -> Result<Outcome, Errno> {
        let (h, disk) = (self.open.0[index], &mut self.disk);
        match what {
            OnSlot::Close => {
                self.open.0.remove(index);
                disk.close(h)?;
            }
            OnSlot::Dup => {
                disk.share(h)?;
                self.open.0.push(h);
            }
            OnSlot::Stat => return Ok(stat(disk.stat(h)?)),
            OnSlot::List => {
                let entries = disk.list(h)?.into_iter().map(|entry| (entry.name, entry.kind));
                return Ok(Outcome::Listed(entries.collect()));
            }
            OnSlot::Flags => return Ok(Outcome::Number(u64::from(disk.flags(h)?.cast_unsigned()))),
            OnSlot::SetFlags(flags) => disk.set_flags(h, *flags)?,
            OnSlot::Chmod(mode) => disk.chmod(h, *mode)?,
            OnSlot::SetTimes { omit } => disk.set_times(h, (!omit).then_some(Time(1)), None)?,
            OnSlot::Flock(op) => disk.flock(h, *op)?,
        }
        Ok(Outcome::Done)
    }
}

fn stat(stat: Stat) -> Outcome {
    Outcome::Stat {
        kind: stat.kind,
        mode: stat.mode,
        nlink: stat.nlink,
        size: (stat.kind != Kind::Directory).then_some(stat.size),
    }
}
