//! Calls of a C engine that safe Rust does not make.
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

/// Maps the first page of a file, and unmaps it again.
pub(crate) fn map(file: &File) -> Result<()> {
    let (read, shared, fd) = (libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, and nothing looks at what is there.
    unmap(unsafe { libc::mmap(ptr::null_mut(), PAGE, read, shared, fd, 0) })
}

/// The same by the number of the call.
pub(crate) fn map_by_number(file: &File) -> Result<()> {
    let (read, shared, fd) = (libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd());
    let (anywhere, start) = (ptr::null_mut::<u8>(), 0_usize);
    // SAFETY: as above.
    let at = unsafe { libc::syscall(libc::SYS_mmap, anywhere, PAGE, read, shared, fd, start) };
    unmap(ptr::without_provenance_mut(at as usize))
}

/// What is mapped at once.
const PAGE: usize = 4096;

fn unmap(at: *mut libc::c_void) -> Result<()> {
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: it was mapped just now, and nothing points there.
    unsafe { libc::munmap(at, PAGE) };
    Ok(())
}
