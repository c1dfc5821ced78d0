//! The engine's open directory streams.
//!
//! A simulated stream is a small number in the place of a pointer: no allocation ever lies in the
//! first page, so the number cannot be mistaken for one of the C library's streams.

use std::ffi::c_int;
use std::ptr;

use libc::{DIR, dirent64};

use crate::disk::Listed;

/// The lowest address that an allocation can have.
const PAGE: usize = 4096;

/// The open directory streams of a process.
#[derive(Default)]
pub(crate) struct Streams(Vec<Option<Stream>>);

/// A directory that is being listed.
pub(crate) struct Stream {
    /// The descriptor that it was opened on.
    pub(crate) fd: c_int,
    /// The entries at the time the listing began, if it did.
    pub(crate) listed: Option<Vec<Listed>>,
    /// How many entries were handed out.
    pub(crate) position: usize,
    /// The entry that was handed out last.
    pub(crate) entry: Box<dirent64>,
}

impl Streams {
    /// Opens a stream on a descriptor; `None` if there are too many.
    pub(crate) fn add(&mut self, fd: c_int) -> Option<*mut DIR> {
        // SAFETY: all zeros are a valid entry.
        let entry = Box::new(unsafe { std::mem::zeroed::<dirent64>() });
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        // The number 0 is the null pointer.
        if free + 1 >= PAGE {
            return None;
        }
        if free == self.0.len() {
            self.0.push(None);
        }
        self.0[free] = Some(Stream { fd, listed: None, position: 0, entry });
        Some(ptr::without_provenance_mut(free + 1))
    }

    /// The stream that a number stands for.
    pub(crate) fn get(&mut self, stream: *mut DIR) -> Option<&mut Stream> {
        self.0.get_mut(stream.addr().checked_sub(1)?)?.as_mut()
    }

    /// Closes a stream; its descriptor stays open.
    pub(crate) fn remove(&mut self, stream: *mut DIR) -> Option<Stream> {
        self.0.get_mut(stream.addr().checked_sub(1)?)?.take()
    }
}

/// Whether a pointer is the number of a simulated stream.
pub(crate) fn is_ours(stream: *mut DIR) -> bool {
    (1..PAGE).contains(&stream.addr())
}
