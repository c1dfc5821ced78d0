//! SQLite, by its C interface: each put is a transaction, durable when it returns.

#![allow(unsafe_code, reason = "the engine's C interface")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{null, null_mut};

use crashpoint::{Bytes, Entry, Error, Level, Profile, Store};

use crate::{c, store};

type Db = *mut c_void;
type Statement = *mut c_void;
type Destructor = *const c_void;

const ROW: c_int = 100;
const DONE: c_int = 101;
const READ_WRITE_CREATE: c_int = 0x2 | 0x4;
/// `SQLITE_STATIC`: the bytes stay as they are until the statement is finalised.
const STATIC: Destructor = null();

unsafe extern "C" {
    fn sqlite3_open_v2(path: *const c_char, db: &mut Db, flags: c_int, vfs: *const c_char)
    -> c_int;
    fn sqlite3_close(db: Db) -> c_int;
    fn sqlite3_errmsg(db: Db) -> *const c_char;
    fn sqlite3_extended_errcode(db: Db) -> c_int;
    fn sqlite3_prepare_v2(
        db: Db,
        sql: *const c_char,
        len: c_int,
        statement: &mut Statement,
        tail: *mut *const c_char,
    ) -> c_int;
    fn sqlite3_bind_blob64(
        s: Statement,
        at: c_int,
        data: *const u8,
        len: u64,
        d: Destructor,
    ) -> c_int;
    fn sqlite3_step(statement: Statement) -> c_int;
    fn sqlite3_column_blob(statement: Statement, column: c_int) -> *const u8;
    fn sqlite3_column_bytes(statement: Statement, column: c_int) -> c_int;
    fn sqlite3_finalize(statement: Statement) -> c_int;
}

/// How a database is opened.
pub(crate) trait Mode: 'static {
    const NAME: &'static str;
    const JOURNAL: &'static str;
    const SYNCHRONOUS: &'static str = "FULL";
    const EXCLUSIVE: bool = false;
    const MMAP: bool = false;
    /// How many connections take turns.
    const CONNECTIONS: usize = 1;
    const PROFILES: &'static [Profile] = EVERYWHERE;
}

const EVERYWHERE: &[Profile] =
    &[Profile::POSIX, Profile::TAIL_PREFIX, Profile::EXT4, Profile::XFS, Profile::BTRFS];

/// Without `posix`, where a truncation may clear some blocks and keep the size: "on many modern
/// filesystems, a truncate is an atomic and synchronous operation and so we think that TRUNCATE
/// will usually be safe in the face of power failures" (atomiccommit.html, 7.6).
const WHOLE_TRUNCATIONS: &[Profile] =
    &[Profile::TAIL_PREFIX, Profile::EXT4, Profile::XFS, Profile::BTRFS];

macro_rules! modes {
    ($($mode:ident $name:literal $journal:literal { $($constant:tt)* })*) => {
        $(pub(crate) struct $mode;
        impl Mode for $mode {
            const NAME: &'static str = $name;
            const JOURNAL: &'static str = $journal;
            $($constant)*
        })*

        /// A sim for each mode.
        pub(crate) fn sims() -> Vec<Entry> {
            vec![$(store::<Sqlite<$mode>>()),*]
        }
    };
}

modes! {
    // EXTRA: "the directory containing a rollback journal is synced after that journal is unlinked
    // to commit a transaction in DELETE mode" (pragma.html).
    Delete "sqlite-delete" "DELETE" { const SYNCHRONOUS: &'static str = "EXTRA"; }
    DeleteMmap "sqlite-delete-mmap" "DELETE" {
        const SYNCHRONOUS: &'static str = "EXTRA";
        const MMAP: bool = true;
    }
    Truncate "sqlite-truncate" "TRUNCATE" {
        const PROFILES: &'static [Profile] = WHOLE_TRUNCATIONS;
    }
    TruncateMmap "sqlite-truncate-mmap" "TRUNCATE" {
        const MMAP: bool = true;
        const PROFILES: &'static [Profile] = WHOLE_TRUNCATIONS;
    }
    Persist "sqlite-persist" "PERSIST" {}
    PersistMmap "sqlite-persist-mmap" "PERSIST" { const MMAP: bool = true; }
    Wal "sqlite-wal" "WAL" {}
    WalMmap "sqlite-wal-mmap" "WAL" { const MMAP: bool = true; }
    WalTwo "sqlite-wal-two" "WAL" { const CONNECTIONS: usize = 2; }
    WalTwoMmap "sqlite-wal-two-mmap" "WAL" {
        const CONNECTIONS: usize = 2;
        const MMAP: bool = true;
    }
    WalExclusive "sqlite-wal-exclusive" "WAL" { const EXCLUSIVE: bool = true; }
    WalExclusiveMmap "sqlite-wal-exclusive-mmap" "WAL" {
        const EXCLUSIVE: bool = true;
        const MMAP: bool = true;
    }
}

/// One connection.
struct Connection(Db);

impl Connection {
    fn open(path: &CStr) -> Result<Self, Error> {
        let mut db = null_mut();
        // SAFETY: the path ends with a zero byte. The connection is closed by `drop`, whether it
        // is open or not, as its documentation asks for.
        let code = unsafe { sqlite3_open_v2(path.as_ptr(), &mut db, READ_WRITE_CREATE, null()) };
        let connection = Self(db);
        if code == 0 { Ok(connection) } else { Err(connection.error()) }
    }

    fn error(&self) -> Error {
        // SAFETY: the connection is SQLite's, and its message ends with a zero byte.
        let (text, code) =
            unsafe { (c::text(sqlite3_errmsg(self.0)), sqlite3_extended_errcode(self.0)) };
        format!("{text} ({code})").into()
    }

    /// Carries out a statement; the blobs of the first two columns of its rows.
    fn execute(&self, sql: &str, blobs: &[&[u8]]) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let sql = CString::new(sql)?;
        let (mut statement, mut rows) = (null_mut(), Vec::new());
        // SAFETY: the connection is open; the text ends with a zero byte. The blobs live until the
        // statement is finalised, which is after its last use. Columns are read while their row is
        // the current one.
        let (code, ended) = unsafe {
            let mut code = sqlite3_prepare_v2(self.0, sql.as_ptr(), -1, &mut statement, null_mut());
            for (at, blob) in (1..).zip(blobs) {
                if code == 0 {
                    let len = blob.len() as u64;
                    code = sqlite3_bind_blob64(statement, at, blob.as_ptr(), len, STATIC);
                }
            }
            while code == 0 || code == ROW {
                code = sqlite3_step(statement);
                if code == ROW {
                    let column = |at| {
                        let data = sqlite3_column_blob(statement, at);
                        c::bytes(data, sqlite3_column_bytes(statement, at) as usize)
                    };
                    rows.push((column(0), column(1)));
                }
            }
            (code, sqlite3_finalize(statement))
        };
        if code == DONE && ended == 0 { Ok(rows) } else { Err(self.error()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: it is SQLite's own, and closed once; its statements are finalised.
        unsafe { sqlite3_close(self.0) };
    }
}

/// A database with one table.
pub(crate) struct Sqlite<M> {
    connections: Vec<Connection>,
    turn: usize,
    mode: PhantomData<M>,
}

impl<M: Mode> Sqlite<M> {
    /// The connection whose turn it is.
    fn next(&mut self) -> &Connection {
        self.turn += 1;
        &self.connections[self.turn % M::CONNECTIONS]
    }
}

impl<M: Mode> Store for Sqlite<M> {
    const NAME: &'static str = M::NAME;
    const WRITES: Level = Level::Durable;
    const PROFILES: &'static [Profile] = M::PROFILES;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = c::path(&dir.join("store.db"))?;
        let mut connections = Vec::new();
        for _ in 0..M::CONNECTIONS {
            let connection = Connection::open(&path)?;
            let run = |sql: String| connection.execute(&sql, &[]);
            // Pages of two sectors, so that they tear.
            run("PRAGMA page_size = 1024".to_owned())?;
            if M::EXCLUSIVE {
                run("PRAGMA locking_mode = EXCLUSIVE".to_owned())?;
            }
            if M::MMAP {
                run(format!("PRAGMA mmap_size = {}", 256 << 20))?;
            }
            run(format!("PRAGMA journal_mode = {}", M::JOURNAL))?;
            run(format!("PRAGMA synchronous = {}", M::SYNCHRONOUS))?;
            // So that a short run has checkpoints.
            run("PRAGMA wal_autocheckpoint = 4".to_owned())?;
            run("CREATE TABLE IF NOT EXISTS items (key BLOB PRIMARY KEY, value BLOB NOT NULL)"
                .to_owned())?;
            connections.push(connection);
        }
        // A process that was killed may have left a commit in the cache that it did not sync. What
        // this one reads, and a delete of nothing acknowledges, must be durable: a commit that
        // always writes makes it so.
        connections[0].execute("PRAGMA user_version = 1", &[])?;
        Ok(Self { connections, turn: 0, mode: PhantomData })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.next().execute("INSERT OR REPLACE INTO items VALUES (?1, ?2)", &[key, value])?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.next().execute("DELETE FROM items WHERE key = ?1", &[key])?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.next().execute("SELECT key, value FROM items", &[])
    }
}
