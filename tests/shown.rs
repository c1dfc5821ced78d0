//! A recovery that shows what is in the page cache alone, and a sync that forgets it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use crashpoint::inner::base::digest::hash;
use crashpoint::{Class, Error, Found, KeyValue, Level, Seed, Store, find, sim};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// A log that syncs each put. A delete of an absent key writes nothing, and syncs nothing. With
/// `FORGETS`, a sync trusts that all puts were synced, also those of an earlier process.
struct Log<const FORGETS: bool> {
    log: File,
    items: Items,
}

impl<const FORGETS: bool> Log<FORGETS> {
    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let mut frame = vec![u8::from(value.is_some())];
        for part in [key, value.unwrap_or_default()] {
            frame.extend((part.len() as u32).to_le_bytes());
            frame.extend(part);
        }
        let length = (frame.len() as u32).to_le_bytes();
        let sum = (hash(&frame) as u32).to_le_bytes();
        self.log.write_all(&[&length[..], &sum, &frame].concat())?;
        Ok(self.log.sync_all()?)
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number) as usize)
}

fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(bytes)?;
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

/// The next change of a log, if it is whole.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let (length, sum) = (number(bytes)?, number(bytes)?);
    let (mut frame, rest) =
        bytes.split_at_checked(length).filter(|(frame, _)| !frame.is_empty())?;
    if hash(frame) as u32 as usize != sum {
        return None;
    }
    *bytes = rest;
    let put = frame[0] == 1;
    frame = &frame[1..];
    let (key, value) = (part(&mut frame)?, part(&mut frame)?);
    Some((key, put.then_some(value)))
}

impl<const FORGETS: bool> Store for Log<FORGETS> {
    const NAME: &'static str = if FORGETS { "trusts-the-cache" } else { "syncs-the-cache" };
    const WRITES: Level = Level::Durable;
    const CREATED_APART: bool = true;

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let mut log = options.append(true).read(true).create(true).open(dir.join("log"))?;
        File::open(dir)?.sync_all()?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let (mut items, mut rest) = (Items::new(), &bytes[..]);
        let mut whole = 0;
        while let Some((key, value)) = next(&mut rest) {
            whole = bytes.len() - rest.len();
            match value {
                Some(value) => drop(items.insert(key.to_vec(), value.to_vec())),
                None => drop(items.remove(key)),
            }
        }
        if whole < bytes.len() {
            // The next change would be unreachable after a torn one.
            log.set_len(whole as u64)?;
            log.sync_all()?;
        }
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.append(key, Some(value))?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.items.contains_key(key) {
            self.append(key, None)?;
            self.items.remove(key);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        if !FORGETS {
            self.log.sync_all()?;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

#[test]
fn a_sync_that_trusts_the_cache_loses_what_a_recovery_showed() {
    for seed in 0..3 {
        let Found { class, report, .. } =
            find(&sim::<KeyValue<Log<true>>>(), "posix", Seed(seed), 60);
        assert_eq!(class, Some(Class::ShownThenLost), "seed {seed}: {report}");
    }
}

#[test]
fn an_op_that_finds_nothing_to_do_need_not_sync() {
    for seed in 0..3 {
        let Found { class, report, .. } =
            find(&sim::<KeyValue<Log<false>>>(), "posix", Seed(seed), 60);
        assert_eq!(class, None, "{report}");
    }
}
