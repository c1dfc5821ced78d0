//! Doors to the heap: on the engine's side memory comes from a separate heap.
//!
//! They are weak symbols. A program whose allocator defines C's own names (jemalloc without its
//! prefix) keeps that allocator, and the addresses that its engine sees then do not follow from the
//! seed.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::process::seam::heap;
use crate::process::seam::kernel::{next, set_errno};
use crate::process::seam::{self, Side};
use crate::process::world::door::{Door, FaultSites};

// The C library's own functions, under the names that it has for programs that replace `malloc`.
// They are not looked up by `dlsym`, which may allocate.
unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
}

/// Defines weak symbols with C's names, which jump to functions of this file.
macro_rules! weak {
    ($($symbol:ident = $function:ident,)*) => {
        $(
            std::arch::global_asm!(
                concat!(".weak ", stringify!($symbol)),
                concat!(".type ", stringify!($symbol), ", @function"),
                concat!(stringify!($symbol), ":"),
                "jmp {function}",
                concat!(".size ", stringify!($symbol), ", . - ", stringify!($symbol)),
                function = sym $function,
            );
        )*

        /// The doors that this file defines.
        pub(super) const DOORS: &[Door] =
            &[$(Door { name: stringify!($symbol), faults: FaultSites::None }),*];
    };
}

weak! {
    malloc = allocate,
    calloc = allocate_zeroed,
    realloc = resize,
    free = release,
    memalign = allocate_aligned,
    aligned_alloc = allocate_aligned,
    posix_memalign = allocate_aligned_into,
    valloc = allocate_pages,
    malloc_usable_size = size,
}

const PAGE: usize = 4096;

/// Serves the engine, if it is the caller and has a heap.
#[inline(always)]
fn for_engine(serve: impl FnOnce() -> *mut c_void) -> Option<*mut c_void> {
    if seam::side() != Side::Engine || !heap::exists() {
        return None;
    }
    let _harness = seam::harness();
    let block = serve();
    if block.is_null() {
        set_errno(libc::ENOMEM);
    }
    Some(block)
}

unsafe extern "C" fn allocate(size: usize) -> *mut c_void {
    // SAFETY: malloc(3) takes any number.
    for_engine(|| heap::allocate(1, size)).unwrap_or_else(|| unsafe { __libc_malloc(size) })
}

unsafe extern "C" fn allocate_zeroed(count: usize, size: usize) -> *mut c_void {
    let serve = || count.checked_mul(size).map_or(ptr::null_mut(), heap::allocate_zeroed);
    // SAFETY: calloc(3) takes any numbers.
    for_engine(serve).unwrap_or_else(|| unsafe { __libc_calloc(count, size) })
}

unsafe extern "C" fn resize(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        // SAFETY: malloc(3) takes any number.
        return unsafe { allocate(size) };
    }
    if !heap::has(block) {
        // SAFETY: realloc(3) takes a block that is in use.
        return unsafe { __libc_realloc(block, size) };
    }
    if size == 0 {
        // SAFETY: the block is in use; the C library frees it here, too.
        unsafe { release(block) };
        return ptr::null_mut();
    }
    let _harness = seam::harness();
    // SAFETY: realloc(3) takes a block that is in use.
    let resized = unsafe { heap::resize(block, size) };
    if resized.is_null() {
        set_errno(libc::ENOMEM);
    }
    resized
}

unsafe extern "C" fn release(block: *mut c_void) {
    if heap::has(block) {
        let _harness = seam::harness();
        // SAFETY: free(3) takes a block that is in use, and that nothing uses any more.
        unsafe { heap::release(block) };
    } else {
        // SAFETY: the same.
        unsafe { __libc_free(block) };
    }
}

unsafe extern "C" fn allocate_aligned(align: usize, size: usize) -> *mut c_void {
    let serve = || match align.checked_next_power_of_two() {
        Some(align) => heap::allocate(align, size),
        None => ptr::null_mut(),
    };
    // SAFETY: memalign(3) takes any numbers.
    for_engine(serve).unwrap_or_else(|| unsafe { __libc_memalign(align, size) })
}

unsafe extern "C" fn allocate_aligned_into(
    place: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<usize>()) {
        return libc::EINVAL;
    }
    // SAFETY: memalign(3) takes any numbers.
    let block = unsafe { allocate_aligned(align, size) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: posix_memalign(3) takes room for a pointer.
    unsafe { place.write(block) };
    0
}

unsafe extern "C" fn allocate_pages(size: usize) -> *mut c_void {
    // SAFETY: memalign(3) takes any numbers.
    unsafe { allocate_aligned(PAGE, size) }
}

unsafe extern "C" fn size(block: *mut c_void) -> usize {
    if heap::has(block) {
        // SAFETY: malloc_usable_size(3) takes a block that is in use, or null.
        return unsafe { heap::size(block) };
    }
    let next = next!(malloc_usable_size(*mut c_void) -> usize);
    // SAFETY: the same.
    unsafe { next(block) }
}
