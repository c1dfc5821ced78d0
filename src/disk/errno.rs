//! Error numbers: what a failed call of the disk returns, as errno(3) numbers and names them.

use std::fmt;
use std::io;

/// The number of an error, as libc defines it for this platform. `Display` gives its name,
/// such as `ENOENT`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Errno(pub i32);

/// Defines one constant for each name, and the name of each number.
macro_rules! errnos {
    ($($name:ident $meaning:literal)*) => {
        impl Errno {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self(libc::$name);
            )*

            /// The name in errno(3), or `None` for a number that the disk never returns.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $(libc::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM "The operation is not permitted, whoever asks."
    ENOENT "No such file or directory."
    EINTR "A signal interrupted the call."
    EIO "The device failed."
    ENXIO "No data (or no hole) at or after this offset."
    EBADF "Not an open descriptor, or not open for this."
    EAGAIN "Someone else holds a lock that conflicts; also named `EWOULDBLOCK`."
    ENOMEM "Out of memory."
    EACCES "Permission denied."
    EFAULT "A bad address."
    EBUSY "In use by the system, as the root directory is."
    EEXIST "The name is taken."
    EXDEV "A link or rename would cross file systems."
    ENODEV "The kind of file does not support this."
    ENOTDIR "A name that must lead to a directory does not."
    EISDIR "A directory, where none may be."
    EINVAL "An argument makes no sense here."
    ENFILE "Too many open files in the system."
    EMFILE "Too many open files in the process."
    EFBIG "The file would grow beyond the largest size."
    ENOSPC "No space is left."
    ESPIPE "Not seekable."
    EROFS "The file system is read-only."
    EMLINK "The inode has as many names as it can have."
    EDEADLK "To wait here would be to wait for ever."
    ENAMETOOLONG "A name or a path is too long."
    ENOSYS "The call does not exist."
    ENOTEMPTY "The directory is not empty."
    ELOOP "Too many symbolic links on the way, or one where none may be."
    EOVERFLOW "A number does not fit."
    EOPNOTSUPP "The file system does not offer this."
    EDQUOT "The quota is used up."
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
        Self::from_raw_os_error(errno.0)
    }
}
