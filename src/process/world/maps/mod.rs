//! The engine's maps of files of the disk.
//!
//! All maps of a file are real maps of one [`Backing`], so that the kernel itself keeps them alike,
//! raises `SIGBUS` past the end of the file, and gives private maps their own pages. Pages are
//! loaded into the backing when they are touched, and a shared map lets a store pass only once a
//! fault has noted its page. At the beginning of each call, and at each mark of the harness, those
//! pages are compared with the disk; a difference becomes a write to the disk, under the name
//! `store`. At the end of each call, what it changed is copied into the backing.
//!
//! Faults come from engine code and from doors that use the engine's memory while the world is
//! taken. So the maps have their own lock, which is held only by code that touches no memory of the
//! engine but pages that a fault has opened.

mod backing;
mod expose;
mod fault;
mod harvest;
mod list;

use std::collections::BTreeSet;
use std::ffi::c_int;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::watch::FileChange;
use crate::disk::{Disk, Errno, Handle, Ino};
use crate::process::seam::lock::Lock;

use backing::{Backing, PAGE_BYTES};
pub(crate) use expose::{host_call, word};
use list::MapList;
pub(crate) use list::Mapping;

use super::World;

/// Bytes in a page.
const PAGE: usize = PAGE_BYTES as usize;

/// A private map that may be written and is longer than this is opened piece by piece: the kernel
/// counts what is open against the limit of the process's memory.
const LONG: usize = 64 << 20;

/// The maps of this process.
static MAPS: Lock<Maps> = Lock::new(Maps::new());

/// Whether there are any.
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether a file of the disk is mapped.
#[inline(always)]
pub(crate) fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Whether an address shows a file of the disk in a way that stores reach the file.
#[inline]
pub(crate) fn is_shared(address: usize) -> bool {
    any() && MAPS.take().list.at(address).is_some_and(|map| map.shared)
}

/// The parts of maps in a range of addresses.
pub(crate) fn within(memory: &Range<usize>) -> Vec<Mapping> {
    if any() { MAPS.take().list.within(memory) } else { Vec::new() }
}

/// The world is another one: its engine has no maps.
pub(super) fn reset() {
    if any() {
        *MAPS.take() = Maps::new();
        ANY.store(false, Ordering::Relaxed);
    }
}

/// The maps of a process, and the memory of their files.
struct Maps {
    list: MapList,
    backings: Vec<Backing>,
    /// How many more holes may be stored to; `None` without a limit.
    room: Option<u64>,
    /// Whether the file system takes no changes any more.
    stopped: bool,
    /// Pages that have a place on the disk though the disk has a limit.
    places: BTreeSet<(Ino, u64)>,
}

impl Maps {
    const fn new() -> Self {
        Self {
            list: MapList::new(),
            backings: Vec::new(),
            room: None,
            stopped: false,
            places: BTreeSet::new(),
        }
    }

    fn backing(&mut self, ino: Ino) -> Option<&mut Backing> {
        self.backings.iter_mut().find(|backing| backing.ino == ino)
    }

    /// Takes the pages of a range of a file for unchanged: the next store to them faults.
    fn retire(&mut self, ino: Ino, bytes: &Range<u64>) {
        let pages = bytes.start / PAGE_BYTES..bytes.end.div_ceil(PAGE_BYTES);
        let Some(backing) = self.backing(ino) else { return };
        let dirty: Vec<u64> = backing.dirty.range(pages).map(|(&page, _)| page).collect();
        for page in &dirty {
            backing.dirty.remove(page);
        }
        let mut rest = dirty.as_slice();
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(page, next)| *page == next).count();
            rest = &rest[run..];
            let bytes = first * PAGE_BYTES..(first + run as u64) * PAGE_BYTES;
            for map in self.list.iter().filter(|map| map.ino == ino && map.stores()) {
                set_access(&map.shows(&bytes), map.clean());
            }
        }
    }

    /// Copies a change of a file into its memory.
    fn follow(&mut self, change: FileChange, disk: &Disk) {
        match change {
            FileChange::Size(ino, size) => {
                let Some(backing) = self.backing(ino) else { return };
                let old = backing.size;
                backing.set_size(size);
                if size < old {
                    self.retire(ino, &(size.next_multiple_of(PAGE_BYTES)..old));
                }
            }
            FileChange::Bytes(ino, offset, length) => {
                if let (Some(backing), Some(content)) = (self.backing(ino), disk.content(ino)) {
                    backing.copy(content, offset..offset.saturating_add(length));
                }
            }
        }
    }

    /// Notes what stores may do from now on.
    fn note_limits(&mut self, disk: &Disk) {
        self.stopped = disk.is_stopped();
        self.room = disk.room_for_stores();
        self.places.clear();
        if self.room.is_some() {
            for backing in &self.backings {
                let ino = backing.ino;
                self.places.extend(disk.places(ino).into_iter().map(|page| (ino, page)));
            }
        }
    }
}

/// Gives a range of the engine's maps an access.
fn set_access(memory: &Range<usize>, protection: c_int) -> bool {
    let at = std::ptr::with_exposed_provenance_mut(memory.start);
    // SAFETY: callers give a part of a map in the list, whose access follows what the engine asked
    // for; on the harness's side this is the kernel's call.
    memory.is_empty() || unsafe { libc::mprotect(at, memory.len(), protection) } == 0
}

/// What the engine asks of a new map.
pub(crate) struct Request {
    pub(crate) at: usize,
    pub(crate) length: usize,
    pub(crate) protection: c_int,
    pub(crate) flags: c_int,
    pub(crate) offset: u64,
}

impl World {
    /// Maps a file; returns the address.
    ///
    /// # Errors
    /// The kernel's, from mmap(2).
    ///
    /// # Safety
    /// If the flags demand an address, nothing but maps of the engine uses the range there.
    pub(crate) unsafe fn add_map(&mut self, file: Handle, asked: Request) -> Result<usize, Errno> {
        let ino = self.disk.ino(file)?;
        let access = self.disk.flags(file)? & libc::O_ACCMODE;
        fault::install();
        let mut maps = MAPS.take();
        let maps = &mut *maps;
        if maps.backing(ino).is_none() {
            let content = self.disk.content(ino).ok_or(Errno(libc::ENODEV))?;
            maps.backings.push(Backing::new(ino, content)?);
        }
        let (fd, lazy) = maps
            .backing(ino)
            .map(|backing| (backing.fd(), backing.is_lazy()))
            .ok_or(Errno(libc::ENODEV))?;
        let shared = asked.flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
        let written = asked.protection & libc::PROT_WRITE != 0;
        let mut map = Mapping {
            memory: 0..0,
            file,
            ino,
            offset: asked.offset,
            protection: asked.protection,
            shared,
            may_write: !shared || access == libc::O_RDWR,
            lazy: lazy || !shared && written && asked.length > LONG,
        };
        if asked.flags & libc::MAP_FIXED != 0 {
            maps.settle(&(asked.at..asked.at.saturating_add(asked.length)));
        }
        let ignored = libc::MAP_LOCKED | libc::MAP_POPULATE | libc::MAP_NONBLOCK;
        let flags = asked.flags & !ignored;
        let at = std::ptr::with_exposed_provenance_mut(asked.at);
        let offset = asked.offset.cast_signed();
        // SAFETY: what is at a fixed address belongs to the engine, by this function's contract.
        let mapped = unsafe { libc::mmap64(at, asked.length, map.untouched(), flags, fd, offset) };
        if mapped == libc::MAP_FAILED {
            let error = Errno(crate::process::seam::kernel::errno());
            maps.drop_unused(&mut self.disk);
            return Err(error);
        }
        let start = mapped.expose_provenance();
        map.memory = start..start + asked.length.next_multiple_of(PAGE);
        self.disk.share(file)?;
        self.disk.watch(ino);
        maps.clear(&map.memory, &mut self.disk);
        let populates = asked.flags & (libc::MAP_POPULATE | libc::MAP_LOCKED) != 0;
        maps.insert(map.clone(), &mut self.disk);
        if populates {
            maps.open(&map);
        }
        maps.drop_unused(&mut self.disk);
        maps.note_limits(&self.disk);
        Ok(start)
    }

    /// The engine has unmapped, or mapped something else to, a range of addresses.
    pub(crate) fn forget_maps(&mut self, memory: &Range<usize>) {
        MAPS.take().forget(memory, &mut self.disk);
    }

    /// The pages in a range of addresses count as unchanged, and have one access for each map, so
    /// that the kernel has one area for it.
    pub(crate) fn settle_maps(&mut self, memory: &Range<usize>) {
        MAPS.take().settle(memory);
    }

    /// Parts of maps were moved or copied: these are shown now, and those in `gone` no longer.
    pub(crate) fn move_maps(&mut self, gone: [Range<usize>; 2], moved: Vec<Mapping>) {
        let mut maps = MAPS.take();
        moved.iter().for_each(|map| share(&mut self.disk, map.file));
        gone.iter().for_each(|memory| maps.clear(memory, &mut self.disk));
        for map in moved {
            maps.clear(&map.memory, &mut self.disk);
            maps.insert(map, &mut self.disk);
        }
        maps.drop_unused(&mut self.disk);
    }

    /// A part of a map has another access.
    ///
    /// # Errors
    /// The kernel's, from mprotect(2).
    pub(crate) fn protect_map(&mut self, part: &Mapping, protection: c_int) -> Result<(), Errno> {
        if protection & libc::PROT_WRITE != 0 && !part.may_write {
            return Err(Errno(libc::EACCES));
        }
        let mut maps = MAPS.take();
        maps.retire_part(part);
        let mut changed = Mapping { protection, ..part.clone() };
        let long = !part.shared && protection & libc::PROT_WRITE != 0 && part.memory.len() > LONG;
        changed.lazy |= long;
        if !set_access(&part.memory, changed.untouched()) {
            return Err(Errno(crate::process::seam::kernel::errno()));
        }
        for map in maps.list.take(&part.memory, |file| share(&mut self.disk, file)) {
            maps.insert(Mapping { protection, lazy: changed.lazy, ..map }, &mut self.disk);
        }
        Ok(())
    }

    /// Loads a part of a map, and opens it as far as no store passes unseen.
    pub(crate) fn open_map(&mut self, part: &Mapping) {
        MAPS.take().open(part);
    }

    /// Opens a part of a map for stores; returns whether all of it may be stored to. What is not
    /// within the file, or has no room, stays closed.
    pub(crate) fn open_for_stores(&mut self, part: &Mapping) -> bool {
        MAPS.take().open_written(part)
    }

    /// Copies what a call has changed into the memory of the mapped files.
    #[cold]
    pub(super) fn follow_changes(&mut self) {
        let mut maps = MAPS.take();
        let changes = self.disk.take_changes();
        for &change in &changes {
            maps.follow(change, &self.disk);
        }
        for backing in &mut maps.backings {
            let ino = backing.ino;
            let of = |change: &FileChange| match *change {
                FileChange::Size(of, _) | FileChange::Bytes(of, ..) => of == ino,
            };
            if let (true, Some(content)) = (changes.iter().any(of), self.disk.content(ino)) {
                backing.set_source(content);
            }
        }
        maps.note_limits(&self.disk);
    }
}

impl Maps {
    /// Adds a map, whose handle it owns from now on.
    fn insert(&mut self, map: Mapping, disk: &mut Disk) {
        for spare in self.list.add(map) {
            let _ = disk.close(spare);
        }
    }

    fn settle(&mut self, memory: &Range<usize>) {
        for map in self.list.within(memory) {
            self.retire_part(&map);
            set_access(&map.memory, map.untouched());
        }
    }

    fn retire_part(&mut self, part: &Mapping) {
        if part.shared {
            let end = part.offset + part.memory.len() as u64;
            self.retire(part.ino, &(part.offset..end));
        }
    }

    /// Forgets what is in a range of addresses.
    fn forget(&mut self, memory: &Range<usize>, disk: &mut Disk) {
        self.clear(memory, disk);
        self.drop_unused(disk);
    }

    /// As [`Maps::forget`], but keeps the memory of the files.
    fn clear(&mut self, memory: &Range<usize>, disk: &mut Disk) {
        for map in self.list.within(memory) {
            self.retire_part(&map);
        }
        for map in self.list.take(memory, |file| share(disk, file)) {
            let _ = disk.close(map.file);
        }
    }

    /// Drops the memory of files that are not mapped any more.
    fn drop_unused(&mut self, disk: &mut Disk) {
        let list = &self.list;
        self.backings.retain(|backing| {
            let used = list.iter().any(|map| map.ino == backing.ino);
            if !used {
                disk.unwatch(backing.ino);
            }
            used
        });
        ANY.store(!self.list.is_empty(), Ordering::Relaxed);
    }

    /// Opens a part of a map for stores.
    fn open_written(&mut self, part: &Mapping) -> bool {
        self.open(part);
        if part.stores() {
            let mut pages = part.memory.clone().step_by(PAGE);
            let opened =
                |address| self.fault(fault::Access::store(address)) == fault::Answer::Again;
            return pages.all(opened);
        }
        true
    }

    /// Loads a part of a map, and opens it.
    fn open(&mut self, part: &Mapping) {
        if !part.lazy {
            return;
        }
        let end = part.offset + part.memory.len() as u64;
        if let Some(backing) = self.backing(part.ino) {
            let pages = part.offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
            let (first, last) = (backing.load(pages.start), backing.load(pages.end - 1));
            backing.load_all(first.end..last.start.max(first.end));
        }
        // Pages that may be stored to fault once more, and stay noted.
        set_access(&part.memory, part.clean());
    }
}

/// Takes one more reference to a handle that a map holds, and that is therefore open.
fn share(disk: &mut Disk, file: Handle) {
    let shared = disk.share(file);
    debug_assert!(shared.is_ok(), "a map refers to an open file");
}
