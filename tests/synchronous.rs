//! A write through `O_DSYNC` makes its own bytes durable, and nothing else of the file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crashpoint::Error;

const BLOCK: usize = 4096;

/// Writes two records, a block each: the first through a plain descriptor, the second through an
/// `O_DSYNC` one.
fn write_both(dir: &Path) -> Result<(), Error> {
    let mut new = File::create(dir.join("records"))?;
    new.write_all(&[b'-'; 2 * BLOCK])?;
    new.sync_all()?;
    File::open(dir)?.sync_all()?;
    let mut options = OpenOptions::new();
    let plain = options.write(true).open(dir.join("records"))?;
    let synchronous = options.custom_flags(libc::O_DSYNC).open(dir.join("records"))?;
    plain.write_all_at(&[b'1'; BLOCK], 0)?;
    synchronous.write_all_at(&[b'2'; BLOCK], BLOCK as u64)?;
    Ok(())
}

fn acknowledge_the_second(dir: &Path, acks: &mut crashpoint::Acks) -> Result<(), Error> {
    write_both(dir)?;
    acks.durable("2");
    Ok(())
}

/// The planted bug: the last write of a commit is synchronous, so all of it is taken to be durable.
fn acknowledge_both(dir: &Path, acks: &mut crashpoint::Acks) -> Result<(), Error> {
    write_both(dir)?;
    acks.durable("1");
    acks.durable("2");
    Ok(())
}

fn look(dir: &Path, acked: &[String]) -> Result<(), Error> {
    for record in acked {
        let bytes = std::fs::read(dir.join("records"))?;
        let number: usize = record.parse()?;
        let found = bytes.chunks(BLOCK).nth(number - 1).unwrap_or_default();
        if found != [record.as_bytes()[0]; BLOCK] {
            return Err(format!("record {record} is lost").into());
        }
    }
    Ok(())
}

#[test]
fn the_bytes_of_a_synchronous_write_are_durable() {
    crashpoint::check_pair(acknowledge_the_second, look);
}

#[test]
fn a_synchronous_write_does_not_make_earlier_writes_elsewhere_in_the_file_durable() {
    let failed = std::panic::catch_unwind(|| crashpoint::check_pair(acknowledge_both, look));
    let payload = failed.expect_err("the first record is not synced");
    let report = payload.downcast_ref::<String>().expect("a report");
    assert!(report.contains("record 1 is lost"), "{report}");
    assert!(report.contains("on posix"), "{report}");
}
