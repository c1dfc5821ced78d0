//! Advice about maps, and what the kernel says of their pages.

use std::ffi::{c_int, c_uint, c_void};
use std::ops::Range;
use std::ptr;

use crate::disk::Errno;
use crate::process::seam::kernel::{errno, next, set_errno};
use crate::process::world::door::Door;
use crate::process::world::maps::{self, Mapping};
use crate::process::world::{CallResult, World};

use super::{PAGE, answer, checked, on_maps, range};

/// `MADV_DONTNEED_LOCKED`, which the `libc` crate lacks.
const DONTNEED_LOCKED: c_int = 24;

pub(super) fn advise(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    advice: c_int,
) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        if !at.addr().is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        match advice {
            libc::MADV_REMOVE => world.remove_behind(&memory),
            libc::MADV_POPULATE_READ | libc::MADV_POPULATE_WRITE => world.populate(&memory, advice),
            // For anonymous memory alone, as the kernel says of a file.
            libc::MADV_FREE => Err(Errno::EINVAL),
            // The pages that private maps have for themselves are dropped.
            libc::MADV_DONTNEED | DONTNEED_LOCKED => kernel(at, memory.len(), advice),
            // The engine sees no effect of other advice, but it would divide the kernel's areas.
            _ => kernel(at, memory.len(), libc::MADV_NORMAL)
                .and_then(|done| if is_known(advice) { Ok(done) } else { Err(Errno::EINVAL) }),
        }
    })?;
    Some(answer(outcome))
}

/// Whether the kernel knows the advice.
fn is_known(advice: c_int) -> bool {
    matches!(advice, 0..=4 | 8..=25 | 100..=101)
}

/// The C library does nothing about `POSIX_MADV_DONTNEED`, and returns the error.
pub(super) fn advise_posix(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    advice: c_int,
) -> Option<c_int> {
    if advice == libc::POSIX_MADV_DONTNEED {
        return None;
    }
    let before = errno();
    let served = advise(door, at, length, advice)?;
    let error = if served == 0 { 0 } else { errno() };
    set_errno(before);
    Some(error)
}

impl World {
    /// Goes through the areas of a range as the kernel does: `act` is called for parts of maps of
    /// the disk, and the kernel is given the advice about all other memory.
    fn each_area(
        &mut self,
        memory: &Range<usize>,
        advice: c_int,
        mut act: impl FnMut(&mut Self, &Mapping) -> CallResult,
    ) -> CallResult {
        let mut from = memory.start;
        for part in maps::within(memory) {
            advise_others(from..part.memory.start, advice)?;
            act(self, &part)?;
            from = part.memory.end;
        }
        advise_others(from..memory.end, advice)
    }

    /// Has the kernel fill in the pages of a range, which are opened before.
    fn populate(&mut self, memory: &Range<usize>, advice: c_int) -> CallResult {
        self.each_area(memory, advice, |world, part| {
            let reads = advice == libc::MADV_POPULATE_READ;
            let needed = if reads { libc::PROT_READ } else { libc::PROT_WRITE };
            if part.protection & needed == 0 {
                return Err(Errno::EINVAL);
            }
            if reads {
                world.open_map(part);
            } else if !world.open_for_stores(part) {
                return Err(Errno::EFAULT);
            }
            advise_others(part.memory.clone(), advice)
        })
    }

    /// Frees the blocks of the files behind the maps of a range.
    fn remove_behind(&mut self, memory: &Range<usize>) -> CallResult {
        const PUNCH: c_int = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.each_area(memory, libc::MADV_REMOVE, |world, part| {
            if !(part.shared && part.may_write) {
                return Err(Errno::EACCES);
            }
            let length = i64::try_from(part.memory.len()).map_err(|_| Errno::EINVAL)?;
            world.disk.allocate(part.file, PUNCH, part.offset.cast_signed(), length)?;
            Ok(0)
        })
    }
}

/// Gives the kernel advice about memory that is no map of the disk, or to which it may be given.
fn advise_others(memory: Range<usize>, advice: c_int) -> CallResult {
    if memory.is_empty() {
        return Ok(0);
    }
    kernel(ptr::with_exposed_provenance_mut(memory.start), memory.len(), advice)
}

/// The kernel's checks of a range, and advice that it carries out.
fn kernel(at: *mut c_void, length: usize, advice: c_int) -> CallResult {
    let call = next!(madvise(*mut c_void, usize, c_int) -> c_int);
    // SAFETY: the engine gives this advice about this memory in its own call of madvise(2).
    checked(unsafe { call(at, length, advice) })
}

/// Each page within its file is in the cache.
pub(super) unsafe fn resident(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    list: *mut u8,
) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        let call = next!(mincore(*mut c_void, usize, *mut u8) -> c_int);
        // SAFETY: mincore(2) takes room for a byte for each page.
        checked(unsafe { call(at, length, list) })?;
        for part in maps::within(&memory) {
            let size = world.disk.stat(part.file)?.size;
            for address in part.memory.clone().step_by(PAGE) {
                let page = (address - memory.start) / PAGE;
                // SAFETY: the page is one of those that there is room for.
                unsafe { list.add(page).write(u8::from(part.offset_of(address) < size)) };
            }
        }
        Ok(0)
    })?;
    Some(answer(outcome))
}

/// Locked memory is read ahead, and is never written to a swap: nothing of that shows.
fn keep(door: &'static Door, at: *const c_void, length: usize) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let start = at.addr() & !(PAGE - 1);
    let memory = start..range(at, length).end.next_multiple_of(PAGE);
    let outcome = on_maps(door, &memory, |world| {
        let at = std::ptr::with_exposed_provenance_mut(memory.start);
        kernel(at, memory.len(), libc::MADV_NORMAL)?;
        for part in maps::within(&memory) {
            world.open_map(&part);
        }
        Ok(0)
    })?;
    Some(answer(outcome))
}

pub(super) fn lock(door: &'static Door, at: *const c_void, length: usize) -> Option<c_int> {
    keep(door, at, length)
}

pub(super) fn lock_with(
    door: &'static Door,
    at: *const c_void,
    length: usize,
    flags: c_uint,
) -> Option<c_int> {
    /// `MLOCK_ONFAULT`.
    const ON_FAULT: c_uint = 1;
    let served = keep(door, at, length)?;
    Some(if flags & !ON_FAULT == 0 { served } else { answer(Err(Errno::EINVAL)) })
}

pub(super) fn unlock(door: &'static Door, at: *const c_void, length: usize) -> Option<c_int> {
    keep(door, at, length)
}
