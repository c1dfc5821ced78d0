//! Doors that change names, permissions, owners and times.

use std::ffi::{c_char, c_int, c_uint};

use libc::{dev_t, gid_t, mode_t, timespec, timeval, uid_t, utimbuf};

use crate::base::time::Time;
use crate::disk::{Errno, Ino};
use crate::process::seam::reach;
use crate::process::threads::baton;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, Called, MOUNT, RANDOM, Referent, World};

use super::path::{DiskPath, descriptor_named, inside, mounted};
use super::{
    answer, bits, bytes, change_path, doors, host_files, note_outside, on_descriptor, on_path,
    room, unreadable,
};

doors! {
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int = make_directory, faults Before(Mkdir);
    fn mkdirat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int
        = make_directory_at, faults Before(Mkdir);
    fn rmdir(path: *const c_char) -> c_int = remove_directory, faults Before(Unlink);
    fn unlink(path: *const c_char) -> c_int = unlink, faults Before(Unlink);
    fn unlinkat(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int
        = unlink_at, faults Before(Unlink);
    fn remove(path: *const c_char) -> c_int = remove, faults Before(Unlink);
    fn rename(old: *const c_char, new: *const c_char) -> c_int = rename, faults Before(Rename);
    fn renameat(from: c_int, old: *const c_char, to: c_int, new: *const c_char) -> c_int
        = rename_at, faults Before(Rename);
    fn renameat2(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_uint)
        -> c_int = rename_with, faults Before(Rename);
    fn link(old: *const c_char, new: *const c_char) -> c_int = link, faults Before(Link);
    fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int)
        -> c_int = link_at, faults Before(Link);
    fn symlink(target: *const c_char, path: *const c_char) -> c_int
        = link_softly, faults Before(Link);
    fn symlinkat(target: *const c_char, dirfd: c_int, path: *const c_char) -> c_int
        = link_softly_at, faults Before(Link);
    fn readlink(path: *const c_char, to: *mut c_char, size: usize) -> isize
        = read_link, faults Before(Stat);
    fn readlinkat(dirfd: c_int, path: *const c_char, to: *mut c_char, size: usize) -> isize
        = read_link_at, faults Before(Stat);
    fn __readlink_chk(path: *const c_char, to: *mut c_char, size: usize, room: usize) -> isize
        = read_link_checked;
    fn __readlinkat_chk(
        dirfd: c_int, path: *const c_char, to: *mut c_char, size: usize, room: usize
    ) -> isize = read_link_checked_at;
    fn chmod(path: *const c_char, mode: mode_t) -> c_int = set_mode;
    fn fchmod(fd: c_int, mode: mode_t) -> c_int = set_mode_of;
    fn fchmodat(dirfd: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int
        = set_mode_at;
    fn lchmod(path: *const c_char, mode: mode_t) -> c_int = set_mode_of_link;
    fn chown(path: *const c_char, user: uid_t, group: gid_t) -> c_int = set_owner;
    fn lchown(path: *const c_char, user: uid_t, group: gid_t) -> c_int = set_owner_of_link;
    fn fchown(fd: c_int, user: uid_t, group: gid_t) -> c_int = set_owner_of;
    fn fchownat(dirfd: c_int, path: *const c_char, user: uid_t, group: gid_t, flags: c_int) -> c_int
        = set_owner_at;
    fn utimensat(dirfd: c_int, path: *const c_char, times: *const timespec, flags: c_int) -> c_int
        = set_times_at;
    fn futimens(fd: c_int, times: *const timespec) -> c_int = set_times_of;
    fn utimes(path: *const c_char, times: *const timeval) -> c_int = set_times;
    fn lutimes(path: *const c_char, times: *const timeval) -> c_int = set_times_of_link;
    fn futimes(fd: c_int, times: *const timeval) -> c_int = set_coarse_times_of;
    fn utime(path: *const c_char, times: *const utimbuf) -> c_int = set_seconds;
    fn umask(mask: mode_t) -> mode_t = set_mask;
    fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int
        = make_node, faults Before(Mkdir);
    fn mknodat(dirfd: c_int, path: *const c_char, mode: mode_t, device: dev_t) -> c_int
        = make_node_at, faults Before(Mkdir);
    fn __xmknod(version: c_int, path: *const c_char, mode: mode_t, device: *mut dev_t) -> c_int
        = make_old_node, faults Before(Mkdir);
    fn __xmknodat(
        version: c_int, dirfd: c_int, path: *const c_char, mode: mode_t, device: *mut dev_t
    ) -> c_int = make_old_node_at, faults Before(Mkdir);
}

const HERE: c_int = libc::AT_FDCWD;

pub(super) unsafe fn make_directory(
    door: &'static Door,
    path: *const c_char,
    mode: mode_t,
) -> Option<c_int> {
    // SAFETY: mkdir(2) takes a C string.
    unsafe { make_directory_at(door, HERE, path, mode) }
}

unsafe fn make_directory_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    mode: mode_t,
) -> Option<c_int> {
    // SAFETY: mkdirat(2) takes a C string.
    let outcome = unsafe {
        change_path(door, dirfd, path, [mode.into(), 0], |world, base, path| {
            world.disk.mkdir(base, path, mode & 0o7777 & !world.umask).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

unsafe fn make_node(
    door: &'static Door,
    path: *const c_char,
    mode: mode_t,
    device: dev_t,
) -> Option<c_int> {
    // SAFETY: mknod(2) takes a C string.
    unsafe { make_node_at(door, HERE, path, mode, device) }
}

/// Makes a regular file; pipes, sockets and devices are not simulated.
unsafe fn make_node_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    mode: mode_t,
    _: dev_t,
) -> Option<c_int> {
    // SAFETY: mknodat(2) takes a C string.
    let outcome = unsafe {
        change_path(door, dirfd, path, [mode.into(), 0], |world, base, path| {
            match mode & libc::S_IFMT {
                0 | libc::S_IFREG => {
                    let mode = mode & 0o7777 & !world.umask;
                    world.disk.make_file(base, path, mode).map(|()| 0)
                }
                libc::S_IFDIR => Err(Errno::EPERM),
                libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => {
                    world.not_simulated(&format!("{door} of a pipe, a socket or a device"));
                    Err(Errno::EPERM)
                }
                _ => Err(Errno::EINVAL),
            }
        })
    }?;
    Some(answer(outcome))
}

unsafe fn make_old_node(
    door: &'static Door,
    _: c_int,
    path: *const c_char,
    mode: mode_t,
    _: *mut dev_t,
) -> Option<c_int> {
    // SAFETY: as mknod(2), which is what newer programs call.
    unsafe { make_node_at(door, HERE, path, mode, 0) }
}

unsafe fn make_old_node_at(
    door: &'static Door,
    _: c_int,
    dirfd: c_int,
    path: *const c_char,
    mode: mode_t,
    _: *mut dev_t,
) -> Option<c_int> {
    // SAFETY: as mknodat(2), which is what newer programs call.
    unsafe { make_node_at(door, dirfd, path, mode, 0) }
}

unsafe fn remove_directory(door: &'static Door, path: *const c_char) -> Option<c_int> {
    // SAFETY: rmdir(2) takes a C string.
    unsafe { unlink_at(door, HERE, path, libc::AT_REMOVEDIR) }
}

unsafe fn unlink(door: &'static Door, path: *const c_char) -> Option<c_int> {
    // SAFETY: unlink(2) takes a C string.
    unsafe { unlink_at(door, HERE, path, 0) }
}

unsafe fn unlink_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: unlinkat(2) takes a C string.
    let outcome = unsafe {
        change_path(door, dirfd, path, [bits(flags), 0], |world, base, path| match flags {
            0 => world.disk.unlink(base, path).map(|()| 0),
            libc::AT_REMOVEDIR => world.disk.rmdir(base, path).map(|()| 0),
            _ => Err(Errno::EINVAL),
        })
    }?;
    Some(answer(outcome))
}

unsafe fn remove(door: &'static Door, path: *const c_char) -> Option<c_int> {
    // SAFETY: remove(3) takes a C string.
    let outcome = unsafe {
        change_path(door, HERE, path, [0; 2], |world, base, path| {
            match world.disk.unlink(base, path) {
                Err(Errno::EISDIR) => world.disk.rmdir(base, path).map(|()| 0),
                removed => removed.map(|()| 0),
            }
        })
    }?;
    Some(answer(outcome))
}

/// Serves a call on two paths if one of them is on the disk; if only one is, the call would cross
/// file systems.
///
/// # Safety
/// Each path is null or a C string.
unsafe fn on_paths(
    door: &'static Door,
    (from, old): (c_int, *const c_char),
    (to, new): (c_int, *const c_char),
    flags: u64,
    act: impl FnOnce(&mut World, DiskPath<'_>, DiskPath<'_>) -> CallResult,
) -> Option<CallResult> {
    // SAFETY: each path is null or a C string, by this function's contract.
    let (Some(old_path), Some(new_path)) = (unsafe { (bytes(old), bytes(new)) }) else {
        // The kernel looks for the old one first, wherever that is.
        let ours = |dirfd, path: Option<&[u8]>| {
            path.is_some_and(|path| {
                world::enter(|world| world.place(dirfd, path).is_some()) == Some(true)
            })
        };
        // SAFETY: the same.
        let known = unsafe { ours(from, bytes(old)) || ours(to, bytes(new)) };
        let failed = known.then_some(Err(Errno::EFAULT));
        return failed.or_else(|| unreadable(from)).or_else(|| unreadable(to));
    };
    // Calls on the host are not scheduling points, as in `on_path`.
    let ours = world::enter(|world| {
        world.place(from, old_path).is_some() || world.place(to, new_path).is_some()
    })?;
    if ours {
        baton::point();
    }
    let served = world::enter(|world| {
        let (one, other) = match (world.place(from, old_path), world.place(to, new_path)) {
            (None, None) => return None,
            (Some(Ok(one)), Some(Ok(other))) => (one, other),
            (Some(Err(errno)), _) | (_, Some(Err(errno))) => return Some(Err(errno)),
            _ => return Some(Err(Errno::EXDEV)),
        };
        let (name, other_name) = (world.name(one.0, one.1), world.name(other.0, other.1));
        let called = Called::at(door, &name, [flags, 0]).with(&other_name);
        Some(world.call(&called, |world| act(world, one, other)))
    })?;
    if ours {
        baton::point();
    }
    if served.is_none() {
        // SAFETY: `new` is null or a C string, by this function's contract.
        unsafe { note_outside(new) };
    }
    served
}

unsafe fn rename(door: &'static Door, old: *const c_char, new: *const c_char) -> Option<c_int> {
    // SAFETY: rename(2) takes two C strings.
    unsafe { rename_with(door, HERE, old, HERE, new, 0) }
}

unsafe fn rename_at(
    door: &'static Door,
    from: c_int,
    old: *const c_char,
    to: c_int,
    new: *const c_char,
) -> Option<c_int> {
    // SAFETY: renameat(2) takes two C strings.
    unsafe { rename_with(door, from, old, to, new, 0) }
}

unsafe fn rename_with(
    door: &'static Door,
    from: c_int,
    old: *const c_char,
    to: c_int,
    new: *const c_char,
    flags: c_uint,
) -> Option<c_int> {
    // SAFETY: renameat2(2) takes two C strings.
    let outcome = unsafe {
        on_paths(door, (from, old), (to, new), flags.into(), |world, old, new| {
            if flags & libc::RENAME_WHITEOUT != 0 && flags & libc::RENAME_EXCHANGE == 0 {
                world.not_simulated(&format!("{door} that leaves a whiteout"));
                return Err(Errno::EINVAL);
            }
            world.disk.rename(old.0, old.1, new.0, new.1, flags).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

unsafe fn link(door: &'static Door, old: *const c_char, new: *const c_char) -> Option<c_int> {
    // SAFETY: link(2) takes two C strings.
    unsafe { link_at(door, HERE, old, HERE, new, 0) }
}

unsafe fn link_at(
    door: &'static Door,
    from: c_int,
    old: *const c_char,
    to: c_int,
    new: *const c_char,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: linkat(2) takes two C strings.
    let named = unsafe { bytes(old) }?;
    let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
    let open = match named {
        b"" if flags & libc::AT_EMPTY_PATH != 0 => Some(from),
        _ => descriptor_named(named).filter(|_| follow),
    };
    if let Some(fd) = open.filter(|&fd| is_simulated(fd)) {
        // SAFETY: linkat(2) takes a C string.
        return unsafe { link_descriptor(door, fd, (to, new), flags) };
    }
    // SAFETY: linkat(2) takes two C strings.
    let outcome = unsafe {
        on_paths(door, (from, old), (to, new), bits(flags), |world, old, new| {
            if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
                return Err(Errno::EINVAL);
            }
            world.disk.link(old.0, old.1, new.0, new.1, follow).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

/// Gives an open file a name, as a file made with `O_TMPFILE` gets its first.
///
/// # Safety
/// `new` is null or a C string.
unsafe fn link_descriptor(
    door: &'static Door,
    fd: c_int,
    (to, new): (c_int, *const c_char),
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: `new` is null or a C string, by this function's contract.
    let new = unsafe { bytes(new) }?;
    let outcome = baton::serve(|world| {
        let (base, path) = match world.place(to, new) {
            Some(place) => place?,
            None => return Err(Errno::EXDEV),
        };
        let name = world.name(base, path);
        let called = Called::on(door, fd, [bits(flags), 0]).with(&name);
        world.call(&called, |world| {
            let file = world.file(fd)?;
            world.disk.link_handle(file, base, path).map(|()| 0)
        })
    })?;
    Some(answer(outcome))
}

unsafe fn link_softly(
    door: &'static Door,
    target: *const c_char,
    path: *const c_char,
) -> Option<c_int> {
    // SAFETY: symlink(2) takes two C strings.
    unsafe { link_softly_at(door, target, HERE, path) }
}

unsafe fn link_softly_at(
    door: &'static Door,
    target: *const c_char,
    dirfd: c_int,
    path: *const c_char,
) -> Option<c_int> {
    // SAFETY: symlinkat(2) takes two C strings.
    let target = unsafe { bytes(target) }?;
    // On the disk, absolute paths start at the disk's root.
    let stored = inside(target).unwrap_or(target);
    // SAFETY: the same.
    let outcome = unsafe {
        change_path(door, dirfd, path, [0; 2], |world, base, path| {
            if target.starts_with(b"/") && inside(target).is_none() {
                world.not_simulated(&format!("{door} with a target outside {MOUNT}"));
                return Err(Errno::EPERM);
            }
            world.disk.symlink(stored, base, path).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

unsafe fn read_link(
    door: &'static Door,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
) -> Option<isize> {
    // SAFETY: readlink(2) takes a C string and a buffer of `size` bytes.
    unsafe { read_link_at(door, HERE, path, to, size) }
}

unsafe fn read_link_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
) -> Option<isize> {
    let hand_out = |target: &[u8]| {
        // SAFETY: readlinkat(2) takes a buffer of `size` bytes.
        let mut room = unsafe { room(to.cast(), target.len().min(size)) };
        room.push(target);
        // A part of the target is no answer.
        match room.left() {
            0 => Ok(world::length(room.filled().len())),
            _ => Err(Errno::EFAULT),
        }
    };
    // SAFETY: readlinkat(2) takes a C string.
    let open = unsafe { bytes(path) }.and_then(descriptor_named);
    // The kernel takes the size as a signed number.
    let sized = i32::try_from(size).is_ok_and(|size| size > 0);
    if let Some(fd) = open.filter(|&fd| is_simulated(fd)) {
        let outcome = world::enter(|world| match world.shown_as(fd) {
            _ if !sized => Err(Errno::EINVAL),
            None => Err(Errno::ENOENT),
            Some(path) => hand_out(&path),
        })?;
        return Some(answer(outcome));
    }
    // SAFETY: the same.
    let served = unsafe {
        on_path(door, dirfd, path, [0; 2], |world, base, path| {
            if !sized {
                return Err(Errno::EINVAL);
            }
            let target = match path {
                b"" => world.disk.readlink_handle(world.file(dirfd)?)?,
                path => world.disk.readlink(base, path)?,
            };
            hand_out(&if target.starts_with(b"/") { mounted(&target) } else { target })
        })
    };
    let outcome = match served {
        Some(outcome) => outcome,
        None => {
            // SAFETY: the same.
            let path = unsafe { bytes(path) }?;
            host_files::link(dirfd, path)?.and_then(|target| hand_out(&target))
        }
    };
    Some(answer(outcome))
}

impl World {
    /// The path of a descriptor as the kernel shows it; `None` if it is closed. The one that it was
    /// opened by counts, as long as that leads to the same file.
    fn shown_as(&self, fd: c_int) -> Option<Vec<u8>> {
        let Referent::File(file) = self.descriptors.get(fd)?.referent else {
            return Some(RANDOM.to_vec());
        };
        let (ino, opened) = (self.disk.ino(file).ok()?, self.disk.opened_as(file).ok()?);
        let root = self.disk.tree().root();
        if self.disk.stat_path(root, opened, false).is_ok_and(|stat| stat.ino == ino) {
            return Some(mounted(opened));
        }
        if let Some(path) = self.disk.path_of(ino) {
            return Some(mounted(&path));
        }
        const DELETED: &[u8] = b" (deleted)";
        let mut gone = mounted(opened);
        if !gone.ends_with(DELETED) {
            gone.extend_from_slice(DELETED);
        }
        Some(gone)
    }
}

unsafe fn read_link_checked(
    door: &'static Door,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
    room: usize,
) -> Option<isize> {
    // SAFETY: the size is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { read_link_at(door, HERE, path, to, size.min(room)) }
}

unsafe fn read_link_checked_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
    room: usize,
) -> Option<isize> {
    // SAFETY: the size is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { read_link_at(door, dirfd, path, to, size.min(room)) }
}

unsafe fn set_mode(door: &'static Door, path: *const c_char, mode: mode_t) -> Option<c_int> {
    // SAFETY: chmod(2) takes a C string.
    unsafe { set_mode_at(door, HERE, path, mode, 0) }
}

unsafe fn set_mode_of_link(
    door: &'static Door,
    path: *const c_char,
    mode: mode_t,
) -> Option<c_int> {
    // SAFETY: lchmod(3) takes a C string.
    unsafe { set_mode_at(door, HERE, path, mode, libc::AT_SYMLINK_NOFOLLOW) }
}

unsafe fn set_mode_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    mode: mode_t,
    flags: c_int,
) -> Option<c_int> {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: fchmodat(2) takes a C string.
    let outcome = unsafe {
        change_path(door, dirfd, path, [mode.into(), bits(flags)], |world, base, path| {
            must_be_known(flags)?;
            if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
                return world.disk.chmod_by_handle(world.file(dirfd)?, mode).map(|()| 0);
            }
            world.disk.chmod_path(base, path, mode, follow).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

fn set_mode_of(door: &'static Door, fd: c_int, mode: mode_t) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [mode.into(), 0], |world, file| {
        world.disk.chmod(file, mode).map(|()| 0)
    })?;
    Some(answer(outcome))
}

unsafe fn set_owner(
    door: &'static Door,
    path: *const c_char,
    user: uid_t,
    group: gid_t,
) -> Option<c_int> {
    // SAFETY: chown(2) takes a C string.
    unsafe { set_owner_at(door, HERE, path, user, group, 0) }
}

unsafe fn set_owner_of_link(
    door: &'static Door,
    path: *const c_char,
    user: uid_t,
    group: gid_t,
) -> Option<c_int> {
    // SAFETY: lchown(2) takes a C string.
    unsafe { set_owner_at(door, HERE, path, user, group, libc::AT_SYMLINK_NOFOLLOW) }
}

/// A user and a group to set; all bits leave one as it is (chown(2)).
fn owner(user: uid_t, group: gid_t) -> (Option<u32>, Option<u32>) {
    let given = |id: u32| (id != u32::MAX).then_some(id);
    (given(user), given(group))
}

unsafe fn set_owner_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    user: uid_t,
    group: gid_t,
    flags: c_int,
) -> Option<c_int> {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: fchownat(2) takes a C string.
    let outcome = unsafe {
        change_path(door, dirfd, path, [user.into(), group.into()], |world, base, path| {
            must_be_known(flags)?;
            if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
                let file = world.file(dirfd)?;
                return world.disk.chown_by_handle(file, owner(user, group)).map(|()| 0);
            }
            world.disk.chown_path(base, path, owner(user, group), follow).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

fn set_owner_of(door: &'static Door, fd: c_int, user: uid_t, group: gid_t) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [user.into(), group.into()], |world, file| {
        world.disk.chown(file, owner(user, group)).map(|()| 0)
    })?;
    Some(answer(outcome))
}

/// Refuses the flags that no call on a path takes.
fn must_be_known(flags: c_int) -> Result<(), Errno> {
    let known = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    if flags & !known == 0 { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Times of last access and last modification to set; `None` leaves a time alone.
type Times = (Option<Time>, Option<Time>);

impl World {
    /// The times that a caller's pair asks for; without a pair, both are now.
    fn times(&self, pair: Option<[timespec; 2]>) -> Result<Times, Errno> {
        let now = Some(self.disk.stamp());
        let Some([accessed, modified]) = pair else { return Ok((now, now)) };
        let one = |time: timespec| match time.tv_nsec {
            libc::UTIME_NOW => Ok(now),
            libc::UTIME_OMIT => Ok(None),
            0..1_000_000_000 => Ok(Some(self.clock.file_time(time))),
            _ => Err(Errno::EINVAL),
        };
        Ok((one(accessed)?, one(modified)?))
    }
}

/// The two times that a caller passes: `None` for now, `EFAULT` if they cannot be read.
type Pair = Result<Option<[timespec; 2]>, Errno>;

/// Two times in the memory of a caller.
///
/// # Safety
/// Nothing changes them during the call; any bytes are a valid `T`.
unsafe fn pair_at<T: Copy>(times: *const T) -> Result<Option<[T; 2]>, Errno> {
    if times.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's contract.
    unsafe { reach::value(times.cast::<[T; 2]>()) }.map(Some).ok_or(Errno::EFAULT)
}

/// Whether neither of two times is to be set: the kernel then looks at nothing else.
fn omits(pair: Pair) -> bool {
    let omitted = |times: [timespec; 2]| times.iter().all(|time| time.tv_nsec == libc::UTIME_OMIT);
    pair.is_ok_and(|pair| pair.is_some_and(omitted))
}

/// Sets the times of the file at a path.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn stamp(
    door: &'static Door,
    (dirfd, path): (c_int, *const c_char),
    pair: Pair,
    flags: c_int,
) -> Option<c_int> {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: `path` is null or a C string, by this function's contract.
    let outcome = unsafe {
        change_path(door, dirfd, path, [bits(flags), 0], |world, base: Ino, path| {
            let given = pair?;
            if omits(pair) {
                return Ok(0);
            }
            must_be_known(flags)?;
            if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
                let file = world.file(dirfd)?;
                let times = world.times(given)?;
                return world.disk.set_times_by_handle(file, times).map(|()| 0);
            }
            world.disk.stat_path(base, path, follow)?;
            let times = world.times(given)?;
            world.disk.set_times_path(base, path, times, follow).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

fn stamp_descriptor(door: &'static Door, fd: c_int, pair: Pair, flags: c_int) -> Option<c_int> {
    if is_simulated(fd) && omits(pair) {
        return Some(0);
    }
    let outcome = on_descriptor(door, fd, [0; 2], |world, file| {
        let given = pair?;
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        world.disk.flags(file)?;
        let (accessed, modified) = world.times(given)?;
        world.disk.set_times(file, accessed, modified).map(|()| 0)
    })?;
    Some(answer(outcome))
}

unsafe fn set_times_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    times: *const timespec,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: utimensat(2) takes a pair of times or null.
    let pair = unsafe { pair_at(times) };
    if path.is_null() {
        return stamp_descriptor(door, dirfd, pair, flags);
    }
    // SAFETY: utimensat(2) takes a C string.
    unsafe { stamp(door, (dirfd, path), pair, flags) }
}

unsafe fn set_times_of(door: &'static Door, fd: c_int, times: *const timespec) -> Option<c_int> {
    // SAFETY: futimens(3) takes a pair of times or null.
    stamp_descriptor(door, fd, unsafe { pair_at(times) }, 0)
}

/// Converts a pair of times from microseconds to nanoseconds.
///
/// # Safety
/// `times` is null or points to two.
unsafe fn coarse(times: *const timeval) -> Pair {
    // SAFETY: `times` is null or points to two times, by this function's contract.
    let Some(pair) = unsafe { pair_at(times) }? else { return Ok(None) };
    // A number that overflows is too large for a fraction of a second, and -1 is invalid as well.
    let fine = |time: timeval| timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_usec.checked_mul(1000).unwrap_or(-1),
    };
    Ok(Some(pair.map(fine)))
}

unsafe fn set_times(
    door: &'static Door,
    path: *const c_char,
    times: *const timeval,
) -> Option<c_int> {
    // SAFETY: utimes(2) takes a C string and a pair of times or null.
    unsafe { stamp(door, (HERE, path), coarse(times), 0) }
}

unsafe fn set_times_of_link(
    door: &'static Door,
    path: *const c_char,
    times: *const timeval,
) -> Option<c_int> {
    // SAFETY: lutimes(3) takes a C string and a pair of times or null.
    unsafe { stamp(door, (HERE, path), coarse(times), libc::AT_SYMLINK_NOFOLLOW) }
}

unsafe fn set_coarse_times_of(
    door: &'static Door,
    fd: c_int,
    times: *const timeval,
) -> Option<c_int> {
    // SAFETY: futimes(3) takes a pair of times or null.
    stamp_descriptor(door, fd, unsafe { coarse(times) }, 0)
}

unsafe fn set_seconds(
    door: &'static Door,
    path: *const c_char,
    times: *const utimbuf,
) -> Option<c_int> {
    // SAFETY: utime(2) takes times or null.
    let given = unsafe { (!times.is_null()).then(|| reach::value(times)) };
    let pair = match given {
        None => Ok(None),
        Some(None) => Err(Errno::EFAULT),
        Some(Some(utimbuf { actime, modtime })) => {
            Ok(Some([actime, modtime].map(|tv_sec| timespec { tv_sec, tv_nsec: 0 })))
        }
    };
    // SAFETY: utime(2) takes a C string.
    unsafe { stamp(door, (HERE, path), pair, 0) }
}

/// Sets the mask for simulated files; it starts as 022, whatever the host's is.
fn set_mask(_: &'static Door, mask: mode_t) -> Option<mode_t> {
    world::enter(|world| std::mem::replace(&mut world.umask, mask & 0o777))
}
