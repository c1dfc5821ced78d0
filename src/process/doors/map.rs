//! Doors that map files: a file of the disk may be mapped for reading.
//!
//! A map is private memory with a copy of the file's bytes; if it is shared, a call that changes
//! the file updates it. (A `memfd` would be shared with every process that is forked later.)
//! Writing through a shared map would change the file without a call, so it is not simulated. On
//! pages past the end of the file a map shows zeros, where the kernel would raise `SIGBUS`.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use libc::off_t;

use crate::base::time::Time;
use crate::disk::{Errno, Handle};
use crate::process::seam::kernel::next;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::{self, Called, World};

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

/// A part of a file in memory.
pub(crate) struct Map {
    /// The addresses of the map.
    memory: Range<usize>,
    /// The file that the map shows, from `offset` on. The map holds its own reference to the
    /// handle.
    file: Handle,
    offset: i64,
    protection: c_int,
    /// The time of the file's last change that the map shows.
    shown: Time,
    /// A private map has its own pages, which a change of the file does not reach.
    private: bool,
}

/// The flags that decide where the kernel puts a map.
const PLACEMENT: c_int =
    libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE | libc::MAP_32BIT;

unsafe fn map(
    door: &'static str,
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
    let outcome = world::serve(|world| {
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
            let shown = world.disk.stat(file)?.changed;
            let map = Map { memory, file, offset, protection, shown, private };
            // SAFETY: the memory was just reserved for this map.
            unsafe { world.show(&map) };
            world.maps.push(map);
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
/// As for mmap(2), which replaces existing maps at `at` if `flags` demand that address.
unsafe fn reserve(at: *mut c_void, length: usize, flags: c_int) -> Result<*mut c_void, Errno> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the caller answers for the address; on the harness's side this is the kernel's call.
    let mapped = unsafe { libc::mmap(at, length, libc::PROT_NONE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(Errno(crate::process::seam::kernel::errno()));
    }
    Ok(mapped)
}

impl World {
    /// Fills a map with the file's current bytes.
    ///
    /// # Safety
    /// The memory is mapped, and it belongs to the map alone.
    unsafe fn show(&self, map: &Map) {
        let (start, length) = (map.memory.start, map.memory.len());
        let at = std::ptr::with_exposed_provenance_mut::<c_void>(start);
        let protect = next!(mprotect(*mut c_void, usize, c_int) -> c_int);
        // SAFETY: the memory belongs to the map, by this function's contract, and no other thread
        // runs now.
        let bytes = unsafe {
            if protect(at, length, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return;
            }
            std::slice::from_raw_parts_mut(at.cast::<u8>(), length)
        };
        let mut filled = 0;
        while filled < length {
            let from = map.offset + i64::try_from(filled).unwrap_or(i64::MAX);
            match self.disk.read_at(map.file, &mut bytes[filled..], from) {
                Ok(read) if read > 0 => filled += read,
                _ => break,
            }
        }
        bytes[filled..].fill(0);
        // SAFETY: the memory belongs to the map.
        unsafe { protect(at, length, map.protection) };
    }

    /// Updates the maps whose files have changed.
    #[cold]
    pub(in crate::process) fn refresh_maps(&mut self) {
        let mut maps = std::mem::take(&mut self.maps);
        for map in maps.iter_mut().filter(|map| !map.private) {
            let changed = self.disk.stat(map.file).map_or(map.shown, |stat| stat.changed);
            if changed != map.shown {
                map.shown = changed;
                // SAFETY: a map is in the list as long as its memory is mapped.
                unsafe { self.show(map) };
            }
        }
        self.maps = maps;
    }

    fn is_mapped(&self, memory: &Range<usize>) -> bool {
        self.maps.iter().any(|map| overlap(&map.memory, memory))
    }

    /// Forgets the parts of maps that are inside `memory`.
    fn forget_maps(&mut self, memory: &Range<usize>) {
        for map in std::mem::take(&mut self.maps) {
            if !overlap(&map.memory, memory) {
                self.maps.push(map);
                continue;
            }
            let parts = [map.memory.start..memory.start, memory.end..map.memory.end];
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                if self.disk.share(map.file).is_ok() {
                    let skipped = part.start - map.memory.start;
                    let offset = map.offset + i64::try_from(skipped).unwrap_or(i64::MAX);
                    self.maps.push(Map { memory: part, offset, ..map });
                }
            }
            let _ = self.disk.close(map.file);
        }
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The range in whole pages, as the kernel counts it.
fn range(at: *mut c_void, length: usize) -> Range<usize> {
    const PAGE: usize = 4096;
    at.addr()..at.addr().saturating_add(length.next_multiple_of(PAGE))
}

fn unmap(_: &'static str, at: *mut c_void, length: usize) -> Option<c_int> {
    world::enter(|world| {
        if !world.maps.is_empty() {
            world.forget_maps(&range(at, length));
        }
    });
    None
}

fn protect(_: &'static str, at: *mut c_void, length: usize, protection: c_int) -> Option<c_int> {
    let memory = range(at, length);
    let writes = protection & libc::PROT_WRITE != 0;
    let ours = world::enter(|world| {
        let shared = |map: &&Map| !map.private && overlap(&map.memory, &memory);
        let mapped = world.maps.iter().any(|map| shared(&map));
        if mapped && !writes {
            for map in world.maps.iter_mut().filter(|map| overlap(&map.memory, &memory)) {
                map.protection = protection;
            }
        }
        mapped
    })?;
    (ours && writes).then(|| refused("mprotect of a mapped file for writing", libc::EACCES))?
}

/// Advice to drop pages would lose the map's bytes; other advice has no visible effect.
fn advise(_: &'static str, at: *mut c_void, length: usize, _: c_int) -> Option<c_int> {
    world::enter(|world| world.is_mapped(&range(at, length)))?.then_some(0)
}

/// A file is never changed through a map, so there is nothing to sync.
fn sync(_: &'static str, at: *mut c_void, length: usize, _: c_int) -> Option<c_int> {
    world::enter(|world| world.is_mapped(&range(at, length)))?.then_some(0)
}
