//! The limit of a disk, in pages and inodes.

use crashpoint::Profile;
use crashpoint::inner::disk::open::Handle;
use crashpoint::inner::disk::space::Space;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::disk::{Disk, Errno};

use crate::{CREATE, ROOT, WRITE, disk, get, mkdir, open, put, rename};

const PAGE: usize = 4096;
const MOST: Space =
    Space { pages: u64::MAX, inodes: u64::MAX, error: Errno::ENOSPC, delayed: false };

/// An empty disk that holds `pages` pages; its root takes one.
fn small(pages: u64) -> Disk {
    let mut disk = disk();
    disk.limit(Space { pages, ..MOST });
    disk
}

#[test]
fn a_write_is_cut_short_by_a_full_disk_and_the_next_one_fails() {
    let mut disk = small(3);
    let h = open(&mut disk, "f", CREATE);
    assert_eq!(disk.write_at(h, &[b'a'; 3 * PAGE], 100), Ok(2 * PAGE - 100));
    assert_eq!(disk.write_at(h, b"b", 2 * PAGE as i64), Err(Errno::ENOSPC));
    assert_eq!(disk.write_at(h, &[b'c'; PAGE], 0), Ok(PAGE), "that page is allocated");
    assert_eq!(disk.used(), (3, 2));
    assert_eq!(disk.stat(h).expect("it is open").size, 2 * PAGE as u64);
}

#[test]
fn freed_pages_come_back() {
    let mut disk = small(3);
    put(&mut disk, "f", &[b'a'; 2 * PAGE]);
    let g = open(&mut disk, "g", CREATE);
    assert_eq!(disk.write(g, b"b"), Err(Errno::ENOSPC));
    let f = open(&mut disk, "f", WRITE);
    disk.unlink(ROOT, b"f").expect("it exists");
    assert_eq!(disk.write(g, b"b"), Err(Errno::ENOSPC), "it is still open");
    disk.truncate(f, PAGE as i64).expect("it is writable");
    assert_eq!(disk.write(g, b"b"), Ok(1));
    disk.close(f).expect("it is open");
    assert_eq!(disk.write_at(g, b"b", PAGE as i64), Ok(1));
    assert_eq!(disk.used(), (3, 2));
    disk.allocate(g, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, PAGE as i64)
        .expect("it is writable");
    assert_eq!(disk.used(), (2, 2));
}

#[test]
fn a_page_that_was_reserved_counts_once_when_it_is_written() {
    let mut disk = small(4);
    let h = open(&mut disk, "f", CREATE);
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    disk.allocate(h, keep, 0, 2 * PAGE as i64).expect("there is room");
    disk.allocate(h, keep, 0, 2 * PAGE as i64).expect("it has it already");
    assert_eq!(disk.used(), (3, 2));
    assert_eq!(disk.write(h, &[b'a'; 2 * PAGE]), Ok(2 * PAGE));
    assert_eq!(disk.write_at(h, &[b'b'; PAGE], 10), Ok(PAGE));
    assert_eq!(disk.used(), (3, 2));
    assert_eq!(disk.allocate(h, 0, 0, 4 * PAGE as i64), Err(Errno::ENOSPC));
    assert_eq!(disk.used(), (3, 2));
    assert_eq!(disk.allocate(h, 0, 0, 3 * PAGE as i64), Ok(()));
    disk.truncate(h, 0).expect("it is writable");
    assert_eq!(disk.used(), (1, 2));
}

#[test]
fn a_disk_without_a_free_inode_refuses_a_new_one() {
    let mut disk = disk();
    disk.limit(Space { inodes: 3, error: Errno::EDQUOT, ..MOST });
    put(&mut disk, "f", b"");
    mkdir(&mut disk, "d");
    let full = Err(Errno::EDQUOT);
    assert_eq!(disk.mkdir(ROOT, b"e", 0o755), full);
    assert_eq!(disk.symlink(b"f", ROOT, b"l"), full);
    assert_eq!(disk.open(ROOT, b"g", CREATE, 0o644), Err(Errno::EDQUOT));
    let unnamed = libc::O_TMPFILE | libc::O_RDWR;
    assert_eq!(disk.open(ROOT, b"/", unnamed, 0o644), Err(Errno::EDQUOT));
    assert_eq!(disk.link(ROOT, b"f", ROOT, b"g", false), Ok(()));
    assert_eq!(rename(&mut disk, "f", "d/f"), Ok(()));
    disk.rmdir(ROOT, b"d").expect_err("f is in it");
    for name in ["g", "d/f"] {
        disk.unlink(ROOT, name.as_bytes()).expect("it exists");
    }
    assert_eq!(disk.mkdir(ROOT, b"e", 0o755), Ok(()));
}

#[test]
fn a_directory_that_has_to_grow_needs_a_page() {
    let mut disk = small(4);
    mkdir(&mut disk, "d");
    put(&mut disk, "f", &[b'a'; PAGE]);
    let name = |number: u32| format!("d/{number:0>200}");
    let made = (0..).take_while(|&number| {
        let h = disk.open(ROOT, name(number).as_bytes(), CREATE, 0o644);
        h.map(|h| disk.close(h)).is_ok()
    });
    let made = made.count() as u32;
    assert!((20..80).contains(&made), "{made}");
    assert_eq!(disk.used().0, 4);
    let (old, new) = (b"f", name(made));
    assert_eq!(rename(&mut disk, "f", &new), Err(Errno::ENOSPC));
    assert_eq!(disk.link(ROOT, old, ROOT, new.as_bytes(), false), Err(Errno::ENOSPC));
    assert_eq!(disk.mkdir(ROOT, b"e", 0o755), Err(Errno::ENOSPC));
    assert_eq!(rename(&mut disk, "f", &name(0)), Ok(()), "it replaces another name");
}

#[test]
fn a_sync_finds_no_room_where_allocation_is_delayed_and_the_pages_are_lost() {
    let mut disk = Disk::mounted(Tree::new(), &Profile::EXT4);
    disk.limit(Space { pages: 3, delayed: true, ..MOST });
    put(&mut disk, "f", &[b'a'; PAGE]);
    let h = open(&mut disk, "f", WRITE | libc::O_APPEND);
    assert_eq!(disk.fsync(h), Ok(()));
    let other = open(&mut disk, "f", WRITE);
    assert_eq!(disk.write(h, &[b'b'; 2 * PAGE]), Ok(2 * PAGE));
    let full = Err(Errno::ENOSPC);
    assert_eq!((disk.fsync(h), disk.fsync(h)), (full, Ok(())));
    assert_eq!((disk.fdatasync(other), disk.fdatasync(other)), (full, Ok(())));
    let lost = [&[b'a'; PAGE][..], &[0; 2 * PAGE]].concat();
    assert!(get(&mut disk, "f") == lost);
    assert_eq!(disk.used().0, 2);
}

#[test]
fn any_call_that_writes_back_finds_no_room_and_each_descriptor_of_the_file_reports_it() {
    type Syncs = fn(&mut Disk, Handle) -> Result<(), Errno>;
    fn sync(disk: &mut Disk, _: Handle) -> Result<(), Errno> {
        disk.sync_all();
        Ok(())
    }
    const WAITS: u32 = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let full = Err(Errno::ENOSPC);
    let calls: [(Syncs, _); 3] = [
        (|disk, h| disk.sync_fs(h), full),
        (|disk, h| disk.sync_range(h, 0, 0, WAITS), full),
        (sync, Ok(())),
    ];
    for (call, answer) in calls {
        let mut disk = Disk::mounted(Tree::new(), &Profile::EXT4);
        disk.limit(Space { pages: 2, delayed: true, ..MOST });
        let (h, clean) = (open(&mut disk, "f", CREATE), open(&mut disk, "g", CREATE));
        let other = open(&mut disk, "f", WRITE);
        assert_eq!(disk.write(h, &[b'b'; 2 * PAGE]), Ok(2 * PAGE));
        assert_eq!(call(&mut disk, h), answer);
        assert!(get(&mut disk, "f") == [0; 2 * PAGE], "the pages are gone");
        assert_eq!((disk.fsync(other), disk.fsync(other)), (full, Ok(())));
        assert_eq!(disk.fsync(clean), Ok(()));
    }
}
