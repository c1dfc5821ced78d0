//! C's strings and memory, for the adapters.

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crashpoint::Error;

/// A path as C takes it.
pub(crate) fn path(path: &Path) -> Result<CString, Error> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// A copy of the bytes that an engine shows. Null with a length of 0 is empty.
///
/// # Safety
/// `data` is readable for `len` bytes, or `len` is 0.
#[expect(unsafe_code, reason = "the engines show their items as pointers")]
pub(crate) unsafe fn bytes(data: *const u8, len: usize) -> Vec<u8> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the caller guarantees that `data` is readable for `len` bytes, which are not 0.
    unsafe { std::slice::from_raw_parts(data, len) }.to_vec()
}

/// A copy of an engine's message.
///
/// # Safety
/// `text` is null, or ends with a zero byte.
#[expect(unsafe_code, reason = "the engines show their messages as pointers")]
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return "no message".to_owned();
    }
    // SAFETY: the caller guarantees a zero byte at the end.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
