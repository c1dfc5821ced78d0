//! How stores become changes of the disk: the pages that were opened for them are compared.

use std::ops::Range;

use crate::base::digest::hash;
use crate::disk::content::PAGE;
use crate::disk::{Disk, Ino};
use crate::process::world::door::{Door, FaultSites};
use crate::process::world::{Called, World, length};

use super::backing::{Backing, PAGE_BYTES};
use super::{MAPS, Maps, any};

/// The name under which stores are recorded.
pub(crate) static STORE: Door = Door { name: "store", faults: FaultSites::None };

/// A page that was found unchanged this often in a row faults at its next store: by then the
/// comparisons have cost as much as a fault.
const PATIENCE: u32 = 24;

/// Bytes of a sector, which reaches the disk whole.
const SECTOR: usize = 512;

/// What was stored to one file.
struct Batch {
    ino: Ino,
    /// From the first byte to the last that may have changed.
    range: Range<u64>,
    /// How many bytes were written to the disk, and their digest.
    bytes: usize,
    digest: u64,
}

impl World {
    /// Makes changes of the disk out of what was stored through maps since this was last called,
    /// and records them: one call for each file. They have no order among themselves.
    #[inline]
    pub(crate) fn stores(&mut self) {
        if any() {
            self.find_stores();
        }
    }

    #[cold]
    fn find_stores(&mut self) {
        self.disk.set_time(self.clock.now());
        let count = MAPS.take().backings.len();
        for at in 0..count {
            // The log has the effects of a call before the call, so one file comes after another.
            let batch = MAPS.take().harvest(at, &mut self.disk);
            if let Some(batch) = batch {
                self.record_stores(&batch);
            }
        }
        // The memory has these changes already.
        drop(self.disk.take_changes());
    }

    fn record_stores(&mut self, batch: &Batch) {
        let path = self.disk.path_of(batch.ino).unwrap_or_default();
        let size = batch.range.end - batch.range.start;
        (self.bytes, self.fault) = (batch.digest, None);
        let path = self.logged(&path).into_owned();
        let called = Called::at(&STORE, &path, [batch.range.start, size]);
        self.record(&called, Ok(length(batch.bytes)));
    }
}

impl Maps {
    /// Writes what was stored to a file to the disk.
    fn harvest(&mut self, at: usize, disk: &mut Disk) -> Option<Batch> {
        if self.stopped {
            return None;
        }
        let (batch, idle) = self.backings[at].harvest(disk);
        let ino = self.backings[at].ino;
        for page in idle {
            self.retire(ino, &(page * PAGE_BYTES..(page + 1) * PAGE_BYTES));
        }
        batch
    }
}

impl Backing {
    /// Writes what was stored to the disk. Returns what was written, and the pages that were not
    /// stored to for long.
    fn harvest(&mut self, disk: &mut Disk) -> (Option<Batch>, Vec<u64>) {
        let (ino, mut idle) = (self.ino, Vec::new());
        let mut batch: Option<Batch> = None;
        for (&page, dirty) in &mut self.dirty {
            let offset = page * PAGE_BYTES;
            let inside = self.size.saturating_sub(offset).min(PAGE_BYTES) as usize;
            let at = std::ptr::with_exposed_provenance::<u8>(dirty.address);
            // SAFETY: a page is in this list as long as the engine may read and write it at this
            // address and it is within the file; `retire` comes before each call that ends that.
            // No thread of the engine runs meanwhile.
            let now = unsafe { std::slice::from_raw_parts(at, inside) };
            let before = disk.content(ino).and_then(|content| content.page(page));
            let before = before.map_or(&[0; PAGE], |page| page.bytes());
            let Some(changed) = difference(&before[..inside], now) else {
                dirty.idle += 1;
                if dirty.idle > PATIENCE {
                    idle.push(page);
                }
                continue;
            };
            dirty.idle = 0;
            let (start, bytes) = (offset + changed.start as u64, &now[changed]);
            disk.store(ino, start, bytes);
            let end = start + bytes.len() as u64;
            let batch = batch.get_or_insert(Batch { ino, range: start..end, bytes: 0, digest: 0 });
            batch.range.end = end;
            batch.bytes += bytes.len();
            batch.digest = batch.digest.rotate_left(7) ^ hash(bytes);
        }
        (batch, idle)
    }
}

/// The sectors from the first to the last that differ. A sector reaches the disk whole, so what is
/// between makes no difference.
fn difference(before: &[u8], now: &[u8]) -> Option<Range<usize>> {
    if before == now {
        return None;
    }
    let mut pairs = before.chunks(SECTOR).zip(now.chunks(SECTOR));
    let differs = |(before, now): (&[u8], &[u8])| before != now;
    let first = pairs.position(differs)?;
    let count = now.len().div_ceil(SECTOR);
    let mut tails = (first..count).rev();
    let last = tails.find(|&sector| {
        let part = sector * SECTOR..((sector + 1) * SECTOR).min(now.len());
        before[part.clone()] != now[part]
    })?;
    Some(first * SECTOR..((last + 1) * SECTOR).min(now.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_made_of_whole_sectors_and_ends_with_the_file() {
        let before = [0; 1100];
        assert_eq!(difference(&before, &before), None);
        let stored = |places: &[usize]| {
            let mut now = before;
            places.iter().for_each(|&at| now[at] = 1);
            difference(&before, &now)
        };
        assert_eq!(stored(&[0]), Some(0..512));
        assert_eq!(stored(&[600]), Some(512..1024));
        assert_eq!(stored(&[511, 512]), Some(0..1024));
        assert_eq!(stored(&[3, 1099]), Some(0..1100));
        assert_eq!(stored(&[1099]), Some(1024..1100));
    }
}
