//! The errors of an event store for files that are not its own, or that it may not read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sims::engines::checkpoint::{Config, Store};
use tempfile::TempDir;

use super::rig::{dump, fill, open, place, plain, segment};

/// A store with one finished segment.
fn one() -> (TempDir, std::path::PathBuf) {
    let (dir, path) = place();
    let mut store = open(&path);
    fill(&mut store, 0..3);
    store.close().expect("closes");
    (dir, path)
}

/// The error of opening a store with its source, or how many events it opens with.
fn opened(dir: &TempDir, path: &Path) -> String {
    match Store::open(path, Config::default()) {
        Ok(store) => format!("opens, {} events", store.len()),
        Err(error) => {
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text = format!("{text}: {source}");
            }
            text.replace(&dir.path().display().to_string(), "DIR")
        }
    }
}

/// The result of opening a store whose only segment has these bytes; they must not change.
fn with(bytes: &[u8]) -> String {
    let (dir, path) = one();
    fs::write(segment(&dir, 1), bytes).expect("writes");
    let opened = opened(&dir, &path);
    assert_eq!(fs::read(segment(&dir, 1)).expect("reads"), bytes);
    opened
}

#[test]
fn files_that_are_not_segments_are_refused_and_left_unchanged() {
    let (dir, _) = one();
    let whole = fs::read(segment(&dir, 1)).expect("reads");
    let later: Vec<u8> = {
        // The version is the value after its name.
        let at = whole.windows(7).position(|name| name == b"version").expect("is there") + 7;
        let mut later = whole.clone();
        later[at] = 2;
        later
    };
    let other = {
        let at = whole.windows(10).position(|name| name == b"segment_id").expect("is there") + 10;
        let mut other = whole.clone();
        other[at] = 7;
        other
    };
    let table = [
        ("empty", with(b"")),
        ("text", with(b"hello, this is no segment at all\n")),
        ("a checkpoint", with(&fs::read(dir.path().join("store/index.ckpt")).expect("reads"))),
        ("a later version", with(&later)),
        ("another segment", with(&other)),
        ("only zeros", with(&[0; 4096])),
    ];
    let lines: Vec<String> = table.iter().map(|(file, text)| format!("{file}: {text}")).collect();
    expect_test::expect![[r#"
        empty: opens, 0 events
        text: segment 1 is corrupt at byte 0: no header
        a checkpoint: segment 1 is corrupt at byte 0: no header
        a later version: segment 1 is corrupt at byte 0: unsupported version 2
        another segment: segment 1 is corrupt at byte 0: the header is that of segment 7
        only zeros: opens, 0 events"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_directory_in_place_of_a_file_is_refused_and_a_link_to_a_segment_is_followed() {
    let (dir, path) = one();
    let right = dump(&path, plain());
    let (first, elsewhere) = (segment(&dir, 1), dir.path().join("elsewhere"));
    fs::rename(&first, &elsewhere).expect("renames");
    symlink(&elsewhere, &first).expect("links");
    assert_eq!(dump(&path, plain()), right);
    assert_eq!(dump(&path, Config::default()), right);
    fs::remove_file(&first).expect("removes");
    fs::create_dir(&first).expect("makes");
    expect_test::expect!["store I/O error: DIR/store/000001.fbat: Is a directory (os error 21)"]
        .assert_eq(&opened(&dir, &path));
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("writes");
    expect_test::expect!["store I/O error: DIR/file: File exists (os error 17)"]
        .assert_eq(&opened(&dir, &file));
    expect_test::expect![
        "store I/O error: /proc/nowhere/store: No such file or directory (os error 2)"
    ]
    .assert_eq(&opened(&dir, Path::new("/proc/nowhere/store")));
}

#[test]
fn the_error_names_a_segment_without_read_permission() {
    let (dir, path) = one();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("sets");
    fs::set_permissions(segment(&dir, 1), fs::Permissions::from_mode(0o000)).expect("sets");
    let error =
        std::thread::scope(|scope| scope.spawn(|| as_nobody(|| opened(&dir, &path))).join());
    expect_test::expect!["store I/O error: DIR/store/000001.fbat: Permission denied (os error 13)"]
        .assert_eq(&error.expect("no panic"));
}

/// Does something as a user who may not read everything, as the superuser may. Only the calling
/// thread becomes that user, and it must end afterwards.
fn as_nobody<T>(work: impl FnOnce() -> T) -> T {
    if rustix::process::geteuid().is_root() {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("drops");
    }
    work()
}
