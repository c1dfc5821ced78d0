//! Facts about the doors: calls of an unmodified program arrive at the simulated world.

#[path = "doors/harness.rs"]
mod harness;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crashpoint::process::world::MOUNT;

use harness::run;

fn at(name: &str) -> PathBuf {
    Path::new(MOUNT).join(name)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_file_is_written_read_and_removed_on_the_disk() {
    let ran = run(|| {
        fs::write(at("a"), b"hello")?;
        assert_eq!(fs::read(at("a"))?, b"hello");
        assert_eq!(fs::metadata(at("a"))?.len(), 5);
        fs::remove_file(at("a"))?;
        assert_eq!(errno(fs::read(at("a"))), Some(libc::ENOENT));
        Ok(())
    });
    let doors = ran.doors();
    assert_eq!(doors[..3], ["open64", "write", "close"]);
    assert!(doors.contains(&"statx") && doors.contains(&"unlink"), "{doors:?}");
    assert!(!Path::new(MOUNT).exists(), "the harness sees the host, where there is no mount");
}
