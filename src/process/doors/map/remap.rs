//! Maps that grow, shrink and move.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use crate::disk::Errno;
use crate::process::seam::kernel::{errno, next};
use crate::process::world::World;
use crate::process::world::door::Door;
use crate::process::world::maps::{self, Mapping};

use super::{PAGE, address, on_maps, range};

/// The arguments of a call.
#[derive(Clone, Copy)]
struct Remap {
    old: *mut c_void,
    old_size: usize,
    new_size: usize,
    flags: c_int,
    new: *mut c_void,
}

impl Remap {
    /// The memory that is moved.
    fn from(&self) -> Range<usize> {
        range(self.old, self.old_size)
    }

    /// The memory that a fixed address replaces.
    fn over(&self) -> Range<usize> {
        let fixed = self.flags & libc::MREMAP_FIXED != 0;
        if fixed { range(self.new, self.new_size) } else { 0..0 }
    }

    /// # Safety
    /// The contract of mremap(2).
    unsafe fn call(&self) -> Result<usize, Errno> {
        let call = next!(mremap(*mut c_void, usize, usize, c_int, *mut c_void) -> *mut c_void);
        // SAFETY: by this function's contract.
        let moved = unsafe { call(self.old, self.old_size, self.new_size, self.flags, self.new) };
        if moved == libc::MAP_FAILED { Err(Errno(errno())) } else { Ok(moved.expose_provenance()) }
    }
}

pub(super) unsafe fn remap(
    door: &'static Door,
    old: *mut c_void,
    old_size: usize,
    new_size: usize,
    flags: c_int,
    new: *mut c_void,
) -> Option<*mut c_void> {
    if !maps::any() {
        return None;
    }
    let asked = Remap { old, old_size, new_size, flags, new };
    let from = asked.from();
    let touched = from.start..from.end.max(from.start.saturating_add(1));
    let act = |world: &mut World| {
        // SAFETY: this function's contract is that of mremap(2).
        unsafe { world.remap(asked) }
    };
    let outcome = match maps::within(&touched).is_empty() {
        false => on_maps(door, &touched, act),
        true => on_maps(door, &asked.over(), act),
    };
    outcome.map(address)
}

impl World {
    /// # Safety
    /// The contract of mremap(2).
    unsafe fn remap(&mut self, asked: Remap) -> Result<usize, Errno> {
        let (from, over) = (asked.from(), asked.over());
        let length = asked.new_size.next_multiple_of(PAGE);
        let moves = libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
        if asked.flags & moves == 0 && asked.old_size > 0 && length > 0 && from.len() >= length {
            let rest = from.start + length..from.end;
            self.settle_maps(&rest);
            // SAFETY: by this function's contract.
            let at = unsafe { asked.call() }?;
            self.forget_maps(&rest);
            return Ok(at);
        }
        // Where the memory becomes shorter, the kernel unmaps the rest first.
        let kept = from.start..from.end.min(from.start.saturating_add(length));
        let kept = kept.start..kept.end.max(kept.start.saturating_add(1));
        let moved = maps::within(&kept);
        // The kernel moves one area; newer ones move several, if nothing else is asked.
        let one = moved.len() == 1 && kept.end <= moved[0].memory.end.next_multiple_of(PAGE);
        let one = one && moved[0].memory.start == kept.start;
        let several = from.len() == length && asked.flags & libc::MREMAP_FIXED != 0;
        if !(moved.is_empty() || one || several) && from.start.is_multiple_of(PAGE) {
            return Err(Errno::EFAULT);
        }
        self.settle_maps(&from);
        self.settle_maps(&over);
        // SAFETY: by this function's contract.
        let at = unsafe { asked.call() }?;
        let stays = asked.old_size == 0 || asked.flags & libc::MREMAP_DONTUNMAP != 0;
        let gone = if stays { 0..0 } else { from.clone() };
        let moved = moved.into_iter().map(|map| {
            let start = at + (map.memory.start - from.start);
            let memory = start..if one { at + length } else { start + map.memory.len() };
            Mapping { memory, ..map }
        });
        self.move_maps([gone, over], moved.collect());
        Ok(at)
    }
}
