//! The code of the C library: system calls from there are its own.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kernel::next;

/// The start and the end of its code, once it was looked for.
static START: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Whether an address is in the code that [`code`] found.
pub(crate) fn has(address: usize) -> bool {
    (START.load(Ordering::Relaxed)..END.load(Ordering::Relaxed)).contains(&address)
}

/// The addresses of the executable part of the object that holds the C library's `syscall`.
pub(crate) fn code() -> Option<Range<usize>> {
    let inside = next!(syscall(i64) -> i64) as *const () as usize;
    let mut search = Search { inside, found: None };
    // SAFETY: the visitor gets the pointer that is passed here, and is its only user.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    if let Some(code) = &search.found {
        START.store(code.start, Ordering::Relaxed);
        END.store(code.end, Ordering::Relaxed);
    }
    search.found
}

struct Search {
    inside: usize,
    found: Option<Range<usize>>,
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid entry, and `data` is the search.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader gives the number of the headers.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let segment = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)
        .map(|header| {
            let start = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
            start..start + header.p_memsz as usize
        })
        .find(|segment| segment.contains(&search.inside));
    search.found = segment;
    c_int::from(search.found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_the_c_library_are_in_its_code() {
        let code = code().expect("it is loaded");
        assert!(has(code.start) && !has(code.end));
        assert!(code.contains(&(next!(fopen() -> c_int) as *const () as usize)));
        assert!(!code.contains(&(self::visit as *const () as usize)));
    }
}
