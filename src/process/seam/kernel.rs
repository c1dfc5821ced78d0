//! The way to the kernel: the next definition of a door's symbol, which is the C library's own, and
//! a system call that no trap catches.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The address of a symbol's next definition, once it was looked up.
pub(crate) struct NextSymbol {
    symbol: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl NextSymbol {
    /// Nothing is looked up yet.
    pub(crate) const fn new(symbol: &'static CStr) -> Self {
        Self { symbol, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The address of the next definition, never null.
    #[inline(always)]
    pub(crate) fn address(&self) -> *mut c_void {
        // Relaxed is enough: the code at the address was there before the program began.
        let address = self.address.load(Ordering::Relaxed);
        if address.is_null() { self.look_up() } else { address }
    }

    #[cold]
    fn look_up(&self) -> *mut c_void {
        let before = errno();
        // SAFETY: the symbol is a C string; `RTLD_NEXT` starts after this object.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.symbol.as_ptr()) };
        set_errno(before);
        let address = if found.is_null() { missing as *mut c_void } else { found };
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

/// The substitute for a function that this C library lacks. It takes no arguments; with this
/// machine's calling convention it may be called with any.
extern "C" fn missing() -> i64 {
    set_errno(libc::ENOSYS);
    -1
}

// The only instruction whose system calls the traps let pass wherever it is run. The order of a C
// function's arguments becomes that of a system call's.
std::arch::global_asm!(
    ".hidden crashpoint_system_call",
    ".hidden crashpoint_after_system_call",
    ".globl crashpoint_system_call",
    ".globl crashpoint_after_system_call",
    ".type crashpoint_system_call, @function",
    "crashpoint_system_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, [rsp + 8]",
    "syscall",
    "crashpoint_after_system_call:",
    "ret",
    ".size crashpoint_system_call, . - crashpoint_system_call",
);

unsafe extern "C" {
    fn crashpoint_system_call(
        number: i64,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
        f: usize,
    ) -> i64;
    static crashpoint_after_system_call: u8;
}

/// A system call's six arguments.
pub(crate) type Six = [usize; 6];

/// Makes a system call past the C library, the doors and the traps; an error is returned as a
/// negative number.
///
/// # Safety
/// The arguments are those that the kernel documents for the number: their pointers are valid for
/// what the call reads and writes. The call does not return twice (`vfork`, a thread on a new
/// stack).
pub(crate) unsafe fn system_call(number: i64, [a, b, c, d, e, f]: Six) -> i64 {
    // SAFETY: the arguments are valid for the number, by this function's contract. The code above
    // keeps the calling convention: it changes no register that belongs to the caller.
    unsafe { crashpoint_system_call(number, a, b, c, d, e, f) }
}

/// The address that the kernel sees as the origin of [`system_call`]: the instruction after it.
pub(crate) fn origin() -> usize {
    (&raw const crashpoint_after_system_call).addr()
}

/// The calling thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: the C library gives each thread a valid place for it.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(errno: c_int) {
    // SAFETY: the C library gives each thread a valid place for it.
    unsafe { *libc::__errno_location() = errno }
}

/// The next definition of a function as a function pointer of its type; `unwind` is for one that
/// may be unwound through, because it calls back into the engine.
macro_rules! next {
    (unwind $symbol:ident($($ty:ty),* $(,)?) -> $ret:ty) => {
        $crate::process::seam::kernel::next!(
            @as unsafe extern "C-unwind" fn($($ty),*) -> $ret, $symbol
        )
    };
    ($symbol:ident($($ty:ty),* $(,)?) -> $ret:ty) => {
        $crate::process::seam::kernel::next!(@as unsafe extern "C" fn($($ty),*) -> $ret, $symbol)
    };
    (@as $function:ty, $symbol:ident) => {{
        use $crate::process::seam::kernel::NextSymbol;
        static NEXT: NextSymbol = NextSymbol::new(
            match ::std::ffi::CStr::from_bytes_with_nul(
                concat!(stringify!($symbol), "\0").as_bytes(),
            ) {
                Ok(symbol) => symbol,
                Err(_) => panic!("a symbol has no NUL in it"),
            },
        );
        // SAFETY: the address is that of a function which the C library declares with this type.
        unsafe {
            ::std::mem::transmute::<
                *mut ::std::ffi::c_void,
                $function,
            >(NEXT.address())
        }
    }};
}
pub(crate) use next;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_that_the_c_library_lacks_fails_with_enosys() {
        let next = next!(crashpoint_no_such_symbol(c_int) -> c_int);
        // SAFETY: the substitute ignores its arguments.
        assert_eq!(unsafe { next(3) }, -1);
        assert_eq!(errno(), libc::ENOSYS);
    }

    #[test]
    fn looking_a_symbol_up_leaves_errno_alone() {
        set_errno(libc::EXDEV);
        let _ = next!(getppid() -> c_int);
        assert_eq!(errno(), libc::EXDEV);
    }
}
