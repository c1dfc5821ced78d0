//! Epochs differ as real ones do: each has its own entropy and process id, so that a correct engine
//! does not meet its own old names, and finds no process of an earlier epoch.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;

use crashpoint::{CaseFailed, Error, KeyValue, Store, check_case, sim};

/// The items of a store.
type Items = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store whose every opening copies the items into a file with a random name, which must be new.
/// `current` names that file.
struct RandomNames {
    path: std::path::PathBuf,
    items: Items,
}

/// Reads lines `KEY VALUE` up to the last whole line.
fn read(bytes: &[u8]) -> Items {
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split(|&b| b == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let space = line.iter().position(|&b| b == b' ')?;
            Some((line[..space].to_vec(), line[space + 1..].to_vec()))
        })
        .collect()
}

impl RandomNames {
    fn write(&self) -> Result<(), Error> {
        let mut text = Vec::new();
        for (key, value) in &self.items {
            text.extend([key, &b" "[..], value, b"\n"].concat());
        }
        let aside = self.path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        Ok(File::open(self.path.parent().ok_or("no folder")?)?.sync_all()?)
    }
}

impl Store for RandomNames {
    fn open(dir: &Path) -> Result<Self, Error> {
        let current = fs::read_to_string(dir.join("current")).unwrap_or_default();
        let items = match fs::read(dir.join(&current)) {
            Ok(bytes) if !current.is_empty() => read(&bytes),
            _ => Items::new(),
        };
        // std seeds its hashes from the system's entropy.
        let name = format!("data-{:016x}", RandomState::new().hash_one(0));
        let path = dir.join(&name);
        // A name that exists belongs to another store: that must never be overwritten.
        OpenOptions::new().write(true).create_new(true).open(&path)?;
        let store = Self { path, items };
        store.write()?;
        // On `posix` a power loss may leave one file under both names of a rename. The next line
        // would empty it, and a crash before the rename would lose `current`.
        let _ = fs::remove_file(dir.join("current.new"));
        fs::write(dir.join("current.new"), &name)?;
        File::open(dir.join("current.new"))?.sync_all()?;
        fs::rename(dir.join("current.new"), dir.join("current"))?;
        File::open(dir)?.sync_all()?;
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
        self.write()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// [`RandomNames`] behind a guard: `owner` holds the id of the process that has the store open, and
/// a process that finds another one alive refuses to open it.
struct Guarded(RandomNames);

impl Store for Guarded {
    fn open(dir: &Path) -> Result<Self, Error> {
        let own = std::process::id();
        let owner = fs::read_to_string(dir.join("owner")).unwrap_or_default();
        if let Some(pid) = owner.trim().parse::<i32>().ok().and_then(rustix::process::Pid::from_raw)
            && rustix::process::test_kill_process(pid).is_ok()
        {
            return Err(format!("process {owner} has the store open, and this is {own}").into());
        }
        fs::write(dir.join("owner.new"), own.to_string())?;
        fs::rename(dir.join("owner.new"), dir.join("owner"))?;
        let opened = RandomNames::open(dir);
        // A clean close removes it; the drop of this store stands for that.
        Ok(Self(opened?))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.delete(key)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.0.sync()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.0.scan()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(dir) = self.0.path.parent() {
            let _ = fs::remove_file(dir.join("owner"));
        }
    }
}

/// A store that was created in a boot of the machine, and opens in no other.
struct OneBoot(RandomNames);

impl Store for OneBoot {
    fn open(dir: &Path) -> Result<Self, Error> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let created = fs::read_to_string(dir.join("boot")).unwrap_or_default();
        if !created.is_empty() && created != boot {
            return Err("the machine was booted since".into());
        }
        fs::write(dir.join("boot"), boot)?;
        File::open(dir.join("boot"))?.sync_all()?;
        Ok(Self(RandomNames::open(dir)?))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.delete(key)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.0.sync()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.0.scan()
    }
}

#[test]
fn a_power_loss_boots_the_machine_and_a_process_crash_does_not() {
    let format = "crashpoint-case 1\n";
    assert_eq!(crashed_after_a_sync::<OneBoot>(format, "process", ""), Ok(()));
    let booted = crashed_after_a_sync::<OneBoot>(format, "power", " down=1s keep=all");
    let booted = booted.expect_err("it is another boot").to_string();
    assert!(booted.contains("the machine was booted since"), "{booted}");
}

#[test]
fn a_store_that_draws_names_does_not_meet_its_own_after_a_crash() {
    crashpoint::check_store::<RandomNames>();
}

#[test]
fn a_store_that_refuses_a_living_owner_opens_after_a_crash() {
    crashpoint::check_store::<Guarded>();
}

fn killed_after_a_sync<S: Store>(head: &str) -> Result<(), CaseFailed> {
    crashed_after_a_sync::<S>(head, "process", "")
}

/// What comes of a case that syncs a value, crashes and recovers. The number of changes that a sync
/// makes depends on the store: the crash comes where the sync has returned.
fn crashed_after_a_sync<S: Store>(head: &str, kind: &str, fate: &str) -> Result<(), CaseFailed> {
    let sim = sim::<KeyValue<S>>();
    let start = format!("{head}sim {}\nprofile posix\nseed 0x1\nexpect pass\n", sim.name);
    let at = |effect| {
        let crash = format!("crash {kind} step=2 effect={effect} returned{fate}\n");
        let result = check_case(&sim, &format!("{start}put k v\nsync\n{crash}"));
        let text = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let fits = !text.contains("the run never reaches") && !text.contains("never returns");
        fits.then_some(result)
    };
    (0..40).find_map(at).expect("the sync returns")
}

#[test]
fn epochs_that_share_their_identity_are_those_of_old_cases() {
    let shared = "crashpoint-case 1\nidentity shared\n";
    let why = |result: Result<(), CaseFailed>| result.expect_err("it meets itself").to_string();

    assert_eq!(killed_after_a_sync::<RandomNames>("crashpoint-case 1\n"), Ok(()));
    let met = why(killed_after_a_sync::<RandomNames>(shared));
    assert!(met.contains("open-failed") && met.contains("File exists"), "{met}");
    assert_eq!(why(killed_after_a_sync::<RandomNames>("")), met);

    assert_eq!(killed_after_a_sync::<Guarded>("crashpoint-case 1\n"), Ok(()));
    let met = why(killed_after_a_sync::<Guarded>(shared));
    assert!(met.contains("has the store open"), "{met}");
}
