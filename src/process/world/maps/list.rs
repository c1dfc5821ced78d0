//! The maps of a process: which addresses show which part of which file.

use std::ffi::c_int;
use std::ops::Range;

use crate::disk::{Handle, Ino};

/// A part of a file in memory. It has one access, like the kernel's own areas of memory.
#[derive(Clone)]
pub(crate) struct Mapping {
    /// Where it is, in whole pages.
    pub(crate) memory: Range<usize>,
    /// The open file description that was mapped. The map owns a reference.
    pub(crate) file: Handle,
    pub(crate) ino: Ino,
    /// The offset of its first byte in the file.
    pub(crate) offset: u64,
    /// The access that the engine asked for.
    pub(crate) protection: c_int,
    /// Stores reach the file.
    pub(crate) shared: bool,
    /// `mprotect` may allow stores.
    pub(crate) may_write: bool,
    /// It shows nothing until a page is touched.
    pub(crate) lazy: bool,
}

impl Mapping {
    /// The offset in the file of an address in the map.
    pub(crate) fn offset_of(&self, address: usize) -> u64 {
        self.offset + (address - self.memory.start) as u64
    }

    /// Whether a store changes the file.
    pub(crate) fn stores(&self) -> bool {
        self.shared && self.protection & libc::PROT_WRITE != 0
    }

    /// The access to a page that is loaded and to which nothing was stored.
    pub(super) fn clean(&self) -> c_int {
        if !self.stores() {
            return self.protection;
        }
        // A page that may be written may be read, too.
        self.protection & !libc::PROT_WRITE | libc::PROT_READ
    }

    /// The access to a page that was not touched.
    pub(super) fn untouched(&self) -> c_int {
        if self.lazy { libc::PROT_NONE } else { self.clean() }
    }

    /// The addresses of a range of the file, as far as the map shows it.
    pub(super) fn shows(&self, bytes: &Range<u64>) -> Range<usize> {
        let end = self.offset + self.memory.len() as u64;
        let (from, to) = (bytes.start.max(self.offset), bytes.end.min(end));
        if from >= to {
            return self.memory.start..self.memory.start;
        }
        let at = |offset: u64| self.memory.start + (offset - self.offset) as usize;
        at(from)..at(to)
    }

    /// The part of the map in a range of addresses, which overlaps it.
    pub(super) fn part(&self, memory: &Range<usize>) -> Self {
        let start = self.memory.start.max(memory.start);
        let end = self.memory.end.min(memory.end);
        Self { memory: start..end, offset: self.offset_of(start), ..self.clone() }
    }

    /// Whether another map continues this one, so that the kernel makes one area of both.
    fn continues(&self, next: &Self) -> bool {
        let access = |map: &Self| (map.protection, map.shared, map.may_write, map.lazy);
        self.memory.end == next.memory.start
            && self.file == next.file
            && access(self) == access(next)
            && self.offset + self.memory.len() as u64 == next.offset
    }
}

/// The maps of a process, by address.
pub(super) struct MapList(Vec<Mapping>);

impl MapList {
    /// None.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.0.iter()
    }

    /// The map at an address.
    pub(super) fn at(&self, address: usize) -> Option<&Mapping> {
        let at = self.0.partition_point(|map| map.memory.end <= address);
        self.0.get(at).filter(|map| map.memory.contains(&address))
    }

    /// The parts of maps in a range of addresses.
    pub(super) fn within(&self, memory: &Range<usize>) -> Vec<Mapping> {
        let first = self.0.partition_point(|map| map.memory.end <= memory.start);
        let rest = self.0[first..].iter().take_while(|map| map.memory.start < memory.end);
        rest.map(|map| map.part(memory)).filter(|part| !part.memory.is_empty()).collect()
    }

    /// Adds a map to a range that is free. Returns a handle that is not needed any more, because
    /// the map continues another one.
    pub(super) fn add(&mut self, map: Mapping) -> Vec<Handle> {
        let mut spare = Vec::new();
        let at = self.0.partition_point(|other| other.memory.start < map.memory.start);
        self.0.insert(at, map);
        for at in [at + 1, at] {
            let Some(before) = at.checked_sub(1) else { continue };
            if self.0.get(at).is_some_and(|map| self.0[before].continues(map)) {
                let map = self.0.remove(at);
                self.0[before].memory.end = map.memory.end;
                spare.push(map.file);
            }
        }
        spare
    }

    /// Takes out what is in a range of addresses. A map that is cut in two needs its handle twice:
    /// `share` is called for it.
    pub(super) fn take(
        &mut self,
        memory: &Range<usize>,
        mut share: impl FnMut(Handle),
    ) -> Vec<Mapping> {
        let mut taken = Vec::new();
        for map in std::mem::take(&mut self.0) {
            let apart = map.memory.end <= memory.start || memory.end <= map.memory.start;
            if apart || memory.is_empty() {
                self.0.push(map);
                continue;
            }
            taken.push(map.part(memory));
            let sides = [map.memory.start..memory.start, memory.end..map.memory.end];
            for side in sides.into_iter().filter(|side| side.start < side.end) {
                share(map.file);
                self.0.push(map.part(&side));
            }
        }
        taken
    }
}
