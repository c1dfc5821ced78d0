//! Doors of the limits on resources.

use std::ffi::{c_int, c_uint};

use libc::{pid_t, rlimit};

use crate::disk::Errno;
use crate::process::seam::reach;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, World};

use super::{answer, doors};

// On x86-64 the plain and the 64-bit structures are the same.
doors! {
    fn getrlimit(resource: c_uint, to: *mut rlimit) -> c_int = get;
    fn getrlimit64(resource: c_uint, to: *mut rlimit) -> c_int = get;
    fn setrlimit(resource: c_uint, from: *const rlimit) -> c_int = set;
    fn setrlimit64(resource: c_uint, from: *const rlimit) -> c_int = set;
    fn prlimit(process: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int
        = exchange;
    fn prlimit64(process: pid_t, resource: c_uint, new: *const rlimit, old: *mut rlimit) -> c_int
        = exchange;
    fn getdtablesize() -> c_int = descriptors;
}

impl World {
    /// Gets and sets a limit of the engine's process.
    ///
    /// # Safety
    /// Each pointer is null or to a limit that nothing else uses during the call.
    unsafe fn limit(
        &mut self,
        process: pid_t,
        resource: c_uint,
        (new, old): (*const rlimit, *mut rlimit),
    ) -> CallResult {
        let before = self.limits.get(resource)?;
        if process != 0 && process != self.pid {
            return Err(Errno::ESRCH);
        }
        if !new.is_null() {
            // SAFETY: by this function's contract; any bytes are a limit.
            let new = unsafe { reach::value(new) }.ok_or(Errno::EFAULT)?;
            self.limits.set(resource, new)?;
            self.descriptors.limit(self.limits.descriptors());
        }
        // SAFETY: by this function's contract.
        match old.is_null() || unsafe { reach::store(old, before) } {
            true => Ok(0),
            false => Err(Errno::EFAULT),
        }
    }
}

unsafe fn exchange(
    _: &'static Door,
    process: pid_t,
    resource: c_uint,
    new: *const rlimit,
    old: *mut rlimit,
) -> Option<c_int> {
    // SAFETY: prlimit(2) takes pointers that are null or to a limit.
    let outcome = world::enter(|world| unsafe { world.limit(process, resource, (new, old)) })?;
    Some(answer(outcome))
}

unsafe fn get(door: &'static Door, resource: c_uint, to: *mut rlimit) -> Option<c_int> {
    if to.is_null() {
        return Some(answer(Err(Errno::EFAULT)));
    }
    // SAFETY: getrlimit(2) takes room for a limit.
    unsafe { exchange(door, 0, resource, std::ptr::null(), to) }
}

unsafe fn set(door: &'static Door, resource: c_uint, from: *const rlimit) -> Option<c_int> {
    if from.is_null() {
        return Some(answer(Err(Errno::EFAULT)));
    }
    // SAFETY: setrlimit(2) takes a limit.
    unsafe { exchange(door, 0, resource, from, std::ptr::null_mut()) }
}

fn descriptors(_: &'static Door) -> Option<c_int> {
    let most = world::enter(|world| world.limits.descriptors())?;
    Some(c_int::try_from(most).unwrap_or(c_int::MAX))
}
