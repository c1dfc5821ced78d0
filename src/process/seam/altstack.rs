//! Alternate signal stacks: a thread whose own stack is full can still run a signal handler.

use std::cell::Cell;
use std::ffi::c_void;
use std::{io, mem, ptr};

/// Bytes of an alternate stack: enough to walk a backtrace on.
const SIZE: usize = 64 << 10;

/// Bytes below a stack that may not be touched: an overflow ends the process, and does not write
/// into a neighbour. A handler may run the schedule on this stack, which walks backtraces.
const GUARD: usize = 4096;

thread_local! {
    /// The mapping of the alternate stack that this thread keeps until it ends; null if there is
    /// none.
    static KEPT: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// An alternate signal stack of the calling thread. Without one, nothing can be noted once the
/// thread's own stack is full; every thread that runs engine code keeps one until it ends.
pub struct AltStack {
    /// A mapping of the guard and, above it, the stack.
    base: *mut c_void,
}

impl AltStack {
    /// Gives the calling thread an alternate stack.
    ///
    /// # Errors
    /// The error of `mmap`, `mprotect` or `sigaltstack`.
    pub fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel picks touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), GUARD + SIZE, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        let set = libc::stack_t { ss_sp: stack.lowest(), ss_flags: 0, ss_size: SIZE };
        // SAFETY: the guard is the mapping's first page, which nothing uses. The mapping stays
        // until `drop`, which takes it away from the thread first.
        unsafe {
            if libc::mprotect(base, GUARD, libc::PROT_NONE) != 0
                || libc::sigaltstack(&set, ptr::null_mut()) != 0
            {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(stack)
    }

    /// The lowest address of the stack itself.
    fn lowest(&self) -> *mut c_void {
        self.base.wrapping_byte_add(GUARD)
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
            libc::munmap(self.base, GUARD + SIZE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The protection of the mapping that ends at this address, as the kernel lists it.
    fn protection_below(address: usize) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel lists it");
        let end = format!("-{address:x}");
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            range.ends_with(&end).then(|| rest[..4].to_owned())
        })
    }

    #[test]
    fn below_a_stack_of_full_size_is_a_page_that_may_not_be_touched() {
        let stack = AltStack::new().expect("memory");
        let mut set = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        // SAFETY: writes one structure.
        assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &raw mut set) }, 0);
        assert_eq!((set.ss_flags, set.ss_size), (0, SIZE));
        assert_eq!(protection_below(set.ss_sp.addr()).as_deref(), Some("---p"));
        drop(stack);
        // SAFETY: writes one structure.
        assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &raw mut set) }, 0);
        assert_eq!(set.ss_flags, libc::SS_DISABLE);
    }
}
