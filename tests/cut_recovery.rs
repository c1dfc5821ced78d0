//! Crashes inside recoveries that only a torn block calls for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crashpoint::inner::base::digest::hash;
use crashpoint::inner::sim::store::{KeyModel, KeyOp, StoreEngine};
use crashpoint::{Error, KeyValue, Promises, Seed, Sim, Step, Store, check_case, find, sim};
use proptest::strategy::{BoxedStrategy, Strategy};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

const BLOCK: usize = 4096;

/// The bytes of each item.
const SLOT: usize = 256;

fn encode(items: &Items) -> Vec<u8> {
    let mut page = vec![0; BLOCK - 8];
    for (slot, (key, value)) in page.chunks_exact_mut(SLOT).zip(items) {
        slot[0] = key.len() as u8;
        slot[1] = value.len() as u8;
        slot[2..2 + key.len()].copy_from_slice(key);
        slot[2 + key.len()..2 + key.len() + value.len()].copy_from_slice(value);
    }
    page
}

fn decode(page: &[u8]) -> Items {
    let slots = page.chunks_exact(SLOT).take_while(|slot| slot[0] > 0);
    let item = |slot: &[u8]| {
        let (key, rest) = slot[2..].split_at(slot[0].into());
        (key.to_vec(), rest[..slot[1].into()].to_vec())
    };
    slots.map(item).collect()
}

/// A page with a checksum that is written in place, after a copy of it. Recovery repairs a torn
/// page from the copy; with `SYNCS`, it syncs the page before the copy may go.
struct Repaired<const SYNCS: bool> {
    dir: PathBuf,
    page: File,
    items: Items,
}

fn sealed(page: &[u8]) -> Vec<u8> {
    [&(hash(page) | 1).to_le_bytes()[..], page].concat()
}

/// The content of a page that is whole.
fn opened(bytes: &[u8]) -> Option<&[u8]> {
    let page = bytes.get(8..)?;
    (bytes.len() == BLOCK && bytes == sealed(page)).then_some(page)
}

impl<const SYNCS: bool> Repaired<SYNCS> {
    fn sync_dir(&self) -> Result<(), Error> {
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    fn remove_copy(&self) -> Result<(), Error> {
        match fs::remove_file(self.dir.join("copy")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            Err(_) => Ok(()),
            Ok(()) => self.sync_dir(),
        }
    }
}

impl<const SYNCS: bool> Store for Repaired<SYNCS> {
    const NAME: &'static str = if SYNCS { "repairs" } else { "repairs-unsynced" };

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        let page = options.create(true).truncate(false).read(true).write(true);
        let page = page.open(dir.join("page"))?;
        let mut store = Self { dir: dir.to_owned(), page, items: Items::new() };
        let mut bytes = fs::read(dir.join("page"))?;
        let mut repaired = false;
        if opened(&bytes).is_none() {
            let copy = fs::read(dir.join("copy")).unwrap_or_default();
            match opened(&copy) {
                Some(_) => bytes = copy,
                // A page is written only after its copy.
                None if bytes.iter().all(|byte| *byte == 0) => bytes = sealed(&[0; BLOCK - 8]),
                None => return Err("the page is torn and has no copy".into()),
            }
            store.page.write_all_at(&bytes, 0)?;
            repaired = true;
        }
        if SYNCS || !repaired {
            store.page.sync_all()?;
        }
        store.sync_dir()?;
        store.remove_copy()?;
        store.page.sync_all()?;
        store.items = decode(opened(&bytes).ok_or("the page is torn")?);
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
        let page = sealed(&encode(&self.items));
        let mut copy = File::create(self.dir.join("copy"))?;
        copy.write_all(&page)?;
        copy.sync_all()?;
        self.sync_dir()?;
        self.page.write_all_at(&page, 0)?;
        self.page.sync_all()?;
        self.remove_copy()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// The store with items that fit.
struct Small<const SYNCS: bool>;

impl<const SYNCS: bool> Sim for Small<SYNCS> {
    type Engine = StoreEngine<Repaired<SYNCS>>;
    type Model = KeyModel;

    const NAME: &'static str = Repaired::<SYNCS>::NAME;
    const ABOUT: &'static str = "a page that is repaired from its copy";

    fn promises() -> Promises<KeyModel> {
        KeyValue::<Repaired<SYNCS>>::promises()
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
        KeyValue::<Repaired<SYNCS>>::workload(steps).prop_map(all).boxed()
    }
}

#[test]
fn a_repair_of_a_torn_page_is_cut() {
    let entry = sim::<Small<false>>();
    let mut found = 0;
    for seed in 0..20 {
        let finding = find(&entry, "posix", Seed(seed), 6);
        if finding.class.is_none() {
            continue;
        }
        found += 1;
        let crashes = finding.case.lines().filter(|line| line.trim().starts_with("crash ")).count();
        assert!(crashes >= 2, "{}", finding.case);
        assert_eq!(check_case(&entry, &finding.case), Ok(()), "{}", finding.case);
    }
    assert!(found >= 14, "found with {found} of 20 seeds");
}

#[test]
fn a_repair_that_is_synced_may_be_cut() {
    let entry = sim::<Small<true>>();
    for seed in 1..=3 {
        let finding = find(&entry, "posix", Seed(seed), 6);
        assert!(finding.class.is_none(), "{}", finding.report);
    }
}
