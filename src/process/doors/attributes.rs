//! Doors of extended attributes.

use std::ffi::{c_char, c_int, c_void};

use crate::base::digest::hash;
use crate::disk::Errno;
use crate::disk::attributes::{ATTRIBUTE_NAME_MAX, Subject, VALUE_MAX};
use crate::process::world::door::Door;
use crate::process::world::{CallResult, World, length};

use super::{answer, bits, bytes, doors, given, on_descriptor, on_path, room};

doors! {
    fn setxattr(
        path: *const c_char, name: *const c_char, value: *const c_void, size: usize, flags: c_int
    ) -> c_int = set;
    fn lsetxattr(
        path: *const c_char, name: *const c_char, value: *const c_void, size: usize, flags: c_int
    ) -> c_int = set_of_link;
    fn fsetxattr(
        fd: c_int, name: *const c_char, value: *const c_void, size: usize, flags: c_int
    ) -> c_int = set_of_open;
    fn getxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize
        = get;
    fn lgetxattr(path: *const c_char, name: *const c_char, value: *mut c_void, size: usize) -> isize
        = get_of_link;
    fn fgetxattr(fd: c_int, name: *const c_char, value: *mut c_void, size: usize) -> isize
        = get_of_open;
    fn listxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize = list;
    fn llistxattr(path: *const c_char, list: *mut c_char, size: usize) -> isize = list_of_link;
    fn flistxattr(fd: c_int, list: *mut c_char, size: usize) -> isize = list_of_open;
    fn removexattr(path: *const c_char, name: *const c_char) -> c_int = remove;
    fn lremovexattr(path: *const c_char, name: *const c_char) -> c_int = remove_of_link;
    fn fremovexattr(fd: c_int, name: *const c_char) -> c_int = remove_of_open;
}

/// The file that a call is about.
#[derive(Clone, Copy)]
enum Place {
    /// At a path; the flag says whether a last symbolic link is followed.
    Path(*const c_char, bool),
    Open(c_int),
}

/// Serves a call about a place, if that is on the disk.
///
/// # Safety
/// A path is null or a C string.
unsafe fn about(
    door: &'static Door,
    place: Place,
    arguments: [u64; 2],
    act: impl FnOnce(&mut World, Subject<'_>) -> CallResult,
) -> Option<CallResult> {
    match place {
        Place::Open(fd) => {
            on_descriptor(door, fd, arguments, |world, file| act(world, Subject::Handle(file)))
        }
        // SAFETY: by this function's contract.
        Place::Path(path, follow) => unsafe {
            on_path(door, libc::AT_FDCWD, path, arguments, |world, base, path| {
                act(world, Subject::Path(base, path, follow))
            })
        },
    }
}

/// The name that a caller gives.
///
/// # Safety
/// Nothing changes the name during `'a`.
unsafe fn named<'a>(name: *const c_char) -> Result<&'a [u8], Errno> {
    // SAFETY: by this function's contract.
    unsafe { bytes(name) }.ok_or(Errno::EFAULT)
}

/// What the disk keeps in other ways, or the kernel checks: access control lists and capabilities.
const NOT_SIMULATED: [&[u8]; 3] =
    [b"system.posix_acl_access", b"system.posix_acl_default", b"security.capability"];

/// # Safety
/// As setxattr(2).
unsafe fn set_at(
    door: &'static Door,
    place: Place,
    name: *const c_char,
    (value, size): (*const c_void, usize),
    flags: c_int,
) -> Option<c_int> {
    let arguments = [size as u64, bits(flags)];
    // SAFETY: setxattr(2) takes C strings, and a value of `size` bytes.
    let outcome = unsafe {
        about(door, place, arguments, |world, subject| {
            if flags & !(libc::XATTR_CREATE | libc::XATTR_REPLACE) != 0 {
                return Err(Errno::EINVAL);
            }
            let name = named(name)?;
            if name.is_empty() || name.len() > ATTRIBUTE_NAME_MAX {
                return Err(Errno::ERANGE);
            }
            if size > VALUE_MAX {
                return Err(Errno::E2BIG);
            }
            let value = given(value, size)?;
            if value.len() < size {
                return Err(Errno::EFAULT);
            }
            if NOT_SIMULATED.contains(&name) {
                let shown = String::from_utf8_lossy(name);
                world.not_simulated(&format!("{door} of {shown}"));
                return Err(Errno::EOPNOTSUPP);
            }
            world.bytes = hash(&[name, b"\0", value].concat());
            world.disk.set_attribute(subject, name, value, flags).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

/// Gives out a value or a list as far as the caller asks for it: a size of 0 asks for the length.
///
/// # Safety
/// As far as the `size` bytes at `to` can be written to, nothing else uses them during the call.
unsafe fn hand_out(
    world: &mut World,
    whole: &[u8],
    (to, size): (*mut c_void, usize),
) -> CallResult {
    world.bytes = hash(whole);
    if size == 0 || whole.is_empty() {
        return Ok(length(whole.len()));
    }
    if size < whole.len() {
        return Err(Errno::ERANGE);
    }
    // SAFETY: by this function's contract.
    let mut room = unsafe { room(to, whole.len()) };
    room.push(whole);
    if room.left() == 0 { Ok(length(whole.len())) } else { Err(Errno::EFAULT) }
}

/// # Safety
/// As getxattr(2).
unsafe fn get_at(
    door: &'static Door,
    place: Place,
    name: *const c_char,
    to: (*mut c_void, usize),
) -> Option<isize> {
    // SAFETY: getxattr(2) takes C strings, and room for the value.
    let outcome = unsafe {
        about(door, place, [to.1 as u64, 0], |world, subject| {
            let name = named(name)?;
            // No file has an access control list, which is the attribute of another name space.
            let value = match name {
                b"system.posix_acl_access" | b"system.posix_acl_default" => {
                    world.disk.attribute_names(subject)?;
                    return Err(Errno::ENODATA);
                }
                name => world.disk.attribute(subject, name)?,
            };
            hand_out(world, &value, to)
        })
    }?;
    Some(answer(outcome))
}

/// # Safety
/// As listxattr(2).
unsafe fn list_at(door: &'static Door, place: Place, to: (*mut c_void, usize)) -> Option<isize> {
    // SAFETY: listxattr(2) takes a C string, and room for the list.
    let outcome = unsafe {
        about(door, place, [to.1 as u64, 0], |world, subject| {
            let names = world.disk.attribute_names(subject)?;
            hand_out(world, &names, to)
        })
    }?;
    Some(answer(outcome))
}

/// # Safety
/// As removexattr(2).
unsafe fn remove_at(door: &'static Door, place: Place, name: *const c_char) -> Option<c_int> {
    // SAFETY: removexattr(2) takes C strings.
    let outcome = unsafe {
        about(door, place, [0; 2], |world, subject| {
            let name = named(name)?;
            world.bytes = hash(name);
            world.disk.remove_attribute(subject, name).map(|()| 0)
        })
    }?;
    Some(answer(outcome))
}

unsafe fn set(
    door: &'static Door,
    path: *const c_char,
    name: *const c_char,
    value: *const c_void,
    size: usize,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of setxattr(2).
    unsafe { set_at(door, Place::Path(path, true), name, (value, size), flags) }
}

unsafe fn set_of_link(
    door: &'static Door,
    path: *const c_char,
    name: *const c_char,
    value: *const c_void,
    size: usize,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of lsetxattr(2).
    unsafe { set_at(door, Place::Path(path, false), name, (value, size), flags) }
}

unsafe fn set_of_open(
    door: &'static Door,
    fd: c_int,
    name: *const c_char,
    value: *const c_void,
    size: usize,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of fsetxattr(2).
    unsafe { set_at(door, Place::Open(fd), name, (value, size), flags) }
}

unsafe fn get(
    door: &'static Door,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of getxattr(2).
    unsafe { get_at(door, Place::Path(path, true), name, (value, size)) }
}

unsafe fn get_of_link(
    door: &'static Door,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of lgetxattr(2).
    unsafe { get_at(door, Place::Path(path, false), name, (value, size)) }
}

unsafe fn get_of_open(
    door: &'static Door,
    fd: c_int,
    name: *const c_char,
    value: *mut c_void,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of fgetxattr(2).
    unsafe { get_at(door, Place::Open(fd), name, (value, size)) }
}

unsafe fn list(
    door: &'static Door,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of listxattr(2).
    unsafe { list_at(door, Place::Path(path, true), (to.cast(), size)) }
}

unsafe fn list_of_link(
    door: &'static Door,
    path: *const c_char,
    to: *mut c_char,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of llistxattr(2).
    unsafe { list_at(door, Place::Path(path, false), (to.cast(), size)) }
}

unsafe fn list_of_open(
    door: &'static Door,
    fd: c_int,
    to: *mut c_char,
    size: usize,
) -> Option<isize> {
    // SAFETY: the caller keeps the contract of flistxattr(2).
    unsafe { list_at(door, Place::Open(fd), (to.cast(), size)) }
}

unsafe fn remove(door: &'static Door, path: *const c_char, name: *const c_char) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of removexattr(2).
    unsafe { remove_at(door, Place::Path(path, true), name) }
}

unsafe fn remove_of_link(
    door: &'static Door,
    path: *const c_char,
    name: *const c_char,
) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of lremovexattr(2).
    unsafe { remove_at(door, Place::Path(path, false), name) }
}

unsafe fn remove_of_open(door: &'static Door, fd: c_int, name: *const c_char) -> Option<c_int> {
    // SAFETY: the caller keeps the contract of fremovexattr(2).
    unsafe { remove_at(door, Place::Open(fd), name) }
}
