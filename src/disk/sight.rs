//! Sights: the parts of a tree that its digest leaves out, and that a process may see of it.
//!
//! Two recoveries that are given trees with the same [`Tree::digest`] make the same calls with the
//! same answers, unless they see some of these parts and the parts differ. So an outcome is valid
//! for another tree if the parts that it saw are the same there.

use std::fmt;

use super::effect::Ino;
use super::tree::{Body, Node, Tree};
use crate::base::digest::{Digest, Digester};

/// A part of a tree that its digest leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sight {
    /// The times of inodes.
    Times,
    /// The numbers of inodes.
    Numbers,
    /// The number that the next new inode gets.
    NewNumbers,
    /// Which pages are holes: the digest takes a hole for a page of zeros.
    Holes,
    /// The tick of the disk's clock at which the epoch begins, which is no part of the tree.
    Tick,
}

/// A set of sights.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sights(u8);

impl Sights {
    /// Every sight.
    pub const ALL: [Sight; 5] =
        [Sight::Times, Sight::Numbers, Sight::NewNumbers, Sight::Holes, Sight::Tick];

    /// Adds a sight; returns whether it is new.
    pub fn add(&mut self, sight: Sight) -> bool {
        let before = self.0;
        self.0 |= 1 << sight as u8;
        self.0 != before
    }

    /// Whether a sight is in the set.
    pub fn has(self, sight: Sight) -> bool {
        self.0 >> sight as u8 & 1 == 1
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Sights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Self::ALL.iter().filter(|sight| self.has(**sight))).finish()
    }
}

impl Tree {
    /// A digest of these parts; 0 of none.
    pub fn digest_of(&self, sights: Sights) -> Digest {
        if sights.is_empty() {
            return Digest(0);
        }
        let mut digester = Digester::default();
        if sights.has(Sight::NewNumbers) {
            digester.add_number(self.next_ino().0);
        }
        let root = self.root();
        self.add_inode(root, sights, &mut digester);
        self.add_directory(root, sights, &mut digester);
        digester.finish()
    }

    fn add_directory(&self, dir: Ino, sights: Sights, digester: &mut Digester) {
        let Some(directory) = self.node(dir).and_then(Node::directory) else { return };
        for &ino in directory.entries.values() {
            self.add_inode(ino, sights, digester);
            self.add_directory(ino, sights, digester);
        }
    }

    fn add_inode(&self, ino: Ino, sights: Sights, digester: &mut Digester) {
        let Some(node) = self.node(ino) else { return };
        if sights.has(Sight::Numbers) {
            digester.add_number(ino.0);
        }
        if sights.has(Sight::Times) {
            let times = [node.accessed, node.modified, node.changed, node.created];
            times.iter().for_each(|time| digester.add_number(time.0));
        }
        if let (true, Body::File(content)) = (sights.has(Sight::Holes), &node.body) {
            digester.add_number(content.resident());
            content.pages().for_each(|(page, _)| digester.add_number(page));
        }
    }
}
