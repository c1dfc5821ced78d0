//! Doors for calls that are not simulated and that take a path, a descriptor or a map. Each is
//! refused where that is on the disk, and passed on otherwise.

use std::ffi::{c_char, c_int, c_uint, c_void};

use libc::{mode_t, msghdr, sockaddr, socklen_t, timeval};

use crate::process::world::descriptors::is_simulated;
use crate::process::world::maps;

use super::refuse::refusals;
use super::{bytes, doors, on_disk, on_disk_at};

refusals! {
    fn wordexp(words: *const c_char, found: *mut c_void, flags: c_int) -> c_int
        = (WRDE_NOSPACE, ENOSYS) if runs_commands(words, flags);
    fn mkfifo(path: *const c_char, mode: mode_t) -> c_int = (-1, EPERM) if on_disk(path);
    fn mkfifoat(dirfd: c_int, path: *const c_char, mode: mode_t) -> c_int
        = (-1, EPERM) if on_disk_at(dirfd, path);
    fn futimesat(dirfd: c_int, path: *const c_char, times: *const timeval) -> c_int
        = (-1, ENOSYS) if on_disk_at(dirfd, path);

    fn name_to_handle_at(
        dirfd: c_int, path: *const c_char, handle: *mut c_void, mount: *mut c_int, flags: c_int
    ) -> c_int = (-1, ENOTSUP) if on_disk_at(dirfd, path);
    fn open_by_handle_at(fd: c_int, handle: *mut c_void, flags: c_int) -> c_int
        = (-1, ENOTSUP) if is_simulated(fd);
    fn inotify_add_watch(fd: c_int, path: *const c_char, mask: u32) -> c_int
        = (-1, ENOSYS) if on_disk(path);
    fn fanotify_mark(fd: c_int, flags: c_uint, mask: u64, dirfd: c_int, path: *const c_char)
        -> c_int = (-1, ENOSYS) if on_disk_at(dirfd, path);

    fn mount(
        source: *const c_char, target: *const c_char, kind: *const c_char, flags: u64,
        data: *const c_void
    ) -> c_int = (-1, EPERM) if on_disk(source) || on_disk(target);
    fn umount(target: *const c_char) -> c_int = (-1, EPERM) if on_disk(target);
    fn umount2(target: *const c_char, flags: c_int) -> c_int = (-1, EPERM) if on_disk(target);
    fn open_tree(dirfd: c_int, path: *const c_char, flags: c_uint) -> c_int
        = (-1, EPERM) if on_disk_at(dirfd, path);
    fn move_mount(
        from: c_int, source: *const c_char, to: c_int, target: *const c_char, flags: c_uint
    ) -> c_int = (-1, EPERM) if on_disk_at(from, source) || on_disk_at(to, target);
    fn fspick(dirfd: c_int, path: *const c_char, flags: c_uint) -> c_int
        = (-1, EPERM) if on_disk_at(dirfd, path);
    fn mount_setattr(
        dirfd: c_int, path: *const c_char, flags: c_uint, attributes: *mut c_void, size: usize
    ) -> c_int = (-1, EPERM) if on_disk_at(dirfd, path);
    fn chroot(path: *const c_char) -> c_int = (-1, EPERM) if on_disk(path);
    fn pivot_root(new: *const c_char, old: *const c_char) -> c_int
        = (-1, EPERM) if on_disk(new) || on_disk(old);
    fn acct(path: *const c_char) -> c_int = (-1, EPERM) if on_disk(path);
    fn swapon(path: *const c_char, flags: c_int) -> c_int = (-1, EPERM) if on_disk(path);
    fn swapoff(path: *const c_char) -> c_int = (-1, EPERM) if on_disk(path);
    fn quotactl(command: c_int, special: *const c_char, id: c_int, to: *mut c_char) -> c_int
        = (-1, EPERM) if on_disk(special);

    // Sockets with a name on the disk, and simulated descriptors as messages.
    fn bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int
        = (-1, ENOSYS) if names_the_disk(address, length);
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int
        = (-1, ENOSYS) if names_the_disk(address, length);
    fn __connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int
        = (-1, ENOSYS) if names_the_disk(address, length);
    fn sendto(
        fd: c_int, from: *const c_void, length: usize, flags: c_int, address: *const sockaddr,
        size: socklen_t
    ) -> isize = (-1, ENOSYS) if names_the_disk(address, size);
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize
        = (-1, ENOSYS) if concerns_the_disk(message);
    fn sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: c_uint, flags: c_int) -> c_int
        = (-1, ENOSYS) if any_concerns_the_disk(messages, count);

    fn tee(from: c_int, to: c_int, length: usize, flags: c_uint) -> isize
        = (-1, ENOSYS) if is_simulated(from) || is_simulated(to);
    fn vmsplice(fd: c_int, parts: *const c_void, count: usize, flags: c_uint) -> isize
        = (-1, ENOSYS) if is_simulated(fd);

    fn remap_file_pages(
        start: *mut c_void, size: usize, protection: c_int, page: usize, flags: c_int
    ) -> c_int = (-1, ENOSYS) if shows_a_file(start, size);
}

/// `wordexp` has no error number of its own that fits.
const WRDE_NOSPACE: c_int = 1;
const WRDE_NOCMD: c_int = 1 << 2;

/// Whether the expansion of words would start a process.
///
/// # Safety
/// `words` is null or a C string.
unsafe fn runs_commands(words: *const c_char, flags: c_int) -> bool {
    // SAFETY: by this function's contract.
    let Some(text) = (unsafe { bytes(words) }) else { return false };
    let command = text.contains(&b'`') || text.windows(2).any(|pair| pair == b"$(");
    command && flags & WRDE_NOCMD == 0
}

/// Whether the address of a local socket is a path on the disk.
///
/// # Safety
/// `address` is null or holds `length` bytes.
unsafe fn names_the_disk(address: *const sockaddr, length: socklen_t) -> bool {
    let start = size_of::<libc::sa_family_t>();
    let length = length as usize;
    if address.is_null() || length <= start || length > size_of::<libc::sockaddr_un>() {
        return false;
    }
    // SAFETY: the address holds `length` bytes, which is more than its family takes; it may be
    // unaligned.
    let (family, name) = unsafe {
        let family = address.cast::<libc::sa_family_t>().read_unaligned();
        let name = std::slice::from_raw_parts(address.cast::<u8>().add(start), length - start);
        (family, name)
    };
    if c_int::from(family) != libc::AF_UNIX || name[0] == 0 {
        return false;
    }
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    std::ffi::CString::new(name).is_ok_and(|name| {
        // SAFETY: it is a C string.
        unsafe { on_disk(name.as_ptr()) }
    })
}

/// Whether a message goes to a path on the disk, or passes on a simulated descriptor.
///
/// # Safety
/// `message` is null or a message as sendmsg(2) takes it.
unsafe fn concerns_the_disk(message: *const msghdr) -> bool {
    // SAFETY: by this function's contract.
    let Some(header) = (unsafe { message.as_ref() }) else { return false };
    // SAFETY: the name of a message has the length stored next to it.
    if unsafe { names_the_disk(header.msg_name.cast(), header.msg_namelen) } {
        return true;
    }
    // SAFETY: the control data of a message is a chain of headers, each followed by its data.
    unsafe {
        let mut part = libc::CMSG_FIRSTHDR(message);
        while let Some(control) = part.as_ref() {
            let rights = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
            if (control.cmsg_level, control.cmsg_type) == rights {
                let before = libc::CMSG_LEN(0) as usize;
                let count = control.cmsg_len.saturating_sub(before) / size_of::<c_int>();
                let passed = libc::CMSG_DATA(part).cast::<c_int>();
                if (0..count).any(|at| is_simulated(passed.add(at).read_unaligned())) {
                    return true;
                }
            }
            part = libc::CMSG_NXTHDR(message, part);
        }
    }
    false
}

/// As [`concerns_the_disk`], for any of several messages.
///
/// # Safety
/// `messages` is null or points to `count` messages as sendmmsg(2) takes them.
unsafe fn any_concerns_the_disk(messages: *mut libc::mmsghdr, count: c_uint) -> bool {
    // SAFETY: by this function's contract.
    !messages.is_null()
        && (0..count as usize)
            .any(|at| unsafe { concerns_the_disk(&raw const (*messages.add(at)).msg_hdr) })
}

/// Whether any part of the memory is the map of a file of the disk.
fn shows_a_file(start: *mut c_void, size: usize) -> bool {
    let memory = start.addr()..start.addr().saturating_add(size);
    !maps::within(&memory).is_empty()
}
