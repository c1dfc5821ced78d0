//! The store's folder of a run is moved and removed as a real one is.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::disk::{Disk, Errno, Ino};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

const EXCHANGE: u32 = libc::RENAME_EXCHANGE;

/// The folder from which a path starts, which is held from the beginning on.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Above,
    Store,
}
use Start::{Above, Store};

/// The same folders on the simulated disk and on the host.
struct Both {
    disk: Disk,
    real: tempfile::TempDir,
    held: [OwnedFd; 2],
}

impl Both {
    fn new() -> Self {
        let real = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(real.path().join("store")).expect("a new directory");
        let held = ["", "store"].map(|name| {
            let path = real.path().join(name);
            rustix::fs::openat(CWD, path, OFlags::PATH, Mode::empty()).expect("it exists")
        });
        let mut disk = Disk::new(Tree::of_a_run());
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        disk.open(Ino::ROOT, b".", flags, 0).expect("the store's folder");
        Self { disk, real, held }
    }

    fn at(&self, from: Start) -> (Ino, &OwnedFd) {
        match from {
            Above => (self.disk.tree().root(), &self.held[0]),
            Store => (Ino::ROOT, &self.held[1]),
        }
    }

    fn mkdir(&mut self, from: Start, path: &str) {
        let (base, fd) = self.at(from);
        let kernel = errno(rustix::fs::mkdirat(fd, path, Mode::from_raw_mode(0o755)));
        assert_eq!(self.disk.mkdir(base, path.as_bytes(), 0o755), kernel, "mkdir {path}");
    }

    fn rmdir(&mut self, path: &str) {
        let (base, fd) = self.at(Above);
        let kernel = errno(rustix::fs::unlinkat(fd, path, AtFlags::REMOVEDIR));
        assert_eq!(self.disk.rmdir(base, path.as_bytes()), kernel, "rmdir {path}");
    }

    fn rename(&mut self, one: (Start, &str), other: (Start, &str), flags: u32) {
        let ((from, old), (to, new)) = (one, other);
        let ((old_base, old_fd), (new_base, new_fd)) = (self.at(from), self.at(to));
        let with = RenameFlags::from_bits_retain(flags);
        let kernel = errno(rustix::fs::renameat_with(old_fd, old, new_fd, new, with));
        let outcome = self.disk.rename(old_base, old.as_bytes(), new_base, new.as_bytes(), flags);
        assert_eq!(outcome, kernel, "rename {old} {new}");
    }

    fn compare(&self) {
        let tree = self.disk.tree();
        let whole = |path: Vec<u8>| tree.from_root(&path).into_owned();
        let mut simulated: BTreeSet<Vec<u8>> = tree.paths().into_values().map(whole).collect();
        let mut real = BTreeSet::from([Vec::new()]);
        list(self.real.path(), self.real.path(), &mut real);
        // The store's folder is the empty path, from which others start.
        if simulated.remove(&b"store/"[..]) {
            simulated.insert(b"store".to_vec());
        }
        assert_eq!(simulated, real);
    }
}

fn errno(result: rustix::io::Result<()>) -> Result<(), Errno> {
    result.map_err(|errno| Errno(errno.raw_os_error()))
}

fn list(dir: &Path, root: &Path, paths: &mut BTreeSet<Vec<u8>>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let below = path.strip_prefix(root).expect("it is inside");
        paths.insert(below.to_string_lossy().into_owned().into_bytes());
        list(&path, root, paths);
    }
}

#[test]
fn the_folder_of_a_run_moves_as_any_folder_does() {
    let mut both = Both::new();
    for (from, path) in [(Store, "d"), (Store, "../new"), (Store, "../new/d"), (Above, "store/d/e")]
    {
        both.mkdir(from, path);
    }
    for (one, other, flags) in [
        ((Above, "store"), (Above, "store"), 0),
        ((Above, "store"), (Above, "store/d/in"), 0),
        ((Above, "store"), (Above, "new"), 0),
        ((Store, "."), (Above, "x"), 0),
        ((Store, ".."), (Above, "x"), 0),
        ((Store, "../store"), (Above, "old"), 0),
        ((Store, "d/e"), (Above, "store"), 0),
        ((Store, "d"), (Above, "store"), 0),
        ((Store, "../store"), (Store, "../new"), EXCHANGE),
        ((Store, "../new"), (Above, "gone"), 0),
        ((Store, "../old/d"), (Store, "../store"), 0),
        ((Above, "new"), (Above, "store"), 0),
        ((Above, "none"), (Above, "store"), 0),
        ((Store, "d"), (Store, "e"), 0),
    ] {
        both.rename(one, other, flags);
        both.compare();
    }
    both.mkdir(Store, "f");
    let paths = ["old", "old/f", "old", "store/d", "store", "new/d", "new", "gone/d", "gone"];
    for path in paths {
        both.rmdir(path);
        both.compare();
    }
    both.mkdir(Store, "x");
    both.mkdir(Store, "../y");
    both.mkdir(Above, "store");
    both.compare();
}

#[test]
fn a_store_alone_has_the_digest_of_a_disk_of_its_own() {
    let mut disk = Disk::new(Tree::of_a_run());
    assert_eq!(disk.tree().digest(), Tree::new().digest());
    let root = disk.tree().root();
    disk.mkdir(root, b"aside", 0o755).expect("a free name");
    assert_ne!(disk.tree().digest(), Tree::new().digest());
    // What took the store's name is the store.
    disk.rename(root, b"aside", root, b"store", 0).expect("the store is empty");
    assert_eq!(disk.tree().digest(), Tree::new().digest());
    disk.rmdir(root, b"store").expect("it is empty");
    assert_ne!(disk.tree().digest(), Tree::new().digest());
}
