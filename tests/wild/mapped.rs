//! A file mapped into memory, as engines do it.
#![expect(unsafe_code, reason = "the bytes of a map may change while they are read")]

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::ptr;

/// The first page of a file, mapped into memory.
pub(crate) struct Mapped(*mut libc::c_void);

/// The size of a page, and of each map here.
const PAGE: usize = 4096;

impl Mapped {
    /// Maps for reading.
    pub(crate) fn of(file: &File) -> Result<Self> {
        let (read, shared, fd) = (libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd());
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::mmap(ptr::null_mut(), PAGE, read, shared, fd, 0) };
        if at == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(Self(at)) }
    }

    /// The first bytes that the map shows now.
    pub(crate) fn first<const N: usize>(&self) -> [u8; N] {
        assert!(N <= PAGE);
        // SAFETY: the page is mapped until this is dropped.
        unsafe { self.0.cast::<[u8; N]>().read_volatile() }
    }

    /// Rearranges the map; returns which of the calls fail.
    pub(crate) fn rearrange(&self) -> [bool; 3] {
        unsafe extern "C" {
            fn remap_file_pages(a: *mut libc::c_void, b: usize, c: i32, d: usize, e: i32) -> i32;
            fn pkey_mprotect(a: *mut libc::c_void, b: usize, c: i32, d: i32) -> i32;
        }
        // SAFETY: the page is mapped; if a call succeeds, it stays mapped where it is.
        unsafe {
            [
                libc::mremap(self.0, PAGE, PAGE, 0) == libc::MAP_FAILED,
                remap_file_pages(self.0, PAGE, 0, 0, 0) != 0,
                pkey_mprotect(self.0, PAGE, libc::PROT_READ, -1) != 0,
            ]
        }
    }

    /// Advises the kernel that the page is not needed soon.
    pub(crate) fn give_back(&self) -> Result<()> {
        // SAFETY: the page is mapped.
        let done = unsafe { libc::madvise(self.0, PAGE, libc::MADV_DONTNEED) };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nothing points there any more.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}
