//! The door `getdents64`: the entries of a directory as the kernel returns them. The C library's
//! own walks (`glob`, `fts`, `nftw`, `scandir`) list directories with it.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;

use libc::dirent64;

use crate::base::digest::hash;
use crate::disk::effect::Kind;
use crate::disk::{Errno, Handle, Listed};
use crate::process::world::door::Door;
use crate::process::world::room::Room;
use crate::process::world::{CallResult, World, length};

use super::{answer, doors, on_descriptor, room};

doors! {
    fn getdents64(fd: c_int, entries: *mut c_void, size: usize) -> isize
        = read, faults Before(Read);
}

/// The bytes of an entry before its name.
const HEAD: usize = offset_of!(dirent64, d_name);

unsafe fn read(door: &'static Door, fd: c_int, entries: *mut c_void, size: usize) -> Option<isize> {
    let outcome = on_descriptor(door, fd, [size as u64, 0], |world, directory| {
        // SAFETY: getdents64(2) takes room for `size` bytes.
        let mut room = unsafe { room(entries, size) };
        list(world, directory, &mut room, size)
    })?;
    Some(answer(outcome))
}

/// Stores the next entries. The position of a directory is the place of the last one in an order
/// that no change of the directory affects, as on file systems that hash names: an entry that
/// stays is listed once, whatever happens to others in between.
fn list(world: &mut World, directory: Handle, room: &mut Room<'_>, size: usize) -> CallResult {
    let position = world.disk.seek(directory, 0, libc::SEEK_CUR)?;
    let mut listed = world.disk.list(directory)?;
    listed.sort_by_cached_key(|entry| place(&entry.name));
    let (mut bytes, mut last) = (Vec::new(), position);
    for entry in listed.iter().filter(|entry| place(&entry.name) > position) {
        if !store(entry, &mut bytes, size) {
            break;
        }
        last = place(&entry.name);
        world.see_number(entry.ino);
    }
    if bytes.is_empty() && listed.iter().any(|entry| place(&entry.name) > position) {
        return Err(Errno::EINVAL);
    }
    room.push(&bytes);
    if room.done()? < bytes.len() {
        return Err(Errno::EFAULT);
    }
    world.disk.seek(directory, last.cast_signed(), libc::SEEK_SET)?;
    world.bytes = hash(&bytes);
    Ok(length(bytes.len()))
}

/// The place of a name in the order of a directory, a positive number of 63 bits.
fn place(name: &[u8]) -> u64 {
    match name {
        b"." => 1,
        b".." => 2,
        name => 3 + (hash(name) >> 2),
    }
}

/// Appends an entry, if there is room for it.
fn store(entry: &Listed, bytes: &mut Vec<u8>, size: usize) -> bool {
    let whole = (HEAD + entry.name.len() + 1).next_multiple_of(8);
    if bytes.len() + whole > size {
        return false;
    }
    let kind = match entry.kind {
        Kind::File => libc::DT_REG,
        Kind::Directory => libc::DT_DIR,
        Kind::Symlink => libc::DT_LNK,
    };
    let end = bytes.len() + whole;
    bytes.extend_from_slice(&entry.ino.shown().to_le_bytes());
    bytes.extend_from_slice(&place(&entry.name).to_le_bytes());
    bytes.extend_from_slice(&(whole as u16).to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(&entry.name);
    bytes.resize(end, 0);
    true
}
