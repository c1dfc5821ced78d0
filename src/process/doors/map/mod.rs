//! Doors that map files, and change or end maps. What a map does is in the world's `maps`.
//!
//! The kernel carries out each call on memory of its own kind, and so checks its arguments. A call
//! that concerns no file of the disk is passed on.

mod advise;
mod remap;
mod sync;

use std::ffi::{c_int, c_uint, c_void};
use std::ops::Range;

use libc::off_t;

use crate::disk::io::SIZE_MAX;
use crate::disk::{Errno, Handle};
use crate::process::seam::kernel::{errno, set_errno};
use crate::process::threads::baton;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::maps::{self, Request};
use crate::process::world::{CallResult, Called, World};

use super::refuse::refused;
use super::{answer, bits, doors};
use advise::{advise, advise_posix, lock, lock_with, resident, unlock};
use remap::remap;
use sync::sync;

doors! {
    fn mmap(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn mmap64(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn munmap(at: *mut c_void, length: usize) -> c_int = unmap;
    // Variadic: a flag asks for the last argument.
    fn mremap(
        old: *mut c_void, old_size: usize, new_size: usize, flags: c_int, new: *mut c_void
    ) -> *mut c_void = remap;
    fn mprotect(at: *mut c_void, length: usize, protection: c_int) -> c_int = protect;
    fn pkey_mprotect(at: *mut c_void, length: usize, protection: c_int, key: c_int) -> c_int
        = protect_by_key;
    fn madvise(at: *mut c_void, length: usize, advice: c_int) -> c_int = advise;
    fn posix_madvise(at: *mut c_void, length: usize, advice: c_int) -> c_int = advise_posix;
    fn msync(at: *mut c_void, length: usize, flags: c_int) -> c_int = sync, faults Inside(Sync);
    fn mincore(at: *mut c_void, length: usize, list: *mut u8) -> c_int = resident;
    fn mlock(at: *const c_void, length: usize) -> c_int = lock;
    fn mlock2(at: *const c_void, length: usize, flags: c_uint) -> c_int = lock_with;
    fn munlock(at: *const c_void, length: usize) -> c_int = unlock;
}

/// Bytes in a page.
const PAGE: usize = 4096;

/// Whole pages, as the kernel counts them.
fn range(at: *const c_void, length: usize) -> Range<usize> {
    at.addr()..at.addr().saturating_add(length.saturating_add(PAGE - 1) & !(PAGE - 1))
}

/// Carries out a call on the maps in a range of addresses; `None` if there are none.
fn on_maps<R>(
    door: &'static Door,
    memory: &Range<usize>,
    act: impl FnOnce(&mut World) -> Result<R, Errno>,
) -> Option<Result<R, Errno>> {
    let first = maps::within(memory).into_iter().next()?;
    baton::serve(|world| {
        let path = world.disk.opened_as(first.file).unwrap_or_default();
        let path = world.logged(path).into_owned();
        let called = Called::at(door, &path, [first.offset, memory.len() as u64]);
        let mut done = None;
        let outcome =
            world.call(&called, |world| act(world).map(|result| done = Some(result)).map(|()| 0));
        outcome.and_then(|_| done.ok_or(Errno::EINVAL))
    })
}

/// The kernel's result of a call that returns 0 or -1.
fn checked(result: c_int) -> CallResult {
    if result == 0 { Ok(0) } else { Err(Errno(errno())) }
}

/// The answer of a function that returns an address.
fn address(outcome: Result<usize, Errno>) -> *mut c_void {
    match outcome {
        Ok(address) => std::ptr::with_exposed_provenance_mut(address),
        Err(error) => {
            set_errno(error.0);
            libc::MAP_FAILED
        }
    }
}

unsafe fn map(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> Option<*mut c_void> {
    if !is_simulated(fd) || flags & libc::MAP_ANONYMOUS != 0 {
        // SAFETY: this function's contract is that of mmap(2).
        return unsafe { map_over(door, (at, length), protection, flags, fd, offset) };
    }
    let called = Called::on(door, fd, [bits(offset), length as u64]);
    let outcome = baton::serve(|world| {
        let mut mapped = 0;
        let outcome = world.call(&called, |world| {
            let file = world.file(fd)?;
            let offset = offset.cast_unsigned();
            let asked = Request { at: at.expose_provenance(), length, protection, flags, offset };
            world.may_map(file, &asked)?;
            // SAFETY: the engine asks for this address in its own call of mmap(2).
            mapped = unsafe { world.add_map(file, asked) }?;
            Ok(0)
        });
        outcome.map(|_| mapped)
    })?;
    Some(address(outcome))
}

/// Maps something else where the engine may have a map of a file.
///
/// # Safety
/// The contract of mmap(2).
unsafe fn map_over(
    door: &'static Door,
    (at, length): (*mut c_void, usize),
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> Option<*mut c_void> {
    let replaces = flags & libc::MAP_FIXED != 0 && flags & libc::MAP_FIXED_NOREPLACE == 0;
    if !maps::any() || !replaces {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        world.settle_maps(&memory);
        // SAFETY: by this function's contract.
        let mapped = unsafe { libc::mmap64(at, length, protection, flags, fd, offset) };
        if mapped == libc::MAP_FAILED {
            return Err(Errno(errno()));
        }
        world.forget_maps(&memory);
        Ok(mapped.expose_provenance())
    })?;
    Some(address(outcome))
}

impl World {
    /// The checks of mmap(2) that depend on the file, in the kernel's order; those on addresses and
    /// flags are left to the kernel.
    fn may_map(&self, file: Handle, asked: &Request) -> Result<(), Errno> {
        let (length, offset) = (asked.length, asked.offset);
        if !offset.is_multiple_of(PAGE as u64) || length == 0 {
            return Err(Errno::EINVAL);
        }
        let flags = self.disk.flags(file)?;
        if flags & libc::O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        let rounded = length.checked_next_multiple_of(PAGE).ok_or(Errno(libc::ENOMEM))?;
        if offset.checked_add(rounded as u64).is_none_or(|end| end > SIZE_MAX) {
            return Err(Errno(libc::EOVERFLOW));
        }
        let shared = match asked.flags & libc::MAP_TYPE {
            libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE => true,
            libc::MAP_PRIVATE => false,
            _ => return Err(Errno::EINVAL),
        };
        let access = flags & libc::O_ACCMODE;
        let stores = shared && asked.protection & libc::PROT_WRITE != 0;
        if access == libc::O_WRONLY || stores && access != libc::O_RDWR {
            return Err(Errno::EACCES);
        }
        Ok(())
    }
}

fn unmap(door: &'static Door, at: *mut c_void, length: usize) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        // The stores to what ends here were found at the beginning of the call.
        world.settle_maps(&memory);
        // SAFETY: the engine ends its own maps, by its own call of munmap(2).
        checked(unsafe { libc::munmap(at, length) })?;
        world.forget_maps(&memory);
        Ok(0)
    })?;
    Some(answer(outcome))
}

fn protect(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    protection: c_int,
) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        if !at.addr().is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        // The kernel goes from one area to the next, and stops at the first that it cannot change.
        let mut from = memory.start;
        for part in maps::within(&memory) {
            protect_others(from..part.memory.start, protection)?;
            world.protect_map(&part, protection)?;
            from = part.memory.end;
        }
        protect_others(from..memory.end, protection)
    })?;
    Some(answer(outcome))
}

/// Changes the access to memory that is no map of the disk.
fn protect_others(memory: Range<usize>, protection: c_int) -> CallResult {
    if memory.is_empty() {
        return Ok(0);
    }
    let at = std::ptr::with_exposed_provenance_mut(memory.start);
    // SAFETY: the engine asks for this in its own call of mprotect(2).
    checked(unsafe { libc::mprotect(at, memory.len(), protection) })
}

fn protect_by_key(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    protection: c_int,
    key: c_int,
) -> Option<c_int> {
    if !maps::any() || maps::within(&range(at, length)).is_empty() {
        return None;
    }
    if key == -1 {
        return protect(door, at, length, protection);
    }
    refused("pkey_mprotect of a mapped file with a key", libc::ENOSYS)
}
