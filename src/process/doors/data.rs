//! Doors that move bytes.

use std::ffi::{c_int, c_uint, c_void};

use libc::{iovec, off_t};

use crate::base::digest::hash;
use crate::disk::{Errno, Handle};
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

/// The longest piece that one call copies between two files.
const LONGEST_COPY: usize = 1 << 20;

/// The numbers of a call as its record stores them: offset and length, or the length alone.
fn numbers(at: Option<off_t>, length: usize) -> [u64; 2] {
    at.map_or([length as u64, 0], |offset| [bits(offset), length as u64])
}

impl World {
    /// Reads from the file or the device of a descriptor.
    fn read(&mut self, fd: c_int, to: &mut Room<'_>, at: Option<off_t>) -> CallResult {
        let random =
            self.descriptors.get(fd).is_some_and(|d| matches!(d.referent, Referent::Random));
        if random {
            self.entropy.fill(to.zeroed());
        } else {
            let file = self.file(fd)?;
            self.read_file(file, to, at)?;
        }
        let read = to.filled();
        self.bytes = hash(read);
        Ok(length(read.len()))
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
            let mut to = unsafe { room(to, length) }?;
            world.read(fd, &mut to, at)
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

/// The buffers of a vectored call.
///
/// # Safety
/// `parts` is null or points to `count` buffers.
unsafe fn parts<'a>(parts: *const iovec, count: c_int) -> Result<&'a [iovec], Errno> {
    match usize::try_from(count) {
        Ok(0) => Ok(&[]),
        Ok(_) if parts.is_null() => Err(Errno::EFAULT),
        // SAFETY: `parts` is not null, so it points to `count` buffers, by this function's
        // contract.
        Ok(count @ 1..=1024) => Ok(unsafe { std::slice::from_raw_parts(parts, count) }),
        _ => Err(Errno::EINVAL),
    }
}

fn total(parts: &[iovec]) -> usize {
    parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.iov_len))
}

/// Serves a vectored read. All buffers are filled from one read, so that no other call can come
/// between them.
///
/// # Safety
/// `list` is null or points to `count` buffers, each with the room that it states.
unsafe fn scatter(
    door: &'static Door,
    fd: c_int,
    (list, count): (*const iovec, c_int),
    at: Option<off_t>,
) -> Option<isize> {
    // SAFETY: `list` is null or points to `count` buffers, by this function's contract.
    let list = unsafe { parts(list, count) };
    let length = list.as_deref().map_or(0, total);
    let called = Called::on(door, fd, numbers(at, length));
    let outcome = baton::serve(|world| {
        world.call(&called, |world| {
            let length = length.min(1 << 30);
            let mut space = Vec::with_capacity(length);
            let mut whole = Room::new(&mut space.spare_capacity_mut()[..length]);
            let read = world.read(fd, &mut whole, at)?;
            let mut rest = &*whole.filled();
            for part in list? {
                let (now, later) = rest.split_at(part.iov_len.min(rest.len()));
                // SAFETY: each buffer has the room that it states, by this function's contract.
                unsafe { room(part.iov_base, now.len()) }?.push(now);
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
    unsafe { scatter(door, fd, (parts, count), None) }
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
    unsafe { scatter(door, fd, (parts, count), Some(offset)) }
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
    if flags & !(libc::RWF_HIPRI | libc::RWF_NOWAIT) != 0 {
        return Some(answer(Err(Errno::EOPNOTSUPP)));
    }
    // An offset of -1 means the descriptor's own (preadv2(2)).
    let at = (offset != -1).then_some(offset);
    // SAFETY: preadv2(2) takes a list of `count` buffers.
    unsafe { scatter(door, fd, (parts, count), at) }
}

/// Waits in the schedule where a read would block in the kernel; refuses a read that would block
/// forever.
fn refuse_to_wait(door: &'static Door, fd: c_int) -> Option<isize> {
    super::wait::until_ready(door, fd, libc::POLLIN).map(|errno| answer(Err(errno)))
}

/// Keeps what the engine writes to standard error.
fn listen(fd: c_int, bytes: &[u8]) {
    if fd == libc::STDERR_FILENO
        && let Some(words) = world::enter(|world| world.hooks.words)
    {
        words(bytes);
    }
}

unsafe fn write(
    door: &'static Door,
    fd: c_int,
    from: *const c_void,
    length: usize,
) -> Option<isize> {
    // SAFETY: write(2) takes a buffer of `length` bytes.
    let bytes = unsafe { given(from, length) };
    if !is_simulated(fd) {
        listen(fd, bytes.unwrap_or_default());
        super::wait::stir();
        return None;
    }
    let outcome =
        on_descriptor(door, fd, [length as u64, 0], |world, file| world.write(file, bytes?, None))?;
    Some(answer(outcome))
}

unsafe fn write_at(
    door: &'static Door,
    fd: c_int,
    from: *const c_void,
    length: usize,
    offset: off_t,
) -> Option<isize> {
    let outcome = on_descriptor(door, fd, [bits(offset), length as u64], |world, file| {
        // SAFETY: pwrite(2) takes a buffer of `length` bytes.
        world.write(file, unsafe { given(from, length) }?, Some(offset))
    })?;
    Some(answer(outcome))
}

/// Joins a list of buffers: the kernel writes them as one, too.
///
/// # Safety
/// `list` is null or points to `count` buffers, each with the bytes that it states.
unsafe fn gather(list: *const iovec, count: c_int) -> Result<Vec<u8>, Errno> {
    let mut whole = Vec::new();
    // SAFETY: `list` is null or points to `count` buffers, by this function's contract.
    for part in unsafe { parts(list, count) }? {
        // SAFETY: each buffer has the bytes that it states, by this function's contract.
        whole.extend_from_slice(unsafe { given(part.iov_base, part.iov_len) }?);
    }
    Ok(whole)
}

/// Serves a vectored write.
///
/// # Safety
/// `list` is null or points to `count` buffers, each with the bytes that it states.
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
        // SAFETY: this function's contract is that of `gather`.
        let bytes = unsafe { gather(list, count) };
        let length = bytes.as_ref().map_or(0, Vec::len);
        let called = Called::on(door, fd, numbers(at, length));
        world.call(&called, |world| {
            let file = world.file(fd)?;
            world.write_as(file, &bytes?, at, flags)
        })
    })?;
    Some(answer(outcome))
}

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
        listen(fd, &unsafe { gather(parts, count) }.unwrap_or_default());
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
    let known = libc::RWF_DSYNC | libc::RWF_SYNC | libc::RWF_HIPRI;
    if is_simulated(fd) && flags & !known != 0 {
        return Some(answer(Err(Errno::EOPNOTSUPP)));
    }
    let at = (offset != -1).then_some(offset);
    let sync = match flags {
        _ if flags & libc::RWF_SYNC != 0 => libc::O_SYNC,
        _ if flags & libc::RWF_DSYNC != 0 => libc::O_DSYNC,
        _ => 0,
    };
    // SAFETY: pwritev2(2) takes a list of `count` buffers.
    unsafe { write_gathered(door, fd, (parts, count), at, sync) }
}

fn seek(door: &'static Door, fd: c_int, offset: off_t, whence: c_int) -> Option<off_t> {
    if !is_simulated(fd) {
        return None;
    }
    let outcome = world::enter(|world| {
        let outcome = world.file(fd).and_then(|file| world.seek(file, offset, whence));
        let result = outcome.unwrap_or_else(|errno| -i64::from(errno.0));
        let what = bits(fd) << 32 | bits(whence);
        world.call_unrecorded(door.name, CALL, [what, bits(offset), bits(result)]);
        outcome
    })?;
    Some(answer(outcome))
}

/// Copies a piece from one file to another, as copy_file_range(2) and sendfile(2) do.
///
/// # Safety
/// Each offset is null or points to one.
unsafe fn copy_piece(
    door: &'static Door,
    (from, from_at): (c_int, *mut off_t),
    (to, to_at): (c_int, *mut off_t),
    length: usize,
) -> Option<isize> {
    let outcome = on_descriptor(door, to, [bits(from), length as u64], |world, target| {
        let source = world.file(from)?;
        // SAFETY: `from_at` is null or points to an offset, by this function's contract.
        let at = unsafe { from_at.as_ref() }.copied();
        let start = at.map_or_else(|| world.seek(source, 0, libc::SEEK_CUR), Ok)?;
        let mut piece = vec![0; length.min(LONGEST_COPY)];
        let read = world.disk.read_at(source, &mut piece, start)?;
        // SAFETY: `to_at` is null or points to an offset, by this function's contract.
        let target_at = unsafe { to_at.as_ref() }.copied();
        let written = world.write(target, &piece[..read], target_at)?;
        // SAFETY: as for `from_at` above.
        match unsafe { from_at.as_mut() } {
            Some(at) => *at += written,
            None => {
                world.seek(source, start + written, libc::SEEK_SET)?;
            }
        }
        // SAFETY: as for `to_at` above.
        if let Some(at) = unsafe { to_at.as_mut() } {
            *at += written;
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
        (true, true) if flags == 0 => {
            // SAFETY: copy_file_range(2) takes offsets that are null or point to one.
            unsafe { copy_piece(door, (from, from_at), (to, to_at), length) }
        }
        (true, true) => Some(answer(Err(Errno::EINVAL))),
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
            // SAFETY: sendfile(2) takes an offset that is null or points to one.
            unsafe { copy_piece(door, (from, offset), (to, std::ptr::null_mut()), length) }
        }
        // The kernel's answer for files that it cannot splice; callers then read and write instead.
        _ => Some(answer(Err(Errno::EINVAL))),
    }
}

fn splice(
    _: &'static Door,
    from: c_int,
    _: *mut off_t,
    to: c_int,
    _: *mut off_t,
    _: usize,
    _: c_uint,
) -> Option<isize> {
    (is_simulated(from) || is_simulated(to)).then(|| answer(Err(Errno::EINVAL)))
}
