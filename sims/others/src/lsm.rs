//! LevelDB and RocksDB, by their C interfaces, which differ in their prefix.

#![allow(unsafe_code, reason = "the engines' C interfaces")]

use std::ffi::{c_char, c_uchar, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use crashpoint::{Bytes, Error, Level, Profile, Store};

use crate::c;

/// An object of the library.
type Object = *mut c_void;
/// Where a call that failed leaves a message from `malloc`.
type Message<'a> = &'a mut *mut c_char;

type Create = unsafe extern "C" fn() -> Object;
type Call = unsafe extern "C" fn(Object);
type SetFlag = unsafe extern "C" fn(Object, c_uchar);

/// The functions that both libraries have, with the same meaning.
pub(crate) struct Functions {
    options: (Create, Call),
    create_if_missing: SetFlag,
    write_buffer_size: unsafe extern "C" fn(Object, usize),
    write_options: (Create, Call),
    set_sync: SetFlag,
    read_options: (Create, Call),
    verify_checksums: SetFlag,
    open: unsafe extern "C" fn(Object, *const c_char, Message<'_>) -> Object,
    close: Call,
    put: unsafe extern "C" fn(Object, Object, *const u8, usize, *const u8, usize, Message<'_>),
    delete: unsafe extern "C" fn(Object, Object, *const u8, usize, Message<'_>),
    batch: (Create, Call),
    write: unsafe extern "C" fn(Object, Object, Object, Message<'_>),
    iterator: (unsafe extern "C" fn(Object, Object) -> Object, Call),
    first: Call,
    next: Call,
    valid: unsafe extern "C" fn(Object) -> c_uchar,
    key: unsafe extern "C" fn(Object, &mut usize) -> *const u8,
    value: unsafe extern "C" fn(Object, &mut usize) -> *const u8,
    error: unsafe extern "C" fn(Object, Message<'_>),
    free: Call,
}

/// Declares the functions of a library, and lists them.
macro_rules! functions {
    ($list:ident, $options_create:ident $options_destroy:ident
     $create_if_missing:ident $write_buffer_size:ident
     $write_create:ident $write_destroy:ident $set_sync:ident
     $read_create:ident $read_destroy:ident $verify_checksums:ident
     $open:ident $close:ident $put:ident $delete:ident $batch_create:ident $batch_destroy:ident
     $write:ident $iter_create:ident $iter_destroy:ident $first:ident $next:ident $valid:ident
     $key:ident $value:ident $error:ident $free:ident) => {
        unsafe extern "C" {
            fn $options_create() -> Object;
            fn $options_destroy(options: Object);
            fn $create_if_missing(options: Object, yes: c_uchar);
            fn $write_buffer_size(options: Object, bytes: usize);
            fn $write_create() -> Object;
            fn $write_destroy(options: Object);
            fn $set_sync(options: Object, yes: c_uchar);
            fn $read_create() -> Object;
            fn $read_destroy(options: Object);
            fn $verify_checksums(options: Object, yes: c_uchar);
            fn $open(options: Object, name: *const c_char, message: Message<'_>) -> Object;
            fn $close(db: Object);
            fn $put(
                db: Object,
                options: Object,
                key: *const u8,
                key_len: usize,
                value: *const u8,
                value_len: usize,
                message: Message<'_>,
            );
            fn $delete(db: Object, o: Object, key: *const u8, len: usize, message: Message<'_>);
            fn $batch_create() -> Object;
            fn $batch_destroy(batch: Object);
            fn $write(db: Object, options: Object, batch: Object, message: Message<'_>);
            fn $iter_create(db: Object, options: Object) -> Object;
            fn $iter_destroy(iterator: Object);
            fn $first(iterator: Object);
            fn $next(iterator: Object);
            fn $valid(iterator: Object) -> c_uchar;
            fn $key(iterator: Object, len: &mut usize) -> *const u8;
            fn $value(iterator: Object, len: &mut usize) -> *const u8;
            fn $error(iterator: Object, message: Message<'_>);
            fn $free(memory: Object);
        }

        static $list: Functions = Functions {
            options: ($options_create, $options_destroy),
            create_if_missing: $create_if_missing,
            write_buffer_size: $write_buffer_size,
            write_options: ($write_create, $write_destroy),
            set_sync: $set_sync,
            read_options: ($read_create, $read_destroy),
            verify_checksums: $verify_checksums,
            open: $open,
            close: $close,
            put: $put,
            delete: $delete,
            batch: ($batch_create, $batch_destroy),
            write: $write,
            iterator: ($iter_create, $iter_destroy),
            first: $first,
            next: $next,
            valid: $valid,
            key: $key,
            value: $value,
            error: $error,
            free: $free,
        };
    };
}

#[cfg(leveldb)]
functions! {
    LEVELDB, leveldb_options_create leveldb_options_destroy
    leveldb_options_set_create_if_missing leveldb_options_set_write_buffer_size
    leveldb_writeoptions_create leveldb_writeoptions_destroy leveldb_writeoptions_set_sync
    leveldb_readoptions_create leveldb_readoptions_destroy leveldb_readoptions_set_verify_checksums
    leveldb_open leveldb_close leveldb_put leveldb_delete
    leveldb_writebatch_create leveldb_writebatch_destroy leveldb_write
    leveldb_create_iterator leveldb_iter_destroy leveldb_iter_seek_to_first leveldb_iter_next
    leveldb_iter_valid leveldb_iter_key leveldb_iter_value leveldb_iter_get_error leveldb_free
}

#[cfg(rocksdb)]
functions! {
    ROCKSDB, rocksdb_options_create rocksdb_options_destroy
    rocksdb_options_set_create_if_missing rocksdb_options_set_write_buffer_size
    rocksdb_writeoptions_create rocksdb_writeoptions_destroy rocksdb_writeoptions_set_sync
    rocksdb_readoptions_create rocksdb_readoptions_destroy rocksdb_readoptions_set_verify_checksums
    rocksdb_open rocksdb_close rocksdb_put rocksdb_delete
    rocksdb_writebatch_create rocksdb_writebatch_destroy rocksdb_write
    rocksdb_create_iterator rocksdb_iter_destroy rocksdb_iter_seek_to_first rocksdb_iter_next
    rocksdb_iter_valid rocksdb_iter_key rocksdb_iter_value rocksdb_iter_get_error rocksdb_free
}

/// One of the two libraries.
///
/// # Safety
/// The functions are those of one library, by its header.
pub(crate) unsafe trait Library: 'static {
    const NAME: &'static str;
    const FUNCTIONS: &'static Functions;
    const PROFILES: &'static [Profile];
}

/// Both count on a file system that orders names. LevelDB 1.23 renames its new CURRENT and then
/// unlinks the MANIFEST that the old one names, and RocksDB 7.8.3 renames CURRENT before it syncs
/// the entry of the MANIFEST that it names: `posix` may keep the later change alone, and the next
/// open fails.
const NAMES_IN_ORDER: &[Profile] =
    &[Profile::TAIL_PREFIX, Profile::EXT4, Profile::XFS, Profile::BTRFS];

#[cfg(leveldb)]
pub(crate) struct LevelDb;

// SAFETY: they are LevelDB's, declared as in its `c.h`.
#[cfg(leveldb)]
unsafe impl Library for LevelDb {
    const NAME: &'static str = "leveldb";
    const FUNCTIONS: &'static Functions = &LEVELDB;
    const PROFILES: &'static [Profile] = NAMES_IN_ORDER;
}

#[cfg(rocksdb)]
pub(crate) struct RocksDb;

// SAFETY: they are RocksDB's, declared as in its `c.h`.
#[cfg(rocksdb)]
unsafe impl Library for RocksDb {
    const NAME: &'static str = "rocksdb";
    const FUNCTIONS: &'static Functions = &ROCKSDB;
    const PROFILES: &'static [Profile] = NAMES_IN_ORDER;
}

/// A database with default options, but for a small write buffer, so that tables are written.
pub(crate) struct Lsm<L: Library> {
    db: Object,
    options: Object,
    write_options: Object,
    sync_options: Object,
    read_options: Object,
    library: PhantomData<L>,
}

/// Makes a call that may leave a message; the message is the error.
///
/// # Safety
/// `call` writes nothing but null or a message from `malloc`.
unsafe fn checked<L: Library, T>(call: impl FnOnce(Message<'_>) -> T) -> Result<T, Error> {
    let mut message = null_mut();
    let value = call(&mut message);
    let Some(message) = NonNull::new(message) else { return Ok(value) };
    // SAFETY: the caller says that it is a message, which ends with a zero byte.
    let text = unsafe { c::text(message.as_ptr()) };
    // SAFETY: it is from the library's `malloc`, and not used again.
    unsafe { (L::FUNCTIONS.free)(message.as_ptr().cast()) };
    Err(text.into())
}

impl<L: Library> Store for Lsm<L> {
    const NAME: &'static str = L::NAME;
    // A write without `sync` is in the kernel when it returns.
    const WRITES: Level = Level::Flushed;
    const PROFILES: &'static [Profile] = L::PROFILES;
    // The threads of the default environment belong to the process.
    const THREADS_MAY_STAY: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        let f = L::FUNCTIONS;
        let name = c::path(&dir.join("db"))?;
        // SAFETY: objects are made and set by the library's functions for their kind. They are
        // destroyed by `drop` alone, and `close` does nothing but that for a null `db`.
        let mut store = unsafe {
            Self {
                db: null_mut(),
                options: (f.options.0)(),
                write_options: (f.write_options.0)(),
                sync_options: (f.write_options.0)(),
                read_options: (f.read_options.0)(),
                library: PhantomData,
            }
        };
        // SAFETY: as above.
        unsafe {
            (f.create_if_missing)(store.options, 1);
            (f.write_buffer_size)(store.options, 64 << 10);
            (f.set_sync)(store.sync_options, 1);
            (f.verify_checksums)(store.read_options, 1);
        }
        // SAFETY: the name ends with a zero byte; the options live as long as the store.
        store.db =
            unsafe { checked::<L, _>(|message| (f.open)(store.options, name.as_ptr(), message)) }?;
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (k, v) = (key.as_ptr(), value.as_ptr());
        // SAFETY: the store is open, and the slices are readable for their lengths.
        unsafe {
            checked::<L, _>(|message| {
                (L::FUNCTIONS.put)(
                    self.db,
                    self.write_options,
                    k,
                    key.len(),
                    v,
                    value.len(),
                    message,
                );
            })
        }
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        let (at, len) = (key.as_ptr(), key.len());
        // SAFETY: as in `put`.
        unsafe {
            checked::<L, _>(|message| {
                (L::FUNCTIONS.delete)(self.db, self.write_options, at, len, message);
            })
        }
    }

    /// A write of nothing, with `sync`: it syncs the log with all before it.
    fn sync(&mut self) -> Result<(), Error> {
        let f = L::FUNCTIONS;
        // SAFETY: the store is open; the batch is destroyed after its one use.
        unsafe {
            let batch = (f.batch.0)();
            let done =
                checked::<L, _>(|message| (f.write)(self.db, self.sync_options, batch, message));
            (f.batch.1)(batch);
            done
        }
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let f = L::FUNCTIONS;
        let mut items = Vec::new();
        // SAFETY: the store is open. The iterator is valid where its item is read, and the item's
        // memory is readable until it moves. It is destroyed after its last use.
        unsafe {
            let iterator = (f.iterator.0)(self.db, self.read_options);
            (f.first)(iterator);
            while (f.valid)(iterator) != 0 {
                let item = |get: unsafe extern "C" fn(Object, &mut usize) -> *const u8| {
                    let mut len = 0;
                    let data = get(iterator, &mut len);
                    c::bytes(data, len)
                };
                items.push((item(f.key), item(f.value)));
                (f.next)(iterator);
            }
            let ended = checked::<L, _>(|message| (f.error)(iterator, message));
            (f.iterator.1)(iterator);
            ended?;
        }
        Ok(items)
    }
}

impl<L: Library> Drop for Lsm<L> {
    fn drop(&mut self) {
        let f = L::FUNCTIONS;
        // SAFETY: each object is the library's own and destroyed once, the database first.
        unsafe {
            if !self.db.is_null() {
                (f.close)(self.db);
            }
            (f.options.1)(self.options);
            (f.write_options.1)(self.write_options);
            (f.write_options.1)(self.sync_options);
            (f.read_options.1)(self.read_options);
        }
    }
}
