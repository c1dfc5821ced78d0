//! The sync of a range of memory.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use crate::disk::Errno;
use crate::process::seam::kernel::next;
use crate::process::world::door::Door;
use crate::process::world::inject::SyncScope;
use crate::process::world::maps::{self, Mapping};
use crate::process::world::{CallResult, World};

use super::{PAGE, answer, checked, on_maps, range};

/// Syncs what is mapped in a range: of each shared map with `MS_SYNC` its part of the file, as
/// `fdatasync` would sync the whole. Other flags only have their arguments checked.
pub(super) fn sync(
    door: &'static Door,
    at: *mut c_void,
    length: usize,
    flags: c_int,
) -> Option<c_int> {
    if !maps::any() {
        return None;
    }
    let memory = range(at, length);
    let outcome = on_maps(door, &memory, |world| {
        let known = libc::MS_ASYNC | libc::MS_INVALIDATE | libc::MS_SYNC;
        let both = libc::MS_ASYNC | libc::MS_SYNC;
        if flags & !known != 0 || flags & both == both || !at.addr().is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        world.sync_memory(&memory, flags)
    })?;
    Some(answer(outcome))
}

impl World {
    fn sync_memory(&mut self, memory: &Range<usize>, flags: c_int) -> CallResult {
        let mut gaps = Ok(0);
        let mut from = memory.start;
        for part in maps::within(memory) {
            gaps = gaps.and(sync_others(from..part.memory.start, flags));
            if part.shared && flags & libc::MS_SYNC != 0 {
                self.sync_part(&part)?;
            }
            from = part.memory.end;
        }
        // Memory without a map is an error, after all that has one was synced.
        gaps.and(sync_others(from..memory.end, flags))
    }

    fn sync_part(&mut self, part: &Mapping) -> CallResult {
        let (file, offset, length) = (part.file, part.offset, part.memory.len() as u64);
        let scope = SyncScope::Range(offset, length);
        self.sync(file, scope, |disk| disk.sync_mapped(file, offset, length))
    }
}

/// Syncs memory that is no map of the disk.
fn sync_others(memory: Range<usize>, flags: c_int) -> CallResult {
    if memory.is_empty() {
        return Ok(0);
    }
    let call = next!(msync(*mut c_void, usize, c_int) -> c_int);
    let at = std::ptr::with_exposed_provenance_mut(memory.start);
    // SAFETY: the engine asks for this in its own call of msync(2).
    checked(unsafe { call(at, memory.len(), flags) })
}
