//! The rule for which paths are on the disk, and the doors that return a path.

use std::ffi::{c_char, c_int};
use std::ptr;

use crate::disk::{Errno, Ino};
use crate::process::seam;
use crate::process::seam::kernel::set_errno;
use crate::process::seam::reach;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, MOUNT, Referent, World};

use super::{answer, doors, on_descriptor};

doors! {
    fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char = real_path;
    fn __realpath_chk(path: *const c_char, resolved: *mut c_char, room: usize) -> *mut c_char
        = real_path_checked;
    fn canonicalize_file_name(path: *const c_char) -> *mut c_char = canonical_name;
    fn getcwd(buffer: *mut c_char, size: usize) -> *mut c_char = current;
    fn __getcwd_chk(buffer: *mut c_char, size: usize, room: usize) -> *mut c_char
        = current_checked;
    fn getwd(buffer: *mut c_char) -> *mut c_char = current_anyhow;
    fn __getwd_chk(buffer: *mut c_char, room: usize) -> *mut c_char = current_within;
    fn get_current_dir_name() -> *mut c_char = current_name;
    fn chdir(path: *const c_char) -> c_int = change_directory;
    fn fchdir(fd: c_int) -> c_int = change_directory_to;
}

/// A place on the disk: a path, and the directory from which a relative one starts.
pub(super) type DiskPath<'a> = (Ino, &'a [u8]);

/// The components of the mount point's path.
const MOUNT_WORDS: [&[u8]; 2] = [b"proc", b"crashpoint"];

/// The rest of an absolute path after the mount point, beginning with a slash; `None` if the path
/// is not inside it. Only the path's components count: no link of the host is followed.
pub(super) fn inside(path: &[u8]) -> Option<&[u8]> {
    let mut rest = path;
    let mut matched = 0;
    while matched < MOUNT_WORDS.len() {
        rest = rest.strip_prefix(b"/")?;
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        match &rest[..end] {
            b"" | b"." => {}
            b".." => matched = matched.saturating_sub(1),
            word if word == MOUNT_WORDS[matched] => matched += 1,
            _ => return None,
        }
        rest = &rest[end..];
    }
    Some(if rest.is_empty() { b"/" } else { rest })
}

/// The folders that list the descriptors of the calling process, by fixed names.
const DESCRIPTORS: [&[u8]; 3] = [b"/proc/self/fd", b"/proc/thread-self/fd", b"/dev/fd"];

/// The rest of a path after the folder that lists the descriptors of the engine's process; it is
/// empty or begins with a slash.
fn below_descriptors(path: &[u8]) -> Option<&[u8]> {
    let fixed = DESCRIPTORS.iter().find_map(|folder| path.strip_prefix(*folder));
    let rest = fixed.or_else(|| {
        let (pid, rest) = number(path.strip_prefix(b"/proc/")?)?;
        let rest = rest.strip_prefix(b"/fd")?;
        (world::enter(|world| world.pid) == Some(pid)).then_some(rest)
    })?;
    matches!(rest.first(), None | Some(b'/')).then_some(rest)
}

/// The number at the beginning of a text, and the text after it.
fn number(text: &[u8]) -> Option<(c_int, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    Some((std::str::from_utf8(&text[..end]).ok()?.parse().ok()?, &text[end..]))
}

/// Whether a path is the folder that lists the engine's descriptors.
pub(super) fn lists_descriptors(path: &[u8]) -> bool {
    below_descriptors(path).is_some_and(|rest| rest.iter().all(|&byte| byte == b'/'))
}

/// The number in `/proc/self/fd/N`, or in another path of that folder.
pub(super) fn descriptor_named(path: &[u8]) -> Option<c_int> {
    let (fd, rest) = number(below_descriptors(path)?.strip_prefix(b"/")?)?;
    rest.is_empty().then_some(fd)
}

impl World {
    /// Where a path leads: a place on the disk, an error, or `None` for a path of the host.
    pub(super) fn place<'a>(
        &self,
        dirfd: c_int,
        path: &'a [u8],
    ) -> Option<Result<DiskPath<'a>, Errno>> {
        if path.starts_with(b"/") {
            return inside(path).map(|path| Ok((self.disk.tree().root(), path)));
        }
        if dirfd == libc::AT_FDCWD {
            return self.directory.map(|dir| Ok((self.disk.ino(dir)?, path)));
        }
        if !crate::process::world::descriptors::is_simulated(dirfd) {
            return None;
        }
        Some(self.file(dirfd).and_then(|dir| Ok((self.disk.ino(dir)?, path))))
    }

    fn set_directory(&mut self, directory: Option<crate::disk::Handle>) {
        if let Some(before) = std::mem::replace(&mut self.directory, directory) {
            self.let_go(Referent::File(before));
        }
    }

    /// The working directory, if it is on the disk.
    pub(super) fn current(&self) -> Option<Vec<u8>> {
        let path = self.disk.ino(self.directory?).ok().and_then(|dir| self.disk.path_of(dir));
        Some(path.map_or_else(|| b"(unreachable)".to_vec(), |path| mounted(&path)))
    }
}

/// A path of the disk as the engine sees it.
pub(super) fn mounted(path: &[u8]) -> Vec<u8> {
    let mut whole = MOUNT.as_bytes().to_vec();
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if !path.is_empty() {
        whole.push(b'/');
        whole.extend_from_slice(path);
    }
    whole
}

/// Gives a path to a caller: in its buffer or, without one, in memory from `malloc`.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes.
unsafe fn hand_out(path: &[u8], buffer: *mut c_char, size: usize) -> *mut c_char {
    // A `size` of 0 without a buffer asks for as much as is needed (getcwd(3)).
    if path.len() >= size && !(buffer.is_null() && size == 0) {
        set_errno(libc::ERANGE);
        return ptr::null_mut();
    }
    let mut to = buffer;
    if to.is_null() {
        // SAFETY: malloc(3) takes any number; the caller frees the memory with `free`.
        to = unsafe { libc::malloc(size.max(path.len() + 1)) }.cast();
    }
    if to.is_null() {
        return to;
    }
    let whole = [path, b"\0"].concat();
    // SAFETY: there is room for the path and its NUL: checked above, or just allocated.
    if unsafe { reach::copy_out(to.cast(), &whole) } < whole.len() {
        set_errno(libc::EFAULT);
        return ptr::null_mut();
    }
    to
}

unsafe fn real_path(
    door: &'static Door,
    path: *const c_char,
    resolved: *mut c_char,
) -> Option<*mut c_char> {
    let mut found = Vec::new();
    // SAFETY: realpath(3) takes a C string.
    let outcome = unsafe {
        super::on_path(door, libc::AT_FDCWD, path, [0; 2], |world, base, path| {
            found = mounted(&world.disk.real_path(base, path)?);
            Ok(0)
        })
    }?;
    if answer::<c_int>(outcome) != 0 {
        return Some(ptr::null_mut());
    }
    let size = if resolved.is_null() { 0 } else { libc::PATH_MAX.cast_unsigned() as usize };
    // SAFETY: realpath(3) takes a buffer of `PATH_MAX` bytes or null.
    Some(unsafe { hand_out(&found, resolved, size) })
}

unsafe fn real_path_checked(
    door: &'static Door,
    path: *const c_char,
    resolved: *mut c_char,
    room: usize,
) -> Option<*mut c_char> {
    if room < libc::PATH_MAX.cast_unsigned() as usize {
        // The C library ends the process here.
        return None;
    }
    // SAFETY: there is room for `PATH_MAX` bytes.
    unsafe { real_path(door, path, resolved) }
}

unsafe fn canonical_name(door: &'static Door, path: *const c_char) -> Option<*mut c_char> {
    // SAFETY: canonicalize_file_name(3) is realpath(3) with a null buffer.
    unsafe { real_path(door, path, ptr::null_mut()) }
}

unsafe fn current(_: &'static Door, buffer: *mut c_char, size: usize) -> Option<*mut c_char> {
    let path = world::enter(|world| world.current())??;
    // SAFETY: getcwd(3) takes a buffer of `size` bytes or null.
    Some(unsafe { hand_out(&path, buffer, size) })
}

unsafe fn current_checked(
    door: &'static Door,
    buffer: *mut c_char,
    size: usize,
    room: usize,
) -> Option<*mut c_char> {
    // SAFETY: the size is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { current(door, buffer, size.min(room)) }
}

unsafe fn current_anyhow(door: &'static Door, buffer: *mut c_char) -> Option<*mut c_char> {
    // SAFETY: getwd(3) takes a buffer of `PATH_MAX` bytes.
    unsafe { current(door, buffer, libc::PATH_MAX.cast_unsigned() as usize) }
}

unsafe fn current_within(
    door: &'static Door,
    buffer: *mut c_char,
    room: usize,
) -> Option<*mut c_char> {
    // SAFETY: the compiler knows that the buffer has `room` bytes.
    unsafe { current(door, buffer, room) }
}

unsafe fn current_name(door: &'static Door) -> Option<*mut c_char> {
    // SAFETY: a null buffer needs no room.
    unsafe { current(door, ptr::null_mut(), 0) }
}

unsafe fn change_directory(door: &'static Door, path: *const c_char) -> Option<c_int> {
    // SAFETY: chdir(2) takes a C string.
    let served = unsafe { super::on_path(door, libc::AT_FDCWD, path, [0; 2], enter_directory) };
    if let Some(outcome) = served {
        return Some(answer(outcome));
    }
    // SAFETY: the same C string.
    leave_directory(|| unsafe { libc::chdir(path) })
}

/// Changes to a directory of the host: calls `chdir` on the harness's side.
fn leave_directory(chdir: impl FnOnce() -> c_int) -> Option<c_int> {
    let left = {
        let _harness = seam::harness();
        chdir()
    };
    if left == 0 {
        world::enter(|world| world.set_directory(None))?;
    }
    Some(left)
}

fn enter_directory(world: &mut World, base: Ino, path: &[u8]) -> CallResult {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let directory = world.disk.open(base, path, flags, 0)?;
    world.set_directory(Some(directory));
    Ok(0)
}

fn change_directory_to(door: &'static Door, fd: c_int) -> Option<c_int> {
    if let Some(outcome) = on_descriptor(door, fd, [0; 2], |world, directory| {
        let base = world.disk.ino(directory)?;
        enter_directory(world, base, b".")
    }) {
        return Some(answer(outcome));
    }
    // SAFETY: fchdir(2) has no precondition.
    leave_directory(|| unsafe { libc::fchdir(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_spell_the_mount_point() {
        let words = MOUNT_WORDS.map(|word| String::from_utf8_lossy(word).into_owned());
        assert_eq!(format!("/{}", words.join("/")), MOUNT);
    }

    #[test]
    fn a_path_is_inside_by_its_components_alone() {
        for (path, rest) in [
            ("/proc/crashpoint", "/"),
            ("/proc/crashpoint/", "/"),
            ("//proc/./crashpoint//a/b", "//a/b"),
            ("/../proc/x/../crashpoint/a", ""),
            ("/proc/../proc/crashpoint/..", "/.."),
            ("/proc/crashpoints", ""),
            ("/proc/crash", ""),
            ("/proc", ""),
            ("/", ""),
            ("proc/crashpoint", ""),
        ] {
            let found = inside(path.as_bytes()).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(found), rest, "{path}");
        }
    }

    #[test]
    fn a_descriptor_is_named_by_the_paths_of_its_process() {
        assert_eq!(descriptor_named(b"/proc/self/fd/1048577"), Some(1_048_577));
        assert_eq!(descriptor_named(b"/dev/fd/3"), Some(3));
        assert_eq!(descriptor_named(b"/proc/thread-self/fd/3"), Some(3));
        assert_eq!(descriptor_named(b"/proc/self/fds/3"), None);
        assert_eq!(descriptor_named(b"/proc/self/fd/3/a"), None);
        assert!(lists_descriptors(b"/proc/self/fd/") && !lists_descriptors(b"/proc/self/fd/3"));
        assert_eq!(descriptor_named(b"/dev/fd/x"), None);
        assert_eq!(descriptor_named(b"/proc/self/fd"), None);
    }
}
