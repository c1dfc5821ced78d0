//! The effects that the journal of a disk records, which are enough to rebuild the disk.

use std::sync::{Arc, Mutex};

use crashpoint::Time;
use crashpoint::inner::disk::clock::TICK;
use crashpoint::inner::disk::effect::{Effect, Sync};
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::disk::{Disk, Errno, Ino, Journal};
use crashpoint::inner::log::{Payload, Record, encode, records};

use crate::{CREATE, READ, ROOT, WRITE, disk, mkdir, open, put, rename};

/// Keeps the effects, in the format of the log of a run.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<u8>>>);

impl Journal for Recorder {
    fn record(&mut self, at: Time, effect: &Effect<'_>) {
        let record = Record { at, payload: Payload::Effect(*effect) };
        let mut space = vec![0; 64 << 10];
        let length = encode(&record, &mut space).expect("calls of the tests are small");
        self.0.lock().expect("one thread").extend_from_slice(&space[..length]);
    }
}

impl Recorder {
    /// The tree after all recorded changes of `tree`.
    pub(crate) fn replay(&self, mut tree: Tree) -> Tree {
        self.visit(|at, effect| tree.apply(effect, at));
        tree
    }

    fn visit(&self, mut visit: impl FnMut(Time, &Effect<'_>)) {
        for record in records(&self.0.lock().expect("one thread")) {
            let Payload::Effect(effect) = &record.payload else {
                panic!("only effects are written")
            };
            visit(record.at, effect);
        }
    }

    /// The effects recorded since the last call, as text.
    fn take(&self) -> Vec<String> {
        let mut texts = Vec::new();
        self.visit(|_, effect| texts.push(text(effect)));
        self.0.lock().expect("one thread").clear();
        texts
    }
}

/// The parts that `Tree::digest` leaves out: inodes, their links and their times.
pub(crate) fn inodes(tree: &Tree) -> Vec<(Ino, u32, [Time; 4])> {
    let times = |node: &crashpoint::inner::disk::tree::Node| {
        [node.accessed, node.modified, node.changed, node.created]
    };
    tree.nodes().map(|(ino, node)| (ino, node.links, times(node))).collect()
}

/// A change in a few words: `a1` is the name `a` in inode 1.
fn text(effect: &Effect<'_>) -> String {
    let name = String::from_utf8_lossy;
    match *effect {
        Effect::Inode { ino, kind, .. } => format!("{kind:?} {}", ino.0).to_lowercase(),
        Effect::Entry { dir, name: n, ino: Some(ino) } => {
            format!("{}{} -> {}", name(n), dir.0, ino.0)
        }
        Effect::Entry { dir, name: n, ino: None } => format!("{}{} gone", name(n), dir.0),
        Effect::Rename { from, old, to, new, exchange } => {
            let word = if exchange { "swap" } else { "rename" };
            format!("{word} {}{} {}{}", name(old), from.0, name(new), to.0)
        }
        Effect::Write { ino, offset, bytes } => format!("write {} {offset}+{}", ino.0, bytes.len()),
        Effect::Size { ino, size } => format!("size {} {size}", ino.0),
        Effect::Allocate { ino, offset, length, what } => {
            format!("{what:?} {} {offset}+{length}", ino.0).to_lowercase()
        }
        Effect::Mode { ino, mode } => format!("mode {} {mode:o}", ino.0),
        Effect::Times { ino, .. } => format!("times {}", ino.0),
        Effect::Attribute { ino, .. } => format!("attribute {}", ino.0),
        Effect::Owner { ino, owner, .. } => format!("owner {} {} {}", ino.0, owner.0, owner.1),
        Effect::Free { ino } => format!("free {}", ino.0),
        Effect::Sync(sync) => format!("sync {}", sync_text(sync)),
        Effect::SyncFailed(sync) => format!("sync failed {}", sync_text(sync)),
        Effect::Evict { ino, size, block, bytes } => {
            format!("evict {} {block}={} of {size}", ino.0, bytes.len())
        }
    }
}

fn sync_text(sync: Sync) -> String {
    match sync {
        Sync::Inode(ino) => format!("inode {}", ino.0),
        Sync::Data(ino) => format!("data {}", ino.0),
        Sync::Pages { ino, offset, length } => format!("pages {} {offset}+{length}", ino.0),
        Sync::Written { ino, offset, length, data_only } => {
            let how = if data_only { "data" } else { "all" };
            format!("written {} {offset}+{length} {how}", ino.0)
        }
        Sync::All => "all".to_owned(),
    }
}

/// A disk and the recorder that is its journal.
fn recorded() -> (Disk, Recorder) {
    let (mut disk, recorder) = (disk(), Recorder::default());
    disk.set_journal(Box::new(recorder.clone()));
    (disk, recorder)
}

#[test]
fn a_new_file_is_an_inode_and_then_an_entry() {
    let (mut disk, recorder) = recorded();
    open(&mut disk, "f", CREATE | libc::O_TRUNC);
    assert_eq!(recorder.take(), ["file 2", "f1 -> 2"]);
    mkdir(&mut disk, "d");
    assert_eq!(recorder.take(), ["directory 3", "d1 -> 3"]);
    disk.symlink(b"f", ROOT, b"d/l").expect("a free name");
    assert_eq!(recorder.take(), ["symlink 4", "l3 -> 4"]);
    disk.link(ROOT, b"f", ROOT, b"d/g", false).expect("a free name");
    assert_eq!(recorder.take(), ["g3 -> 2"]);
}

#[test]
fn truncation_at_open_is_a_size_of_zero() {
    let (mut disk, recorder) = recorded();
    put(&mut disk, "f", b"abc");
    recorder.take();
    open(&mut disk, "f", WRITE | libc::O_TRUNC);
    assert_eq!(recorder.take(), ["size 2 0"]);
    open(&mut disk, "f", WRITE);
    assert!(recorder.take().is_empty());
}

#[test]
fn a_file_is_freed_with_its_last_name_or_its_last_handle_whichever_goes_later() {
    let (mut disk, recorder) = recorded();
    put(&mut disk, "f", b"");
    let h = open(&mut disk, "g", CREATE);
    recorder.take();
    disk.unlink(ROOT, b"f").expect("a file");
    assert_eq!(recorder.take(), ["f1 gone", "free 2"]);
    disk.unlink(ROOT, b"g").expect("a file");
    assert_eq!(recorder.take(), ["g1 gone"]);
    disk.close(h).expect("it is open");
    assert_eq!(recorder.take(), ["free 3"]);
}

#[test]
fn a_rename_is_one_change_and_frees_what_it_replaced() {
    let (mut disk, recorder) = recorded();
    put(&mut disk, "a", b"");
    put(&mut disk, "b", b"");
    recorder.take();
    disk.rename(ROOT, b"a", ROOT, b"b", libc::RENAME_EXCHANGE).expect("both exist");
    assert_eq!(recorder.take(), ["swap a1 b1"]);
    rename(&mut disk, "a", "b").expect("both exist");
    assert_eq!(recorder.take(), ["rename a1 b1", "free 2"]);
    rename(&mut disk, "b", "b").expect("it exists");
    assert!(recorder.take().is_empty());
}

#[test]
fn a_synchronous_write_is_followed_by_a_sync() {
    let (mut disk, recorder) = recorded();
    put(&mut disk, "f", b"");
    recorder.take();
    let data = open(&mut disk, "f", WRITE | libc::O_DSYNC);
    disk.write(data, b"abc").expect("it is writable");
    assert_eq!(recorder.take(), ["write 2 0+3", "sync written 2 0+3 data"]);
    let all = open(&mut disk, "f", WRITE | libc::O_SYNC);
    disk.write_at(all, b"abc", 3).expect("it is writable");
    assert_eq!(recorder.take(), ["write 2 3+3", "sync written 2 3+3 all"]);
    assert_eq!(disk.write(all, b""), Ok(0));
    assert!(recorder.take().is_empty());
}

#[test]
fn each_sync_records_its_promise() {
    const FULL: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let (mut disk, recorder) = recorded();
    let (f, root) = (open(&mut disk, "f", CREATE), open(&mut disk, "/", READ));
    recorder.take();
    assert_eq!(disk.fsync(f), Ok(()));
    assert_eq!(disk.fdatasync(f), Ok(()));
    assert_eq!(disk.fsync(root), Ok(()));
    assert_eq!(disk.sync_range(f, 1, 2, FULL), Ok(()));
    disk.sync_all();
    let said = ["sync inode 2", "sync data 2", "sync inode 1", "sync pages 2 1+2", "sync all"];
    assert_eq!(recorder.take(), said);
    assert_eq!(disk.sync_range(f, 0, 0, libc::SYNC_FILE_RANGE_WRITE), Ok(()));
    assert!(recorder.take().is_empty(), "a call that does not wait promises nothing");
    assert_eq!(disk.sync_range(f, -1, 0, FULL), Err(Errno::EINVAL));
    assert_eq!(disk.sync_range(f, 1, i64::MAX, FULL), Err(Errno::EINVAL));
    assert_eq!(disk.sync_range(f, 0, 0, 8), Err(Errno::EINVAL));
}

#[test]
fn a_failed_sync_is_recorded_and_returns_eio() {
    let (mut disk, recorder) = recorded();
    let h = open(&mut disk, "f", CREATE);
    recorder.take();
    assert_eq!(disk.fail_sync(h, false), Err(Errno::EIO));
    assert_eq!(disk.fail_sync(h, true), Err(Errno::EIO));
    assert_eq!(recorder.take(), ["sync failed inode 2", "sync failed data 2"]);
}

#[test]
fn a_range_zeroed_across_the_end_is_only_reserved_after_it() {
    let (mut disk, recorder) = recorded();
    let h = open(&mut disk, "f", CREATE);
    disk.write(h, b"abc").expect("it is writable");
    recorder.take();
    let mode = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    disk.allocate(h, mode, 1, 5).expect("it is writable");
    assert_eq!(recorder.take(), ["zero 2 1+2", "keepsize 2 3+3"]);
    disk.allocate(h, mode, 3, 5).expect("it is writable");
    assert_eq!(recorder.take(), ["keepsize 2 3+5"]);
}

#[test]
fn failed_calls_and_lookups_are_not_recorded() {
    let (mut disk, recorder) = recorded();
    put(&mut disk, "f", b"abc");
    let h = open(&mut disk, "f", READ);
    recorder.take();
    disk.read(h, &mut [0; 3]).expect("it is readable");
    disk.seek(h, 0, libc::SEEK_SET).expect("it is open");
    disk.list(h).expect_err("no directory");
    disk.mkdir(ROOT, b"f", 0o755).expect_err("the name is taken");
    disk.rename(ROOT, b"f", ROOT, b"no/f", 0).expect_err("no directory");
    disk.write(h, b"x").expect_err("open for reading");
    disk.close(h).expect("it is open");
    assert!(recorder.take().is_empty());
}

#[test]
fn changes_are_recorded_with_the_last_tick_of_the_time_that_was_set() {
    let (mut disk, recorder) = recorded();
    disk.set_time(Time(TICK + 5));
    put(&mut disk, "f", b"abc");
    recorder.visit(|at, _| assert_eq!(at, Time(TICK)));
    assert_eq!(disk.stat_path(ROOT, b"f", true).map(|stat| stat.created), Ok(Time(TICK)));
}
