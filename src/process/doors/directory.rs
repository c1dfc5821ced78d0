//! Doors that list directories.
//!
//! A directory stream of the engine is a small number in place of a pointer. No allocation is ever
//! in the first page, so the number cannot be one of the C library's streams.

use std::ffi::{c_char, c_int, c_long};
use std::ptr;

use libc::{DIR, dirent64};

use crate::base::digest::hash;
use crate::disk::effect::Kind;
use crate::disk::{Errno, Ino};
use crate::process::seam::kernel::set_errno;
use crate::process::threads::baton;
use crate::process::world::descriptors::{FIRST, is_simulated};
use crate::process::world::door::Door;
use crate::process::world::streams::is_ours;
use crate::process::world::{self, Called, Referent, World};

use super::path::lists_descriptors;
use super::{answer, bytes, doors};

doors! {
    fn opendir(path: *const c_char) -> *mut DIR = open, faults Before(Open);
    fn fdopendir(fd: c_int) -> *mut DIR = open_on;
    fn readdir(stream: *mut DIR) -> *mut dirent64 = read, faults Before(Read);
    fn readdir64(stream: *mut DIR) -> *mut dirent64 = read, faults Before(Read);
    fn readdir_r(stream: *mut DIR, space: *mut dirent64, result: *mut *mut dirent64) -> c_int
        = read_into, faults Before(Read);
    fn readdir64_r(stream: *mut DIR, space: *mut dirent64, result: *mut *mut dirent64) -> c_int
        = read_into, faults Before(Read);
    fn rewinddir(stream: *mut DIR) -> () = rewind;
    fn telldir(stream: *mut DIR) -> c_long = position;
    fn seekdir(stream: *mut DIR, position: c_long) -> () = set_position;
    fn closedir(stream: *mut DIR) -> c_int = close;
    fn dirfd(stream: *mut DIR) -> c_int = descriptor;
}

/// The pointer that stands for a failure.
fn failed<T>(errno: Errno) -> *mut T {
    set_errno(errno.0);
    ptr::null_mut()
}

unsafe fn open(door: &'static Door, path: *const c_char) -> Option<*mut DIR> {
    // SAFETY: opendir(3) takes a C string.
    if unsafe { bytes(path) }.is_some_and(lists_descriptors) {
        // The kernel would list those of the host, which are the harness's.
        world::enter(|world| world.not_simulated("a list of the open descriptors"))?;
        return Some(failed(Errno::ENOSYS));
    }
    let mut opened = None;
    // SAFETY: opendir(3) takes a C string.
    let outcome = unsafe {
        super::on_path(door, libc::AT_FDCWD, path, [0; 2], |world, base: Ino, path| {
            let handle = world.disk.open(base, path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            let fd = world.give(FIRST, Referent::File(handle), true)?;
            opened = world.streams.add(answer(Ok(fd)));
            Ok(fd)
        })
    }?;
    Some(match (outcome, opened) {
        (Ok(_), Some(stream)) => stream,
        (Ok(_), None) => failed(Errno::EMFILE),
        (Err(errno), _) => failed(errno),
    })
}

fn open_on(door: &'static Door, fd: c_int) -> Option<*mut DIR> {
    if !is_simulated(fd) {
        return None;
    }
    let mut opened = None;
    let outcome = baton::serve(|world| {
        world.call(&Called::on(door, fd, [0; 2]), |world| {
            let file = world.file(fd)?;
            if world.disk.stat(file)?.kind != Kind::Directory {
                return Err(Errno::ENOTDIR);
            }
            opened = world.streams.add(fd);
            Ok(0)
        })
    })?;
    Some(match (outcome, opened) {
        (Ok(_), Some(stream)) => stream,
        (Ok(_), None) => failed(Errno::EMFILE),
        (Err(errno), _) => failed(errno),
    })
}

impl World {
    /// Moves a stream to its next entry, which the stream itself then holds; `None` at the end.
    fn next_entry(&mut self, stream: *mut DIR) -> Result<Option<*mut dirent64>, Errno> {
        let fd = self.streams.get(stream).ok_or(Errno::EBADF)?.fd;
        let file = self.file(fd)?;
        let stream = self.streams.get(stream).ok_or(Errno::EBADF)?;
        if stream.listed.is_none() {
            // To the C library a directory that was removed is at its end.
            stream.listed = Some(match self.disk.list(file) {
                Err(Errno::ENOENT) => Vec::new(),
                listed => listed?,
            });
        }
        let Some(listed) = stream.listed.as_ref().and_then(|all| all.get(stream.position)) else {
            return Ok(None);
        };
        stream.position += 1;
        let entry = &mut stream.entry;
        entry.d_ino = listed.ino.shown();
        entry.d_off = stream.position as i64;
        entry.d_reclen = size_of::<dirent64>() as u16;
        entry.d_type = match listed.kind {
            Kind::File => libc::DT_REG,
            Kind::Directory => libc::DT_DIR,
            Kind::Symlink => libc::DT_LNK,
        };
        entry.d_name.fill(0);
        for (to, byte) in entry.d_name.iter_mut().zip(&listed.name) {
            *to = byte.cast_signed();
        }
        Ok(Some(&raw mut **entry))
    }

    /// Reads one entry; the record holds the digest of its name and its number.
    fn read_entry(
        &mut self,
        door: &'static Door,
        stream: *mut DIR,
    ) -> Result<Option<*mut dirent64>, Errno> {
        let fd = self.streams.get(stream).map_or(-1, |stream| stream.fd);
        let mut entry = None;
        self.call(&Called::on(door, fd, [0; 2]), |world| {
            entry = world.next_entry(stream)?;
            if let Some(stream) = world.streams.get(stream).filter(|_| entry.is_some()) {
                let name = stream.listed.as_ref().and_then(|all| all.get(stream.position - 1));
                let (ino, name) = name.map_or((None, &b""[..]), |e| (Some(e.ino), &e.name));
                world.bytes = hash(&[name, &ino.map_or(0, Ino::shown).to_le_bytes()].concat());
                ino.into_iter().for_each(|ino| world.see_number(ino));
            }
            Ok(i64::from(entry.is_some()))
        })?;
        Ok(entry)
    }
}

fn read(door: &'static Door, stream: *mut DIR) -> Option<*mut dirent64> {
    if !is_ours(stream) {
        return None;
    }
    Some(match world::enter(|world| world.read_entry(door, stream))? {
        Ok(entry) => entry.unwrap_or(ptr::null_mut()),
        Err(errno) => failed(errno),
    })
}

unsafe fn read_into(
    door: &'static Door,
    stream: *mut DIR,
    space: *mut dirent64,
    result: *mut *mut dirent64,
) -> Option<c_int> {
    if !is_ours(stream) {
        return None;
    }
    let read = world::enter(|world| world.read_entry(door, stream))?;
    // SAFETY: readdir_r(3) takes room for an entry and for the pointer to it; the entry that was
    // read stays in the stream until the next call.
    unsafe {
        *result = ptr::null_mut();
        if let Ok(Some(entry)) = read {
            ptr::copy_nonoverlapping(entry, space, 1);
            *result = space;
        }
    }
    Some(read.map_or_else(|errno| errno.0, |_| 0))
}

fn rewind(door: &'static Door, stream: *mut DIR) -> Option<()> {
    if !is_ours(stream) {
        return None;
    }
    move_to(door, stream, 0, true)
}

fn set_position(door: &'static Door, stream: *mut DIR, position: c_long) -> Option<()> {
    if !is_ours(stream) {
        return None;
    }
    move_to(door, stream, usize::try_from(position).unwrap_or(0), false)
}

/// Moves a stream; `afresh` makes it list the directory again.
fn move_to(door: &'static Door, stream: *mut DIR, position: usize, afresh: bool) -> Option<()> {
    world::enter(|world| {
        let fd = world.streams.get(stream).map_or(-1, |stream| stream.fd);
        let _ = world.call(&Called::on(door, fd, [position as u64, 0]), |world| {
            let stream = world.streams.get(stream).ok_or(Errno::EBADF)?;
            stream.position = position;
            if afresh {
                stream.listed = None;
            }
            Ok(0)
        });
    })
}

fn position(_: &'static Door, stream: *mut DIR) -> Option<c_long> {
    if !is_ours(stream) {
        return None;
    }
    let outcome = world::enter(|world| {
        let stream = world.streams.get(stream).ok_or(Errno::EBADF)?;
        Ok(world::length(stream.position))
    })?;
    Some(answer(outcome))
}

fn close(door: &'static Door, stream: *mut DIR) -> Option<c_int> {
    if !is_ours(stream) {
        return None;
    }
    let fd = world::enter(|world| world.streams.remove(stream).map(|stream| stream.fd))?;
    match fd {
        Some(fd) => super::open::close(door, fd),
        None => Some(answer(Err(Errno::EBADF))),
    }
}

fn descriptor(_: &'static Door, stream: *mut DIR) -> Option<c_int> {
    if !is_ours(stream) {
        return None;
    }
    let fd = world::enter(|world| world.streams.get(stream).map(|stream| stream.fd))?;
    Some(answer(fd.map(i64::from).ok_or(Errno::EINVAL)))
}
