//! Opening, sharing and closing.

use crashpoint::inner::disk::Errno;
use crashpoint::inner::disk::effect::Kind;

use crate::{
    CREATE, READ, ROOT, WRITE, contents, disk, get, ino, mkdir, open, put, refused, symlink,
};

const EXCLUSIVE: i32 = CREATE | libc::O_EXCL;

#[test]
fn an_exclusive_create_needs_a_free_name_and_follows_no_link() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    symlink(&mut disk, "nowhere", "l");
    assert_eq!(refused(&mut disk, "f", EXCLUSIVE), Errno::EEXIST);
    assert_eq!(refused(&mut disk, "l", EXCLUSIVE), Errno::EEXIST);
    assert_eq!(refused(&mut disk, "/", EXCLUSIVE), Errno::EEXIST);
    open(&mut disk, "new", EXCLUSIVE);
    assert_eq!(ino(&disk, "nowhere"), Err(Errno::ENOENT));
}

#[test]
fn a_create_through_a_dangling_link_makes_its_target() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    symlink(&mut disk, "d/new", "l");
    put(&mut disk, "l", b"x");
    assert_eq!(get(&mut disk, "d/new"), b"x");
    symlink(&mut disk, "no/new", "deep");
    assert_eq!(refused(&mut disk, "deep", CREATE), Errno::ENOENT);
}

#[test]
fn no_create_makes_a_directory() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    for path in ["d", "d/", "new/", ".", "/", "d/.."] {
        assert_eq!(refused(&mut disk, path, CREATE), Errno::EISDIR, "{path}");
    }
    assert_eq!(refused(&mut disk, "new", CREATE | libc::O_DIRECTORY), Errno::EINVAL);
}

#[test]
fn a_create_in_a_missing_directory_is_enoent() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    assert_eq!(refused(&mut disk, "no/f", CREATE), Errno::ENOENT);
    assert_eq!(refused(&mut disk, "f/f", CREATE), Errno::ENOTDIR);
    assert_eq!(refused(&mut disk, "no", WRITE), Errno::ENOENT);
}

#[test]
fn nofollow_refuses_a_link() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    symlink(&mut disk, "d", "l");
    assert_eq!(refused(&mut disk, "l", libc::O_NOFOLLOW), Errno::ELOOP);
    let directory = libc::O_NOFOLLOW | libc::O_DIRECTORY;
    assert_eq!(refused(&mut disk, "l", directory), Errno::ENOTDIR);
    open(&mut disk, "l/", directory);
}

#[test]
fn a_directory_is_opened_for_reading_only() {
    let mut disk = disk();
    for flags in [WRITE, libc::O_WRONLY, libc::O_RDONLY | libc::O_TRUNC, 3] {
        assert_eq!(refused(&mut disk, "/", flags), Errno::EISDIR, "{flags:o}");
    }
    let h = open(&mut disk, "/", READ);
    assert_eq!(disk.read(h, &mut [0; 8]), Err(Errno::EISDIR));
    assert_eq!(disk.read_at(h, &mut [], 0), Err(Errno::EISDIR));
    assert_eq!(disk.write(h, b"x"), Err(Errno::EBADF));
    assert_eq!(disk.fsync(h), Ok(()));
    assert_eq!(disk.fdatasync(h), Ok(()));
}

#[test]
fn only_a_directory_is_opened_as_one() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    assert_eq!(refused(&mut disk, "f", libc::O_DIRECTORY), Errno::ENOTDIR);
    assert_eq!(refused(&mut disk, "f/", READ), Errno::ENOTDIR);
}

#[test]
fn a_handle_does_what_its_access_mode_allows() {
    let mut disk = disk();
    put(&mut disk, "f", b"x");
    let reader = open(&mut disk, "f", READ);
    let writer = open(&mut disk, "f", libc::O_WRONLY);
    let neither = open(&mut disk, "f", 3);
    assert_eq!(disk.write(reader, b"y"), Err(Errno::EBADF));
    assert_eq!(disk.write(reader, b""), Err(Errno::EBADF));
    assert_eq!(disk.truncate(reader, 0), Err(Errno::EINVAL));
    assert_eq!(disk.allocate(reader, 0, 0, 1), Err(Errno::EBADF));
    assert_eq!(disk.read(writer, &mut [0]), Err(Errno::EBADF));
    assert_eq!(disk.read(neither, &mut [0]), Err(Errno::EBADF));
    assert_eq!(disk.write(neither, b"y"), Err(Errno::EBADF));
}

#[test]
fn a_handle_of_o_path_only_names_an_inode() {
    let mut disk = disk();
    put(&mut disk, "f", b"x");
    symlink(&mut disk, "f", "l");
    let h = open(&mut disk, "f", libc::O_PATH | libc::O_RDWR | libc::O_TRUNC);
    assert_eq!(disk.stat(h).map(|stat| stat.size), Ok(1));
    assert_eq!(disk.flags(h), Ok(libc::O_PATH));
    let all = [
        disk.read(h, &mut [0]).map(drop),
        disk.write(h, b"y").map(drop),
        disk.seek(h, 0, libc::SEEK_CUR).map(drop),
        disk.truncate(h, 0),
        disk.allocate(h, 0, 0, 1),
        disk.fsync(h),
        disk.sync_range(h, 0, 0, 0),
        disk.fail_sync(h, true),
        disk.chmod(h, 0),
        disk.set_flags(h, 0),
        disk.flock(h, libc::LOCK_UN),
    ];
    assert!(all.iter().all(|result| *result == Err(Errno::EBADF)), "{all:?}");
    let link = open(&mut disk, "l", libc::O_PATH | libc::O_NOFOLLOW);
    assert_eq!(disk.stat(link).map(|stat| stat.kind), Ok(Kind::Symlink));
}

#[test]
fn truncation_needs_no_right_to_write() {
    let mut disk = disk();
    put(&mut disk, "f", b"x");
    open(&mut disk, "f", libc::O_RDONLY | libc::O_TRUNC);
    assert_eq!(get(&mut disk, "f"), b"");
}

#[test]
fn a_nameless_file_must_be_writable_and_needs_a_directory() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    assert_eq!(refused(&mut disk, "/", libc::O_TMPFILE), Errno::EINVAL);
    assert_eq!(refused(&mut disk, "/", libc::O_TMPFILE | CREATE), Errno::EINVAL);
    assert_eq!(refused(&mut disk, "f", libc::O_TMPFILE | WRITE), Errno::ENOTDIR);
    assert_eq!(refused(&mut disk, "no", libc::O_TMPFILE | WRITE), Errno::ENOENT);
    open(&mut disk, "/", libc::O_TMPFILE | WRITE);
    let root = open(&mut disk, "/", READ);
    assert_eq!(disk.list(root).map(|all| all.len()), Ok(3));
}

#[test]
fn flags_are_shown_as_the_kernel_shows_them() {
    let mut disk = disk();
    let asked = EXCLUSIVE | libc::O_TRUNC | libc::O_CLOEXEC | libc::O_APPEND;
    let h = open(&mut disk, "f", asked);
    assert_eq!(disk.flags(h), Ok(0o100_000 | libc::O_RDWR | libc::O_APPEND));
    assert_eq!(disk.set_flags(h, libc::O_NONBLOCK | libc::O_WRONLY | libc::O_EXCL), Ok(()));
    assert_eq!(disk.flags(h), Ok(0o100_000 | libc::O_RDWR | libc::O_NONBLOCK));
}

#[test]
fn references_share_one_offset_and_opens_do_not() {
    let mut disk = disk();
    put(&mut disk, "f", b"abcd");
    let (one, other) = (open(&mut disk, "f", READ), open(&mut disk, "f", READ));
    disk.share(one).expect("it is open");
    disk.seek(one, 2, libc::SEEK_SET).expect("it is open");
    disk.close(one).expect("it is open");
    let mut bytes = [0; 2];
    assert_eq!(disk.read(one, &mut bytes), Ok(2));
    assert_eq!(&bytes, b"cd");
    assert_eq!(disk.seek(other, 0, libc::SEEK_CUR), Ok(0));
}

#[test]
fn the_last_close_closes() {
    let mut disk = disk();
    let h = open(&mut disk, "f", CREATE);
    disk.share(h).expect("it is open");
    assert_eq!(disk.open_count(), 1);
    assert_eq!(disk.close(h), Ok(()));
    assert_eq!(disk.close(h), Ok(()));
    assert_eq!(disk.open_count(), 0);
    assert_eq!(disk.close(h), Err(Errno::EBADF));
    assert_eq!(disk.share(h), Err(Errno::EBADF));
    assert_eq!(disk.read(h, &mut [0]), Err(Errno::EBADF));
    assert_eq!(disk.stat(h), Err(Errno::EBADF));
    assert_eq!(open(&mut disk, "f", READ), h, "numbers are reused");
}

#[test]
fn an_unlinked_file_lives_until_its_last_handle_is_closed() {
    let mut disk = disk();
    let (one, other) = (open(&mut disk, "f", CREATE), open(&mut disk, "f", WRITE));
    let ino = disk.ino(one).expect("it is open");
    disk.unlink(ROOT, b"f").expect("a file");
    assert_eq!(disk.write(one, b"still here"), Ok(10));
    disk.close(one).expect("it is open");
    assert_eq!(contents(&disk, other), b"still here");
    assert_eq!(disk.stat(other).map(|stat| stat.nlink), Ok(0));
    disk.close(other).expect("it is open");
    assert!(disk.tree().node(ino).is_none());
}

#[test]
fn a_name_that_is_used_again_leads_to_another_inode() {
    let mut disk = disk();
    let old = open(&mut disk, "f", CREATE);
    disk.write(old, b"old").expect("it is writable");
    disk.unlink(ROOT, b"f").expect("a file");
    put(&mut disk, "f", b"new");
    assert_eq!(contents(&disk, old), b"old");
    assert_eq!(get(&mut disk, "f"), b"new");
}
