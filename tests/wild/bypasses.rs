//! Calls by which an engine in C leaves the simulation: each is refused by its name.
#![expect(unsafe_code, reason = "the tests call what an engine written in C calls")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::io::{Error, Result};
use std::ptr::{null, null_mut};

unsafe extern "C" {
    fn _Fork() -> c_int;
    fn __fork() -> c_int;
    fn __vfork() -> c_int;
    fn __clone(a: *const c_void, b: *mut c_void, c: c_int, d: *mut c_void) -> c_int;
    fn _IO_popen(a: *const c_char, b: *const c_char) -> *mut libc::FILE;
    fn forkpty(a: *mut c_int, b: *mut c_char, c: *const c_void, d: *const c_void) -> c_int;
    fn pidfd_open(a: c_int, b: c_uint) -> c_int;
    fn pthread_sigqueue(a: libc::pthread_t, b: c_int, c: *mut c_void) -> c_int;
    fn mq_notify(a: c_int, b: *const c_void) -> c_int;
    fn getaddrinfo_a(a: c_int, b: *mut c_void, c: c_int, d: *mut c_void) -> c_int;
    fn aio_read64(a: *mut c_void) -> c_int;
    fn aio_write64(a: *mut c_void) -> c_int;
    fn aio_fsync64(a: c_int, b: *mut c_void) -> c_int;
    fn lio_listio64(a: c_int, b: *const *mut c_void, c: c_int, d: *mut c_void) -> c_int;
    fn ualarm(a: c_uint, b: c_uint) -> c_uint;
    fn __adjtimex(a: *mut c_void) -> c_int;
    fn ntp_adjtime(a: *mut c_void) -> c_int;
    fn ntp_gettime(a: *mut c_void) -> c_int;
    fn ntp_gettimex(a: *mut c_void) -> c_int;
    fn adjtime(a: *const c_void, b: *mut c_void) -> c_int;
    fn ftime(a: *mut c_void) -> c_int;
    fn __mq_open_2(a: *const c_char, b: c_int) -> c_int;
    fn wordexp(a: *const c_char, b: *mut c_void, c: c_int) -> c_int;
    fn futimesat(a: c_int, b: *const c_char, c: *const c_void) -> c_int;
    fn open_tree(a: c_int, b: *const c_char, c: c_uint) -> c_int;
    fn move_mount(a: c_int, b: *const c_char, c: c_int, d: *const c_char, e: c_uint) -> c_int;
    fn fspick(a: c_int, b: *const c_char, c: c_uint) -> c_int;
    fn mount_setattr(a: c_int, b: *const c_char, c: c_uint, d: *mut c_void, e: usize) -> c_int;
    fn pivot_root(a: *const c_char, b: *const c_char) -> c_int;
    fn __connect(a: c_int, b: *const libc::sockaddr, c: u32) -> c_int;
    fn closefrom(first: c_int);
}

/// A call with a name, that takes a path.
pub(crate) type OnPath = (&'static str, fn(&CStr));

/// A call with a name, that takes a descriptor.
pub(crate) type OnDescriptor = (&'static str, fn(c_int));

/// A call with a name, that takes nothing.
pub(crate) type Plain = (&'static str, fn());

const HERE: c_int = libc::AT_FDCWD;

/// A system call by number, with all its arguments.
///
/// # Safety
/// The contract of the call.
unsafe fn number(number: c_long, arguments: [usize; 5]) -> c_long {
    let [a, b, c, d, e] = arguments;
    // SAFETY: by this function's contract.
    unsafe { libc::syscall(number, a, b, c, d, e) }
}

fn local(path: &CStr) -> libc::sockaddr_un {
    let mut name = [0; 108];
    for (to, byte) in name.iter_mut().zip(path.to_bytes()) {
        *to = byte.cast_signed();
    }
    libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: name }
}

fn message(address: &mut libc::sockaddr_un) -> libc::msghdr {
    // SAFETY: zeros are a message without parts.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut *address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_un>() as u32;
    message
}

macro_rules! on_paths {
    ($($name:ident: |$path:ident| $call:expr;)*) => {
        &[$((stringify!($name), |$path: &CStr| {
            let $path = $path.as_ptr();
            // SAFETY: the path is a C string, and the call gets no other pointer but null.
            let _ = unsafe { $call };
        })),*]
    };
}

macro_rules! plain {
    ($($name:ident: $call:expr;)*) => {
        &[$((stringify!($name), || {
            // SAFETY: if the call is not refused, its null pointers make it fail, or it does what
            // the process survives.
            let _ = unsafe { $call };
        })),*]
    };
}

const BYTES: usize = size_of::<libc::sockaddr_un>();

/// Functions that take a path: with one outside the mount they only fail.
pub(crate) const ON_PATHS: &[OnPath] = on_paths! {
    mkfifo: |p| libc::mkfifo(p, 0o600);
    mkfifoat: |p| libc::mkfifoat(HERE, p, 0o600);
    futimesat: |p| futimesat(HERE, p, null());
    name_to_handle_at: |p| libc::name_to_handle_at(HERE, p, null_mut(), null_mut(), 0);
    inotify_add_watch: |p| libc::inotify_add_watch(-1, p, 1);
    fanotify_mark: |p| libc::fanotify_mark(-1, 0, 0, HERE, p);
    mount: |p| libc::mount(p, p, null(), 0, null());
    umount: |p| libc::umount(p);
    umount2: |p| libc::umount2(p, 0);
    open_tree: |p| open_tree(HERE, p, 0);
    move_mount: |p| move_mount(HERE, p, HERE, p, 0);
    fspick: |p| fspick(HERE, p, 0);
    mount_setattr: |p| mount_setattr(HERE, p, 0, null_mut(), 0);
    chroot: |p| libc::chroot(p);
    pivot_root: |p| pivot_root(p, p);
    acct: |p| libc::acct(p);
    swapon: |p| libc::swapon(p, 0);
    swapoff: |p| libc::swapoff(p);
    quotactl: |p| libc::quotactl(0, p, 0, null_mut());
    bind: |p| {
        let address = local(CStr::from_ptr(p));
        libc::bind(-1, (&raw const address).cast(), BYTES as u32)
    };
    connect: |p| {
        let address = local(CStr::from_ptr(p));
        libc::connect(-1, (&raw const address).cast(), BYTES as u32)
    };
    __connect: |p| {
        let address = local(CStr::from_ptr(p));
        __connect(-1, (&raw const address).cast(), BYTES as u32)
    };
    sendto: |p| {
        let address = local(CStr::from_ptr(p));
        libc::sendto(-1, null(), 0, 0, (&raw const address).cast(), BYTES as u32)
    };
    sendmsg: |p| {
        let mut address = local(CStr::from_ptr(p));
        let message = message(&mut address);
        libc::sendmsg(-1, &raw const message, 0)
    };
    sendmmsg: |p| {
        let mut address = local(CStr::from_ptr(p));
        let mut whole = libc::mmsghdr { msg_hdr: message(&mut address), msg_len: 0 };
        libc::sendmmsg(-1, &raw mut whole, 1, 0)
    };
};

/// Room for the results of functions that find nothing.
static mut LIST: [u64; 64] = [0; 64];

/// The same by number.
pub(crate) const ON_PATHS_BY_NUMBER: &[OnPath] = on_paths! {
    openat2: |p| {
        number(libc::SYS_openat2, [HERE as usize, p.addr(), [0_u64; 3].as_ptr().addr(), 24, 0])
    };
    name_to_handle_at: |p| {
        number(libc::SYS_name_to_handle_at, [HERE as usize, p.addr(), 0, 0, 0])
    };
    setxattrat: |p| number(463, [HERE as usize, p.addr(), 0, 0, 0]);
    chroot: |p| number(libc::SYS_chroot, [p.addr(), 0, 0, 0, 0]);
};

/// Functions that are refused wherever they are called.
pub(crate) const ALWAYS: &[Plain] = plain! {
    fork: over(libc::fork());
    __fork: over(__fork());
    _Fork: over(_Fork());
    clone: libc::clone(start, null_mut(), libc::SIGCHLD, null_mut());
    __clone: __clone(null(), null_mut(), libc::SIGCHLD, null_mut());
    daemon: libc::daemon(1, 1);
    forkpty: over(forkpty(null_mut(), null_mut(), null(), null()));
    posix_spawn: libc::posix_spawn(null_mut(), c"/no".as_ptr(), null(), null(), [null_mut()].as_ptr(), null());
    posix_spawnp: libc::posix_spawnp(null_mut(), c"/no".as_ptr(), null(), null(), [null_mut()].as_ptr(), null());
    execve: libc::execve(c"/no".as_ptr(), null(), null());
    execv: libc::execv(c"/no".as_ptr(), null());
    execvp: libc::execvp(c"/no".as_ptr(), null());
    execvpe: libc::execvpe(c"/no".as_ptr(), null(), null());
    execveat: libc::execveat(HERE, c"/no".as_ptr(), null(), null(), 0);
    fexecve: libc::fexecve(-1, null(), null());
    wordexp: wordexp(c"$(true)".as_ptr(), (&raw mut LIST).cast(), 0);
    system: libc::system(c"true".as_ptr());
    popen: libc::popen(c"true".as_ptr(), c"r".as_ptr());
    _IO_popen: _IO_popen(c"true".as_ptr(), c"r".as_ptr());
    tgkill: libc::tgkill(libc::getpid(), libc::gettid(), 0);
    sigqueue: libc::sigqueue(libc::getpid(), 0, libc::sigval { sival_ptr: null_mut() });
    pidfd_open: pidfd_open(libc::getpid(), 0);
    pthread_sigqueue: pthread_sigqueue(libc::pthread_self(), libc::SIGURG, null_mut());
    aio_read: libc::aio_read(null_mut());
    aio_read64: aio_read64(null_mut());
    aio_write: libc::aio_write(null_mut());
    aio_write64: aio_write64(null_mut());
    aio_fsync: libc::aio_fsync(libc::O_SYNC, null_mut());
    aio_fsync64: aio_fsync64(libc::O_SYNC, null_mut());
    lio_listio: libc::lio_listio(0, null(), 0, null_mut());
    lio_listio64: lio_listio64(0, null(), 0, null_mut());
    mq_notify: mq_notify(-1, (&raw const LIST).cast());
    getaddrinfo_a: getaddrinfo_a(1, null_mut(), 0, null_mut());
    timer_create: libc::timer_create(0, null_mut(), null_mut());
    timerfd_settime: libc::timerfd_settime(-1, 0, [1_i64; 4].as_ptr().cast(), null_mut());
    setitimer:
        libc::setitimer(libc::ITIMER_VIRTUAL as _, [9999_i64; 4].as_ptr().cast(), null_mut());
    alarm: libc::alarm(9999);
    ualarm: ualarm(999_999, 0);
    sigtimedwait:
        libc::sigtimedwait((&raw const LIST).cast(), null_mut(), [0_i64, 1].as_ptr().cast());
    shm_open: libc::shm_open(c"/a".as_ptr(), libc::O_RDONLY, 0);
    sem_open: libc::sem_open(c"/a".as_ptr(), 0);
    mq_open: libc::mq_open(c"/a".as_ptr(), libc::O_RDONLY);
    __mq_open_2: __mq_open_2(c"/a".as_ptr(), libc::O_RDONLY);
    shmget: libc::shmget(1, 0, 0);
    semget: libc::semget(1, 0, 0);
    msgget: libc::msgget(1, 0);
    adjtimex: libc::adjtimex(null_mut());
    __adjtimex: __adjtimex(null_mut());
    ntp_adjtime: ntp_adjtime(null_mut());
    ntp_gettime: ntp_gettime(null_mut());
    ntp_gettimex: ntp_gettimex(null_mut());
    clock_adjtime: libc::clock_adjtime(0, null_mut());
    adjtime: adjtime(null(), null_mut());
    clock_settime: libc::clock_settime(-1, null());
    settimeofday: libc::settimeofday(null(), null());
    ftime: ftime((&raw mut LIST).cast());
};

/// Functions that are refused on a simulated descriptor, which each gets as a number.
pub(crate) const ON_DESCRIPTORS: &[OnDescriptor] = &[
    // SAFETY: as in `plain`.
    // SAFETY: the same.
    ("open_by_handle_at", |fd| unsafe { drop_int(libc::open_by_handle_at(fd, null_mut(), 0)) }),
    // SAFETY: the same.
    ("tee", |fd| unsafe { drop_int(libc::tee(-1, fd, 1, 0) as c_int) }),
    // SAFETY: the same.
    ("vmsplice", |fd| unsafe { drop_int(libc::vmsplice(fd, null(), 0, 0) as c_int) }),
    ("sendmsg", pass_on),
];

fn drop_int(_: c_int) {}

/// Sends a descriptor as a message.
fn pass_on(fd: c_int) {
    let mut control = [0_usize; 4];
    // SAFETY: zeros are a message without parts, and the control data has room for a number.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let part = libc::CMSG_FIRSTHDR(&raw const message);
        (*part).cmsg_level = libc::SOL_SOCKET;
        (*part).cmsg_type = libc::SCM_RIGHTS;
        (*part).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(part).cast::<c_int>().write_unaligned(fd);
        libc::sendmsg(-1, &raw const message, 0);
    }
}

/// Calls that are refused by number wherever they are made.
pub(crate) const BY_NUMBER: &[(&str, c_long)] = &[
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("fork", libc::SYS_fork),
    ("vfork", libc::SYS_vfork),
    ("io_setup", libc::SYS_io_setup),
    ("io_submit", libc::SYS_io_submit),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("timer_create", libc::SYS_timer_create),
    ("shmget", libc::SYS_shmget),
    ("semget", libc::SYS_semget),
    ("msgget", libc::SYS_msgget),
    ("mq_open", libc::SYS_mq_open),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("tkill", libc::SYS_tkill),
    ("adjtimex", libc::SYS_adjtimex),
];

/// Makes a call by number, with zeros.
pub(crate) fn by_number(call: c_long) {
    // SAFETY: if it is not refused, the null pointers make it fail.
    unsafe { number(call, [0; 5]) };
}

extern "C" fn start(_: *mut c_void) -> c_int {
    0
}

/// Ends a child that should not exist.
fn over(process: c_int) {
    if process == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
}

/// Forks past the handlers of `fork`; the child ends at once.
pub(crate) fn fork_bare() -> Result<()> {
    // SAFETY: the child does nothing but end.
    let child = unsafe { _Fork() };
    over(child);
    if child < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Forks by the C library's own function, past its symbol in this program.
pub(crate) fn fork_inside() -> Option<i32> {
    // SAFETY: the C library is loaded, its `fork` has that type, and a child would end at once.
    let child = unsafe {
        let library = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW);
        let fork = libc::dlsym(library, c"_Fork".as_ptr());
        std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(fork)()
    };
    over(child);
    if child < 0 { Error::last_os_error().raw_os_error() } else { None }
}

/// Forks by the two names of `vfork`.
pub(crate) fn vfork() -> Result<()> {
    // SAFETY: both are refused; their children would end at once.
    unsafe {
        over(__vfork());
        #[expect(deprecated, reason = "an engine may call it")]
        over(libc::vfork());
    }
    Err(Error::last_os_error())
}

/// Replaces the process.
pub(crate) fn replace() -> Result<()> {
    let (program, end) = (c"/bin/true".as_ptr(), null::<c_char>());
    // SAFETY: C strings, and a null pointer at the end.
    unsafe { libc::execl(program, program, end) };
    Err(Error::last_os_error())
}

/// Closes all descriptors from a number on, by either function.
pub(crate) fn close_all(first: c_int, by_range: bool) {
    // SAFETY: the callers use none of them afterwards.
    unsafe {
        if by_range {
            libc::close_range(first.cast_unsigned(), c_uint::MAX, 0);
        } else {
            closefrom(first);
        }
    }
}

/// Makes a pipe with a name.
pub(crate) fn make_pipe(path: &CStr) {
    // SAFETY: a C string.
    unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
}
