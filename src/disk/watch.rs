//! The changes of mapped files, which their maps have to show.

use std::collections::BTreeSet;

use super::content::{Content, PAGE};
use super::effect::{Allocation, Effect, Ino};
use super::tree::{Node, Tree};

/// A change of a mapped file, which its maps have to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileChange {
    /// The size is another one; what lay beyond a smaller one is gone.
    Size(Ino, u64),
    /// This many bytes from an offset on are others; beyond the end of the file they are zeros.
    Bytes(Ino, u64, u64),
}

/// The files that are mapped, and what has happened to them.
#[derive(Default)]
pub(super) struct Watch {
    files: BTreeSet<Ino>,
    changes: Vec<FileChange>,
}

impl Watch {
    /// Notes the changes of a file from now on.
    pub(super) fn add(&mut self, ino: Ino) {
        self.files.insert(ino);
    }

    /// Notes no more changes of a file.
    pub(super) fn remove(&mut self, ino: Ino) {
        self.files.remove(&ino);
    }

    /// What was noted since this was last called.
    pub(super) fn take(&mut self) -> Vec<FileChange> {
        std::mem::take(&mut self.changes)
    }

    /// Notes a change that is about to be made.
    #[inline]
    pub(super) fn note(&mut self, effect: &Effect<'_>, tree: &Tree) {
        if !self.files.is_empty() {
            self.note_change(effect, tree);
        }
    }

    #[cold]
    fn note_change(&mut self, effect: &Effect<'_>, tree: &Tree) {
        let (Effect::Write { ino, .. }
        | Effect::Size { ino, .. }
        | Effect::Allocate { ino, .. }
        | Effect::Evict { ino, .. }) = *effect
        else {
            return;
        };
        if !self.files.contains(&ino) {
            return;
        }
        let old = tree.node(ino).and_then(Node::content).map_or(0, Content::size);
        let page = PAGE as u64;
        let (size, bytes) = match *effect {
            Effect::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                (old.max(end), Some((offset, end - offset)))
            }
            Effect::Size { size, .. } => (size, None),
            Effect::Allocate { offset, length, what, .. } => {
                let zeroes = matches!(what, Allocation::Punch | Allocation::Zero);
                let grows = matches!(what, Allocation::Extend | Allocation::Zero);
                let size = if grows { old.max(offset.saturating_add(length)) } else { old };
                (size, zeroes.then_some((offset, length)))
            }
            Effect::Evict { size, block, .. } => (size, Some((block * page, page))),
            _ => return,
        };
        if size != old {
            self.changes.push(FileChange::Size(ino, size));
        }
        // What was stored beyond the end, in the last page, is not in the file when it grows, and
        // a truncation drops it.
        let ends = matches!(effect, Effect::Size { .. }) && size == old;
        if (size > old || ends) && !old.is_multiple_of(page) {
            self.changes.push(FileChange::Bytes(ino, old, page - old % page));
        }
        self.changes.extend(bytes.map(|(offset, length)| FileChange::Bytes(ino, offset, length)));
    }
}
