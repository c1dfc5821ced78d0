//! Error numbers: the results of failed calls of the disk, named as in errno(3).

use std::fmt;
use std::io;

/// The number of an error, as Linux on x86-64 has it, whatever the host
/// (include/uapi/asm-generic/errno.h). `Display` gives its name, such as `ENOENT`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Errno(pub i32);

/// Defines one constant for each name, and the name of each number.
macro_rules! errnos {
    ($($name:ident $number:literal $meaning:literal)*) => {
        impl Errno {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self($number);
            )*

            /// The name in errno(3), or `None` for a number that the disk never returns.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        #[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
        #[test]
        fn the_numbers_are_those_of_libc() {
            $(assert_eq!(Errno::$name.0, libc::$name, stringify!($name));)*
        }
    };
}

errnos! {
    EPERM 1 "The operation is not permitted, even to root."
    ENOENT 2 "No such file or directory."
    ESRCH 3 "No such process."
    EINTR 4 "A signal interrupted the call."
    EIO 5 "The device failed."
    ENXIO 6 "No data (or no hole) at or after this offset."
    E2BIG 7 "An argument is too large."
    EBADF 9 "Not an open descriptor, or not open for this operation."
    EAGAIN 11 "Another owner holds a conflicting lock; also named `EWOULDBLOCK`."
    ENOMEM 12 "Out of memory."
    EACCES 13 "Permission denied."
    EFAULT 14 "A bad address."
    EBUSY 16 "In use by the system, as the root directory is."
    EEXIST 17 "The name exists already."
    EXDEV 18 "A link or rename would cross file systems."
    ENODEV 19 "The kind of file does not support this."
    ENOTDIR 20 "A name that must lead to a directory does not."
    EISDIR 21 "A directory, where none is allowed."
    EINVAL 22 "An argument is invalid."
    ENFILE 23 "Too many open files in the system."
    EMFILE 24 "Too many open files in the process."
    EFBIG 27 "The file would grow beyond the largest size."
    ENOSPC 28 "No space is left."
    ESPIPE 29 "Not seekable."
    EROFS 30 "The file system is read-only."
    EMLINK 31 "The inode has the most names that it can have."
    ERANGE 34 "A buffer is too small, or a name too long."
    EDEADLK 35 "Waiting would never end."
    ENAMETOOLONG 36 "A name or a path is too long."
    ENOSYS 38 "The call does not exist."
    ENOTEMPTY 39 "The directory is not empty."
    ELOOP 40 "Too many symbolic links in a path, or one where none is allowed."
    ENODATA 61 "No such extended attribute."
    EOVERFLOW 75 "A number does not fit."
    EOPNOTSUPP 95 "The file system does not support this."
    EDQUOT 122 "The quota is used up."
}

impl Errno {
    /// The same number as [`Errno::EAGAIN`], which is how flock(2) calls it.
    pub const EWOULDBLOCK: Self = Self::EAGAIN;
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        if cfg!(target_os = "linux") {
            Self::from_raw_os_error(errno.0)
        } else {
            // To this host the number means another error.
            Self::other(errno)
        }
    }
}
