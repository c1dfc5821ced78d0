//! The ledger of a campaign: its header and a line for each cell, and the totals that they give.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::arguments::Header;
use super::cell::Done;
use super::lines::{Lines, LinesError, scan, sealed};
use super::replace::write;
use super::total::Total;
use crate::campaign::problem::Problem;

/// The file's name in the directory of a campaign.
pub(crate) const NAME: &str = "ledger.jsonl";

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The first one.
    Header(Header),
    /// A cell that is done.
    Done(Box<Done>),
}

/// The ledger of a campaign under way.
pub(crate) struct Ledger {
    path: PathBuf,
    lines: Lines,
}

/// A ledger that was opened.
pub(crate) struct Opened {
    /// The ledger.
    pub(crate) ledger: Ledger,
    /// What its cells add up to.
    pub(crate) total: Total,
    /// Bytes of a torn end that was cut off.
    pub(crate) cut: u64,
}

impl Ledger {
    /// Opens the ledger in a directory, or creates both. It must be of this campaign and shard.
    ///
    /// # Errors
    /// The ledger belongs to something else, another process works on it, or the system refuses.
    pub(crate) fn open(folder: &Path, header: &Header) -> Result<Opened, Problem> {
        make_folder(folder)?;
        let path = folder.join(NAME);
        if !path.exists() {
            only_ours(folder)?;
        }
        let mut total = Total::new(header.clone());
        let first = json(&Line::Header(header.clone()));
        let mut each = |number: u64, text: &str| match line(text)? {
            Line::Header(found) if number == 1 => agree(&found, header),
            Line::Done(done) if number > 1 => total.add(&done),
            _ => Err(format!("line {number} is out of its place")),
        };
        let (lines, cut) =
            Lines::open(&path, &first, &mut each).map_err(|error| problem(&path, error))?;
        Ok(Opened { ledger: Self { path, lines }, total, cut })
    }

    /// Appends a cell; it counts from then on, whatever happens.
    ///
    /// # Errors
    /// The error of the system.
    pub(crate) fn append(&mut self, done: &Done) -> Result<(), Problem> {
        let text = json(&Line::Done(Box::new(done.clone())));
        self.lines.append(&text).map_err(|error| problem(&self.path, error.into()))
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.lines.length()
    }
}

/// Reads the ledger of a directory, which another process may be writing to.
///
/// # Errors
/// There is none, it is damaged, or the system refuses.
pub(crate) fn read(folder: &Path) -> Result<(Header, Vec<Done>), Problem> {
    let path = folder.join(NAME);
    let file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Environment(format!(
            "{}: there is no {NAME}: this is not the directory of a campaign",
            folder.display()
        )),
        _ => problem(&path, error.into()),
    })?;
    let (mut header, mut cells) = (None, Vec::new());
    let mut each = |number: u64, text: &str| {
        match line(text)? {
            Line::Header(found) if number == 1 => header = Some(found),
            Line::Done(done) if number > 1 => cells.push(*done),
            _ => return Err(format!("line {number} is out of its place")),
        }
        Ok(())
    };
    scan(&file, &mut each).map_err(|error| problem(&path, error))?;
    let header = header.ok_or_else(|| problem(&path, LinesError::Foreign))?;
    Ok((header, cells))
}

/// The text of a ledger with these cells.
pub(crate) fn text<'d>(header: &Header, cells: impl Iterator<Item = &'d Done>) -> String {
    let mut text = sealed(&json(&Line::Header(header.clone())));
    for done in cells {
        text.push_str(&sealed(&json(&Line::Done(Box::new(done.clone())))));
    }
    text
}

/// Replaces the ledger of a directory that is held.
///
/// # Errors
/// The system refuses.
pub(crate) fn replace(folder: &Path, text: &str) -> Result<(), Problem> {
    write(&folder.join(NAME), text)
}

/// A directory that no other process changes as long as this exists.
pub(crate) struct Hold {
    /// Whether it has a ledger.
    pub(crate) has_ledger: bool,
    _lock: File,
    _ledger: Option<File>,
}

/// The file that a merge locks: its ledger is replaced, so that a lock on it would go with it.
const LOCK: &str = ".merge";

impl Hold {
    /// Holds a directory, which is made if it is missing.
    ///
    /// # Errors
    /// It has something else, another process works on it, or the system refuses.
    pub(crate) fn take(folder: &Path) -> Result<Self, Problem> {
        make_folder(folder)?;
        let path = folder.join(NAME);
        let ledger = match File::open(&path) {
            Ok(ledger) => Some(ledger),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                only_ours(folder)?;
                None
            }
            Err(error) => return Err(problem(&path, error.into())),
        };
        if let Some(ledger) = &ledger {
            lock(&path, ledger)?;
        }
        let path = folder.join(LOCK);
        let file = File::create(&path).map_err(|error| problem(&path, error.into()))?;
        lock(&path, &file)?;
        Ok(Self { has_ledger: ledger.is_some(), _lock: file, _ledger: ledger })
    }
}

fn lock(path: &Path, file: &File) -> Result<(), Problem> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => problem(path, LinesError::Held),
        TryLockError::Error(error) => problem(path, error.into()),
    })
}

fn json(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

fn line(text: &str) -> Result<Line, String> {
    serde_json::from_str(text).map_err(|error| format!("a line cannot be read: {error}"))
}

/// Checks that a ledger is the one of these arguments.
fn agree(found: &Header, header: &Header) -> Result<(), String> {
    let difference = header.campaign.difference(&found.campaign).or_else(|| {
        let shards = |header: &Header| {
            let all: Vec<String> = header.shards.iter().map(ToString::to_string).collect();
            all.join(", ")
        };
        (found.shards != header.shards)
            .then(|| format!("shard {}, and not {}", shards(header), shards(found)))
    });
    match difference {
        None => Ok(()),
        Some(difference) => Err(format!(
            "this ledger is of another campaign: you asked for {difference}. Name another --out, \
             or remove the directory"
        )),
    }
}

fn make_folder(folder: &Path) -> Result<(), Problem> {
    let refused = |error: io::Error| Problem::Unavailable(format!("{}: {error}", folder.display()));
    let mut missing: Vec<&Path> = Vec::new();
    for above in folder.ancestors().filter(|above| !above.as_os_str().is_empty()) {
        if above.exists() {
            break;
        }
        missing.push(above);
    }
    std::fs::create_dir_all(folder).map_err(refused)?;
    // Their names must survive as well.
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or_else(|| Path::new("."));
        File::open(above).and_then(|above| above.sync_all()).map_err(refused)?;
    }
    Ok(())
}

/// Checks that a directory without a ledger is empty.
fn only_ours(folder: &Path) -> Result<(), Problem> {
    let refused = |error: io::Error| Problem::Unavailable(format!("{}: {error}", folder.display()));
    let mut entries = std::fs::read_dir(folder).map_err(refused)?;
    // A merge that was killed before it wrote a ledger leaves these.
    let is_own = |name: &std::ffi::OsStr| name == LOCK || name == ".ledger.jsonl.new";
    match entries.find(|entry| !entry.as_ref().is_ok_and(|entry| is_own(&entry.file_name()))) {
        None => Ok(()),
        Some(entry) => {
            let name = entry.map_err(refused)?.file_name();
            Err(Problem::Environment(format!(
                "{}: it has no {NAME}, and is not empty ({}): name another --out",
                folder.display(),
                name.display()
            )))
        }
    }
}

/// A problem with the file: with its contents, or with the system, which may pass.
fn problem(path: &Path, error: LinesError) -> Problem {
    let text = format!("{}: {error}", path.display());
    match error {
        LinesError::Io(_) | LinesError::Held => Problem::Unavailable(text),
        LinesError::Refused(_) => Problem::Environment(text),
        LinesError::Foreign => {
            Problem::Environment(format!("{text}: name another --out, or remove the file"))
        }
        LinesError::Damaged(_) => Problem::Environment(format!(
            "{text}. The lines before it can be kept: cut the file there, and run again"
        )),
    }
}
