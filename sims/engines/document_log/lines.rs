//! Reads a log line by line, and finds where its history ends.
//!
//! No byte of a log is written twice, so a crash leaves in place of each unsynced byte that byte
//! or zero, and the file may end early. A line never holds a zero byte (JSON writes one in a
//! string as an escape), so an incomplete line can be recognised, and zeros join the following
//! bytes to the line that they damage. All that follows is dropped, even if it can be read: it was
//! written later than the missing bytes. Damage that no crash explains is an error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use super::entry::{LINE_MAX, LogEntry};
use super::{Bugs, LogError};

/// The unit that a disk writes whole, in bytes.
const SECTOR: u64 = 512;

/// The first bytes of each log.
const FIRST: &[u8] = b"{\"cmd\":\"";

/// The place of a line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// Reads a file from some byte on, without moving the file's own position.
pub(super) struct ReadAt<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Reads a log.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The byte where the next line begins.
    next: u64,
    /// The number of the last line, from 1.
    number: u64,
    /// Bytes of lines that were skipped: only with planted bugs.
    skipped: u64,
    bugs: Bugs,
}

impl<R: Read> Lines<R> {
    /// Reads on at a byte where a line begins, after `number` lines.
    pub(super) fn from(input: R, offset: u64, number: u64, bugs: Bugs) -> Self {
        let (input, line) = (BufReader::with_capacity(64 << 10, input), Vec::new());
        Self { input, line, next: offset, number, skipped: 0, bugs }
    }

    /// The next entry, or `None` where the history ends.
    ///
    /// # Errors
    /// `Io`; `NotALog` if the bytes are not a log; `Corrupted` at damage that no crash explains.
    pub(super) fn next(&mut self) -> Result<Option<(LogEntry, Extent)>, LogError> {
        loop {
            self.line.clear();
            let most = LINE_MAX as u64 + 2;
            if (&mut self.input).take(most).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            let text = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let entry = serde_json::from_slice(text);
            match entry {
                Ok(entry) => {
                    let length = text.len() as u32;
                    let offset = self.next - self.skipped_before();
                    self.next += self.line.len() as u64;
                    self.number += 1;
                    return Ok(Some((entry, Extent { offset, length })));
                }
                Err(_) if self.bugs.skips_lines() => {
                    self.next += self.line.len() as u64;
                    self.skipped += self.line.len() as u64;
                    self.number += 1;
                }
                Err(error) => return self.judge(&error).map(|()| None),
            }
        }
    }

    /// Checks that the history may end at the line that was read last.
    fn judge(&self, error: &serde_json::Error) -> Result<(), LogError> {
        let zeros = self.line.iter().position(|byte| *byte == 0);
        let written = &self.line[..zeros.unwrap_or(self.line.len())];
        let shared = written.iter().zip(FIRST).take_while(|(found, wanted)| found == wanted);
        if self.next == 0 && shared.count() < written.len().min(FIRST.len()) {
            return Err(LogError::NotALog);
        }
        let torn = !self.line.ends_with(b"\n") && self.line.len() <= LINE_MAX;
        if torn || self.has_lost_sector() {
            return Ok(());
        }
        let what = match self.line.len() > LINE_MAX {
            true => format!("a line of more than {LINE_MAX} bytes"),
            false => error.to_string(),
        };
        Err(LogError::Corrupted { line: self.number + 1, offset: self.next, what })
    }

    /// Whether the line holds zeros up to the end of a sector.
    fn has_lost_sector(&self) -> bool {
        let last = |index: usize| self.line.get(index + 1) != Some(&0);
        let ends = |index: usize| (self.next + index as u64 + 1).is_multiple_of(SECTOR);
        self.line.iter().enumerate().any(|(at, byte)| *byte == 0 && last(at) && ends(at))
    }

    fn skipped_before(&self) -> u64 {
        if self.bugs.skipped_lines_shift { self.skipped } else { 0 }
    }

    /// The bytes of the line that was read last, without its newline.
    pub(super) fn text(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    /// The byte where the history ends, once there is no next entry.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// The number of lines that were read.
    pub(super) fn count(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = r#"{"cmd":"INSERT","collection":"c","key":"a","value":1}"#;
    const B: &str = r#"{"cmd":"INSERT","collection":"c","key":"b","value":2}"#;

    /// The keys of a log's history, and where it ends.
    fn read(log: &[u8]) -> Result<(String, u64), String> {
        let mut lines = Lines::from(log, 0, 0, Bugs::default());
        let mut keys = String::new();
        while let Some((entry, extent)) = lines.next().map_err(|error| error.to_string())? {
            let start = extent.offset as usize;
            let text = &log[start..start + extent.length as usize];
            assert_eq!(serde_json::from_slice::<LogEntry>(text).expect("reads"), entry);
            keys.push_str(&entry.key);
        }
        Ok((keys, lines.end()))
    }

    #[test]
    fn a_line_counts_when_it_is_whole_with_or_without_its_newline() {
        assert_eq!(read(format!("{A}\n{B}\n").as_bytes()), Ok(("ab".into(), 108)));
        assert_eq!(read(format!("{A}\n{B}").as_bytes()), Ok(("ab".into(), 107)));
        for cut in 55..107 {
            let log = format!("{A}\n{B}\n");
            assert_eq!(read(&log.as_bytes()[..cut]), Ok(("a".into(), 54)), "{cut}");
        }
        assert_eq!(read(b""), Ok((String::new(), 0)));
    }

    #[test]
    fn zeros_up_to_the_end_of_a_sector_end_the_history_whatever_follows() {
        let log = |zeros: usize| [format!("{A}\n").as_bytes(), &vec![0; zeros]].concat();
        assert_eq!(read(&log(9)), Ok(("a".into(), 54)), "at the end of the file");
        let lost = [log(512 - 54), format!("{B}\n").into_bytes()].concat();
        assert_eq!(read(&lost), Ok(("a".into(), 54)));
        let lost = [log(512 - 54), format!("rest\"}}\n{B}\n").into_bytes()].concat();
        assert_eq!(read(&lost), Ok(("a".into(), 54)));
    }

    #[test]
    fn other_damage_is_an_error_that_says_where() {
        for middle in ["{\"cmd\":", "}{", "", "\0\0"] {
            let error = read(format!("{A}\n{middle}\n{B}\n").as_bytes()).expect_err("is damage");
            assert!(error.starts_with("document log damaged at line 2, byte 54: "), "{error}");
        }
    }

    #[test]
    fn another_kind_of_file_is_not_a_log() {
        for other in [&b"PGSS\x02\0"[..], b"#!/bin/sh\n", b"\x7fELF\0\0\0", b"{\"name\":1}\n"] {
            assert_eq!(read(other), Err("not a document log".to_owned()), "{other:?}");
        }
        for torn in [&b"{"[..], b"{\"cmd\":\"INS", b"{\"cm\0\0\0", b"\0\0\0"] {
            assert_eq!(read(torn), Ok((String::new(), 0)), "{torn:?}");
        }
    }
}
