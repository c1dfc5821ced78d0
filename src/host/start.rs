//! The first function of a process: it decides whether the binary is a fork server.
//!
//! The start-up code that every program is linked with calls `__libc_start_main`. Ours is found
//! before the C library's, and changes one argument of it: in a process that a client started as
//! its fork server, `main` is the server's. Constructors have run by then, threads have not begun.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::role::{self, VARIABLE};
use super::server;
use crate::process::seam::auxv;
use crate::process::seam::kernel::next;
use crate::process::world::timestamp;

type Words = *const *const c_char;
type Main = extern "C" fn(c_int, Words, Words) -> c_int;
type Hook = Option<extern "C" fn()>;

/// The start of every program that contains this library.
///
/// # Safety
/// Called once, by the start-up code, with the arguments and environment that the kernel put on the
/// stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    main: Main,
    argc: c_int,
    argv: Words,
    init: Hook,
    fini: Hook,
    rtld_fini: Hook,
    stack_end: *mut c_void,
) -> c_int {
    // SAFETY: the kernel puts the environment right after the arguments and their null.
    let (fork_server, end) = unsafe { has_variable(argv.offset(argc as isize + 1)) };
    role::set(fork_server);
    if fork_server {
        // SAFETY: the kernel puts the auxiliary vector right after the environment and its null;
        // the process has one thread, and the loader, which has read it, is done.
        let vdso = unsafe { auxv::simulate(end.cast_mut().cast()) };
        timestamp::vdso_is_at(vdso as usize);
    }
    let main = if fork_server { server::main } else { main };
    let real = next!(
        __libc_start_main(
            Main,
            c_int,
            *const *const c_char,
            Hook,
            Hook,
            Hook,
            *mut c_void,
        ) -> c_int
    );
    // SAFETY: all arguments but `main` are the ones that this function was called with.
    unsafe { real(main, argc, argv, init, fini, rtld_fini, stack_end) }
}

/// Scans the environment by hand: nothing of std or the C library is ready yet. Returns whether the
/// variable is there, and the address after the environment.
///
/// # Safety
/// `environment` is a null-terminated array of C strings.
unsafe fn has_variable(mut environment: Words) -> (bool, Words) {
    let mut found = false;
    // SAFETY: the array ends with a null, by this function's contract, and the walk ends there.
    while let Some(entry) = unsafe { environment.read().as_ref() } {
        // SAFETY: each entry is a C string.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        let value = entry.strip_prefix(VARIABLE.as_bytes());
        found |= value.is_some_and(|rest| rest.first() == Some(&b'='));
        // SAFETY: the entry was not the last, so there is a next one.
        environment = unsafe { environment.add(1) };
    }
    // SAFETY: the walk ended at the null, which is part of the array.
    (found, unsafe { environment.add(1) })
}
