//! Stores that are lost in a crash: missing and wrong syncs of maps are found, right ones pass.

use std::fs::File;
use std::io::{Error as IoError, Result as IoResult};
use std::path::Path;

use crashpoint::{Class, Error, KeyValue, Level, Seed, Store, find, sim};

use crate::memory::Memory;

/// How a store syncs its map.
const RIGHT: u8 = 0;
const NEVER: u8 = 1;
const WRONG_RANGE: u8 = 2;
const ASYNC: u8 = 3;

/// Bytes of a slot; each is in a page of its own.
const PAGE: usize = 4096;
/// Slots of each of two tables; the first page says which is current, and has a checksum of it.
const SLOTS: usize = 64;

/// A map of keys to values in a mapped file: a put writes the whole table that is not current, and
/// then the first page.
struct Mapped<const SYNC: u8> {
    memory: Memory,
    items: Vec<(Vec<u8>, Vec<u8>)>,
    current: u8,
}

/// A checksum over what a page holds.
fn checked(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(1_000_003) ^ u64::from(byte))
}

impl<const SYNC: u8> Mapped<SYNC> {
    /// Where a table is, and the most that it holds.
    fn table(current: u8) -> (usize, usize) {
        (PAGE + usize::from(current) * SLOTS * PAGE, SLOTS * PAGE)
    }

    fn sync_range(&self, offset: usize, length: usize) -> IoResult<()> {
        let done = |flags, offset, length| self.memory.sync(offset, length, flags);
        match SYNC {
            RIGHT => done(libc::MS_SYNC, offset, length),
            WRONG_RANGE => done(libc::MS_SYNC, offset, PAGE),
            ASYNC => done(libc::MS_ASYNC, offset, length),
            _ => Ok(()),
        }
    }

    /// Writes all items to the other table, and makes it current.
    fn write(&mut self) -> IoResult<()> {
        let mut bytes = Vec::new();
        for (key, value) in &self.items {
            for part in [key, value] {
                bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        let next = 1 - self.current;
        let (offset, most) = Self::table(next);
        if bytes.len() > most {
            return Err(IoError::other("too much"));
        }
        self.memory.write(offset, &bytes);
        self.sync_range(offset, bytes.len().next_multiple_of(PAGE).max(PAGE))?;
        let mut head = vec![next];
        head.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        head.extend_from_slice(&checked(&bytes).to_le_bytes());
        self.memory.write(0, &head);
        self.sync_range(0, PAGE)?;
        self.current = next;
        Ok(())
    }
}

impl<const SYNC: u8> Store for Mapped<SYNC> {
    const NAME: &'static str = "mapped";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("map");
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let size = PAGE + 2 * SLOTS * PAGE;
        if file.metadata()?.len() != size as u64 {
            file.set_len(size as u64)?;
        }
        // Also after a crash between the two.
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        let memory = Memory::of(&file, size)?;
        let head = memory.read(0, 17);
        let number =
            |at: usize| head[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        let (offset, most) = Self::table(head[0]);
        let length = number(1) as usize;
        let bytes = if length <= most { memory.read(offset, length) } else { Vec::new() };
        if head.iter().any(|&byte| byte != 0) && checked(&bytes) != number(9) {
            return Err(IoError::other("the table is damaged").into());
        }
        let mut parts = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((size, after)) = rest.split_first_chunk::<4>() {
            let (part, after) = after.split_at(u32::from_le_bytes(*size) as usize);
            parts.push(part.to_vec());
            rest = after;
        }
        let items = parts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let store = Self { memory, items, current: head[0] };
        // What was read may be in the cache alone.
        if SYNC == RIGHT {
            store.memory.sync(0, size, libc::MS_SYNC)?;
        }
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.items.retain(|(other, _)| other != key);
        self.items.push((key.to_vec(), value.to_vec()));
        Ok(self.write()?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.retain(|(other, _)| other != key);
        Ok(self.write()?)
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone())
    }
}

/// The class of what a few workloads find, on a profile.
fn found<const SYNC: u8>(profile: &str) -> Option<Class> {
    find(&sim::<KeyValue<Mapped<SYNC>>>(), profile, Seed(1), 4).class
}

#[test]
fn a_store_that_syncs_its_map_passes() {
    for profile in ["posix", "ext4", "xfs", "btrfs"] {
        let found = find(&sim::<KeyValue<Mapped<RIGHT>>>(), profile, Seed(1), 4);
        assert_eq!(found.class, None, "{profile}: {}", found.report);
        assert!(found.states > 50, "{} states on {profile}", found.states);
    }
}

#[test]
fn a_map_that_is_never_synced_loses_what_was_acknowledged() {
    for profile in ["posix", "ext4", "xfs", "btrfs"] {
        assert!(found::<NEVER>(profile).is_some(), "{profile}");
        assert!(found::<ASYNC>(profile).is_some(), "{profile}");
    }
}

#[test]
fn a_sync_of_a_part_of_what_was_stored_is_found() {
    for profile in ["posix", "ext4", "xfs", "btrfs"] {
        assert!(found::<WRONG_RANGE>(profile).is_some(), "{profile}");
    }
}
