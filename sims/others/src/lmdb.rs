//! LMDB, by its C interface: each put is a transaction.

#![allow(unsafe_code, reason = "the engine's C interface")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{null, null_mut};

use crashpoint::{Bytes, Entry, Error, Level, Profile, Store};

use crate::{c, store};

type Env = *mut c_void;
type Transaction = *mut c_void;
type Cursor = *mut c_void;

/// `MDB_val`.
#[repr(C)]
struct Val {
    size: usize,
    data: *const u8,
}

const NOSYNC: c_uint = 0x1_0000;
const RDONLY: c_uint = 0x2_0000;
const WRITEMAP: c_uint = 0x8_0000;
const CURSOR_NEXT: c_int = 8;
const NOT_FOUND: c_int = -30_798;
const MAP_FULL: c_int = -30_792;

unsafe extern "C" {
    fn mdb_strerror(error: c_int) -> *const c_char;
    fn mdb_env_create(env: &mut Env) -> c_int;
    fn mdb_env_set_mapsize(env: Env, size: usize) -> c_int;
    fn mdb_env_open(env: Env, path: *const c_char, flags: c_uint, mode: c_uint) -> c_int;
    fn mdb_env_sync(env: Env, force: c_int) -> c_int;
    fn mdb_env_close(env: Env);
    fn mdb_txn_begin(env: Env, parent: Transaction, flags: c_uint, txn: &mut Transaction) -> c_int;
    fn mdb_txn_commit(txn: Transaction) -> c_int;
    fn mdb_txn_abort(txn: Transaction);
    fn mdb_dbi_open(
        txn: Transaction,
        name: *const c_char,
        flags: c_uint,
        dbi: &mut c_uint,
    ) -> c_int;
    fn mdb_put(txn: Transaction, dbi: c_uint, key: &mut Val, val: &mut Val, flags: c_uint)
    -> c_int;
    fn mdb_del(txn: Transaction, dbi: c_uint, key: &mut Val, val: *mut Val) -> c_int;
    fn mdb_cursor_open(txn: Transaction, dbi: c_uint, cursor: &mut Cursor) -> c_int;
    fn mdb_cursor_get(cursor: Cursor, key: &mut Val, val: &mut Val, op: c_int) -> c_int;
    fn mdb_cursor_close(cursor: Cursor);
}

/// How an environment is opened.
pub(crate) trait Mode: 'static {
    const NAME: &'static str;
    const FLAGS: c_uint = 0;
    const MAP: usize = 1 << 20;
    const PROFILES: &'static [Profile] = EVERYWHERE;
}

const EVERYWHERE: &[Profile] =
    &[Profile::POSIX, Profile::TAIL_PREFIX, Profile::EXT4, Profile::XFS, Profile::BTRFS];

/// "If the filesystem preserves write order and the MDB_WRITEMAP flag is not used, transactions
/// exhibit ACI (atomicity, consistency, isolation) properties and only lose D (durability)."
/// (`lmdb.h`, `MDB_NOSYNC`; elsewhere "a system crash can then corrupt the database".)
const IN_ORDER: &[Profile] = &[Profile::TAIL_PREFIX, Profile::EXT4_JOURNAL];

macro_rules! modes {
    ($($mode:ident { $($constant:tt)* })*) => {
        $(pub(crate) struct $mode;
        impl Mode for $mode { $($constant)* })*

        /// A sim for each mode.
        pub(crate) fn sims() -> Vec<Entry> {
            vec![$(store::<Lmdb<$mode>>()),*]
        }
    };
}

modes! {
    Default { const NAME: &'static str = "lmdb"; }
    NoSync {
        const NAME: &'static str = "lmdb-nosync";
        const FLAGS: c_uint = NOSYNC;
        const PROFILES: &'static [Profile] = IN_ORDER;
    }
    WriteMap {
        const NAME: &'static str = "lmdb-writemap";
        const FLAGS: c_uint = WRITEMAP;
    }
    Large {
        const NAME: &'static str = "lmdb-256-mib";
        const MAP: usize = 256 << 20;
    }
    Huge {
        const NAME: &'static str = "lmdb-1-tib";
        const MAP: usize = 1 << 40;
    }
    HugeWriteMap {
        const NAME: &'static str = "lmdb-1-tib-writemap";
        const FLAGS: c_uint = WRITEMAP;
        const MAP: usize = 1 << 40;
    }
    // It is full after a few puts, and then given a map of twice the size.
    Resized {
        const NAME: &'static str = "lmdb-resized";
        const MAP: usize = 32 << 10;
    }
}

/// An environment with one database.
pub(crate) struct Lmdb<M> {
    env: Env,
    map: usize,
    mode: PhantomData<M>,
}

/// A call of LMDB that failed.
#[derive(Debug)]
struct Failed(c_int);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: the message is a constant, or in a buffer of LMDB, and ends with a zero byte.
        f.write_str(&unsafe { c::text(mdb_strerror(self.0)) })
    }
}

impl std::error::Error for Failed {}

fn checked(code: c_int) -> Result<(), Failed> {
    if code == 0 { Ok(()) } else { Err(Failed(code)) }
}

fn val(bytes: &[u8]) -> Val {
    Val { size: bytes.len(), data: bytes.as_ptr() }
}

impl<M: Mode> Lmdb<M> {
    /// Runs `work` in a transaction, which is committed if that succeeds.
    fn transaction<T>(
        &self,
        flags: c_uint,
        work: impl FnOnce(Transaction, c_uint) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let (mut txn, mut dbi) = (null_mut(), 0);
        // SAFETY: the environment is open.
        checked(unsafe { mdb_txn_begin(self.env, null_mut(), flags, &mut txn) })?;
        // SAFETY: the transaction has begun; no name is the main database.
        let opened = checked(unsafe { mdb_dbi_open(txn, null(), 0, &mut dbi) });
        match opened.and_then(|()| work(txn, dbi)) {
            Ok(value) => {
                // SAFETY: the transaction has begun, and is not used again.
                checked(unsafe { mdb_txn_commit(txn) })?;
                Ok(value)
            }
            Err(failed) => {
                // SAFETY: as above.
                unsafe { mdb_txn_abort(txn) };
                Err(failed)
            }
        }
    }

    /// Runs a transaction that writes; again in a map of twice the size if this one is full.
    fn write(
        &mut self,
        work: impl Fn(Transaction, c_uint) -> Result<(), Failed>,
    ) -> Result<(), Error> {
        loop {
            match self.transaction(0, &work) {
                Err(Failed(MAP_FULL)) => {
                    self.map *= 2;
                    // SAFETY: the environment is open, and no transaction is under way.
                    checked(unsafe { mdb_env_set_mapsize(self.env, self.map) })?;
                }
                done => return Ok(done?),
            }
        }
    }
}

impl<M: Mode> Store for Lmdb<M> {
    const NAME: &'static str = M::NAME;
    const WRITES: Level = if M::FLAGS & NOSYNC == 0 { Level::Durable } else { Level::Flushed };
    const PROFILES: &'static [Profile] = M::PROFILES;
    // A kill between its two meta pages leaves a file that it does not open: "MDB_INVALID: File is
    // not an LMDB file".
    const CREATED_APART: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = c::path(dir)?;
        let mut env = null_mut();
        // SAFETY: the pointer is valid for the call.
        checked(unsafe { mdb_env_create(&mut env) })?;
        let store = Self { env, map: M::MAP, mode: PhantomData };
        // SAFETY: the environment is LMDB's and not open yet; the path ends with a zero byte. It
        // is closed by `drop` whether this fails or not, as its documentation asks for.
        unsafe {
            checked(mdb_env_set_mapsize(env, M::MAP))?;
            checked(mdb_env_open(env, path.as_ptr(), M::FLAGS, 0o644))?;
            // A process that was killed may have left a commit in the cache that it did not sync.
            // What this one reads, and a delete of nothing acknowledges, must be durable.
            checked(mdb_env_sync(env, 1))?;
        }
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.write(|txn, dbi| {
            // SAFETY: the transaction has begun; the slices are readable, and LMDB only reads them.
            checked(unsafe { mdb_put(txn, dbi, &mut val(key), &mut val(value), 0) })
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        // SAFETY: as in `put`.
        self.write(|txn, dbi| match unsafe { mdb_del(txn, dbi, &mut val(key), null_mut()) } {
            NOT_FOUND => Ok(()),
            code => checked(code),
        })
    }

    fn sync(&mut self) -> Result<(), Error> {
        // SAFETY: the environment is open.
        Ok(checked(unsafe { mdb_env_sync(self.env, 1) })?)
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        Ok(self.transaction(RDONLY, |txn, dbi| {
            let (mut cursor, mut items) = (null_mut(), Vec::new());
            let (mut key, mut value) = (val(&[]), val(&[]));
            // SAFETY: the transaction has begun, and the items that a cursor shows are readable
            // until it ends. The cursor is closed before.
            unsafe {
                checked(mdb_cursor_open(txn, dbi, &mut cursor))?;
                let end = loop {
                    match mdb_cursor_get(cursor, &mut key, &mut value, CURSOR_NEXT) {
                        0 => items
                            .push((c::bytes(key.data, key.size), c::bytes(value.data, value.size))),
                        code => break code,
                    }
                };
                mdb_cursor_close(cursor);
                if end == NOT_FOUND { Ok(items) } else { Err(Failed(end)) }
            }
        })?)
    }
}

impl<M> Drop for Lmdb<M> {
    fn drop(&mut self) {
        // SAFETY: it is LMDB's own, and closed once; no transaction is under way.
        unsafe { mdb_env_close(self.env) };
    }
}
