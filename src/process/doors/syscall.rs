//! The door `syscall`: system calls by number, led to the doors of their names.

use std::ffi::{c_int, c_long, c_uint};

use libc::timespec;

use crate::disk::Errno;
use crate::process::descriptors::is_simulated;
use crate::process::traps::descriptor_call;
use crate::process::world;

use super::{answer, doors};

// The function is variadic; on this machine's calling convention it may be defined with as many
// register arguments as the longest call has. Those that the caller left out are not looked at.
doors! {
    fn syscall(
        number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize
    ) -> c_long = by_number;
}

#[expect(clippy::too_many_arguments, reason = "a system call has six")]
unsafe fn by_number(
    _: &'static str,
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> Option<c_long> {
    let _ = f;
    // A descriptor and most flags are 32 bits, whatever is in the upper half of the register.
    let (fd, int) = (a as c_int, c as c_int);
    // SAFETY: each system call has the contract of the function of its name. On the engine's side
    // these are our own doors.
    unsafe {
        let served = match number {
            libc::SYS_futex => return None,
            libc::SYS_getrandom => libc::getrandom(a as _, b, c as c_uint) as c_long,
            libc::SYS_fcntl => c_long::from(libc::fcntl(fd, b as c_int, c)),
            libc::SYS_statx => {
                c_long::from(libc::statx(fd, b as _, int, d as c_uint, e as *mut libc::statx))
            }
            libc::SYS_renameat2 => {
                c_long::from(libc::renameat2(fd, b as _, c as c_int, d as _, e as c_uint))
            }
            libc::SYS_openat => c_long::from(libc::openat(fd, b as _, int, d as c_uint)),
            libc::SYS_clock_gettime => c_long::from(libc::clock_gettime(fd, b as *mut timespec)),
            libc::SYS_gettid => c_long::from(libc::gettid()),
            libc::SYS_getpid => c_long::from(libc::getpid()),
            libc::SYS_copy_file_range => {
                libc::copy_file_range(fd, b as _, int, d as _, e, f as c_uint) as c_long
            }
            libc::SYS_io_uring_setup => return refuse("io_uring_setup"),
            libc::SYS_clone | libc::SYS_clone3 => return refuse("clone by number"),
            libc::SYS_fork | libc::SYS_vfork => return refuse("fork by number"),
            libc::SYS_mmap if is_simulated(e as c_int) => return refuse("mmap by number"),
            _ if is_simulated(fd) => return refuse(descriptor_call(number)?),
            _ => return None,
        };
        Some(served)
    }
}

fn refuse(call: &str) -> Option<c_long> {
    world::enter(|world| world.not_simulated(call))?;
    Some(answer(Err(Errno::ENOSYS)))
}
