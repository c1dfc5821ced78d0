//! Facts about the live disk as a process sees it, compared with Linux where that matters.

mod bytes;
mod calls;
mod compare;
mod folder;
mod journal;
mod locks;
mod names;
mod open;
mod rarer;
mod real;
mod simulated;
mod space;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::disk::{Disk, Errno, Handle, Ino};

const ROOT: Ino = Ino::ROOT;
const READ: i32 = libc::O_RDONLY;
const WRITE: i32 = libc::O_RDWR;
const CREATE: i32 = libc::O_RDWR | libc::O_CREAT;

/// An empty disk.
fn disk() -> Disk {
    Disk::new(Tree::new())
}

/// Opens a file that must open.
fn open(disk: &mut Disk, path: &str, flags: i32) -> Handle {
    match disk.open(ROOT, path.as_bytes(), flags, 0o644) {
        Ok(h) => h,
        Err(errno) => panic!("open {path}: {errno}"),
    }
}

/// Opens a file that must not open, and returns the error.
fn refused(disk: &mut Disk, path: &str, flags: i32) -> Errno {
    disk.open(ROOT, path.as_bytes(), flags, 0o644).expect_err("it must not open")
}

/// Makes a file that holds `bytes`.
fn put(disk: &mut Disk, path: &str, bytes: &[u8]) {
    let h = open(disk, path, CREATE | libc::O_TRUNC);
    assert_eq!(disk.write(h, bytes), Ok(bytes.len()));
    disk.close(h).expect("it is open");
}

/// The bytes of a file.
fn get(disk: &mut Disk, path: &str) -> Vec<u8> {
    let h = open(disk, path, READ);
    let bytes = contents(disk, h);
    disk.close(h).expect("it is open");
    bytes
}

/// All bytes that a handle can read, without moving it.
fn contents(disk: &Disk, h: Handle) -> Vec<u8> {
    let size = disk.stat(h).expect("it is open").size;
    let mut bytes = vec![0; usize::try_from(size).expect("a small file")];
    let done = disk.read_at(h, &mut bytes, 0).expect("it reads");
    assert_eq!(done, bytes.len());
    bytes
}

fn mkdir(disk: &mut Disk, path: &str) {
    disk.mkdir(ROOT, path.as_bytes(), 0o755).expect("a new directory");
}

fn symlink(disk: &mut Disk, target: &str, path: &str) {
    disk.symlink(target.as_bytes(), ROOT, path.as_bytes()).expect("a new link");
}

fn rename(disk: &mut Disk, old: &str, new: &str) -> Result<(), Errno> {
    disk.rename(ROOT, old.as_bytes(), ROOT, new.as_bytes(), 0)
}

fn ino(disk: &Disk, path: &str) -> Result<Ino, Errno> {
    disk.stat_path(ROOT, path.as_bytes(), false).map(|stat| stat.ino)
}
