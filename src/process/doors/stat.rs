//! Doors that describe files and file systems.

use std::ffi::{c_char, c_int, c_uint};

use libc::{dev_t, stat64, statfs64, statvfs64, statx_timestamp};

use crate::base::digest::hash;
use crate::disk::effect::Kind;
use crate::disk::io::{DIRECT_ALIGN, SIZE_MAX};
use crate::disk::path::NAME_MAX;
use crate::disk::sight::Sight;
use crate::disk::{Errno, Ino, Stat};
use crate::process::seam;
use crate::process::seam::reach;
use crate::process::threads::baton;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::mounts::{DEVICE, EXT4, MOUNT_ID, file_system};
use crate::process::world::{self, CallResult, Called, Referent, World};

use super::path::descriptor_named;
use super::{answer, bits, bytes, doors, on_descriptor, on_path};

// On x86-64 the plain and the 64-bit structures are the same.
doors! {
    fn stat(path: *const c_char, to: *mut stat64) -> c_int = stat_path, faults Before(Stat);
    fn stat64(path: *const c_char, to: *mut stat64) -> c_int = stat_path, faults Before(Stat);
    fn lstat(path: *const c_char, to: *mut stat64) -> c_int = stat_link, faults Before(Stat);
    fn lstat64(path: *const c_char, to: *mut stat64) -> c_int = stat_link, faults Before(Stat);
    fn fstat(fd: c_int, to: *mut stat64) -> c_int = stat_descriptor, faults Before(Stat);
    fn fstat64(fd: c_int, to: *mut stat64) -> c_int = stat_descriptor, faults Before(Stat);
    fn fstatat(dirfd: c_int, path: *const c_char, to: *mut stat64, flags: c_int) -> c_int
        = stat_at, faults Before(Stat);
    fn fstatat64(dirfd: c_int, path: *const c_char, to: *mut stat64, flags: c_int) -> c_int
        = stat_at, faults Before(Stat);
    fn statx(dirfd: c_int, path: *const c_char, flags: c_int, mask: c_uint, to: *mut libc::statx)
        -> c_int = stat_extended, faults Before(Stat);
    fn __xstat(version: c_int, path: *const c_char, to: *mut stat64) -> c_int
        = old_stat, faults Before(Stat);
    fn __xstat64(version: c_int, path: *const c_char, to: *mut stat64) -> c_int
        = old_stat, faults Before(Stat);
    fn __lxstat(version: c_int, path: *const c_char, to: *mut stat64) -> c_int
        = old_stat_link, faults Before(Stat);
    fn __lxstat64(version: c_int, path: *const c_char, to: *mut stat64) -> c_int
        = old_stat_link, faults Before(Stat);
    fn __fxstat(version: c_int, fd: c_int, to: *mut stat64) -> c_int
        = old_stat_descriptor, faults Before(Stat);
    fn __fxstat64(version: c_int, fd: c_int, to: *mut stat64) -> c_int
        = old_stat_descriptor, faults Before(Stat);
    fn __fxstatat(version: c_int, dirfd: c_int, path: *const c_char, to: *mut stat64, flags: c_int)
        -> c_int = old_stat_at, faults Before(Stat);
    fn __fxstatat64(
        version: c_int, dirfd: c_int, path: *const c_char, to: *mut stat64, flags: c_int
    ) -> c_int = old_stat_at, faults Before(Stat);
    fn access(path: *const c_char, mode: c_int) -> c_int = access, faults Before(Stat);
    fn faccessat(dirfd: c_int, path: *const c_char, mode: c_int, flags: c_int) -> c_int
        = access_at, faults Before(Stat);
    fn euidaccess(path: *const c_char, mode: c_int) -> c_int = access, faults Before(Stat);
    fn eaccess(path: *const c_char, mode: c_int) -> c_int = access, faults Before(Stat);
    fn statfs(path: *const c_char, to: *mut statfs64) -> c_int = stat_disk;
    fn __statfs(path: *const c_char, to: *mut statfs64) -> c_int = stat_disk;
    fn statfs64(path: *const c_char, to: *mut statfs64) -> c_int = stat_disk;
    fn fstatfs(fd: c_int, to: *mut statfs64) -> c_int = stat_disk_of;
    fn fstatfs64(fd: c_int, to: *mut statfs64) -> c_int = stat_disk_of;
    fn statvfs(path: *const c_char, to: *mut statvfs64) -> c_int = stat_volume;
    fn statvfs64(path: *const c_char, to: *mut statvfs64) -> c_int = stat_volume;
    fn fstatvfs(fd: c_int, to: *mut statvfs64) -> c_int = stat_volume_of;
    fn fstatvfs64(fd: c_int, to: *mut statvfs64) -> c_int = stat_volume_of;
    fn pathconf(path: *const c_char, name: c_int) -> i64 = limit;
    fn fpathconf(fd: c_int, name: c_int) -> i64 = limit_of;
}

/// The blocks and the inodes of a disk without a limit: 1 TiB.
const BLOCKS: u64 = 1 << 28;
const BLOCK: u64 = 4096;

/// The subject of stat(2): a file of the disk, or the entropy device.
enum StatSubject {
    File(Stat),
    Random,
    /// The link in `/proc/self/fd` that leads to a descriptor.
    Link,
}

impl StatSubject {
    fn mode(&self) -> u32 {
        match self {
            Self::File(file) => file.mode,
            Self::Random => libc::S_IFCHR | 0o666,
            Self::Link => libc::S_IFLNK | 0o700,
        }
    }
}

/// Fills a caller's structure, which begins as all zeros.
///
/// # Safety
/// All zeros are a valid value of the structure, and nothing else uses the caller's during the
/// call.
unsafe fn fill_in<T: Copy>(
    world: &mut World,
    to: *mut T,
    fill: impl FnOnce(&mut World, &mut T),
) -> CallResult {
    // SAFETY: all zeros are a valid value, by this function's contract.
    let mut value = unsafe { std::mem::zeroed() };
    fill(world, &mut value);
    // SAFETY: the structure is the caller's, by this function's contract.
    if unsafe { reach::store(to, value) } { Ok(0) } else { Err(Errno::EFAULT) }
}

impl World {
    fn found(&self, fd: c_int) -> Result<StatSubject, Errno> {
        let descriptor = self.descriptors.get(fd).ok_or(Errno::EBADF)?;
        match descriptor.referent {
            Referent::File(file) => self.disk.stat(file).map(StatSubject::File),
            Referent::Random => Ok(StatSubject::Random),
        }
    }

    /// Fills the structure of stat(2).
    fn fill(&mut self, found: &StatSubject, to: &mut stat64) {
        if let StatSubject::File(file) = found {
            self.saw(file, libc::STATX_BASIC_STATS);
        }
        let seconds = |time| self.clock.shown_time(time);
        to.st_dev = libc::makedev(DEVICE.0, DEVICE.1);
        to.st_blksize = BLOCK.cast_signed();
        let StatSubject::File(file) = found else {
            (to.st_mode, to.st_nlink, to.st_ino) = (found.mode(), 1, 0);
            return;
        };
        (to.st_ino, to.st_mode, to.st_nlink) = (file.ino.shown(), file.mode, file.nlink);
        to.st_size = file.size.cast_signed();
        to.st_blocks = file.blocks.cast_signed();
        let times = [file.accessed, file.modified, file.changed].map(seconds);
        (to.st_uid, to.st_gid) = file.owner;
        (to.st_atime, to.st_atime_nsec) = (times[0].tv_sec, times[0].tv_nsec);
        (to.st_mtime, to.st_mtime_nsec) = (times[1].tv_sec, times[1].tv_nsec);
        (to.st_ctime, to.st_ctime_nsec) = (times[2].tv_sec, times[2].tv_nsec);
    }

    /// Fills the structure of statx(2).
    fn fill_extended(&mut self, found: &StatSubject, asked: c_uint, to: &mut libc::statx) {
        if let StatSubject::File(file) = found {
            self.saw(file, asked);
        }
        let stamp = |time| stamp(self.clock.shown_time(time));
        (to.stx_dev_major, to.stx_dev_minor) = DEVICE;
        to.stx_blksize = BLOCK as u32;
        to.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
        to.stx_mnt_id = u64::from(MOUNT_ID);
        let StatSubject::File(file) = found else {
            (to.stx_mode, to.stx_nlink) = (found.mode() as u16, 1);
            return;
        };
        (to.stx_ino, to.stx_mode) = (file.ino.shown(), file.mode as u16);
        to.stx_nlink = u32::try_from(file.nlink).unwrap_or(u32::MAX);
        (to.stx_size, to.stx_blocks) = (file.size, file.blocks);
        (to.stx_uid, to.stx_gid) = file.owner;
        to.stx_atime = stamp(file.accessed);
        to.stx_btime = stamp(file.created);
        if asked & CHANGED == 0 {
            // A caller that does not ask for these does not get them (`fill_mg_cmtime`).
            to.stx_mask &= !CHANGED;
        } else {
            to.stx_mtime = stamp(file.modified);
            to.stx_ctime = stamp(file.changed);
        }
        if file.kind == Kind::File && asked & libc::STATX_DIOALIGN != 0 {
            to.stx_mask |= libc::STATX_DIOALIGN;
            to.stx_dio_mem_align = DIRECT_ALIGN as u32;
            to.stx_dio_offset_align = DIRECT_ALIGN as u32;
        }
    }
}

/// The times of the last changes, which statx(2) shows together.
const CHANGED: c_uint = libc::STATX_MTIME | libc::STATX_CTIME;

impl World {
    /// Notes what a call shows of a file.
    fn saw(&mut self, file: &Stat, asked: c_uint) {
        self.see_number(file.ino);
        self.see(Sight::Holes);
        let numbers = [file.ino.shown(), u64::from(file.mode), file.nlink, file.size, file.blocks];
        let times = [file.accessed, file.modified, file.changed, file.created].map(|time| time.0);
        let owner = [u64::from(file.owner.0), u64::from(file.owner.1)];
        let answer = numbers.into_iter().chain(times).chain(owner).flat_map(u64::to_le_bytes);
        self.bytes = hash(&answer.collect::<Vec<u8>>());
        match asked & CHANGED {
            0 => self.see_other_times([file.accessed, file.created]),
            _ => {
                self.see_times(file.ino, [file.accessed, file.modified, file.changed, file.created])
            }
        }
    }
}

fn stamp(shown: libc::timespec) -> statx_timestamp {
    // SAFETY: all zeros are a valid time stamp.
    let mut stamp: statx_timestamp = unsafe { std::mem::zeroed() };
    (stamp.tv_sec, stamp.tv_nsec) = (shown.tv_sec, shown.tv_nsec as u32);
    stamp
}

/// Flags that fstatat(2) takes; statx(2) takes those of [`SYNC_TYPES`] too.
const STAT_FLAGS: c_int = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_EMPTY_PATH;
const SYNC_TYPES: c_int = libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC;

/// Serves a call about a path or, with `AT_EMPTY_PATH`, about a descriptor, if its arguments are
/// valid.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn look(
    door: &'static Door,
    (dirfd, path): (c_int, *const c_char),
    (flags, valid): (c_int, bool),
    report: impl FnOnce(&mut World, &StatSubject) -> CallResult,
) -> Option<CallResult> {
    // SAFETY: `path` is null or a C string, by this function's contract.
    let name = unsafe { bytes(path) };
    let empty = name == Some(b"") || path.is_null();
    if empty && flags & libc::AT_EMPTY_PATH != 0 {
        return look_at(door, dirfd, |world, found| {
            if !valid {
                return Err(Errno::EINVAL);
            }
            report(world, found)
        });
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    let open = name.and_then(descriptor_named).filter(|&fd| is_simulated(fd));
    if let Some(fd) = open {
        return look_at(door, fd, |world, found| {
            if !valid {
                return Err(Errno::EINVAL);
            }
            report(world, if follow { found } else { &StatSubject::Link })
        })
        .map(|outcome| outcome.map_err(absent));
    }
    // SAFETY: the same.
    unsafe {
        on_path(door, dirfd, path, [bits(flags), 0], |world, base: Ino, path| {
            if !valid {
                return Err(Errno::EINVAL);
            }
            let found = world.disk.stat_path(base, path, follow)?;
            report(world, &StatSubject::File(found))
        })
    }
}

/// The error of a path in `/proc/self/fd`: one that is closed has no name there.
fn absent(errno: Errno) -> Errno {
    if errno == Errno::EBADF { Errno::ENOENT } else { errno }
}

fn look_at(
    door: &'static Door,
    fd: c_int,
    report: impl FnOnce(&mut World, &StatSubject) -> CallResult,
) -> Option<CallResult> {
    if !is_simulated(fd) {
        return None;
    }
    baton::serve(|world| {
        world.call(&Called::on(door, fd, [0; 2]), |world| {
            let found = world.found(fd)?;
            report(world, &found)
        })
    })
}

pub(super) unsafe fn stat_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    to: *mut stat64,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: fstatat(2) takes a C string and room for the answer.
    let outcome = unsafe {
        look(door, (dirfd, path), (flags, flags & !STAT_FLAGS == 0), |world, found| {
            fill_in(world, to, |world, to| world.fill(found, to))
        })
    }?;
    Some(answer(outcome))
}

unsafe fn stat_path(door: &'static Door, path: *const c_char, to: *mut stat64) -> Option<c_int> {
    // SAFETY: stat(2) takes a C string and room for the answer.
    unsafe { stat_at(door, libc::AT_FDCWD, path, to, 0) }
}

unsafe fn stat_link(door: &'static Door, path: *const c_char, to: *mut stat64) -> Option<c_int> {
    // SAFETY: lstat(2) takes a C string and room for the answer.
    unsafe { stat_at(door, libc::AT_FDCWD, path, to, libc::AT_SYMLINK_NOFOLLOW) }
}

unsafe fn stat_descriptor(door: &'static Door, fd: c_int, to: *mut stat64) -> Option<c_int> {
    let outcome = look_at(door, fd, |world, found| {
        // SAFETY: fstat(2) takes room for the answer.
        unsafe { fill_in(world, to, |world, to| world.fill(found, to)) }
    })?;
    Some(answer(outcome))
}

pub(super) unsafe fn stat_extended(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    to: *mut libc::statx,
) -> Option<c_int> {
    if path.is_null() && flags & libc::AT_EMPTY_PATH == 0 {
        // The standard library probes with a null pointer whether the call exists.
        return Some(answer(Err(Errno::EFAULT)));
    }
    const RESERVED: c_uint = 1 << 31;
    let known = flags & !(STAT_FLAGS | SYNC_TYPES) == 0 && mask & RESERVED == 0;
    let valid = known && flags & SYNC_TYPES != SYNC_TYPES;
    // SAFETY: statx(2) takes a C string and room for the answer.
    let outcome = unsafe {
        look(door, (dirfd, path), (flags, valid), |world, found| {
            fill_in(world, to, |world, to| world.fill_extended(found, mask, to))
        })
    }?;
    Some(answer(outcome))
}

unsafe fn old_stat(
    door: &'static Door,
    _: c_int,
    path: *const c_char,
    to: *mut stat64,
) -> Option<c_int> {
    // SAFETY: as stat(2), which is what newer programs call.
    unsafe { stat_path(door, path, to) }
}

unsafe fn old_stat_link(
    door: &'static Door,
    _: c_int,
    path: *const c_char,
    to: *mut stat64,
) -> Option<c_int> {
    // SAFETY: as lstat(2), which is what newer programs call.
    unsafe { stat_link(door, path, to) }
}

unsafe fn old_stat_descriptor(
    door: &'static Door,
    _: c_int,
    fd: c_int,
    to: *mut stat64,
) -> Option<c_int> {
    // SAFETY: as fstat(2), which is what newer programs call.
    unsafe { stat_descriptor(door, fd, to) }
}

unsafe fn old_stat_at(
    door: &'static Door,
    _: c_int,
    dirfd: c_int,
    path: *const c_char,
    to: *mut stat64,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: as fstatat(2), which is what newer programs call.
    unsafe { stat_at(door, dirfd, path, to, flags) }
}

unsafe fn access(door: &'static Door, path: *const c_char, mode: c_int) -> Option<c_int> {
    // SAFETY: access(2) takes a C string.
    unsafe { access_at(door, libc::AT_FDCWD, path, mode, 0) }
}

unsafe fn access_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> Option<c_int> {
    const KNOWN: c_int = libc::AT_EACCESS | libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    let arguments = [bits(mode), bits(flags)];
    // SAFETY: faccessat(2) takes a C string.
    if flags & libc::AT_EMPTY_PATH != 0 && unsafe { bytes(path) } == Some(b"") {
        let outcome = on_descriptor(door, dirfd, arguments, |world, file| match flags & !KNOWN {
            0 => world.disk.access_handle(file, mode).map(|()| 0),
            _ => Err(Errno::EINVAL),
        })?;
        return Some(answer(outcome));
    }
    // SAFETY: the same.
    let named = unsafe { bytes(path) }.and_then(descriptor_named);
    if let Some(fd) = named.filter(|&fd| is_simulated(fd)) {
        let outcome = on_descriptor(door, fd, arguments, |world, file| {
            world.disk.access_handle(file, mode).map(|()| 0)
        })?;
        return Some(answer(outcome.map_err(absent)));
    }
    // SAFETY: the same.
    let outcome = unsafe {
        on_path(door, dirfd, path, arguments, |world, base, path| {
            if flags & !KNOWN != 0 || mode & !(libc::R_OK | libc::W_OK | libc::X_OK) != 0 {
                return Err(Errno::EINVAL);
            }
            if flags & libc::AT_SYMLINK_NOFOLLOW == 0 {
                return world.disk.access(base, path, mode).map(|()| 0);
            }
            match world.disk.stat_path(base, path, false)?.kind {
                Kind::Symlink => Ok(0),
                _ => world.disk.access(base, path, mode).map(|()| 0),
            }
        })
    }?;
    Some(answer(outcome))
}

/// A file system: its type, its blocks and inodes, and how many of them are free.
#[derive(Clone, Copy)]
struct Volume {
    kind: i64,
    blocks: u64,
    free: u64,
    inodes: u64,
    free_inodes: u64,
}

impl Volume {
    /// What the engine sees of a disk of the host.
    const HOST: Self = Self {
        kind: EXT4,
        blocks: BLOCKS,
        free: BLOCKS / 2,
        inodes: BLOCKS,
        free_inodes: BLOCKS / 2,
    };
}

impl World {
    /// The simulated disk, up to its limit if it has one.
    fn volume(&mut self) -> Volume {
        self.see(Sight::Holes);
        let (used, used_inodes) = self.disk.used();
        let (blocks, inodes) = self.disk.capacity().unwrap_or((BLOCKS, BLOCKS));
        let free = blocks.saturating_sub(used);
        self.bytes = hash(&[free.to_le_bytes(), used_inodes.to_le_bytes()].concat());
        let (_, kind) = file_system(self.profile);
        Volume { kind, blocks, free, inodes, free_inodes: inodes.saturating_sub(used_inodes) }
    }
}

fn fill_disk(volume: Volume, to: &mut statfs64) {
    to.f_type = volume.kind;
    (to.f_bsize, to.f_frsize) = (BLOCK.cast_signed(), BLOCK.cast_signed());
    to.f_namelen = NAME_MAX as i64;
    fill_room_of_disk(volume, to);
}

fn fill_room_of_disk(volume: Volume, to: &mut statfs64) {
    (to.f_blocks, to.f_bfree, to.f_bavail) = (volume.blocks, volume.free, volume.free);
    (to.f_files, to.f_ffree) = (volume.inodes, volume.free_inodes);
}

fn fill_volume(volume: Volume, to: &mut statvfs64) {
    (to.f_bsize, to.f_frsize) = (BLOCK, BLOCK);
    to.f_fsid = device();
    to.f_namemax = NAME_MAX as u64;
    fill_room_of_volume(volume, to);
}

fn fill_room_of_volume(volume: Volume, to: &mut statvfs64) {
    (to.f_blocks, to.f_bfree, to.f_bavail) = (volume.blocks, volume.free, volume.free);
    (to.f_files, to.f_ffree) = (volume.inodes, volume.free_inodes);
    to.f_favail = volume.free_inodes;
}

fn device() -> dev_t {
    libc::makedev(DEVICE.0, DEVICE.1)
}

/// Serves a call about the file system of a path.
///
/// # Safety
/// `path` is null or a C string, and `to` is null or has room for the structure, for which all
/// zeros are a valid value.
unsafe fn about_path<T: Copy>(
    door: &'static Door,
    path: *const c_char,
    to: *mut T,
    fill: impl FnOnce(Volume, &mut T),
) -> Option<c_int> {
    // SAFETY: this function's contract is that of `on_path` and of `fill_in`.
    let outcome = unsafe {
        on_path(door, libc::AT_FDCWD, path, [0; 2], |world, base, path| {
            world.disk.stat_path(base, path, true)?;
            fill_in(world, to, |world, to| fill(world.volume(), to))
        })
    }?;
    Some(answer(outcome))
}

/// As [`about_path`], for a descriptor.
///
/// # Safety
/// `to` is null or has room for the structure, for which all zeros are a valid value.
unsafe fn about_descriptor<T: Copy>(
    door: &'static Door,
    fd: c_int,
    to: *mut T,
    fill: impl FnOnce(Volume, &mut T),
) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [0; 2], |world, _| {
        // SAFETY: this function's contract is that of `fill_in`.
        unsafe { fill_in(world, to, |world, to| fill(world.volume(), to)) }
    })?;
    Some(answer(outcome))
}

/// Serves a call about a file system of the host, whose room changes all the time: the engine sees
/// one that is half full.
///
/// # Safety
/// `ask` fills the structure if it returns 0, and `to` points to it then.
unsafe fn about_host<T>(
    to: *mut T,
    ask: impl FnOnce() -> c_int,
    fill: impl FnOnce(Volume, &mut T),
) -> Option<c_int> {
    world::enter(|_| ())?;
    let _harness = seam::harness();
    let asked = ask();
    if asked == 0 {
        // SAFETY: by this function's contract.
        fill(Volume::HOST, unsafe { &mut *to });
    }
    Some(asked)
}

unsafe fn stat_disk(door: &'static Door, path: *const c_char, to: *mut statfs64) -> Option<c_int> {
    // SAFETY: statfs(2) takes a C string and room for the answer, and fills it on success.
    unsafe {
        about_path(door, path, to, fill_disk)
            .or_else(|| about_host(to, || libc::statfs64(path, to), fill_room_of_disk))
    }
}

unsafe fn stat_disk_of(door: &'static Door, fd: c_int, to: *mut statfs64) -> Option<c_int> {
    // SAFETY: fstatfs(2) takes room for the answer, and fills it on success.
    unsafe {
        about_descriptor(door, fd, to, fill_disk)
            .or_else(|| about_host(to, || libc::fstatfs64(fd, to), fill_room_of_disk))
    }
}

unsafe fn stat_volume(
    door: &'static Door,
    path: *const c_char,
    to: *mut statvfs64,
) -> Option<c_int> {
    // SAFETY: statvfs(3) takes a C string and room for the answer, and fills it on success.
    unsafe {
        about_path(door, path, to, fill_volume)
            .or_else(|| about_host(to, || libc::statvfs64(path, to), fill_room_of_volume))
    }
}

unsafe fn stat_volume_of(door: &'static Door, fd: c_int, to: *mut statvfs64) -> Option<c_int> {
    // SAFETY: fstatvfs(3) takes room for the answer, and fills it on success.
    unsafe {
        about_descriptor(door, fd, to, fill_volume)
            .or_else(|| about_host(to, || libc::fstatvfs64(fd, to), fill_room_of_volume))
    }
}

/// A limit of the disk (pathconf(3)).
fn limit_named(name: c_int) -> CallResult {
    match name {
        libc::_PC_LINK_MAX => Ok(crate::disk::names::LINK_MAX.into()),
        libc::_PC_NAME_MAX => Ok(NAME_MAX as i64),
        libc::_PC_PATH_MAX => Ok(libc::PATH_MAX.into()),
        libc::_PC_FILESIZEBITS => Ok((u64::BITS - SIZE_MAX.leading_zeros() + 1).into()),
        libc::_PC_REC_XFER_ALIGN | libc::_PC_ALLOC_SIZE_MIN => Ok(BLOCK.cast_signed()),
        libc::_PC_NO_TRUNC | libc::_PC_CHOWN_RESTRICTED | libc::_PC_2_SYMLINKS => Ok(1),
        _ => Err(Errno::EINVAL),
    }
}

unsafe fn limit(door: &'static Door, path: *const c_char, name: c_int) -> Option<i64> {
    // SAFETY: pathconf(3) takes a C string.
    let outcome = unsafe {
        on_path(door, libc::AT_FDCWD, path, [bits(name), 0], |_, _, _| limit_named(name))
    }?;
    Some(answer(outcome))
}

fn limit_of(door: &'static Door, fd: c_int, name: c_int) -> Option<i64> {
    let outcome = on_descriptor(door, fd, [bits(name), 0], |_, _| limit_named(name))?;
    Some(answer(outcome))
}
