//! A file of checksummed lines, each durable before it counts.
//!
//! ```text
//! {"sum":"3f0c9a51d2e4b687","line":{"cell":"toy on posix"}}
//! ```
//!
//! A line is JSON; the sum is the XXH3 of the bytes after `"line":`, without the last brace. Lines
//! are appended and synced one at a time, so a crash can damage only the last one. Opening cuts a
//! damaged end off. A damaged line that others follow was damaged by something else: that is an
//! error.
//!
//! This file stands alone, so that a sim can include it: crashpoint cuts the power under it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// The longest line; a file with a longer one is not ours.
const LONGEST: u64 = 256 << 20;

/// A file of checksummed lines, locked against other processes.
#[derive(Debug)]
pub struct Lines {
    file: File,
    /// Bytes of the lines that are durable.
    length: u64,
    /// Set when an append failed: what the file holds then is for the next opening to find out.
    failed: bool,
}

/// Why a file of lines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The system refused a call.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another process has it open.
    #[error("another process works on it")]
    Held,
    /// It holds something else.
    #[error("it does not begin with a line of ours")]
    Foreign,
    /// A line before the last one is damaged.
    #[error("line {0} is damaged, and lines after it are not: this is no torn end")]
    Damaged(u64),
    /// The reader refused a line.
    #[error("{0}")]
    Refused(String),
}

/// What a scan of the file found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole lines.
    pub lines: u64,
    /// The bytes that they take.
    pub good: u64,
    /// Where the last of them begins.
    pub last: u64,
    /// The bytes after them: a torn end.
    pub torn: u64,
}

impl Lines {
    /// Opens the file, which begins with the line `first`, or creates it. `each` sees every line
    /// with its number, counted from 1; all of them are durable when this returns. Returns the
    /// number of bytes of a torn end that was cut off, too.
    ///
    /// # Errors
    /// See [`LinesError`]. A file that is refused is not changed.
    pub fn open(
        path: &Path,
        first: &str,
        each: &mut dyn FnMut(u64, &str) -> Result<(), String>,
    ) -> Result<(Self, u64), LinesError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LinesError::Held),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let scan = scan(&file, each)?;
        if scan.lines == 0 && scan.torn > 0 && !is_torn(&file, scan.torn, first)? {
            return Err(LinesError::Foreign);
        }
        if scan.torn > 0 {
            file.set_len(scan.good)?;
        }
        // An earlier process may have been killed before it had synced its last line or the name of
        // the file, or after that sync had failed: then the kernel counts the line as written,
        // though it is only in the cache. Written again it is synced again.
        let mut last = vec![0; usize::try_from(scan.good - scan.last).unwrap_or(0)];
        file.read_exact_at(&mut last, scan.last)?;
        file.write_all_at(&last, scan.last)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let mut lines = Self { file, length: scan.good, failed: false };
        if scan.lines == 0 {
            lines.append(first)?;
            each(1, first).map_err(LinesError::Refused)?;
        }
        Ok((lines, scan.torn))
    }

    /// Appends a line, which is durable when this returns.
    ///
    /// # Errors
    /// The error of the system; the line is taken back as far as the system allows, and no more
    /// lines are taken.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier line could not be written"));
        }
        let text = sealed(line);
        let written = self.file.write_all_at(text.as_bytes(), self.length);
        let written = written.and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.failed = true;
            // After a failed sync the cache may show what the disk does not have: a reader must
            // not take it for durable.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A line with its sum, as it is in the file.
pub fn sealed(line: &str) -> String {
    format!("{{\"sum\":\"{:016x}\",\"line\":{line}}}\n", xxh3_64(line.as_bytes()))
}

/// The line in some bytes of the file; `None` if they are damaged.
pub fn unsealed(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.strip_prefix(b"{\"sum\":\"")?;
    let (sum, rest) = rest.split_at_checked(16)?;
    let line = rest.strip_prefix(b"\",\"line\":")?.strip_suffix(b"}\n")?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if xxh3_64(line) != sum {
        return None;
    }
    std::str::from_utf8(line).ok()
}

/// Reads every whole line of a file, which another process may be appending to.
///
/// # Errors
/// See [`LinesError`].
pub fn scan(
    file: &File,
    each: &mut dyn FnMut(u64, &str) -> Result<(), String>,
) -> Result<Scan, LinesError> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut scan, mut number, mut damaged) = (Scan::default(), 0, None);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = io::Read::take(&mut reader, LONGEST).read_until(b'\n', &mut bytes)? as u64;
        if read == 0 {
            return Ok(scan);
        }
        number += 1;
        let Some(line) = unsealed(&bytes) else {
            damaged = damaged.or(Some(number));
            scan.torn += read;
            continue;
        };
        if let Some(number) = damaged {
            return Err(LinesError::Damaged(number));
        }
        each(number, line).map_err(LinesError::Refused)?;
        scan.lines += 1;
        scan.last = scan.good;
        scan.good += read;
    }
}

/// Whether a file of this length, without a whole line, may be what a crash left of its first
/// line: each byte that is not zero is the line's own.
fn is_torn(file: &File, length: u64, first: &str) -> io::Result<bool> {
    let sealed = sealed(first);
    if length > sealed.len() as u64 {
        return Ok(false);
    }
    let mut bytes = vec![0; sealed.len().min(usize::try_from(length).unwrap_or(0))];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().zip(sealed.as_bytes()).all(|(&byte, &own)| byte == own || byte == 0))
}
