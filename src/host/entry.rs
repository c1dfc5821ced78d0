//! The functions that explorers run, named by their offset in the binary, and their way back.

use super::channel::{Channel, Tag};
use super::signals::{NOTED, leave_now};

/// The function of an explorer: it gets the bytes of the request, and sends frames.
pub type ExplorerFn = fn(&[u8], &mut Reply<'_>);

/// Where a function is, relative to one that is in the same binary: the same in every process
/// that runs it, wherever the binary is mapped.
pub(crate) fn offset_of(entry: ExplorerFn) -> isize {
    (entry as usize as isize).wrapping_sub(base())
}

fn base() -> isize {
    base as fn() -> isize as usize as isize
}

/// The function at an offset.
///
/// # Safety
/// [`offset_of`] gave the offset, in a process that runs this binary.
pub(crate) unsafe fn entry_at(offset: isize) -> ExplorerFn {
    let address = base().wrapping_add(offset) as *const ();
    // SAFETY: `offset_of` gave the offset, of a function of this type in the same binary, by this
    // function's contract; so this is its address.
    unsafe { std::mem::transmute::<*const (), ExplorerFn>(address) }
}

/// An explorer's way back to the client.
pub struct Reply<'a> {
    channel: &'a Channel,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(channel: &'a Channel) -> Self {
        Self { channel }
    }

    /// Sends a frame of any length; waits while the client lags. If the client is gone, the
    /// explorer ends.
    pub fn send(&mut self, frame: &[u8]) {
        if self.channel.send_all(Tag::Part, Tag::Last, frame).is_err() {
            leave_now(NOTED);
        }
    }
}
