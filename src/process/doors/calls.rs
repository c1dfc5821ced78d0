//! The table of system calls: where each is trapped, and what serves or refuses it.
//!
//! A call has three ways in. Made outside the C library it is always trapped. Made inside, it is
//! trapped if this table says so: there the C library opens, lists, renames and locks on its own
//! behalf. The door `syscall` looks it up here, too. A call without a row goes to the kernel.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::ptr;

use libc::timespec;

use crate::disk::Errno;
use crate::process::seam::kernel::{Six, errno, set_errno};
use crate::process::world;
use crate::process::world::descriptors::is_simulated;

use super::futex::{Arguments, futex};
use super::{answer, on_disk, on_disk_at};

/// Where a system call is trapped that the C library makes. Made elsewhere, every one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Always: it may concern the disk whatever its numbers are.
    Always,
    /// If one of these arguments is a simulated descriptor.
    Descriptor(&'static [u8]),
    /// If it makes a process; the explorer itself forks under the same traps.
    Process,
    /// Never: its functions have doors.
    Never,
}

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// A door serves it.
    Door,
    /// It is refused, always or on the disk.
    Refused,
}

/// A row of the table.
pub(super) struct SystemCall {
    /// Its number.
    pub(super) number: c_long,
    /// The name of the constant.
    constant: &'static str,
    pub(super) trap: Trap,
    #[cfg_attr(not(feature = "inner"), expect(dead_code, reason = "for the test of all numbers"))]
    pub(super) treatment: Treatment,
    /// Serves it; `None` if it is the kernel's. The contract is that of the call.
    pub(super) serve: unsafe fn(Six) -> Option<c_long>,
}

impl SystemCall {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }
}

/// The row of a number.
pub(super) fn find(number: c_long) -> Option<&'static SystemCall> {
    let at = BY_NUMBER.get(usize::try_from(number).ok()?)?;
    ROWS.get(usize::from(*at).checked_sub(1)?)
}

/// The most that a number can be, plus one.
const NUMBERS: usize = 512;

/// The position of each number's row, plus one; 0 for a number without.
static BY_NUMBER: [u16; NUMBERS] = {
    let mut positions = [0; NUMBERS];
    let mut at = 0;
    while at < ROWS.len() {
        let number = ROWS[at].number as usize;
        assert!(positions[number] == 0, "a number has one row");
        at += 1;
        positions[number] = at as u16;
    }
    positions
};

/// The numbers of the calls, those of newer kernels than the `libc` crate knows among them.
#[expect(non_upper_case_globals, reason = "as the `libc` crate names the others")]
mod number {
    pub(super) use libc::*;

    use std::ffi::c_long;

    pub(super) const SYS_futex_wake: c_long = 454;
    pub(super) const SYS_futex_wait: c_long = 455;
    pub(super) const SYS_futex_requeue: c_long = 456;
    pub(super) const SYS_setxattrat: c_long = 463;
    pub(super) const SYS_getxattrat: c_long = 464;
    pub(super) const SYS_listxattrat: c_long = 465;
    pub(super) const SYS_removexattrat: c_long = 466;
    pub(super) const SYS_open_tree_attr: c_long = 467;
    pub(super) const SYS_file_getattr: c_long = 468;
    pub(super) const SYS_file_setattr: c_long = 469;
}

/// Defines the rows. `=> call` leads to the function of the C library's name, which on the engine's
/// side is a door; a descriptor and most flags have 32 bits, whatever the upper half of the
/// register holds. `served` leads to a function of ours. `refused` refuses the call, where a
/// condition holds if one is given.
macro_rules! rows {
    (@row $name:ident $trap:expr, refused $(if |$given:pat_param| $when:expr)?) => {
        SystemCall {
            number: number::$name,
            constant: stringify!($name),
            trap: $trap,
            treatment: Treatment::Refused,
            serve: |_arguments| {
                $(
                    let $given = _arguments;
                    // SAFETY: the caller keeps the contract of the call, and the condition relies
                    // on no more.
                    #[allow(unused_unsafe, reason = "some conditions are safe")]
                    if !unsafe { $when } {
                        return None;
                    }
                )?
                refuse(stringify!($name).strip_prefix("SYS_")?)
            },
        }
    };
    (@row $name:ident $trap:expr, served |$given:pat_param| $served:expr) => {
        SystemCall {
            number: number::$name,
            constant: stringify!($name),
            trap: $trap,
            treatment: Treatment::Door,
            // SAFETY: the caller keeps the contract of the call; the function requires no more.
            serve: |$given| unsafe { $served },
        }
    };
    (@row $name:ident $trap:expr, $given:pat_param => $call:expr) => {
        SystemCall {
            number: number::$name,
            constant: stringify!($name),
            trap: $trap,
            treatment: Treatment::Door,
            serve: |$given| {
                // SAFETY: the caller keeps the contract of the call, which is that of the function.
                #[allow(unused_unsafe, reason = "some functions are safe")]
                Some(unsafe { $call } as c_long)
            },
        }
    };
    ($($name:ident [$trap:expr] ($($row:tt)*);)*) => {
        /// All rows.
        pub(super) const ROWS: &[SystemCall] = &[
            $(rows!(@row $name $trap, $($row)*)),*
        ];
    };
}

use Trap::{Always, Descriptor, Never, Process};

/// The first argument is a descriptor.
const FIRST: Trap = Descriptor(&[0]);
/// The first two are.
const BOTH: Trap = Descriptor(&[0, 1]);
/// The first and the third are.
const FIRST_AND_THIRD: Trap = Descriptor(&[0, 2]);

rows! {
    // Calls on descriptors.
    SYS_read [FIRST] ([a, b, c, ..] => libc::read(fd(a), b as _, c));
    SYS_write [FIRST] ([a, b, c, ..] => libc::write(fd(a), b as _, c));
    SYS_pread64 [FIRST] ([a, b, c, d, ..] => libc::pread64(fd(a), b as _, c, d as _));
    SYS_pwrite64 [FIRST] ([a, b, c, d, ..] => libc::pwrite64(fd(a), b as _, c, d as _));
    SYS_readv [FIRST] ([a, b, c, ..] => libc::readv(fd(a), b as _, c as c_int));
    SYS_writev [FIRST] ([a, b, c, ..] => libc::writev(fd(a), b as _, c as c_int));
    SYS_preadv [FIRST] ([a, b, c, d, ..] => libc::preadv64(fd(a), b as _, c as c_int, d as _));
    SYS_pwritev [FIRST] ([a, b, c, d, ..] => libc::pwritev64(fd(a), b as _, c as c_int, d as _));
    SYS_preadv2 [FIRST] ([a, b, c, d, _, f] =>
        libc::preadv64v2(fd(a), b as _, c as c_int, d as _, f as c_int));
    SYS_pwritev2 [FIRST] ([a, b, c, d, _, f] =>
        libc::pwritev64v2(fd(a), b as _, c as c_int, d as _, f as c_int));
    SYS_lseek [FIRST] ([a, b, c, ..] => libc::lseek64(fd(a), b as _, c as c_int));
    SYS_close [FIRST] ([a, ..] => libc::close(fd(a)));
    SYS_close_range [Always] ([a, b, c, ..] =>
        libc::close_range(a as c_uint, b as c_uint, c as c_int));
    SYS_fstat [FIRST] ([a, b, ..] => libc::fstat64(fd(a), b as _));
    SYS_fstatfs [FIRST] ([a, b, ..] => libc::fstatfs64(fd(a), b as _));
    SYS_ftruncate [FIRST] ([a, b, ..] => libc::ftruncate64(fd(a), b as _));
    SYS_fallocate [FIRST] ([a, b, c, d, ..] =>
        libc::fallocate64(fd(a), b as c_int, c as _, d as _));
    SYS_fadvise64 [FIRST] ([a, b, c, d, ..] =>
        numbered(libc::posix_fadvise64(fd(a), b as _, c as _, d as c_int)));
    SYS_readahead [FIRST] ([a, b, c, ..] => libc::readahead(fd(a), b as _, c));
    SYS_fsync [FIRST] ([a, ..] => libc::fsync(fd(a)));
    SYS_fdatasync [FIRST] ([a, ..] => libc::fdatasync(fd(a)));
    SYS_syncfs [FIRST] ([a, ..] => libc::syncfs(fd(a)));
    SYS_sync_file_range [FIRST] ([a, b, c, d, ..] =>
        libc::sync_file_range(fd(a), b as _, c as _, d as c_uint));
    SYS_dup [FIRST] ([a, ..] => libc::dup(fd(a)));
    SYS_dup2 [BOTH] ([a, b, ..] => libc::dup2(fd(a), fd(b)));
    SYS_dup3 [BOTH] ([a, b, c, ..] => libc::dup3(fd(a), fd(b), c as c_int));
    SYS_fcntl [FIRST] ([a, b, c, ..] => libc::fcntl(fd(a), b as c_int, c));
    SYS_flock [FIRST] ([a, b, ..] => libc::flock(fd(a), b as c_int));
    SYS_ioctl [FIRST] ([a, b, c, ..] => libc::ioctl(fd(a), b as _, c));
    SYS_getdents64 [FIRST] ([a, b, c, ..] => getdents64(fd(a), b as _, c));
    SYS_fchmod [FIRST] ([a, b, ..] => libc::fchmod(fd(a), b as _));
    SYS_fchown [FIRST] ([a, b, c, ..] => libc::fchown(fd(a), b as _, c as _));
    SYS_fchdir [FIRST] ([a, ..] => libc::fchdir(fd(a)));
    SYS_sendfile [BOTH] ([a, b, c, d, ..] => libc::sendfile64(fd(a), fd(b), c as _, d));
    SYS_splice [FIRST_AND_THIRD] ([a, b, c, d, e, f] =>
        libc::splice(fd(a), b as _, fd(c), d as _, e, f as c_uint));
    SYS_copy_file_range [FIRST_AND_THIRD] ([a, b, c, d, e, f] =>
        libc::copy_file_range(fd(a), b as _, fd(c), d as _, e, f as c_uint));
    SYS_tee [BOTH] ([a, b, c, d, ..] => libc::tee(fd(a), fd(b), c, d as c_uint));
    SYS_vmsplice [FIRST] ([a, b, c, d, ..] => vmsplice(fd(a), b as _, c, d as c_uint));
    SYS_fsetxattr [FIRST] ([a, b, c, d, e, _] =>
        libc::fsetxattr(fd(a), b as _, c as _, d, e as c_int));
    SYS_fgetxattr [FIRST] ([a, b, c, d, ..] => libc::fgetxattr(fd(a), b as _, c as _, d));
    SYS_flistxattr [FIRST] ([a, b, c, ..] => libc::flistxattr(fd(a), b as _, c));
    SYS_fremovexattr [FIRST] ([a, b, ..] => libc::fremovexattr(fd(a), b as _));
    SYS_getdents [FIRST] (refused if |[a, ..]| is_simulated(fd(a)));
    SYS_open_by_handle_at [FIRST] (refused if |[a, ..]| is_simulated(fd(a)));
    SYS_quotactl_fd [FIRST] (refused if |[a, ..]| is_simulated(fd(a)));

    // Calls on paths.
    SYS_open [Always] ([a, b, c, ..] => libc::open64(a as _, b as c_int, c as c_uint));
    SYS_openat [Always] ([a, b, c, d, ..] =>
        libc::openat64(fd(a), b as _, c as c_int, d as c_uint));
    SYS_creat [Always] ([a, b, ..] => libc::creat64(a as _, b as _));
    SYS_stat [Always] ([a, b, ..] => libc::stat64(a as _, b as _));
    SYS_lstat [Always] ([a, b, ..] => libc::lstat64(a as _, b as _));
    SYS_newfstatat [Always] ([a, b, c, d, ..] =>
        libc::fstatat64(fd(a), b as _, c as _, d as c_int));
    SYS_statx [Always] ([a, b, c, d, e, _] =>
        libc::statx(fd(a), b as _, c as c_int, d as c_uint, e as *mut libc::statx));
    SYS_statfs [Always] ([a, b, ..] => libc::statfs64(a as _, b as _));
    SYS_access [Always] ([a, b, ..] => libc::access(a as _, b as c_int));
    SYS_faccessat [Always] ([a, b, c, ..] => libc::faccessat(fd(a), b as _, c as c_int, 0));
    SYS_faccessat2 [Always] ([a, b, c, d, ..] =>
        libc::faccessat(fd(a), b as _, c as c_int, d as c_int));
    SYS_truncate [Always] ([a, b, ..] => libc::truncate64(a as _, b as _));
    SYS_mkdir [Always] ([a, b, ..] => libc::mkdir(a as _, b as _));
    SYS_mkdirat [Always] ([a, b, c, ..] => libc::mkdirat(fd(a), b as _, c as _));
    SYS_rmdir [Always] ([a, ..] => libc::rmdir(a as _));
    SYS_unlink [Always] ([a, ..] => libc::unlink(a as _));
    SYS_unlinkat [Always] ([a, b, c, ..] => libc::unlinkat(fd(a), b as _, c as c_int));
    SYS_readlink [Always] ([a, b, c, ..] => libc::readlink(a as _, b as _, c));
    SYS_readlinkat [Always] ([a, b, c, d, ..] => libc::readlinkat(fd(a), b as _, c as _, d));
    SYS_chmod [Always] ([a, b, ..] => libc::chmod(a as _, b as _));
    SYS_fchmodat [Always] ([a, b, c, ..] => libc::fchmodat(fd(a), b as _, c as _, 0));
    SYS_fchmodat2 [Always] ([a, b, c, d, ..] => libc::fchmodat(fd(a), b as _, c as _, d as c_int));
    SYS_chown [Always] ([a, b, c, ..] => libc::chown(a as _, b as _, c as _));
    SYS_lchown [Always] ([a, b, c, ..] => libc::lchown(a as _, b as _, c as _));
    SYS_fchownat [Always] ([a, b, c, d, e, _] =>
        libc::fchownat(fd(a), b as _, c as _, d as _, e as c_int));
    SYS_utimensat [Always] ([a, b, c, d, ..] =>
        libc::utimensat(fd(a), b as _, c as _, d as c_int));
    SYS_utime [Always] ([a, b, ..] => libc::utime(a as _, b as _));
    SYS_utimes [Always] ([a, b, ..] => libc::utimes(a as _, b as _));
    SYS_chdir [Always] ([a, ..] => libc::chdir(a as _));
    SYS_getcwd [Never] ([a, b, ..] => directory(a, b));
    SYS_rename [Always] ([a, b, ..] => libc::rename(a as _, b as _));
    SYS_renameat [Always] ([a, b, c, d, ..] => libc::renameat(fd(a), b as _, fd(c), d as _));
    SYS_renameat2 [Always] ([a, b, c, d, e, _] =>
        libc::renameat2(fd(a), b as _, fd(c), d as _, e as c_uint));
    SYS_link [Always] ([a, b, ..] => libc::link(a as _, b as _));
    SYS_linkat [Always] ([a, b, c, d, e, _] =>
        libc::linkat(fd(a), b as _, fd(c), d as _, e as c_int));
    SYS_symlink [Always] ([a, b, ..] => libc::symlink(a as _, b as _));
    SYS_symlinkat [Always] ([a, b, c, ..] => libc::symlinkat(a as _, fd(b), c as _));
    SYS_setxattr [Always] ([a, b, c, d, e, _] =>
        libc::setxattr(a as _, b as _, c as _, d, e as c_int));
    SYS_lsetxattr [Always] ([a, b, c, d, e, _] =>
        libc::lsetxattr(a as _, b as _, c as _, d, e as c_int));
    SYS_getxattr [Always] ([a, b, c, d, ..] => libc::getxattr(a as _, b as _, c as _, d));
    SYS_lgetxattr [Always] ([a, b, c, d, ..] => libc::lgetxattr(a as _, b as _, c as _, d));
    SYS_listxattr [Always] ([a, b, c, ..] => libc::listxattr(a as _, b as _, c));
    SYS_llistxattr [Always] ([a, b, c, ..] => libc::llistxattr(a as _, b as _, c));
    SYS_removexattr [Always] ([a, b, ..] => libc::removexattr(a as _, b as _));
    SYS_lremovexattr [Always] ([a, b, ..] => libc::lremovexattr(a as _, b as _));
    SYS_openat2 [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_mknod [Always] ([a, b, c, ..] => libc::mknod(a as _, b as _, c as _));
    SYS_mknodat [Always] ([a, b, c, d, ..] => libc::mknodat(fd(a), b as _, c as _, d as _));
    SYS_name_to_handle_at [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_fanotify_mark [Always] (refused if |[_, _, _, d, e, _]| on_disk_at(fd(d), e as _));
    SYS_inotify_add_watch [Always] (refused if |[_, b, ..]| on_disk(b as _));
    SYS_futimesat [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_mount [Always] (refused if |[_, b, ..]| on_disk(b as _));
    SYS_umount2 [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_open_tree [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_move_mount [Always] (refused if |[a, b, c, d, ..]|
        on_disk_at(fd(a), b as _) || on_disk_at(fd(c), d as _));
    SYS_fspick [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_mount_setattr [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_chroot [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_pivot_root [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_acct [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_swapon [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_swapoff [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_quotactl [Always] (refused if |[_, b, ..]| on_disk(b as _));
    SYS_uselib [Always] (refused if |[a, ..]| on_disk(a as _));
    SYS_setxattrat [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_getxattrat [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_listxattrat [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_removexattrat [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_open_tree_attr [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_file_getattr [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));
    SYS_file_setattr [Always] (refused if |[a, b, ..]| on_disk_at(fd(a), b as _));

    // Processes and threads that the engine makes past their functions.
    SYS_execve [Always] (refused);
    SYS_execveat [Always] (refused);
    SYS_clone [Process] (refused);
    SYS_clone3 [Never] (refused);
    SYS_fork [Always] (refused);
    SYS_vfork [Always] (refused);

    // Requests that the kernel serves on its own, past the disk and the schedule.
    SYS_io_uring_setup [Always] (refused);
    SYS_io_setup [Always] (refused);
    SYS_io_submit [Always] (refused);
    SYS_timer_create [Always] (refused);
    SYS_userfaultfd [Always] (refused);

    // Kernel objects that would outlive a crash.
    SYS_shmget [Always] (refused);
    SYS_semget [Always] (refused);
    SYS_msgget [Always] (refused);
    SYS_mq_open [Always] (refused);

    // Waits: those of the C library's own locks are the schedule's, too.
    SYS_futex [Always] (served |all| waits(all));
    SYS_futex_waitv [Always] (refused);
    SYS_futex_wake [Always] (refused);
    SYS_futex_wait [Always] (refused);
    SYS_futex_requeue [Always] (refused);
    SYS_nanosleep [Never] ([a, b, ..] => libc::nanosleep(a as _, b as _));
    SYS_clock_nanosleep [Never] ([a, b, c, d, ..] =>
        numbered(libc::clock_nanosleep(a as c_int, b as c_int, c as _, d as _)));
    SYS_sched_yield [Never] (_ => libc::sched_yield());
    SYS_poll [Never] ([a, b, c, ..] => libc::poll(a as _, b as _, c as c_int));
    SYS_ppoll [Never] ([a, b, c, d, ..] => libc::ppoll(a as _, b as _, c as _, d as _));
    SYS_epoll_wait [Never] ([a, b, c, d, ..] =>
        libc::epoll_wait(fd(a), b as _, c as c_int, d as c_int));
    SYS_epoll_pwait [Never] ([a, b, c, d, e, _] =>
        libc::epoll_pwait(fd(a), b as _, c as c_int, d as c_int, e as _));
    SYS_epoll_pwait2 [Never] ([a, b, c, d, e, _] =>
        libc::epoll_pwait2(fd(a), b as _, c as c_int, d as _, e as _));
    SYS_epoll_ctl [Descriptor(&[2])] ([a, b, c, d, ..] =>
        libc::epoll_ctl(fd(a), b as c_int, fd(c), d as _));
    SYS_select [Never] ([a, b, c, d, e, _] =>
        libc::select(a as c_int, b as _, c as _, d as _, e as _));
    SYS_pselect6 [Never] ([a, b, c, d, e, _] =>
        libc::pselect(a as c_int, b as _, c as _, d as _, e as _, ptr::null()));

    // The process, its clocks and its machine.
    SYS_getrandom [Always] ([a, b, c, ..] => libc::getrandom(a as _, b, c as c_uint));
    SYS_getpid [Never] (_ => libc::getpid());
    SYS_gettid [Never] (_ => libc::gettid());
    SYS_umask [Always] ([a, ..] => libc::umask(a as _));
    SYS_sync [Always] (_ => { libc::sync(); 0 });
    SYS_clock_gettime [Never] ([a, b, ..] =>
        libc::clock_gettime(a as c_int, b as *mut timespec));
    SYS_clock_getres [Never] ([a, b, ..] => libc::clock_getres(a as c_int, b as *mut timespec));
    SYS_gettimeofday [Never] ([a, b, ..] => libc::gettimeofday(a as _, b as _));
    SYS_time [Never] ([a, ..] => libc::time(a as _));
    SYS_sched_getaffinity [Never] ([a, b, c, ..] => affinity(a, b, c));
    SYS_sysinfo [Never] ([a, ..] => libc::sysinfo(a as _));
    SYS_getcpu [Never] ([a, ..] => processor(a));
    SYS_alarm [Never] ([a, ..] => libc::alarm(a as c_uint));
    SYS_setitimer [Never] ([a, b, c, ..] => libc::setitimer(a as _, b as _, c as _));
    SYS_timerfd_settime [Never] ([a, b, c, d, ..] =>
        libc::timerfd_settime(fd(a), b as c_int, c as _, d as _));
    SYS_adjtimex [Never] ([a, ..] => libc::adjtimex(a as _));
    SYS_clock_adjtime [Never] ([a, b, ..] => libc::clock_adjtime(a as c_int, b as _));
    SYS_clock_settime [Never] ([a, b, ..] => libc::clock_settime(a as c_int, b as _));
    SYS_settimeofday [Never] ([a, b, ..] => libc::settimeofday(a as _, b as _));

    // Who the engine is, and on which machine.
    SYS_getppid [Never] (_ => libc::getppid());
    SYS_getpgrp [Never] (_ => libc::getpgrp());
    SYS_getpgid [Never] ([a, ..] => libc::getpgid(a as _));
    SYS_getsid [Never] ([a, ..] => libc::getsid(a as _));
    SYS_setsid [Never] (_ => libc::setsid());
    SYS_setpgid [Never] ([a, b, ..] => libc::setpgid(a as _, b as _));
    SYS_getuid [Never] (_ => libc::getuid());
    SYS_geteuid [Never] (_ => libc::geteuid());
    SYS_getgid [Never] (_ => libc::getgid());
    SYS_getegid [Never] (_ => libc::getegid());
    SYS_getresuid [Never] ([a, b, c, ..] => libc::getresuid(a as _, b as _, c as _));
    SYS_getresgid [Never] ([a, b, c, ..] => libc::getresgid(a as _, b as _, c as _));
    SYS_getgroups [Never] ([a, b, ..] => libc::getgroups(a as c_int, b as _));
    SYS_setuid [Never] ([a, ..] => libc::setuid(a as _));
    SYS_setgid [Never] ([a, ..] => libc::setgid(a as _));
    SYS_setfsuid [Never] ([a, ..] => libc::setfsuid(a as _));
    SYS_setfsgid [Never] ([a, ..] => libc::setfsgid(a as _));
    SYS_setreuid [Never] ([a, b, ..] => setreuid(a as _, b as _));
    SYS_setregid [Never] ([a, b, ..] => setregid(a as _, b as _));
    SYS_setresuid [Never] ([a, b, c, ..] => libc::setresuid(a as _, b as _, c as _));
    SYS_setresgid [Never] ([a, b, c, ..] => libc::setresgid(a as _, b as _, c as _));
    SYS_setgroups [Never] ([a, b, ..] => libc::setgroups(a, b as _));
    SYS_uname [Never] ([a, ..] => libc::uname(a as _));
    SYS_sethostname [Never] (refused);
    SYS_setdomainname [Never] (refused);
    SYS_getrusage [Never] ([a, b, ..] => libc::getrusage(a as c_int, b as _));
    SYS_times [Never] ([a, ..] => libc::times(a as _));
    SYS_getpriority [Never] ([a, b, ..] => priority(a as c_int, b as c_uint));
    SYS_setpriority [Never] ([a, b, c, ..] => libc::setpriority(a as _, b as _, c as c_int));
    SYS_sched_getscheduler [Never] ([a, ..] => libc::sched_getscheduler(a as _));
    SYS_sched_setscheduler [Never] ([a, b, c, ..] =>
        libc::sched_setscheduler(a as _, b as c_int, c as _));
    SYS_sched_getparam [Never] ([a, b, ..] => libc::sched_getparam(a as _, b as _));
    SYS_sched_setparam [Never] ([a, b, ..] => libc::sched_setparam(a as _, b as _));
    SYS_sched_setaffinity [Never] ([a, b, c, ..] =>
        libc::sched_setaffinity(a as _, b, c as _));
    SYS_sched_getattr [Never] (refused);
    SYS_sched_setattr [Never] (refused);
    SYS_kcmp [Never] (refused);
    SYS_getrlimit [Never] ([a, b, ..] => libc::getrlimit64(a as _, b as _));
    SYS_setrlimit [Never] ([a, b, ..] => libc::setrlimit64(a as _, b as _));
    SYS_prlimit64 [Never] ([a, b, c, d, ..] => libc::prlimit64(a as _, b as _, c as _, d as _));
    SYS_prctl [Never] ([a, b, c, d, e, _] => prctl(a as c_int, b, c, d, e));
    // As the priority of a process, that of its reads and writes changes nothing (ioprio_set(2)).
    SYS_ioprio_get [Never] (_ => 0);
    SYS_ioprio_set [Never] (_ => 0);
    // As a kernel without restartable sequences, which would show the processor's number.
    SYS_rseq [Never] (_ => answer::<c_int>(Err(Errno::ENOSYS)));

    // Signals. The ids by which the engine knows itself may belong to others on the host.
    SYS_kill [Never] ([a, b, ..] => libc::kill(a as _, b as c_int));
    SYS_tgkill [Never] ([a, b, c, ..] => libc::tgkill(a as _, b as _, c as c_int));
    SYS_tkill [Always] (refused);
    SYS_rt_sigqueueinfo [Never] (refused);
    SYS_rt_tgsigqueueinfo [Never] (refused);
    SYS_rt_sigtimedwait [Never] ([a, b, c, ..] => libc::sigtimedwait(a as _, b as _, c as _));
    SYS_rt_sigaction [Always] (served |all| super::signals::action(all));
    SYS_rt_sigprocmask [Never] (served |all| super::signals::mask(all));
    SYS_pidfd_open [Never] ([a, b, ..] => pidfd_open(a as c_int, b as c_uint));

    // Memory.
    SYS_mmap [Descriptor(&[4])] ([a, b, c, d, e, f] =>
        libc::mmap64(a as _, b, c as c_int, d as c_int, fd(e), f as _) as isize);
    SYS_munmap [Never] ([a, b, ..] => libc::munmap(a as _, b));
    SYS_mprotect [Never] ([a, b, c, ..] => libc::mprotect(a as _, b, c as c_int));
    SYS_madvise [Never] ([a, b, c, ..] => libc::madvise(a as _, b, c as c_int));
    SYS_msync [Never] ([a, b, c, ..] => libc::msync(a as _, b, c as c_int));
    SYS_mincore [Never] ([a, b, c, ..] => libc::mincore(a as _, b, c as _));
    SYS_mlock [Never] ([a, b, ..] => libc::mlock(a as _, b));
    SYS_mlock2 [Never] ([a, b, c, ..] => mlock2(a as _, b, c as c_uint));
    SYS_munlock [Never] ([a, b, ..] => libc::munlock(a as _, b));
    SYS_mremap [Never] ([a, b, c, d, e, _] =>
        libc::mremap(a as _, b, c, d as c_int, e) as isize);
    SYS_pkey_mprotect [Never] ([a, b, c, d, ..] =>
        pkey_mprotect(a as _, b, c as c_int, d as c_int));
    SYS_remap_file_pages [Never] ([a, b, c, d, e, _] =>
        remap_file_pages(a as _, b, c as c_int, d, e as c_int));

    // Sockets.
    SYS_bind [Never] ([a, b, c, ..] => libc::bind(fd(a), b as _, c as _));
    SYS_connect [Never] ([a, b, c, ..] => libc::connect(fd(a), b as _, c as _));
    SYS_sendto [Never] ([a, b, c, d, e, f] =>
        libc::sendto(fd(a), b as _, c, d as c_int, e as _, f as _));
    SYS_sendmsg [Never] ([a, b, c, ..] => libc::sendmsg(fd(a), b as _, c as c_int));
    SYS_sendmmsg [Never] ([a, b, c, d, ..] =>
        libc::sendmmsg(fd(a), b as _, c as c_uint, d as c_int));
}

/// A descriptor: the lower half of a register.
const fn fd(register: usize) -> c_int {
    register as c_int
}

fn refuse(call: &str) -> Option<c_long> {
    world::enter(|world| world.not_simulated(call))?;
    Some(answer(Err(Errno::ENOSYS)))
}

/// The outcome of a function that returns an error number, in the way of one that sets it.
fn numbered(error: c_int) -> c_int {
    match error {
        0 => 0,
        error => answer(Err(Errno(error))),
    }
}

/// Serves a futex call, for which the C library has no function.
///
/// # Safety
/// The contract of futex(2).
unsafe fn waits([a, b, c, d, e, f]: Six) -> Option<c_long> {
    let (word, other) = (a as *mut u32, e as *mut u32);
    let (operation, value, third) = (b as c_int, c as u32, f as u32);
    let time = d as *const timespec;
    // SAFETY: the caller keeps the contract of futex(2).
    unsafe { futex(Arguments { word, operation, value, time, other, third }) }
}

// Doors that the `libc` crate does not declare.
unsafe extern "C" {
    fn getdents64(fd: c_int, entries: *mut c_void, size: usize) -> isize;
    fn vmsplice(fd: c_int, parts: *const c_void, count: usize, flags: c_uint) -> isize;
    fn pkey_mprotect(start: *mut c_void, size: usize, protection: c_int, key: c_int) -> c_int;
    fn remap_file_pages(
        start: *mut c_void,
        size: usize,
        protection: c_int,
        page: usize,
        flags: c_int,
    ) -> c_int;
    fn mlock2(start: *const c_void, size: usize, flags: c_uint) -> c_int;
    fn setreuid(real: libc::uid_t, effective: libc::uid_t) -> c_int;
    fn setregid(real: libc::gid_t, effective: libc::gid_t) -> c_int;
    fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int;
    fn pidfd_open(process: c_int, flags: c_uint) -> c_int;
}

/// The kernel returns a priority as 20 less it, so that it is positive.
fn priority(which: c_int, of: c_uint) -> c_long {
    set_errno(0);
    // SAFETY: getpriority(2) takes numbers.
    let priority = unsafe { libc::getpriority(which as _, of) };
    if priority == -1 && errno() != 0 { -1 } else { (20 - priority).into() }
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
