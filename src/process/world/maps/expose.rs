//! Calls that the host serves and that get memory of maps: the kernel cannot touch pages that are
//! closed to the engine, and raises no fault that the handler sees.

use crate::process::seam;
use crate::process::seam::kernel::{errno, set_errno};

use super::{MAPS, PAGE};

/// An argument longer than this is no length of a buffer.
const LONGEST: usize = 1 << 40;

/// How much of the maps is opened for a call whose arguments do not show which memory it uses.
const MOST: usize = 64 << 20;

/// The bits of an argument; 0 if it is none that may be an address or a length.
pub(crate) fn word<T: Copy>(argument: &T) -> usize {
    match size_of::<T>() {
        // SAFETY: the arguments of C functions are integers and pointers, of which any value of
        // this size is an integer, too.
        8 => unsafe { std::mem::transmute_copy(argument) },
        // SAFETY: the same.
        4 => unsafe { std::mem::transmute_copy::<T, u32>(argument) as usize },
        _ => 0,
    }
}

/// Makes a call of the host. What its arguments point to is opened before; if it fails with
/// `EFAULT` anyway, it uses other memory, like a list of buffers, and is made once more if it may
/// be made `again`.
#[cold]
pub(crate) fn host_call<R>(arguments: &[usize], call: impl Fn() -> R, again: bool) -> R {
    let before = errno();
    open_arguments(arguments);
    set_errno(0);
    let mut result = call();
    if again && errno() == libc::EFAULT && open_all() {
        set_errno(0);
        result = call();
    }
    if errno() == 0 {
        set_errno(before);
    }
    result
}

fn open_arguments(arguments: &[usize]) {
    let _harness = seam::harness();
    let mut maps = MAPS.take();
    let lengths = arguments.iter().copied().filter(|&argument| argument < LONGEST);
    let length = lengths.max().unwrap_or(0).max(PAGE);
    for &address in arguments {
        if maps.list.at(address).is_some() {
            let start = address & !(PAGE - 1);
            let end = address.saturating_add(length).next_multiple_of(PAGE);
            for part in maps.list.within(&(start..end)) {
                maps.open_written(&part);
            }
        }
    }
}

/// Opens all maps, up to a limit; returns whether there are any.
fn open_all() -> bool {
    let _harness = seam::harness();
    let mut maps = MAPS.take();
    let mut left = MOST;
    for mut map in maps.list.within(&(0..usize::MAX)) {
        let length = map.memory.len().min(left);
        left -= length;
        map.memory.end = map.memory.start + length;
        if length > 0 {
            maps.open_written(&map);
        }
    }
    left < MOST
}
