//! Whether calls arrive: what a process asks itself before it trusts the doors.

use std::ffi::{CStr, CString};

use super::doors;

/// A call that did not reach its door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The symbol, or the function of the standard library, that was called.
    pub called: &'static str,
    /// Where it went instead.
    pub reached: String,
}

/// Says which symbols lead elsewhere than to a door of this binary: another library may have
/// taken them, or the linker may not have exported them, so that shared libraries do not see them.
pub fn self_test() -> Vec<Failure> {
    let own = object_of(self_test as *const ()).unwrap_or_default();
    let foreign = |called: &'static str| {
        let reached = object_of(address_of(called)).unwrap_or_else(|| "nowhere".to_owned());
        (reached != own).then_some(Failure { called, reached })
    };
    doors::symbols().filter_map(foreign).collect()
}

/// Where the dynamic linker finds a symbol first.
fn address_of(symbol: &str) -> *const () {
    let Ok(symbol) = CString::new(symbol) else { return std::ptr::null() };
    // SAFETY: the symbol is a C string.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) }.cast()
}

/// The file of the program or library that an address lies in.
fn object_of(address: *const ()) -> Option<String> {
    // SAFETY: all zeros are a valid value, and `dladdr` takes any address.
    let info = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(address.cast(), &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    Some(info.to_string_lossy().into_owned())
}
