//! Alternate signal stacks: a thread whose own stack is full can still run a signal handler.

use std::cell::Cell;
use std::ffi::c_void;
use std::{io, mem, ptr};

/// Bytes of an alternate stack: enough to walk a backtrace on.
const SIZE: usize = 64 << 10;

thread_local! {
    /// The alternate stack that this thread keeps until it ends; null if there is none.
    static KEPT: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// An alternate signal stack of the calling thread. Without one, nothing can be noted once the
/// thread's own stack is full; every thread that runs engine code keeps one until it ends.
pub struct AltStack {
    base: *mut c_void,
}

impl AltStack {
    /// Gives the calling thread an alternate stack.
    ///
    /// # Errors
    /// The error of `mmap` or `sigaltstack`.
    pub fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel picks touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        let set = libc::stack_t { ss_sp: base, ss_flags: 0, ss_size: SIZE };
        // SAFETY: the mapping stays until `drop`, which takes it away from the thread first.
        if unsafe { libc::sigaltstack(&set, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Leaves the stack with the calling thread until [`AltStack::drop_kept`].
    pub(crate) fn keep(self) {
        KEPT.set(self.base);
        mem::forget(self);
    }

    /// Drops the stack that the calling thread keeps, if any.
    pub(crate) fn drop_kept() {
        let base = KEPT.replace(ptr::null_mut());
        if !base.is_null() {
            drop(Self { base });
        }
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let none =
            libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: SIZE };
        // SAFETY: the raw pointer makes this type neither `Send` nor `Sync`, so this is the thread
        // that `new` gave the stack to; once it is disabled nothing refers to the mapping.
        unsafe {
            libc::sigaltstack(&none, ptr::null_mut());
            libc::munmap(self.base, SIZE);
        }
    }
}
