//! GDBM, by its C interface: puts are in the cache, `sync` is its `gdbm_sync`.
//!
//! It overwrites its file in place. Only its "crash tolerance" (`gdbm_failure_atomic`), which needs
//! a file system with reflinks, "guarantees that a logically consistent recent state of application
//! data can be recovered following a crash" (its manual, "Crash Tolerance"). Debian's build has it,
//! and the simulated disk has no reflinks. So a crash loses and mixes what it likes: `corpus/` has
//! the ways as known findings.

#![allow(unsafe_code, reason = "the engine's C interface")]

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::null;

use crashpoint::{Bytes, Entry, Error, Level, Store};

use crate::{c, store};

type File = *mut c_void;

/// `datum`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Datum {
    data: *mut u8,
    size: c_int,
}

const WRITER_CREATES: c_int = 2;
const NOMMAP: c_int = 0x80;
const REPLACE: c_int = 1;
const ITEM_NOT_FOUND: c_int = 15;

unsafe extern "C" {
    fn gdbm_open(
        path: *const c_char,
        block: c_int,
        flags: c_int,
        mode: c_int,
        fatal: *const c_void,
    ) -> File;
    fn gdbm_close(file: File) -> c_int;
    fn gdbm_store(file: File, key: Datum, value: Datum, flag: c_int) -> c_int;
    fn gdbm_delete(file: File, key: Datum) -> c_int;
    fn gdbm_fetch(file: File, key: Datum) -> Datum;
    fn gdbm_firstkey(file: File) -> Datum;
    fn gdbm_nextkey(file: File, key: Datum) -> Datum;
    fn gdbm_sync(file: File) -> c_int;
    fn gdbm_errno_location() -> *const c_int;
    fn gdbm_strerror(error: c_int) -> *const c_char;
    fn free(memory: *mut c_void);
}

/// How a file is opened.
pub(crate) trait Mode: 'static {
    const NAME: &'static str;
    const FLAGS: c_int;
}

pub(crate) struct Mapped;
impl Mode for Mapped {
    const NAME: &'static str = "gdbm";
    const FLAGS: c_int = 0;
}

pub(crate) struct Unmapped;
impl Mode for Unmapped {
    const NAME: &'static str = "gdbm-nommap";
    const FLAGS: c_int = NOMMAP;
}

/// A sim for each mode.
pub(crate) fn sims() -> Vec<Entry> {
    vec![store::<Gdbm<Mapped>>(), store::<Gdbm<Unmapped>>()]
}

/// One file.
pub(crate) struct Gdbm<M> {
    file: File,
    mode: PhantomData<M>,
}

fn datum(bytes: &[u8]) -> Datum {
    Datum { data: bytes.as_ptr().cast_mut(), size: bytes.len() as c_int }
}

fn code() -> c_int {
    // SAFETY: it is the address of the thread's own error number.
    unsafe { *gdbm_errno_location() }
}

fn error() -> Error {
    // SAFETY: the message is a constant that ends with a zero byte.
    unsafe { c::text(gdbm_strerror(code())) }.into()
}

fn checked(code: c_int) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(error()) }
}

/// A copy of an item that GDBM allocated, which is freed; `None` if there is none.
///
/// # Safety
/// The datum is one that GDBM returned, and is not used again.
unsafe fn taken(datum: Datum) -> Option<Vec<u8>> {
    if datum.data.is_null() {
        return None;
    }
    // SAFETY: the caller says that GDBM returned it: memory from `malloc` of this size.
    unsafe {
        let bytes = c::bytes(datum.data, datum.size as usize);
        free(datum.data.cast());
        Some(bytes)
    }
}

impl<M: Mode> Store for Gdbm<M> {
    const NAME: &'static str = M::NAME;
    const WRITES: Level = Level::Buffered;
    // It writes its header in place, with several calls.
    const CREATED_APART: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = c::path(&dir.join("store.gdbm"))?;
        let flags = WRITER_CREATES | M::FLAGS;
        // SAFETY: the path ends with a zero byte; no function for fatal errors is the default.
        let file = unsafe { gdbm_open(path.as_ptr(), 512, flags, 0o644, null()) };
        if file.is_null() { Err(error()) } else { Ok(Self { file, mode: PhantomData }) }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        // SAFETY: the file is open; GDBM only reads the slices, within their lengths.
        checked(unsafe { gdbm_store(self.file, datum(key), datum(value), REPLACE) })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        // SAFETY: as in `put`.
        match unsafe { gdbm_delete(self.file, datum(key)) } {
            0 => Ok(()),
            _ if code() == ITEM_NOT_FOUND => Ok(()),
            _ => Err(error()),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        // SAFETY: the file is open.
        checked(unsafe { gdbm_sync(self.file) })
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut items = Vec::new();
        // SAFETY: the file is open. Each datum is GDBM's, and freed after its last use.
        unsafe {
            let mut next = taken(gdbm_firstkey(self.file));
            while let Some(key) = next {
                let value = taken(gdbm_fetch(self.file, datum(&key))).ok_or_else(error)?;
                next = taken(gdbm_nextkey(self.file, datum(&key)));
                items.push((key, value));
            }
        }
        if code() == ITEM_NOT_FOUND { Ok(items) } else { Err(error()) }
    }
}

impl<M> Drop for Gdbm<M> {
    fn drop(&mut self) {
        // SAFETY: it is GDBM's own, and closed once.
        unsafe { gdbm_close(self.file) };
    }
}
