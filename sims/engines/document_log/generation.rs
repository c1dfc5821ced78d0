//! One file of the log, and the lines that are still to be written to it. A compaction begins the
//! next generation.
//!
//! A [`Pointer`] holds the generation that it points into, so that it resolves to the same bytes
//! for as long as it lives, whichever file has the log's name by then.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::LogError;
use super::entry::LogEntry;
use super::lines::{Extent, ReadAt};

/// The place of an entry.
#[derive(Clone, Debug)]
pub struct Pointer {
    pub(super) generation: Arc<Generation>,
    pub(super) extent: Extent,
}

impl Pointer {
    /// The generation of the log that this points into: it grows with each compaction.
    pub fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The offset of the line in its file, in bytes.
    pub fn offset(&self) -> u64 {
        self.extent.offset
    }

    /// The length of the line without its newline, in bytes.
    pub fn length(&self) -> u32 {
        self.extent.length
    }
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    /// `None` while there is no file.
    pub(super) file: Option<File>,
    /// Whether this process wrote the file, so that it may append to it.
    own: AtomicBool,
    tail: Mutex<Tail>,
}

/// The end of the file, and the lines that are still to be written to it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The length of the file's history, in bytes.
    pub(super) written: u64,
    /// Whole writes, to follow it.
    pub(super) queue: Vec<u8>,
    /// Whether a failed write left a part of the queue in the file. Nothing may be appended to it.
    pub(super) torn: bool,
    /// The number of lines, including those of the queue.
    pub(super) lines: u64,
}

impl Generation {
    pub(super) fn new(number: u64, file: Option<File>, own: bool, tail: Tail) -> Self {
        Self { number, file, own: AtomicBool::new(own), tail: Mutex::new(tail) }
    }

    pub(super) fn own(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    pub(super) fn set_own(&self, own: bool) {
        self.own.store(own, Ordering::Relaxed);
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file up to `end`, from `start` on.
    pub(super) fn bytes(&self, start: u64, end: u64) -> Box<dyn Read + '_> {
        match &self.file {
            Some(file) => Box::new(ReadAt { file, offset: start }.take(end.saturating_sub(start))),
            None => Box::new(io::empty()),
        }
    }

    /// All bytes from `start` on, those of the file and those of the queue.
    pub(super) fn all(&self, start: u64) -> Box<dyn Read + '_> {
        let tail = self.tail();
        let (written, queue) = (tail.written, tail.queue.clone());
        drop(tail);
        let mut queue = Cursor::new(queue);
        queue.set_position(start.saturating_sub(written));
        Box::new(self.bytes(start, written).chain(queue))
    }

    /// The bytes of a line.
    pub(super) fn line(&self, extent: Extent) -> io::Result<Vec<u8>> {
        let mut line = vec![0; extent.length as usize];
        let tail = self.tail();
        if let Some(in_queue) = extent.offset.checked_sub(tail.written) {
            let queued = tail.queue.get(in_queue as usize..).and_then(|q| q.get(..line.len()));
            line.copy_from_slice(queued.ok_or(io::ErrorKind::UnexpectedEof)?);
            return Ok(line);
        }
        drop(tail);
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(&mut line, extent.offset)?;
        Ok(line)
    }

    /// The entry of a line.
    ///
    /// # Errors
    /// As [`entry_in`].
    pub(super) fn entry(&self, extent: Extent) -> Result<LogEntry, LogError> {
        parse(&self.line(extent)?, extent)
    }
}

/// The entry of a line of a file.
///
/// # Errors
/// `Io`; `Changed` if it has changed since it was found there.
pub(super) fn entry_in(file: &File, extent: Extent) -> Result<LogEntry, LogError> {
    let mut line = vec![0; extent.length as usize];
    file.read_exact_at(&mut line, extent.offset)?;
    parse(&line, extent)
}

fn parse(line: &[u8], extent: Extent) -> Result<LogEntry, LogError> {
    serde_json::from_slice(line)
        .map_err(|error| LogError::Changed { offset: extent.offset, what: error.to_string() })
}
