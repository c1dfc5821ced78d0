//! Profiles that are used only when named: for each, a store with a bug that only this profile
//! shows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crashpoint::inner::base::digest::hash;
use crashpoint::inner::sim::store::{KeyModel, KeyOp, StoreEngine};
use crashpoint::{
    Class, Error, Found, KeyValue, Profile, Promises, Seed, Sim, Step, Store, TearRule, check_case,
    find, sim,
};
use proptest::strategy::{BoxedStrategy, Strategy};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

const BLOCK: usize = 4096;

/// The finding on one profile, which the other does not have and whose case replays.
fn only<S: Sim>(without: &str, with: &str) -> Found {
    let entry = sim::<S>();
    let finding = find(&entry, without, Seed(1), 6);
    assert!(finding.class.is_none(), "on {without}: {}", finding.report);
    let finding = find(&entry, with, Seed(1), 6);
    assert!(finding.class.is_some(), "not found on {with}");
    assert_eq!(check_case(&entry, &finding.case), Ok(()), "{}", finding.case);
    finding
}

/// A log of blocks, each with a checksum. A block of zeros ends it; any other checksum error is
/// treated as damage, never as the end.
struct Blocks {
    log: File,
    items: Items,
}

/// A key and a value in whole blocks: eight bytes of checksum, the rest of the block.
fn blocks(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let value = value.map_or(vec![0], |value| [b"v", value].concat());
    let lengths = [key.len() as u32, value.len() as u32].map(u32::to_le_bytes).concat();
    let record = [&lengths, key, &value].concat();
    let block = |part: &[u8]| {
        let mut block = vec![0; BLOCK];
        block[8..8 + part.len()].copy_from_slice(part);
        let sum = hash(&block[8..]) | 1;
        block[..8].copy_from_slice(&sum.to_le_bytes());
        block
    };
    record.chunks(BLOCK - 8).flat_map(block).collect()
}

/// The items of the records at the front, and how many bytes the records take.
fn replay(log: &[u8]) -> Result<(Items, usize), Error> {
    let (mut items, mut record, mut end) = (Items::new(), Vec::new(), 0);
    for (number, block) in log.chunks_exact(BLOCK).enumerate() {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let sum = u64::from_le_bytes(block[..8].try_into()?);
        if sum != hash(&block[8..]) | 1 {
            return Err(format!("block {number} is damaged").into());
        }
        record.extend_from_slice(&block[8..]);
        let length =
            |at| u32::from_le_bytes([0, 1, 2, 3].map(|byte: usize| record[at + byte])) as usize;
        let (key, value) = (length(0), length(4));
        if record.len() < 8 + key + value {
            continue;
        }
        let (name, rest) = record[8..].split_at(key);
        match rest[..value] {
            [0] => drop(items.remove(name)),
            ref value => drop(items.insert(name.to_vec(), value[1..].to_vec())),
        }
        record.clear();
        end = (number + 1) * BLOCK;
    }
    Ok((items, end))
}

impl Store for Blocks {
    const NAME: &'static str = "zeros-end-the-log";
    const PROFILES: &'static [Profile] = &[Profile::EXT4_WRITEBACK_STALE];

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log");
        let log = File::options().create(true).append(true).open(&path)?;
        File::open(dir)?.sync_all()?;
        let (items, end) = replay(&fs::read(&path)?)?;
        log.set_len(end as u64)?;
        log.sync_all()?;
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.log.write_all(&blocks(key, Some(value)))?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.log.write_all(&blocks(key, None))?;
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(self.log.sync_data()?)
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

#[test]
fn only_stale_blocks_show_that_only_zeros_end_a_log() {
    let finding = only::<KeyValue<Blocks>>("ext4-writeback", "ext4-writeback-stale");
    assert_eq!(finding.class, Some(Class::OpenFailed), "{}", finding.report);
    assert!(finding.case.lines().any(|line| line.ends_with(" stale")), "{}", finding.case);
}

#[test]
fn a_case_with_stale_blocks_needs_a_profile_that_has_them() {
    let case = |profile: &str| {
        format!(
            "sim zeros-end-the-log\nprofile {profile}\nseed 0x1\nexpect open-failed\nput k v\n\
             crash power step=1 effect=1 keep=nothing log.size:1 stale\n"
        )
    };
    let check = |profile| check_case(&sim::<KeyValue<Blocks>>(), &case(profile));
    assert_eq!(check("posix-stale"), Ok(()));
    let refused = check("posix").unwrap_err();
    assert!(
        refused.to_string().contains("line 6, column 53: on posix no block is stale"),
        "{refused}"
    );
}

/// One block that is written in place. A copy of the old content stays until the block is written,
/// but not until it is synced.
struct Page {
    dir: PathBuf,
    page: File,
    items: Items,
}

/// The bytes of each item.
const SLOT: usize = 256;

fn encode(items: &Items) -> Vec<u8> {
    let mut page = vec![0; BLOCK];
    for (slot, (key, value)) in page.chunks_mut(SLOT).zip(items) {
        slot[0] = key.len() as u8;
        slot[1] = value.len() as u8;
        slot[2..2 + key.len()].copy_from_slice(key);
        slot[2 + key.len()..2 + key.len() + value.len()].copy_from_slice(value);
    }
    page
}

fn decode(page: &[u8]) -> Items {
    let slots = page.chunks(SLOT).take_while(|slot| slot[0] > 0);
    let item = |slot: &[u8]| {
        let (key, rest) = slot[2..].split_at(slot[0].into());
        (key.to_vec(), rest[..slot[1].into()].to_vec())
    };
    slots.map(item).collect()
}

impl Page {
    fn sync_dir(&self) -> Result<(), Error> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }
}

impl Store for Page {
    const NAME: &'static str = "copy-removed-too-soon";

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        let page = options.create(true).read(true).write(true).open(dir.join("page"))?;
        let mut store = Self { dir: dir.to_owned(), page, items: Items::new() };
        match fs::read(dir.join("copy")) {
            Ok(copy) if copy.len() == BLOCK + 8 && copy[..8] == hash(&copy[8..]).to_le_bytes() => {
                store.page.write_all_at(&copy[8..], 0)?;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        store.page.sync_all()?;
        let _ = fs::remove_file(dir.join("copy"));
        store.sync_dir()?;
        store.items = decode(&fs::read(dir.join("page"))?);
        Ok(store)
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
        let mut before = vec![0; BLOCK];
        let length = self.page.read_at(&mut before, 0)?;
        assert!([0, BLOCK].contains(&length));
        let mut copy = File::create(self.dir.join("copy"))?;
        copy.write_all(&[&hash(&before).to_le_bytes()[..], &before].concat())?;
        copy.sync_all()?;
        self.sync_dir()?;
        self.page.write_all_at(&encode(&self.items), 0)?;
        fs::remove_file(self.dir.join("copy"))?;
        self.page.sync_all()?;
        self.sync_dir()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The store of one page, with items that fit.
struct Small;

impl Sim for Small {
    type Engine = StoreEngine<Page>;
    type Model = KeyModel;

    const NAME: &'static str = Page::NAME;
    const ABOUT: &'static str = "a page that is written in place";

    fn promises() -> Promises<KeyModel> {
        KeyValue::<Page>::promises()
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        let fitting = |step| match step {
            Step::Op(KeyOp::Put(mut key, mut value)) => {
                key.truncate(2);
                value.resize(200, b'w');
                Step::Op(KeyOp::Put(key, value))
            }
            step => step,
        };
        let all = move |steps: Vec<_>| steps.into_iter().map(fitting).collect();
        KeyValue::<Page>::workload(steps).prop_map(all).boxed()
    }
}

#[test]
fn only_tears_show_a_copy_that_is_removed_before_the_page_is_synced() {
    let finding = only::<Small>("ext4-journal", "posix");
    assert!(finding.case.contains(" tear=page@0:"), "{}", finding.case);
}

/// Two blocks that are written in turn, each with its version at both ends. A block whose ends
/// agree is taken to be whole.
struct Ends {
    pages: File,
    version: u64,
    items: Items,
}

impl Ends {
    /// The version and the items of a block, if its ends agree.
    fn decode(page: &[u8]) -> Option<(u64, Items)> {
        let version = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
        let (first, last) = (version(&page[..8])?, version(&page[BLOCK - 8..])?);
        (first == last).then(|| (first, decode(&page[SLOT..BLOCK - SLOT])))
    }
}

impl Store for Ends {
    const NAME: &'static str = "ends-agree";

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        let pages = options.create(true).truncate(false).read(true).write(true);
        let pages = pages.open(dir.join("pages"))?;
        pages.sync_all()?;
        File::open(dir)?.sync_all()?;
        let bytes = fs::read(dir.join("pages"))?;
        let found = bytes.chunks_exact(BLOCK).filter_map(Self::decode);
        let (version, items) = found.max_by_key(|(version, _)| *version).unwrap_or_default();
        Ok(Self { pages, version, items })
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
        self.version += 1;
        let mut page = vec![0; BLOCK];
        page[SLOT..].copy_from_slice(&encode(&self.items)[..BLOCK - SLOT]);
        page[BLOCK - SLOT..].fill(0);
        page[..8].copy_from_slice(&self.version.to_le_bytes());
        page[BLOCK - 8..].copy_from_slice(&self.version.to_le_bytes());
        self.pages.write_all_at(&page, self.version % 2 * BLOCK as u64)?;
        Ok(self.pages.sync_all()?)
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// That store, with items that fit.
struct SmallEnds;

impl Sim for SmallEnds {
    type Engine = StoreEngine<Ends>;
    type Model = KeyModel;

    const NAME: &'static str = Ends::NAME;
    const ABOUT: &'static str = "blocks that are whole if their ends agree";

    fn promises() -> Promises<KeyModel> {
        KeyValue::<Ends>::promises()
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        Small::workload(steps)
    }
}

#[test]
fn only_tears_in_any_set_of_sectors_show_that_equal_ends_do_not_make_a_block_whole() {
    let finding = only::<SmallEnds>("posix", "posix-torn");
    assert!(finding.case.contains(" tear=pages@"), "{}", finding.case);
}

/// The store of one page on a profile of the sim: sectors as long as a block.
struct OnLongSectors;

impl Sim for OnLongSectors {
    type Engine = StoreEngine<Page>;
    type Model = KeyModel;

    const NAME: &'static str = Page::NAME;
    const ABOUT: &'static str = Small::ABOUT;
    const PROFILES: &'static [Profile] = &[Profile {
        name: "torn-4k",
        tear: TearRule { sector: 4096, ..Profile::POSIX_TORN.tear },
        ..Profile::POSIX_TORN
    }];

    fn promises() -> Promises<KeyModel> {
        Small::promises()
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        Small::workload(steps)
    }
}

#[test]
fn a_sim_may_define_a_profile_that_is_built_on_another() {
    only::<OnLongSectors>("torn-4k", "posix-torn");
    crashpoint::check::<OnLongSectors>();
    let case = "sim copy-removed-too-soon\nprofile torn-8k\nseed 0x1\nexpect pass\nsync\n";
    let refused = check_case(&sim::<OnLongSectors>(), case).unwrap_err();
    assert!(refused.to_string().contains("there is no profile `torn-8k`"), "{refused}");
    assert!(refused.to_string().ends_with("btrfs-2020, torn-4k"), "{refused}");
}

#[test]
fn the_verdict_names_the_profile_that_a_store_asks_for() {
    let failed = std::panic::catch_unwind(crashpoint::check_store::<Blocks>);
    let payload = failed.expect_err("a stale block does not end the log");
    let report = payload.downcast_ref::<String>().expect("a report");
    assert!(report.contains("verdict  lost on ext4-writeback-stale"), "{report}");
    assert!(report.contains("garbage-tail"), "{report}");
}
