//! Litmus tests: a few calls, and every state that a crash may leave of them.
//!
//! A state is its sorted lines: `path=CONTENT` for a file, `path/` for a directory,
//! `path->target` for a symbolic link, then `mark:NAME` for each mark that had been passed.
//! CONTENT is a run-length text: `o*5000 .*96` is 5000 times the letter o, then 96 zero bytes.

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

pub use program::{LitmusError, Op, Program, ProgramLine};

use crate::base::text::TextError;
use crate::base::time::Time;
use crate::disk::effect::{Effect, Ino};
use crate::disk::family;
use crate::disk::fate::Fate;
use crate::disk::linux;
use crate::disk::pending::Pending;
use crate::disk::profile::Profile;
use crate::disk::relax::Relaxation;
use crate::disk::tree::{Body, Tree};
use crate::disk::{Disk, Errno, Handle, Journal};

/// A program that leaves more fates than this at one time is refused.
const MOST_FATES: u64 = 1 << 22;

/// One state that a crash may leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LitmusState {
    /// Its lines.
    pub state: Vec<String>,
    /// The fewest relaxations that produce it.
    pub relaxations: BTreeSet<Relaxation>,
}

/// Every state that a crash at any time in a program may leave, sorted by its lines; with `tear`,
/// also those in which one pending write is torn.
///
/// # Errors
/// The line of the op that fails, or that leaves too many fates to explore.
pub fn explore(
    program: &Program,
    profile: &Profile,
    tear: bool,
) -> Result<Vec<LitmusState>, LitmusError> {
    let collector = StateCollector {
        pending: Pending::new(Tree::new(), profile),
        tear,
        quiet: true,
        marks: Vec::new(),
        seen: BTreeSet::new(),
        states: BTreeMap::new(),
        overflow: false,
    };
    let collector = SharedCollector(Arc::new(Mutex::new(collector)));
    let mut disk = Disk::new(Tree::new());
    disk.set_journal(Box::new(collector.clone()));
    for line in &program.setup {
        run(&mut disk, line)?;
    }
    disk.sync_all();
    collector.with(|collector| {
        collector.quiet = false;
        collector.look();
    });
    for line in &program.body {
        match &line.op {
            Op::Mark(name) => collector.with(|collector| collector.mark(name)),
            _ => run(&mut disk, line)?,
        }
        if collector.with(|collector| collector.overflow) {
            let message = format!("more than {MOST_FATES} fates of what is pending here");
            return Err(error(line, message));
        }
    }
    let states = collector.with(|collector| std::mem::take(&mut collector.states));
    let states = states.into_iter();
    Ok(states.map(|(state, relaxations)| LitmusState { state, relaxations }).collect())
}

fn error(line: &ProgramLine, message: String) -> LitmusError {
    LitmusError { line: line.number, error: TextError::new(line.column, message) }
}

/// Carries out one op.
fn run(disk: &mut Disk, line: &ProgramLine) -> Result<(), LitmusError> {
    call(disk, &line.op).map_err(|errno| error(line, format!("the call fails with {errno}")))
}

fn call(disk: &mut Disk, op: &Op) -> Result<(), Errno> {
    const ROOT: Ino = Ino::ROOT;
    const CREATE: i32 = linux::O_RDWR | linux::O_CREAT;
    match op {
        Op::Creat(path) => with(disk, path, CREATE | linux::O_EXCL, |_, _| Ok(())),
        Op::OpenTrunc(path) => with(disk, path, CREATE | linux::O_TRUNC, |_, _| Ok(())),
        // A descriptor makes nothing durable, and closing it flushes nothing.
        Op::Close(path) => with(disk, path, linux::O_RDONLY, |_, _| Ok(())),
        Op::Write { path, offset, length, fill } => with(disk, path, CREATE, |disk, h| {
            let bytes = vec![*fill; *length as usize];
            disk.write_at(h, &bytes, offset.cast_signed()).map(drop)
        }),
        // Opening and ending a map makes nothing durable. The file is open as long as it is mapped,
        // which shows only where its name goes.
        Op::Map(path) | Op::Unmap(path) => with(disk, path, linux::O_RDWR, |_, _| Ok(())),
        Op::Store { path, offset, length, fill } => with(disk, path, linux::O_RDWR, |disk, h| {
            let bytes = vec![*fill; *length as usize];
            disk.store_pages(h, *offset, &bytes)
        }),
        Op::Msync { path, offset, length } => {
            const PAGE: u64 = 4096;
            let end = (offset + length).next_multiple_of(PAGE);
            let start = offset - offset % PAGE;
            with(disk, path, linux::O_RDWR, |disk, h| disk.sync_mapped(h, start, end - start))
        }
        Op::Append { path, length, fill } => with(disk, path, CREATE, |disk, h| {
            let end = disk.stat(h)?.size.cast_signed();
            disk.write_at(h, &vec![*fill; *length as usize], end).map(drop)
        }),
        Op::Truncate { path, size } => {
            with(disk, path, linux::O_RDWR, |disk, h| disk.truncate(h, size.cast_signed()))
        }
        Op::Fallocate { path, offset, length, keep_size } => with(disk, path, CREATE, |disk, h| {
            let mode = if *keep_size { linux::FALLOC_FL_KEEP_SIZE } else { 0 };
            disk.allocate(h, mode, offset.cast_signed(), length.cast_signed())
        }),
        Op::Mkdir(path) => disk.mkdir(ROOT, path, 0o755),
        Op::Rmdir(path) => disk.rmdir(ROOT, path),
        Op::Unlink(path) => disk.unlink(ROOT, path),
        Op::Rename(old, new) => disk.rename(ROOT, old, ROOT, new, 0),
        Op::Link(old, new) => disk.link(ROOT, old, ROOT, new, false),
        Op::Symlink { target, path } => disk.symlink(target, ROOT, path),
        Op::Fsync(path) => with(disk, path, linux::O_RDONLY, Disk::fsync),
        Op::Fdatasync(path) => with(disk, path, linux::O_RDONLY, Disk::fdatasync),
        Op::Sync => {
            disk.sync_all();
            Ok(())
        }
        Op::Mark(_) => Ok(()),
    }
}

/// Opens a path, makes a call on the handle and closes it.
fn with(
    disk: &mut Disk,
    path: &[u8],
    flags: i32,
    call: impl FnOnce(&mut Disk, Handle) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let handle = disk.open(Ino::ROOT, path, flags, 0o644)?;
    let done = call(disk, handle);
    disk.close(handle)?;
    done
}

/// Follows a disk and collects the states that a crash may leave after each change.
struct StateCollector {
    pending: Pending,
    tear: bool,
    /// Set during the setup, which is durable before the body begins.
    quiet: bool,
    marks: Vec<String>,
    /// Fingerprints of the fates since the last mark.
    seen: BTreeSet<u64>,
    states: BTreeMap<Vec<String>, BTreeSet<Relaxation>>,
    overflow: bool,
}

impl StateCollector {
    fn mark(&mut self, name: &str) {
        self.marks.push(format!("mark:{name}"));
        self.seen.clear();
        self.look();
    }

    fn look(&mut self) {
        let fates = if self.tear {
            family::exhaustive_torn(&self.pending)
        } else {
            family::exhaustive_calm(&self.pending, None)
        };
        for (count, fate) in fates.enumerate() {
            if count as u64 > MOST_FATES {
                self.overflow = true;
                return;
            }
            self.note(&fate);
        }
    }

    fn note(&mut self, fate: &Fate) {
        if !self.seen.insert(self.pending.fingerprint(fate)) {
            return;
        }
        let mut state = lines(&self.pending.keep(fate).tree);
        state.extend(self.marks.iter().cloned());
        let relaxations = self.pending.relaxations(fate);
        let fewer = |before: &BTreeSet<Relaxation>| {
            (relaxations.len(), &relaxations) < (before.len(), before)
        };
        if self.states.get(&state).is_none_or(fewer) {
            self.states.insert(state, relaxations);
        }
    }
}

/// A [`StateCollector`] that is the journal of the disk.
#[derive(Clone)]
struct SharedCollector(Arc<Mutex<StateCollector>>);

impl SharedCollector {
    fn with<T>(&self, look: impl FnOnce(&mut StateCollector) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for SharedCollector {
    fn record(&mut self, at: Time, effect: &Effect<'_>) {
        self.with(|collector| {
            collector.pending.apply(effect, at);
            if !collector.quiet {
                collector.look();
            }
        });
    }
}

/// The lines of a state, from the tree that a mount shows.
pub fn lines(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    describe(tree, Ino::ROOT, "", &mut lines);
    lines.sort();
    lines
}

fn describe(tree: &Tree, dir: Ino, above: &str, lines: &mut Vec<String>) {
    let Some(directory) = tree.node(dir).and_then(|node| node.directory()) else { return };
    for (name, &ino) in &directory.entries {
        let path = format!("{above}{}", String::from_utf8_lossy(name));
        match tree.node(ino).map(|node| &node.body) {
            Some(Body::File(content)) => {
                lines.push(format!("{path}={}", runs(&content.to_vec())));
            }
            Some(Body::Symlink(to)) => {
                lines.push(format!("{path}->{}", String::from_utf8_lossy(to)));
            }
            Some(Body::Directory(_)) => {
                lines.push(format!("{path}/"));
                describe(tree, ino, &format!("{path}/"), lines);
            }
            None => {}
        }
    }
}

/// The run-length text of bytes.
fn runs(bytes: &[u8]) -> String {
    let letter = |byte: u8| match byte {
        0 => '.',
        letter if letter.is_ascii_alphanumeric() => char::from(letter),
        _ => '?',
    };
    let runs = bytes.chunk_by(|a, b| letter(*a) == letter(*b));
    runs.map(|run| format!("{}*{}", letter(run[0]), run.len())).collect::<Vec<_>>().join(" ")
}
