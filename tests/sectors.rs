//! Variants of tears: for each, a store with a bug that only it shows, and a twin without the bug.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crashpoint::inner::base::digest::hash;
use crashpoint::{Error, KeyValue, Seed, Store, check_case, find, sim};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

const SEEDS: std::ops::Range<u64> = 0..4;
/// Some workloads sync once or not at all: such a one shows nothing.
const WORKLOADS: u64 = 8;

fn encode(items: &Items) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in items.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(part);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Result<Items, Error> {
    let mut part = || -> Result<Vec<u8>, Error> {
        let (length, rest) = bytes.split_first_chunk().ok_or("the slot ends in a length")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, rest) = rest.split_at_checked(length).ok_or("the slot ends in an item")?;
        bytes = rest;
        Ok(if rest.is_empty() { [part, &[0xff]].concat() } else { [part, &[0]].concat() })
    };
    let mut items = Items::new();
    loop {
        let (mut key, mut value) = (part()?, part()?);
        key.pop();
        let last = value.pop() == Some(0xff);
        items.insert(key, value);
        if last {
            return Ok(items);
        }
    }
}

/// One root in place, in one sector and without a checksum: a torn one mixes two versions.
const ONE: u8 = 0;
/// Two roots with checksums, written in turn, in one sector: junk in it destroys both.
const TOGETHER: u8 = 1;
/// The same in sectors of their own.
const APART: u8 = 2;

/// Two slots, written in turn and synced before the root that names one of them.
struct Roots<const KIND: u8> {
    slots: [File; 2],
    root: File,
    version: u32,
    items: Items,
}

impl<const KIND: u8> Roots<KIND> {
    fn place(version: u32) -> u64 {
        let other = u64::from(version % 2);
        match KIND {
            ONE => 0,
            TOGETHER => other * 64,
            _ => other * 4096,
        }
    }

    /// The version and the length of its slot.
    fn read_root(file: &File, version: u32) -> Result<Option<(u32, usize)>, Error> {
        let mut root = [0; 16];
        if file.metadata()?.len() < Self::place(version) + 16 {
            return Ok(None);
        }
        file.read_exact_at(&mut root, Self::place(version))?;
        let (fields, sum) = root.split_at(8);
        let (version, length) = fields.split_at(4);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, b| sum << 8 | u32::from(*b));
        let is_whole = KIND == ONE || *sum == hash(fields).to_le_bytes();
        Ok(is_whole.then(|| (number(version), number(length) as usize)).filter(|(v, _)| *v > 0))
    }
}

impl<const KIND: u8> Store for Roots<KIND> {
    const NAME: &'static str = match KIND {
        ONE => "trusts-a-sector",
        TOGETHER => "two-roots-in-a-sector",
        _ => "two-roots-apart",
    };

    fn open(dir: &Path) -> Result<Self, Error> {
        let open = |name: &str| {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true).open(dir.join(name))
        };
        let (slots, root) = ([open("slot0")?, open("slot1")?], open("root")?);
        File::open(dir)?.sync_all()?;
        let roots = [Self::read_root(&root, 0)?, Self::read_root(&root, 1)?];
        let newest = roots.into_iter().flatten().max();
        let (version, items) = match newest {
            None => (0, Items::new()),
            Some((version, length)) => {
                let slot = fs::read(dir.join(format!("slot{}", version % 2)))?;
                let slot = slot.get(..length).ok_or("the slot is shorter than its root says")?;
                (version, if slot.is_empty() { Items::new() } else { decode(slot)? })
            }
        };
        Ok(Self { slots, root, version, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let (version, bytes) = (self.version + 1, encode(&self.items));
        let slot = &self.slots[(version % 2) as usize];
        slot.write_all_at(&bytes, 0)?;
        slot.sync_all()?;
        let fields = [version.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat();
        let root = [&fields[..], &hash(&fields).to_le_bytes()].concat();
        self.root.write_all_at(&root, Self::place(version))?;
        self.root.sync_all()?;
        self.version = version;
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The store breaks on the second profile at each seed, with a case that replays, and never on the
/// first one.
fn only<S: Store + 'static>(without: &str, with: &str) -> Vec<String> {
    let entry = sim::<KeyValue<S>>();
    let mut cases = Vec::new();
    for seed in SEEDS {
        let finding = find(&entry, without, Seed(seed), WORKLOADS);
        assert!(finding.class.is_none(), "on {without}: {}", finding.report);
        let finding = find(&entry, with, Seed(seed), WORKLOADS);
        assert!(finding.class.is_some(), "not found on {with} at seed {seed}");
        assert_eq!(check_case(&entry, &finding.case), Ok(()), "{}", finding.case);
        cases.push(finding.case);
    }
    cases
}

#[test]
fn only_tears_inside_a_sector_show_a_root_without_a_checksum() {
    only::<Roots<ONE>>("posix", "posix-bytes");
}

#[test]
fn only_junk_shows_two_roots_in_one_sector() {
    for case in only::<Roots<TOGETHER>>("posix-bytes", "posix-garbage") {
        assert!(case.lines().any(|line| line.contains("tear=") && line.contains('?')), "{case}");
    }
}

#[test]
fn two_roots_in_sectors_of_their_own_hold_on_every_variant() {
    let entry = sim::<KeyValue<Roots<APART>>>();
    for profile in ["posix", "posix-torn", "posix-bytes", "posix-garbage"] {
        for seed in SEEDS {
            let finding = find(&entry, profile, Seed(seed), WORKLOADS);
            assert!(finding.class.is_none(), "on {profile}: {}", finding.report);
        }
    }
}

#[test]
fn a_case_with_junk_needs_a_profile_that_has_it() {
    let case = |profile: &str, tear: &str| {
        format!(
            "sim two-roots-in-a-sector\nprofile {profile}\nseed 0x1\nexpect pass\nput k v\nsync\n\
             crash power step=2 effect=1 keep=nothing tear=slot1@0:{tear}\n"
        )
    };
    let entry = sim::<KeyValue<Roots<TOGETHER>>>();
    let check = |profile, tear| check_case(&entry, &case(profile, tear)).map_err(|e| e.to_string());
    assert_eq!(check("posix-garbage", "512?"), Ok(()));
    let refused = check("posix", "512?").unwrap_err();
    assert!(refused.contains("on posix no sector holds junk"), "{refused}");
    let refused = check("posix-garbage", "512?+512..1024").unwrap_err();
    assert!(refused.contains("512..1024 comes after what follows it"), "{refused}");
}
