//! Random calls that both the simulated and the real disk can run.

use std::collections::BTreeMap;

use super::rarer::{Rarer, on_ext4, rarer};
use crashpoint::inner::disk::effect::Kind;
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::{prop_oneof, sample};

/// The index of the open descriptor that a call uses, modulo the number of them.
pub(crate) type Slot = usize;

/// Where a relative path starts: 0 is the working directory, others are open descriptors.
pub(crate) type Base = usize;

/// The bytes of a path.
pub(crate) type Path = Vec<u8>;

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// On a path.
    Path { base: Base, path: Path, what: OnPath },
    /// On two paths.
    Paths { from: Base, old: Path, to: Base, new: Path, what: OnPaths },
    /// On the bytes of an open file.
    Bytes { slot: Slot, what: OnBytes },
    /// On a descriptor.
    Slot { slot: Slot, what: OnSlot },
    /// A rarer call.
    Rarer(Rarer),
}

#[derive(Clone, Debug)]
pub(crate) enum OnPath {
    Open {
        flags: i32,
        mode: u32,
    },
    Stat {
        follow: bool,
    },
    Mkdir(u32),
    Rmdir,
    Unlink,
    Symlink {
        target: Path,
    },
    Readlink,
    Access(i32),
    Chmod(u32),
    SetTimes {
        follow: bool,
    },
    RealPath,
    /// `linkat` of an open descriptor.
    LinkHandle(Slot),
}

#[derive(Clone, Debug)]
pub(crate) enum OnPaths {
    Rename { flags: u32 },
    Link { follow: bool },
}

#[derive(Clone, Debug)]
pub(crate) enum OnBytes {
    Read { length: usize },
    ReadAt { length: usize, offset: i64 },
    Write { bytes: Vec<u8> },
    WriteAt { bytes: Vec<u8>, offset: i64 },
    Seek { offset: i64, whence: i32 },
    Truncate { size: i64 },
    Allocate { mode: i32, offset: i64, length: i64 },
}

#[derive(Clone, Debug)]
pub(crate) enum OnSlot {
    Close,
    Dup,
    Stat,
    List,
    Flags,
    SetFlags(i32),
    Chmod(u32),
    SetTimes { omit: bool },
    Flock(i32),
}

/// The outcome of a call: the same on both disks, or one of them is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed(i32),
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    /// A directory's size depends on the file system, so it is not compared.
    Stat {
        kind: Kind,
        mode: u32,
        nlink: u64,
        size: Option<u64>,
    },
    Listed(BTreeMap<Vec<u8>, Kind>),
    /// There was no descriptor to call it on.
    Skipped,
}

/// How deep the working directory of both sides must be, in directories named `n`, so that no call
/// leaves the real one: every step up takes a `..` in a path or in a link's target. The spare
/// levels are for a link that climbs twice because it was moved in between.
pub(crate) fn depth(calls: &[Call]) -> usize {
    const SPARE: usize = 4;
    let steps = |path: &Path| path.split(|&b| b == b'/').filter(|name| *name == b"..").count();
    let all = calls.iter().map(|call| match call {
        Call::Path { path, what: OnPath::Symlink { target }, .. } => steps(path) + steps(target),
        Call::Path { path, .. } => steps(path),
        Call::Paths { old, new, .. } => steps(old) + steps(new),
        Call::Rarer(Rarer::Path { path, .. }) => steps(path),
        Call::Bytes { .. } | Call::Slot { .. } | Call::Rarer(_) => 0,
    });
    SPARE + all.sum::<usize>()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let usual = sample::select(vec!["a", "b", "c", "d"]).prop_map(|name| name.into());
    let odd = prop_oneof![
        Just(b".".to_vec()),
        Just(vec![b'x'; 255]),
        Just(vec![b'x'; 256]),
        Just(b"\xff \n".to_vec()),
    ];
    prop_oneof![30 => usual, 1 => odd]
}

pub(crate) fn path() -> BoxedStrategy<Path> {
    let usual = (0..20u8, vec(name(), 1..4), 0..20u8).prop_map(|(start, names, end)| {
        let mut path = if start == 0 { b"../".to_vec() } else { Vec::new() };
        path.extend(names.join(&b"/"[..]));
        path.extend_from_slice(match end {
            0 | 1 => b"/",
            2 => b"//",
            3 => b"/.",
            _ => b"",
        });
        path
    });
    let one = name();
    let odd = prop_oneof![
        3 => Just(b".".to_vec()),
        2 => Just(b"..".to_vec()),
        1 => Just(b"".to_vec()),
        1 => Just(b"./".to_vec()),
        1 => Just(b"./".repeat(2048)),
        1 => Just([&b"./".repeat(2047)[..], b"a"].concat()),
    ];
    prop_oneof![20 => usual, 20 => one, 2 => odd].boxed()
}

fn base() -> impl Strategy<Value = Base> {
    prop_oneof![3 => Just(0), 1 => 1..8usize]
}

fn slot() -> impl Strategy<Value = Slot> {
    0..8usize
}

fn flags() -> impl Strategy<Value = i32> {
    let access = sample::select(vec![libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
    let other = vec(
        sample::select(vec![
            libc::O_CREAT,
            libc::O_CREAT,
            libc::O_CREAT,
            libc::O_CREAT,
            libc::O_EXCL,
            libc::O_TRUNC,
            libc::O_APPEND,
            libc::O_DIRECTORY,
            libc::O_NOFOLLOW,
            libc::O_PATH,
            libc::O_CLOEXEC,
            libc::O_NONBLOCK,
            libc::O_TMPFILE,
            // A tmpfs asks for no alignment.
            if on_ext4().is_some() { libc::O_DIRECT } else { 0 },
        ]),
        0..4,
    );
    (access, other).prop_map(|(access, other)| other.into_iter().fold(access, |all, one| all | one))
}

/// Permission bits of a new file.
fn file_mode() -> impl Strategy<Value = u32> {
    sample::select(vec![0o644, 0o600, 0o755, 0o700])
}

/// Permission bits that leave a directory usable, since the tests need not run as root.
fn mode() -> impl Strategy<Value = u32> {
    sample::select(vec![0o755, 0o700, 0o750])
}

/// Few offsets, so that ranges meet, on both sides of page boundaries.
pub(crate) fn offset() -> BoxedStrategy<i64> {
    prop_oneof![
        4 => 0..64i64,
        4 => (0..6i64, -2..3i64).prop_map(|(page, by)| (page * 4096 + by).max(0)),
        4 => 0..30_000i64,
        1 => 0..3_000_000i64,
    ]
    .boxed()
}

fn any_offset() -> BoxedStrategy<i64> {
    prop_oneof![30 => offset(), 1 => Just(-1), 1 => Just(i64::MAX), 1 => Just(i64::MIN)].boxed()
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0), 10 => 1..200usize, 5 => 1..20_000usize]
}

pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    (length(), any::<u8>()).prop_map(|(length, seed)| {
        (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    })
}

/// Calls that move bytes. There is no sync: a real one is slow and has no visible outcome.
fn on_bytes() -> BoxedStrategy<OnBytes> {
    let whence = sample::select(vec![
        libc::SEEK_SET,
        libc::SEEK_CUR,
        libc::SEEK_END,
        libc::SEEK_DATA,
        libc::SEEK_HOLE,
    ]);
    let away = prop_oneof![20 => offset(), 20 => -5000..5000i64, 1 => Just(i64::MIN)];
    let zero = libc::FALLOC_FL_ZERO_RANGE;
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let punch = libc::FALLOC_FL_PUNCH_HOLE;
    let collapse = libc::FALLOC_FL_COLLAPSE_RANGE | keep;
    let modes = vec![0, keep, keep | punch, zero, zero | keep, punch, collapse, 1 << 20];
    let modes = sample::select(modes);
    prop_oneof![
        12 => length().prop_map(|length| OnBytes::Read { length }),
        6 => (length(), any_offset())
            .prop_map(|(length, offset)| OnBytes::ReadAt { length, offset }),
        24 => bytes().prop_map(|bytes| OnBytes::Write { bytes }),
        12 => (bytes(), any_offset())
            .prop_map(|(bytes, offset)| OnBytes::WriteAt { bytes, offset }),
        18 => (away, whence).prop_map(|(offset, whence)| OnBytes::Seek { offset, whence }),
        9 => offset().prop_map(|size| OnBytes::Truncate { size }),
        12 => (modes, offset(), offset())
            .prop_map(|(mode, offset, length)| OnBytes::Allocate { mode, offset, length }),
    ]
    .boxed()
}

/// Other calls on descriptors.
fn on_slot() -> BoxedStrategy<OnSlot> {
    let all = libc::O_APPEND | libc::O_NONBLOCK | libc::O_RDWR | libc::O_CREAT;
    let flags = sample::select(vec![0, libc::O_APPEND, all]);
    let op = sample::select(vec![
        libc::LOCK_SH | libc::LOCK_NB,
        libc::LOCK_EX | libc::LOCK_NB,
        libc::LOCK_UN,
    ]);
    prop_oneof![
        6 => Just(OnSlot::Close),
        2 => Just(OnSlot::Dup),
        3 => Just(OnSlot::Stat),
        3 => Just(OnSlot::List),
        2 => Just(OnSlot::Flags),
        1 => flags.prop_map(OnSlot::SetFlags),
        1 => mode().prop_map(OnSlot::Chmod),
        1 => any::<bool>().prop_map(|omit| OnSlot::SetTimes { omit }),
        4 => op.prop_map(OnSlot::Flock),
    ]
    .boxed()
}

/// Calls that look up paths, or change the inodes that they lead to.
fn on_path() -> BoxedStrategy<OnPath> {
    prop_oneof![
        10 => (flags(), file_mode()).prop_map(|(flags, mode)| OnPath::Open { flags, mode }),
        3 => any::<bool>().prop_map(|follow| OnPath::Stat { follow }),
        5 => mode().prop_map(OnPath::Mkdir),
        2 => Just(OnPath::Rmdir),
        2 => Just(OnPath::Unlink),
        4 => path().prop_map(|target| OnPath::Symlink { target }),
        1 => Just(OnPath::Readlink),
        1 => (0..9i32).prop_map(OnPath::Access),
        1 => mode().prop_map(OnPath::Chmod),
        1 => any::<bool>().prop_map(|follow| OnPath::SetTimes { follow }),
        2 => Just(OnPath::RealPath),
        2 => slot().prop_map(OnPath::LinkHandle),
    ]
    .boxed()
}

fn on_paths() -> BoxedStrategy<OnPaths> {
    let flags = sample::select(vec![0, 0, 0, libc::RENAME_NOREPLACE, libc::RENAME_EXCHANGE, 3]);
    prop_oneof![
        2 => flags.prop_map(|flags| OnPaths::Rename { flags }),
        1 => any::<bool>().prop_map(|follow| OnPaths::Link { follow }),
    ]
    .boxed()
}

/// One call of any kind.
pub(crate) fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        14 => (base(), path(), on_path())
            .prop_map(|(base, path, what)| Call::Path { base, path, what }),
        5 => (base(), path(), base(), path(), on_paths())
            .prop_map(|(from, old, to, new, what)| Call::Paths { from, old, to, new, what }),
        9 => (slot(), on_bytes()).prop_map(|(slot, what)| Call::Bytes { slot, what }),
        3 => (slot(), on_slot()).prop_map(|(slot, what)| Call::Slot { slot, what }),
        9 => rarer(base(), || slot().boxed()).prop_map(Call::Rarer),
    ]
}

/// The open descriptors of a side, in the order in which they were opened.
pub(crate) struct Slots<T>(pub(crate) Vec<T>);

impl<T> Slots<T> {
    /// The index of a slot in the list, if anything is open.
    pub(crate) fn index(&self, slot: Slot) -> Option<usize> {
        slot.checked_rem(self.0.len())
    }

    /// The descriptor of a base; `None` for the working directory.
    pub(crate) fn base(&self, base: Base) -> Option<&T> {
        self.0.get(self.index(base.checked_sub(1)?)?)
    }
}
