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

/// Maps the first page of a file, and asks for another one in its place.
pub(crate) fn rearrange_pages(file: &File) -> Result<()> {
    let (both, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
    // SAFETY: the kernel chooses the address, and nothing looks at what is there.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), PAGE, both, libc::MAP_SHARED, fd, 0);
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let done = libc::syscall(libc::SYS_remap_file_pages, at, PAGE, 0, 1, 0);
        let error = Error::last_os_error();
        unmap(at)?;
        if done == 0 { Ok(()) } else { Err(error) }
    }
}

fn unmap(at: *mut libc::c_void) -> Result<()> {
    if at == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: it was mapped just now, and nothing points there.
    unsafe { libc::munmap(at, PAGE) };
    Ok(())
}
