//! The self-test of a process before it trusts the doors: whether calls arrive there.

use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::mem::zeroed;
#[cfg(feature = "inner")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr::{null, null_mut};

use crate::disk::tree::Tree;
use crate::log::Record;

use super::child;
use super::limits::Limits;
use super::region::Region;
use crate::process::doors;
use crate::process::seam;
use crate::process::world::{self, MOUNT, Setup, Sink, World};

/// A call that did not reach its door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrayCall {
    /// The symbol, or the library function, that was called.
    pub called: &'static str,
    /// Where it went instead.
    pub reached: String,
}

/// Calls the doors in a small world; returns the calls that did not arrive. A world that was
/// installed before is removed.
pub fn self_test() -> Vec<StrayCall> {
    let optional: Vec<&str> = doors::optional_symbols().collect();
    let mut failures = foreign_symbols();
    failures.retain(|stray| !optional.contains(&stray.called));
    World::install(Setup::new(Tree::new(), &Nowhere));
    seam::engine(|| {
        call_names(&mut failures);
        call_descriptors(&mut failures);
        call_clocks(&mut failures);
        call_libraries(&mut failures);
    });
    World::remove();
    failures
}

/// A log that discards its records.
struct Nowhere;

impl Sink for Nowhere {
    fn append(&self, _: &Record<'_>) -> bool {
        true
    }
}

/// The symbols that do not resolve to this binary: another library may define them first, or the
/// linker may not have exported them, so that shared libraries do not see them.
fn foreign_symbols() -> Vec<StrayCall> {
    let own = object_of(self_test as *const ()).unwrap_or_default();
    let foreign = |called: &'static str| {
        // A symbol that resolves to nothing is one that this C library lacks.
        let reached = object_of(address_of(called))?;
        (reached != own).then_some(StrayCall { called, reached })
    };
    doors::symbols().filter_map(foreign).collect()
}

/// The doors that libraries of this program do not see, in place of which they find functions of
/// another library; the C library's own functions are not among them.
pub(crate) fn missing_doors() -> Vec<StrayCall> {
    let optional: Vec<&str> = doors::optional_symbols().collect();
    foreign_symbols().into_iter().filter(|stray| optional.contains(&stray.called)).collect()
}

/// Where the dynamic linker finds a symbol first.
fn address_of(symbol: &str) -> *const () {
    let Ok(symbol) = CString::new(symbol) else { return null() };
    // SAFETY: the symbol is a C string.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) }.cast()
}

/// The file of the program or library that an address lies in.
fn object_of(address: *const ()) -> Option<String> {
    // SAFETY: all zeros are a valid value, and `dladdr` takes any address.
    let info = unsafe {
        let mut info: libc::Dl_info = zeroed();
        if libc::dladdr(address.cast(), &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    Some(info.to_string_lossy().into_owned())
}

/// Checks that `call` is served by one of `doors`.
fn arrives<R>(
    failures: &mut Vec<StrayCall>,
    called: &'static str,
    doors: &[&str],
    call: impl FnOnce() -> R,
) -> R {
    let (before, _) = world::calls();
    let result = call();
    let (after, last) = world::calls();
    if after == before || !doors.contains(&last) {
        let reached = if after == before { "the kernel" } else { last };
        failures.push(StrayCall { called, reached: reached.to_owned() });
    }
    result
}

/// Calls C functions, and checks that each arrives at the door of its own name.
macro_rules! arrive {
    ($failures:ident, $(libc::$symbol:ident($($argument:expr),* $(,)?);)*) => {
        $(
            arrives($failures, stringify!($symbol), &[stringify!($symbol)], || {
                // SAFETY: the macro is used in this file alone, with C strings and buffers that
                // outlive the call and have the stated length.
                unsafe { libc::$symbol($($argument),*) }
            });
        )*
    };
}

const FILE: &CStr = c"/proc/crashpoint/file";
const OTHER: &CStr = c"/proc/crashpoint/other";
const FOLDER: &CStr = c"/proc/crashpoint/folder";
const LINK: &CStr = c"/proc/crashpoint/link";
const HERE: c_int = libc::AT_FDCWD;

fn call_names(failures: &mut Vec<StrayCall>) {
    let (file, other, folder) = (FILE.as_ptr(), OTHER.as_ptr(), FOLDER.as_ptr());
    let link = LINK.as_ptr();
    let mut path = [0; 4096];
    // SAFETY: all zeros are a valid value of each of these structures.
    let (mut plain, mut wide, mut full) =
        unsafe { (zeroed::<libc::stat>(), zeroed::<libc::stat64>(), zeroed::<libc::statx>()) };
    // SAFETY: the same.
    let (mut disk, mut volume) = unsafe { (zeroed::<libc::statfs>(), zeroed::<libc::statvfs>()) };
    arrive!(failures,
        libc::creat(file, 0o644);
        libc::open(file, libc::O_RDWR);
        libc::open64(file, libc::O_RDWR);
        libc::openat(HERE, file, libc::O_RDWR);
        libc::openat64(HERE, file, libc::O_RDWR);
        libc::truncate(file, 10);
        libc::truncate64(file, 10);
        libc::stat(file, &raw mut plain);
        libc::stat64(file, &raw mut wide);
        libc::lstat(file, &raw mut plain);
        libc::lstat64(file, &raw mut wide);
        libc::fstatat(HERE, file, &raw mut plain, 0);
        libc::fstatat64(HERE, file, &raw mut wide, 0);
        libc::statx(HERE, file, 0, libc::STATX_ALL, &raw mut full);
        libc::statfs(file, &raw mut disk);
        libc::statvfs(file, &raw mut volume);
        libc::access(file, libc::R_OK);
        libc::faccessat(HERE, file, libc::R_OK, 0);
        libc::chmod(file, 0o600);
        libc::fchmodat(HERE, file, 0o600, 0);
        libc::chown(file, 0, 0);
        libc::utimensat(HERE, file, null(), 0);
        libc::utimes(file, null());
        libc::realpath(file, path.as_mut_ptr());
        libc::rename(file, other);
        libc::renameat(HERE, other, HERE, file);
        libc::renameat2(HERE, file, HERE, other, 0);
        libc::link(other, file);
        libc::linkat(HERE, other, HERE, link, 0);
        libc::unlink(link);
        libc::symlink(other, link);
        libc::readlink(link, path.as_mut_ptr(), path.len());
        libc::readlinkat(HERE, link, path.as_mut_ptr(), path.len());
        libc::unlinkat(HERE, link, 0);
        libc::symlinkat(other, HERE, link);
        libc::remove(link);
        libc::mkdir(folder, 0o755);
        libc::rmdir(folder);
        libc::mkdirat(HERE, folder, 0o755);
    );
}

fn call_descriptors(failures: &mut Vec<StrayCall>) {
    let mut bytes = *b"0123456789abcdef";
    let part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let (part, length) = (&raw const part, bytes.len());
    let (to, from) = (bytes.as_mut_ptr().cast(), bytes.as_ptr().cast());
    // SAFETY: the paths are C strings, and all zeros are a valid value of the structures.
    let (fd, folder, mut plain, mut wide) = unsafe {
        let fd = libc::open(FILE.as_ptr(), libc::O_RDWR);
        let folder = libc::open(FOLDER.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
        (fd, folder, zeroed::<libc::stat>(), zeroed::<libc::stat64>())
    };
    arrive!(failures,
        libc::write(fd, from, length);
        libc::pwrite(fd, from, length, 0);
        libc::pwrite64(fd, from, length, 0);
        libc::writev(fd, part, 1);
        libc::pwritev(fd, part, 1, 0);
        libc::pwritev64(fd, part, 1, 0);
        libc::lseek(fd, 0, libc::SEEK_SET);
        libc::lseek64(fd, 0, libc::SEEK_SET);
        libc::read(fd, to, length);
        libc::pread(fd, to, length, 0);
        libc::pread64(fd, to, length, 0);
        libc::readv(fd, part, 1);
        libc::preadv(fd, part, 1, 0);
        libc::preadv64(fd, part, 1, 0);
        libc::copy_file_range(fd, null_mut(), fd, null_mut(), 0, 0);
        libc::ftruncate(fd, 100);
        libc::ftruncate64(fd, 100);
        libc::fallocate(fd, 0, 0, 100);
        libc::fallocate64(fd, 0, 0, 100);
        libc::posix_fallocate(fd, 0, 100);
        libc::posix_fallocate64(fd, 0, 100);
        libc::posix_fadvise(fd, 0, 0, 0);
        libc::posix_fadvise64(fd, 0, 0, 0);
        libc::fsync(fd);
        libc::fdatasync(fd);
        libc::sync_file_range(fd, 0, 0, 0);
        libc::syncfs(fd);
        libc::sync();
        libc::fstat(fd, &raw mut plain);
        libc::fstat64(fd, &raw mut wide);
        libc::fchmod(fd, 0o644);
        libc::fchown(fd, 0, 0);
        libc::futimens(fd, null());
        libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB);
        libc::fcntl(fd, libc::F_GETFL);
        libc::isatty(fd);
        libc::dup(fd);
        libc::dup2(fd, folder + 9);
        libc::dup3(fd, folder + 9, libc::O_CLOEXEC);
        libc::fchdir(folder);
        libc::close(fd);
    );
    let stream = arrives(failures, "fdopendir", &["fdopendir"], || {
        // SAFETY: the descriptor is open, and the stream is its owner from here on.
        unsafe { libc::fdopendir(folder) }
    });
    if !stream.is_null() {
        arrive!(failures,
            libc::readdir(stream);
            libc::readdir64(stream);
            libc::rewinddir(stream);
        );
        arrives(failures, "closedir", &["closedir"], || {
            // SAFETY: the stream is open.
            unsafe { libc::closedir(stream) }
        });
    }
}

fn call_clocks(failures: &mut Vec<StrayCall>) {
    let mut number = [0_u8; 8];
    let bytes = number.as_mut_ptr().cast();
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    // SAFETY: all zeros are a valid value of each of these structures.
    let (mut day, mut cpus, mut machine) = unsafe {
        (zeroed::<libc::timeval>(), zeroed::<libc::cpu_set_t>(), zeroed::<libc::sysinfo>())
    };
    let monotonic = libc::CLOCK_MONOTONIC;
    let pause = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    arrive!(failures,
        libc::clock_gettime(monotonic, &raw mut now);
        libc::gettimeofday(&raw mut day, null_mut());
        libc::time(null_mut());
        libc::nanosleep(&raw const pause, null_mut());
        libc::clock_nanosleep(monotonic, 0, &raw const pause, null_mut());
        libc::usleep(1);
        libc::sleep(1);
        libc::sched_yield();
        libc::getrandom(bytes, 8, 0);
        libc::getentropy(bytes, 8);
        libc::getpid();
        libc::gettid();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut cpus);
        libc::sysconf(libc::_SC_NPROCESSORS_ONLN);
        libc::sysinfo(&raw mut machine);
    );
    arrives(failures, "syscall(SYS_gettid)", &["gettid"], || {
        // SAFETY: the call takes no argument.
        unsafe { libc::syscall(libc::SYS_gettid) }
    });
}

/// What engines really call: the standard library, and rustix, which without its feature
/// `use-libc` asks the kernel by itself.
fn call_libraries(failures: &mut Vec<StrayCall>) {
    let at = |name: &str| Path::new(MOUNT).join(name);
    let _ = arrives(failures, "std::fs::File::create", &["open64"], || fs::File::create(at("std")));
    let _ =
        arrives(failures, "std::fs::metadata", &["statx", "stat64"], || fs::metadata(at("std")));
    let rename = || rustix::fs::renameat(rustix::fs::CWD, at("std"), rustix::fs::CWD, at("rustix"));
    let _ = arrives(failures, "rustix::fs::renameat", &["rename", "renameat"], rename);
}

/// Runs `body` in a forked child; returns the status that the child exited with, 0 if the body
/// returned. For tests of what ends a process.
#[doc(hidden)]
#[cfg(feature = "inner")]
pub fn in_child(body: impl FnOnce()) -> Option<c_int> {
    // SAFETY: the child runs only the calling thread, and the C library's locks are free in it.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ended = catch_unwind(AssertUnwindSafe(body));
        world::exit(if ended.is_ok() { 0 } else { 101 });
    }
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    (ended == child && libc::WIFEXITED(status)).then(|| libc::WEXITSTATUS(status))
}

/// Calls `fsync` without the C library. For tests of the traps.
#[doc(hidden)]
#[cfg(feature = "inner")]
pub fn past_the_doors(fd: c_int) -> i64 {
    // SAFETY: the call takes a number, and changes no memory of this process.
    unsafe { raw_call(libc::SYS_fsync, [fd as usize, 0, 0, 0, 0, 0]) }
}

/// Makes a system call without the C library; an error is returned as a negative number.
///
/// # Safety
/// The arguments are those that the kernel documents for the number: their pointers are valid for
/// what the call reads and writes.
#[doc(hidden)]
pub unsafe fn raw_call(number: i64, [a, b, c, d, e, f]: [usize; 6]) -> i64 {
    let result: i64;
    // SAFETY: the arguments are valid for the number, by this function's contract. The kernel
    // changes these three registers, and memory only as the call documents.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Whether a raw system call, made on a second thread of a forked child, arrives at its door.
/// The caller is an explorer that has set the traps.
pub fn raw_calls_arrive(region: &Region) -> bool {
    let (from, to) = (FILE.as_ptr() as usize, OTHER.as_ptr() as usize);
    let rename = move || {
        let here = libc::AT_FDCWD as usize;
        // SAFETY: both paths are static C strings.
        unsafe { raw_call(libc::SYS_renameat, [here, from, here, to, 0, 0]) }
    };
    let body = |_: &'static Region| {
        World::install(Setup::new(Tree::new(), &Nowhere));
        let renamed = seam::engine(|| {
            drop(fs::File::create(Path::new(MOUNT).join("file")));
            std::thread::Builder::new().spawn(rename).is_ok_and(|thread| thread.join().is_ok())
                && fs::metadata(Path::new(MOUNT).join("other")).is_ok()
        });
        if !renamed {
            world::exit(1);
        }
    };
    child::run(region, &Limits::default(), body).is_finished()
}
