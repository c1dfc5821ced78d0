//! Calls outside the simulated disk go to the host unchanged.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use crashpoint::Time;
use crashpoint::inner::disk::tree::Tree;
use crashpoint::inner::process::seam;
use crashpoint::inner::process::world::{MOUNT, Note, STORE, now};

use crate::harness::{at, errno, run, run_in, with_world};

#[test]
fn paths_of_the_host_reach_the_kernel_and_leave_no_call() {
    let host = tempfile::tempdir().expect("a directory of the host");
    let path = host.path().join("file");
    let ran = run(|| {
        fs::write(&path, b"outside")?;
        assert_eq!(fs::read(&path)?, b"outside");
        assert_eq!(fs::read_dir(host.path())?.count(), 1);
        assert_eq!(fs::canonicalize(&path)?, path);
        Ok(())
    });
    assert_eq!(fs::read(&path).expect("it is on the host"), b"outside");
    assert_eq!(ran.doors(), [""; 0]);
    assert_eq!(ran.now, Time::START);
    assert_eq!(ran.notes, [Note::Outside(path.as_os_str().as_bytes().to_vec())]);
}

#[test]
fn reading_the_host_and_its_harmless_devices_is_not_noted() {
    let ran = run(|| {
        fs::read("/proc/self/stat")?;
        OpenOptions::new().write(true).open("/dev/null")?.write_all(b"x")?;
        Ok(())
    });
    assert_eq!(ran.notes, []);
}

#[test]
fn the_harness_sees_the_kernel_while_a_world_is_installed() {
    let there = || fs::metadata(MOUNT).is_ok();
    with_world(|| {
        assert!(!there());
        assert!(seam::engine(there));
        assert!(!there());
        assert!(thread::scope(|scope| scope.spawn(|| !there()).join().is_ok_and(|kept| kept)));
    });
}

#[test]
fn without_a_world_the_engines_side_sees_the_host() {
    let text = crate::harness::alone(|| seam::engine(|| fs::read(at("a"))));
    assert_eq!(errno(text), Some(libc::ENOENT));
    assert_eq!(now(), Time::START);
}

#[test]
fn a_read_that_would_block_forever_on_the_host_is_refused() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe of the host");
    let ran = run(|| {
        writer.write_all(b"x")?;
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte)?, 1);
        assert_eq!(errno(reader.read(&mut byte)), Some(libc::EAGAIN));
        Ok(())
    });
    assert!(matches!(&ran.notes[..], [Note::NotSimulated(call)] if call.contains("read")));
}

#[test]
fn output_to_standard_error_is_kept() {
    static HEARD: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    run_in(
        |setup| {
            setup.hooks.words =
                |words| HEARD.lock().expect("nothing panicked").extend_from_slice(words);
        },
        || {
            let _ = rustix::io::write(std::io::stderr(), b"");
            std::io::stderr().write_all(b"engine: last words\n")
        },
    );
    assert_eq!(*HEARD.lock().expect("no panic"), b"engine: last words\n");
}

/// In a run, the store's folder is an entry of the root: it has siblings, a parent that can be
/// synced, and can be moved and removed. The log names everything from the store's folder.
#[test]
fn the_folder_of_a_run_is_an_entry_like_any_other() {
    let ran = run_in(
        |setup| setup.tree = Tree::of_a_run(),
        || {
            let store = Path::new(STORE);
            let lock = store.with_extension("lock");
            fs::write(store.join("log"), "log")?;
            fs::write(store.join("../store.lock"), "lock")?;
            assert_eq!(fs::read(&lock)?, b"lock");
            assert_eq!(fs::canonicalize(store.join(".."))?, Path::new(MOUNT));
            assert_eq!(std::env::current_dir()?, Path::new(MOUNT));
            assert_eq!(fs::read("store/log")?, b"log");
            File::open(store.parent().expect("it has one"))?.sync_all()?;
            let inode = |path: &Path| fs::metadata(path).map(|found| found.ino());
            assert!(inode(Path::new(MOUNT))? != inode(store)? && inode(Path::new(MOUNT))? != 0);
            let open = File::open(store)?;
            let old = store.with_extension("old");
            fs::rename(store, &old)?;
            let link = fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd()))?;
            assert_eq!(link, old);
            assert!(fs::metadata(store).is_err());
            fs::create_dir(store)?;
            fs::write(store.join("new"), "")?;
            fs::remove_file(old.join("log"))?;
            fs::remove_dir(&old)
        },
    );
    let named = |door: &str| {
        let of = ran.calls().into_iter().filter(|call| call.door.contains(door));
        of.map(|call| [call.path, call.other].map(|p| String::from_utf8_lossy(p).into_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(named("rename"), [["", "../store.old"]]);
    assert_eq!(named("fsync"), [["..", ""]]);
    assert_eq!(named("unlink")[0], ["../store.old/log", ""]);
    let opened: Vec<String> = named("open").into_iter().map(|[path, _]| path).collect();
    assert_eq!(opened[..3], ["log", "../store.lock", "../store.lock"]);
    assert_eq!(
        ran.tree.paths().into_values().collect::<std::collections::BTreeSet<_>>(),
        ["..", "", "new", "../store.lock"].map(|path| path.as_bytes().to_vec()).into()
    );
}
