//! The names of groups and pieces in cases and reports: paths and offsets.

use std::collections::{BTreeMap, BTreeSet};

use super::content::PAGE;
use super::effect::Ino;
use super::pending::Pending;
use super::piece::{EntryChange, GroupId, Piece, PieceChange};
use super::tree::Name;

/// The names of all inodes and groups of a disk at one time; the grammar is in [`super::fate`].
pub struct Names<'a> {
    pending: &'a Pending,
    of: BTreeMap<Ino, Vec<u8>>,
    back: BTreeMap<Vec<u8>, Ino>,
}

/// Why a name is not that of a group with pending pieces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownGroup {
    /// It has none of the forms that the names of groups have.
    #[error("{0} is none of PATH@OFFSET, PATH.size, PATH.entry, PATH.data, PATH@NAME.attr")]
    NotAName(String),
    /// Its path leads nowhere.
    #[error("{0} leads nowhere")]
    NoSuchPath(String),
    /// The group has no pending piece.
    #[error("nothing of {0} is pending")]
    NothingPending(String),
}

impl Pending {
    /// The names of everything now. Costs as much as there are inodes.
    pub fn names(&self) -> Names<'_> {
        let of = self.live.paths();
        let back = of.iter().map(|(ino, path)| (path.clone(), *ino)).collect();
        let mut names = Names { pending: self, of, back };
        let last = names.last_entries();
        let inodes: BTreeSet<Ino> =
            self.durable.nodes().chain(self.live.nodes()).map(|(ino, _)| ino).collect();
        for ino in inodes.into_iter().rev() {
            names.name(ino, &last, &mut BTreeSet::new());
        }
        names
    }
}

impl Names<'_> {
    /// The name of an inode.
    pub fn inode(&self, ino: Ino) -> Vec<u8> {
        self.of.get(&ino).cloned().unwrap_or_else(|| nameless(ino))
    }

    /// The name of a group.
    pub fn group(&self, group: &GroupId) -> Vec<u8> {
        let mut name = match group {
            GroupId::Entry(dir, name) => join(&self.inode(*dir), name),
            GroupId::Log => return b"namespace".to_vec(),
            GroupId::Block(ino, _)
            | GroupId::Size(ino)
            | GroupId::Inode(ino)
            | GroupId::Attribute(ino, _) => self.inode(*ino),
        };
        match group {
            GroupId::Block(_, block) => name.extend(format!("@{}", block * PAGE as u64).bytes()),
            GroupId::Size(_) => name.extend(b".size"),
            GroupId::Entry(..) => name.extend(b".entry"),
            GroupId::Inode(_) => name.extend(b".data"),
            GroupId::Attribute(_, attribute) => {
                name.extend([b"@", &**attribute, b".attr"].concat())
            }
            GroupId::Log => {}
        }
        if [&b"keep="[..], b"tear=", b"./"].iter().any(|word| name.starts_with(word)) {
            name.splice(0..0, *b"./");
        }
        name
    }

    /// The group with this name.
    ///
    /// # Errors
    /// The name is not one of a group, its path leads nowhere, or its group has no pending piece.
    pub fn find(&self, name: &[u8]) -> Result<GroupId, UnknownGroup> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        let path = name.strip_prefix(b"./").unwrap_or(name);
        let group = if path == b"namespace" {
            GroupId::Log
        } else if let Some(path) = path.strip_suffix(b".size") {
            GroupId::Size(self.find_inode(path)?)
        } else if let Some(path) = path.strip_suffix(b".attr") {
            self.find_attribute(path).ok_or_else(|| UnknownGroup::NothingPending(shown()))?
        } else if let Some(path) = path.strip_suffix(b".data") {
            GroupId::Inode(self.find_inode(path)?)
        } else if let Some(path) = path.strip_suffix(b".entry") {
            let (dir, entry) = match path.iter().rposition(|&byte| byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (&path[..0], path),
            };
            GroupId::Entry(self.find_inode(dir)?, entry.into())
        } else {
            let (path, block) = split_block(path).ok_or_else(|| UnknownGroup::NotAName(shown()))?;
            GroupId::Block(self.find_inode(path)?, block)
        };
        match self.pending.group(&group) {
            Some(_) => Ok(group),
            None => Err(UnknownGroup::NothingPending(shown())),
        }
    }

    /// The group of an attribute. Both its name and the path before it may hold an `@`.
    fn find_attribute(&self, path: &[u8]) -> Option<GroupId> {
        let divided = path.iter().enumerate().filter(|(_, byte)| **byte == b'@');
        let mut groups = divided.filter_map(|(at, _)| {
            let ino = self.find_inode(&path[..at]).ok()?;
            Some(GroupId::Attribute(ino, path[at + 1..].into()))
        });
        groups.find(|group| self.pending.group(group).is_some())
    }

    fn find_inode(&self, path: &[u8]) -> Result<Ino, UnknownGroup> {
        if let Some(ino) = self.back.get(path) {
            return Ok(*ino);
        }
        // Another name of a file with several.
        let found = self.pending.live().at(path);
        found.ok_or_else(|| UnknownGroup::NoSuchPath(String::from_utf8_lossy(path).into_owned()))
    }

    /// A piece in words: the group that it belongs to on `posix`, and its change.
    pub fn piece(&self, piece: &Piece) -> String {
        let shown = |group: &GroupId| String::from_utf8_lossy(&self.group(group)).into_owned();
        match &piece.change {
            PieceChange::Data { ino, block, more, start, end, grows } => {
                let block = shown(&GroupId::Block(*ino, *block));
                let size = grows.map_or(String::new(), |(old, new)| format!(", size {old}->{new}"));
                let end = more * PAGE as u64 + u64::from(*end);
                format!("{block} bytes {start}..{end}{size}")
            }
            PieceChange::Size { ino, old, new } => {
                format!("{} {old}->{new}", shown(&GroupId::Size(*ino)))
            }
            PieceChange::Entries(changes) => {
                let entry = |change: &EntryChange| {
                    let did = match (change.old, change.new) {
                        (None, _) => "made",
                        (_, None) => "removed",
                        _ => "replaced",
                    };
                    format!("{} {did}", shown(&GroupId::Entry(change.dir, change.name.clone())))
                };
                changes.iter().map(entry).collect::<Vec<_>>().join(", ")
            }
            PieceChange::Attribute(change) => {
                let did = match (&change.old, &change.new) {
                    (None, _) => "set",
                    (_, None) => "removed",
                    _ => "replaced",
                };
                format!("{} {did}", shown(&GroupId::Attribute(change.ino, change.name.clone())))
            }
        }
    }

    /// The entry that last led to each inode.
    fn last_entries(&self) -> BTreeMap<Ino, (Ino, Name)> {
        let mut last = BTreeMap::new();
        for (dir, node) in self.pending.durable.nodes() {
            let entries = node.directory().into_iter().flat_map(|d| &d.entries);
            last.extend(entries.map(|(name, ino)| (*ino, (dir, name.clone()))));
        }
        for change in self.pending.pieces().flat_map(|(_, piece)| piece.changes()) {
            let named = change.old.into_iter().chain(change.new);
            last.extend(named.map(|ino| (ino, (change.dir, change.name.clone()))));
        }
        last
    }

    /// Names an inode that the live tree has no path to. The inodes of `open` wait for this one's
    /// name: lost directories may lie in each other.
    fn name(
        &mut self,
        ino: Ino,
        last: &BTreeMap<Ino, (Ino, Name)>,
        open: &mut BTreeSet<Ino>,
    ) -> Vec<u8> {
        if let Some(name) = self.of.get(&ino) {
            return name.clone();
        }
        let name = match last.get(&ino) {
            Some((dir, name)) if open.insert(ino) => {
                let path = join(&self.name(*dir, last, open), name);
                let others = (1..).map(|n| [&path, format!("//{n}").as_bytes()].concat());
                let mut names = std::iter::once(path.clone()).chain(others);
                names.find(|name| !self.back.contains_key(name)).unwrap_or(path)
            }
            _ => nameless(ino),
        };
        self.of.insert(ino, name.clone());
        self.back.insert(name.clone(), ino);
        name
    }
}

fn nameless(ino: Ino) -> Vec<u8> {
    format!("//{}", ino.0).into_bytes()
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

fn split_block(path: &[u8]) -> Option<(&[u8], u64)> {
    let at = path.iter().rposition(|&byte| byte == b'@')?;
    let offset: u64 = std::str::from_utf8(&path[at + 1..]).ok()?.parse().ok()?;
    offset.is_multiple_of(PAGE as u64).then_some((&path[..at], offset / PAGE as u64))
}
