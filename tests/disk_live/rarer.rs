//! Random calls that engines make more rarely, and how a real directory answers them: attributes,
//! copies, flags of a read or write, advice, times.

#![allow(unsafe_code, reason = "the calls are those of C")]

use std::ffi::{CString, OsString, c_int, c_void};
use std::io;

use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::{prop_oneof, sample};

use super::calls::{Base, Outcome, Path, Slot, bytes, offset, path};

/// The directory of ext4 that the environment names: the calls are compared there.
pub(crate) fn on_ext4() -> Option<OsString> {
    std::env::var_os("CRASHPOINT_EXT4_DIR")
}

/// A buffer whose address is as aligned as `O_DIRECT` may ask for.
pub(crate) struct Aligned {
    space: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    pub(crate) fn new(length: usize) -> Self {
        let space = vec![0; length + PAGE];
        let start = space.as_ptr().align_offset(PAGE);
        Self { space, start, length }
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut aligned = Self::new(bytes.len());
        aligned.bytes().copy_from_slice(bytes);
        aligned
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.space[self.start..][..self.length]
    }
}

const PAGE: usize = 4096;

/// A rarer call. `base`, `slot` and `other` are as in other calls.
#[derive(Clone, Debug)]
pub(crate) enum Rarer {
    Path { base: Base, path: Path, what: AtPath },
    Slot { slot: Slot, what: AtSlot },
    Copy { from: Slot, to: Slot, what: Copy },
}

#[derive(Clone, Debug)]
pub(crate) enum AtPath {
    Attribute { follow: bool, what: OnAttribute },
    MakeNode(u32),
    SetTimes { times: [(i64, i64); 2], flags: i32 },
    Statx { flags: i32, mask: u32 },
    Access { mode: i32, flags: i32 },
}

#[derive(Clone, Debug)]
pub(crate) enum AtSlot {
    Attribute(OnAttribute),
    ReadWith { parts: [usize; 2], offset: i64, flags: i32 },
    WriteWith { bytes: Vec<u8>, split: usize, offset: i64, flags: i32 },
    Advise { offset: i64, length: i64, advice: i32 },
    ReadAhead { length: usize },
    SyncRange { offset: i64, length: i64, flags: u32 },
    SetHint(u64),
    Hint,
    Command(i32),
    Request(u64),
    DuplicateTo { flags: i32 },
}

#[derive(Clone, Debug)]
pub(crate) enum OnAttribute {
    Set { name: &'static str, value: Vec<u8>, flags: i32 },
    Get { name: &'static str, size: usize },
    List,
    Remove { name: &'static str },
}

#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) sends: bool,
    pub(crate) from_at: Option<i64>,
    pub(crate) to_at: Option<i64>,
    pub(crate) length: usize,
    pub(crate) flags: u32,
}

impl Rarer {
    /// Whether only doors know the call, and not the disk.
    #[allow(dead_code, reason = "through doors all are compared")]
    pub(crate) fn needs_doors(&self) -> bool {
        match self {
            Self::Path { what, .. } => {
                matches!(what, AtPath::SetTimes { .. } | AtPath::Statx { .. })
                    || matches!(what, AtPath::Access { flags, .. } if *flags != 0)
            }
            Self::Slot { what, .. } => !matches!(
                what,
                AtSlot::Attribute(_)
                    | AtSlot::Advise { .. }
                    | AtSlot::ReadAhead { .. }
                    | AtSlot::SyncRange { .. }
            ),
            Self::Copy { what, .. } => what.flags != 0,
        }
    }
}

fn on_attribute() -> BoxedStrategy<OnAttribute> {
    let name = || {
        sample::select(vec![
            "user.a",
            "user.a",
            "user.b",
            "user.c",
            "trusted.a",
            "security.a",
            "user.",
            "user",
            "",
            "none.a",
        ])
    };
    let value = vec(any::<u8>(), 0..40);
    let flags = sample::select(vec![0, 0, 0, libc::XATTR_CREATE, libc::XATTR_REPLACE, 3, 4]);
    prop_oneof![
        4 => (name(), value, flags)
            .prop_map(|(name, value, flags)| OnAttribute::Set { name, value, flags }),
        3 => (name(), prop_oneof![Just(0), 0..60usize])
            .prop_map(|(name, size)| OnAttribute::Get { name, size }),
        2 => Just(OnAttribute::List),
        2 => name().prop_map(|name| OnAttribute::Remove { name }),
    ]
    .boxed()
}

fn time() -> BoxedStrategy<(i64, i64)> {
    // A tmpfs keeps any time, ext4 those of a range.
    let far = match on_ext4() {
        Some(_) => vec![i64::MIN, i64::MAX, -3_000_000_000, 15_032_385_535, -2_147_483_648],
        None => vec![0],
    };
    let seconds = prop_oneof![4 => -2_147_483_647..15_032_385_535i64, 1 => sample::select(far)];
    let nanos = prop_oneof![
        6 => 0..1_000_000_000i64,
        1 => Just(libc::UTIME_OMIT),
        1 => Just(1_000_000_000),
        1 => Just(-1),
    ];
    (seconds, nanos).boxed()
}

fn at_path() -> BoxedStrategy<AtPath> {
    let modes = sample::select(vec![
        0o644,
        libc::S_IFREG | 0o600,
        libc::S_IFDIR | 0o755,
        libc::S_IFLNK | 0o644,
        libc::S_IFMT,
    ]);
    let flags = || {
        sample::select(vec![
            0,
            0,
            libc::AT_SYMLINK_NOFOLLOW,
            libc::AT_EMPTY_PATH,
            libc::AT_SYMLINK_FOLLOW,
            4,
        ])
    };
    let masks = sample::select(vec![0x7ff, 0xfff, libc::STATX_DIOALIGN, 1 << 31]);
    let statx = prop_oneof![
        flags(),
        Just(libc::AT_STATX_FORCE_SYNC),
        Just(libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC),
        Just(libc::AT_NO_AUTOMOUNT),
    ];
    prop_oneof![
        8 => (any::<bool>(), on_attribute())
            .prop_map(|(follow, what)| AtPath::Attribute { follow, what }),
        2 => modes.prop_map(AtPath::MakeNode),
        4 => (time(), time(), flags())
            .prop_map(|(a, b, flags)| AtPath::SetTimes { times: [a, b], flags }),
        2 => (statx, masks).prop_map(|(flags, mask)| AtPath::Statx { flags, mask }),
        2 => (0..9i32, prop_oneof![flags(), Just(libc::AT_EACCESS)])
            .prop_map(|(mode, flags)| AtPath::Access { mode, flags }),
    ]
    .boxed()
}

/// Flags of preadv2(2) and pwritev2(2); newer ones only where the kernel is known to have them.
fn transfer_flags() -> BoxedStrategy<i32> {
    let one = sample::select(vec![
        libc::RWF_HIPRI,
        libc::RWF_DSYNC,
        libc::RWF_SYNC,
        libc::RWF_APPEND,
        1 << 20,
    ]);
    prop_oneof![2 => Just(0), 4 => one].boxed()
}

fn at_slot() -> BoxedStrategy<AtSlot> {
    let place = || prop_oneof![8 => offset(), 1 => Just(-1), 1 => Just(-2), 1 => Just(i64::MAX)];
    let commands = sample::select(vec![
        libc::F_GETLEASE,
        libc::F_GETOWN,
        libc::F_GETPIPE_SZ,
        libc::F_GETFD,
        F_GETSIG,
        777,
    ]);
    let requests = sample::select(vec![libc::FIONREAD, libc::TIOCGWINSZ, 2]);
    prop_oneof![
        6 => on_attribute().prop_map(AtSlot::Attribute),
        4 => ([0..3000usize, 0..9000], place(), transfer_flags())
            .prop_map(|(parts, offset, flags)| AtSlot::ReadWith { parts, offset, flags }),
        6 => (bytes(), any::<usize>(), place(), transfer_flags()).prop_map(
            |(bytes, split, offset, flags)| {
                let split = split % (bytes.len() + 1);
                AtSlot::WriteWith { bytes, split, offset, flags }
            }
        ),
        3 => (place(), place(), -1..8i32)
            .prop_map(|(offset, length, advice)| AtSlot::Advise { offset, length, advice }),
        2 => prop_oneof![0..9000usize, Just(1 << 63)]
            .prop_map(|length| AtSlot::ReadAhead { length }),
        2 => (place(), place(), 0..10u32)
            .prop_map(|(offset, length, flags)| AtSlot::SyncRange { offset, length, flags }),
        1 => (0..8u64).prop_map(AtSlot::SetHint),
        1 => Just(AtSlot::Hint),
        2 => commands.prop_map(AtSlot::Command),
        1 => requests.prop_map(AtSlot::Request),
        1 => sample::select(vec![0, libc::O_CLOEXEC, libc::O_NONBLOCK])
            .prop_map(|flags| AtSlot::DuplicateTo { flags }),
    ]
    .boxed()
}

fn copy() -> BoxedStrategy<Copy> {
    // A tmpfs has larger files than ext4.
    let far = match on_ext4() {
        Some(_) => vec![-1, -5000, 1 << 62, i64::MAX],
        None => vec![-1, -5000],
    };
    let place = || {
        prop_oneof![
            4 => Just(None),
            6 => offset().prop_map(Some),
            1 => sample::select(far.clone()).prop_map(Some),
        ]
    };
    let length = prop_oneof![6 => 0..9000usize, 1 => Just(usize::MAX)];
    (any::<bool>(), place(), place(), length, sample::select(vec![0, 0, 0, 1]))
        .prop_map(|(sends, from_at, to_at, length, flags)| {
            let (to_at, flags) = if sends { (None, 0) } else { (to_at, flags) };
            Copy { sends, from_at, to_at, length, flags }
        })
        .boxed()
}

/// A rarer call of any kind.
pub(crate) fn rarer(
    base: impl Strategy<Value = Base> + 'static,
    slot: impl Fn() -> BoxedStrategy<Slot>,
) -> BoxedStrategy<Rarer> {
    prop_oneof![
        5 => (base, path(), at_path())
            .prop_map(|(base, path, what)| Rarer::Path { base, path, what }),
        6 => (slot(), at_slot()).prop_map(|(slot, what)| Rarer::Slot { slot, what }),
        2 => (slot(), slot(), copy()).prop_map(|(from, to, what)| Rarer::Copy { from, to, what }),
    ]
    .boxed()
}

const F_GETSIG: i32 = 11;
const F_GET_RW_HINT: i32 = 1035;
const F_SET_RW_HINT: i32 = 1036;

/// A result of the C library.
fn result(number: i64) -> Result<u64, i32> {
    u64::try_from(number).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no path or name has a NUL")
}

/// Which file a call on attributes is about.
enum File {
    At(CString, bool),
    Open(c_int),
}

fn on_file(file: &File, what: &OnAttribute) -> Result<Outcome, i32> {
    // SAFETY: the paths and names are C strings, and the buffers have the sizes that are given.
    unsafe {
        match what {
            OnAttribute::Set { name, value, flags } => {
                let (name, size, flags) = (string(name.as_bytes()), value.len(), *flags);
                let value = value.as_ptr().cast::<c_void>();
                result(i64::from(match file {
                    File::Open(fd) => libc::fsetxattr(*fd, name.as_ptr(), value, size, flags),
                    File::At(path, true) => {
                        libc::setxattr(path.as_ptr(), name.as_ptr(), value, size, flags)
                    }
                    File::At(path, false) => {
                        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value, size, flags)
                    }
                }))?;
            }
            OnAttribute::Get { name, size } => {
                let (name, mut value) = (string(name.as_bytes()), vec![0u8; *size]);
                let to = value.as_mut_ptr().cast::<c_void>();
                let got = result(match file {
                    File::Open(fd) => libc::fgetxattr(*fd, name.as_ptr(), to, *size),
                    File::At(path, true) => libc::getxattr(path.as_ptr(), name.as_ptr(), to, *size),
                    File::At(path, false) => {
                        libc::lgetxattr(path.as_ptr(), name.as_ptr(), to, *size)
                    }
                } as i64)?;
                value.truncate(got as usize);
                return Ok(if *size == 0 { Outcome::Number(got) } else { Outcome::Bytes(value) });
            }
            OnAttribute::List => {
                let mut list = vec![0u8; 4096];
                let (to, size) = (list.as_mut_ptr().cast(), list.len());
                let got = result(match file {
                    File::Open(fd) => libc::flistxattr(*fd, to, size),
                    File::At(path, true) => libc::listxattr(path.as_ptr(), to, size),
                    File::At(path, false) => libc::llistxattr(path.as_ptr(), to, size),
                } as i64)?;
                return Ok(names(&list[..got as usize]));
            }
            OnAttribute::Remove { name } => {
                let name = string(name.as_bytes());
                result(i64::from(match file {
                    File::Open(fd) => libc::fremovexattr(*fd, name.as_ptr()),
                    File::At(path, true) => libc::removexattr(path.as_ptr(), name.as_ptr()),
                    File::At(path, false) => libc::lremovexattr(path.as_ptr(), name.as_ptr()),
                }))?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// A list of names: their order differs between file systems.
pub(crate) fn names(list: &[u8]) -> Outcome {
    let mut names: Vec<&[u8]> = list.split_inclusive(|&byte| byte == 0).collect();
    names.sort_unstable();
    Outcome::Bytes(names.concat())
}

/// Makes a call on a path, from a directory, which is the working directory.
pub(crate) fn at_real_path(dir: c_int, path: &[u8], what: &AtPath) -> Result<Outcome, i32> {
    let text = string(path);
    let path = text.as_ptr();
    // SAFETY: the paths are C strings, and the structures are valid.
    unsafe {
        match what {
            AtPath::Attribute { follow, what } => {
                let Some(path) = from_anywhere(dir, &text) else { return Ok(Outcome::Skipped) };
                return on_file(&File::At(path, *follow), what);
            }
            AtPath::MakeNode(mode) => result(libc::mknodat(dir, path, *mode, 0).into())?,
            AtPath::SetTimes { times, flags } => {
                let pair = times.map(|(tv_sec, tv_nsec)| libc::timespec { tv_sec, tv_nsec });
                result(libc::utimensat(dir, path, pair.as_ptr(), *flags).into())?;
                let mut stat = std::mem::zeroed::<libc::stat>();
                if libc::fstatat(dir, path, &raw mut stat, *flags) != 0 {
                    return Ok(Outcome::Done);
                }
                return Ok(shown_times(&stat, times));
            }
            AtPath::Statx { flags, mask } => {
                let mut stat = std::mem::zeroed::<libc::statx>();
                result(libc::statx(dir, path, *flags, *mask, &raw mut stat).into())?
            }
            AtPath::Access { mode, flags } => {
                let number = libc::syscall(libc::SYS_faccessat2, dir, path, *mode, *flags);
                result(number)?
            }
        };
    }
    Ok(Outcome::Done)
}

/// A path for the calls that have no form with a directory. Only the simulated working directory
/// can be changed: the real one is that of all tests.
fn from_anywhere(dir: c_int, path: &CString) -> Option<CString> {
    const FIRST_SIMULATED: c_int = 1 << 20;
    const PREFIX_MAX: usize = 64;
    let length = path.count_bytes();
    if length > libc::PATH_MAX as usize - PREFIX_MAX || path.as_bytes().starts_with(b"/") {
        return None;
    }
    if dir >= FIRST_SIMULATED {
        // SAFETY: the call takes any number.
        let changed = unsafe { libc::fchdir(dir) } == 0;
        return changed.then(|| path.clone());
    }
    // SAFETY: all zeros are a valid value, and the kernel fills it in.
    let is_directory = unsafe {
        let mut stat = std::mem::zeroed::<libc::stat>();
        libc::fstat(dir, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFDIR
    };
    let prefix = format!("/proc/self/fd/{dir}/").into_bytes();
    let whole = if length == 0 { Vec::new() } else { [&prefix, path.as_bytes()].concat() };
    is_directory.then(|| string(&whole))
}

/// The times of a file that were set.
fn shown_times(stat: &libc::stat, given: &[(i64, i64); 2]) -> Outcome {
    let shown = [(stat.st_atime, stat.st_atime_nsec), (stat.st_mtime, stat.st_mtime_nsec)];
    let set = shown.iter().zip(given).filter(|(_, given)| given.1 != libc::UTIME_OMIT);
    let bytes =
        |(seconds, nanos): &(i64, i64)| [seconds.to_le_bytes(), nanos.to_le_bytes()].concat();
    Outcome::Bytes(set.flat_map(|(shown, _)| bytes(shown)).collect())
}

fn part(buffer: &mut Aligned) -> libc::iovec {
    let bytes = buffer.bytes();
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

/// Makes a call on an open file.
pub(crate) fn at_real_slot(fd: c_int, what: &AtSlot) -> Result<Outcome, i32> {
    // SAFETY: the buffers have the sizes that are given, and the pointers are to our own values.
    unsafe {
        let done = match what {
            AtSlot::Attribute(what) => return on_file(&File::Open(fd), what),
            AtSlot::ReadWith { parts, offset, flags } => {
                let mut space = parts.map(Aligned::new);
                let list = space.each_mut().map(part);
                let read = result(libc::preadv2(fd, list.as_ptr(), 2, *offset, *flags) as i64)?;
                let mut bytes: Vec<u8> =
                    space.iter_mut().flat_map(|part| part.bytes().to_vec()).collect();
                bytes.truncate(read as usize);
                return Ok(Outcome::Bytes(bytes));
            }
            AtSlot::WriteWith { bytes, split, offset, flags } => {
                let (one, other) = bytes.split_at(*split);
                let mut space = [Aligned::of(one), Aligned::of(other)];
                let list = space.each_mut().map(part);
                let written = libc::pwritev2(fd, list.as_ptr(), 2, *offset, *flags);
                return Ok(Outcome::Number(result(written as i64)?));
            }
            AtSlot::Advise { offset, length, advice } => {
                match libc::posix_fadvise(fd, *offset, *length, *advice) {
                    0 => 0,
                    error => return Err(error),
                }
            }
            AtSlot::ReadAhead { length } => result(libc::readahead(fd, 0, *length) as i64)?,
            AtSlot::SyncRange { offset, length, flags } => {
                result(libc::sync_file_range(fd, *offset, *length, *flags).into())?
            }
            AtSlot::SetHint(hint) => result(libc::fcntl(fd, F_SET_RW_HINT, hint).into())?,
            AtSlot::Hint => {
                let mut hint = 0u64;
                result(libc::fcntl(fd, F_GET_RW_HINT, &raw mut hint).into())?;
                return Ok(Outcome::Number(hint));
            }
            AtSlot::Command(command) => {
                return Ok(Outcome::Number(result(libc::fcntl(fd, *command, 0).into())?));
            }
            AtSlot::Request(request) => {
                let mut answer = 0i32;
                result(libc::ioctl(fd, *request, &raw mut answer).into())?;
                return Ok(Outcome::Number(u64::from(answer.cast_unsigned())));
            }
            AtSlot::DuplicateTo { flags } => result(libc::dup3(fd, fd, *flags).into())?,
        };
        debug_assert_eq!(done, 0);
    }
    Ok(Outcome::Done)
}

fn inode(fd: c_int) -> u64 {
    // SAFETY: all zeros are a valid value, and the kernel fills it in.
    unsafe {
        let mut stat = std::mem::zeroed::<libc::stat>();
        libc::fstat(fd, &raw mut stat);
        stat.st_ino
    }
}

/// Copies between two open files.
pub(crate) fn real_copy(from: c_int, to: c_int, what: &Copy) -> Result<Outcome, i32> {
    let (mut from_at, mut to_at) = (what.from_at.unwrap_or(0), what.to_at.unwrap_or(0));
    let source = if what.from_at.is_some() { &raw mut from_at } else { std::ptr::null_mut() };
    let target = if what.to_at.is_some() { &raw mut to_at } else { std::ptr::null_mut() };
    if what.sends && inode(from) == inode(to) {
        // What the kernel does depends on the size of its pipe.
        return Ok(Outcome::Skipped);
    }
    // SAFETY: the offsets are ours, or null.
    let copied = unsafe {
        if what.sends {
            libc::sendfile(to, from, source, what.length)
        } else {
            libc::copy_file_range(from, source, to, target, what.length, what.flags)
        }
    };
    Ok(Outcome::Number(result(copied as i64)?))
}
