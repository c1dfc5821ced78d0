//! A page that is torn while it is written back, under a later write that is whole.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crashpoint::{Acks, Error};

const PAGE: usize = 4096;

/// Writes version after version of a page, in one of two places in turn, and a header that names
/// the newest. Both are made durable by one sync.
fn run(dir: &Path, acks: &mut Acks) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(dir.join("pages"))?;
    file.write_all_at(&[0; 3 * PAGE], 0)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    for version in 1..=6u8 {
        let place = PAGE * (1 + usize::from(version % 2));
        file.write_all_at(&[version; PAGE], place as u64)?;
        file.write_all_at(&[version], 0)?;
        file.sync_data()?;
        acks.durable(version.to_string());
    }
    Ok(())
}

/// The newest version whose page passes for it, and that page.
fn newest(dir: &Path, passes: fn(&[u8], u8) -> bool) -> Option<(u8, Vec<u8>)> {
    let bytes = std::fs::read(dir.join("pages")).ok().filter(|bytes| bytes.len() == 3 * PAGE)?;
    let page = |version: u8| bytes.chunks(PAGE).nth(1 + usize::from(version % 2));
    let named = [bytes[0], bytes[0].saturating_sub(1)];
    let found =
        named.into_iter().find(|&version| page(version).is_some_and(|p| passes(p, version)));
    found.and_then(|version| Some((version, page(version)?.to_vec())))
}

fn look(dir: &Path, acked: &[String], passes: fn(&[u8], u8) -> bool) -> Result<(), Error> {
    let durable: u8 = acked.last().map_or(Ok(0), |version| version.parse())?;
    let Some((version, page)) = newest(dir, passes) else {
        return if acked.is_empty() { Ok(()) } else { Err("no page is left".into()) };
    };
    if version < durable {
        return Err(format!("version {version} is back after {durable}").into());
    }
    match page.iter().find(|byte| **byte != version) {
        Some(byte) => Err(format!("page of version {version} has bytes of {byte}").into()),
        None => Ok(()),
    }
}

/// The planted bug: a page passes for a version by its first byte, as if it were written whole.
fn look_at_the_first_byte(dir: &Path, acked: &[String]) -> Result<(), Error> {
    look(dir, acked, |page, version| page[0] == version)
}

/// The twin looks at all of the page, as a checksum would.
fn look_at_the_whole_page(dir: &Path, acked: &[String]) -> Result<(), Error> {
    look(dir, acked, |page, version| page.iter().all(|byte| *byte == version))
}

#[test]
fn a_page_tears_inside_the_sync_under_a_whole_header() {
    let failed = std::panic::catch_unwind(|| crashpoint::check_pair(run, look_at_the_first_byte));
    let payload = failed.expect_err("no page is checked");
    let report = payload.downcast_ref::<String>().expect("a report");
    assert!(report.contains("has bytes of"), "{report}");
}

#[test]
fn a_page_that_is_checked_whole_may_tear() {
    crashpoint::check_pair(run, look_at_the_whole_page);
}
