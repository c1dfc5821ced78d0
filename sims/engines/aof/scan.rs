//! Parses a log's bytes, and finds where its history ends.
//!
//! Two kinds of log are read. An *annotated* one begins with our [`Header`] and has a line before
//! each record, with the record's length and checksum. A *plain* one is written by Redis or the
//! origin: commands, and perhaps lines that begin with `#` and are skipped.
//!
//! No byte of a log of ours is written twice, so a crash leaves in place of each unsynced byte
//! that byte or zero, and the file may end early. Zeros come in sectors: all of a sector if it was
//! never written, or all from where the file ended when the sector was last written, which is where
//! a record starts. [`judge`] distinguishes this from any other damage.

use super::command::{LogCommand, parse_log_command};
use super::resp::{self, ParseError};
use super::snapshot::Name;
use super::{AofError, Bugs};

/// The unit that a disk writes whole, in bytes.
const SECTOR: usize = 512;
/// The maximum length of an annotation line, in bytes.
const LINE: usize = 200;
/// The number of bytes that the search for a record after damage may check, per byte of the file.
const SEARCH_FACTOR: usize = 64;
const FORMAT: u32 = 1;
/// The beginnings of the lines of an annotated log, except for the first.
const RECORD: &[u8] = b"#record ";
const SNAPSHOT: &[u8] = b"#snapshot ";

/// The first line of an annotated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// One more than that of the log that this one replaced.
    pub(super) generation: u64,
    /// The snapshot that the log continues from, if any.
    pub(super) follows: Option<Name>,
}

impl Header {
    /// The line.
    pub(super) fn line(&self) -> Vec<u8> {
        let follows = self.follows.map_or_else(|| "none".to_owned(), |name| name.to_string());
        let text = format!("#aof {FORMAT} generation={} follows={follows}", self.generation);
        format!("{text} {:08x}\r\n", crc32fast::hash(text.as_bytes())).into_bytes()
    }

    fn parse(line: &[u8]) -> Result<Self, AofError> {
        let wrong = |what: &str| AofError::Corrupt(format!("log, first line: {what}"));
        let text = std::str::from_utf8(line).map_err(|_| wrong("not text"))?;
        let format = text.split(' ').nth(1).unwrap_or_default();
        if let Ok(format) = format.parse::<u32>()
            && format != FORMAT
        {
            return Err(AofError::Format(format!("log format {format}, not {FORMAT}")));
        }
        let (text, crc) = text.rsplit_once(' ').ok_or_else(|| wrong("no checksum"))?;
        // Compared as text, to the letter: the line's bytes enter the records' own checksums.
        if crc != format!("{:08x}", crc32fast::hash(text.as_bytes())) {
            return Err(wrong("its checksum does not match"));
        }
        let field = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name));
        let generation = field("generation=").and_then(|number| number.parse().ok());
        let generation = generation.ok_or_else(|| wrong("no generation"))?;
        let follows = match field("follows=") {
            Some("none") => None,
            Some(name) => Some(Name::parse(name).ok_or_else(|| wrong("not a snapshot's name"))?),
            None => return Err(wrong("it does not say what it follows")),
        };
        Ok(Self { generation, follows })
    }
}

/// The initial value of the checksums of a log's lines: a record is valid only in its own log and
/// at its own place, so neither an old log's blocks nor a value that looks like a log is mistaken
/// for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal(u32);

impl Seal {
    /// The seal of the log that begins with this line.
    pub(super) fn of(header: &[u8]) -> Self {
        Self(crc32fast::hash(header))
    }

    fn crc(self, at: u64, kind: u8, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&at.to_le_bytes());
        hasher.update(&[kind]);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// A record of some commands, to be written at byte `at` of the log.
    pub(super) fn record(self, at: u64, commands: &[u8]) -> Vec<u8> {
        let crc = self.crc(at, b'r', commands);
        let mut record = format!("#record {} {crc:08x}\r\n", commands.len()).into_bytes();
        record.extend_from_slice(commands);
        record
    }

    /// The line, to be written at byte `at`, that says: this snapshot holds all up to here.
    pub(super) fn snapshot(self, at: u64, name: &Name) -> Vec<u8> {
        let name = name.to_string();
        let crc = self.crc(at, b's', name.as_bytes());
        format!("#snapshot {name} {crc:08x}\r\n").into_bytes()
    }
}

/// An item of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item<'a> {
    /// One or more commands, applied atomically.
    Commands(&'a [u8]),
    /// This snapshot holds all up to here.
    Snapshot(Name),
    /// A line to be skipped.
    Comment,
}

/// The content of a log.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    /// The first line of an annotated log, and its seal.
    pub(super) header: Option<(Header, Seal)>,
    /// The commands of each record, and the byte of the file where the record ends.
    pub(super) records: Vec<(&'a [u8], usize)>,
    /// The snapshots that the log names, and how many of its records each holds.
    pub(super) snapshots: Vec<(Name, usize)>,
    /// The byte of the file where its history ends.
    pub(super) end: usize,
    /// Whether there are bytes after the history.
    pub(super) damaged: bool,
}

/// Why no item could be read at a place.
enum Missing {
    /// The file ends inside it.
    Incomplete,
    /// The bytes are no item; `seen` of them were examined.
    Malformed { seen: usize },
    /// It is intact, but may not occur in such a log.
    Foreign(AofError),
}

/// Reads a log.
///
/// # Errors
/// `Format` if the bytes are not a log, `Corrupt` if they are damaged in a way that no crash
/// explains.
pub(super) fn scan(data: &[u8], bugs: Bugs) -> Result<Scan<'_>, AofError> {
    let mut scan = Scan::default();
    if data.starts_with(b"#aof ") {
        let (line, len) = line(data)
            .ok_or_else(|| AofError::Corrupt("log, first line: it does not end".into()))?;
        scan.header = Some((Header::parse(line)?, Seal::of(&data[..len])));
        scan.end = len;
    } else {
        refuse_other(data)?;
    }
    let seal = scan.header.map(|(_, seal)| seal);
    while scan.end < data.len() {
        match item(data, scan.end, seal, bugs) {
            Ok((found, len)) => {
                scan.end += len;
                scan.take(found);
            }
            Err(missing) if bugs.text_executed => {
                if !scan.take_text(data, &missing) {
                    break;
                }
            }
            Err(missing) => {
                end_of_history(data, scan.end, seal, missing, bugs)?;
                scan.damaged = true;
                break;
            }
        }
    }
    if scan.header.is_none() {
        scan.roll_back_open_transaction();
    }
    Ok(scan)
}

/// The byte of a log up to which a flipped bit is reported, unless it makes a byte zero: the one
/// where the last record begins. It is 0 for a log that is not ours, and for one with as many zeros
/// as a sector has, which may be a page that a crash lost.
pub fn reported_up_to(log: &[u8]) -> usize {
    let Ok(scan) = scan(log, Bugs::default()) else { return 0 };
    if scan.header.is_none() || log.split(|byte| *byte != 0).any(|run| run.len() >= SECTOR) {
        return 0;
    }
    scan.records.iter().rev().nth(1).map_or(0, |(_, end)| *end)
}

impl<'a> Scan<'a> {
    fn take(&mut self, item: Item<'a>) {
        match item {
            Item::Commands(commands) => self.records.push((commands, self.end)),
            Item::Snapshot(name) => self.snapshots.push((name, self.records.len())),
            Item::Comment => {}
        }
    }

    /// The planted K3: a line of text is a command.
    fn take_text(&mut self, data: &'a [u8], missing: &Missing) -> bool {
        if matches!(missing, Missing::Incomplete) {
            self.damaged = true;
            return false;
        }
        let Some((text, len)) = line(&data[self.end..]) else {
            self.damaged = true;
            return false;
        };
        let first = text.trim_ascii_start();
        self.end += len;
        if first.eq_ignore_ascii_case(b"FLUSHALL") {
            self.records.push((b"*1\r\n$8\r\nFLUSHALL\r\n", self.end));
        }
        true
    }

    /// A plain log may end inside a transaction, which then never happened.
    fn roll_back_open_transaction(&mut self) {
        let mut open = None;
        for (number, (commands, _)) in self.records.iter().enumerate() {
            match resp::parse(commands) {
                Ok((args, _)) if args[0].eq_ignore_ascii_case(b"MULTI") => open = Some(number),
                Ok((args, _)) if args[0].eq_ignore_ascii_case(b"EXEC") => open = None,
                _ => {}
            }
        }
        if let Some(number) = open {
            self.records.truncate(number);
            self.end = number.checked_sub(1).map_or(0, |last| self.records[last].1);
            self.damaged = true;
        }
    }
}

/// The commands of a record.
pub(super) fn log_commands(
    mut commands: &[u8],
    now: &mut dyn FnMut() -> u64,
) -> Result<Vec<LogCommand>, AofError> {
    let mut parsed = Vec::new();
    while !commands.is_empty() {
        let (args, len) = resp::parse(commands)
            .map_err(|_| AofError::Format("a record holds something other than commands".into()))?;
        parsed.push(parse_log_command(&args, now)?);
        commands = &commands[len..];
    }
    Ok(parsed)
}

/// The line that some bytes start with, without its line end, and its length including that. A line
/// that is too long is none.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().take(LINE).position(|byte| *byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]), end + 1))
}

/// Refuses bytes that cannot be the beginning of a plain log, not even of one that a crash tore.
fn refuse_other(data: &[u8]) -> Result<(), AofError> {
    let what = match data.first() {
        None | Some(b'*' | b'#' | 0) => return Ok(()),
        _ if data.starts_with(b"KEVYSNAP") => "a snapshot",
        _ if data.starts_with(b"REDIS") => {
            "a log with an RDB preamble: write it with `aof-use-rdb-preamble no`"
        }
        _ => "something else",
    };
    Err(AofError::Format(format!("not a log of commands, but {what}")))
}

/// Reads the item at a place of a log.
fn item(
    data: &[u8],
    at: usize,
    seal: Option<Seal>,
    bugs: Bugs,
) -> Result<(Item<'_>, usize), Missing> {
    let bytes = &data[at..];
    match (seal, bytes[0]) {
        (Some(seal), _) => annotated(bytes, at, seal, bugs),
        (None, b'#') => {
            let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Missing::Incomplete)?;
            if bytes.starts_with(RECORD) || bytes.starts_with(SNAPSHOT) {
                // A log of ours without its first line: it is unknown what it follows.
                let what = format!("log, byte {at}: an annotation without the log's first line");
                return Err(Missing::Foreign(AofError::Corrupt(what)));
            }
            Ok((Item::Comment, end + 1))
        }
        (None, _) => match resp::parse(bytes) {
            Ok((_, len)) => Ok((Item::Commands(&bytes[..len]), len)),
            Err(ParseError::Incomplete) => Err(Missing::Incomplete),
            Err(ParseError::Malformed { seen }) => Err(Missing::Malformed { seen }),
        },
    }
}

/// Reads a record or another line of an annotated log.
fn annotated(
    bytes: &[u8],
    at: usize,
    seal: Seal,
    bugs: Bugs,
) -> Result<(Item<'_>, usize), Missing> {
    let Some((text, len)) = line(bytes) else {
        return Err(match bytes.len() < LINE && !bytes.contains(&0) {
            true => Missing::Incomplete,
            false => Missing::Malformed { seen: bytes.len().min(LINE) },
        });
    };
    let malformed = || Missing::Malformed { seen: len };
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let mut words = text.split(' ');
    let (kind, what, crc) = (words.next(), words.next(), words.next());
    let written = |crc: &&str| crc.len() == 8 && !crc.bytes().any(|b| b.is_ascii_uppercase());
    let crc = crc.filter(written).filter(|_| words.next().is_none());
    let crc = crc.and_then(|crc| u32::from_str_radix(crc, 16).ok()).ok_or_else(malformed)?;
    let what = what.ok_or_else(malformed)?;
    match kind {
        Some("#snapshot") if seal.crc(at as u64, b's', what.as_bytes()) == crc => {
            Ok((Item::Snapshot(Name::parse(what).ok_or_else(malformed)?), len))
        }
        Some("#record") => {
            let size: usize = what.parse().map_err(|_| malformed())?;
            let commands = bytes[len..].get(..size).ok_or(Missing::Incomplete)?;
            if seal.crc(at as u64, b'r', commands) != crc && !bugs.torn_record_filled {
                return Err(Missing::Malformed { seen: len + size });
            }
            Ok((Item::Commands(commands), len + size))
        }
        _ => Err(malformed()),
    }
}

/// The kinds of bytes from which nothing could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file ends inside the record.
    TornTail,
    /// A sector is zero where the record, or a part of it, was.
    LostPage,
    /// No crash leaves this, but no record follows, so nothing is known to be missing.
    Garbage,
    /// No crash leaves this, and records follow.
    Corrupt,
}

/// Checks that the history may end at `at`, where no item could be read.
fn end_of_history(
    data: &[u8],
    at: usize,
    seal: Option<Seal>,
    missing: Missing,
    bugs: Bugs,
) -> Result<(), AofError> {
    let seen = match missing {
        Missing::Foreign(error) => return Err(error),
        Missing::Incomplete => None,
        Missing::Malformed { seen } => Some(seen),
    };
    match judge(data, at, seen, seal) {
        Damage::Corrupt if !bugs.damage_ends_log => {
            let what = "not a record, which no crash explains, and records follow it";
            Err(AofError::Corrupt(format!("log, byte {at}: {what}")))
        }
        _ => Ok(()),
    }
}

/// Classifies the bytes at `at`, where no item could be read. `seen` is the number of them that
/// were examined, or `None` if the record continues past the end of the file.
pub(super) fn judge(data: &[u8], at: usize, seen: Option<usize>, seal: Option<Seal>) -> Damage {
    match seen {
        // In a plain log, a record further on may be part of the torn command's value.
        None if seal.is_none() || !has_record_after(data, at, seal) => Damage::TornTail,
        None => Damage::Corrupt,
        Some(seen) if has_lost_sector(data, at, at + seen) => Damage::LostPage,
        Some(_) if has_record_after(data, at, seal) => Damage::Corrupt,
        Some(_) => Damage::Garbage,
    }
}

/// Whether some sector that has bytes in `start..stop` is all zeros from its first byte on, or from
/// `start` on if that is later.
fn has_lost_sector(data: &[u8], start: usize, stop: usize) -> bool {
    (start / SECTOR..=(stop.max(start + 1) - 1) / SECTOR).any(|sector| {
        let from = start.max(sector * SECTOR);
        let to = data.len().min((sector + 1) * SECTOR);
        data[from..to].iter().all(|byte| *byte == 0)
    })
}

/// Whether a record can be read anywhere after `at`: in an annotated log one with its checksum, in
/// a plain one a command that this store knows.
fn has_record_after(data: &[u8], at: usize, seal: Option<Seal>) -> bool {
    // A value may be full of the character that lines begin with: only what may really be a line is
    // parsed.
    let may_begin = |bytes: &[u8]| match seal {
        Some(_) => bytes.starts_with(RECORD) || bytes.starts_with(SNAPSHOT),
        None => bytes.starts_with(b"*"),
    };
    let mut budget = data.len().saturating_mul(SEARCH_FACTOR);
    for place in (at + 1..data.len()).filter(|place| may_begin(&data[*place..])) {
        let seen = match item(data, place, seal, Bugs::default()) {
            Ok((Item::Commands(commands), len)) if seal.is_none() => {
                if log_commands(commands, &mut || 0).is_ok() {
                    return true;
                }
                len
            }
            Ok(_) | Err(Missing::Foreign(_)) => return true,
            Err(Missing::Incomplete) => 1,
            Err(Missing::Malformed { seen }) => seen,
        };
        // Hostile bytes can make every place look like a long record. Reporting corruption without
        // having looked at all of them loses nothing.
        if seen > budget {
            return true;
        }
        budget -= seen;
    }
    false
}
