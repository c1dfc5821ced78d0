//! A buffer of the engine that a call fills. It may be uninitialised, so nothing reads what the
//! call has not written; and it may not exist, so a write to it may fail.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::slice;

use crate::disk::Errno;
use crate::process::seam::reach;

/// Room for bytes, of which the first are filled.
pub(crate) struct Room<'a> {
    start: *mut u8,
    length: usize,
    filled: usize,
    /// Some of it could not be written to.
    failed: bool,
    space: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl<'a> Room<'a> {
    /// Nothing is filled yet.
    ///
    /// # Safety
    /// As far as the memory from `start` on can be written to, nothing else uses these `length`
    /// bytes during `'a`.
    pub(crate) unsafe fn new(start: *mut u8, length: usize) -> Self {
        Self { start, length, filled: 0, failed: false, space: PhantomData }
    }

    /// Room in a buffer of our own.
    pub(crate) fn of(space: &'a mut [MaybeUninit<u8>]) -> Self {
        // SAFETY: the slice is borrowed for `'a`.
        unsafe { Self::new(space.as_mut_ptr().cast(), space.len()) }
    }

    /// How many more bytes fit.
    pub(crate) fn left(&self) -> usize {
        self.length - self.filled
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> *const c_void {
        self.start.cast()
    }

    /// Its address, of which `O_DIRECT` asks for alignment.
    pub(crate) fn bits(&self) -> u64 {
        self.start.addr() as u64
    }

    /// Adds as many of these bytes as fit, up to the first that cannot be written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.left())];
        if self.failed || bytes.is_empty() {
            return;
        }
        // SAFETY: the room is for this call alone (`new`).
        let copied = unsafe { reach::copy_out(self.start.wrapping_add(self.filled), bytes) };
        self.filled += copied;
        self.failed = copied < bytes.len();
    }

    /// The filled bytes.
    pub(crate) fn filled(&mut self) -> &mut [u8] {
        if self.filled == 0 {
            return &mut [];
        }
        // SAFETY: `push` has written the first `filled` bytes.
        unsafe { slice::from_raw_parts_mut(self.start, self.filled) }
    }

    /// How many bytes are filled.
    ///
    /// # Errors
    /// `EFAULT` if there were bytes to write, and none could be written.
    pub(crate) fn done(&self) -> Result<usize, Errno> {
        if self.failed && self.filled == 0 { Err(Errno::EFAULT) } else { Ok(self.filled) }
    }

    /// Fills the rest with zeros, as far as it can be written to; returns what is filled.
    pub(crate) fn zeroed(&mut self) -> &mut [u8] {
        while self.left() > 0 && !self.failed {
            self.push(&[0; 256]);
        }
        self.filled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_were_added_are_changed_and_shown() {
        let mut space = [MaybeUninit::new(9); 8];
        let mut room = Room::of(&mut space[..6]);
        assert!(room.filled().is_empty());
        room.push(b"ab");
        room.push(b"c");
        assert_eq!((room.left(), &*room.filled()), (3, &b"abc"[..]));
        assert_eq!(room.done(), Ok(3));
        // SAFETY: all of it was initialised.
        assert_eq!(unsafe { space.assume_init_ref() }, b"abc\x09\x09\x09\x09\x09");
    }

    #[test]
    fn bytes_beyond_the_room_are_dropped() {
        let mut space = [MaybeUninit::uninit(); 4];
        let mut room = Room::of(&mut space);
        room.push(b"ab");
        room.push(b"cdef");
        assert_eq!((room.left(), &*room.filled()), (0, &b"abcd"[..]));
    }

    #[test]
    fn the_rest_of_uninitialised_room_becomes_zeros() {
        let mut space = [MaybeUninit::uninit(); 4];
        let mut room = Room::of(&mut space);
        room.push(b"ab");
        assert_eq!(room.zeroed(), b"ab\0\0");
    }
}
