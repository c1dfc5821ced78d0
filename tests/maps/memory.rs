//! A file mapped for reading and writing.
#![expect(unsafe_code, reason = "maps have no safe form")]

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::ptr;

/// A map of a file from its beginning on.
pub(crate) struct Memory {
    at: *mut u8,
    length: usize,
}

impl Memory {
    pub(crate) fn of(file: &File, length: usize) -> Result<Self> {
        let (both, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: the kernel chooses the address.
        let at = unsafe { libc::mmap(ptr::null_mut(), length, both, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Self { at: at.cast(), length })
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        // SAFETY: the range is mapped, and no reference to it exists.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(offset), bytes.len()) };
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        let mut bytes = vec![0; length];
        // SAFETY: the same.
        unsafe { ptr::copy_nonoverlapping(self.at.add(offset), bytes.as_mut_ptr(), length) };
        bytes
    }

    pub(crate) fn sync(&self, offset: usize, length: usize, flags: i32) -> Result<()> {
        assert!(offset + length <= self.length);
        // SAFETY: the range is mapped.
        let done = unsafe { libc::msync(self.at.add(offset).cast(), length, flags) };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    /// The address of a byte, for the C library's locks.
    pub(crate) fn place<T>(&self, offset: usize) -> *mut T {
        self.at.wrapping_add(offset).cast()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and nothing points there any more.
        unsafe { libc::munmap(self.at.cast(), self.length) };
    }
}
