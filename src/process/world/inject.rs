//! How faults are injected into the calls of a world: calls that fail before they do anything, and
//! the state that a failed or short read, write, sync or close leaves.

use std::ffi::c_int;

use super::door::{Door, FaultSites};
use super::faults::{CallFault, FaultPoint};
use super::room::Room;
use super::{CallResult, Called, RANDOM, World, length};
use crate::base::digest::hash;
use crate::case::fault::{FaultClass, InjectedError};
use crate::disk::io::DIRECT_ALIGN;
use crate::disk::{Disk, Errno, Handle};
use crate::log::Mark;

impl World {
    /// Counts a call, and injects the fault that is due for it. The delay of a slow call passes
    /// here, for all threads at once: none runs meanwhile.
    #[inline]
    fn inject(&mut self, point: FaultPoint) -> Option<CallFault> {
        if self.faults.none() {
            return None;
        }
        let hit = self.faults.on(point);
        if let Some(place) = self.faults.take_first_hit() {
            self.mark(Mark::Injected(place));
        }
        let (fault, kind) = hit?;
        self.fault = Some(kind);
        if let CallFault::Slow(delay) = fault {
            self.clock.advance(delay);
            self.check_time();
            self.disk.set_time(self.clock.now());
            return None;
        }
        Some(fault)
    }

    /// The error that a call fails with before it does anything, if a fault was planned for it.
    #[inline]
    pub(crate) fn refusal(&mut self, called: &Called<'_>) -> Option<InjectedError> {
        if self.faults.none() || called.path == RANDOM {
            return None;
        }
        let FaultSites::Before(class) = called.door.faults else { return None };
        match self.inject(self.fault_point(called, class))? {
            CallFault::Fails(error) => Some(error),
            CallFault::Short(_) | CallFault::Slow(_) | CallFault::Corrupt(_) => None,
        }
    }

    /// How far a call on names would get. The kernel sees whether a name exists before it takes
    /// space for it or asks whether the disk is writable (`filename_create`).
    fn fault_point(&self, called: &Called<'_>, class: FaultClass) -> FaultPoint {
        let tree = self.disk.tree();
        let exists = |path: &[u8]| {
            let whole = [b"/", &*tree.from_root(path)].concat();
            self.disk.stat_path(tree.root(), &whole, false).is_ok()
        };
        let made = if called.other.is_empty() { called.path } else { called.other };
        let flags = called.arguments[0] as c_int;
        match class {
            FaultClass::Open if makes(flags, || exists(called.path)) => {
                FaultPoint::any(FaultClass::Create)
            }
            FaultClass::Open => {
                let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
                let changes = writes || flags & libc::O_TRUNC != 0;
                FaultPoint { changes, ..FaultPoint::any(class) }
            }
            FaultClass::Mkdir | FaultClass::Link => {
                let free = !exists(made);
                FaultPoint { changes: free, takes_space: free, ..FaultPoint::any(class) }
            }
            FaultClass::Rename => {
                FaultPoint { takes_space: exists(called.path), ..FaultPoint::any(class) }
            }
            _ => FaultPoint::any(class),
        }
    }

    /// The result of a close, once the descriptor is gone.
    pub(crate) fn inject_close(&mut self, door: &Door) -> Result<(), Errno> {
        if door.faults.class() != Some(FaultClass::Close) {
            return Ok(());
        }
        match self.inject(FaultPoint::any(FaultClass::Close)) {
            Some(CallFault::Fails(error)) => Err(Errno(error.errno())),
            _ => Ok(()),
        }
    }

    /// The length of a transfer that a fault cuts short; with `O_DIRECT` it consists of sectors.
    fn shortened(&self, file: Handle, length: usize, most: u64) -> usize {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if self.disk.is_direct(file) {
            let sectors = most.checked_next_multiple_of(DIRECT_ALIGN as usize);
            return length.min(sectors.unwrap_or(most));
        }
        length.min(most)
    }

    /// Reads from an open file into the room that is left, unless a fault is due. `memory` has the
    /// bits of the addresses and lengths of the engine's buffers.
    pub(crate) fn read_file(
        &mut self,
        file: Handle,
        to: &mut Room<'_>,
        at: Option<i64>,
        memory: u64,
    ) -> Result<usize, Errno> {
        let fault = self.inject(FaultPoint::moving(FaultClass::Read));
        if let Some(CallFault::Fails(error)) = fault {
            return Err(Errno(error.errno()));
        }
        self.disk.check_direct_read(file, at, to.left(), memory)?;
        let length = match fault {
            Some(CallFault::Short(most)) => self.shortened(file, to.left(), most),
            _ => to.left(),
        };
        let give = |piece: &[u8]| to.push(piece);
        let read = match at {
            Some(offset) => self.disk.read_pieces_at(file, length, offset, give)?,
            None => self.disk.read_pieces(file, length, give)?,
        };
        let done = to.done();
        if at.is_none() && done != Ok(read) {
            // Only what the engine got counts as read.
            let missed = read - done.unwrap_or(0);
            self.disk.seek(file, -super::length(missed), libc::SEEK_CUR)?;
        }
        let read = done?;
        match fault {
            Some(CallFault::Corrupt(byte)) if read > 0 => {
                to.filled()[byte as usize % read] ^= 1 << (byte % 8)
            }
            Some(CallFault::Corrupt(_)) => self.fault = None,
            _ => {}
        }
        Ok(read)
    }

    /// Writes, unless a fault is due: with flags in addition to those that the file was opened
    /// with, and with the bits of the addresses and lengths of the engine's buffers.
    pub(crate) fn write_as(
        &mut self,
        to: Handle,
        bytes: &[u8],
        at: Option<i64>,
        flags: i32,
        memory: u64,
    ) -> CallResult {
        let fault = self.inject(FaultPoint::moving(FaultClass::Write));
        if let Some(CallFault::Fails(error)) = fault {
            return Err(Errno(error.errno()));
        }
        self.disk.check_direct_write(to, at, (bytes.len(), flags), memory)?;
        let bytes = match fault {
            Some(CallFault::Short(most)) => &bytes[..self.shortened(to, bytes.len(), most)],
            _ => bytes,
        };
        self.bytes = hash(bytes);
        let written = match at {
            Some(offset) => self.disk.write_at_as(to, bytes, offset, flags)?,
            None => self.disk.write_as(to, bytes, flags)?,
        };
        Ok(length(written))
    }

    /// Carries out a sync call, unless a fault is due. A sync that fails leaves the pages clean,
    /// whatever reached the disk; one that was interrupted or met a read-only disk leaves them as
    /// they were.
    pub(crate) fn sync(
        &mut self,
        handle: Handle,
        scope: SyncScope,
        act: impl FnOnce(&mut Disk) -> Result<(), Errno>,
    ) -> CallResult {
        match self.inject(FaultPoint::any(FaultClass::Sync)) {
            Some(CallFault::Fails(
                error @ (InjectedError::Interrupted | InjectedError::ReadOnly),
            )) => Err(Errno(error.errno())),
            Some(CallFault::Fails(error)) => {
                let failed = match scope {
                    SyncScope::All => self.disk.fail_sync_all(handle),
                    SyncScope::File => self.disk.fail_sync(handle, false),
                    SyncScope::Data => self.disk.fail_sync(handle, true),
                    SyncScope::Range(offset, length) => {
                        self.disk.fail_sync_mapped(handle, offset, length)
                    }
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

    /// The consequences of a failed sync: the kernel may stop the file system, and drop the pages
    /// that it could not write.
    fn follow_failed_sync(&mut self) {
        if self.disk.is_stopped() {
            self.mark(Mark::Stopped);
        }
        if self.evicts {
            // Marked first: a crash may fall between the two.
            self.mark(Mark::Evicted);
            self.disk.evict();
        }
    }
}

/// Whether an open with these flags makes a file.
fn makes(flags: c_int, exists: impl FnOnce() -> bool) -> bool {
    flags & libc::O_TMPFILE == libc::O_TMPFILE || flags & libc::O_CREAT != 0 && !exists()
}

/// What a sync call makes durable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncScope {
    /// A file with all that belongs to it.
    File,
    /// The bytes of a file.
    Data,
    /// This many bytes of a file, from an offset on.
    Range(u64, u64),
    /// Everything.
    All,
}
