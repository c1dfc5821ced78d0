//! The writer: appends, says when to compact, and refuses to continue where it might break a
//! promise.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use super::place::Place;
use super::record::{encode_cursor, encode_delete, encode_put};
use super::scan::{HEADER, SECTOR, Scan, scan};
use super::{Bugs, Cursor, SnapshotError, Update};

/// The number of bytes that may be queued before the next call writes them.
const QUEUE_LEN: usize = 8 * 1024;

/// The number of bytes of a new file that are written at once.
const COMPACT_CHUNK: usize = 1024 * 1024;

/// Appends to a log.
///
/// After a failed fsync, or a failure that leaves it unknown which file has the log's name, the
/// writer is poisoned: every call is refused until the log is opened again. Dropping the writer
/// flushes the queue, but cannot report an error; call [`flush`](Self::flush) first.
#[derive(Debug)]
pub struct SnapshotWriter {
    place: Place,
    /// `None` once poisoned.
    log: Option<Log>,
    bytes_since_compact: u64,
    compact_threshold: u64,
    bugs: Bugs,
}

/// The file, and the records that are still to be appended to it.
#[derive(Debug)]
struct Log {
    file: File,
    /// The length of the header and the whole records. The remains of a failed write may follow.
    len: u64,
    /// Whole records, to be written at `len`.
    queue: Vec<u8>,
    /// Whether a failed write left a part of the queue in the file. Nothing may be appended to it.
    torn: bool,
    /// Whether some bytes of the file were written by an earlier writer.
    inherited: bool,
}

impl SnapshotWriter {
    /// Opens the log at `path`, or creates it.
    ///
    /// A log that is not compact, or has a damaged tail, is replaced by a compact one, which is
    /// durable on return; so is a new one. A compact log stays as it is, byte for byte.
    /// `compact_threshold` is the number of bytes appended since the last compaction above which
    /// [`checkpoint`](Self::checkpoint) asks for the next.
    ///
    /// # Errors
    /// As [`load`](super::load) for the existing log; `InvalidFormat` if the path has no parent;
    /// `Io` if the log cannot be replaced. The log is then as it was.
    pub fn open(path: &Path, compact_threshold: u64) -> Result<Self, SnapshotError> {
        Self::open_with(path, compact_threshold, Bugs::default())
    }

    /// [`open`](Self::open) with planted bugs.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub fn open_with(
        path: &Path,
        compact_threshold: u64,
        bugs: Bugs,
    ) -> Result<Self, SnapshotError> {
        let place = Place::of(path)?;
        if !bugs.leftovers_kept {
            place.sweep()?;
        }
        let log = Log::open(&place, bugs)?;
        let bytes_since_compact = if log.inherited { log.len - HEADER.len() as u64 } else { 0 };
        Ok(Self { place, log: Some(log), bytes_since_compact, compact_threshold, bugs })
    }

    /// Appends an update. It is queued in the process until the next [`checkpoint`] or [`flush`],
    /// or until enough is queued.
    ///
    /// # Errors
    /// `InvalidFormat` if the key or the value is too long for the format; `Io` if earlier updates
    /// could not be written. Then this update is not in the log, and all earlier ones still are.
    ///
    /// [`checkpoint`]: Self::checkpoint
    /// [`flush`]: Self::flush
    pub fn write_update(&mut self, update: &Update) -> Result<(), SnapshotError> {
        let queue = self.queue()?;
        let before = queue.len();
        match update {
            Update::Put(entry) => encode_put(queue, &entry.key, &entry.value, entry.version)?,
            Update::Delete { key, version } | Update::Purge { key, version } => {
                encode_delete(queue, key, *version)?;
            }
        }
        self.bytes_since_compact += (queue.len() - before) as u64;
        Ok(())
    }

    /// Appends the position in the stream, and passes the queue to the kernel: it survives the
    /// process, not a power loss. Returns whether it is time to [`compact`](Self::compact).
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the cursor stays queued too.
    pub fn checkpoint(&mut self, cursor: &Cursor) -> Result<bool, SnapshotError> {
        let queue = self.queue()?;
        let before = queue.len();
        encode_cursor(queue, *cursor);
        self.bytes_since_compact += (queue.len() - before) as u64;
        self.flush()?;
        Ok(self.bytes_since_compact > self.compact_threshold)
    }

    /// Passes the queue to the kernel: it survives the process, not a power loss.
    ///
    /// # Errors
    /// `Io` if not all of it could be written. All of it stays queued: the next call replaces the
    /// file if a part was written, and writes the queue again.
    pub fn flush(&mut self) -> Result<(), SnapshotError> {
        let bugs = self.bugs;
        for _attempt in 0..2 {
            if self.log()?.torn {
                self.replace()?;
            }
            if self.log()?.write_queue(bugs)? {
                return Ok(());
            }
        }
        Err(io::Error::from(ErrorKind::WriteZero).into())
    }

    /// Makes all updates durable: they survive power loss.
    ///
    /// The first call on a log that an earlier writer left compacts it: that writer may have had a
    /// failed fsync, and left data that only the page cache has.
    ///
    /// # Errors
    /// `Io`. A failed fsync poisons the writer: the kernel may have dropped the data, and would
    /// report the next fsync as successful.
    pub fn sync(&mut self) -> Result<(), SnapshotError> {
        self.flush()?;
        let bugs = self.bugs;
        let log = self.log()?;
        if log.inherited && !bugs.page_cache_trusted {
            return self.compact();
        }
        let synced = log.file.sync_all();
        if synced.is_err() && !bugs.failed_sync_forgiven {
            self.log = None;
        }
        Ok(synced?)
    }

    /// Replaces the log with one that holds only the live entries, in the order of their keys, and
    /// the last cursor. The result depends on nothing but the state; it is durable on return. All
    /// updates are in it, queued ones too.
    ///
    /// # Errors
    /// `Io`; `Corrupted` if the log does not read back as it was written. Until the new file is
    /// renamed, the old one is the log, and the writer continues with it; an error from then on
    /// poisons the writer.
    pub fn compact(&mut self) -> Result<(), SnapshotError> {
        self.flush()?;
        self.replace()
    }

    /// Replaces the file with a compact log, and continues with it; queued records stay queued.
    fn replace(&mut self) -> Result<(), SnapshotError> {
        let bugs = self.bugs;
        let log = self.log()?;
        let mut data = log.read()?;
        data.truncate(usize::try_from(log.len).unwrap_or(usize::MAX));
        let state = scan(&data, bugs)?;
        if !state.is_whole() || data.len() as u64 != log.len {
            return Err(SnapshotError::Corrupted);
        }
        let mut new = Log::write_aside(&self.place, &state, bugs)?;
        // From here on, either file may have the log's name.
        let old = self.log.take();
        swap_in(&self.place, &new, bugs)?;
        new.queue = old.map(|log| log.queue).unwrap_or_default();
        self.bytes_since_compact = new.queue.len() as u64;
        self.log = Some(new);
        Ok(())
    }

    fn log(&mut self) -> Result<&mut Log, SnapshotError> {
        self.log.as_mut().ok_or_else(|| {
            let what = "snapshot writer poisoned by an earlier error: open the log again";
            SnapshotError::Io(io::Error::other(what))
        })
    }

    /// The queue, with room for a record. It is flushed before a record is added rather than
    /// after, so that an error leaves that record out and a full disk does not make the queue grow.
    fn queue(&mut self) -> Result<&mut Vec<u8>, SnapshotError> {
        if self.log()?.queue.len() >= QUEUE_LEN {
            self.flush()?;
        }
        Ok(&mut self.log()?.queue)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.log.is_some() {
            let _ = self.flush();
        }
    }
}

impl Log {
    fn of(file: File, len: u64, inherited: bool) -> Self {
        Self { file, len, queue: Vec::new(), torn: false, inherited }
    }

    /// Opens the existing log if it can be appended to as it is, else replaces it with a new one.
    fn open(place: &Place, bugs: Bugs) -> Result<Self, SnapshotError> {
        let mut found = match File::options().read(true).append(true).open(&place.path) {
            Ok(file) => Some(Self::of(file, 0, true)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let data = found.as_mut().map_or(Ok(Vec::new()), Self::read)?;
        if bugs.header_in_place && data.len() < HEADER.len() {
            return Ok(Self::create_in_place(place, data.len())?);
        }
        let state = scan(&data, bugs)?;
        let kept = state.is_compact()
            || bugs.tail_kept
            || (bugs.tail_kept_if_nothing_precedes && state.is_empty());
        match found {
            Some(log) if kept => Ok(Self { len: data.len() as u64, ..log }),
            _ => install(place, &state, bugs),
        }
    }

    /// The planted S1.
    fn create_in_place(place: &Place, len: usize) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(&place.path)?;
        file.write_all(&HEADER)?;
        Ok(Self::of(file, (len + HEADER.len()) as u64, true))
    }

    /// Writes a compact log next to the old one, durably. An error leaves no file behind.
    fn write_aside(place: &Place, state: &Scan<'_>, bugs: Bugs) -> Result<Self, SnapshotError> {
        let file = place.create_temp()?;
        let written = write_state(&file, state).and_then(|len| {
            if !bugs.rename_before_sync {
                file.sync_all()?;
            }
            Ok(len)
        });
        match written {
            Ok(len) => Ok(Self::of(file, len, false)),
            Err(error) => {
                let _ = place.sweep();
                Err(error)
            }
        }
    }

    /// All bytes of the file.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut data)?;
        Ok(data)
    }

    /// Writes the queue. If that fails, or returns `false`, all of it stays queued.
    fn write_queue(&mut self, bugs: Bugs) -> io::Result<bool> {
        let written = write_whole(&mut self.file, &self.queue, self.len);
        if matches!(written, Ok(true)) {
            self.len += self.queue.len() as u64;
        } else if bugs.half_record_kept {
            self.len = self.file.metadata()?.len();
        } else {
            self.torn = self.file.metadata().map(|file| file.len()).ok() != Some(self.len);
            return written;
        }
        self.queue.clear();
        self.queue.shrink_to(2 * QUEUE_LEN);
        written
    }
}

/// Puts a compact log in the place of the old one, if there is one, durably.
fn install(place: &Place, state: &Scan<'_>, bugs: Bugs) -> Result<Log, SnapshotError> {
    let log = Log::write_aside(place, state, bugs)?;
    swap_in(place, &log, bugs)?;
    Ok(log)
}

/// The planted S8: a load that writes.
pub(super) fn rewrite(place: &Place, state: &Scan<'_>, bugs: Bugs) -> Result<(), SnapshotError> {
    install(place, state, bugs).map(drop)
}

/// Renames a new log, whose content is durable, to the log's name, and makes that durable.
fn swap_in(place: &Place, new: &Log, bugs: Bugs) -> io::Result<()> {
    place.rename_temp()?;
    if bugs.rename_before_sync {
        new.file.sync_all()?;
    }
    if !bugs.directory_not_synced {
        place.sync_dir()?;
    }
    Ok(())
}

/// Writes the header, the live entries in order, and the cursor; returns their length in bytes.
fn write_state(file: &File, state: &Scan<'_>) -> Result<u64, SnapshotError> {
    let mut out = BufWriter::with_capacity(COMPACT_CHUNK, file);
    let mut len = 0;
    let mut record = HEADER.to_vec();
    let mut put = |record: &mut Vec<u8>| {
        len += record.len() as u64;
        let written = out.write_all(record);
        record.clear();
        written
    };
    put(&mut record)?;
    for (key, (value, version)) in &state.entries {
        encode_put(&mut record, key, value, *version)?;
        put(&mut record)?;
    }
    if !state.cursor.is_none() {
        encode_cursor(&mut record, state.cursor);
        put(&mut record)?;
    }
    out.flush()?;
    Ok(len)
}

/// Appends all bytes to a file of `len` bytes, or returns `false` if it could not.
///
/// A write that ends early inside a sector could be continued, but is abandoned: the sector might
/// reach the disk as it is then, with zeros where a record continues, and nothing would
/// distinguish that from damage.
fn write_whole(out: &mut impl Write, mut bytes: &[u8], mut len: u64) -> io::Result<bool> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(written) => {
                bytes = &bytes[written..];
                len += written as u64;
                let inside_sector = !bytes.is_empty() && !len.is_multiple_of(SECTOR as u64);
                if written == 0 || inside_sector {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts the listed number of bytes per call, the last first, and fails once the list is
    /// empty.
    struct ShortWriter(Vec<usize>, Vec<u8>);

    impl Write for ShortWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.pop().ok_or(ErrorKind::StorageFull)?.min(bytes.len());
            self.1.extend_from_slice(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_ends_early_is_continued_only_at_a_sector_boundary() {
        let wrote = |mut rooms: Vec<usize>, len: u64| {
            rooms.reverse();
            let mut out = ShortWriter(rooms, Vec::new());
            let result = write_whole(&mut out, &[7; 1000], len);
            (result.map_err(|error| error.kind()), out.1.len())
        };
        assert_eq!(wrote(vec![1000], 6), (Ok(true), 1000));
        assert_eq!(wrote(vec![506, 494], 6), (Ok(true), 1000));
        assert_eq!(wrote(vec![505, 495], 6), (Ok(false), 505));
        assert_eq!(wrote(vec![0, 1000], 6), (Ok(false), 0));
        assert_eq!(wrote(vec![506], 6), (Err(ErrorKind::StorageFull), 506));
        assert_eq!(wrote(vec![], 6), (Err(ErrorKind::StorageFull), 0));
    }

    #[test]
    fn a_torn_file_is_replaced_before_anything_follows_the_tear() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let mut writer = SnapshotWriter::open(&path, u64::MAX).expect("opens");
        assert!(!writer.checkpoint(&Cursor::from_u64(1)).expect("appends"));
        encode_cursor(writer.queue().expect("not poisoned"), Cursor::from_u64(2));
        // As after a full disk: a part of the queue is in the file, all of it is still queued.
        let log = writer.log().expect("not poisoned");
        let half = log.queue[..9].to_vec();
        log.file.write_all(&half).expect("appends");
        log.torn = true;
        assert!(!writer.checkpoint(&Cursor::from_u64(3)).expect("appends"));
        let mut wanted = HEADER.to_vec();
        for cursor in 1..=3 {
            encode_cursor(&mut wanted, Cursor::from_u64(cursor));
        }
        assert_eq!(std::fs::read(&path).expect("reads"), wanted);
        assert_eq!(writer.log().expect("not poisoned").len, wanted.len() as u64);
    }
}
