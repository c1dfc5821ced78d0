//! Doors that say who the process is: its parent, group and session, and its users and groups.
//!
//! The engine runs as root, since the disk refuses no access: its process leads a group and a
//! session, and its parent is the first process of the machine. A change of any of these is refused
//! by name, unless it changes nothing.

use std::ffi::{c_char, c_int};

use libc::{gid_t, pid_t, uid_t};

use crate::disk::Errno;
use crate::process::seam::kernel::set_errno;
use crate::process::world;
use crate::process::world::door::Door;

use super::refuse::refused;
use super::{answer, doors};

doors! {
    fn getppid() -> pid_t = parent;
    fn getpgrp() -> pid_t = own_group;
    fn getpgid(process: pid_t) -> pid_t = group_of;
    fn __getpgid(process: pid_t) -> pid_t = group_of;
    fn __bsd_getpgrp(process: pid_t) -> pid_t = group_of;
    fn getsid(process: pid_t) -> pid_t = group_of;
    fn setsid() -> pid_t = set_own_group;
    fn setpgrp() -> c_int = set_own_group;
    fn setpgid(process: pid_t, group: pid_t) -> c_int = set_group;
    fn __setpgid(process: pid_t, group: pid_t) -> c_int = set_group;
    fn getuid() -> uid_t = id;
    fn geteuid() -> uid_t = id;
    fn getgid() -> gid_t = id;
    fn getegid() -> gid_t = id;
    fn getresuid(real: *mut uid_t, effective: *mut uid_t, saved: *mut uid_t) -> c_int = ids;
    fn getresgid(real: *mut gid_t, effective: *mut gid_t, saved: *mut gid_t) -> c_int = ids;
    fn getgroups(room: c_int, groups: *mut gid_t) -> c_int = groups;
    fn __getgroups_chk(room: c_int, groups: *mut gid_t, size: usize) -> c_int = groups_checked;
    fn group_member(group: gid_t) -> c_int = is_member;
    fn setuid(id: uid_t) -> c_int = set_id;
    fn seteuid(id: uid_t) -> c_int = set_id;
    fn setgid(id: gid_t) -> c_int = set_id;
    fn setegid(id: gid_t) -> c_int = set_id;
    fn setfsuid(id: uid_t) -> c_int = set_id_of_files;
    fn setfsgid(id: gid_t) -> c_int = set_id_of_files;
    fn setreuid(real: uid_t, effective: uid_t) -> c_int = set_two_ids;
    fn setregid(real: gid_t, effective: gid_t) -> c_int = set_two_ids;
    fn setresuid(real: uid_t, effective: uid_t, saved: uid_t) -> c_int = set_three_ids;
    fn setresgid(real: gid_t, effective: gid_t, saved: gid_t) -> c_int = set_three_ids;
    fn setgroups(count: usize, groups: *const gid_t) -> c_int = set_groups;
    fn initgroups(user: *const c_char, group: gid_t) -> c_int = set_groups_of;
    fn getlogin() -> *mut c_char = login_name;
    fn getlogin_r(name: *mut c_char, size: usize) -> c_int = login_name_into;
    fn __getlogin_r_chk(name: *mut c_char, size: usize, room: usize) -> c_int
        = login_name_checked;
}

/// The parent: the first process of the machine.
const PARENT: pid_t = 1;
/// The user and the group.
const ROOT: uid_t = 0;
/// The argument that leaves an id alone.
const SAME: uid_t = uid_t::MAX;

/// A number that never changes; `None` without a world.
fn constant<T>(number: T) -> Option<T> {
    world::enter(|_| number)
}

fn parent(_: &'static Door) -> Option<pid_t> {
    constant(PARENT)
}

/// The group, and the session too: the process leads both.
fn own_group(_: &'static Door) -> Option<pid_t> {
    world::enter(|world| world.pid)
}

fn group_of(_: &'static Door, process: pid_t) -> Option<pid_t> {
    let own = world::enter(|world| world.pid)?;
    if process != 0 && process != own {
        return Some(answer(Err(Errno(libc::ESRCH))));
    }
    Some(own)
}

/// The leader of a session can begin no other one, nor leave its group (setsid(2), setpgid(2)).
fn set_own_group(_: &'static Door) -> Option<c_int> {
    constant(())?;
    Some(answer(Err(Errno::EPERM)))
}

fn set_group(_: &'static Door, process: pid_t, group: pid_t) -> Option<c_int> {
    let own = world::enter(|world| world.pid)?;
    let error = match (process, group) {
        (_, ..0) => Errno::EINVAL,
        (process, _) if process == 0 || process == own => Errno::EPERM,
        _ => Errno(libc::ESRCH),
    };
    Some(answer(Err(error)))
}

fn id(_: &'static Door) -> Option<uid_t> {
    constant(ROOT)
}

unsafe fn ids(
    _: &'static Door,
    real: *mut uid_t,
    effective: *mut uid_t,
    saved: *mut uid_t,
) -> Option<c_int> {
    constant(())?;
    if [real, effective, saved].iter().any(|to| to.is_null()) {
        return Some(answer(Err(Errno::EFAULT)));
    }
    for to in [real, effective, saved] {
        // SAFETY: getresuid(2) takes room for three numbers, and none of them is null.
        unsafe { to.write(ROOT) };
    }
    Some(0)
}

/// The process is in the group of root alone.
unsafe fn groups(_: &'static Door, room: c_int, groups: *mut gid_t) -> Option<c_int> {
    constant(())?;
    match room {
        0 => {}
        1.. if groups.is_null() => return Some(answer(Err(Errno::EFAULT))),
        // SAFETY: getgroups(2) takes room for this many numbers, at least one.
        1.. => unsafe { groups.write(ROOT) },
        _ => return Some(answer(Err(Errno::EINVAL))),
    }
    Some(1)
}

unsafe fn groups_checked(
    door: &'static Door,
    room: c_int,
    list: *mut gid_t,
    _: usize,
) -> Option<c_int> {
    // SAFETY: getgroups(2) takes room for `room` numbers.
    unsafe { groups(door, room, list) }
}

fn is_member(_: &'static Door, group: gid_t) -> Option<c_int> {
    constant(c_int::from(group == ROOT))
}

/// Succeeds if the ids would stay as they are; another user is not simulated.
fn set(door: &'static Door, ids: &[uid_t]) -> Option<c_int> {
    constant(())?;
    match ids.iter().all(|&id| id == ROOT || id == SAME) {
        true => Some(0),
        false => refused(door.name, libc::EPERM),
    }
}

fn set_id(door: &'static Door, id: uid_t) -> Option<c_int> {
    if id == SAME {
        constant(())?;
        return Some(answer(Err(Errno::EINVAL)));
    }
    set(door, &[id])
}

/// Returns the id from before (setfsuid(2)).
fn set_id_of_files(door: &'static Door, id: uid_t) -> Option<c_int> {
    set(door, &[id]).map(|_| ROOT.cast_signed())
}

fn set_two_ids(door: &'static Door, real: uid_t, effective: uid_t) -> Option<c_int> {
    set(door, &[real, effective])
}

fn set_three_ids(
    door: &'static Door,
    real: uid_t,
    effective: uid_t,
    saved: uid_t,
) -> Option<c_int> {
    set(door, &[real, effective, saved])
}

unsafe fn set_groups(door: &'static Door, count: usize, groups: *const gid_t) -> Option<c_int> {
    // SAFETY: setgroups(2) takes `count` numbers.
    let same = count == 1 && unsafe { groups.as_ref() } == Some(&ROOT);
    set(door, if same { &[] } else { &[1] })
}

/// It would read the host's list of groups.
fn set_groups_of(door: &'static Door, _: *const c_char, _: gid_t) -> Option<c_int> {
    set(door, &[1])
}

/// The process has no terminal, so nobody logged in at it.
fn login_name(_: &'static Door) -> Option<*mut c_char> {
    constant(())?;
    set_errno(libc::ENXIO);
    Some(std::ptr::null_mut())
}

fn login_name_into(_: &'static Door, _: *mut c_char, _: usize) -> Option<c_int> {
    constant(libc::ENXIO)
}

fn login_name_checked(
    door: &'static Door,
    name: *mut c_char,
    size: usize,
    _: usize,
) -> Option<c_int> {
    login_name_into(door, name, size)
}
