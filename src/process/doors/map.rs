//! Doors that map files: a file of the disk may be mapped for reading.
//!
//! A map is private memory with a copy of the file's bytes; if it is shared, a call that changes
//! the file updates it. (A `memfd` would be shared with every process that is forked later.)
//! Writing through a shared map would change the file without a call, so it is not simulated. On
//! pages past the end of the file a map shows zeros, where the kernel would raise `SIGBUS`.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use libc::off_t;

use crate::disk::Errno;
use crate::process::threads::baton;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::maps::Map;
use crate::process::world::{self, Called};

use super::refuse::refused;
use super::{bits, doors};

doors! {
    fn mmap(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn mmap64(
        at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: off_t
    ) -> *mut c_void = map;
    fn munmap(at: *mut c_void, length: usize) -> c_int = unmap;
    fn mprotect(at: *mut c_void, length: usize, protection: c_int) -> c_int = protect;
    fn madvise(at: *mut c_void, length: usize, advice: c_int) -> c_int = advise;
    fn msync(at: *mut c_void, length: usize, flags: c_int) -> c_int = sync;
}

/// Where the kernel puts things, and the flags about that.
const PLACEMENT: c_int =
    libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE | libc::MAP_32BIT;

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
        return None;
    }
    let private = flags & libc::MAP_TYPE == libc::MAP_PRIVATE;
    if protection & libc::PROT_WRITE != 0 && !private {
        refused::<c_int>("mmap of a file for writing", libc::ENODEV)?;
        return Some(libc::MAP_FAILED);
    }
    let called = Called::on(door, fd, [bits(offset), length as u64]);
    let mut mapped = libc::MAP_FAILED;
    let outcome = baton::serve(|world| {
        world.call(&called, |world| {
            let file = world.file(fd)?;
            if world.disk.flags(file)? & libc::O_ACCMODE == libc::O_WRONLY {
                return Err(Errno(libc::EACCES));
            }
            // SAFETY: the engine asks for this address in its own call of mmap(2).
            mapped = unsafe { reserve(at, length, flags & PLACEMENT) }?;
            world.disk.share(file)?;
            let start = mapped.addr();
            let memory = start..start + length;
            let map = Map { memory, file, offset, protection, private };
            // SAFETY: the memory was just reserved for this map.
            unsafe { world.maps.add(map, &world.disk) }?;
            Ok(0)
        })
    })?;
    if let Err(errno) = outcome {
        crate::process::seam::kernel::set_errno(errno.0);
        return Some(libc::MAP_FAILED);
    }
    Some(mapped)
}

/// Reserves memory for a map.
///
/// # Safety
/// If `flags` demand the address `at` (`MAP_FIXED`), nothing else uses the `length` bytes there:
/// mmap(2) replaces what is mapped.
unsafe fn reserve(at: *mut c_void, length: usize, flags: c_int) -> Result<*mut c_void, Errno> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: nothing uses the range that a fixed address replaces, by this function's contract; a
    // range that the kernel picks is free. On the harness's side this is the kernel's call.
    let mapped = unsafe { libc::mmap(at, length, libc::PROT_NONE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(Errno(crate::process::seam::kernel::errno()));
    }
    Ok(mapped)
}

/// Whole pages, as the kernel counts them.
fn range(at: *mut c_void, length: usize) -> Range<usize> {
    const PAGE: usize = 4096;
    at.addr()..at.addr().saturating_add(length.next_multiple_of(PAGE))
}

fn unmap(_: &'static Door, at: *mut c_void, length: usize) -> Option<c_int> {
    world::enter(|world| {
        if !world.maps.is_empty() {
            world.maps.forget(&range(at, length), &mut world.disk);
        }
    });
    None
}

fn protect(_: &'static Door, at: *mut c_void, length: usize, protection: c_int) -> Option<c_int> {
    let memory = range(at, length);
    let writes = protection & libc::PROT_WRITE != 0;
    let ours = world::enter(|world| {
        let mapped = world.maps.follows(&memory);
        if mapped && !writes {
            world.maps.protect(&memory, protection);
        }
        mapped
    })?;
    (ours && writes).then(|| refused("mprotect of a mapped file for writing", libc::EACCES))?
}

/// Advice to drop pages would lose the map's bytes; other advice has no visible effect.
fn advise(_: &'static Door, at: *mut c_void, length: usize, _: c_int) -> Option<c_int> {
    world::enter(|world| world.maps.overlaps(&range(at, length)))?.then_some(0)
}

/// A file is never changed through a map, so there is nothing to sync.
fn sync(_: &'static Door, at: *mut c_void, length: usize, _: c_int) -> Option<c_int> {
    world::enter(|world| world.maps.overlaps(&range(at, length)))?.then_some(0)
}
