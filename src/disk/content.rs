//! The bytes of a file: sparse pages, shared until written (copy on write).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::digest::hash;

/// Bytes in a page of the cache, which is also the block of every profile.
pub const PAGE: usize = 4096;
/// Pages in a chunk, the unit in which two contents share their page tables.
const CHUNK: u64 = 128;

/// A digest that is computed when first asked for; 0 means that it is not known.
#[derive(Default)]
struct Cached(AtomicU64);

impl Cached {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, digest: u64) {
        self.0.store(digest, Ordering::Relaxed);
    }
}

impl Clone for Cached {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.get()))
    }
}

/// Stands for the digest of a page of zeros, which is 0.
const ZEROS: u64 = 2;

/// One page and its digest.
#[derive(Clone)]
pub struct Page {
    bytes: Box<[u8; PAGE]>,
    digest: Cached,
}

impl Page {
    /// A page of zeros.
    pub fn zeroed() -> Self {
        Self { bytes: Box::new([0; PAGE]), digest: Cached(AtomicU64::new(ZEROS)) }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; PAGE] {
        &self.bytes
    }

    /// The bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE] {
        self.digest.set(0);
        &mut self.bytes
    }

    /// A digest of the bytes; a page of zeros has the digest 0, like a hole.
    pub fn digest(&self) -> u64 {
        if self.digest.get() == 0 {
            let zeros = self.bytes.iter().all(|&b| b == 0);
            self.digest.set(if zeros { ZEROS } else { hash(&self.bytes[..]) | 1 });
        }
        match self.digest.get() {
            ZEROS => 0,
            digest => digest,
        }
    }
}

/// A page as contents share it.
pub type SharedPage = Arc<Page>;

/// Stands for the sum of a chunk whose pages are all zeros, which is 0.
const NOTHING: u64 = u64::MAX;

#[derive(Clone, Default)]
struct Chunk {
    pages: BTreeMap<u64, SharedPage>,
    digest: Cached,
}

/// The bytes of a file. Pages that were never written are holes and read as zeros; bytes of the
/// last page beyond the size are zeros too.
#[derive(Clone, Default)]
pub struct Content {
    chunks: BTreeMap<u64, Arc<Chunk>>,
    size: u64,
}

/// Copies the pieces that it is given into a buffer, one after another. They fit.
pub(super) fn filling(buffer: &mut [u8]) -> impl FnMut(&[u8]) {
    let mut filled = 0;
    move |piece| {
        buffer[filled..][..piece.len()].copy_from_slice(piece);
        filled += piece.len();
    }
}

impl Content {
    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many pages hold bytes.
    pub fn resident(&self) -> u64 {
        self.chunks.values().map(|c| c.pages.len() as u64).sum()
    }

    /// The page with this number, or `None` for a hole.
    pub fn page(&self, number: u64) -> Option<&SharedPage> {
        self.chunks.get(&(number / CHUNK))?.pages.get(&number)
    }

    /// The numbers of all pages that hold bytes, in order.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &SharedPage)> {
        self.chunks.values().flat_map(|c| c.pages.iter().map(|(&n, p)| (n, p)))
    }

    fn chunk_mut(&mut self, number: u64) -> &mut Chunk {
        let chunk = Arc::make_mut(self.chunks.entry(number / CHUNK).or_default());
        chunk.digest.set(0);
        chunk
    }

    /// Replaces a page whole; `None` makes a hole.
    pub fn set_page(&mut self, number: u64, page: Option<SharedPage>) {
        match page {
            Some(page) => drop(self.chunk_mut(number).pages.insert(number, page)),
            None if self.page(number).is_some() => {
                drop(self.chunk_mut(number).pages.remove(&number));
            }
            None => {}
        }
    }

    /// Sets a page to the medium's version, which is `bytes` or, if they are empty, a hole; and the
    /// size to `size`.
    pub(super) fn evict(&mut self, number: u64, bytes: &[u8], size: u64) {
        let page = (!bytes.is_empty()).then(|| {
            let mut page = Page::zeroed();
            let length = bytes.len().min(PAGE);
            page.bytes_mut()[..length].copy_from_slice(&bytes[..length]);
            Arc::new(page)
        });
        self.set_page(number, page);
        self.size = size;
        self.trim();
    }

    fn page_mut(&mut self, number: u64) -> &mut [u8; PAGE] {
        let page =
            self.chunk_mut(number).pages.entry(number).or_insert_with(|| Arc::new(Page::zeroed()));
        Arc::make_mut(page).bytes_mut()
    }

    /// Copies bytes out, starting at `offset`; returns how many, which is less than the buffer
    /// holds only at the end of the file.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        self.read_pieces(offset, buffer.len(), filling(buffer))
    }

    /// Gives out `length` bytes, starting at `offset`, in pieces one after another; returns how
    /// many bytes, which is less than `length` only at the end of the file.
    pub(super) fn read_pieces(
        &self,
        offset: u64,
        length: usize,
        mut give: impl FnMut(&[u8]),
    ) -> usize {
        let length = (length as u64).min(self.size.saturating_sub(offset)) as usize;
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let n = (PAGE - start).min(length - done);
            match self.page(number) {
                Some(page) => give(&page.bytes()[start..start + n]),
                None => give(&[0; PAGE][..n]),
            }
            done += n;
        }
        length
    }

    /// Writes bytes at `offset`; the size grows to their end if it was less.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let n = (PAGE - start).min(bytes.len() - done);
            self.page_mut(number)[start..start + n].copy_from_slice(&bytes[done..done + n]);
            done += n;
        }
        if !bytes.is_empty() {
            self.size = self.size.max(offset + bytes.len() as u64);
        }
    }

    /// Sets the size, as `ftruncate` does: bytes beyond it become zeros and holes.
    pub fn resize(&mut self, size: u64) {
        if size < self.size {
            let first_gone = size.div_ceil(PAGE as u64);
            self.zero(size, first_gone * PAGE as u64 - size);
            self.drop_pages(first_gone, u64::MAX);
        }
        self.size = size;
    }

    /// Sets the size and leaves the bytes beyond it, as a medium does when only the size of a file
    /// became durable. [`Content::trim`] must follow before the file is read.
    pub(super) fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    /// Turns the bytes beyond the size into zeros and holes.
    pub(super) fn trim(&mut self) {
        let size = std::mem::replace(&mut self.size, u64::MAX);
        self.resize(size);
    }

    /// Makes a range read as zeros without changing the size; whole pages become holes.
    pub fn zero(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let (first, last) = (offset.div_ceil(PAGE as u64), end / PAGE as u64);
        if first < last {
            self.drop_pages(first, last);
        }
        let mut at = offset;
        while at < end {
            let (number, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let n = ((PAGE - start) as u64).min(end - at);
            if n < PAGE as u64 && self.page(number).is_some() {
                self.page_mut(number)[start..start + n as usize].fill(0);
            } else if n == PAGE as u64 && (first..last).contains(&number) {
                at = last * PAGE as u64;
                continue;
            }
            at += n;
        }
    }

    fn drop_pages(&mut self, from: u64, to: u64) {
        let numbers: Vec<u64> = self.pages_between(from, to);
        for number in numbers {
            self.set_page(number, None);
        }
    }

    /// The numbers of the pages that hold bytes, in `from..to`.
    pub(crate) fn pages_between(&self, from: u64, to: u64) -> Vec<u64> {
        self.chunks
            .range(from / CHUNK..)
            .take_while(|(chunk, _)| **chunk * CHUNK < to)
            .flat_map(|(_, c)| c.pages.range(from..to).map(|(&n, _)| n))
            .collect()
    }

    /// The first offset at or after `offset` that holds bytes (`data`) or is a hole, for
    /// `SEEK_DATA` and `SEEK_HOLE`; `None` beyond the end of the file, or if no data follows.
    pub fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let first = offset / PAGE as u64;
        let found = if data {
            self.numbers_from(first).next()?
        } else {
            // The pages from the first one up to the first gap hold bytes.
            first + self.numbers_from(first).zip(first..).take_while(|(n, i)| n == i).count() as u64
        };
        Some(offset.max(found * PAGE as u64).min(self.size))
    }

    /// The numbers of the pages that hold bytes, starting at `first`.
    fn numbers_from(&self, first: u64) -> impl Iterator<Item = u64> {
        let chunks = self.chunks.range(first / CHUNK..);
        chunks.flat_map(move |(_, chunk)| chunk.pages.range(first..).map(|(&n, _)| n))
    }

    /// A digest of size and visible bytes; holes and pages of zeros are the same.
    pub fn digest(&self) -> u64 {
        let sum = self.chunks.values().fold(0u64, |sum, chunk| sum.wrapping_add(chunk.sum()));
        hash(&[sum.to_le_bytes(), self.size.to_le_bytes()].concat())
    }

    /// All bytes, as one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        self.read(0, &mut bytes);
        bytes
    }
}

impl Chunk {
    /// The commutative sum of the digests of its pages.
    fn sum(&self) -> u64 {
        match self.digest.get() {
            0 => {}
            NOTHING => return 0,
            sum => return sum,
        }
        let mut sum = 0u64;
        for (number, page) in &self.pages {
            let digest = page.digest();
            if digest != 0 {
                let mixed = hash(&[number.to_le_bytes(), digest.to_le_bytes()].concat());
                sum = sum.wrapping_add(mixed);
            }
        }
        match sum {
            0 => self.digest.set(NOTHING),
            NOTHING => {}
            sum => self.digest.set(sum),
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: u64 = 2560;

    fn zeros() -> Content {
        let mut content = Content::default();
        (0..PAGES).for_each(|number| content.set_page(number, Some(Arc::new(Page::zeroed()))));
        content.resize(PAGES * PAGE as u64);
        content
    }

    #[test]
    fn pages_of_zeros_have_the_digest_of_holes_before_and_after_it_is_known() {
        let mut holes = Content::default();
        holes.resize(PAGES * PAGE as u64);
        let mut content = zeros();
        assert_eq!([content.digest(), content.digest()], [holes.digest(); 2]);
        content.write(5, b"x");
        let written = content.digest();
        assert_ne!(written, holes.digest());
        content.write(5, b"\0");
        assert_eq!([content.digest(), content.digest()], [holes.digest(); 2]);
        content.write(5, b"x");
        assert_eq!(content.digest(), written);
    }

    #[test]
    fn a_page_of_zeros_and_a_chunk_of_them_are_read_once() {
        let content = zeros();
        content.digest();
        assert!(content.chunks.values().all(|chunk| chunk.digest.get() == NOTHING));
        let (_, page) = content.pages().next().expect("it has pages");
        assert_eq!((page.digest.get(), page.digest()), (ZEROS, 0));
    }
}
