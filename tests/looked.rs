//! What a recovery looks at besides names and bytes decides which recoveries are the same: times,
//! inode numbers, modes, owners, holes. For each, a correct store that looks passes, and its twin
//! that does not sync has its own violation, not a complaint about the run.
#![expect(unsafe_code, reason = "some stores call what a program in C calls")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crashpoint::{Class, Error, Found, KeyValue, Level, Seed, Store, check_case, find, sim};

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

const CONSTANT: u8 = 0;
const MODIFIED: u8 = 1;
const NUMBER: u8 = 2;
const CHANGED: u8 = 3;
const BLOCKS: u8 = 4;
const LINKS: u8 = 5;
const DATA: u8 = 6;
const FREE: u8 = 7;
const LISTED: u8 = 8;
const NAMELESS: u8 = 9;
const CREATED: u8 = 10;
const OWN: u8 = 11;

/// The sum of what a look at the log and its folder shows.
fn look(what: u8, dir: &Path) -> Result<String, Error> {
    let of = fs::metadata(dir.join("log"))?;
    Ok(match what {
        MODIFIED => format!("{}.{:09}", of.mtime(), of.mtime_nsec()),
        CHANGED => format!("{}.{:09}", of.ctime(), of.ctime_nsec()),
        CREATED => format!("{:?}", of.created()?),
        NUMBER => of.ino().to_string(),
        BLOCKS => of.blocks().to_string(),
        LINKS => of.nlink().to_string(),
        DATA => {
            let log = File::open(dir.join("log"))?;
            // SAFETY: the descriptor is open.
            unsafe { libc::lseek(log.as_raw_fd(), 0, libc::SEEK_HOLE) }.to_string()
        }
        FREE => {
            let path = CString::new(dir.as_os_str().as_bytes())?;
            // SAFETY: all zeros are a valid structure, and the path is a C string.
            let room = unsafe {
                let mut room: libc::statvfs = std::mem::zeroed();
                assert_eq!(libc::statvfs(path.as_ptr(), &raw mut room), 0);
                room
            };
            format!("{} {}", room.f_bfree, room.f_ffree)
        }
        LISTED => {
            let mut listed = Vec::new();
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                listed.push(format!("{:?} {}", entry.file_name(), entry.ino()));
            }
            listed.join(",")
        }
        NAMELESS => {
            let path = CString::new(dir.as_os_str().as_bytes())?;
            let flags = libc::O_TMPFILE | libc::O_RDWR;
            // SAFETY: the path is a C string; the descriptor is new, and the file owns it.
            let file = unsafe { File::from_raw_fd(libc::open(path.as_ptr(), flags, 0o600)) };
            let name = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            format!("{name:?}")
        }
        OWN => {
            fs::write(dir.join("own"), b"x")?;
            let own = fs::metadata(dir.join("own"))?;
            format!("{} {}.{:09}", own.ino(), own.mtime(), own.mtime_nsec())
        }
        _ => "7".to_owned(),
    })
}

/// The items of the whole lines at the front of a log, and the length of these lines.
fn replay(log: &[u8]) -> (Items, usize) {
    let whole = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let whole = log[..whole].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut items = Items::new();
    for line in log[..whole].split(|&byte| byte == b'\n') {
        match line.splitn(3, |&byte| byte == b' ').collect::<Vec<_>>()[..] {
            [b"put", key, value] => drop(items.insert(key.to_vec(), value.to_vec())),
            [b"delete", key] => drop(items.remove(key)),
            _ => {}
        }
    }
    (items, whole)
}

/// A log that is synced (`SYNC`) or not, with a note of what a look at it shows.
struct Noted<const WHAT: u8, const SYNC: bool> {
    log: File,
    items: Items,
}

impl<const WHAT: u8, const SYNC: bool> Noted<WHAT, SYNC> {
    fn append(&mut self, line: &[u8]) -> Result<(), Error> {
        self.log.write_all(line)?;
        if SYNC {
            self.log.sync_all()?;
        }
        Ok(())
    }
}

impl<const WHAT: u8, const SYNC: bool> Store for Noted<WHAT, SYNC> {
    const NAME: &'static str = "noted";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log");
        let log = OpenOptions::new().append(true).create(true).open(&path)?;
        let seen = look(WHAT, dir)?;
        let old = fs::read(&path)?;
        let (items, whole) = replay(&old);
        if whole < old.len() {
            log.set_len(whole as u64)?;
        }
        log.sync_all()?;
        fs::write(dir.join("seen"), seen)?;
        File::open(dir)?.sync_all()?;
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.append(&[b"put ", key, b" ", value, b"\n"].concat())?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.append(&[b"delete ", key, b"\n"].concat())?;
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

const WORKLOADS: u64 = 2;

fn silent<S: Store>(profiles: &[&str], seeds: &[u64]) {
    for profile in profiles {
        for seed in seeds {
            let found = find(&sim::<KeyValue<S>>(), profile, Seed(*seed), WORKLOADS);
            assert_eq!(found.class, None, "{profile}, seed {seed}: {}", found.report);
        }
    }
}

fn found<S: Store>(profile: &str, workloads: u64) -> Found {
    let entry = sim::<KeyValue<S>>();
    let found = find(&entry, profile, Seed(1), workloads);
    assert!(found.class.is_some(), "nothing found on {profile}");
    assert_eq!(check_case(&entry, &found.case), Ok(()), "{}", found.case);
    found
}

/// A store that looks is as right, and as wrong, as one that writes a constant.
fn looks<const WHAT: u8>() {
    silent::<Noted<WHAT, true>>(&["posix", "ext4"], &[1, 2]);
    silent::<Noted<WHAT, true>>(&["xfs", "btrfs", "tail-prefix"], &[3]);
    let twin = found::<Noted<CONSTANT, false>>("posix", WORKLOADS);
    let found = found::<Noted<WHAT, false>>("posix", WORKLOADS);
    assert_eq!((found.class, twin.class), (Some(Class::LostWrite), Some(Class::LostWrite)));
}

macro_rules! looks {
    ($($test:ident $what:ident),* $(,)?) => {
        $(#[test] fn $test() { looks::<$what>(); })*
    };
}

looks! {
    a_store_may_note_when_its_log_was_modified MODIFIED,
    a_store_may_note_when_its_log_was_changed CHANGED,
    a_store_may_note_when_its_log_was_created CREATED,
    a_store_may_note_the_number_of_its_log NUMBER,
    a_store_may_note_the_blocks_of_its_log BLOCKS,
    a_store_may_note_the_links_of_its_log LINKS,
    a_store_may_note_where_its_log_has_a_hole DATA,
    a_store_may_note_how_much_room_is_left FREE,
    a_store_may_note_the_numbers_in_its_folder LISTED,
    a_store_may_note_the_path_of_a_nameless_file NAMELESS,
    a_store_may_note_when_it_wrote_a_new_file OWN,
}

/// Snapshots of all items, the newest of which counts: by its time, or by its number.
struct Newest<const BY_TIME: bool> {
    dir: PathBuf,
    next: u64,
    items: Items,
}

impl<const BY_TIME: bool> Newest<BY_TIME> {
    fn save(&mut self) -> Result<(), Error> {
        let mut text = Vec::new();
        for (key, value) in &self.items {
            text.extend([b"put ", &key[..], b" ", &value[..], b"\n"].concat());
        }
        text.extend(b"end\n");
        let (new, path) = (self.dir.join("new"), self.dir.join(format!("{}.snap", self.next)));
        // After a crash inside the rename it may be another name of the last snapshot.
        let _ = fs::remove_file(&new);
        let mut file = File::create_new(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(&self.dir)?.sync_all()?;
        // The one before the last stays, in case the last is damaged.
        if let Some(old) = self.next.checked_sub(2) {
            let _ = fs::remove_file(self.dir.join(format!("{old}.snap")));
        }
        self.next += 1;
        Ok(())
    }
}

impl<const BY_TIME: bool> Store for Newest<BY_TIME> {
    const NAME: &'static str = "newest";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let mut snapshots = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "snap") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let modified = fs::metadata(&path)?.modified()?;
                snapshots.push((stem.parse::<u64>()?, modified, path));
            }
        }
        let next = snapshots.iter().map(|(number, ..)| number + 1).max().unwrap_or(0);
        // The first of the newest by time: two that one tick made have the same time.
        let newest: Option<&(u64, SystemTime, PathBuf)> = match BY_TIME {
            true => snapshots.iter().reduce(|best, one| if one.1 > best.1 { one } else { best }),
            false => snapshots.iter().max_by_key(|(number, ..)| *number),
        };
        let items = match newest {
            Some((.., path)) => replay(&fs::read(path)?).0,
            None => Items::new(),
        };
        Ok(Self { dir: dir.to_owned(), next, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.items.insert(key.to_vec(), value.to_vec());
        self.save()
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.items.remove(key);
        self.save()
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

#[test]
fn two_snapshots_of_one_tick_have_the_same_time() {
    for profile in ["posix", "ext4", "xfs", "btrfs"] {
        found::<Newest<true>>(profile, 4);
    }
    silent::<Newest<false>>(&["posix", "ext4"], &[1, 2]);
}

/// A log that a mark in its inode seals; the items after it are in another file. A store that finds
/// no seal drops the other file.
struct Sealed<const MARK: u8, const SYNC: bool> {
    log: File,
    items: Items,
}

const MODE: u8 = 0;
const OWNER: u8 = 1;
const TIME: u8 = 2;

fn seal(mark: u8, file: &File) -> Result<(), Error> {
    match mark {
        MODE => file.set_permissions(Permissions::from_mode(0o444))?,
        OWNER => std::os::unix::fs::fchown(file, Some(7), Some(8))?,
        _ => file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(5))?,
    }
    Ok(())
}

fn is_sealed(mark: u8, path: &Path) -> Result<bool, Error> {
    let of = fs::metadata(path)?;
    Ok(match mark {
        MODE => of.mode() & 0o777 == 0o444,
        OWNER => (of.uid(), of.gid()) == (7, 8),
        _ => of.mtime() == 5,
    })
}

impl<const MARK: u8, const SYNC: bool> Store for Sealed<MARK, SYNC> {
    const NAME: &'static str = "sealed";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let (first, second) = (dir.join("first"), dir.join("second"));
        let log = OpenOptions::new().append(true).create(true).open(&first)?;
        if !is_sealed(MARK, &first)? {
            // The store was not made to its end: it begins anew.
            let _ = fs::remove_file(&second);
            log.sync_all()?;
            seal(MARK, &log)?;
        }
        if SYNC {
            // Also of a seal that an earlier process left in the cache.
            log.sync_all()?;
        }
        let log = OpenOptions::new().append(true).create(true).open(&second)?;
        let old = fs::read(&second)?;
        let (items, whole) = replay(&old);
        log.set_len(whole as u64)?;
        log.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"put ", key, b" ", value, b"\n"].concat())?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(self.log.sync_data()?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"delete ", key, b"\n"].concat())?;
        self.items.remove(key);
        Ok(self.log.sync_data()?)
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

/// Where a directory is synced alone (btrfs), or nothing else forces it (posix, xfs), the seal is
/// lost; on ext4 the sync of the folder forces the whole journal.
fn needs_a_sync<const MARK: u8>() {
    for profile in ["posix", "tail-prefix", "btrfs"] {
        let found = found::<Sealed<MARK, false>>(profile, 3);
        assert_eq!(found.class, Some(Class::LostWrite), "{profile}: {}", found.report);
    }
    silent::<Sealed<MARK, false>>(&["ext4"], &[1]);
    silent::<Sealed<MARK, true>>(&["posix", "tail-prefix", "ext4", "xfs", "btrfs"], &[1]);
}

#[test]
fn permission_bits_are_not_durable_without_a_sync() {
    needs_a_sync::<MODE>();
}

#[test]
fn an_owner_is_not_durable_without_a_sync() {
    needs_a_sync::<OWNER>();
}

#[test]
fn a_time_that_was_set_is_not_durable_without_a_sync() {
    needs_a_sync::<TIME>();
}
