//! The engine's maps of files: private memory with a copy of the file, which follows its changes.

use std::ffi::{c_int, c_void};
use std::ops::Range;

use crate::base::time::Time;
use crate::disk::{Disk, Errno, Handle};
use crate::process::seam::kernel::next;

/// A part of a file in memory.
pub(crate) struct Map {
    /// Where it is.
    pub(crate) memory: Range<usize>,
    /// The file that it shows. The map owns the handle.
    pub(crate) file: Handle,
    /// The offset of its first byte in the file.
    pub(crate) offset: i64,
    /// The access that the engine asked for.
    pub(crate) protection: c_int,
    /// It has its own pages, which a change of the file does not reach.
    pub(crate) private: bool,
}

/// A map, and the time of the change of its file that it shows.
struct Tracked {
    map: Map,
    changed: Time,
}

/// The maps of a process.
#[derive(Default)]
pub(crate) struct Maps(Vec<Tracked>);

impl Maps {
    /// Adds a map and fills it.
    ///
    /// # Errors
    /// If its file is not open.
    ///
    /// # Safety
    /// The memory is mapped, and belongs to this map alone.
    pub(crate) unsafe fn add(&mut self, map: Map, disk: &Disk) -> Result<(), Errno> {
        let changed = disk.stat(map.file)?.changed;
        // SAFETY: the memory is mapped and belongs to this map alone, by this function's contract.
        unsafe { fill(&map, disk) };
        self.0.push(Tracked { map, changed });
        Ok(())
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fills the maps anew whose files have changed.
    #[cold]
    pub(crate) fn refresh(&mut self, disk: &Disk) {
        for shown in self.0.iter_mut().filter(|shown| !shown.map.private) {
            let changed = disk.stat(shown.map.file).map_or(shown.changed, |stat| stat.changed);
            if changed != shown.changed {
                shown.changed = changed;
                // SAFETY: a map is in the list as long as its memory is mapped.
                unsafe { fill(&shown.map, disk) };
            }
        }
    }

    /// Whether any part of `memory` is a map.
    pub(crate) fn overlaps(&self, memory: &Range<usize>) -> bool {
        self.0.iter().any(|shown| overlap(&shown.map.memory, memory))
    }

    /// Whether any part of `memory` is a map that follows its file.
    pub(crate) fn follows(&self, memory: &Range<usize>) -> bool {
        self.0.iter().any(|Tracked { map, .. }| !map.private && overlap(&map.memory, memory))
    }

    /// Notes the access that the engine asked for in `memory`.
    pub(crate) fn protect(&mut self, memory: &Range<usize>, protection: c_int) {
        for Tracked { map, .. } in &mut self.0 {
            if overlap(&map.memory, memory) {
                map.protection = protection;
            }
        }
    }

    /// Forgets the parts of maps that lie in `memory`.
    pub(crate) fn forget(&mut self, memory: &Range<usize>, disk: &mut Disk) {
        for Tracked { map, changed } in std::mem::take(&mut self.0) {
            if !overlap(&map.memory, memory) {
                self.0.push(Tracked { map, changed });
                continue;
            }
            let parts = [map.memory.start..memory.start, memory.end..map.memory.end];
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                if disk.share(map.file).is_ok() {
                    let skipped = part.start - map.memory.start;
                    let offset = map.offset + i64::try_from(skipped).unwrap_or(i64::MAX);
                    self.0.push(Tracked { map: Map { memory: part, offset, ..map }, changed });
                }
            }
            let _ = disk.close(map.file);
        }
    }
}

/// Fills a map with the present bytes of its file.
///
/// # Safety
/// The memory is mapped, and belongs to this map alone.
unsafe fn fill(map: &Map, disk: &Disk) {
    let (start, length) = (map.memory.start, map.memory.len());
    let at = std::ptr::with_exposed_provenance_mut::<c_void>(start);
    let protect = next!(mprotect(*mut c_void, usize, c_int) -> c_int);
    // SAFETY: the memory is mapped and belongs to this map alone, by this function's contract, and
    // is anonymous, so it is initialised. No other thread runs meanwhile.
    let bytes = unsafe {
        if protect(at, length, libc::PROT_READ | libc::PROT_WRITE) != 0 {
            return;
        }
        std::slice::from_raw_parts_mut(at.cast::<u8>(), length)
    };
    let mut filled = 0;
    while filled < length {
        let from = map.offset + i64::try_from(filled).unwrap_or(i64::MAX);
        match disk.read_at(map.file, &mut bytes[filled..], from) {
            Ok(read) if read > 0 => filled += read,
            _ => break,
        }
    }
    bytes[filled..].fill(0);
    // SAFETY: the same memory; `bytes` is not used any more.
    unsafe { protect(at, length, map.protection) };
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}
