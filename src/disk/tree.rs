//! The tree of inodes, to which `Effect`s are applied, in memory and on the medium alike.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::Content;
use super::effect::{Allocation, Effect, Ino, Kind};
use crate::base::digest::{Digest, Digester};
use crate::base::time::Time;

/// The name of the store's folder, on a disk that has a folder above it.
pub const STORE: &[u8] = b"store";

/// A name in a directory: any bytes except `/` and NUL.
pub type Name = Arc<[u8]>;

/// The names in a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The directory that holds this one; the root holds itself.
    pub parent: Ino,
    /// The inodes by name, without `.` and `..`.
    pub entries: BTreeMap<Name, Ino>,
}

/// The content of an inode.
#[derive(Clone)]
pub enum Body {
    /// Bytes.
    File(Content),
    /// Names.
    Directory(Directory),
    /// A path.
    Symlink(Arc<[u8]>),
}

/// An inode.
#[derive(Clone)]
pub struct Node {
    /// Its content.
    pub body: Body,
    /// Permission bits.
    pub mode: u32,
    /// Its user and its group; those of root are 0.
    pub owner: (u32, u32),
    /// How many entries name it (a directory counts once).
    pub links: u32,
    /// The time of last access, as last set by a call.
    pub accessed: Time,
    /// When its content last changed.
    pub modified: Time,
    /// When anything of it last changed.
    pub changed: Time,
    /// When it was created.
    pub created: Time,
    /// Its extended attributes, by name.
    pub attributes: Attributes,
}

/// The times of an inode except that of its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) accessed: Time,
    pub(super) modified: Time,
    pub(super) changed: Time,
}

/// Extended attributes: values by name, which includes the name space (`user.comment`).
pub type Attributes = BTreeMap<Name, Arc<[u8]>>;

impl Node {
    fn new(body: Body, mode: u32, at: Time) -> Self {
        let (accessed, modified, changed, created) = (at, at, at, at);
        let (owner, attributes) = ((0, 0), Attributes::new());
        Self { body, mode, owner, links: 0, accessed, modified, changed, created, attributes }
    }

    /// The times that a change of the inode may move.
    pub(super) fn times(&self) -> Times {
        Times { accessed: self.accessed, modified: self.modified, changed: self.changed }
    }

    pub(super) fn set_times(&mut self, times: Times) {
        (self.accessed, self.modified, self.changed) =
            (times.accessed, times.modified, times.changed);
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
        }
    }

    /// The bytes of a file.
    pub fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    /// The names of a directory.
    pub fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

/// A file system's tree. Cloning shares every inode until one side changes it.
#[derive(Clone)]
pub struct Tree {
    nodes: BTreeMap<Ino, Arc<Node>>,
    next: u64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty root directory.
    pub fn new() -> Self {
        let root = Directory { parent: Ino::ROOT, entries: BTreeMap::new() };
        let mut node = Node::new(Body::Directory(root), 0o755, Time::START);
        node.links = 1;
        Self { nodes: BTreeMap::from([(Ino::ROOT, Arc::new(node))]), next: Ino::ROOT.0 + 1 }
    }

    /// The tree that a run begins with: the root holds the store's empty folder, which can be
    /// renamed and removed and have siblings.
    pub fn of_a_run() -> Self {
        let mut tree = Self::new();
        let mount = Directory { parent: Ino::MOUNT, entries: BTreeMap::new() };
        let mount = Node::new(Body::Directory(mount), 0o755, Time::START);
        tree.nodes.insert(Ino::MOUNT, Arc::new(Node { links: 1, ..mount }));
        if let Some(store) = tree.node_mut(Ino::ROOT) {
            store.links = 0;
        }
        tree.set_entry(Ino::MOUNT, STORE, Some(Ino::ROOT), Time::START);
        tree
    }

    /// The root directory, at which absolute paths begin.
    pub fn root(&self) -> Ino {
        if self.nodes.contains_key(&Ino::MOUNT) { Ino::MOUNT } else { Ino::ROOT }
    }

    /// The store's folder, from which cases and reports name everything.
    fn store(&self) -> Option<Ino> {
        match self.root() {
            Ino::MOUNT => self.entry(Ino::MOUNT, STORE),
            root => Some(root),
        }
    }

    /// The inode at a path from the store's folder, as [`paths`](Self::paths) has it.
    pub fn at(&self, path: &[u8]) -> Option<Ino> {
        let (from, path) = match path.strip_prefix(b"../") {
            Some(path) if self.root() == Ino::MOUNT => (Ino::MOUNT, path),
            _ => (self.store()?, path),
        };
        path.split(|&byte| byte == b'/').try_fold(from, |dir, name| self.entry(dir, name))
    }

    /// A path from the root, without its leading slash, as a path from the store's folder.
    pub fn from_store<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        if self.root() != Ino::MOUNT {
            return Cow::Borrowed(path);
        }
        match path.strip_prefix(STORE) {
            Some([]) => Cow::Borrowed(&[]),
            Some(rest @ [b'/', ..]) => {
                let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
                Cow::Borrowed(&rest[slashes..])
            }
            _ if path.is_empty() => Cow::Borrowed(b".."),
            _ => Cow::Owned([b"../", path].concat()),
        }
    }

    /// A path from the store's folder as a path from the root, without a leading slash.
    pub fn from_root<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        match path.strip_prefix(b"..") {
            _ if self.root() != Ino::MOUNT => Cow::Borrowed(path),
            Some([]) => Cow::Borrowed(&[]),
            Some([b'/', rest @ ..]) => Cow::Borrowed(rest),
            _ => Cow::Owned([STORE, b"/", path].concat()),
        }
    }

    /// The number that the next new inode gets.
    pub fn next_ino(&self) -> Ino {
        Ino(self.next)
    }

    /// An inode, if it exists.
    pub fn node(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino).map(Arc::as_ref)
    }

    /// An inode to change, if it exists.
    pub fn node_mut(&mut self, ino: Ino) -> Option<&mut Node> {
        self.nodes.get_mut(&ino).map(Arc::make_mut)
    }

    /// All inodes, in the order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (Ino, &Node)> {
        self.nodes.iter().map(|(&ino, node)| (ino, node.as_ref()))
    }

    /// Adds an inode of another tree of the same run, without its names.
    pub fn adopt(&mut self, ino: Ino, node: &Node) {
        self.nodes.insert(ino, Arc::new(Node { links: 0, ..node.clone() }));
        self.next = self.next.max(ino.0 + 1);
    }

    /// The inode that a name in a directory leads to.
    pub fn entry(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        self.node(dir)?.directory()?.entries.get(name).copied()
    }

    /// One path to each named inode, from the store's folder: that is the empty path, and a path
    /// to something next to it begins with `../`.
    pub fn paths(&self) -> BTreeMap<Ino, Vec<u8>> {
        let root = self.root();
        let mut paths = BTreeMap::from([(root, self.from_store(b"").into_owned())]);
        let mut open = vec![root];
        while let Some(dir) = open.pop() {
            let Some(directory) = self.node(dir).and_then(Node::directory) else { continue };
            for (name, &ino) in &directory.entries {
                if paths.contains_key(&ino) {
                    continue;
                }
                let mut path = paths[&dir].clone();
                if dir == Ino::MOUNT && **name == *STORE {
                    path.clear();
                    paths.insert(ino, path);
                    open.push(ino);
                    continue;
                }
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                paths.insert(ino, path);
                open.push(ino);
            }
        }
        paths
    }

    /// Makes one change. Changes of inodes that do not exist are ignored: a crash may have lost
    /// these inodes.
    pub fn apply(&mut self, effect: &Effect<'_>, at: Time) {
        match *effect {
            Effect::Inode { ino, kind, mode, target } => self.create(ino, kind, mode, target, at),
            Effect::Entry { dir, name, ino } => self.set_entry(dir, name, ino, at),
            Effect::Rename { from, old, to, new, exchange } => {
                let (moved, replaced) = (self.entry(from, old), self.entry(to, new));
                self.set_entry(from, old, if exchange { replaced } else { None }, at);
                self.set_entry(to, new, moved, at);
            }
            Effect::Write { ino, offset, bytes } => {
                self.change_content(ino, at, |content| content.write(offset, bytes));
            }
            Effect::Size { ino, size } => {
                self.change_content(ino, at, |content| content.resize(size));
            }
            Effect::Allocate { ino, offset, length, what } => {
                self.change_content(ino, at, |content| allocate(content, offset, length, what));
            }
            Effect::Mode { ino, mode } => {
                if let Some(node) = self.node_mut(ino) {
                    node.mode = mode;
                    node.changed = at;
                }
            }
            Effect::Owner { ino, owner, mode } => {
                if let Some(node) = self.node_mut(ino) {
                    node.owner = owner;
                    node.mode = mode;
                    node.changed = at;
                }
            }
            Effect::Times { ino, accessed, modified } => {
                if let Some(node) = self.node_mut(ino) {
                    node.accessed = accessed.unwrap_or(node.accessed);
                    node.modified = modified.unwrap_or(node.modified);
                    node.changed = at;
                }
            }
            Effect::Attribute { ino, name, value } => {
                if let Some(node) = self.node_mut(ino) {
                    node.set_attribute(name, value.map(Into::into));
                    node.changed = at;
                }
            }
            Effect::Free { ino } => drop(self.nodes.remove(&ino)),
            Effect::Evict { ino, size, block, bytes } => {
                if let Some(Node { body: Body::File(content), .. }) = self.node_mut(ino) {
                    content.evict(block, bytes, size);
                }
            }
            Effect::Sync(_) | Effect::SyncFailed(_) => {}
        }
    }

    fn create(&mut self, ino: Ino, kind: Kind, mode: u32, target: &[u8], at: Time) {
        let body = match kind {
            Kind::File => Body::File(Content::default()),
            Kind::Directory => {
                Body::Directory(Directory { parent: Ino::ROOT, entries: BTreeMap::new() })
            }
            Kind::Symlink => Body::Symlink(target.into()),
        };
        self.nodes.insert(ino, Arc::new(Node::new(body, mode, at)));
        self.next = self.next.max(ino.0 + 1);
    }

    /// Sets or removes an entry and updates the link counts of both inodes. Removing the last name
    /// leaves the inode: descriptors may still hold it, until `Effect::Free`.
    pub fn set_entry(&mut self, dir: Ino, name: &[u8], ino: Option<Ino>, at: Time) {
        let Some(before) = self.place(dir, name, ino) else { return };
        if let Some(node) = self.node_mut(dir) {
            node.modified = at;
            node.changed = at;
        }
        for ino in before.into_iter().chain(ino) {
            if let Some(node) = self.node_mut(ino) {
                node.changed = at;
            }
        }
    }

    /// As [`set_entry`](Self::set_entry), without any time; returns the inode that the name led to
    /// before. `None` if there is no such directory.
    pub(super) fn place(&mut self, dir: Ino, name: &[u8], ino: Option<Ino>) -> Option<Option<Ino>> {
        let Body::Directory(directory) = &mut self.node_mut(dir)?.body else { return None };
        let before = match ino {
            Some(ino) => directory.entries.insert(name.into(), ino),
            None => directory.entries.remove(name),
        };
        if let Some(lost) = before.and_then(|lost| self.node_mut(lost)) {
            lost.links = lost.links.saturating_sub(1);
        }
        if let Some(named) = ino.and_then(|named| self.node_mut(named)) {
            named.links += 1;
            if let Body::Directory(directory) = &mut named.body {
                directory.parent = dir;
            }
        }
        Some(before)
    }

    fn change_content(&mut self, ino: Ino, at: Time, change: impl FnOnce(&mut Content)) {
        if let Some(node) = self.node_mut(ino)
            && let Body::File(content) = &mut node.body
        {
            change(content);
            node.modified = at;
            node.changed = at;
        }
    }

    /// Drops every inode that no path from the root leads to: a new mount finds none of them, and a
    /// file-system check corrects the link counts of the others.
    pub fn drop_unreachable(&mut self) {
        let paths = self.paths();
        let mut uncounted = Vec::new();
        self.nodes.retain(|ino, node| {
            let reachable = paths.contains_key(ino);
            if let Some(directory) = node.directory().filter(|_| !reachable) {
                uncounted.extend(directory.entries.values().copied());
            }
            reachable
        });
        for ino in uncounted {
            if let Some(node) = self.node_mut(ino) {
                node.links = node.links.saturating_sub(1);
            }
        }
    }

    /// Numbers new inodes from the highest number that is in use, as a mount of btrfs does: which
    /// numbers were given to inodes that the crash lost is forgotten.
    pub(super) fn renew_numbers(&mut self) {
        self.next = self.nodes.keys().next_back().map_or(Ino::ROOT.0, |last| last.0) + 1;
    }

    /// A digest of what every recovery may depend on: names, links, types, modes, owners,
    /// attributes, sizes and bytes. Times, inode numbers and holes are left out: whether crash
    /// states that differ only in those are the same depends on what a recovery sees of them
    /// (`disk/sight.rs`). Nothing is added for the root of a run as long as it has only the
    /// store's folder.
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::default();
        let mut numbers = BTreeMap::new();
        let root = self.lone_store().unwrap_or_else(|| {
            digester.add(b"..");
            self.root()
        });
        if let Some(node) = self.node(root) {
            if root == Ino::MOUNT && node.mode != 0o755 {
                digester.add_number(u64::from(node.mode));
            }
            digest_attributes(node, &mut digester);
        }
        self.digest_directory(root, &mut numbers, &mut digester);
        digester.finish()
    }

    /// The store's folder, if the root is as a run found it: no other name, no other attribute.
    pub(super) fn lone_store(&self) -> Option<Ino> {
        let store = self.store()?;
        if store == self.root() {
            return Some(store);
        }
        let (root, folder) = (self.node(Ino::MOUNT)?, self.node(store)?);
        let owned = (root.owner, folder.owner) == ((0, 0), (0, 0));
        let plain = root.mode == 0o755 && folder.mode == 0o755 && root.attributes.is_empty();
        (plain && owned && self.is_store_alone()).then_some(store)
    }

    /// Whether the store's folder exists and nothing is next to it.
    pub fn is_store_alone(&self) -> bool {
        let Some(store) = self.store() else { return false };
        let beside = self.node(Ino::MOUNT).and_then(Node::directory);
        self.node(store).map(Node::kind) == Some(Kind::Directory)
            && beside.is_none_or(|root| root.entries.len() == 1)
    }

    fn digest_directory(
        &self,
        dir: Ino,
        numbers: &mut BTreeMap<Ino, u64>,
        digester: &mut Digester,
    ) {
        let Some(directory) = self.node(dir).and_then(Node::directory) else { return };
        for (name, &ino) in &directory.entries {
            let Some(node) = self.node(ino) else { continue };
            digester.add(name);
            digester.add_number(u64::from(node.mode));
            let seen = numbers.len() as u64;
            let number = *numbers.entry(ino).or_insert(seen);
            digester.add_number(number);
            if number != seen {
                continue;
            }
            digest_attributes(node, digester);
            match &node.body {
                Body::File(content) => digester.add_number(content.digest()),
                Body::Symlink(target) => digester.add(target),
                Body::Directory(_) => {
                    digester.add(b"/");
                    self.digest_directory(ino, numbers, digester);
                    digester.add(b"..");
                }
            }
        }
    }
}

fn digest_attributes(node: &Node, digester: &mut Digester) {
    if node.owner != (0, 0) {
        digester.add(b"///");
        digester.add_number(u64::from(node.owner.0) << 32 | u64::from(node.owner.1));
    }
    for (name, value) in &node.attributes {
        digester.add(b"//");
        digester.add(name);
        digester.add(value);
    }
}

fn allocate(content: &mut Content, offset: u64, length: u64, what: Allocation) {
    let end = offset.saturating_add(length);
    match what {
        Allocation::Extend if end > content.size() => content.resize(end),
        Allocation::Extend | Allocation::KeepSize => {}
        Allocation::Punch => content.zero(offset, length),
        Allocation::Zero => {
            content.zero(offset, length);
            if end > content.size() {
                content.resize(end);
            }
        }
    }
}
