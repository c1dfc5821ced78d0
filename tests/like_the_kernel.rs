//! Calls that engines make rarely are answered as by the kernel: wild pointers, limits on
//! resources, reservations of address space, attributes.
#![expect(unsafe_code, reason = "the tests call what an engine written in C calls")]

use std::ffi::{CString, c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{Error as IoError, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use crashpoint::{Acks, Error};

/// The error of a C function that returned -1, or what it returned.
fn outcome(result: impl Into<i64>) -> Result<i64, c_int> {
    match result.into() {
        -1 => Err(IoError::last_os_error().raw_os_error().unwrap_or(0)),
        done => Ok(done),
    }
}

fn path(of: &Path) -> CString {
    CString::new(of.as_os_str().as_bytes()).expect("a path has no NUL")
}

const PAGE: usize = 4096;
/// Nothing is mapped there.
const WILD: usize = 8;

/// A page that can be used, and one after it that cannot.
fn edge() -> *mut u8 {
    let (both, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
    // SAFETY: the kernel chooses the address; the second page is only closed.
    unsafe {
        let start =
            libc::mmap(ptr::null_mut(), 2 * PAGE, both, private | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(start.add(PAGE), PAGE, libc::PROT_NONE), 0);
        start.cast()
    }
}

fn wild_pointers(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    let name = path(&dir.join("f"));
    fs::write(dir.join("f"), b"0123456789")?;
    let file = OpenOptions::new().read(true).write(true).open(dir.join("f"))?;
    let fd = file.as_raw_fd();
    let (wild, text) = (ptr::without_provenance_mut::<c_void>(WILD), WILD as *const i8);
    let end = edge();
    // SAFETY: the pointers are not valid, and the calls must say so.
    unsafe {
        let near = end.add(PAGE - 4).cast::<c_void>();
        assert_eq!(outcome(libc::write(fd, wild, 5) as i64), Err(libc::EFAULT));
        assert_eq!(outcome(libc::pwrite(fd, wild, 5, 0) as i64), Err(libc::EFAULT));
        assert_eq!(outcome(libc::write(fd, wild, 0) as i64), Ok(0));
        assert_eq!(outcome(libc::pread(fd, wild, 5, 0) as i64), Err(libc::EFAULT));
        assert_eq!(outcome(libc::pread(fd, wild, 5, 10) as i64), Ok(0), "nothing is stored");
        assert_eq!(outcome(libc::read(fd, wild, 5) as i64), Err(libc::EFAULT));
        assert_eq!(outcome(libc::lseek(fd, 0, libc::SEEK_CUR)), Ok(0), "nothing was read");
        assert_eq!(outcome(libc::pread(fd, near, 10, 0) as i64), Ok(4), "as much as fits");
        assert_eq!(std::slice::from_raw_parts(near.cast::<u8>(), 4), b"0123");
        assert_eq!(outcome(libc::pwrite(fd, near, 10, 20) as i64), Ok(4));
        let list = [(near, 4), (wild, 5)];
        let list = list.map(|(iov_base, iov_len)| libc::iovec { iov_base, iov_len });
        assert_eq!(outcome(libc::pwritev(fd, list.as_ptr(), 2, 0) as i64), Ok(4));
        assert_eq!(outcome(libc::preadv(fd, list.as_ptr(), 2, 0) as i64), Ok(4));
        assert_eq!(outcome(libc::readv(fd, list.as_ptr(), 2) as i64), Ok(4));
        assert_eq!(outcome(libc::lseek(fd, 0, libc::SEEK_CUR)), Ok(4));
        assert_eq!(outcome(libc::writev(fd, wild.cast(), 1) as i64), Err(libc::EFAULT));
        assert_eq!(outcome(libc::open(text, libc::O_RDONLY)), Err(libc::EFAULT));
        assert_eq!(outcome(libc::rename(name.as_ptr(), text)), Err(libc::EFAULT));
        assert_eq!(outcome(libc::unlink(text)), Err(libc::EFAULT));
        assert_eq!(outcome(libc::stat(name.as_ptr(), wild.cast())), Err(libc::EFAULT));
        assert_eq!(outcome(libc::fstat(fd, wild.cast())), Err(libc::EFAULT));
        assert_eq!(outcome(libc::statfs(name.as_ptr(), wild.cast())), Err(libc::EFAULT));
        assert_eq!(outcome(libc::fcntl(fd, libc::F_SETLK, wild)), Err(libc::EFAULT));
        assert_eq!(outcome(libc::futimens(fd, wild.cast())), Err(libc::EFAULT));
        assert_eq!(outcome(libc::getrlimit(libc::RLIMIT_DATA, wild.cast())), Err(libc::EFAULT));
        libc::munmap(end.cast(), 2 * PAGE);
    }
    acks.durable("all of it was done");
    Ok(())
}

#[test]
fn a_pointer_that_leads_nowhere_is_an_error_of_the_call() {
    crashpoint::check_pair(wild_pointers, |_, _| Ok(()));
}

fn names_of_descriptors(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    fs::write(dir.join("f"), b"0123")?;
    let file = File::open(dir.join("f"))?;
    for folder in ["/proc/self/fd", "/proc/thread-self/fd", "/dev/fd"] {
        let name = format!("{folder}/{}", file.as_raw_fd());
        assert_eq!(fs::metadata(&name)?.len(), 4);
        assert!(fs::symlink_metadata(&name)?.is_symlink());
        assert_eq!(fs::read_link(&name)?, dir.join("f"));
        assert_eq!(fs::read(&name)?, b"0123");
    }
    let closed = format!("/proc/self/fd/{}", file.as_raw_fd() + 1);
    assert_eq!(fs::metadata(closed).map_err(|e| e.raw_os_error()).err(), Some(Some(libc::ENOENT)));
    acks.durable("all of it was done");
    Ok(())
}

#[test]
fn a_descriptor_has_names_below_proc() {
    crashpoint::check_pair(names_of_descriptors, |_, _| Ok(()));
}

fn limits(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    fs::write(dir.join("f"), b"0123")?;
    let get = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 7, rlim_max: 7 };
        // SAFETY: the limit is ours.
        assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
        (limit.rlim_cur, limit.rlim_max)
    };
    for endless in [libc::RLIMIT_DATA, libc::RLIMIT_AS, libc::RLIMIT_CPU, libc::RLIMIT_FSIZE] {
        assert_eq!(get(endless), (libc::RLIM_INFINITY, libc::RLIM_INFINITY));
    }
    assert_eq!(get(libc::RLIMIT_NOFILE).0, 1024);
    let new = libc::rlimit { rlim_cur: 2048, rlim_max: 4096 };
    let mut seen = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limits are ours.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const new), 0);
        let (number, resource) = (libc::SYS_prlimit64, libc::RLIMIT_NOFILE);
        let none = ptr::null::<libc::rlimit>();
        assert_eq!(libc::syscall(number, 0, resource, none, &raw mut seen), 0);
        assert_eq!((seen.rlim_cur, seen.rlim_max), (2048, 4096));
        let wrong = libc::rlimit { rlim_cur: 2, rlim_max: 1 };
        assert_eq!(outcome(libc::setrlimit(libc::RLIMIT_AS, &raw const wrong)), Err(libc::EINVAL));
    }
    acks.durable("all of it was done");
    Ok(())
}

#[test]
fn limits_are_those_of_an_ordinary_machine_and_as_the_engine_sets_them() {
    crashpoint::check_pair(limits, |_, _| Ok(()));
}

fn few_descriptors(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    let few = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
    // SAFETY: the limit is ours.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const few) }, 0);
    let mut open = Vec::new();
    let error = loop {
        match File::create(dir.join("f")) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!((open.len(), error.raw_os_error()), (20, Some(libc::EMFILE)));
    acks.durable("all of it was done");
    Ok(())
}

#[test]
fn the_limit_on_descriptors_holds() {
    crashpoint::check_pair(few_descriptors, |_, _| Ok(()));
}

fn reservation(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    const LENGTH: usize = 4 << 30;
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let lazy = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses the address, and only this map is used.
    unsafe {
        let start = libc::mmap(ptr::null_mut(), LENGTH, both, lazy, -1, 0);
        assert_ne!(start, libc::MAP_FAILED, "{}", IoError::last_os_error());
        let last = start.cast::<u8>().add(LENGTH - 1);
        *last = 7;
        assert_eq!(*last, 7);
        libc::munmap(start, LENGTH);
    }
    File::create(dir.join("f"))?.write_all(b"done")?;
    acks.durable("all of it was done");
    Ok(())
}

#[test]
fn address_space_that_is_not_used_costs_nothing() {
    crashpoint::check_pair(reservation, |_, _| Ok(()));
}

fn attributes(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    let file = File::create(dir.join("f"))?;
    let (name, key) = (path(&dir.join("f")), c"user.a");
    let mut value = [0u8; 8];
    // SAFETY: the names are C strings, and the buffers have the sizes that are given.
    unsafe {
        let set = libc::setxattr(name.as_ptr(), key.as_ptr(), c"v".as_ptr().cast(), 1, 0);
        assert_eq!(outcome(set), Ok(0));
        let got = libc::fgetxattr(file.as_raw_fd(), key.as_ptr(), value.as_mut_ptr().cast(), 8);
        assert_eq!((got, value[0]), (1, b'v'));
        let listed = libc::listxattr(name.as_ptr(), value.as_mut_ptr().cast(), 8);
        assert_eq!((listed, &value[..7]), (7, &b"user.a\0"[..]));
    }
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    acks.durable("user.a is v");
    Ok(())
}

fn has_the_attribute(dir: &Path, survived: &[String]) -> Result<(), Error> {
    let (name, mut value) = (path(&dir.join("f")), [0u8; 8]);
    // SAFETY: the names are C strings, and the buffer has the size that is given.
    let got =
        unsafe { libc::getxattr(name.as_ptr(), c"user.a".as_ptr(), value.as_mut_ptr().cast(), 8) };
    match (survived.is_empty(), got) {
        (false, 1) | (true, _) => Ok(()),
        _ => Err("the attribute is gone".into()),
    }
}

#[test]
fn an_attribute_survives_once_its_file_was_synced() {
    crashpoint::check_pair(attributes, has_the_attribute);
}

fn unsynced_attributes(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    let file = File::create(dir.join("f"))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    // SAFETY: the names are C strings.
    let set = unsafe {
        let value = c"v".as_ptr().cast();
        libc::fsetxattr(file.as_raw_fd(), c"user.a".as_ptr(), value, 1, 0)
    };
    assert_eq!(set, 0);
    acks.durable("user.a is v");
    Ok(())
}

#[test]
#[should_panic(expected = "the attribute is gone")]
fn an_attribute_without_a_sync_is_found_lost() {
    crashpoint::check_pair(unsynced_attributes, has_the_attribute);
}
