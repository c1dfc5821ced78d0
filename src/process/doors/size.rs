//! Doors that set sizes, reserve space and make things durable.

use std::ffi::{c_char, c_int, c_uint};

use libc::off_t;

use crate::disk::Errno;
use crate::process::threads::baton;
use crate::process::world::Called;
use crate::process::world::door::Door;
use crate::process::world::inject::SyncScope;

use super::{answer, bits, change_path, doors, error_number, on_descriptor};

doors! {
    fn ftruncate(fd: c_int, size: off_t) -> c_int = truncate, faults Before(Truncate);
    fn ftruncate64(fd: c_int, size: off_t) -> c_int = truncate, faults Before(Truncate);
    fn truncate(path: *const c_char, size: off_t) -> c_int = truncate_path, faults Before(Truncate);
    fn truncate64(path: *const c_char, size: off_t) -> c_int
        = truncate_path, faults Before(Truncate);
    fn fallocate(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int
        = allocate, faults Before(Allocate);
    fn fallocate64(fd: c_int, mode: c_int, offset: off_t, length: off_t) -> c_int
        = allocate, faults Before(Allocate);
    fn posix_fallocate(fd: c_int, offset: off_t, length: off_t) -> c_int
        = reserve, faults Before(Allocate);
    fn posix_fallocate64(fd: c_int, offset: off_t, length: off_t) -> c_int
        = reserve, faults Before(Allocate);
    fn fsync(fd: c_int) -> c_int = sync, faults Inside(Sync);
    fn fdatasync(fd: c_int) -> c_int = sync_data, faults Inside(Sync);
    fn sync_file_range(fd: c_int, offset: off_t, length: off_t, flags: c_uint) -> c_int
        = sync_range, faults Inside(Sync);
    fn syncfs(fd: c_int) -> c_int = sync_disk, faults Inside(Sync);
    fn sync() -> () = sync_all;
    fn posix_fadvise(fd: c_int, offset: off_t, length: off_t, advice: c_int) -> c_int = advise;
    fn posix_fadvise64(fd: c_int, offset: off_t, length: off_t, advice: c_int) -> c_int = advise;
    fn readahead(fd: c_int, offset: off_t, count: usize) -> isize = read_ahead;
}

fn truncate(door: &'static Door, fd: c_int, size: off_t) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(size), 0], |world, file| {
        world.disk.truncate(file, size).map(|()| 0)
    })?;
    Some(answer(outcome))
}

unsafe fn truncate_path(door: &'static Door, path: *const c_char, size: off_t) -> Option<c_int> {
    // SAFETY: truncate(2) takes a C string.
    let outcome = unsafe {
        change_path(door, libc::AT_FDCWD, path, [bits(size), 0], |world, base, path| {
            world.disk.truncate_path(base, path, size).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

fn allocate(
    door: &'static Door,
    fd: c_int,
    mode: c_int,
    offset: off_t,
    length: off_t,
) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(offset), bits(length)], |world, file| match world
        .disk
        .allocate(file, mode, offset, length)
    {
        Err(Errno::ENOSYS) => {
            world.not_simulated(&format!("{door} that moves the bytes of a file"));
            Err(Errno::EOPNOTSUPP)
        }
        allocated => allocated.map(|()| 0),
    })?;
    Some(answer(outcome))
}

fn reserve(door: &'static Door, fd: c_int, offset: off_t, length: off_t) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(offset), bits(length)], |world, file| {
        world.disk.allocate(file, 0, offset, length).map(|()| 0)
    })?;
    Some(error_number(outcome))
}

fn sync(door: &'static Door, fd: c_int) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [0; 2], |world, file| {
        world.sync(file, SyncScope::File, |disk| disk.fsync(file))
    })?;
    Some(answer(outcome))
}

fn sync_data(door: &'static Door, fd: c_int) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [0; 2], |world, file| {
        world.sync(file, SyncScope::Data, |disk| disk.fdatasync(file))
    })?;
    Some(answer(outcome))
}

fn sync_range(
    door: &'static Door,
    fd: c_int,
    offset: off_t,
    length: off_t,
    flags: c_uint,
) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(offset), bits(length)], |world, file| {
        world.sync(file, SyncScope::Data, |disk| disk.sync_range(file, offset, length, flags))
    })?;
    Some(answer(outcome))
}

fn sync_disk(door: &'static Door, fd: c_int) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [0; 2], |world, file| {
        world.sync(file, SyncScope::All, |disk| disk.sync_fs(file))
    })?;
    Some(answer(outcome))
}

/// Syncs the simulated disk; no run depends on the host's disks.
fn sync_all(door: &'static Door) -> Option<()> {
    baton::serve(|world| {
        let _ = world.call(&Called::on(door, -1, [0; 2]), |world| {
            world.disk.sync_all();
            Ok(0)
        });
    })
}

/// Advice about caching has no visible effect.
fn advise(
    door: &'static Door,
    fd: c_int,
    offset: off_t,
    length: off_t,
    advice: c_int,
) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(offset), bits(length)], |world, file| {
        world.disk.advise(file, length, advice).map(|()| 0)
    })?;
    Some(error_number(outcome))
}

fn read_ahead(door: &'static Door, fd: c_int, offset: off_t, count: usize) -> Option<isize> {
    let outcome = on_descriptor(door, fd, [bits(offset), count as u64], |world, file| {
        world.disk.read_ahead(file, count).map(|()| 0)
    })?;
    Some(answer(outcome))
}
