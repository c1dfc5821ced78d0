//! Paths, and the calls that make, move and remove names.

use crashpoint::inner::disk::effect::Kind;
use crashpoint::inner::disk::names::LINK_MAX;
use crashpoint::inner::disk::path::{NAME_MAX, PATH_MAX, SYMLINKS_MAX};
use crashpoint::inner::disk::{Disk, Errno};

use crate::{CREATE, READ, ROOT, contents, disk, get, ino, mkdir, open, put, rename, symlink};

const EXCHANGE: u32 = libc::RENAME_EXCHANGE;

fn stat(disk: &Disk, path: &[u8]) -> Result<Kind, Errno> {
    disk.stat_path(ROOT, path, true).map(|stat| stat.kind)
}

#[test]
fn an_empty_path_leads_nowhere() {
    assert_eq!(stat(&disk(), b""), Err(Errno::ENOENT));
}

#[test]
fn a_path_with_a_nul_is_refused() {
    assert_eq!(stat(&disk(), b"a\0b"), Err(Errno::EINVAL));
    assert_eq!(disk().symlink(b"a\0b", ROOT, b"l"), Err(Errno::EINVAL));
}

#[test]
fn a_name_may_have_255_bytes() {
    let mut disk = disk();
    let name = [b'x'; NAME_MAX + 1];
    assert_eq!(disk.mkdir(ROOT, &name[1..], 0o755), Ok(()));
    assert_eq!(disk.mkdir(ROOT, &name, 0o755), Err(Errno::ENAMETOOLONG));
    assert_eq!(stat(&disk, &name), Err(Errno::ENAMETOOLONG));
}

#[test]
fn a_path_may_have_4095_bytes() {
    let disk = disk();
    assert_eq!(stat(&disk, &b"/".repeat(PATH_MAX)), Ok(Kind::Directory));
    assert_eq!(stat(&disk, &b"/".repeat(PATH_MAX + 1)), Err(Errno::ENAMETOOLONG));
}

#[test]
fn the_root_is_its_own_parent() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    assert_eq!(stat(&disk, b"../../f"), Ok(Kind::File));
}

#[test]
fn an_absolute_path_ignores_its_base() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "f", b"");
    let d = disk.directory(ROOT, b"d").expect("a directory");
    assert_eq!(disk.stat_path(d, b"f", true), Err(Errno::ENOENT));
    assert!(disk.stat_path(d, b"/f", true).is_ok());
    assert!(disk.stat_path(d, b"../f", true).is_ok());
}

#[test]
fn a_file_has_no_entries() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    let f = ino(&disk, "f").expect("a file");
    assert_eq!(disk.stat_path(f, b"x", true), Err(Errno::ENOTDIR));
    assert_eq!(disk.directory(ROOT, b"f"), Err(Errno::ENOTDIR));
    for path in ["f/", "f/.", "f/x", "f/../f"] {
        assert_eq!(stat(&disk, path.as_bytes()), Err(Errno::ENOTDIR), "{path}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let mut disk = disk();
    put(&mut disk, "l0", b"");
    for n in 1..=SYMLINKS_MAX + 1 {
        symlink(&mut disk, &format!("l{}", n - 1), &format!("l{n}"));
    }
    assert_eq!(stat(&disk, b"l40"), Ok(Kind::File));
    assert_eq!(stat(&disk, b"l41"), Err(Errno::ELOOP));
}

#[test]
fn a_link_to_itself_is_a_loop() {
    let mut disk = disk();
    symlink(&mut disk, "l", "l");
    assert_eq!(stat(&disk, b"l"), Err(Errno::ELOOP));
    assert_eq!(stat(&disk, b"l/x"), Err(Errno::ELOOP));
    assert!(disk.stat_path(ROOT, b"l", false).is_ok());
}

#[test]
fn a_relative_link_starts_at_its_own_directory_and_an_absolute_one_at_the_root() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "d/f", b"inner");
    put(&mut disk, "f", b"outer");
    symlink(&mut disk, "f", "d/near");
    symlink(&mut disk, "/f", "d/far");
    assert_eq!(get(&mut disk, "d/near"), b"inner");
    assert_eq!(get(&mut disk, "d/far"), b"outer");
}

#[test]
fn a_slash_after_a_link_follows_it() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    symlink(&mut disk, "d", "l");
    assert_eq!(disk.stat_path(ROOT, b"l", false).map(|s| s.kind), Ok(Kind::Symlink));
    assert_eq!(disk.stat_path(ROOT, b"l/", false).map(|s| s.kind), Ok(Kind::Directory));
    assert_eq!(disk.rmdir(ROOT, b"l/"), Err(Errno::ENOTDIR));
    assert_eq!(disk.unlink(ROOT, b"l/"), Err(Errno::ENOTDIR));
}

#[test]
fn readlink_needs_a_link() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    symlink(&mut disk, "nowhere", "l");
    assert_eq!(disk.readlink(ROOT, b"l"), Ok(b"nowhere".to_vec()));
    assert_eq!(disk.readlink(ROOT, b"f"), Err(Errno::EINVAL));
    assert_eq!(disk.symlink(b"", ROOT, b"m"), Err(Errno::ENOENT));
    assert_eq!(disk.symlink(&[b'x'; PATH_MAX + 1], ROOT, b"m"), Err(Errno::ENAMETOOLONG));
}

#[test]
fn mkdir_takes_only_a_free_name() {
    let mut disk = disk();
    symlink(&mut disk, "nowhere", "l");
    for path in ["l", "l/", ".", "..", "/"] {
        assert_eq!(disk.mkdir(ROOT, path.as_bytes(), 0o755), Err(Errno::EEXIST), "{path}");
    }
    assert_eq!(disk.mkdir(ROOT, b"d/", 0o755), Ok(()));
    assert_eq!(disk.mkdir(ROOT, b"no/d", 0o755), Err(Errno::ENOENT));
}

#[test]
fn a_new_directory_takes_permissions_and_the_sticky_bit_only() {
    let mut disk = disk();
    disk.mkdir(ROOT, b"d", 0o7755).expect("a free name");
    let mode = disk.stat_path(ROOT, b"d", true).map(|stat| stat.mode);
    assert_eq!(mode, Ok(libc::S_IFDIR | 0o1755));
}

#[test]
fn only_a_directory_may_be_made_with_a_slash_after_its_name() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    assert_eq!(disk.symlink(b"f", ROOT, b"new/"), Err(Errno::ENOENT));
    assert_eq!(disk.link(ROOT, b"f", ROOT, b"new/", false), Err(Errno::ENOENT));
    assert_eq!(disk.link(ROOT, b"f", ROOT, b"f/", false), Err(Errno::EEXIST));
}

#[test]
fn rmdir_removes_only_an_empty_directory() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "d/f", b"");
    assert_eq!(disk.rmdir(ROOT, b"d"), Err(Errno::ENOTEMPTY));
    assert_eq!(disk.rmdir(ROOT, b"d/f"), Err(Errno::ENOTDIR));
    assert_eq!(disk.rmdir(ROOT, b"d/."), Err(Errno::EINVAL));
    assert_eq!(disk.rmdir(ROOT, b"d/.."), Err(Errno::ENOTEMPTY));
    assert_eq!(disk.rmdir(ROOT, b"/"), Err(Errno::EBUSY));
    disk.unlink(ROOT, b"d/f").expect("a file");
    assert_eq!(disk.rmdir(ROOT, b"d/"), Ok(()));
    assert_eq!(disk.rmdir(ROOT, b"d"), Err(Errno::ENOENT));
}

#[test]
fn unlink_removes_no_directory() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "f", b"");
    for path in ["d", "d/", "d/.", "/"] {
        assert_eq!(disk.unlink(ROOT, path.as_bytes()), Err(Errno::EISDIR), "{path}");
    }
    assert_eq!(disk.unlink(ROOT, b"f/"), Err(Errno::ENOTDIR));
    assert_eq!(disk.unlink(ROOT, b"g/"), Err(Errno::ENOENT));
    assert_eq!(disk.unlink(ROOT, b"f"), Ok(()));
    assert_eq!(disk.unlink(ROOT, b"f"), Err(Errno::ENOENT));
}

#[test]
fn rename_replaces_a_file() {
    let mut disk = disk();
    put(&mut disk, "new", b"new");
    put(&mut disk, "old", b"old");
    assert_eq!(rename(&mut disk, "new", "old"), Ok(()));
    assert_eq!(get(&mut disk, "old"), b"new");
    assert_eq!(ino(&disk, "new"), Err(Errno::ENOENT));
}

#[test]
fn rename_replaces_an_empty_directory_with_a_directory_only() {
    let mut disk = disk();
    for d in ["a", "b", "full"] {
        mkdir(&mut disk, d);
    }
    put(&mut disk, "full/f", b"");
    put(&mut disk, "f", b"");
    assert_eq!(rename(&mut disk, "a", "full"), Err(Errno::ENOTEMPTY));
    assert_eq!(rename(&mut disk, "a", "f"), Err(Errno::ENOTDIR));
    assert_eq!(rename(&mut disk, "f", "a"), Err(Errno::EISDIR));
    assert_eq!(rename(&mut disk, "full", "a"), Ok(()));
    assert_eq!(rename(&mut disk, "a", "b"), Ok(()));
    assert_eq!(get(&mut disk, "b/f"), b"");
}

#[test]
fn a_directory_cannot_be_moved_into_itself() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    mkdir(&mut disk, "d/e");
    assert_eq!(rename(&mut disk, "d", "d/e/f"), Err(Errno::EINVAL));
    assert_eq!(rename(&mut disk, "d", "d/x"), Err(Errno::EINVAL));
    assert_eq!(rename(&mut disk, "d/e", "d"), Err(Errno::ENOTEMPTY));
    assert_eq!(disk.rename(ROOT, b"d/e", ROOT, b"d", EXCHANGE), Err(Errno::EINVAL));
}

#[test]
fn a_moved_directory_has_a_new_parent() {
    let mut disk = disk();
    mkdir(&mut disk, "a");
    mkdir(&mut disk, "b");
    mkdir(&mut disk, "a/d");
    assert_eq!(rename(&mut disk, "a/d", "b/d"), Ok(()));
    assert_eq!(disk.directory(ROOT, b"b/d/.."), disk.directory(ROOT, b"b"));
    assert_eq!(disk.real_path(ROOT, b"b/d/."), Ok(b"/b/d".to_vec()));
}

#[test]
fn two_names_of_one_inode_both_stay_when_one_is_renamed_to_the_other() {
    let mut disk = disk();
    put(&mut disk, "a", b"x");
    disk.link(ROOT, b"a", ROOT, b"b", false).expect("a second name");
    assert_eq!(rename(&mut disk, "a", "b"), Ok(()));
    assert_eq!(rename(&mut disk, "a", "a"), Ok(()));
    assert_eq!(ino(&disk, "a"), ino(&disk, "b"));
}

#[test]
fn noreplace_does_not_replace() {
    let mut disk = disk();
    put(&mut disk, "a", b"a");
    put(&mut disk, "b", b"b");
    let flags = libc::RENAME_NOREPLACE;
    assert_eq!(disk.rename(ROOT, b"a", ROOT, b"b", flags), Err(Errno::EEXIST));
    assert_eq!(disk.rename(ROOT, b"a", ROOT, b"a", flags), Err(Errno::EEXIST));
    assert_eq!(disk.rename(ROOT, b"a", ROOT, b".", flags), Err(Errno::EEXIST));
    assert_eq!(disk.rename(ROOT, b"a", ROOT, b"c", flags), Ok(()));
    assert_eq!(get(&mut disk, "b"), b"b");
}

#[test]
fn exchange_swaps_the_inodes_of_two_names() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "d/in", b"in");
    put(&mut disk, "f", b"f");
    assert_eq!(disk.rename(ROOT, b"f", ROOT, b"no", EXCHANGE), Err(Errno::ENOENT));
    assert_eq!(disk.rename(ROOT, b"f", ROOT, b"d", EXCHANGE), Ok(()));
    assert_eq!(get(&mut disk, "d"), b"f");
    assert_eq!(get(&mut disk, "f/in"), b"in");
}

#[test]
fn rename_accepts_no_other_flags_and_no_dots() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    for flags in [EXCHANGE | libc::RENAME_NOREPLACE, libc::RENAME_WHITEOUT, 8] {
        assert_eq!(disk.rename(ROOT, b"f", ROOT, b"g", flags), Err(Errno::EINVAL));
    }
    for path in [".", "..", "/"] {
        assert_eq!(rename(&mut disk, path, "g"), Err(Errno::EBUSY), "from {path}");
        assert_eq!(rename(&mut disk, "f", path), Err(Errno::EBUSY), "to {path}");
    }
}

#[test]
fn a_slash_after_a_renamed_file_is_refused_on_either_side() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    put(&mut disk, "f", b"");
    assert_eq!(rename(&mut disk, "f/", "g"), Err(Errno::ENOTDIR));
    assert_eq!(rename(&mut disk, "f", "g/"), Err(Errno::ENOTDIR));
    assert_eq!(rename(&mut disk, "d/", "e/"), Ok(()));
}

#[test]
fn an_open_file_stays_the_same_when_its_name_moves() {
    let mut disk = disk();
    let h = open(&mut disk, "a", CREATE);
    rename(&mut disk, "a", "b").expect("a rename");
    assert_eq!(disk.write(h, b"after"), Ok(5));
    assert_eq!(disk.fsync(h), Ok(()));
    assert_eq!(get(&mut disk, "b"), b"after");
    assert_eq!(disk.opened_as(h), Ok(&b"/a"[..]));
}

#[test]
fn a_replaced_file_can_be_read_while_it_is_open() {
    let mut disk = disk();
    put(&mut disk, "a", b"old");
    put(&mut disk, "b", b"new");
    let h = open(&mut disk, "a", READ);
    let old = disk.ino(h).expect("it is open");
    rename(&mut disk, "b", "a").expect("a rename");
    assert_eq!(contents(&disk, h), b"old");
    assert_eq!(disk.stat(h).map(|stat| stat.nlink), Ok(0));
    disk.close(h).expect("it is open");
    assert!(disk.tree().node(old).is_none());
}

#[test]
fn a_directory_has_one_name_only() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    assert_eq!(disk.link(ROOT, b"d", ROOT, b"e", false), Err(Errno::EPERM));
}

#[test]
fn a_link_to_a_symbolic_link_names_the_link_itself_without_the_flag_to_follow() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    symlink(&mut disk, "f", "l");
    disk.link(ROOT, b"l", ROOT, b"same", false).expect("a name");
    disk.link(ROOT, b"l", ROOT, b"target", true).expect("a name");
    assert_eq!(ino(&disk, "same"), ino(&disk, "l"));
    assert_eq!(ino(&disk, "target"), ino(&disk, "f"));
}

#[test]
fn an_inode_has_no_more_names_than_on_ext4() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    for n in 1..LINK_MAX {
        disk.link(ROOT, b"f", ROOT, n.to_string().as_bytes(), false).expect("a name");
    }
    assert_eq!(disk.link(ROOT, b"f", ROOT, b"more", false), Err(Errno::EMLINK));
}

#[test]
fn a_nameless_file_can_be_named_once() {
    let mut disk = disk();
    let h = open(&mut disk, "/", libc::O_TMPFILE | libc::O_RDWR);
    disk.write(h, b"x").expect("it is writable");
    assert_eq!(disk.stat(h).map(|stat| stat.nlink), Ok(0));
    assert_eq!(disk.link_handle(h, ROOT, b"f"), Ok(()));
    assert_eq!(get(&mut disk, "f"), b"x");
    disk.unlink(ROOT, b"f").expect("a file");
    assert_eq!(disk.link_handle(h, ROOT, b"f"), Err(Errno::ENOENT));
}

#[test]
fn a_nameless_file_opened_exclusively_stays_nameless() {
    let mut disk = disk();
    let h = open(&mut disk, "/", libc::O_TMPFILE | libc::O_RDWR | libc::O_EXCL);
    assert_eq!(disk.link_handle(h, ROOT, b"f"), Err(Errno::ENOENT));
    let ino = disk.ino(h).expect("it is open");
    disk.close(h).expect("it is open");
    assert!(disk.tree().node(ino).is_none());
}

#[test]
fn a_removed_directory_that_is_open_is_empty_and_accepts_no_entries() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    let h = open(&mut disk, "d", READ);
    let d = disk.ino(h).expect("it is open");
    disk.rmdir(ROOT, b"d").expect("it is empty");
    assert_eq!(disk.list(h), Err(Errno::ENOENT));
    assert_eq!(disk.mkdir(d, b"e", 0o755), Err(Errno::ENOENT));
    assert_eq!(disk.open(d, b"f", CREATE, 0o644), Err(Errno::ENOENT));
    assert_eq!(disk.stat(h).map(|stat| stat.nlink), Ok(0));
    assert_eq!(disk.fsync(h), Ok(()));
    disk.close(h).expect("it is open");
    assert_eq!(disk.stat_path(d, b".", true), Err(Errno::ENOENT));
}

#[test]
fn a_listing_begins_with_the_dots_and_is_not_sorted() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    let names: Vec<_> = (10..60).map(|n| format!("{n}")).collect();
    for name in &names {
        put(&mut disk, &format!("d/{name}"), b"");
    }
    let h = open(&mut disk, "d", READ);
    let listed = disk.list(h).expect("a directory");
    assert_eq!(listed, disk.list(h).expect("a directory"), "the order is fixed");
    let shown: Vec<_> = listed.iter().map(|e| String::from_utf8_lossy(&e.name)).collect();
    assert_eq!(shown[..2], [".", ".."]);
    assert_eq!(listed[0].ino, disk.ino(h).expect("it is open"));
    assert_eq!((listed[1].ino, listed[1].kind), (ROOT, Kind::Directory));
    assert_ne!(shown[2..], names);
    let mut sorted = shown[2..].to_vec();
    sorted.sort();
    assert_eq!(sorted, names);
}

#[test]
fn only_a_directory_can_be_listed() {
    let mut disk = disk();
    let f = open(&mut disk, "f", CREATE);
    let d = open(&mut disk, "/", libc::O_PATH);
    assert_eq!(disk.list(f), Err(Errno::ENOTDIR));
    assert_eq!(disk.list(d), Err(Errno::EBADF));
}

#[test]
fn a_real_path_has_no_links_and_no_dots() {
    let mut disk = disk();
    mkdir(&mut disk, "a");
    mkdir(&mut disk, "a/b");
    put(&mut disk, "a/b/f", b"");
    symlink(&mut disk, "a/b", "l");
    assert_eq!(disk.real_path(ROOT, b"l/.././b//f"), Ok(b"/a/b/f".to_vec()));
    assert_eq!(disk.real_path(ROOT, b"l"), Ok(b"/a/b".to_vec()));
    assert_eq!(disk.real_path(ROOT, b"l/../.."), Ok(b"/".to_vec()));
    assert_eq!(disk.real_path(ROOT, b"l/f/"), Err(Errno::ENOTDIR));
    assert_eq!(disk.real_path(ROOT, b"no"), Err(Errno::ENOENT));
    let h = open(&mut disk, "l/f", READ);
    assert_eq!(disk.opened_as(h), Ok(&b"/a/b/f"[..]));
}

#[test]
fn the_path_of_an_inode_is_known_while_it_has_one() {
    let mut disk = disk();
    mkdir(&mut disk, "a");
    let h = open(&mut disk, "a/f", CREATE);
    let (dir, file) = (ino(&disk, "a").expect("there"), ino(&disk, "a/f").expect("there"));
    assert_eq!(disk.path_of(ROOT), Some(b"/".to_vec()));
    assert_eq!(disk.path_of(dir), Some(b"/a".to_vec()));
    assert_eq!(disk.path_of(file), Some(b"/a/f".to_vec()));
    rename(&mut disk, "a", "b").expect("a rename");
    assert_eq!(disk.path_of(file), Some(b"/b/f".to_vec()));
    disk.unlink(ROOT, b"b/f").expect("a file");
    assert_eq!(disk.path_of(file), None);
    disk.close(h).expect("it is open");
}
