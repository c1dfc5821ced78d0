//! Damage to the files of an event store at rest: bits of a byte flip, and the checkpoint is cut
//! short or replaced by an older one.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crashpoint::Error;

use super::op::{Part, StoreOp};

/// The length of what precedes the body of a checkpoint.
const HEADER: u64 = 12;

/// Damages the files in `dir` as an op says; an op of another kind does nothing.
pub(super) fn apply(dir: &Path, op: &StoreOp) -> Result<(), Error> {
    let (checkpoint, kept) = (dir.join("index.ckpt"), dir.join("kept"));
    match op {
        StoreOp::Spoil(Part::Footer, at) => {
            if let Some(segment) = some_segment(dir, *at)? {
                spoil(&segment, Part::Footer, *at)?;
            }
        }
        StoreOp::Spoil(part, at) => spoil(&checkpoint, *part, *at)?,
        StoreOp::Cut(at) => cut(&checkpoint, *at)?,
        StoreOp::Keep => copy(&checkpoint, &kept)?,
        StoreOp::PutBack => copy(&kept, &checkpoint)?,
        _ => {}
    }
    Ok(())
}

fn spoil(path: &Path, part: Part, at: u16) -> Result<(), Error> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let len = file.metadata()?.len();
    let range = match part {
        Part::Header => 0..8,
        Part::Checksum => 8..HEADER,
        Part::Body => HEADER..len,
        Part::Footer => footer(&file, len)?..len,
    };
    if range.is_empty() || range.end > len {
        return Ok(());
    }
    let at = range.start + u64::from(at) % (range.end - range.start);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x11], at)?;
    Ok(())
}

/// One of the segments that have a footer, chosen by `number`.
fn some_segment(dir: &Path, number: u16) -> Result<Option<PathBuf>, Error> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "fbat") {
            continue;
        }
        let file = File::open(&path)?;
        let len = file.metadata()?.len();
        if footer(&file, len)? < len {
            segments.push(path);
        }
    }
    segments.sort();
    let number = usize::from(number) % segments.len().max(1);
    Ok((number < segments.len()).then(|| segments.swap_remove(number)))
}

/// The offset of a segment's footer; `len`, the segment's end, if it has none.
fn footer(file: &File, len: u64) -> Result<u64, Error> {
    let mut trailer = [0; 16];
    let Some(at) = len.checked_sub(16) else { return Ok(len) };
    file.read_exact_at(&mut trailer, at)?;
    let (start, rest) = trailer.split_at(8);
    let start = u64::from_le_bytes(start.try_into()?);
    Ok(if rest.ends_with(b"SIDX") && start < len { start } else { len })
}

fn cut(path: &Path, at: u16) -> Result<(), Error> {
    let Ok(file) = File::options().write(true).open(path) else { return Ok(()) };
    Ok(file.set_len(file.metadata()?.len() * u64::from(at) / (u64::from(u16::MAX) + 1))?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    match fs::read(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        data => Ok(fs::write(to, data?)?),
    }
}
