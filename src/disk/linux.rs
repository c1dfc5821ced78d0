//! The numbers of Linux that callers of a disk pass and get, the same on every host.
//!
//! The simulated disk is one of Linux on x86-64, whatever it is built for. The values are those
//! of the kernel's headers: include/uapi/asm-generic/fcntl.h (which x86-64 uses as it is),
//! include/uapi/linux/stat.h, fs.h, fcntl.h and falloc.h. A test compares them with libc's where
//! the host is that platform. Elsewhere some differ: the `O_` flags on macOS, and `O_DIRECT`,
//! `O_DIRECTORY` and `O_NOFOLLOW` on Linux for ARM.

/// Defines one constant for each name, and the test that compares them with libc.
macro_rules! constants {
    ($($kind:ty { $($name:ident = $value:expr,)* })*) => {
        $($(
            #[doc = concat!("`", stringify!($name), "` of Linux.")]
            pub const $name: $kind = $value;
        )*)*

        #[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
        #[test]
        fn the_numbers_are_those_of_libc() {
            $($(assert_eq!($name, libc::$name, stringify!($name));)*)*
        }
    };
}

constants! {
    i32 {
        O_ACCMODE = 0o3,
        O_RDONLY = 0o0,
        O_WRONLY = 0o1,
        O_RDWR = 0o2,
        O_CREAT = 0o100,
        O_EXCL = 0o200,
        O_NOCTTY = 0o400,
        O_TRUNC = 0o1000,
        O_APPEND = 0o2000,
        O_NONBLOCK = 0o4000,
        O_DSYNC = 0o10_000,
        O_ASYNC = 0o20_000,
        O_DIRECT = 0o40_000,
        O_DIRECTORY = 0o200_000,
        O_NOFOLLOW = 0o400_000,
        O_NOATIME = 0o1_000_000,
        O_CLOEXEC = 0o2_000_000,
        O_SYNC = 0o4_000_000 | O_DSYNC,
        O_PATH = 0o10_000_000,
        O_TMPFILE = 0o20_000_000 | O_DIRECTORY,
        SEEK_SET = 0,
        SEEK_CUR = 1,
        SEEK_END = 2,
        SEEK_DATA = 3,
        SEEK_HOLE = 4,
        LOCK_SH = 1,
        LOCK_EX = 2,
        LOCK_NB = 4,
        LOCK_UN = 8,
        R_OK = 4,
        W_OK = 2,
        X_OK = 1,
        FALLOC_FL_KEEP_SIZE = 0x01,
        FALLOC_FL_PUNCH_HOLE = 0x02,
        FALLOC_FL_ZERO_RANGE = 0x10,
        FALLOC_FL_COLLAPSE_RANGE = 0x08,
        FALLOC_FL_INSERT_RANGE = 0x20,
        POSIX_FADV_NORMAL = 0,
        POSIX_FADV_NOREUSE = 5,
        XATTR_CREATE = 1,
        XATTR_REPLACE = 2,
    }
    u32 {
        S_IFREG = 0o100_000,
        S_IFDIR = 0o40_000,
        S_IFLNK = 0o120_000,
        RENAME_NOREPLACE = 1,
        RENAME_EXCHANGE = 2,
        RENAME_WHITEOUT = 4,
        SYNC_FILE_RANGE_WAIT_BEFORE = 1,
        SYNC_FILE_RANGE_WRITE = 2,
        SYNC_FILE_RANGE_WAIT_AFTER = 4,
    }
}

/// What open(2) adds to the flags of a 64-bit process; the C library's constant of this name
/// is 0.
pub const O_LARGEFILE: i32 = 0o100_000;
