//! How faults strike the calls of a world: what fails before it does anything, and what a read, a
//! write, a sync and a close leave that do not go well.

use std::ffi::c_int;

use crate::base::digest::hash;
use crate::case::fault::{FaultClass, FaultError};
use crate::disk::effect::Ino;
use crate::disk::{Disk, Errno, Handle};
use crate::log::Mark;

use super::door::{Door, FaultSites};
use super::faults::{At, Injection};
use crate::process::world::{Called, Outcome, RANDOM, World, length};

impl World {
    /// Counts a call and strikes it, if it is the turn of a fault. How long it takes passes here,
    /// for all threads at once: none runs meanwhile.
    #[inline]
    fn inject(&mut self, call: At) -> Option<Injection> {
        if self.faults.none() {
            return None;
        }
        let (inject, fault_kind) = self.faults.on(call)?;
        self.fault = Some(fault_kind);
        if let Injection::Slow(duration) = inject {
            self.clock.advance(duration);
            self.check_time();
            self.disk.set_time(self.clock.now());
            return None;
        }
        Some(inject)
    }

    /// What a call fails with before it does anything, if a fault was planned for it. Those that
    /// move or sync bytes or close see to it themselves, once it is known that there is a file.
    #[inline]
    pub(crate) fn refusal(&mut self, called: &Called<'_>) -> Option<FaultError> {
        if self.faults.none() || called.path == RANDOM {
            return None;
        }
        let FaultSites::Before(class) = called.door.faults else { return None };
        match self.inject(self.at(called, class))? {
            Injection::Fails(error) => Some(error),
            Injection::Short(_) | Injection::Slow(_) | Injection::Corrupt(_) => None,
        }
    }

    /// What a call on names would come to. The kernel sees whether a name is there before it takes
    /// space for it or asks whether the disk can be written (`filename_create`).
    fn at(&self, called: &Called<'_>, class: FaultClass) -> At {
        let there = |path: &[u8]| self.disk.stat_path(Ino::ROOT, path, false).is_ok();
        let made = if called.other.is_empty() { called.path } else { called.other };
        let flags = called.arguments[0] as c_int;
        match class {
            FaultClass::Open if makes(flags, || there(called.path)) => At::any(FaultClass::Create),
            FaultClass::Open => {
                let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
                At { changes: writes || flags & libc::O_TRUNC != 0, ..At::any(class) }
            }
            FaultClass::Mkdir | FaultClass::Link => {
                let free = !there(made);
                At { changes: free, takes_space: free, ..At::any(class) }
            }
            FaultClass::Rename => At { takes_space: there(called.path), ..At::any(class) },
            _ => At::any(class),
        }
    }

    /// What a close shows, once the descriptor is gone.
    pub(crate) fn inject_close(&mut self, door: &Door) -> Result<(), Errno> {
        if door.faults.class() != Some(FaultClass::Close) {
            return Ok(());
        }
        match self.inject(At::any(FaultClass::Close)) {
            Some(Injection::Fails(error)) => Err(Errno(error.errno())),
            _ => Ok(()),
        }
    }

    /// Reads from an open file, unless a fault was planned here.
    pub(crate) fn read_file(
        &mut self,
        file: Handle,
        to: &mut [u8],
        at: Option<i64>,
    ) -> Result<usize, Errno> {
        let inject = self.inject(At::moving(FaultClass::Read));
        let room = match inject {
            Some(Injection::Fails(error)) => return Err(Errno(error.errno())),
            Some(Injection::Short(most)) => {
                to.len().min(usize::try_from(most).unwrap_or(usize::MAX))
            }
            _ => to.len(),
        };
        let to = &mut to[..room];
        let read = match at {
            Some(offset) => self.disk.read_at(file, to, offset)?,
            None => self.disk.read(file, to)?,
        };
        match inject {
            Some(Injection::Corrupt(byte)) if read > 0 => {
                to[byte as usize % read] ^= 1 << (byte % 8)
            }
            Some(Injection::Corrupt(_)) => self.fault = None,
            _ => {}
        }
        Ok(read)
    }

    /// Writes, unless a fault was planned here.
    pub(crate) fn write(&mut self, to: Handle, bytes: &[u8], at: Option<i64>) -> Outcome {
        self.write_as(to, bytes, at, 0)
    }

    /// Writes with `O_DSYNC` or `O_SYNC` beside the flags that the file was opened with.
    pub(crate) fn write_as(
        &mut self,
        to: Handle,
        bytes: &[u8],
        at: Option<i64>,
        flags: i32,
    ) -> Outcome {
        let bytes = match self.inject(At::moving(FaultClass::Write)) {
            Some(Injection::Fails(error)) => return Err(Errno(error.errno())),
            Some(Injection::Short(most)) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                &bytes[..bytes.len().min(most)]
            }
            _ => bytes,
        };
        self.bytes = hash(bytes);
        let written = match at {
            Some(offset) => self.disk.write_at_as(to, bytes, offset, flags)?,
            None => self.disk.write_as(to, bytes, flags)?,
        };
        Ok(length(written))
    }

    /// Makes a sync call, unless a fault was planned here: then the pages are clean, and nobody
    /// knows what reached the disk. A call that was interrupted, or a disk that is read-only,
    /// leaves the pages as they were.
    pub(crate) fn sync(
        &mut self,
        handle: Handle,
        what: Syncs,
        act: impl FnOnce(&mut Disk) -> Result<(), Errno>,
    ) -> Outcome {
        match self.inject(At::any(FaultClass::Sync)) {
            Some(Injection::Fails(error @ (FaultError::Interrupted | FaultError::ReadOnly))) => {
                Err(Errno(error.errno()))
            }
            Some(Injection::Fails(error)) => {
                let failed = match what {
                    Syncs::All => self.disk.fail_sync_all(handle),
                    Syncs::File => self.disk.fail_sync(handle, false),
                    Syncs::Data => self.disk.fail_sync(handle, true),
                };
                self.follow_failed_sync();
                match failed {
                    Err(Errno::EIO) => Err(Errno(error.errno())),
                    other => other.map(|()| 0),
                }
            }
            _ => act(&mut self.disk).map(|()| 0),
        }
    }

    /// What the kernel does behind a sync that failed: it may stop the file system, and drop the
    /// pages that it could not write.
    fn follow_failed_sync(&mut self) {
        if self.disk.is_stopped() {
            self.mark(Mark::Stopped);
        }
        if self.evicts {
            // Told first: a crash may fall between the two.
            self.mark(Mark::Evicted);
            self.disk.evict();
        }
    }
}

/// Whether an open with these flags makes a file.
fn makes(flags: c_int, there: impl FnOnce() -> bool) -> bool {
    flags & libc::O_TMPFILE == libc::O_TMPFILE || flags & libc::O_CREAT != 0 && !there()
}

/// What a sync call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// A file with all that belongs to it.
    File,
    /// The bytes of a file.
    Data,
    /// Everything.
    All,
}
