//! Doors that move bytes from one descriptor to another.

use std::ffi::{c_int, c_uint};

use libc::off_t;

use crate::disk::copy::Transfer;
use crate::disk::{Errno, Handle};
use crate::process::seam::reach;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, World};

use super::{answer, bits, doors, on_descriptor};

doors! {
    fn copy_file_range(
        from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, length: usize,
        flags: c_uint
    ) -> isize = copy, faults Inside(Write);
    fn sendfile(to: c_int, from: c_int, offset: *mut off_t, length: usize) -> isize
        = send, faults Inside(Write);
    fn sendfile64(to: c_int, from: c_int, offset: *mut off_t, length: usize) -> isize
        = send, faults Inside(Write);
    fn splice(
        from: c_int, from_at: *mut off_t, to: c_int, to_at: *mut off_t, length: usize,
        flags: c_uint
    ) -> isize = splice;
}

/// The offset that a caller passes: `None` for the descriptor's own.
///
/// # Safety
/// Nothing changes the offset during the call.
unsafe fn offset(at: *mut off_t) -> Result<Option<off_t>, Errno> {
    if at.is_null() {
        return Ok(None);
    }
    // SAFETY: any bytes are a number, and nothing changes them, by this function's contract.
    unsafe { reach::value(at) }.map(Some).ok_or(Errno::EFAULT)
}

impl World {
    /// Copies a piece from one file to another, and moves the offsets of descriptors that were
    /// used.
    fn transfer(
        &mut self,
        kind: Transfer,
        (source, from_at): (Handle, Option<off_t>),
        (target, to_at): (Handle, Option<off_t>),
        length: usize,
    ) -> CallResult {
        let (from, to) = ((source, from_at), (target, to_at));
        let length = self.disk.length_to_copy(kind, from, to, length)?;
        let start = match from_at {
            Some(at) => at,
            None => self.disk.seek(source, 0, libc::SEEK_CUR)?.cast_signed(),
        };
        let mut piece = vec![0; length];
        let read = self.disk.read_at(source, &mut piece, start)?;
        if read == 0 {
            return Ok(0);
        }
        let written = self.write_as(target, &piece[..read], to_at, 0, 0)?;
        if from_at.is_none() {
            self.disk.seek(source, start + written, libc::SEEK_SET)?;
        }
        Ok(written)
    }
}

/// Serves a copy between two simulated descriptors.
///
/// # Safety
/// Each offset is null or one that nothing else uses during the call.
unsafe fn copy_piece(
    door: &'static Door,
    kind: Transfer,
    (from, from_at): (c_int, *mut off_t),
    (to, to_at): (c_int, *mut off_t),
    (length, flags): (usize, c_uint),
) -> Option<isize> {
    let outcome = on_descriptor(door, to, [bits(from), length as u64], |world, target| {
        let source = world.file(from)?;
        // SAFETY: by this function's contract.
        let (start, end) = unsafe { (offset(from_at)?, offset(to_at)?) };
        if flags != 0 {
            world.disk.check_usable(source)?;
            world.disk.check_usable(target)?;
            return Err(Errno::EINVAL);
        }
        let written = match world.transfer(kind, (source, start), (target, end), length) {
            Err(Errno::ENOSYS) => {
                world.not_simulated(&format!("{door} of a file into itself"));
                return Err(Errno::EINVAL);
            }
            written => written?,
        };
        for (at, before) in [(from_at, start), (to_at, end)] {
            let Some(before) = before else { continue };
            // SAFETY: by this function's contract.
            if !unsafe { reach::store(at, before + written) } {
                return Err(Errno::EFAULT);
            }
        }
        Ok(written)
    })?;
    Some(answer(outcome))
}

unsafe fn copy(
    door: &'static Door,
    from: c_int,
    from_at: *mut off_t,
    to: c_int,
    to_at: *mut off_t,
    length: usize,
    flags: c_uint,
) -> Option<isize> {
    match (is_simulated(from), is_simulated(to)) {
        (false, false) => None,
        (true, true) => {
            let (from, to) = ((from, from_at), (to, to_at));
            // SAFETY: copy_file_range(2) takes offsets that are null or point to one.
            unsafe { copy_piece(door, Transfer::CopyFileRange, from, to, (length, flags)) }
        }
        // The kernel's answer for two file systems; callers then read and write instead.
        _ => Some(answer(Err(Errno::EXDEV))),
    }
}

unsafe fn send(
    door: &'static Door,
    to: c_int,
    from: c_int,
    offset: *mut off_t,
    length: usize,
) -> Option<isize> {
    match (is_simulated(from), is_simulated(to)) {
        (false, false) => None,
        (true, true) => {
            let (from, to) = ((from, offset), (to, std::ptr::null_mut()));
            // SAFETY: sendfile(2) takes an offset that is null or points to one.
            unsafe { copy_piece(door, Transfer::Sendfile, from, to, (length, 0)) }
        }
        _ => {
            world::enter(|world| world.not_simulated(&format!("{door} to or from the host")))?;
            Some(answer(Err(Errno::EINVAL)))
        }
    }
}

/// Neither of two files is a pipe, and one of them must be.
fn splice(
    door: &'static Door,
    from: c_int,
    _: *mut off_t,
    to: c_int,
    _: *mut off_t,
    length: usize,
    flags: c_uint,
) -> Option<isize> {
    const KNOWN: c_uint =
        libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;
    match (is_simulated(from), is_simulated(to)) {
        (false, false) => None,
        _ if length == 0 => Some(0),
        (true, true) => Some(answer(Err(Errno::EINVAL))),
        _ if flags & !KNOWN != 0 => Some(answer(Err(Errno::EINVAL))),
        _ => {
            world::enter(|world| world.not_simulated(&format!("{door} to or from the host")))?;
            Some(answer(Err(Errno::EINVAL)))
        }
    }
}
