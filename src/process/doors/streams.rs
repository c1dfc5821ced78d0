//! Doors that open streams of the C library. A stream on the disk is refused.

use std::ffi::{c_char, c_int};
use std::ptr;

use libc::FILE;

use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;

use super::refuse::give_up;
use super::{bytes, doors, note_outside, on_disk};

doors! {
    fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn _IO_fopen(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn setmntent(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn __setmntent(path: *const c_char, mode: *const c_char) -> *mut FILE = stream;
    fn freopen(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE = stream_anew;
    fn freopen64(path: *const c_char, mode: *const c_char, old: *mut FILE) -> *mut FILE
        = stream_anew;
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE = stream_on;
    fn _IO_fdopen(fd: c_int, mode: *const c_char) -> *mut FILE = stream_on;
}

fn refuse(door: &'static Door) -> Option<*mut FILE> {
    give_up(door, libc::ENOSYS).map(|()| ptr::null_mut())
}

unsafe fn stream(
    door: &'static Door,
    path: *const c_char,
    mode: *const c_char,
) -> Option<*mut FILE> {
    // SAFETY: fopen(3) takes two C strings.
    unsafe {
        if on_disk(path) {
            return refuse(door);
        }
        if bytes(mode).is_some_and(|mode| mode.iter().any(|b| b"wa+".contains(b))) {
            note_outside(path);
        }
    }
    None
}

unsafe fn stream_anew(
    door: &'static Door,
    path: *const c_char,
    mode: *const c_char,
    _: *mut FILE,
) -> Option<*mut FILE> {
    // SAFETY: freopen(3) takes a C string or null, and a C string.
    unsafe { stream(door, path, mode) }
}

fn stream_on(door: &'static Door, fd: c_int, _: *const c_char) -> Option<*mut FILE> {
    is_simulated(fd).then(|| refuse(door))?
}
