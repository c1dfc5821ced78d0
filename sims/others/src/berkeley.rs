//! Berkeley DB, transactional: each put is a transaction, durable when it returns.

#![allow(unsafe_code, reason = "the engine's C interface")]

use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::null_mut;

use crashpoint::{Bytes, Entry, Error, Level, Profile, Store, TearRule};

use crate::{c, store};

type Env = *mut c_void;
type Db = *mut c_void;
type Each = unsafe extern "C" fn(*mut c_void, *const u8, u32, *const u8, u32);

// `berkeley.c`.
unsafe extern "C" {
    fn bdb_open(
        home: *const c_char,
        private: c_int,
        page: u32,
        env: &mut Env,
        db: &mut Db,
    ) -> c_int;
    fn bdb_put(db: Db, key: *const u8, key_len: u32, value: *const u8, value_len: u32) -> c_int;
    fn bdb_delete(db: Db, key: *const u8, key_len: u32) -> c_int;
    fn bdb_checkpoint(env: Env) -> c_int;
    fn bdb_scan(db: Db, to: *mut c_void, each: Each) -> c_int;
    fn bdb_close(env: Env, db: Db);
    fn db_strerror(error: c_int) -> *const c_char;
}

/// How an environment is opened.
pub(crate) trait Mode: 'static {
    const NAME: &'static str;
    /// Whether its regions are in memory of the process, and not in mapped files.
    const PRIVATE: bool;
    const PAGE: u32;
    const PROFILES: &'static [Profile];
}

/// It syncs no directory: its fsync "must guarantee that all the information necessary for a file's
/// recoverability has been written to stable storage" (Programmer's Reference, "Berkeley DB
/// recoverability"), the name included. On `posix` it does not.
///
/// Nor does it recover a page of which a part was written: pages must be written whole, as a sector
/// is.
const SECTOR: u32 = 512;
const SYNCED_NAMES: &[Profile] =
    &[Profile::TAIL_PREFIX, Profile::EXT4, Profile::XFS, Profile::BTRFS];
/// A disk that writes a page of the database whole.
const WHOLE_PAGES: &[Profile] = &[Profile {
    name: "ext4-whole-pages",
    tear: TearRule { sector: 4096, ..Profile::EXT4.tear },
    ..Profile::EXT4
}];

macro_rules! modes {
    ($($mode:ident $name:literal $private:literal $page:expr, $profiles:ident)*) => {
        $(pub(crate) struct $mode;
        impl Mode for $mode {
            const NAME: &'static str = $name;
            const PRIVATE: bool = $private;
            const PAGE: u32 = $page;
            const PROFILES: &'static [Profile] = $profiles;
        })*

        /// A sim for each mode.
        pub(crate) fn sims() -> Vec<Entry> {
            vec![$(store::<Berkeley<$mode>>()),*]
        }
    };
}

modes! {
    Shared "berkeley" false SECTOR, SYNCED_NAMES
    Private "berkeley-private" true SECTOR, SYNCED_NAMES
    SharedPages "berkeley-pages" false 4096, WHOLE_PAGES
}

/// An environment with one database.
pub(crate) struct Berkeley<M> {
    env: Env,
    db: Db,
    mode: PhantomData<M>,
}

fn checked(code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the message is a constant, or in a buffer of the library, and ends with a zero byte.
    Err(unsafe { c::text(db_strerror(code)) }.into())
}

/// Pushes an item to the list at `to`.
///
/// # Safety
/// `to` is a `Vec` of items that nothing else uses, and the slices are readable.
unsafe extern "C" fn push(
    to: *mut c_void,
    key: *const u8,
    key_len: u32,
    value: *const u8,
    value_len: u32,
) {
    // SAFETY: `bdb_scan` passes on the `to` of `scan`, and items as their cursor shows them.
    unsafe {
        let items = &mut *to.cast::<Vec<(Bytes, Bytes)>>();
        items.push((c::bytes(key, key_len as usize), c::bytes(value, value_len as usize)));
    }
}

impl<M: Mode> Store for Berkeley<M> {
    const NAME: &'static str = M::NAME;
    const WRITES: Level = Level::Durable;
    const PROFILES: &'static [Profile] = M::PROFILES;
    // It makes the database under another name and renames it. On ext4 the fdatasync of its log
    // covers the first name alone, and recovery does not find the database.
    const CREATED_APART: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        // The regions do not survive a crash of the system, and recovery makes them anew.
        for entry in dir.read_dir()? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("__db.") {
                std::fs::remove_file(entry.path())?;
            }
        }
        let home = c::path(dir)?;
        let mut store = Self { env: null_mut(), db: null_mut(), mode: PhantomData };
        let private = c_int::from(M::PRIVATE);
        // SAFETY: the path ends with a zero byte. Handles that were made are closed by `drop`,
        // whether they are open or not, as their documentation asks for.
        let code =
            unsafe { bdb_open(home.as_ptr(), private, M::PAGE, &mut store.env, &mut store.db) };
        checked(code)?;
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (k, v) = (key.as_ptr(), value.as_ptr());
        // SAFETY: the database is open; the slices are readable for their lengths.
        checked(unsafe { bdb_put(self.db, k, key.len() as u32, v, value.len() as u32) })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        // SAFETY: as in `put`.
        checked(unsafe { bdb_delete(self.db, key.as_ptr(), key.len() as u32) })
    }

    /// A checkpoint, which writes the pages: commits are durable without it.
    fn sync(&mut self) -> Result<(), Error> {
        // SAFETY: the environment is open.
        checked(unsafe { bdb_checkpoint(self.env) })
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut items: Vec<(Bytes, Bytes)> = Vec::new();
        // SAFETY: the database is open; `push` is given `items`, which nothing else uses meanwhile.
        checked(unsafe { bdb_scan(self.db, (&raw mut items).cast(), push) })?;
        Ok(items)
    }
}

impl<M> Drop for Berkeley<M> {
    fn drop(&mut self) {
        // SAFETY: the handles are the library's own or null, and closed once.
        unsafe { bdb_close(self.env, self.db) };
    }
}
