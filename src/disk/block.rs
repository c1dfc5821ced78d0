//! The pending versions of one block of a file, kept as differences.

use std::sync::Arc;

use super::content::{PAGE, Page, SharedPage};
use super::profile::Home;

/// One version in this many is kept whole, so that building any version costs at most as many
/// differences.
const WHOLE_EVERY: usize = 32;
/// A difference of more bytes than this is not worth keeping: the page is shared instead.
const LONGEST_DIFFERENCE: usize = PAGE / 2;

/// How a version differs from the one before it.
#[derive(Clone)]
pub(super) enum Difference {
    /// Bytes from an offset in the block.
    Bytes(u16, Arc<[u8]>),
    /// Zeros between two offsets in the block.
    Zeros(u16, u16),
    /// The whole page after the change, or a hole.
    Whole(Option<SharedPage>),
}

impl Difference {
    /// The difference that writing `bytes` at `start` makes to a page, or `None` if it is
    /// better to share the whole page.
    pub(super) fn of(page: Option<&SharedPage>, start: usize, bytes: &[u8]) -> Option<Self> {
        let (mut from, mut to) = (0, bytes.len());
        if let Some(page) = page {
            // A page that is written whole often differs in a few bytes only, such as a header.
            let old = &page.bytes()[start..start + bytes.len()];
            from = equal(old, bytes);
            to -= equal_back(&old[from..], &bytes[from..]);
        }
        let changed = &bytes[from..to];
        let short = changed.len() <= LONGEST_DIFFERENCE;
        short.then(|| Self::Bytes((start + from) as u16, changed.into()))
    }
}

/// How many bytes at the front are equal, in whole steps except at the end.
fn equal(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.chunks(STEP).zip(b.chunks(STEP)).take_while(|(a, b)| a == b).count();
    (steps * STEP).min(a.len())
}

/// How many bytes at the back are equal, in whole steps except at the front.
fn equal_back(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 64;
    let steps = a.rchunks(STEP).zip(b.rchunks(STEP)).take_while(|(a, b)| a == b).count();
    (steps * STEP).min(a.len())
}

#[derive(Clone)]
struct Version {
    seq: u64,
    difference: Difference,
    /// The group in which its piece queues.
    home: Home,
}

/// The sequence numbers below which the pieces of a file are kept, by their group: that of the
/// block, of the file, or the log.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) own: u64,
    pub(super) inode: u64,
    pub(super) log: u64,
}

impl Limits {
    fn keep(self, version: &Version) -> bool {
        let limit = match version.home {
            Home::Own => self.own,
            Home::Inode => self.inode,
            Home::Log => self.log,
        };
        version.seq < limit
    }
}

/// The pending versions of a block, the oldest first. Each is the page as the cache held it, so it
/// includes all differences before it, whatever a crash keeps of the others.
#[derive(Clone, Default)]
pub(super) struct Block {
    versions: Vec<Version>,
    /// How many differences follow the last whole version.
    since_whole: usize,
    /// The piece that last made a hole of the block.
    hole: Option<u64>,
}

impl Block {
    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Adds a version; `page` is the page after the change.
    pub(super) fn push(
        &mut self,
        seq: u64,
        home: Home,
        difference: Difference,
        page: Option<&SharedPage>,
    ) {
        self.since_whole += 1;
        if page.is_none() {
            self.hole = Some(seq);
        }
        let difference = match difference {
            difference @ Difference::Whole(_) => {
                self.since_whole = 0;
                difference
            }
            _ if self.since_whole == WHOLE_EVERY => {
                self.since_whole = 0;
                Difference::Whole(page.cloned())
            }
            difference => difference,
        };
        self.versions.push(Version { seq, difference, home });
    }

    /// Whether this piece made a version.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.versions.binary_search_by_key(&seq, |version| version.seq).is_ok()
    }

    /// Marks the version that this piece made as undecided for ever: it left its group for that of
    /// the block, with the number `new`.
    pub(super) fn set_undecided(&mut self, seq: u64, new: u64) {
        if let Ok(at) = self.versions.binary_search_by_key(&seq, |version| version.seq) {
            self.versions[at].home = Home::Own;
            self.versions[at].seq = new;
        }
    }

    /// How many versions there are up to the newest that is kept; 0 if none is.
    pub(super) fn newest(&self, limits: Limits) -> usize {
        let end = self.before(limits.own.max(limits.inode).max(limits.log));
        let newest = self.versions[..end].iter().rposition(|version| limits.keep(version));
        newest.map_or(0, |newest| newest + 1)
    }

    /// The piece that put the block on the medium, if the medium did not have it before
    /// (`mapped`) or has had it as a hole since: the first since it was last a hole.
    pub(super) fn first(&self, mapped: bool) -> Option<(u64, Home)> {
        let hole = self.hole.filter(|hole| self.has(*hole));
        if mapped && hole.is_none() {
            return None;
        }
        let first = hole.map_or(0, |hole| self.before(hole + 1));
        self.versions.get(first).map(|version| (version.seq, version.home))
    }

    /// Whether the block is a hole on the medium, by the log that processes see.
    pub(super) fn is_hole(&self, mapped: bool) -> bool {
        !mapped || self.hole.is_some_and(|hole| self.has(hole))
    }

    /// How many versions the pieces below `limit` made.
    pub(super) fn before(&self, limit: u64) -> usize {
        self.versions.partition_point(|version| version.seq < limit)
    }

    /// How many versions there are.
    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    /// The page after the first `count` versions, on top of the durable page.
    pub(super) fn page(&self, count: usize, durable: Option<&SharedPage>) -> Option<SharedPage> {
        let mut first = count;
        let mut page = durable.cloned();
        while first > 0 {
            first -= 1;
            if let Difference::Whole(whole) = &self.versions[first].difference {
                page = whole.clone();
                first += 1;
                break;
            }
        }
        if first == count {
            return page;
        }
        let mut page = page.unwrap_or_else(|| Arc::new(Page::zeroed()));
        let bytes = Arc::make_mut(&mut page).bytes_mut();
        for version in &self.versions[first..count] {
            match &version.difference {
                Difference::Bytes(at, new) => {
                    bytes[usize::from(*at)..][..new.len()].copy_from_slice(new);
                }
                Difference::Zeros(from, to) => bytes[usize::from(*from)..usize::from(*to)].fill(0),
                Difference::Whole(_) => {}
            }
        }
        Some(page)
    }

    /// The group in which the piece of the newest version queues; the log if there is none.
    pub(super) fn newest_home(&self) -> Home {
        self.versions.last().map_or(Home::Log, |version| version.home)
    }

    /// How many versions there are up to the one that last made a hole: cached data is found
    /// through the mappings as they are in memory.
    pub(super) fn holes(&self) -> usize {
        self.hole.filter(|hole| self.has(*hole)).map_or(0, |hole| self.before(hole + 1))
    }

    /// Forgets the versions of pieces that are no longer pending because the medium does not have
    /// them.
    pub(super) fn retain(&mut self, pending: impl Fn(u64) -> bool) {
        self.versions.retain(|version| pending(version.seq));
    }

    /// Forgets the first `count` versions: they are part of the durable page now.
    pub(super) fn forget(&mut self, count: usize) {
        self.versions.drain(..count);
    }

    /// How many pages are held for whole versions.
    pub(super) fn whole_pages(&self) -> usize {
        let whole = |v: &&Version| matches!(v.difference, Difference::Whole(Some(_)));
        self.versions.iter().filter(whole).count()
    }
}
