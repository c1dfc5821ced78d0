//! The engine's heap: separate from the harness's, so that addresses do not depend on the harness.
//!
//! A child inherits the memory of its explorer, whose heap is different at each crash state. If the
//! engine allocated from the same heap, its addresses would differ too; and engines do depend on
//! addresses: parking_lot, for one, keeps waiting threads in a table by the address of their lock,
//! and two locks that share an entry share the time of its next fair unlock. So memory that is
//! allocated on the engine's side of the seam comes from a separate range of addresses, which is
//! untouched in each new child. None of it is returned to the system before the child ends.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dlmalloc::{Allocator, Dlmalloc};

use super::lock::Lock;

/// The heap's first address: far from where Linux puts a program, its libraries and its stacks.
const BASE: usize = 0x1000_0000_0000;

/// Bytes of address space: more than any child may use. Memory is used as it is written.
const CAPACITY: usize = 64 << 30;

/// Bytes that the allocator may write past a block: the header of the next block, and the links of
/// a free one.
const PAST_BLOCK: usize = 64;

/// How many bytes of the range may be used; 0 if there is no range.
static USABLE: AtomicUsize = AtomicUsize::new(0);

/// Whether the range was handed out.
static TAKEN: AtomicBool = AtomicBool::new(false);

static HEAP: Lock<Heap> = Lock::new(Heap::new());

struct Heap {
    blocks: Dlmalloc<AddressRange>,
    /// From this address on nothing was ever written.
    fresh: usize,
}

/// The range of addresses, handed out whole and once.
struct AddressRange;

// SAFETY: as soon as `USABLE` is not 0, the range is mapped for reading and writing and at least
// as long as that. It has no other user, is never unmapped, and is handed out once.
unsafe impl Allocator for AddressRange {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let usable = USABLE.load(Ordering::Relaxed);
        if size > usable || TAKEN.swap(true, Ordering::Relaxed) {
            return (ptr::null_mut(), 0, 0);
        }
        (ptr::with_exposed_provenance_mut(BASE), usable, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

impl Heap {
    const fn new() -> Self {
        let mut blocks = Dlmalloc::new_with_allocator(AddressRange);
        // There is one segment, and it is never unused.
        blocks.set_max_release_check_rate(0);
        Self { blocks, fresh: BASE }
    }

    /// Notes that a block was handed out, and its last possible byte.
    fn used(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if !block.is_null() {
            self.fresh = self.fresh.max(block.addr() + size + PAST_BLOCK);
        }
        block
    }

    fn allocate(&mut self, align: usize, size: usize) -> *mut u8 {
        if align > CAPACITY || size > CAPACITY {
            return ptr::null_mut();
        }
        // SAFETY: the callers of `allocate` give a power of two.
        let block = unsafe { self.blocks.c_memalign(align, size) };
        // The bytes cut off to align it become free blocks.
        self.used(block, size.saturating_add(align))
    }

    fn allocate_zeroed(&mut self, size: usize) -> *mut u8 {
        let fresh = self.fresh;
        let block = self.allocate(1, size);
        if !block.is_null() {
            let stale = fresh.saturating_sub(block.addr()).min(size);
            // SAFETY: the block has `size` bytes.
            unsafe { block.write_bytes(0, stale) };
        }
        block
    }
}

/// Maps the range; done once, in the fork server. Without it the engine uses the C library's heap.
pub(crate) fn prepare() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let flags = flags | libc::MAP_FIXED_NOREPLACE;
    let at = ptr::without_provenance_mut(BASE);
    // SAFETY: a new mapping where nothing is mapped yet touches nothing that exists; one that the
    // kernel put elsewhere is not used.
    let base = unsafe { libc::mmap(at, CAPACITY, protection, flags, -1, 0) };
    if base != at {
        return;
    }
    // A huge page would be cleared whole in each child, for a few kilobytes.
    // SAFETY: advice on a mapping of this length.
    unsafe { libc::madvise(base, CAPACITY, libc::MADV_NOHUGEPAGE) };
    base.expose_provenance();
    USABLE.store(CAPACITY, Ordering::Relaxed);
}

/// Lets the engine use at most this many bytes, from before its first request on.
pub(crate) fn limit(bytes: u64) {
    let bytes = usize::try_from(bytes).unwrap_or(CAPACITY).min(CAPACITY);
    if USABLE.load(Ordering::Relaxed) != 0 {
        USABLE.store(bytes.next_multiple_of(1 << 16), Ordering::Relaxed);
    }
}

/// Whether the engine has its own heap.
#[inline]
pub(crate) fn exists() -> bool {
    USABLE.load(Ordering::Relaxed) != 0
}

/// Whether a block belongs to this heap.
#[inline(always)]
pub(crate) fn has(block: *mut c_void) -> bool {
    (BASE..BASE + CAPACITY).contains(&block.addr())
}

/// A new block; null if there is no space. `align` is a power of two.
pub(crate) fn allocate(align: usize, size: usize) -> *mut c_void {
    HEAP.take().allocate(align, size).cast()
}

/// A new block of zeros; null if there is no space.
pub(crate) fn allocate_zeroed(size: usize) -> *mut c_void {
    HEAP.take().allocate_zeroed(size).cast()
}

/// Makes a block longer or shorter, and may move it; null, and the block is unchanged, if there is
/// no space.
///
/// # Safety
/// The block belongs to this heap, and is not free.
pub(crate) unsafe fn resize(block: *mut c_void, size: usize) -> *mut c_void {
    let mut heap = HEAP.take();
    if size > CAPACITY {
        return ptr::null_mut();
    }
    // SAFETY: the caller's block is one of `blocks`, and not free.
    let block = unsafe { heap.blocks.c_realloc(block.cast(), size) };
    heap.used(block, size).cast()
}

/// Frees a block.
///
/// # Safety
/// The block belongs to this heap, is not free, and is not used any more.
pub(crate) unsafe fn release(block: *mut c_void) {
    // SAFETY: the caller's block is one of `blocks`, not free, and unused.
    unsafe { HEAP.take().blocks.c_free(block.cast()) };
}

/// The size of a block in bytes, which may be more than requested.
///
/// # Safety
/// The block belongs to this heap, and is not free.
pub(crate) unsafe fn size(block: *mut c_void) -> usize {
    /// The word before a block holds its length with this word, and three flags (dlmalloc 2.8.6,
    /// "Chunk representations").
    const FLAGS: usize = 7;
    // SAFETY: a block that is not free has its length in the word before it.
    let head = unsafe { block.cast::<usize>().sub(1).read() };
    (head & !FLAGS) - size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heap of this process; the tests below share it.
    fn heap() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(prepare);
        assert!(exists());
    }

    fn bytes_of<'a>(block: *mut c_void, size: usize) -> &'a mut [u8] {
        // SAFETY: the tests ask for blocks of this size.
        unsafe { std::slice::from_raw_parts_mut(block.cast(), size) }
    }

    #[test]
    fn blocks_are_apart_and_keep_what_is_written() {
        heap();
        let mut blocks: Vec<(*mut c_void, usize, u8)> = Vec::new();
        let mut state = 7u64;
        for round in 0..20_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (state >> 33) as usize;
            let fill = round as u8;
            let size = [16, 200, 5000, 300_000][number % 4] * (number / 4 % 7) / 6;
            match number / 64 % 4 {
                0 if !blocks.is_empty() => {
                    let (block, size, fill) = blocks.swap_remove(number / 256 % blocks.len());
                    assert!(bytes_of(block, size).iter().all(|byte| *byte == fill));
                    // SAFETY: it was taken out of the list of those in use.
                    unsafe { release(block) };
                }
                1 if !blocks.is_empty() => {
                    let at = number / 256 % blocks.len();
                    let (block, before, old) = blocks[at];
                    // SAFETY: it is in use.
                    let block = unsafe { resize(block, size) };
                    assert!(bytes_of(block, size.min(before)).iter().all(|byte| *byte == old));
                    bytes_of(block, size).fill(fill);
                    blocks[at] = (block, size, fill);
                }
                2 => {
                    let block = allocate_zeroed(size);
                    assert!(bytes_of(block, size).iter().all(|byte| *byte == 0));
                    bytes_of(block, size).fill(fill);
                    blocks.push((block, size, fill));
                }
                _ => {
                    let align = 1 << (number / 256 % 13);
                    let block = allocate(align, size);
                    assert!(has(block) && block.addr().is_multiple_of(align));
                    bytes_of(block, size).fill(fill);
                    blocks.push((block, size, fill));
                }
            }
            if let Some(&(block, length, _)) = blocks.last() {
                // SAFETY: it is in use.
                assert!(unsafe { super::size(block) } >= length);
            }
        }
        blocks.sort();
        for pair in blocks.windows(2) {
            assert!(pair[0].0.addr() + pair[0].1 <= pair[1].0.addr());
        }
        for (block, ..) in blocks {
            // SAFETY: it is in use.
            unsafe { release(block) };
        }
    }

    #[test]
    fn too_much_is_refused() {
        heap();
        assert!(allocate(16, CAPACITY).is_null());
        for size in [usize::MAX / 2, usize::MAX] {
            assert!(allocate_zeroed(size).is_null() && allocate(1 << 63, size).is_null());
        }
        assert!(allocate(1 << 63, 8).is_null());
    }
}
