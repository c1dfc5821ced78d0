//! A buffer of the engine that a call fills. It may be uninitialised, so nothing reads what the
//! call has not written.

use std::mem::MaybeUninit;

/// Room for bytes, of which the first are filled.
pub(crate) struct Room<'a> {
    space: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

impl<'a> Room<'a> {
    /// Nothing is filled yet.
    pub(crate) fn new(space: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { space, filled: 0 }
    }

    /// How many more bytes fit.
    pub(crate) fn left(&self) -> usize {
        self.space.len() - self.filled
    }

    /// Adds as many of these bytes as fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.left())];
        self.space[self.filled..][..bytes.len()].write_copy_of_slice(bytes);
        self.filled += bytes.len();
    }

    /// The filled bytes.
    pub(crate) fn filled(&mut self) -> &mut [u8] {
        // SAFETY: `push` and `zeroed` have written the first `filled` bytes.
        unsafe { self.space[..self.filled].assume_init_mut() }
    }

    /// Fills the rest with zeros; returns the whole.
    pub(crate) fn zeroed(&mut self) -> &mut [u8] {
        self.space[self.filled..].fill(MaybeUninit::new(0));
        self.filled = self.space.len();
        self.filled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_were_added_are_changed_and_shown() {
        let mut space = [MaybeUninit::new(9); 8];
        let mut room = Room::new(&mut space[..6]);
        assert!(room.filled().is_empty());
        room.push(b"ab");
        room.push(b"c");
        assert_eq!((room.left(), &*room.filled()), (3, &b"abc"[..]));
        // SAFETY: all of it was initialised.
        assert_eq!(unsafe { space.assume_init_ref() }, b"abc\x09\x09\x09\x09\x09");
    }

    #[test]
    fn bytes_beyond_the_room_are_dropped() {
        let mut space = [MaybeUninit::uninit(); 4];
        let mut room = Room::new(&mut space);
        room.push(b"ab");
        room.push(b"cdef");
        assert_eq!((room.left(), &*room.filled()), (0, &b"abcd"[..]));
    }

    #[test]
    fn the_rest_of_uninitialised_room_becomes_zeros() {
        let mut space = [MaybeUninit::uninit(); 4];
        let mut room = Room::new(&mut space);
        room.push(b"ab");
        assert_eq!(room.zeroed(), b"ab\0\0");
    }
}
