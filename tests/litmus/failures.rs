//! The observed effects of a failed fsync on real kernels (`fsync-failure.jsonl`), line by line.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crashpoint::inner::disk::content::Content;
use crashpoint::inner::disk::effect::{Effect, Ino};
use crashpoint::inner::disk::family;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::tree::{Node, Tree};
use crashpoint::inner::disk::{Disk, Errno, Handle, Journal};
use crashpoint::{Profile, Time};
use serde::Deserialize;

const ROOT: Ino = Ino::ROOT;

/// One line of the file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Seen {
    fs: String,
    case: String,
    writes: Vec<i64>,
    device_writes_failed: u32,
    fsync: String,
    fsync_again: String,
    fsync_other_fd: String,
    fsync_fd_opened_later: String,
    syncfs: String,
    cache_after: String,
    after_evict: String,
    later_write: i64,
    later_fsync_device_healthy: String,
    after_remount: String,
}

/// The observations.
fn seen() -> Vec<Seen> {
    let path = crate::folder().join("fsync-failure.jsonl");
    let text = std::fs::read_to_string(path).expect("the observations");
    text.lines().map(|line| serde_json::from_str(line).expect("an observation")).collect()
}

/// Follows the pending pieces of a disk, as its journal.
#[derive(Clone)]
struct Follower(Arc<Mutex<Pending>>);

impl Journal for Follower {
    fn record(&mut self, at: Time, effect: &Effect<'_>) {
        self.0.lock().expect("one thread").apply(effect, at);
    }
}

impl Follower {
    /// Every content that the file may have after the power was lost.
    fn remounted(&self) -> BTreeSet<String> {
        let pending = self.0.lock().expect("one thread");
        let states = family::exhaustive_calm(&pending, None).map(|fate| pending.keep(&fate));
        states.map(|state| shown(&state.tree)).collect()
    }
}

/// The content of the file, as a run-length text.
fn shown(tree: &Tree) -> String {
    let file = tree.entry(ROOT, b"f").and_then(|ino| tree.node(ino)).and_then(Node::content);
    let bytes = file.map(Content::to_vec).unwrap_or_default();
    let runs = bytes.chunk_by(|a, b| a == b);
    let run = |run: &[u8]| {
        let letter = if run[0] == 0 { '.' } else { char::from(run[0]) };
        format!("{letter}*{}", run.len())
    };
    runs.map(run).collect::<Vec<_>>().join(" ")
}

fn word<T>(result: &Result<T, Errno>) -> String {
    result.as_ref().err().map_or_else(|| "ok".to_owned(), ToString::to_string)
}

/// A disk with the durable file of a case on it.
fn disk(case: &str, profile: &Profile) -> (Disk, Follower) {
    let mut disk = Disk::new(Tree::new());
    let file = open(&mut disk, libc::O_CREAT | libc::O_RDWR).expect("a new file");
    let length = if case == "overwrite" { 12288 } else { 4096 };
    disk.write(file, &vec![b'o'; length]).expect("there is room");
    let tree = disk.into_tree();
    let follower = Follower(Arc::new(Mutex::new(Pending::new(tree.clone(), profile))));
    let mut disk = Disk::mounted(tree, profile);
    disk.set_journal(Box::new(follower.clone()));
    (disk, follower)
}

fn open(disk: &mut Disk, flags: i32) -> Result<Handle, Errno> {
    disk.open(ROOT, b"f", flags, 0o644)
}

/// Repeats the calls made on the real file system, and returns what this one showed.
fn again(seen: &Seen, profile: &Profile) -> (Seen, BTreeSet<String>) {
    let (mut disk, follower) = disk(&seen.case, profile);
    let [one, other, root] = [0; 3].map(|_| open(&mut disk, libc::O_RDWR).expect("it exists"));
    let (start, fills) = if seen.case == "overwrite" { (0, b"nF") } else { (4096, b"Fn") };
    for (number, fill) in fills.iter().enumerate() {
        let at = start + 4096 * number as i64;
        disk.write_at(one, &[*fill; 4096], at).expect("there is room");
    }
    let fsync = word(&disk.fail_sync(one, false));
    let cache_after = shown(disk.tree());
    let fsync_again = word(&disk.fsync(one));
    let fsync_other_fd = word(&disk.fsync(other));
    let fsync_fd_opened_later = match open(&mut disk, libc::O_RDWR) {
        Ok(later) => word(&disk.fsync(later)),
        Err(_) => "open failed".to_owned(),
    };
    let syncfs = word(&disk.sync_fs(root));
    let once = word(&disk.fsync(other)) == fsync_again && word(&disk.sync_fs(root)) == fsync_again;
    let syncfs = if once { syncfs } else { "reported twice".to_owned() };
    disk.evict();
    let after_evict = shown(disk.tree());
    let later_write = disk.write_at(one, &[b'l'; 10], 0).map_or(-1, |n| n as i64);
    let later_fsync_device_healthy = word(&disk.fsync(one));
    let again = Seen {
        fsync,
        cache_after,
        fsync_again,
        fsync_other_fd,
        fsync_fd_opened_later,
        syncfs,
        after_evict,
        later_write,
        later_fsync_device_healthy,
        ..seen.clone()
    };
    (again, follower.remounted())
}

/// The profile of a file system that was observed.
fn profile_of(fs: &str) -> &'static str {
    match fs {
        "ext4,data=journal" => "ext4-journal",
        "ext4,nodelalloc" => "ext4-nodelalloc",
        "xfs" => "xfs",
        "btrfs" => "btrfs",
        _ => "ext4",
    }
}

/// The differences between a profile and the observations of its file system.
pub(crate) fn differences(profile: &Profile) -> Vec<String> {
    let mut wrong = Vec::new();
    for seen in seen().iter().filter(|seen| profile_of(&seen.fs) == profile.name) {
        let (again, remounted) = again(seen, profile);
        if again != *seen {
            wrong.push(format!("{}: {again:?}\nwas seen as {seen:?}", profile.name));
        }
        // An eviction of the pages showed the medium's version: nothing is undecided any more,
        // except for the contents of a journal that was given up.
        let decided = again.later_fsync_device_healthy == "ok";
        if !remounted.contains(&seen.after_remount) || (decided && remounted.len() > 1) {
            let name = profile.name;
            wrong.push(format!("{name}, {}: {remounted:?} after the next mount", seen.case));
        }
    }
    wrong
}

#[test]
fn each_observed_failed_fsync_is_reproduced() {
    let wrong: Vec<String> = Profile::all().iter().flat_map(differences).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen().len(), 10);
}

// The observations of the 2020 study, which no run uses by default.

#[test]
fn btrfs_of_2020_shows_the_old_file_and_a_later_write_leaves_a_hole() {
    let (mut disk, follower) = disk("append", &Profile::BTRFS_2020);
    let file = open(&mut disk, libc::O_RDWR).expect("it exists");
    disk.seek(file, 0, libc::SEEK_END).expect("it is a file");
    disk.write(file, &[b'n'; 4096]).expect("there is room");
    assert_eq!(disk.fail_sync(file, false), Err(Errno::EIO));
    assert_eq!(shown(disk.tree()), "o*4096");
    disk.write(file, &[b'm'; 4096]).expect("there is room");
    assert_eq!(shown(disk.tree()), "o*4096 .*4096 m*4096");
    assert_eq!(disk.fsync(file), Ok(()));
    assert_eq!(follower.remounted(), BTreeSet::from(["o*4096 .*4096 m*4096".to_owned()]));
}

#[test]
fn a_journal_of_2020_reports_the_error_at_the_next_fsync_on_each_descriptor() {
    let (mut disk, follower) = disk("overwrite", &Profile::EXT4_JOURNAL_2020);
    let [file, other] = [0; 2].map(|_| open(&mut disk, libc::O_RDWR).expect("it exists"));
    disk.write_at(file, &[b'n'; 4096], 0).expect("there is room");
    assert_eq!(disk.fail_sync(file, false), Ok(()));
    // No descriptor has reported the error, so even one that is opened later does.
    let later = open(&mut disk, libc::O_RDWR).expect("it exists");
    for descriptor in [file, other, later] {
        assert_eq!(disk.fsync(descriptor), Err(Errno::EIO));
        assert_eq!(disk.fsync(descriptor), Ok(()));
    }
    let both = ["o*12288", "n*4096 o*8192"].map(str::to_owned);
    assert_eq!(follower.remounted(), BTreeSet::from(both));
}

#[test]
fn xfs_that_shut_down_fails_every_call() {
    let (mut disk, _) = disk("overwrite", &Profile::XFS_SHUTDOWN);
    let file = open(&mut disk, libc::O_RDWR).expect("it exists");
    disk.write_at(file, &[b'n'; 4096], 0).expect("there is room");
    assert_eq!(disk.fail_sync(file, true), Err(Errno::EIO));
    assert_eq!(disk.fsync(file), Err(Errno::EIO));
    assert_eq!(disk.read_at(file, &mut [0; 1], 0), Err(Errno::EIO));
    assert_eq!(disk.write_at(file, b"m", 0), Err(Errno::EIO));
    assert_eq!(open(&mut disk, libc::O_RDONLY), Err(Errno::EIO));
    assert_eq!(disk.unlink(ROOT, b"f"), Err(Errno::EIO));
}

#[test]
fn a_file_system_that_became_read_only_can_be_read_and_no_more() {
    let (mut disk, _) = disk("overwrite", &Profile::EXT4_JOURNAL);
    let file = open(&mut disk, libc::O_RDWR).expect("it exists");
    disk.write_at(file, &[b'n'; 4096], 0).expect("there is room");
    assert_eq!(disk.fail_sync(file, true), Err(Errno::EROFS));
    let read_only = Err(Errno::EROFS);
    assert_eq!(disk.truncate(file, 0), read_only);
    assert_eq!(disk.allocate(file, 0, 0, 1), read_only);
    assert_eq!(disk.mkdir(ROOT, b"d", 0o755), read_only);
    assert_eq!(disk.symlink(b"f", ROOT, b"l"), read_only);
    assert_eq!(disk.link(ROOT, b"f", ROOT, b"g", false), read_only);
    assert_eq!(disk.rename(ROOT, b"f", ROOT, b"g", 0), read_only);
    assert_eq!(disk.unlink(ROOT, b"f"), read_only);
    assert_eq!(disk.chmod(file, 0o600), read_only);
    assert_eq!(disk.open(ROOT, b"g", libc::O_CREAT | libc::O_RDWR, 0o644), Err(Errno::EROFS));
    assert_eq!(open(&mut disk, libc::O_RDONLY | libc::O_TRUNC), Err(Errno::EROFS));
    let reader = open(&mut disk, libc::O_RDONLY).expect("it may be read");
    let mut bytes = [0; 1];
    assert_eq!((disk.read(reader, &mut bytes), bytes), (Ok(1), [b'n']));
    assert_eq!(disk.mkdir(ROOT, b"f", 0o755), Err(Errno::EEXIST), "the name is checked first");
}

#[test]
fn a_synchronous_write_reports_a_write_back_that_failed_before_it() {
    let (mut disk, _) = disk("overwrite", &Profile::EXT4);
    let file = open(&mut disk, libc::O_RDWR).expect("it exists");
    let other = open(&mut disk, libc::O_RDWR | libc::O_DSYNC).expect("it exists");
    disk.write(file, b"n").expect("there is room");
    assert_eq!(disk.fail_sync(file, true), Err(Errno::EIO));
    assert_eq!(disk.write(other, b"m"), Err(Errno::EIO));
    assert_eq!(disk.write(other, b"m"), Ok(1), "the offset has not moved");
    assert_eq!(shown(disk.tree()), "m*1 o*12287");
}
