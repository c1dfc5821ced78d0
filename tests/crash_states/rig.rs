//! Small programs on a simulated disk, and every state that a crash may leave.
//!
//! A program is one op per line; the ops before `body` are durable. A state is written as its
//! sorted lines, joined by `; `: `path=CONTENT`, `path/`, `path->target`, `path@attribute=value`,
//! `mark:NAME`, where CONTENT is a run-length text in which `.` is a byte of zero.

use std::collections::BTreeSet;

use crashpoint::inner::disk::content::Content;
use crashpoint::inner::disk::effect::{Allocation, Effect, Ino, Kind, Sync};
use crashpoint::inner::disk::family;
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::tree::{Body, Tree};
use crashpoint::{Profile, Time};

/// A disk and the marks that were passed.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) pending: Pending,
    marks: Vec<String>,
    /// Every state that was possible at some time so far, without and with a tear.
    seen: BTreeSet<String>,
    fingerprints: BTreeSet<u64>,
    tears: bool,
    /// Whether to skip collecting states: some programs are checked in another way.
    quiet: bool,
    /// Shows the disk after each effect of the line that runs, if set.
    steps: Option<Vec<Pending>>,
}

impl Rig {
    /// A disk on which a program left these lines durable.
    pub(crate) fn new(profile: &Profile, setup: &str) -> Self {
        let mut rig = Self::on(Tree::new(), profile);
        rig.run(setup);
        Self::on(rig.pending.keep(&Fate::all()).tree, profile)
    }

    /// A disk that was just mounted.
    pub(crate) fn on(tree: Tree, profile: &Profile) -> Self {
        Self {
            pending: Pending::new(tree, profile),
            marks: Vec::new(),
            seen: BTreeSet::new(),
            fingerprints: BTreeSet::new(),
            tears: false,
            quiet: false,
            steps: None,
        }
    }

    /// An empty disk that does not collect states.
    pub(crate) fn quiet(profile: &Profile) -> Self {
        Self { quiet: true, ..Self::on(Tree::new(), profile) }
    }

    /// Runs a line and shows the disk after each of its effects.
    pub(crate) fn run_each(&mut self, line: &str, show: impl FnMut(&Pending)) {
        self.steps = Some(Vec::new());
        self.run(line);
        self.steps.take().iter().flatten().for_each(show);
    }

    pub(crate) fn run(&mut self, lines: &str) -> &mut Self {
        for line in lines.lines().flat_map(|line| line.split(';')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                self.op(&words);
            }
        }
        self
    }

    fn op(&mut self, words: &[&str]) {
        match *words {
            ["creat" | "mkdir", path] | ["symlink", _, path] => {
                let (kind, target) = match words[0] {
                    "creat" => (Kind::File, ""),
                    "mkdir" => (Kind::Directory, ""),
                    _ => (Kind::Symlink, words[1]),
                };
                self.create(path, kind, target);
            }
            ["open-trunc", path] => {
                let ino = self.file(path);
                self.effect(&Effect::Size { ino, size: 0 });
            }
            ["close", _] => {}
            ["write", path, offset, length, fill] => {
                self.write(path, number(offset), number(length), fill);
            }
            ["append", path, length, fill] => {
                let ino = self.file(path);
                let size = self.content(ino).size();
                self.write(path, size, number(length), fill);
            }
            ["truncate", path, size] => {
                let (ino, size) = (self.file(path), number(size));
                self.effect(&Effect::Size { ino, size });
            }
            [how @ ("fallocate" | "punch" | "zero-range"), path, offset, length] => {
                let what = match how {
                    "fallocate" => Allocation::Extend,
                    "punch" => Allocation::Punch,
                    _ => Allocation::Zero,
                };
                let ino = self.file(path);
                let (offset, length) = (number(offset), number(length));
                self.effect(&Effect::Allocate { ino, offset, length, what });
            }
            ["unlink" | "rmdir", path] => self.unlink(path),
            ["rename" | "exchange", old, new] => self.rename(old, new, words[0] == "exchange"),
            ["link", old, new] => {
                let ino = self.find(old);
                let (dir, name) = self.split(new);
                self.effect(&Effect::Entry { dir, name, ino: Some(ino) });
            }
            ["chmod", path, mode] => {
                let (ino, mode) = (self.find(path), number(mode) as u32);
                self.effect(&Effect::Mode { ino, mode });
            }
            [how @ ("write-dsync" | "write-sync"), path, offset, length, fill] => {
                let (offset, length) = (number(offset), number(length));
                self.write(path, offset, length, fill);
                let (ino, data_only) = (self.find(path), how == "write-dsync");
                let written = Sync::Written { ino, offset, length, data_only };
                self.effect(&Effect::Sync(written));
            }
            [how @ ("sync-range" | "sync-range-fails"), path, offset, length] => {
                let (offset, length) = (number(offset), number(length));
                let pages = Sync::Pages { ino: self.find(path), offset, length };
                let failed = how == "sync-range-fails";
                self.effect(&if failed { Effect::SyncFailed(pages) } else { Effect::Sync(pages) });
            }
            ["mark", name] => {
                self.marks.push(format!("mark:{name}"));
                self.fingerprints.clear();
                self.look();
            }
            ["setxattr", ..] | ["removexattr", ..] => self.attribute(words),
            _ => self.sync(words),
        }
    }

    fn attribute(&mut self, words: &[&str]) {
        let (ino, name) = (self.find(words[1]), words[2].as_bytes());
        let value = words.get(3).map(|value| value.as_bytes());
        self.effect(&Effect::Attribute { ino, name, value });
    }

    fn sync(&mut self, words: &[&str]) {
        match *words {
            ["sync"] => self.effect(&Effect::Sync(Sync::All)),
            ["sync-fails"] => self.effect(&Effect::SyncFailed(Sync::All)),
            ["fsync", path] => self.effect(&Effect::Sync(Sync::Inode(self.find(path)))),
            ["fdatasync", path] => self.effect(&Effect::Sync(Sync::Data(self.find(path)))),
            ["fsync-fails", path] => self.effect(&Effect::SyncFailed(Sync::Inode(self.find(path)))),
            _ => panic!("no such op: {words:?}"),
        }
    }

    pub fn effect(&mut self, effect: &Effect<'_>) {
        self.pending.apply(effect, Time(self.pending.effects()));
        if let Some(steps) = &mut self.steps {
            steps.push(self.pending.clone());
        }
        if !self.quiet {
            self.look();
        }
    }

    /// Adds every state that a crash now may leave.
    fn look(&mut self) {
        let in_flight = self.pending.effects().checked_sub(1).filter(|_| self.tears);
        for fate in family::exhaustive_calm(&self.pending, in_flight) {
            if self.fingerprints.insert(self.pending.fingerprint(&fate)) {
                let tree = self.pending.keep(&fate).tree;
                self.seen.insert(text(&tree, &self.marks));
            }
        }
    }

    fn create(&mut self, path: &str, kind: Kind, target: &str) -> Ino {
        let ino = self.pending.live().next_ino();
        self.effect(&Effect::Inode { ino, kind, mode: 0o644, target: target.as_bytes() });
        let (dir, name) = self.split(path);
        self.effect(&Effect::Entry { dir, name, ino: Some(ino) });
        ino
    }

    fn write(&mut self, path: &str, offset: u64, length: u64, fill: &str) {
        let ino = self.file(path);
        let bytes = fill.as_bytes()[..1].repeat(length as usize);
        self.effect(&Effect::Write { ino, offset, bytes: &bytes });
    }

    fn unlink(&mut self, path: &str) {
        let ino = self.find(path);
        let (dir, name) = self.split(path);
        self.effect(&Effect::Entry { dir, name, ino: None });
        self.free(ino);
    }

    fn rename(&mut self, old: &str, new: &str, exchange: bool) {
        let ((from, old), (to, new)) = (self.split(old), self.split(new));
        let replaced = self.pending.live().entry(to, new);
        self.effect(&Effect::Rename { from, old, to, new, exchange });
        if let Some(replaced) = replaced {
            self.free(replaced);
        }
    }

    /// Frees an inode that has no name any more; no descriptor holds it open.
    fn free(&mut self, ino: Ino) {
        if self.pending.live().node(ino).is_some_and(|node| node.links == 0) {
            self.effect(&Effect::Free { ino });
        }
    }

    pub(crate) fn find(&self, path: &str) -> Ino {
        let names = path.split('/').filter(|name| *name != ".");
        names.fold(Ino::ROOT, |dir, name| {
            self.pending.live().entry(dir, name.as_bytes()).expect("the path exists")
        })
    }

    /// The file with this path, created if it is missing.
    fn file(&mut self, path: &str) -> Ino {
        let (dir, name) = self.split(path);
        match self.pending.live().entry(dir, name) {
            Some(ino) => ino,
            None => self.create(path, Kind::File, ""),
        }
    }

    fn split<'a>(&self, path: &'a str) -> (Ino, &'a [u8]) {
        match path.rsplit_once('/') {
            Some((dir, name)) => (self.find(dir), name.as_bytes()),
            None => (Ino::ROOT, path.as_bytes()),
        }
    }

    fn content(&self, ino: Ino) -> &Content {
        let node = self.pending.live().node(ino).expect("the inode exists");
        node.content().expect("it is a file")
    }

    /// The state that processes see.
    pub(crate) fn live(&self) -> String {
        self.kept(&Fate::all())
    }

    /// The state that a fate leaves.
    pub(crate) fn kept(&self, fate: &Fate) -> String {
        text(&self.pending.keep(fate).tree, &[])
    }

    /// The states that a crash now may leave, without tears.
    pub(crate) fn states(&self) -> BTreeSet<String> {
        let fates = family::exhaustive_calm(&self.pending, None);
        fates.map(|fate| self.kept(&fate)).collect()
    }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

/// Every state that a crash at any time in the body may leave.
pub(crate) fn reachable(profile: &Profile, program: &str) -> BTreeSet<String> {
    all_states(profile, program, false)
}

/// The same with a tear in the block that is being written.
pub(crate) fn reachable_torn(profile: &Profile, program: &str) -> BTreeSet<String> {
    all_states(profile, program, true)
}

fn all_states(profile: &Profile, program: &str, tears: bool) -> BTreeSet<String> {
    let (setup, body) = program.split_once("body").expect("a program has a body");
    let mut rig = Rig::new(profile, setup);
    rig.tears = tears;
    rig.look();
    rig.run(body);
    rig.seen
}

/// A state in words.
pub(crate) fn text(tree: &Tree, marks: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    describe(tree, Ino::ROOT, "", &mut lines);
    lines.sort();
    lines.extend(marks.iter().cloned());
    lines.join("; ")
}

fn describe(tree: &Tree, dir: Ino, path: &str, lines: &mut Vec<String>) {
    let directory = tree.node(dir).and_then(|node| node.directory()).expect("a directory");
    for (name, &ino) in &directory.entries {
        let path = format!("{path}{}", String::from_utf8_lossy(name));
        let node = tree.node(ino).expect("every entry leads to an inode");
        lines.extend(node.attributes.iter().map(|(name, value)| {
            let [name, value] = [name, value].map(|bytes| String::from_utf8_lossy(bytes));
            format!("{path}@{name}={value}")
        }));
        match &node.body {
            Body::File(content) => lines.push(format!("{path}={}", runs(&content.to_vec()))),
            Body::Symlink(to) => lines.push(format!("{path}->{}", String::from_utf8_lossy(to))),
            Body::Directory(_) => {
                lines.push(format!("{path}/"));
                describe(tree, ino, &format!("{path}/"), lines);
            }
        }
    }
}

fn runs(bytes: &[u8]) -> String {
    let letter = |byte: u8| match byte {
        0 => '.',
        0x80.. => '?',
        letter => char::from(letter),
    };
    let runs = bytes.chunk_by(|a, b| letter(*a) == letter(*b));
    runs.map(|run| format!("{}*{}", letter(run[0]), run.len())).collect::<Vec<_>>().join(" ")
}
