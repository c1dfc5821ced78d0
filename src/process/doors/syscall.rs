//! System calls by number, from the door `syscall` and from syscall user dispatch. Each goes to the
//! door of its name, if it has one.

use std::ffi::{c_int, c_long, c_uint};

use libc::timespec;

use crate::disk::Errno;
use crate::process::seam::dispatch::RawCall;
use crate::process::seam::kernel::{errno, next, set_errno};
use crate::process::seam::{self, Side};
use crate::process::world;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;

use super::descriptor_calls::descriptor_call;
use super::futex::{Arguments, futex};
use super::{answer, doors};

// The function is variadic. By the calling convention of x86-64 it may be defined with as many
// register arguments as the longest call has; those that the caller left out are not read.
doors! {
    fn syscall(
        number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize
    ) -> c_long = by_number;
}

/// A system call's six arguments.
type Six = [usize; 6];

#[expect(clippy::too_many_arguments, reason = "a system call has six")]
unsafe fn by_number(
    _: &'static Door,
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> Option<c_long> {
    // SAFETY: the caller of syscall(2) gives the arguments that the kernel documents for the
    // number: its pointers are valid for what the call reads and writes.
    unsafe { serve(number, [a, b, c, d, e, f]) }
}

/// Serves a system call that did not come through the C library, given as its number and arguments.
/// Returns the kernel's kind of result, with an error as a negative number.
///
/// # Safety
/// The arguments are those that the kernel documents for the number: their pointers are valid for
/// what the call reads and writes.
pub(super) unsafe fn raw([number, rest @ ..]: RawCall) -> i64 {
    let before = errno();
    let arguments = rest.map(|argument| argument.cast_unsigned() as usize);
    let [a, b, c, d, e, f] = arguments;
    let ours = seam::side() == Side::Engine;
    // SAFETY: the arguments are valid for the number, by this function's contract.
    let served = if ours { unsafe { serve(number, arguments) } } else { None };
    let result = served.unwrap_or_else(|| {
        let pass = next!(
            syscall(c_long, usize, usize, usize, usize, usize, usize) -> c_long
        );
        // SAFETY: the same; the kernel gets what the engine would have given it.
        unsafe { pass(number, a, b, c, d, e, f) }
    });
    let answer = if result == -1 { -i64::from(errno()) } else { result };
    set_errno(before);
    answer
}

/// # Safety
/// As [`raw`]: the arguments are valid for the number.
unsafe fn serve(number: c_long, arguments: Six) -> Option<c_long> {
    // SAFETY: the arguments are valid for the number, by this function's contract; each function
    // serves some numbers and requires no more.
    unsafe {
        if let Some(served) = waits(number, arguments) {
            return served;
        }
        let served = on_descriptors(number, arguments)
            .or_else(|| on_paths(number, arguments))
            .or_else(|| on_two_paths(number, arguments))
            .or_else(|| of_the_process(number, arguments));
        served.or_else(|| refused(number, arguments[0] as c_int))
    }
}

/// Refuses the calls that no door serves and that must not reach the kernel.
fn refused(number: c_long, fd: c_int) -> Option<c_long> {
    match number {
        libc::SYS_io_uring_setup => refuse("io_uring_setup"),
        libc::SYS_clone | libc::SYS_clone3 => refuse("clone by number"),
        libc::SYS_fork | libc::SYS_vfork => refuse("fork by number"),
        _ if is_simulated(fd) => refuse(descriptor_call(number)?),
        _ => None,
    }
}

fn refuse(call: &str) -> Option<c_long> {
    world::enter(|world| world.not_simulated(call))?;
    Some(answer(Err(Errno::ENOSYS)))
}

/// Serves futex calls, for which the C library has no functions; `None` for any other call.
///
/// # Safety
/// As [`raw`]: the arguments are valid for the number.
unsafe fn waits(number: c_long, [a, b, c, d, e, f]: Six) -> Option<Option<c_long>> {
    match number {
        libc::SYS_futex => {
            let (word, other) = (a as *mut u32, e as *mut u32);
            let (operation, value, third) = (b as c_int, c as u32, f as u32);
            let time = d as *const timespec;
            // SAFETY: the number is futex's, so the words and the time are those of futex(2), by
            // this function's contract.
            Some(unsafe { futex(Arguments { word, operation, value, time, other, third }) })
        }
        libc::SYS_futex_waitv => Some(refuse("futex_waitv")),
        _ => None,
    }
}

/// Passes a call to the function of its name. A descriptor and most flags have 32 bits, whatever
/// the upper half of the register holds.
macro_rules! lead {
    ($number:expr, $($name:ident => $call:expr,)*) => {
        match $number {
            $(libc::$name => Some($call as c_long),)*
            _ => None,
        }
    };
}

/// # Safety
/// As [`raw`]: the arguments are valid for the number. On the engine's side the functions are our
/// own doors.
unsafe fn on_descriptors(number: c_long, [a, b, c, d, e, f]: Six) -> Option<c_long> {
    let (fd, int) = (a as c_int, c as c_int);
    // SAFETY: the arguments are valid for the number, by this function's contract, and the function
    // of that name takes the same ones.
    unsafe {
        lead!(number,
            SYS_read => libc::read(fd, b as _, c),
            SYS_write => libc::write(fd, b as _, c),
            SYS_pread64 => libc::pread64(fd, b as _, c, d as _),
            SYS_pwrite64 => libc::pwrite64(fd, b as _, c, d as _),
            SYS_readv => libc::readv(fd, b as _, int),
            SYS_writev => libc::writev(fd, b as _, int),
            SYS_preadv => libc::preadv64(fd, b as _, int, d as _),
            SYS_pwritev => libc::pwritev64(fd, b as _, int, d as _),
            SYS_preadv2 => libc::preadv64v2(fd, b as _, int, d as _, f as c_int),
            SYS_pwritev2 => libc::pwritev64v2(fd, b as _, int, d as _, f as c_int),
            SYS_lseek => libc::lseek64(fd, b as _, int),
            SYS_close => libc::close(fd),
            SYS_fstat => libc::fstat64(fd, b as _),
            SYS_fstatfs => libc::fstatfs64(fd, b as _),
            SYS_ftruncate => libc::ftruncate64(fd, b as _),
            SYS_fallocate => libc::fallocate64(fd, b as c_int, c as _, d as _),
            SYS_fsync => libc::fsync(fd),
            SYS_fdatasync => libc::fdatasync(fd),
            SYS_syncfs => libc::syncfs(fd),
            SYS_sync_file_range => libc::sync_file_range(fd, b as _, c as _, d as c_uint),
            SYS_dup => libc::dup(fd),
            SYS_dup2 => libc::dup2(fd, b as c_int),
            SYS_dup3 => libc::dup3(fd, b as c_int, int),
            SYS_fcntl => libc::fcntl(fd, b as c_int, c),
            SYS_flock => libc::flock(fd, b as c_int),
            SYS_ioctl => libc::ioctl(fd, b as _, c),
            SYS_fchmod => libc::fchmod(fd, b as _),
            SYS_fchown => libc::fchown(fd, b as _, c as _),
            SYS_fchdir => libc::fchdir(fd),
            SYS_sendfile => libc::sendfile64(fd, b as c_int, c as _, d),
            SYS_splice => libc::splice(fd, b as _, int, d as _, e, f as c_uint),
            SYS_copy_file_range => {
                libc::copy_file_range(fd, b as _, int, d as _, e, f as c_uint)
            },
            SYS_mmap => libc::mmap64(a as _, b, int, d as c_int, e as c_int, f as _) as isize,
        )
    }
}

/// # Safety
/// As [`on_descriptors`].
unsafe fn on_paths(number: c_long, [a, b, c, d, e, _]: Six) -> Option<c_long> {
    let (fd, int) = (a as c_int, c as c_int);
    // SAFETY: as in `on_descriptors`.
    unsafe {
        lead!(number,
            SYS_open => libc::open64(a as _, b as c_int, c as c_uint),
            SYS_openat => libc::openat64(fd, b as _, int, d as c_uint),
            SYS_creat => libc::creat64(a as _, b as _),
            SYS_stat => libc::stat64(a as _, b as _),
            SYS_lstat => libc::lstat64(a as _, b as _),
            SYS_newfstatat => libc::fstatat64(fd, b as _, c as _, d as c_int),
            SYS_statx => libc::statx(fd, b as _, int, d as c_uint, e as *mut libc::statx),
            SYS_statfs => libc::statfs64(a as _, b as _),
            SYS_access => libc::access(a as _, b as c_int),
            SYS_faccessat => libc::faccessat(fd, b as _, int, 0),
            SYS_faccessat2 => libc::faccessat(fd, b as _, int, d as c_int),
            SYS_truncate => libc::truncate64(a as _, b as _),
            SYS_mkdir => libc::mkdir(a as _, b as _),
            SYS_mkdirat => libc::mkdirat(fd, b as _, c as _),
            SYS_rmdir => libc::rmdir(a as _),
            SYS_unlink => libc::unlink(a as _),
            SYS_unlinkat => libc::unlinkat(fd, b as _, int),
            SYS_readlink => libc::readlink(a as _, b as _, c),
            SYS_readlinkat => libc::readlinkat(fd, b as _, c as _, d),
            SYS_chmod => libc::chmod(a as _, b as _),
            SYS_fchmodat => libc::fchmodat(fd, b as _, c as _, 0),
            SYS_chown => libc::chown(a as _, b as _, c as _),
            SYS_lchown => libc::lchown(a as _, b as _, c as _),
            SYS_fchownat => libc::fchownat(fd, b as _, c as _, d as _, e as c_int),
            SYS_utimensat => libc::utimensat(fd, b as _, c as _, d as c_int),
            SYS_chdir => libc::chdir(a as _),
        )
    }
}

/// # Safety
/// As [`on_descriptors`].
unsafe fn on_two_paths(number: c_long, [a, b, c, d, e, _]: Six) -> Option<c_long> {
    let (from, to) = (a as c_int, c as c_int);
    // SAFETY: as in `on_descriptors`.
    unsafe {
        lead!(number,
            SYS_rename => libc::rename(a as _, b as _),
            SYS_renameat => libc::renameat(from, b as _, to, d as _),
            SYS_renameat2 => libc::renameat2(from, b as _, to, d as _, e as c_uint),
            SYS_link => libc::link(a as _, b as _),
            SYS_linkat => libc::linkat(from, b as _, to, d as _, e as c_int),
            SYS_symlink => libc::symlink(a as _, b as _),
            SYS_symlinkat => libc::symlinkat(a as _, b as c_int, c as _),
        )
    }
}

/// # Safety
/// As [`on_descriptors`].
unsafe fn of_the_process(number: c_long, [a, b, c, d, _, _]: Six) -> Option<c_long> {
    let clock = a as c_int;
    // SAFETY: as in `on_descriptors`.
    unsafe {
        lead!(number,
            SYS_getrandom => libc::getrandom(a as _, b, c as c_uint),
            SYS_getpid => libc::getpid(),
            SYS_gettid => libc::gettid(),
            SYS_umask => libc::umask(a as _),
            SYS_sync => { libc::sync(); 0 },
            SYS_clock_gettime => libc::clock_gettime(clock, b as *mut timespec),
            SYS_clock_getres => libc::clock_getres(clock, b as *mut timespec),
            SYS_gettimeofday => libc::gettimeofday(a as _, b as _),
            SYS_time => libc::time(a as _),
            SYS_nanosleep => libc::nanosleep(a as _, b as _),
            SYS_clock_nanosleep => {
                match libc::clock_nanosleep(clock, b as c_int, c as _, d as _) {
                    0 => 0,
                    error => answer::<c_int>(Err(Errno(error))),
                }
            },
            SYS_sched_yield => libc::sched_yield(),
            SYS_sched_getaffinity => affinity(a, b, c),
            SYS_sysinfo => libc::sysinfo(a as _),
            SYS_poll => libc::poll(a as _, b as _, c as c_int),
            SYS_ppoll => libc::ppoll(a as _, b as _, c as _, d as _),
            SYS_epoll_wait => libc::epoll_wait(clock, b as _, c as c_int, d as c_int),
        )
    }
}

/// The kernel returns the number of bytes of the mask that it wrote, the C library 0.
///
/// # Safety
/// `mask` is the address of room for `size` bytes (sched_getaffinity(2)).
unsafe fn affinity(process: usize, size: usize, mask: usize) -> c_long {
    // SAFETY: the mask has room for `size` bytes, by this function's contract.
    match unsafe { libc::sched_getaffinity(process as _, size, mask as _) } {
        0 => size.min(8) as c_long,
        error => error.into(),
    }
}
