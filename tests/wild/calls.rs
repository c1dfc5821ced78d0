//! Calls that an engine in C makes and that safe Rust does not.
#![expect(unsafe_code, reason = "the tests call what an engine written in C calls")]

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::ptr;

/// Forks, and waits for the child, which ends at once.
pub(crate) fn fork() -> Result<()> {
    // SAFETY: the child does nothing but end.
    unsafe {
        match libc::fork() {
            -1 => Err(Error::last_os_error()),
            0 => libc::_exit(0),
            child => {
                libc::waitpid(child, ptr::null_mut(), 0);
                Ok(())
            }
        }
    }
}

/// The size of a page, and of each map here.
const PAGE: usize = 4096;

/// Maps the first page of a file for writing, and unmaps it again.
pub(crate) fn map_for_writing(file: &File) -> Result<()> {
    let (both, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, and nothing looks at what is there.
    unmap(unsafe { libc::mmap(ptr::null_mut(), PAGE, both, libc::MAP_SHARED, fd, 0) })
}

/// As [`map_for_writing`], by the number of the call.
pub(crate) fn map_for_writing_by_number(file: &File) -> Result<()> {
    let (both, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let (anywhere, start, fd) = (ptr::null_mut::<u8>(), 0_usize, file.as_raw_fd());
    // SAFETY: the same.
    let at = unsafe { libc::syscall(libc::SYS_mmap, anywhere, PAGE, both, shared, fd, start) };
    unmap(ptr::without_provenance_mut(at as usize))
}

fn unmap(at: *mut libc::c_void) -> Result<()> {
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: it was mapped just now, and nothing points there.
    unsafe { libc::munmap(at, PAGE) };
    Ok(())
}
