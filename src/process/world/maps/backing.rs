//! The backing of a mapped file: a `memfd` of the file's size, with the pages that were needed so
//! far. All maps of a file are maps of it, so that the kernel keeps them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_int;
use std::ops::Range;

use crate::disk::content::{Content, PAGE};
use crate::disk::{Errno, Ino};
use crate::process::seam::kernel::errno;

/// Bytes in a page.
pub(super) const PAGE_BYTES: u64 = PAGE as u64;

/// Pages that are loaded together.
pub(super) const CHUNK: u64 = 16;

/// A file with at most this many pages is loaded when it is mapped: to copy them costs less than
/// the faults of a few chunks.
const SMALL: u64 = 256;

/// The number that its descriptor gets, or the next free one: above those of most engines, which
/// get the same numbers with and without maps.
const DESCRIPTOR: c_int = 700;

/// A page that a map may be storing to.
pub(super) struct Dirty {
    /// An address at which the engine may read and write it.
    pub(super) address: usize,
    /// How often in a row it was found unchanged.
    pub(super) idle: u32,
}

/// The memory of a mapped file.
pub(super) struct Backing {
    pub(super) ino: Ino,
    fd: c_int,
    /// The size of the file.
    pub(super) size: u64,
    /// The bytes of the chunks that are not loaded yet; `None` if all are.
    source: Option<Content>,
    /// The chunks that are loaded, where not all are.
    loaded: BTreeSet<u64>,
    /// The pages that the engine may store to without a fault.
    pub(super) dirty: BTreeMap<u64, Dirty>,
}

impl Backing {
    /// The backing of a file with these bytes.
    ///
    /// # Errors
    /// The error of memfd_create(2) or ftruncate(2).
    pub(super) fn new(ino: Ino, content: &Content) -> Result<Self, Errno> {
        // SAFETY: the name is a C string. On the harness's side these are the kernel's calls.
        let fd = unsafe { libc::memfd_create(c"mapped".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(Errno(errno()));
        }
        // SAFETY: it takes numbers. A limit may be lower than the number.
        let moved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, DESCRIPTOR) };
        if moved >= 0 {
            // SAFETY: the descriptor is ours, and its copy replaces it.
            unsafe { libc::close(fd) };
        }
        let mut backing = Self {
            ino,
            fd: if moved >= 0 { moved } else { fd },
            size: 0,
            source: None,
            loaded: BTreeSet::new(),
            dirty: BTreeMap::new(),
        };
        if content.size() > 0 && !backing.set_size(content.size()) {
            return Err(Errno(errno()));
        }
        if content.resident() <= SMALL {
            backing.copy(content, 0..content.size());
        } else {
            backing.source = Some(content.clone());
        }
        Ok(backing)
    }

    /// The descriptor to map.
    pub(super) fn fd(&self) -> c_int {
        self.fd
    }

    /// Whether pages have to be loaded before they are shown.
    pub(super) fn is_lazy(&self) -> bool {
        self.source.is_some()
    }

    /// Gives the memory the size of the file; the kernel drops and zeroes what is beyond it.
    pub(super) fn set_size(&mut self, size: u64) -> bool {
        self.size = size;
        // SAFETY: the descriptor is ours; it takes numbers.
        unsafe { libc::ftruncate64(self.fd, size.cast_signed()) == 0 }
    }

    /// Loads the chunk of a page, if it is not yet; returns the pages that are loaded now.
    pub(super) fn load(&mut self, page: u64) -> Range<u64> {
        let chunk = page / CHUNK;
        let pages = chunk * CHUNK..(chunk + 1) * CHUNK;
        if self.source.is_some() && self.loaded.insert(chunk) {
            let source = self.source.take();
            if let Some(source) = &source {
                for number in pages.clone() {
                    if let Some(page) = source.page(number) {
                        self.write(number * PAGE_BYTES, page.bytes());
                    }
                }
            }
            self.source = source;
        }
        pages
    }

    /// Loads all chunks of a range of pages.
    pub(super) fn load_all(&mut self, pages: Range<u64>) {
        let Some(source) = self.source.take() else { return };
        for (number, page) in source.pages() {
            if pages.contains(&number) && !self.loaded.contains(&(number / CHUNK)) {
                self.write(number * PAGE_BYTES, page.bytes());
            }
        }
        let whole = pages.start.div_ceil(CHUNK)..pages.end / CHUNK;
        self.loaded.extend(whole);
        self.source = Some(source);
    }

    /// The bytes of a range of the file are others now.
    pub(super) fn copy(&mut self, content: &Content, range: Range<u64>) {
        let last = self.size.next_multiple_of(PAGE_BYTES);
        self.clear(range.start.max(self.size)..range.end.min(last));
        let (start, end) = (range.start, range.end.min(self.size));
        if start >= end {
            return;
        }
        let mut hole = start;
        for number in content.pages_between(start / PAGE_BYTES, end.div_ceil(PAGE_BYTES)) {
            let begin = start.max(number * PAGE_BYTES);
            let finish = end.min((number + 1) * PAGE_BYTES);
            self.clear(hole..begin);
            hole = finish;
            let loaded = self.source.is_none() || self.loaded.contains(&(number / CHUNK));
            if let Some(page) = content.page(number).filter(|_| loaded) {
                let at = (begin - number * PAGE_BYTES) as usize;
                self.write(begin, &page.bytes()[at..at + (finish - begin) as usize]);
            }
        }
        self.clear(hole..end);
    }

    /// The chunks that are not loaded yet have other bytes now.
    pub(super) fn set_source(&mut self, content: &Content) {
        if self.source.is_some() {
            self.source = Some(content.clone());
        }
    }

    /// Makes a range read as zeros.
    fn clear(&mut self, range: Range<u64>) {
        if range.start < range.end {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            let (start, length) = (range.start, range.end - range.start);
            // SAFETY: the descriptor is ours; it takes numbers.
            unsafe {
                libc::fallocate64(self.fd, mode, start.cast_signed(), length.cast_signed());
            }
        }
    }

    /// Writes into the memory; the last page of the file ends with the file.
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.size.saturating_sub(offset) as usize)];
        // SAFETY: the descriptor is ours, and the kernel reads the bytes.
        unsafe {
            libc::pwrite64(self.fd, bytes.as_ptr().cast(), bytes.len(), offset.cast_signed());
        }
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours. Maps of it, if any are left, stay.
        unsafe { libc::close(self.fd) };
    }
}
