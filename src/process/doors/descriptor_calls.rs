//! The system calls that take a descriptor first: one that passes the doors is trapped by number.

use std::ffi::c_long;

/// The system calls whose first argument is a descriptor.
macro_rules! descriptor_calls {
    ($($name:ident: $number:ident),* $(,)?) => {
        &[$((libc::$number, concat!("raw system call ", stringify!($name)))),*]
    };
}

/// Their numbers, and what a report calls them.
pub(super) const DESCRIPTOR_CALLS: &[(c_long, &str)] = descriptor_calls![
    read: SYS_read, write: SYS_write, pread64: SYS_pread64, pwrite64: SYS_pwrite64,
    readv: SYS_readv, writev: SYS_writev, preadv: SYS_preadv, pwritev: SYS_pwritev,
    preadv2: SYS_preadv2, pwritev2: SYS_pwritev2, lseek: SYS_lseek, close: SYS_close,
    fstat: SYS_fstat, newfstatat: SYS_newfstatat, statx: SYS_statx, fstatfs: SYS_fstatfs,
    ftruncate: SYS_ftruncate, fallocate: SYS_fallocate, fadvise64: SYS_fadvise64,
    readahead: SYS_readahead, fsync: SYS_fsync, fdatasync: SYS_fdatasync, syncfs: SYS_syncfs,
    sync_file_range: SYS_sync_file_range, dup: SYS_dup, dup2: SYS_dup2, dup3: SYS_dup3,
    fcntl: SYS_fcntl, flock: SYS_flock, ioctl: SYS_ioctl, getdents64: SYS_getdents64,
    openat: SYS_openat, openat2: SYS_openat2, mkdirat: SYS_mkdirat, unlinkat: SYS_unlinkat,
    renameat: SYS_renameat, renameat2: SYS_renameat2, linkat: SYS_linkat,
    readlinkat: SYS_readlinkat, fchmod: SYS_fchmod, fchmodat: SYS_fchmodat, fchown: SYS_fchown,
    fchownat: SYS_fchownat, utimensat: SYS_utimensat, faccessat: SYS_faccessat,
    faccessat2: SYS_faccessat2, fchdir: SYS_fchdir, sendfile: SYS_sendfile,
    copy_file_range: SYS_copy_file_range, splice: SYS_splice, fsetxattr: SYS_fsetxattr,
    fgetxattr: SYS_fgetxattr, flistxattr: SYS_flistxattr, fremovexattr: SYS_fremovexattr,
    getdents: SYS_getdents, tee: SYS_tee, vmsplice: SYS_vmsplice, mknodat: SYS_mknodat,
    futimesat: SYS_futimesat, fchmodat2: SYS_fchmodat2, execveat: SYS_execveat,
    name_to_handle_at: SYS_name_to_handle_at, open_by_handle_at: SYS_open_by_handle_at,
    open_tree: SYS_open_tree, fspick: SYS_fspick, mount_setattr: SYS_mount_setattr,
    quotactl_fd: SYS_quotactl_fd,
];

/// The system calls that are trapped whatever their arguments are, as [`DESCRIPTOR_CALLS`]: the
/// harness makes none of them once the traps are set.
pub(super) const TRAPPED: &[(c_long, &str)] =
    &[(libc::SYS_execve, "exec"), (libc::SYS_execveat, "exec")];

/// What a trapped system call is called in a report; `None` if it is not trapped.
pub(super) fn trapped_call(number: c_long) -> Option<&'static str> {
    let always = TRAPPED.iter().find(|&&(trapped, _)| trapped == number);
    always.map(|&(_, name)| name).or_else(|| descriptor_call(number))
}

/// What a call on a simulated descriptor is called in a report; `None` if it takes no descriptor
/// first.
pub(super) fn descriptor_call(number: c_long) -> Option<&'static str> {
    DESCRIPTOR_CALLS.iter().find(|&&(trapped, _)| trapped == number).map(|&(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_takes_no_descriptor_is_not_trapped() {
        assert_eq!(descriptor_call(libc::SYS_getpid), None);
        assert_eq!(descriptor_call(libc::SYS_fsync), Some("raw system call fsync"));
    }
}
