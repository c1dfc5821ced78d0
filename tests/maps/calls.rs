//! Random calls on files and maps, which a simulated and a real directory can both run.
#![expect(unsafe_code, reason = "maps have no safe form")]

use std::ffi::CString;
use std::io::Error;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::{prop_oneof, sample};

use crate::probe;

/// Bytes in a page.
const PAGE: usize = 4096;
/// Pages of the range of addresses in which all maps are.
const ARENA: usize = 96;
/// Pages that a file may have.
const FILE: usize = 40;

/// One call. Descriptors are counted modulo those that are open, addresses in pages of the arena.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Open { file: u8, flags: i32 },
    Close(usize),
    Write { slot: usize, offset: usize, length: usize, seed: u8 },
    Read { slot: usize, offset: usize, length: usize },
    Truncate { slot: usize, size: usize },
    Allocate { slot: usize, mode: i32, offset: usize, length: usize },
    Unlink(u8),
    Map { slot: usize, at: usize, pages: usize, offset: usize, protection: i32, flags: i32 },
    Unmap { at: usize, pages: usize },
    Protect { at: usize, pages: usize, protection: i32 },
    Move { at: usize, pages: usize, to: usize, new_pages: usize },
    Grow { at: usize, pages: usize, new_pages: usize },
    Sync { at: usize, pages: usize, flags: i32 },
    Advise { at: usize, pages: usize, advice: i32 },
    Lock { at: usize, pages: usize },
    Store { at: usize, offset: usize, length: usize, seed: u8 },
    Load { at: usize, offset: usize, length: usize },
    ReadInto { slot: usize, offset: usize, at: usize, length: usize },
    WriteFrom { slot: usize, offset: usize, at: usize, length: usize },
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Skipped,
    Number(i64),
    Failed(i32),
    Bytes(Vec<u8>),
    /// An access faulted with this signal, after this many bytes.
    Fault(i32, usize),
}

fn at() -> impl Strategy<Value = usize> {
    0..ARENA - FILE
}

fn pages() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..5usize, 2 => 1..20usize, 1 => Just(FILE)]
}

fn offset() -> impl Strategy<Value = usize> {
    prop_oneof![2 => 0..FILE * PAGE, 1 => (0..FILE).prop_map(|page| page * PAGE)]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..600usize, 1 => 1..30_000usize]
}

fn protection() -> impl Strategy<Value = i32> {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    sample::select(vec![both, both, both, libc::PROT_READ, libc::PROT_NONE, libc::PROT_WRITE])
}

fn on_files() -> impl Strategy<Value = Call> {
    let flags = sample::select(vec![libc::O_RDWR, libc::O_RDWR, libc::O_RDONLY, libc::O_WRONLY]);
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let modes = sample::select(vec![0, libc::FALLOC_FL_KEEP_SIZE, punch, punch]);
    let slot = || any::<usize>();
    prop_oneof![
        3 => (0..2u8, flags).prop_map(|(file, flags)| Call::Open { file, flags }),
        1 => slot().prop_map(Call::Close),
        8 => (slot(), offset(), length(), any::<u8>())
            .prop_map(|(slot, offset, length, seed)| Call::Write { slot, offset, length, seed }),
        8 => (slot(), offset(), length())
            .prop_map(|(slot, offset, length)| Call::Read { slot, offset, length }),
        5 => (slot(), offset()).prop_map(|(slot, size)| Call::Truncate { slot, size }),
        2 => (slot(), modes, offset(), length())
            .prop_map(|(slot, mode, offset, length)| Call::Allocate { slot, mode, offset, length }),
        1 => (0..2u8).prop_map(Call::Unlink),
    ]
}

fn on_maps() -> impl Strategy<Value = Call> {
    let kinds = sample::select(vec![
        libc::MAP_SHARED,
        libc::MAP_SHARED,
        libc::MAP_PRIVATE,
        libc::MAP_SHARED_VALIDATE,
        libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
        libc::MAP_SHARED | libc::MAP_POPULATE,
        0,
    ]);
    let syncs = sample::select(vec![
        libc::MS_SYNC,
        libc::MS_ASYNC,
        libc::MS_SYNC | libc::MS_INVALIDATE,
        libc::MS_SYNC | libc::MS_ASYNC,
        0,
        64,
    ]);
    let advices = sample::select(vec![
        libc::MADV_DONTNEED,
        libc::MADV_DONTNEED,
        libc::MADV_REMOVE,
        libc::MADV_FREE,
        libc::MADV_WILLNEED,
        libc::MADV_POPULATE_READ,
        libc::MADV_POPULATE_WRITE,
        77,
    ]);
    let map_offset = (0..FILE, 0..20u8).prop_map(|(page, odd)| match odd {
        0 => page * PAGE + 1,
        1 => i64::MAX as usize & !(PAGE - 1),
        _ => page * PAGE,
    });
    prop_oneof![
        6 => (any::<usize>(), at(), pages(), map_offset, protection(), kinds).prop_map(
            |(slot, at, pages, offset, protection, flags)| {
                Call::Map { slot, at, pages, offset, protection, flags }
            }
        ),
        2 => (at(), pages()).prop_map(|(at, pages)| Call::Unmap { at, pages }),
        4 => (at(), pages(), protection())
            .prop_map(|(at, pages, protection)| Call::Protect { at, pages, protection }),
        3 => (at(), pages(), at(), pages(), any::<bool>()).prop_map(
            |(at, pages, to, new_pages, same)| {
                Call::Move { at, pages, to, new_pages: if same { pages } else { new_pages } }
            }
        ),
        2 => (at(), pages(), pages())
            .prop_map(|(at, pages, new_pages)| Call::Grow { at, pages, new_pages }),
        3 => (at(), pages(), syncs).prop_map(|(at, pages, flags)| Call::Sync { at, pages, flags }),
        3 => (at(), pages(), advices)
            .prop_map(|(at, pages, advice)| Call::Advise { at, pages, advice }),
        1 => (at(), pages()).prop_map(|(at, pages)| Call::Lock { at, pages }),
    ]
}

fn on_memory() -> impl Strategy<Value = Call> {
    let byte = || 0..PAGE;
    // From one page to another: what a copy onto itself gives is not defined.
    let page = || (0..FILE).prop_map(|page| page * PAGE);
    prop_oneof![
        5 => (at(), byte(), length(), any::<u8>())
            .prop_map(|(at, offset, length, seed)| Call::Store { at, offset, length, seed }),
        5 => (at(), byte(), length())
            .prop_map(|(at, offset, length)| Call::Load { at, offset, length }),
        1 => (any::<usize>(), page(), at(), byte())
            .prop_map(|(slot, offset, at, length)| Call::ReadInto { slot, offset, at, length }),
        1 => (any::<usize>(), page(), at(), byte())
            .prop_map(|(slot, offset, at, length)| Call::WriteFrom { slot, offset, at, length }),
    ]
}

/// A sequence of calls, which begins with two files that are mapped.
pub(crate) fn calls() -> impl Strategy<Value = Vec<Call>> {
    let map = |slot, at, offset| Call::Map {
        slot,
        at,
        pages: 12,
        offset,
        protection: libc::PROT_READ | libc::PROT_WRITE,
        flags: libc::MAP_SHARED,
    };
    let first = vec![
        Call::Open { file: 0, flags: libc::O_RDWR },
        Call::Open { file: 1, flags: libc::O_RDWR },
        Call::Write { slot: 0, offset: 0, length: 30_000, seed: 7 },
        Call::Truncate { slot: 1, size: 100_000 },
        map(0, 2, 0),
        map(0, 20, PAGE),
        map(1, 40, 0),
    ];
    let one = prop_oneof![3 => on_files(), 3 => on_maps(), 5 => on_memory()];
    // A large file is loaded piece by piece.
    let large = prop_oneof![Just(0), Just(1_200_000_usize)];
    (large, vec(one, 1..60)).prop_map(move |(length, rest)| {
        let mut calls = first.clone();
        if length > 0 {
            calls.insert(2, Call::Write { slot: 0, offset: 50_000, length, seed: 3 });
        }
        calls.extend(rest);
        calls
    })
}

/// A directory, the files open in it, and the maps.
pub(crate) struct Side {
    directory: Vec<u8>,
    open: Vec<i32>,
    arena: usize,
}

fn filled(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at / 97) as u8 ^ seed).collect()
}

fn failed() -> Outcome {
    Outcome::Failed(Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn number(result: i64) -> Outcome {
    if result < 0 { failed() } else { Outcome::Number(result) }
}

/// The place of the arena is the same on both sides up to a distance.
fn reserve(at: usize, pages: usize, fixed: i32) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed;
    let place = ptr::with_exposed_provenance_mut(at);
    // SAFETY: the address is free, or belongs to an arena.
    let base = unsafe { libc::mmap(place, pages * PAGE, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED, "{}", Error::last_os_error());
    base.expose_provenance()
}

impl Side {
    pub(crate) fn new(directory: &Path) -> Self {
        probe::prepare();
        let directory = directory.as_os_str().as_bytes().to_vec();
        Self { directory, open: Vec::new(), arena: reserve(0, 2 * ARENA, 0) }
    }

    fn path(&self, file: u8) -> CString {
        let name = format!("/f{file}");
        CString::new([&self.directory, name.as_bytes()].concat()).expect("a path")
    }

    fn fd(&self, slot: usize) -> Option<i32> {
        self.open.get(slot.checked_rem(self.open.len())?).copied()
    }

    fn place(&self, page: usize) -> *mut libc::c_void {
        ptr::with_exposed_provenance_mut(self.arena + page * PAGE)
    }

    /// Makes a call.
    pub(crate) fn call(&mut self, call: &Call) -> Outcome {
        match *call {
            Call::Open { file, flags } => {
                // SAFETY: the path is a C string.
                let fd =
                    unsafe { libc::open(self.path(file).as_ptr(), flags | libc::O_CREAT, 0o644) };
                if fd < 0 {
                    return failed();
                }
                self.open.push(fd);
                Outcome::Number(0)
            }
            Call::Unlink(file) => {
                // SAFETY: the path is a C string.
                number(unsafe { libc::unlink(self.path(file).as_ptr()) }.into())
            }
            Call::Close(slot) => {
                if self.open.len() < 2 {
                    return Outcome::Skipped;
                }
                let fd = self.open.remove(slot % self.open.len());
                // SAFETY: the descriptor is ours.
                number(unsafe { libc::close(fd) }.into())
            }
            Call::Write { slot, .. }
            | Call::Read { slot, .. }
            | Call::Truncate { slot, .. }
            | Call::Allocate { slot, .. }
            | Call::ReadInto { slot, .. }
            | Call::WriteFrom { slot, .. } => match self.fd(slot) {
                Some(fd) => self.on_file(fd, call),
                None => Outcome::Skipped,
            },
            Call::Store { at, offset, length, seed } => {
                self.store(self.arena + at * PAGE + offset, &filled(length, seed))
            }
            Call::Load { at, offset, length } => self.load(self.arena + at * PAGE + offset, length),
            _ => self.on_maps(call),
        }
    }

    /// Zeroes what was stored beyond the end of a file in its last page: real disks do it when
    /// they write the page back, at any time.
    fn write_back(fd: i32) {
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: the calls take numbers, and zero is a value of the plain structure.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(fd, &raw mut stat);
            libc::ftruncate(fd, stat.st_size);
            let page = PAGE as i64;
            libc::fallocate(fd, punch, stat.st_size, page - stat.st_size % page);
        }
    }

    fn on_file(&mut self, fd: i32, call: &Call) -> Outcome {
        Self::write_back(fd);
        // SAFETY: the buffers have the lengths that are given; memory of the arena is not used
        // through references.
        unsafe {
            match *call {
                Call::Write { offset, length, seed, .. } => {
                    let bytes = filled(length, seed);
                    number(libc::pwrite(fd, bytes.as_ptr().cast(), length, offset as i64) as i64)
                }
                Call::Read { offset, length, .. } => {
                    let mut bytes = vec![0_u8; length];
                    let read = libc::pread(fd, bytes.as_mut_ptr().cast(), length, offset as i64);
                    if read < 0 {
                        return failed();
                    }
                    bytes.truncate(read as usize);
                    Outcome::Bytes(bytes)
                }
                Call::Truncate { size, .. } => number(libc::ftruncate(fd, size as i64).into()),
                Call::Allocate { mode, offset, length, .. } => {
                    number(libc::fallocate(fd, mode, offset as i64, length as i64).into())
                }
                Call::ReadInto { offset, at, length, .. } => {
                    // An access that faults is another test's.
                    match self.store(self.arena + at * PAGE, &vec![1; length]) {
                        Outcome::Number(_) => {
                            let to = self.place(at);
                            number(libc::pread(fd, to, length, offset as i64) as i64)
                        }
                        other => other,
                    }
                }
                Call::WriteFrom { offset, at, length, .. } => {
                    match self.load(self.arena + at * PAGE, length) {
                        Outcome::Bytes(_) => {
                            let from = self.place(at);
                            number(libc::pwrite(fd, from, length, offset as i64) as i64)
                        }
                        other => other,
                    }
                }
                _ => Outcome::Skipped,
            }
        }
    }

    fn on_maps(&mut self, call: &Call) -> Outcome {
        // SAFETY: all of this is in the arena, which only raw accesses touch.
        unsafe {
            match *call {
                Call::Map { slot, at, pages, offset, protection, flags } => {
                    let Some(fd) = self.fd(slot) else { return Outcome::Skipped };
                    let (place, length) = (self.place(at), pages * PAGE);
                    let flags = flags | libc::MAP_FIXED;
                    let at = libc::mmap(place, length, protection, flags, fd, offset as i64);
                    if at == libc::MAP_FAILED { failed() } else { Outcome::Number(0) }
                }
                Call::Unmap { at, pages } => {
                    let result = libc::munmap(self.place(at), pages * PAGE);
                    reserve(self.place(at).addr(), pages, libc::MAP_FIXED);
                    number(result.into())
                }
                Call::Protect { at, pages, protection } => {
                    number(libc::mprotect(self.place(at), pages * PAGE, protection).into())
                }
                Call::Move { at, pages, to, new_pages } => {
                    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
                    let (from, new) = (self.place(at), self.place(ARENA + to));
                    let moved = libc::mremap(from, pages * PAGE, new_pages * PAGE, flags, new);
                    if moved == libc::MAP_FAILED {
                        return failed();
                    }
                    // What was moved comes back to where other calls find it.
                    reserve(from.addr(), pages, libc::MAP_FIXED);
                    let to = self.place(to);
                    let size = new_pages * PAGE;
                    let back = libc::mremap(moved, size, size, flags, to);
                    assert_eq!(back, to, "{}", Error::last_os_error());
                    reserve(moved.addr(), new_pages, libc::MAP_FIXED);
                    Outcome::Number(0)
                }
                Call::Grow { at, pages, new_pages } => {
                    let from = self.place(at);
                    if new_pages > pages {
                        libc::munmap(self.place(at + pages), (new_pages - pages) * PAGE);
                    }
                    let grown = libc::mremap(from, pages * PAGE, new_pages * PAGE, 0);
                    let result =
                        if grown == libc::MAP_FAILED { failed() } else { Outcome::Number(0) };
                    let most = pages.max(new_pages);
                    let kept = if grown == libc::MAP_FAILED { pages } else { new_pages };
                    if most > kept {
                        reserve(self.place(at + kept).addr(), most - kept, libc::MAP_FIXED);
                    }
                    result
                }
                Call::Sync { at, pages, flags } => {
                    number(libc::msync(self.place(at), pages * PAGE, flags).into())
                }
                Call::Advise { at, pages, advice } => {
                    number(libc::madvise(self.place(at), pages * PAGE, advice).into())
                }
                Call::Lock { at, pages } => {
                    number(libc::munlock(self.place(at), pages * PAGE).into())
                }
                _ => Outcome::Skipped,
            }
        }
    }

    fn store(&self, at: usize, bytes: &[u8]) -> Outcome {
        for (done, &byte) in bytes.iter().enumerate() {
            if let Err(signal) = probe::store(at + done, byte) {
                return Outcome::Fault(signal, done);
            }
        }
        Outcome::Number(0)
    }

    fn load(&self, at: usize, length: usize) -> Outcome {
        let mut bytes = Vec::new();
        for done in 0..length {
            match probe::load(at + done) {
                Ok(byte) => bytes.push(byte),
                Err(signal) => return Outcome::Fault(signal, done),
            }
        }
        Outcome::Bytes(bytes)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // SAFETY: the descriptors and the arena are ours.
        unsafe {
            for &fd in &self.open {
                libc::close(fd);
            }
            libc::munmap(self.place(0), 2 * ARENA * PAGE);
        }
    }
}
