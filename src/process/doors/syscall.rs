//! System calls by number, from the door `syscall` and from syscall user dispatch. Each goes to the
//! door of its name, if it has one.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::ptr;

use libc::timespec;

use crate::disk::Errno;
use crate::process::seam::dispatch::RawCall;
use crate::process::seam::kernel::{errno, next, set_errno};
use crate::process::seam::{self, Side};
use crate::process::world;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::maps;

use super::descriptor_calls::descriptor_call;
use super::futex::{Arguments, futex};
use super::{answer, doors, on_disk, on_disk_at};

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
        let pass = || unsafe { pass(number, a, b, c, d, e, f) };
        if ours && maps::any() { maps::host_call(&arguments, pass, true) } else { pass() }
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
        served.or_else(|| refused(number, arguments))
    }
}

/// When a call that no door serves is refused.
#[derive(Clone, Copy)]
enum Refused {
    /// Always.
    Always,
    /// If the path is on the disk that this argument points to.
    Path(usize),
    /// As `Path`, for a path in the second place that starts at the descriptor in the first.
    At(usize, usize),
}

/// The calls that no door serves and that must not reach the kernel.
const REFUSED: &[(c_long, &str, Refused)] = {
    use Refused::{Always, At, Path};
    &[
        (libc::SYS_clone, "clone by number", Always),
        (libc::SYS_clone3, "clone by number", Always),
        (libc::SYS_fork, "fork by number", Always),
        (libc::SYS_vfork, "fork by number", Always),
        (libc::SYS_io_uring_setup, "io_uring_setup", Always),
        // The ids by which the engine knows itself may belong to others on the host.
        (libc::SYS_tkill, "tkill", Always),
        (libc::SYS_rt_sigqueueinfo, "rt_sigqueueinfo", Always),
        (libc::SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo", Always),
        (libc::SYS_io_setup, "io_setup", Always),
        (libc::SYS_io_submit, "io_submit", Always),
        (libc::SYS_timer_create, "timer_create", Always),
        (libc::SYS_futex_waitv, "futex_waitv", Always),
        (454, "futex_wake", Always),
        (455, "futex_wait", Always),
        (456, "futex_requeue", Always),
        (libc::SYS_userfaultfd, "userfaultfd", Always),
        (libc::SYS_fchmodat2, "fchmodat2", At(0, 1)),
        (libc::SYS_openat2, "openat2", At(0, 1)),
        (libc::SYS_setxattr, "setxattr", Path(0)),
        (libc::SYS_lsetxattr, "lsetxattr", Path(0)),
        (libc::SYS_getxattr, "getxattr", Path(0)),
        (libc::SYS_lgetxattr, "lgetxattr", Path(0)),
        (libc::SYS_listxattr, "listxattr", Path(0)),
        (libc::SYS_llistxattr, "llistxattr", Path(0)),
        (libc::SYS_removexattr, "removexattr", Path(0)),
        (libc::SYS_lremovexattr, "lremovexattr", Path(0)),
        (libc::SYS_mknod, "mknod", Path(0)),
        (libc::SYS_mknodat, "mknodat", At(0, 1)),
        (libc::SYS_name_to_handle_at, "name_to_handle_at", At(0, 1)),
        (libc::SYS_fanotify_mark, "fanotify_mark", At(3, 4)),
        (libc::SYS_inotify_add_watch, "inotify_add_watch", Path(1)),
        (libc::SYS_futimesat, "futimesat", At(0, 1)),
        (libc::SYS_mount, "mount", Path(1)),
        (libc::SYS_umount2, "umount2", Path(0)),
        (libc::SYS_open_tree, "open_tree", At(0, 1)),
        (libc::SYS_move_mount, "move_mount", At(2, 3)),
        (libc::SYS_fspick, "fspick", At(0, 1)),
        (libc::SYS_mount_setattr, "mount_setattr", At(0, 1)),
        (libc::SYS_chroot, "chroot", Path(0)),
        (libc::SYS_pivot_root, "pivot_root", Path(0)),
        (libc::SYS_acct, "acct", Path(0)),
        (libc::SYS_swapon, "swapon", Path(0)),
        (libc::SYS_swapoff, "swapoff", Path(0)),
        (libc::SYS_quotactl, "quotactl", Path(1)),
        (libc::SYS_uselib, "uselib", Path(0)),
        (SYS_SETXATTRAT, "setxattrat", At(0, 1)),
        (SYS_SETXATTRAT + 1, "getxattrat", At(0, 1)),
        (SYS_SETXATTRAT + 2, "listxattrat", At(0, 1)),
        (SYS_SETXATTRAT + 3, "removexattrat", At(0, 1)),
        (SYS_SETXATTRAT + 4, "open_tree_attr", At(0, 1)),
        (SYS_SETXATTRAT + 5, "file_getattr", At(0, 1)),
        (SYS_SETXATTRAT + 6, "file_setattr", At(0, 1)),
    ]
};

/// The first of the numbers that newer kernels have for calls on a path.
const SYS_SETXATTRAT: c_long = 463;

/// Refuses the calls of the table, and all others on a simulated descriptor.
///
/// # Safety
/// The contract of the call.
unsafe fn refused(number: c_long, arguments: Six) -> Option<c_long> {
    let (fd, path) = (|at: usize| arguments[at] as c_int, |at: usize| arguments[at] as *const _);
    if let Some(&(_, name, when)) = REFUSED.iter().find(|&&(refused, ..)| refused == number) {
        // SAFETY: the caller keeps the contract of the call, which takes a C string there.
        let applies = unsafe {
            match when {
                Refused::Always => true,
                Refused::Path(at) => on_disk(path(at)),
                Refused::At(from, at) => on_disk_at(fd(from), path(at)),
            }
        };
        if applies {
            return refuse(name);
        }
    }
    if is_simulated(fd(0)) { refuse(descriptor_call(number)?) } else { None }
}

/// How a system call by number is treated.
#[cfg(feature = "inner")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It is led to a door.
    Door,
    /// It is refused, always or on the disk.
    Refused,
    /// It is refused, or trapped, on a simulated descriptor.
    Trapped,
    /// It is trapped wherever it is made.
    AlwaysTrapped,
}

/// The numbers that are treated, each in one way or in several.
#[cfg(feature = "inner")]
pub fn treatments() -> impl Iterator<Item = (c_long, Treatment)> {
    let led = [LED_ON_DESCRIPTORS, LED_ON_PATHS, LED_ON_TWO_PATHS, LED_OF_THE_PROCESS];
    let led = led.into_iter().flatten().map(|&number| (number, Treatment::Door));
    let futex = (libc::SYS_futex, Treatment::Door);
    let refused = REFUSED.iter().map(|&(number, ..)| (number, Treatment::Refused));
    let descriptors = super::descriptor_calls::DESCRIPTOR_CALLS.iter();
    let trapped = descriptors.map(|&(number, _)| (number, Treatment::Trapped));
    let always = super::descriptor_calls::TRAPPED.iter();
    let always = always.map(|&(number, _)| (number, Treatment::AlwaysTrapped));
    led.chain([futex]).chain(refused).chain(trapped).chain(always)
}

fn refuse(call: &str) -> Option<c_long> {
    world::enter(|world| world.not_simulated(call))?;
    Some(answer(Err(Errno::ENOSYS)))
}

/// Serves a futex call, for which the C library has no function; `None` for any other call.
///
/// # Safety
/// As [`raw`]: the arguments are valid for the number.
unsafe fn waits(number: c_long, [a, b, c, d, e, f]: Six) -> Option<Option<c_long>> {
    if number != libc::SYS_futex {
        return None;
    }
    let (word, other) = (a as *mut u32, e as *mut u32);
    let (operation, value, third) = (b as c_int, c as u32, f as u32);
    let time = d as *const timespec;
    // SAFETY: the caller keeps the contract of futex(2).
    Some(unsafe { futex(Arguments { word, operation, value, time, other, third }) })
}

/// Passes a call to the function of its name. A descriptor and most flags have 32 bits, whatever
/// the upper half of the register holds.
macro_rules! lead {
    (
        $numbers:ident,
        unsafe fn $function:ident($arguments:pat) { $(let $given:pat = $from:expr;)* }
        $($name:ident => $call:expr,)*
    ) => {
        /// The numbers of the calls below.
        #[cfg(feature = "inner")]
        const $numbers: &[c_long] = &[$(libc::$name),*];

        /// # Safety
        /// The contract of the call. On the engine's side the functions are our own doors.
        unsafe fn $function(number: c_long, $arguments: Six) -> Option<c_long> {
            $(let $given = $from;)*
            // SAFETY: the caller keeps the contract of the call, which is that of the function.
            unsafe {
                match number {
                    $(libc::$name => Some($call as c_long),)*
                    _ => None,
                }
            }
        }
    };
}

lead! {
    LED_ON_DESCRIPTORS,
    unsafe fn on_descriptors([a, b, c, d, e, f]) {
        let (fd, int) = (a as c_int, c as c_int);
    }
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
    SYS_close_range => libc::close_range(a as c_uint, b as c_uint, int),
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
}

lead! {
    LED_ON_PATHS,
    unsafe fn on_paths([a, b, c, d, e, _]) {
        let (fd, int) = (a as c_int, c as c_int);
    }
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
    SYS_utime => libc::utime(a as _, b as _),
    SYS_utimes => libc::utimes(a as _, b as _),
    SYS_getcwd => directory(a, b),
    SYS_execve => libc::execve(a as _, b as _, c as _),
    SYS_execveat => libc::execveat(fd, b as _, c as _, d as _, e as c_int),
}

lead! {
    LED_ON_TWO_PATHS,
    unsafe fn on_two_paths([a, b, c, d, e, _]) {
        let (from, to) = (a as c_int, c as c_int);
    }
    SYS_rename => libc::rename(a as _, b as _),
    SYS_renameat => libc::renameat(from, b as _, to, d as _),
    SYS_renameat2 => libc::renameat2(from, b as _, to, d as _, e as c_uint),
    SYS_link => libc::link(a as _, b as _),
    SYS_linkat => libc::linkat(from, b as _, to, d as _, e as c_int),
    SYS_symlink => libc::symlink(a as _, b as _),
    SYS_symlinkat => libc::symlinkat(a as _, b as c_int, c as _),
}

lead! {
    LED_OF_THE_PROCESS,
    unsafe fn of_the_process([a, b, c, d, e, f]) {
        let clock = a as c_int;
    }
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
    SYS_epoll_pwait => {
        libc::epoll_pwait(clock, b as _, c as c_int, d as c_int, e as _)
    },
    SYS_epoll_pwait2 => libc::epoll_pwait2(clock, b as _, c as c_int, d as _, e as _),
    SYS_epoll_ctl => libc::epoll_ctl(clock, b as c_int, c as c_int, d as _),
    SYS_select => libc::select(a as c_int, b as _, c as _, d as _, e as _),
    SYS_pselect6 => libc::pselect(a as c_int, b as _, c as _, d as _, e as _, ptr::null()),
    SYS_munmap => libc::munmap(a as _, b),
    SYS_mprotect => libc::mprotect(a as _, b, c as c_int),
    SYS_madvise => libc::madvise(a as _, b, c as c_int),
    SYS_msync => libc::msync(a as _, b, c as c_int),
    SYS_mincore => libc::mincore(a as _, b, c as _),
    SYS_mlock => libc::mlock(a as _, b),
    SYS_mlock2 => mlock2(a as _, b, c as c_uint),
    SYS_munlock => libc::munlock(a as _, b),
    SYS_pkey_mprotect => pkey_mprotect(a as _, b, c as c_int, d as c_int),
    SYS_remap_file_pages => remap_file_pages(a as _, b, c as c_int, d, e as c_int),
    SYS_pidfd_open => pidfd_open(a as c_int, b as c_uint),
    SYS_mremap => libc::mremap(a as _, b, c, d as c_int, e) as isize,
    SYS_kill => libc::kill(a as _, b as c_int),
    SYS_tgkill => libc::tgkill(a as _, b as _, c as c_int),
    SYS_getcpu => processor(a),
    SYS_alarm => libc::alarm(a as c_uint),
    SYS_setitimer => libc::setitimer(a as _, b as _, c as _),
    SYS_timerfd_settime => libc::timerfd_settime(a as c_int, b as c_int, c as _, d as _),
    SYS_rt_sigtimedwait => libc::sigtimedwait(a as _, b as _, c as _),
    SYS_adjtimex => libc::adjtimex(a as _),
    SYS_clock_adjtime => libc::clock_adjtime(clock, b as _),
    SYS_clock_settime => libc::clock_settime(clock, b as _),
    SYS_settimeofday => libc::settimeofday(a as _, b as _),
    SYS_bind => libc::bind(clock, b as _, c as _),
    SYS_connect => libc::connect(clock, b as _, c as _),
    SYS_sendto => libc::sendto(clock, b as _, c, d as c_int, e as _, f as _),
    SYS_sendmsg => libc::sendmsg(clock, b as _, c as c_int),
    SYS_sendmmsg => libc::sendmmsg(clock, b as _, c as c_uint, d as c_int),
    SYS_tee => libc::tee(clock, b as c_int, c, d as c_uint),
}

// Doors that the `libc` crate does not declare.
unsafe extern "C" {
    fn mlock2(start: *const c_void, size: usize, flags: c_uint) -> c_int;
    fn pkey_mprotect(start: *mut c_void, size: usize, protection: c_int, key: c_int) -> c_int;
    fn remap_file_pages(
        start: *mut c_void,
        size: usize,
        protection: c_int,
        page: usize,
        flags: c_int,
    ) -> c_int;
    fn pidfd_open(process: c_int, flags: c_uint) -> c_int;
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

/// The kernel returns the length of the path, the C library the path.
///
/// # Safety
/// As getcwd(2).
unsafe fn directory(buffer: usize, size: usize) -> c_long {
    // SAFETY: the caller keeps the contract of getcwd(2); a path that was returned is a C string.
    unsafe {
        let path = libc::getcwd(buffer as _, size);
        if path.is_null() { -1 } else { libc::strlen(path) as c_long + 1 }
    }
}

/// Stores the number of the processor where the caller asks for it.
///
/// # Safety
/// As getcpu(2).
unsafe fn processor(to: usize) -> c_long {
    // SAFETY: getcpu(2) takes null or room for a number.
    if let Some(to) = unsafe { (to as *mut c_uint).as_mut() } {
        // SAFETY: sched_getcpu(3) has no precondition.
        *to = unsafe { libc::sched_getcpu() }.cast_unsigned();
    }
    0
}
