//! Doors that move bytes.

use std::ffi::{c_int, c_void};

use libc::{iovec, off_t};

use crate::base::digest::hash;
use crate::disk::io::{NO_APPEND, TRANSFER_MAX};
use crate::disk::sight::Sight;
use crate::disk::{Errno, Handle};
use crate::process::seam::reach;
use crate::process::threads::baton;
use crate::process::world::clock::CALL;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::room::Room;
use crate::process::world::{self, CallResult, Called, Referent, World, length};

use super::{answer, bits, doors, given, on_descriptor, room};

doors! {
    fn read(fd: c_int, to: *mut c_void, length: usize) -> isize = read, faults Inside(Read);
    fn __read_chk(fd: c_int, to: *mut c_void, length: usize, room: usize) -> isize
        = read_checked, faults Inside(Read);
    fn __pread_chk(fd: c_int, to: *mut c_void, length: usize, offset: off_t, room: usize) -> isize
        = read_checked_at, faults Inside(Read);
    fn __pread64_chk(fd: c_int, to: *mut c_void, length: usize, offset: off_t, room: usize) -> isize
        = read_checked_at, faults Inside(Read);
    fn pread(fd: c_int, to: *mut c_void, length: usize, offset: off_t) -> isize
        = read_at, faults Inside(Read);
    fn pread64(fd: c_int, to: *mut c_void, length: usize, offset: off_t) -> isize
        = read_at, faults Inside(Read);
    fn __read(fd: c_int, to: *mut c_void, length: usize) -> isize = read, faults Inside(Read);
    fn __pread64(fd: c_int, to: *mut c_void, length: usize, offset: off_t) -> isize
        = read_at, faults Inside(Read);
    fn readv(fd: c_int, parts: *const iovec, count: c_int) -> isize
        = read_parts, faults Inside(Read);
    fn preadv(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) -> isize
        = read_parts_at, faults Inside(Read);
    fn preadv64(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) -> isize
        = read_parts_at, faults Inside(Read);
    fn preadv2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> isize
        = read_parts_with, faults Inside(Read);
    fn preadv64v2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int)
        -> isize = read_parts_with, faults Inside(Read);
    fn write(fd: c_int, from: *const c_void, length: usize) -> isize = write, faults Inside(Write);
    fn pwrite(fd: c_int, from: *const c_void, length: usize, offset: off_t) -> isize
        = write_at, faults Inside(Write);
    fn pwrite64(fd: c_int, from: *const c_void, length: usize, offset: off_t) -> isize
        = write_at, faults Inside(Write);
    fn __write(fd: c_int, from: *const c_void, length: usize) -> isize
        = write, faults Inside(Write);
    fn __pwrite64(fd: c_int, from: *const c_void, length: usize, offset: off_t) -> isize
        = write_at, faults Inside(Write);
    fn writev(fd: c_int, parts: *const iovec, count: c_int) -> isize
        = write_parts, faults Inside(Write);
    fn pwritev(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) -> isize
        = write_parts_at, faults Inside(Write);
    fn pwritev64(fd: c_int, parts: *const iovec, count: c_int, offset: off_t) -> isize
        = write_parts_at, faults Inside(Write);
    fn pwritev2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> isize
        = write_parts_with, faults Inside(Write);
    fn pwritev64v2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int)
        -> isize = write_parts_with, faults Inside(Write);
    fn lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t = seek;
    fn __lseek(fd: c_int, offset: off_t, whence: c_int) -> off_t = seek;
    fn lseek64(fd: c_int, offset: off_t, whence: c_int) -> off_t = seek;
}

/// The numbers of a call as its record stores them: offset and length, or the length alone.
fn numbers(at: Option<off_t>, length: usize) -> [u64; 2] {
    at.map_or([length as u64, 0], |offset| [bits(offset), length as u64])
}

impl World {
    /// Reads from the file or the device of a descriptor. `memory` has the bits of the addresses
    /// and lengths of the caller's buffers.
    fn read(&mut self, fd: c_int, to: &mut Room<'_>, at: Option<off_t>, memory: u64) -> CallResult {
        let random =
            self.descriptors.get(fd).is_some_and(|d| matches!(d.referent, Referent::Random));
        if random {
            self.entropy.fill(to.zeroed());
            to.done()?;
        } else {
            let file = self.file(fd)?;
            self.read_file(file, to, at, memory)?;
        }
        let read = to.filled();
        self.bytes = hash(read);
        Ok(length(read.len()))
    }

    /// A bound on what one call can read from a descriptor: all that a file has. It ends after the
    /// file's last block, so that it is not mistaken for the end of what the caller asked for.
    fn most_to_read(&self, fd: c_int) -> usize {
        const BLOCK: u64 = 4096;
        let Ok(file) = self.file(fd) else { return 1 << 20 };
        let size = self.disk.stat(file).map_or(0, |stat| stat.size);
        let bound = usize::try_from(size.next_multiple_of(BLOCK) + BLOCK);
        bound.map_or(TRANSFER_MAX, |bound| bound.min(TRANSFER_MAX))
    }

    /// The answer to a read of which the caller's buffers took only `stored` bytes: the others are
    /// still to be read.
    fn stored_less(&mut self, fd: c_int, at: Option<off_t>, stored: i64, read: i64) -> CallResult {
        if at.is_none() {
            let file = self.file(fd)?;
            self.seek(file, stored - read, libc::SEEK_CUR)?;
        }
        if stored == 0 { Err(Errno::EFAULT) } else { Ok(stored) }
    }

    fn seek(&mut self, file: Handle, offset: off_t, whence: c_int) -> CallResult {
        self.disk.seek(file, offset, whence).map(u64::cast_signed)
    }
}

/// Serves a read into one buffer.
///
/// # Safety
/// `to` is null or has room for `length` bytes.
unsafe fn read_into(
    door: &'static Door,
    fd: c_int,
    (to, length): (*mut c_void, usize),
    at: Option<off_t>,
) -> Option<isize> {
    let arguments = numbers(at, length);
    let outcome = baton::serve(|world| {
        world.call(&Called::on(door, fd, arguments), |world| {
            // SAFETY: `to` is null or has room for `length` bytes, by this function's contract.
            let mut to = unsafe { room(to, length) };
            must_fit(world.file(fd), (to.start(), length), |file| world.disk.check_readable(file))?;
            let memory = to.bits();
            world.read(fd, &mut to, at, memory)
        })
    })?;
    Some(answer(outcome))
}

unsafe fn read(door: &'static Door, fd: c_int, to: *mut c_void, length: usize) -> Option<isize> {
    if !is_simulated(fd) {
        return refuse_to_wait(door, fd);
    }
    // SAFETY: read(2) takes a buffer of `length` bytes.
    unsafe { read_into(door, fd, (to, length), None) }
}

unsafe fn read_checked(
    door: &'static Door,
    fd: c_int,
    to: *mut c_void,
    length: usize,
    room: usize,
) -> Option<isize> {
    // SAFETY: the length is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { read(door, fd, to, length.min(room)) }
}

unsafe fn read_at(
    door: &'static Door,
    fd: c_int,
    to: *mut c_void,
    length: usize,
    offset: off_t,
) -> Option<isize> {
    if !is_simulated(fd) {
        return None;
    }
    // SAFETY: pread(2) takes a buffer of `length` bytes.
    unsafe { read_into(door, fd, (to, length), Some(offset)) }
}

unsafe fn read_checked_at(
    door: &'static Door,
    fd: c_int,
    to: *mut c_void,
    length: usize,
    offset: off_t,
    room: usize,
) -> Option<isize> {
    // SAFETY: the length is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { read_at(door, fd, to, length.min(room), offset) }
}

/// Refuses a negative offset before all but a closed descriptor.
fn must_not_be_negative(at: Option<off_t>) -> Result<(), Errno> {
    if at.is_some_and(|at| at < 0) { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Checks a vectored read in the order of `vfs_readv`. Directories are not read by this way.
fn check_vector(
    readable: Result<(), Errno>,
    at: Option<off_t>,
    length: usize,
    flags: c_int,
) -> Result<(), Errno> {
    match readable {
        Ok(()) | Err(Errno::EISDIR) if length == 0 => Ok(()),
        Ok(()) => {
            must_end(at, length)?;
            checked_flags(flags, false, false).map(drop)
        }
        Err(Errno::EISDIR) => {
            must_end(at, length)?;
            let plain = flags & !libc::RWF_HIPRI == 0;
            Err(if plain { Errno::EISDIR } else { Errno::EOPNOTSUPP })
        }
        refused => refused,
    }
}

/// Refuses a range that ends beyond the largest offset, as `rw_verify_area` does.
fn must_end(at: Option<off_t>, length: usize) -> Result<(), Errno> {
    let length = off_t::try_from(length).unwrap_or(off_t::MAX);
    let ends = at.is_none_or(|at| at.checked_add(length).is_some());
    if ends { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Refuses a buffer that is not one of a process, once the descriptor was found usable.
fn must_fit(
    file: Result<Handle, Errno>,
    (start, length): (*const c_void, usize),
    usable: impl FnOnce(Handle) -> Result<(), Errno>,
) -> Result<(), Errno> {
    if reach::is_in_process(start, length) {
        return Ok(());
    }
    usable(file?)?;
    Err(Errno::EFAULT)
}

/// The buffers of a vectored call.
///
/// # Safety
/// Nothing changes the list during the call.
unsafe fn parts<'a>(parts: *const iovec, count: c_int) -> Result<&'a [iovec], Errno> {
    let count = match usize::try_from(count) {
        Ok(0) => return Ok(&[]),
        Ok(count @ 1..=1024) => count,
        _ => return Err(Errno::EINVAL),
    };
    let size = count * size_of::<iovec>();
    if !parts.is_aligned() || reach::readable(parts.cast(), size) < size {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the list is aligned and was just read, and nothing changes it, by this function's
    // contract; any bytes are an `iovec`.
    let parts = unsafe { std::slice::from_raw_parts(parts, count) };
    match parts.iter().any(|part| isize::try_from(part.iov_len).is_err()) {
        true => Err(Errno::EINVAL),
        false if parts.iter().all(|part| reach::is_in_process(part.iov_base, part.iov_len)) => {
            Ok(parts)
        }
        false => Err(Errno::EFAULT),
    }
}

fn total(parts: &[iovec]) -> usize {
    parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.iov_len))
}

/// The bits of the addresses of some buffers, and of the lengths of all but the last: with
/// `O_DIRECT` each must begin where a sector does.
fn bits_of(parts: &[iovec]) -> u64 {
    let used = parts.iter().filter(|part| part.iov_len > 0);
    let mut bits = used.clone().fold(0, |bits, part| bits | part.iov_base.addr());
    let before_last = used.clone().count().saturating_sub(1);
    bits |= used.take(before_last).fold(0, |bits, part| bits | part.iov_len);
    bits as u64
}

/// Serves a vectored read. All buffers are filled from one read, so that no other call can come
/// between them.
///
/// # Safety
/// Nothing else uses the list, or the buffers as far as they can be written to, during the call.
unsafe fn scatter(
    door: &'static Door,
    fd: c_int,
    (list, count): (*const iovec, c_int),
    at: Option<off_t>,
    flags: c_int,
) -> Option<isize> {
    // SAFETY: by this function's contract.
    let list = unsafe { parts(list, count) };
    let length = list.as_deref().map_or(0, total);
    let called = Called::on(door, fd, numbers(at, length));
    let outcome = baton::serve(|world| {
        world.call(&called, |world| {
            let file = world.file(fd);
            must_not_be_negative(at)?;
            if list.is_err() {
                world.disk.check_readable(file?)?;
            }
            let list = list?;
            if let Ok(file) = file {
                check_vector(world.disk.check_readable(file), at, length, flags)?;
            }
            if length == 0 && file.is_ok() {
                return Ok(0);
            }
            let most = length.min(world.most_to_read(fd));
            let mut space = Vec::with_capacity(most);
            let mut whole = Room::of(&mut space.spare_capacity_mut()[..most]);
            let read = world.read(fd, &mut whole, at, bits_of(list))?;
            let mut rest = &*whole.filled();
            for part in list {
                let (now, later) = rest.split_at(part.iov_len.min(rest.len()));
                // SAFETY: by this function's contract.
                let mut room = unsafe { room(part.iov_base, now.len()) };
                room.push(now);
                if room.filled().len() < now.len() {
                    let stored =
                        read - world::length(rest.len()) + world::length(room.filled().len());
                    return world.stored_less(fd, at, stored, read);
                }
                rest = later;
            }
            Ok(read)
        })
    })?;
    Some(answer(outcome))
}

unsafe fn read_parts(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
) -> Option<isize> {
    if !is_simulated(fd) {
        return refuse_to_wait(door, fd);
    }
    // SAFETY: readv(2) takes a list of `count` buffers.
    unsafe { scatter(door, fd, (parts, count), None, 0) }
}

unsafe fn read_parts_at(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> Option<isize> {
    if !is_simulated(fd) {
        return None;
    }
    // SAFETY: preadv(2) takes a list of `count` buffers.
    unsafe { scatter(door, fd, (parts, count), Some(offset), 0) }
}

unsafe fn read_parts_with(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> Option<isize> {
    if !is_simulated(fd) {
        return None;
    }
    // An offset of -1 means the descriptor's own (preadv2(2)).
    let at = (offset != -1).then_some(offset);
    // SAFETY: preadv2(2) takes a list of `count` buffers.
    unsafe { scatter(door, fd, (parts, count), at, flags) }
}

/// Waits in the schedule where a read would block in the kernel; refuses a read that would block
/// forever.
fn refuse_to_wait(door: &'static Door, fd: c_int) -> Option<isize> {
    super::wait::until_ready(door, fd, libc::POLLIN).map(|errno| answer(Err(errno)))
}

/// Keeps what the engine writes to standard error.
fn listen(bytes: &[u8]) {
    if let Some(words) = world::enter(|world| world.hooks.words) {
        words(bytes);
    }
}

/// Serves a write from one buffer.
///
/// # Safety
/// Nothing changes the buffer during the call.
unsafe fn write_from(
    door: &'static Door,
    fd: c_int,
    (from, length): (*const c_void, usize),
    at: Option<off_t>,
) -> Option<isize> {
    let outcome = on_descriptor(door, fd, numbers(at, length), |world, file| {
        must_not_be_negative(at)?;
        world.disk.check_writable(file)?;
        if !reach::is_in_process(from, length) {
            return Err(Errno::EFAULT);
        }
        let memory = from.addr() as u64;
        // SAFETY: by this function's contract.
        world.write_as(file, unsafe { given(from, length) }?, at, 0, memory)
    })?;
    Some(answer(outcome))
}

unsafe fn write(
    door: &'static Door,
    fd: c_int,
    from: *const c_void,
    length: usize,
) -> Option<isize> {
    if !is_simulated(fd) {
        if fd == libc::STDERR_FILENO {
            // SAFETY: write(2) takes a buffer of `length` bytes.
            listen(unsafe { given(from, length) }.unwrap_or_default());
        }
        super::wait::stir();
        return None;
    }
    // SAFETY: as above.
    unsafe { write_from(door, fd, (from, length), None) }
}

unsafe fn write_at(
    door: &'static Door,
    fd: c_int,
    from: *const c_void,
    length: usize,
    offset: off_t,
) -> Option<isize> {
    // SAFETY: pwrite(2) takes a buffer of `length` bytes.
    unsafe { write_from(door, fd, (from, length), Some(offset)) }
}

/// Joins a list of buffers: the kernel writes them as one, too, up to the first byte that it cannot
/// read.
///
/// # Safety
/// Nothing changes the buffers during the call.
unsafe fn gather(list: &[iovec]) -> Result<Vec<u8>, Errno> {
    let mut whole = Vec::new();
    for part in list {
        // SAFETY: by this function's contract.
        let given = unsafe { given(part.iov_base, part.iov_len) };
        if whole.is_empty() {
            given?;
        }
        let bytes = given.unwrap_or_default();
        whole.extend_from_slice(bytes);
        if bytes.len() < part.iov_len {
            break;
        }
    }
    Ok(whole)
}

/// Serves a vectored write.
///
/// # Safety
/// Nothing changes the list or the buffers during the call.
unsafe fn write_gathered(
    door: &'static Door,
    fd: c_int,
    (list, count): (*const iovec, c_int),
    at: Option<off_t>,
    flags: c_int,
) -> Option<isize> {
    if !is_simulated(fd) {
        return None;
    }
    let outcome = baton::serve(|world| {
        // SAFETY: by this function's contract.
        let (list, bytes) = unsafe {
            let list = parts(list, count);
            (list, list.and_then(|list| gather(list)))
        };
        let length = bytes.as_ref().map_or(0, Vec::len);
        let called = Called::on(door, fd, numbers(at, length));
        world.call(&called, |world| {
            let file = world.file(fd)?;
            must_not_be_negative(at)?;
            world.disk.check_writable(file)?;
            let list = list?;
            if total(list) == 0 {
                return Ok(0);
            }
            must_end(at, total(list))?;
            let flags = checked_flags(flags, true, world.disk.is_direct(file))?;
            world.write_as(file, &bytes?, at, flags, bits_of(list))
        })
    })?;
    Some(answer(outcome))
}

/// Checks the flags of preadv2(2) and pwritev2(2) as `kiocb_set_rw_flags` does for a file of ext4;
/// returns them as those of a write.
///
/// Everything is in the cache, so no read would wait; a buffered write cannot promise that it does
/// not (`ext4_buffered_write_iter`).
fn checked_flags(flags: c_int, writes: bool, direct: bool) -> Result<c_int, Errno> {
    let is = |flag| flags & flag != 0;
    let free = libc::RWF_HIPRI | RWF_DONTCACHE | RWF_NOSIGNAL;
    let synced = libc::RWF_DSYNC | libc::RWF_SYNC;
    let known = free | synced | libc::RWF_NOWAIT | libc::RWF_APPEND | RWF_NOAPPEND;
    if is(!known) {
        return Err(Errno::EOPNOTSUPP);
    }
    if is(libc::RWF_APPEND) && is(RWF_NOAPPEND) {
        return Err(Errno::EINVAL);
    }
    if is(libc::RWF_NOWAIT) && writes && !direct {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut given = if is(libc::RWF_APPEND) { libc::O_APPEND } else { 0 };
    if is(RWF_NOAPPEND) {
        given |= NO_APPEND;
    }
    Ok(given
        | match flags {
            _ if is(libc::RWF_SYNC) => libc::O_SYNC,
            _ if is(libc::RWF_DSYNC) => libc::O_DSYNC,
            _ => 0,
        })
}

// Flags of preadv2(2) and pwritev2(2) that the `libc` crate does not declare for this C library;
// include/uapi/linux/fs.h.
const RWF_NOAPPEND: c_int = 0x20;
const RWF_DONTCACHE: c_int = 0x80;
const RWF_NOSIGNAL: c_int = 0x100;

unsafe fn write_parts(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
) -> Option<isize> {
    if !is_simulated(fd) {
        super::wait::stir();
    }
    if fd == libc::STDERR_FILENO {
        // SAFETY: writev(2) takes a list of `count` buffers.
        let words = unsafe { self::parts(parts, count).and_then(|list| gather(list)) };
        listen(&words.unwrap_or_default());
    }
    // SAFETY: the same.
    unsafe { write_gathered(door, fd, (parts, count), None, 0) }
}

unsafe fn write_parts_at(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
) -> Option<isize> {
    // SAFETY: pwritev(2) takes a list of `count` buffers.
    unsafe { write_gathered(door, fd, (parts, count), Some(offset), 0) }
}

unsafe fn write_parts_with(
    door: &'static Door,
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> Option<isize> {
    let at = (offset != -1).then_some(offset);
    // SAFETY: pwritev2(2) takes a list of `count` buffers.
    unsafe { write_gathered(door, fd, (parts, count), at, flags) }
}

fn seek(door: &'static Door, fd: c_int, offset: off_t, whence: c_int) -> Option<off_t> {
    if !is_simulated(fd) {
        return None;
    }
    let outcome = world::enter(|world| {
        if matches!(whence, libc::SEEK_DATA | libc::SEEK_HOLE) {
            world.see(Sight::Holes);
        }
        let outcome = world.file(fd).and_then(|file| world.seek(file, offset, whence));
        let result = outcome.unwrap_or_else(|errno| -i64::from(errno.0));
        let what = bits(fd) << 32 | bits(whence);
        world.call_unrecorded(door.name, CALL, [what, bits(offset), bits(result)]);
        outcome
    })?;
    Some(answer(outcome))
}
