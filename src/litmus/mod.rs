//! Litmus tests: a few calls, and every state that a crash may leave of them.
//!
//! A state is its sorted lines: `path=CONTENT` for a file, `path/` for a directory,
//! `path->target` for a symbolic link, `path@NAME=CONTENT` for an extended attribute,
//! then `mark:NAME` for each mark that had been passed.
//! CONTENT is a run-length text: `o*5000 .*96` is 5000 times the letter o, then 96 zero bytes.

mod calls;
mod descriptors;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use calls::Caller;
#[cfg(feature = "inner")]
pub use descriptors::Descriptors;
#[cfg(feature = "inner")]
pub use program::AllocateMode;
pub use program::{LitmusError, Op, Program, ProgramLine};

use crate::base::text::TextError;
use crate::base::time::Time;
use crate::disk::effect::{Effect, Ino};
use crate::disk::family;
use crate::disk::fate::Fate;
use crate::disk::pending::Pending;
use crate::disk::profile::Profile;
use crate::disk::relax::Relaxation;
use crate::disk::tree::{Body, Tree};
use crate::disk::{Disk, Journal};

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
    let mut caller = Caller::new(disk);
    for line in &program.setup {
        run(&mut caller, line)?;
    }
    caller.sync_all();
    collector.with(|collector| {
        collector.quiet = false;
        collector.look();
    });
    for line in &program.body {
        match &line.op {
            Op::Mark(name) => collector.with(|collector| collector.mark(name)),
            _ => run(&mut caller, line)?,
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
fn run(caller: &mut Caller, line: &ProgramLine) -> Result<(), LitmusError> {
    caller.call(&line.op).map_err(|errno| error(line, format!("the call fails with {errno}")))
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
        let attributes = tree.node(ino).into_iter().flat_map(|node| &node.attributes);
        lines.extend(attributes.map(|(name, value)| {
            format!("{path}@{}={}", String::from_utf8_lossy(name), runs(value))
        }));
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
pub fn runs(bytes: &[u8]) -> String {
    let letter = |byte: u8| match byte {
        0 => '.',
        letter if letter.is_ascii_alphanumeric() => char::from(letter),
        _ => '?',
    };
    let runs = bytes.chunk_by(|a, b| letter(*a) == letter(*b));
    runs.map(|run| format!("{}*{}", letter(run[0]), run.len())).collect::<Vec<_>>().join(" ")
}
