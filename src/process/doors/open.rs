//! Doors that open, duplicate and close descriptors.

use std::ffi::{c_char, c_int, c_uint};
use std::ptr;

use libc::mode_t;

use crate::disk::{Errno, Ino};
use crate::process::seam::kernel::{errno, next};
use crate::process::threads::baton;
use crate::process::world::descriptors::{Descriptor, FIRST, is_beyond, is_simulated};
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, Called, Referent, World};

use super::path::descriptor_named;
use super::{answer, bits, bytes, doors, host_files, note_outside, on_descriptor, on_disk};

doors! {
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open, faults Before(Open);
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = open, faults Before(Open);
    fn __open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = open, faults Before(Open);
    fn __open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = open, faults Before(Open);
    fn openat(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = open_at, faults Before(Open);
    fn openat64(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int
        = open_at, faults Before(Open);
    fn creat(path: *const c_char, mode: mode_t) -> c_int = create, faults Before(Open);
    fn creat64(path: *const c_char, mode: mode_t) -> c_int = create, faults Before(Open);
    fn __open_2(path: *const c_char, flags: c_int) -> c_int = open_checked, faults Before(Open);
    fn __open64_2(path: *const c_char, flags: c_int) -> c_int = open_checked, faults Before(Open);
    fn __openat_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int
        = open_at_checked, faults Before(Open);
    fn __openat64_2(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int
        = open_at_checked, faults Before(Open);
    fn mkstemp(template: *mut c_char) -> c_int = make_temporary, faults Before(Open);
    fn mkstemp64(template: *mut c_char) -> c_int = make_temporary, faults Before(Open);
    fn mkostemp(template: *mut c_char, flags: c_int) -> c_int
        = make_temporary_with, faults Before(Open);
    fn mkostemp64(template: *mut c_char, flags: c_int) -> c_int
        = make_temporary_with, faults Before(Open);
    fn mkstemps(template: *mut c_char, suffix: c_int) -> c_int
        = make_temporary_before, faults Before(Open);
    fn mkstemps64(template: *mut c_char, suffix: c_int) -> c_int
        = make_temporary_before, faults Before(Open);
    fn mkostemps(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int
        = make_temporary_any, faults Before(Open);
    fn mkostemps64(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int
        = make_temporary_any, faults Before(Open);
    fn mkdtemp(template: *mut c_char) -> *mut c_char
        = make_temporary_directory, faults Before(Mkdir);
    fn close(fd: c_int) -> c_int = close, faults Inside(Close);
    fn __close(fd: c_int) -> c_int = close, faults Inside(Close);
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int = close_range;
    fn closefrom(first: c_int) -> () = close_from;
    fn dup(fd: c_int) -> c_int = duplicate;
    fn dup2(fd: c_int, to: c_int) -> c_int = duplicate_to;
    fn __dup2(fd: c_int, to: c_int) -> c_int = duplicate_to;
    fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int = duplicate_with;
}

unsafe fn open(
    door: &'static Door,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> Option<c_int> {
    // SAFETY: open(2) takes a C string.
    unsafe { open_at(door, libc::AT_FDCWD, path, flags, mode) }
}

unsafe fn create(door: &'static Door, path: *const c_char, mode: mode_t) -> Option<c_int> {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    // SAFETY: creat(2) takes a C string.
    unsafe { open_at(door, libc::AT_FDCWD, path, flags, mode) }
}

unsafe fn open_checked(door: &'static Door, path: *const c_char, flags: c_int) -> Option<c_int> {
    // SAFETY: open(2) takes a C string.
    unsafe { open_at(door, libc::AT_FDCWD, path, flags, 0) }
}

unsafe fn open_at_checked(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: openat(2) takes a C string.
    unsafe { open_at(door, dirfd, path, flags, 0) }
}

/// Devices that may be written without a note.
const HARMLESS: [&[u8]; 4] = [b"/dev/null", b"/dev/zero", b"/dev/full", b"/dev/tty"];

unsafe fn open_at(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> Option<c_int> {
    // A caller that creates no file passes no mode: its register may hold anything.
    let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let mode = if creates { mode & 0o7777 } else { 0 };
    let arguments = [bits(flags), mode.into()];
    // SAFETY: openat(2) takes a C string.
    let served = unsafe {
        super::on_path(door, dirfd, path, arguments, |world, base, path| {
            open_file(world, base, path, flags, mode)
        })
    };
    if let Some(outcome) = served {
        return Some(answer(outcome));
    }
    // SAFETY: openat(2) takes a C string.
    let name = unsafe { bytes(path) }?;
    if matches!(name, b"/dev/urandom" | b"/dev/random") {
        return open_random(door, name, flags);
    }
    if let Some(fd) = descriptor_named(name).filter(|&fd| is_simulated(fd)) {
        return reopen(door, fd, flags, mode);
    }
    if let Some(opened) = host_files::open(door, dirfd, name, flags) {
        return Some(opened);
    }
    let changes = flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) != 0;
    if changes && !HARMLESS.contains(&name) {
        // SAFETY: openat(2) takes a C string.
        unsafe { note_outside(path) };
    }
    None
}

fn open_file(world: &mut World, base: Ino, path: &[u8], flags: c_int, mode: mode_t) -> CallResult {
    let handle = world.disk.open(base, path, flags, mode & !world.umask)?;
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        // Its path has the number (`/#12 (deleted)`).
        world.see_number(world.disk.ino(handle)?);
    }
    world.give(FIRST, Referent::File(handle), flags & libc::O_CLOEXEC != 0)
}

fn open_random(door: &'static Door, name: &[u8], flags: c_int) -> Option<c_int> {
    let called = Called::at(door, name, [bits(flags), 0]);
    let outcome = world::enter(|world| {
        world.call(&called, |world| {
            world.give(FIRST, Referent::Random, flags & libc::O_CLOEXEC != 0)
        })
    })?;
    Some(answer(outcome))
}

/// Opens the file of a descriptor again, as opening `/proc/self/fd/N` does.
fn reopen(door: &'static Door, fd: c_int, flags: c_int, mode: mode_t) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [bits(flags), mode.into()], |world, file| {
        let path = world.disk.path_of(world.disk.ino(file)?).ok_or(Errno::ENOENT)?;
        let root = world.disk.tree().root();
        open_file(world, root, &path, flags, mode)
    })?;
    Some(answer(outcome))
}

pub(super) fn close(door: &'static Door, fd: c_int) -> Option<c_int> {
    if !is_simulated(fd) {
        super::wait::stir();
        return None;
    }
    let outcome = baton::serve(|world| {
        let path = world.opened_as(fd).into_owned();
        let called = Called::on(door, fd, [0; 2]).closing(&path);
        world.call(&called, |world| {
            let closed = world.descriptors.remove(fd).ok_or(Errno::EBADF)?;
            world.close(closed.referent);
            match closed.referent {
                Referent::File(_) => world.inject_close(door).map(|()| 0),
                Referent::Random => Ok(0),
            }
        })
    })?;
    Some(answer(outcome))
}

/// Closes the simulated descriptors of a range, and passes on the part below them.
fn close_range(door: &'static Door, first: c_uint, last: c_uint, flags: c_int) -> Option<c_int> {
    let known = (libc::CLOSE_RANGE_UNSHARE | libc::CLOSE_RANGE_CLOEXEC).cast_signed();
    if first > last || flags & !known != 0 {
        return Some(answer(Err(Errno::EINVAL)));
    }
    let ours = FIRST.cast_unsigned();
    if last >= ours {
        let only_marks = flags & libc::CLOSE_RANGE_CLOEXEC.cast_signed() != 0;
        let least = c_int::try_from(first.max(ours)).unwrap_or(c_int::MAX);
        let most = c_int::try_from(last).unwrap_or(c_int::MAX);
        let called = Called::on(door, least, [bits(most), bits(flags)]);
        let outcome = baton::serve(|world| {
            world.call(&called, |world| {
                for fd in world.descriptors.open_in(least..=most) {
                    if only_marks {
                        world.descriptors.get_mut(fd).ok_or(Errno::EBADF)?.close_on_exec = true;
                    } else {
                        let closed = world.descriptors.remove(fd).ok_or(Errno::EBADF)?;
                        world.close(closed.referent);
                    }
                }
                Ok(0)
            })
        })?;
        if first >= ours || outcome.is_err() {
            return Some(answer(outcome));
        }
    }
    super::wait::stir();
    let next = next!(close_range(c_uint, c_uint, c_int) -> c_int);
    // SAFETY: close_range(2) has no precondition.
    Some(unsafe { next(first, last.min(ours - 1), flags) })
}

fn close_from(door: &'static Door, first: c_int) -> Option<()> {
    close_range(door, first.max(0).cast_unsigned(), c_uint::MAX, 0).map(|_| ())
}

/// One more descriptor for what `fd` refers to.
fn share(world: &mut World, fd: c_int, close_on_exec: bool) -> Result<Descriptor<Referent>, Errno> {
    let descriptor = *world.descriptors.get(fd).ok_or(Errno::EBADF)?;
    if let Referent::File(handle) = descriptor.referent {
        world.disk.share(handle)?;
    }
    Ok(Descriptor { close_on_exec, ..descriptor })
}

fn duplicate(door: &'static Door, fd: c_int) -> Option<c_int> {
    duplicate_from(door, fd, FIRST, false)
}

pub(super) fn duplicate_from(
    door: &'static Door,
    fd: c_int,
    least: c_int,
    close_on_exec: bool,
) -> Option<c_int> {
    if !is_simulated(fd) {
        return None;
    }
    let called = Called::on(door, fd, [bits(least), 0]);
    let outcome = baton::serve(|world| {
        world.call(&called, |world| {
            let copy = share(world, fd, close_on_exec)?;
            world.give(least, copy.referent, close_on_exec)
        })
    })?;
    Some(answer(outcome))
}

fn duplicate_to(door: &'static Door, fd: c_int, to: c_int) -> Option<c_int> {
    if fd == to && is_simulated(fd) {
        return Some(answer(on_descriptor(door, fd, [bits(to), 0], |_, _| Ok(to.into()))?));
    }
    duplicate_with(door, fd, to, 0)
}

fn duplicate_with(door: &'static Door, fd: c_int, to: c_int, flags: c_int) -> Option<c_int> {
    match (is_simulated(fd), is_simulated(to)) {
        (false, false) => return None,
        (true, true) => {}
        _ if flags & !libc::O_CLOEXEC != 0 => return Some(answer(Err(Errno::EINVAL))),
        (true, false) if to < 0 => return Some(answer(Err(Errno::EBADF))),
        (false, true) if is_beyond(to) => return Some(answer(Err(Errno::EBADF))),
        _ => {
            world::enter(|world| world.not_simulated("dup2 between the disk and the host"))?;
            return Some(answer(Err(Errno::EBADF)));
        }
    }
    let called = Called::on(door, fd, [bits(to), bits(flags)]);
    let outcome = baton::serve(|world| {
        world.call(&called, |world| {
            if fd == to || flags & !libc::O_CLOEXEC != 0 {
                return Err(Errno::EINVAL);
            }
            let copy = share(world, fd, flags & libc::O_CLOEXEC != 0)?;
            let referent = copy.referent;
            match world.descriptors.set(to, copy) {
                Ok(replaced) => {
                    if let Some(replaced) = replaced {
                        world.close(replaced.referent);
                    }
                    Ok(to.into())
                }
                Err(_) => {
                    world.let_go(referent);
                    Err(Errno::EBADF)
                }
            }
        })
    })?;
    Some(answer(outcome))
}

/// Fills the six `X` of a template with random letters and tries the name, until one is free.
///
/// # Safety
/// `template` is null or a C string that may be written to.
unsafe fn try_names(
    template: *mut c_char,
    suffix: c_int,
    attempt: impl Fn(*const c_char) -> Option<c_int>,
) -> Option<c_int> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    // SAFETY: `template` is null or a C string, by this function's contract.
    let name = unsafe { bytes(template) }?;
    let end = usize::try_from(suffix).ok().and_then(|suffix| name.len().checked_sub(suffix));
    let start = end.and_then(|end| end.checked_sub(6));
    let Some(start) = start.filter(|&start| &name[start..start + 6] == b"XXXXXX") else {
        return Some(answer(Err(Errno::EINVAL)));
    };
    loop {
        let mut random = [0; 6];
        world::enter(|world| world.entropy.fill(&mut random))?;
        for (at, byte) in random.into_iter().enumerate() {
            let letter = LETTERS[usize::from(byte) % LETTERS.len()];
            // SAFETY: the six bytes are inside the string, which may be written to.
            unsafe { *template.add(start + at) = letter.cast_signed() };
        }
        let fd = attempt(template)?;
        if fd >= 0 || errno() != libc::EEXIST {
            return Some(fd);
        }
    }
}

unsafe fn make_temporary(door: &'static Door, template: *mut c_char) -> Option<c_int> {
    // SAFETY: mkstemp(3) takes a C string that may be changed.
    unsafe { make_temporary_any(door, template, 0, 0) }
}

unsafe fn make_temporary_with(
    door: &'static Door,
    template: *mut c_char,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: mkostemp(3) takes a C string that may be changed.
    unsafe { make_temporary_any(door, template, 0, flags) }
}

unsafe fn make_temporary_before(
    door: &'static Door,
    template: *mut c_char,
    suffix: c_int,
) -> Option<c_int> {
    // SAFETY: mkstemps(3) takes a C string that may be changed.
    unsafe { make_temporary_any(door, template, suffix, 0) }
}

unsafe fn make_temporary_any(
    door: &'static Door,
    template: *mut c_char,
    suffix: c_int,
    flags: c_int,
) -> Option<c_int> {
    // SAFETY: mkostemps(3) takes a C string that may be changed.
    unsafe {
        if !on_disk(template) {
            note_outside(template);
            return None;
        }
        let flags = flags & !libc::O_ACCMODE | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        try_names(template, suffix, |name| open(door, name, flags, 0o600))
    }
}

unsafe fn make_temporary_directory(
    door: &'static Door,
    template: *mut c_char,
) -> Option<*mut c_char> {
    // SAFETY: mkdtemp(3) takes a C string that may be changed.
    unsafe {
        if !on_disk(template) {
            note_outside(template);
            return None;
        }
        let made = try_names(template, 0, |name| super::link::make_directory(door, name, 0o700))?;
        Some(if made == 0 { template } else { ptr::null_mut() })
    }
}
