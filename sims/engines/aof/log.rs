//! The log's file: appended to, synced, replaced as a whole; no byte of it is written twice.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use super::keyspace::Keyspace;
use super::place::Place;
use super::resp;
use super::scan::{Header, Seal};
use super::snapshot::Name;
use super::value::{Bytes, Entry, Value, score_text};
use super::{AofError, Bugs};

/// The number of bytes of a new file that are written at once.
const CHUNK: usize = 1024 * 1024;
/// The number of bytes that the planted K5 keeps in the process.
const KEPT: usize = 8 * 1024;
/// The most members of a collection in one command of a rewritten log, as in Redis.
const MEMBERS: usize = 64;

/// Accepts the commands of one record per call.
pub(super) type Put<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    seal: Seal,
    /// The length of the file, without the remains of a failed write.
    pub(super) len: u64,
    /// Whether a failed write left a part of a record in the file. Nothing may be appended to it.
    pub(super) torn: bool,
    /// Whether some bytes of the file were written by an earlier process. That one may have had a
    /// failed sync, after which the kernel shows data that the disk does not have and reports the
    /// next sync as successful: such a file is replaced before it is relied on.
    pub(super) inherited: bool,
    /// Whether something was appended since the last sync.
    pub(super) dirty: bool,
    /// The last snapshot that holds all up to some place in this log, and that place.
    pub(super) covered: Option<(Name, u64)>,
    /// The bytes that the planted K5 has not written.
    kept: Vec<u8>,
}

impl Log {
    /// Opens a file that was read and found intact, to append to it.
    pub(super) fn reopen(place: &Place, seal: Seal, len: u64) -> io::Result<Self> {
        let file = File::options().append(true).open(&place.path)?;
        Ok(Self::new(file, seal, len, true))
    }

    fn new(file: File, seal: Seal, len: u64, inherited: bool) -> Self {
        let (torn, kept) = (false, Vec::new());
        Self { file, seal, len, torn, inherited, dirty: inherited, covered: None, kept }
    }

    /// Writes a new log next to the old one, durably. An error leaves no file behind.
    pub(super) fn write_aside(
        place: &Place,
        header: Header,
        records: &mut dyn FnMut(Put<'_>) -> io::Result<()>,
    ) -> Result<Self, AofError> {
        let file = place.create_temp()?;
        let line = header.line();
        let seal = Seal::of(&line);
        let mut out = io::BufWriter::with_capacity(CHUNK, &file);
        let mut len = line.len() as u64;
        let mut write = || {
            out.write_all(&line)?;
            records(&mut |commands| {
                let record = seal.record(len, commands);
                len += record.len() as u64;
                out.write_all(&record)
            })?;
            out.flush()?;
            file.sync_all()
        };
        let written = write();
        drop(out);
        match written {
            Ok(()) => Ok(Self::new(file, seal, len, false)),
            Err(source) => {
                let _ = place.sweep();
                let what = format!("cannot write a new {}", place.path.display());
                Err(AofError::Io { what, source })
            }
        }
    }

    /// The planted K10.
    pub(super) fn open_again(&mut self, place: &Place) -> io::Result<()> {
        self.file = File::options().append(true).open(&place.path)?;
        Ok(())
    }

    /// Passes a record to the kernel.
    pub(super) fn append(&mut self, commands: &[u8], bugs: Bugs) -> io::Result<()> {
        let record = self.seal.record(self.len + self.kept.len() as u64, commands);
        if bugs.buffered {
            self.kept.extend_from_slice(&record);
            self.dirty = true;
            return if self.kept.len() < KEPT { Ok(()) } else { self.flush() };
        }
        self.write(&record, bugs)
    }

    /// Appends a line that says that a snapshot holds all up to here.
    pub(super) fn append_snapshot(&mut self, name: &Name, bugs: Bugs) -> io::Result<()> {
        self.flush()?;
        let line = self.seal.snapshot(self.len, name);
        self.write(&line, bugs)?;
        self.covered = Some((*name, self.len));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], bugs: Bugs) -> io::Result<()> {
        self.dirty = true;
        if bugs.half_record_kept {
            let written = self.file.write_all(bytes);
            self.len = self.file.metadata()?.len();
            return written;
        }
        // A single write: either the file ends where a record ends, or the write has failed.
        let written = loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        match written {
            Ok(all) if all == bytes.len() => {
                self.len += bytes.len() as u64;
                Ok(())
            }
            failed => {
                self.torn = !matches!(self.file.metadata(), Ok(file) if file.len() == self.len);
                Err(failed.err().unwrap_or_else(|| ErrorKind::StorageFull.into()))
            }
        }
    }

    /// Writes the bytes that the planted K5 has kept; without it there are none.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() { Ok(()) } else { self.write(&kept, Bugs::default()) }
    }

    /// Makes all that was appended durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()?;
        self.dirty = false;
        Ok(())
    }
}

/// Calls `put` with the commands that make up each key, in the order of the keys, without expired
/// ones. Returns the number of keys.
pub(super) fn dump(
    keyspace: &Keyspace,
    now: u64,
    bugs: Bugs,
    put: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut keys = 0;
    let mut commands = Vec::new();
    for (key, entry) in keyspace.entries() {
        if entry.deadline.is_none_or(|deadline| deadline > now) {
            commands.clear();
            encode(&mut commands, key, entry, bugs);
            put(&commands)?;
            keys += 1;
        }
    }
    Ok(keys)
}

/// The commands that make up a key.
fn encode(out: &mut Vec<u8>, key: &Bytes, entry: &Entry, bugs: Bugs) {
    let mut command = |name: &str, rest: &[Bytes], each: usize| {
        for part in rest.chunks(each * MEMBERS) {
            resp::encode(out, &[&[name.as_bytes().to_vec(), key.clone()][..], part].concat());
        }
    };
    match &entry.value {
        Value::Str(text) => command("SET", std::slice::from_ref(text), 1),
        Value::Hash(hash) => {
            let flat: Vec<_> = hash.iter().flat_map(|(f, v)| [f.clone(), v.clone()]).collect();
            command("HSET", &flat, 2);
        }
        Value::List(list) => command("RPUSH", &list.iter().cloned().collect::<Vec<_>>(), 1),
        Value::Set(set) => command("SADD", &set.iter().cloned().collect::<Vec<_>>(), 1),
        Value::ZSet(_) => {
            let text = |score: f64| match bugs.scores_rounded {
                true if score != score.trunc() => format!("{score:.17}").into_bytes(),
                true => (score as i64).to_string().into_bytes(),
                false => score_text(score),
            };
            let ranked = entry.value.ranked();
            let flat: Vec<_> = ranked.iter().flat_map(|(m, s)| [text(*s), m.to_vec()]).collect();
            command("ZADD", &flat, 2);
        }
    }
    if let Some(deadline) = entry.deadline {
        command("PEXPIREAT", &[deadline.to_string().into_bytes()], 1);
    }
}
