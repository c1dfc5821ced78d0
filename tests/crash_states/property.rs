//! Properties of all programs: random ones, checked against a slow and simple disk.

use std::collections::BTreeMap;

use crashpoint::inner::disk::content::{PAGE, SharedPage};
use crashpoint::inner::disk::effect::{Effect, Ino};
use crashpoint::inner::disk::family;
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::keep::Loss;
use crashpoint::inner::disk::pending::Pending;
use crashpoint::inner::disk::piece::{Group, Piece, PieceChange};
use crashpoint::inner::disk::profile::Home;
use crashpoint::inner::disk::tree::{Body, Directory, Node, Tree};
use crashpoint::{Digest, Profile, Time, words};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::requirements::LOGGED;
use crate::rig::{Rig, text};

/// The shipped profiles, and two that use features which these do not.
fn profiles() -> Vec<Profile> {
    let own_names = Profile { fsync_file: Profile::TAIL_PREFIX.fsync_file, ..Profile::POSIX };
    let directories = Profile { name: "directories", entry: Home::Inode, ..own_names };
    [Profile::all(), &[LOGGED, directories]].concat()
}

/// Four numbers that determine a step; see [`line`].
type Step = (u8, u8, u8, u16);

/// A line of a program that makes sense on this disk.
fn line(rig: &Rig, (op, from, to, amount): Step) -> String {
    let paths: Vec<String> = rig.paths().collect();
    let (dirs, files): (Vec<&String>, Vec<&String>) =
        paths.iter().partition(|path| path.ends_with('/'));
    let dir_of = |path: &str| path.rsplit_once('/').map(|(dir, _)| format!("{dir}/"));
    let free = |names: &[&'static str]| {
        let new = names[usize::from(to) % names.len()];
        let parent = dir_of(new).is_none_or(|dir| paths.contains(&dir));
        let taken = paths.iter().any(|path| path.trim_end_matches('/') == new);
        (parent && !taken).then_some(new)
    };
    let Some(file) = files.get(usize::from(from) % files.len().max(1)) else {
        return "creat a".into();
    };
    let dir = dirs.get(usize::from(from) % dirs.len().max(1)).map(|dir| dir.trim_end_matches('/'));
    let is_empty = |dir: &str| {
        paths
            .iter()
            .all(|path| !path.starts_with(&format!("{dir}/")) || path.len() == dir.len() + 1)
    };
    let (offset, length) = (u32::from(amount) % 9000, u32::from(to) * 70 % 7000 + 1);
    let letter = char::from(b'a' + to % 26);
    let new_file = free(&["a", "b", "d/a", "d/b", "e/c", "d/e/a"]);
    let new_dir = free(&["d", "e", "d/e", "e/d", "d/d", "e/e"]);
    match (op % 22, new_file, new_dir, dir) {
        (0 | 1, ..) => format!("write {file} {offset} {length} {letter}"),
        (2 | 3, ..) => format!("append {file} {length} {letter}"),
        (4, ..) => format!("truncate {file} {offset}"),
        (5, ..) => format!("fsync {file}"),
        (6, ..) if to % 2 == 0 => format!("fdatasync {file}"),
        (6, ..) => format!("fsync-fails {file}"),
        (7, Some(new), ..) => format!("creat {new}"),
        (8, Some(new), ..) => format!("rename {file} {new}"),
        (8, ..) if files[0] != *file => format!("rename {file} {}", files[0]),
        (9, ..) => format!("unlink {file}"),
        (10, Some(new), ..) => format!("link {file} {new}"),
        (11 | 12, _, Some(new), _) => format!("mkdir {new}"),
        (13 | 14, _, Some(new), Some(dir)) if !new.starts_with(dir) => {
            format!("rename {dir} {new}")
        }
        (15, .., Some("d" | "e"))
            if paths.contains(&"d/".into()) && paths.contains(&"e/".into()) =>
        {
            "exchange d e".into()
        }
        (15 | 16, .., Some(dir)) if is_empty(dir) => format!("rmdir {dir}"),
        (17, .., Some(dir)) => format!("fsync {dir}"),
        (18, ..) if to % 8 == 0 => "sync".into(),
        (18, ..) => "fsync .".into(),
        (19, ..) if to % 4 == 1 => format!("punch {file} {offset} {length}"),
        (19, ..) if to % 2 == 0 => format!("zero-range {file} {offset} {length}"),
        (20, .., Some(dir)) if to % 4 == 0 => format!("setxattr {dir} user.{letter} {amount}"),
        (20, ..) => format!("setxattr {file} user.{} {amount}", to % 3),
        (21, ..) => format!("removexattr {file} user.{}", to % 3),
        _ => format!("append {file} 100 {letter}"),
    }
}

/// Runs random programs, the same ones every time; `check` is called after each line.
fn programs(cases: u32, lines: usize, check: fn(&Rig, &mut Memory) -> Result<(), TestCaseError>) {
    for profile in profiles() {
        // A runner counts its cases over all of its runs.
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let steps = vec(any::<Step>(), 0..lines);
        let result = runner.run(&steps, |steps| {
            let mut rig = Rig::quiet(&profile);
            let mut memory = Memory::default();
            let start = "mkdir d; mkdir e; write d/a 0 5000 x; mkdir e/d; creat b; sync";
            rig.run_each(start, |pending| memory.snapshots.push(pending.live().clone()));
            let mut program = Vec::new();
            for step in steps {
                let line = line(&rig, step);
                program.push(line.clone());
                rig.run_each(&line, |pending| memory.snapshots.push(pending.live().clone()));
                memory.line = line;
                let seen = check(&rig, &mut memory);
                seen.map_err(|error| TestCaseError::fail(format!("{program:?}: {error}")))?;
            }
            Ok(())
        });
        if let Err(error) = result {
            panic!("{}: {error}", profile.name);
        }
    }
}

/// The state that a check keeps while a program runs.
#[derive(Default)]
struct Memory {
    /// The live tree after each effect.
    snapshots: Vec<Tree>,
    /// The line that ran last.
    line: String,
    /// The states by the fingerprints of their fates.
    digests: BTreeMap<u64, Digest>,
    /// The contents of files when they were last synced.
    synced: BTreeMap<Ino, Vec<u8>>,
    /// Files with a failed sync: they no longer promise anything.
    failed: Vec<Ino>,
}

/// Fates of many kinds, drawn from the state of the disk alone.
fn some_fates(pending: &Pending) -> Vec<Fate> {
    let in_flight = pending.effects().checked_sub(1);
    if family::count(pending, in_flight, 60).is_some() {
        return family::exhaustive(pending, in_flight).collect();
    }
    let mut state = pending.effects();
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut fates = vec![Fate::nothing(), Fate::all(), Fate::prefix(draw(pending.len() + 1))];
    fates.extend(crate::families::all_but_one(pending).take(5));
    fates.extend(crate::families::only_one(pending).take(5));
    fates.extend((0..10).map(|_| family::random(pending, in_flight, &mut draw)));
    fates
}

#[test]
fn keeping_all_is_the_live_tree_and_keeping_nothing_the_durable_one() {
    programs(24, 30, |rig, _| {
        let mut live = rig.pending.live().clone();
        live.drop_unreachable();
        prop_assert_eq!(rig.pending.keep(&Fate::all()).digest, live.digest());
        let mut durable = rig.pending.durable().clone();
        let sizes: Vec<(Ino, u64)> =
            durable.nodes().filter_map(|(ino, node)| Some((ino, node.content()?.size()))).collect();
        for (ino, size) in sizes {
            for size in [u64::MAX, size] {
                durable.apply(&Effect::Size { ino, size }, Time::START);
            }
        }
        durable.drop_unreachable();
        prop_assert_eq!(rig.pending.keep(&Fate::nothing()).digest, durable.digest());
        Ok(())
    });
}

#[test]
fn every_pending_piece_is_found_by_its_number() {
    programs(100, 60, |rig, memory| {
        prop_assert_eq!(rig.pending.pieces().count(), rig.pending.len(), "{}", memory.line);
        Ok(())
    });
}

#[test]
fn a_failed_sync_leaves_the_versions_of_a_block_in_their_order() {
    // Block 2 is new and in the log, then overwritten in place.
    let mut rig = Rig::quiet(&Profile::EXT4_NODELALLOC);
    for line in ["write a 0 5000 x; sync", "write a 7982 211 d", "append a 100 a", "fsync-fails a"]
    {
        rig.run_each(line, |_| {});
    }
    let of_block: Vec<u64> = rig
        .pending
        .pieces()
        .filter(|(_, piece)| matches!(piece.change, PieceChange::Data { block: 2, .. }))
        .map(|(_, piece)| piece.effect)
        .collect();
    assert_eq!(of_block.len(), 2);
    assert!(of_block.is_sorted());
    assert_eq!(rig.pending.pieces().count(), rig.pending.len());
}

#[test]
fn a_sync_of_everything_leaves_one_state_if_none_failed() {
    programs(24, 30, |rig, memory| {
        let failed = memory.line.starts_with("fsync-fails") || !memory.failed.is_empty();
        if failed {
            memory.failed.push(Ino::ROOT);
        } else if memory.line == "sync" {
            prop_assert!(rig.pending.is_empty());
            prop_assert_eq!(family::count(&rig.pending, None, 1), Some(1));
        }
        Ok(())
    });
}

#[test]
fn a_state_is_the_durable_disk_with_its_kept_pieces_applied() {
    programs(24, 30, |rig, memory| {
        for fate in some_fates(&rig.pending).iter().filter(|fate| fate.tear.is_none()) {
            let found = text(&rig.pending.keep(fate).tree, &[]);
            prop_assert_eq!(found, rebuilt(&rig.pending, &memory.snapshots, fate), "{:?}", fate);
        }
        Ok(())
    });
}

#[test]
fn kept_pieces_have_their_requirements() {
    programs(24, 30, |rig, _| {
        for fate in some_fates(&rig.pending) {
            let losses = rig.pending.losses(&fate);
            let is_lost = |piece: &Piece| losses.iter().any(|loss| loss.piece.seq == piece.seq);
            for (id, piece) in rig.pending.pieces().filter(|(_, piece)| !is_lost(piece)) {
                let group = rig.pending.group(id).map_or(&[][..], Group::pieces);
                let last = !group.iter().any(|other| other.seq > piece.seq && !is_lost(other));
                for need in piece.needs_as(last).filter(|need| rig.pending.binds(need)) {
                    let lacks = |l: &Loss<'_>| l.group == &need.group && l.piece.seq <= need.seq;
                    let all = rig.pending.group(&need.group).map_or(0, Group::len);
                    let lost = losses.iter().filter(|loss| loss.group == &need.group).count();
                    let none = need.or_nothing && lost == all;
                    prop_assert!(none || !losses.iter().any(lacks), "{:?} lacks {:?}", piece, need);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_fate_reads_back_and_equal_fingerprints_mean_equal_states() {
    programs(24, 30, |rig, memory| {
        for fate in some_fates(&rig.pending) {
            let line = fate.text(&rig.pending);
            let words = words(&line).expect("words");
            prop_assert_eq!(Fate::parse(&words, &rig.pending), Ok(fate.clone()), "{}", line);
            let digest = rig.pending.keep(&fate).digest;
            let fingerprint = rig.pending.fingerprint(&fate);
            let before = *memory.digests.entry(fingerprint).or_insert(digest);
            prop_assert_eq!(digest, before, "{}", line);
        }
        Ok(())
    });
}

#[test]
fn as_many_fates_are_listed_as_are_counted() {
    programs(24, 12, |rig, _| {
        for in_flight in [None, rig.pending.effects().checked_sub(1)] {
            if let Some(count) = family::count(&rig.pending, in_flight, 2_000) {
                let listed: Vec<Fate> = family::exhaustive(&rig.pending, in_flight).collect();
                prop_assert_eq!(listed.len() as u64, count);
                prop_assert_eq!(family::count(&rig.pending, in_flight, count - 1), None);
            }
        }
        Ok(())
    });
}

#[test]
fn synced_data_is_found_wherever_its_file_is_found() {
    programs(24, 30, |rig, memory| {
        if rig.pending.is_frozen() {
            return Ok(());
        }
        let words: Vec<&str> = memory.line.split(' ').collect();
        let touched = words.get(1).and_then(|path| rig.pending.live().entry_at(path));
        if let Some(ino) = touched {
            let content = rig.pending.live().node(ino).and_then(Node::content);
            match (words[0], content) {
                ("fsync" | "fdatasync", Some(content)) if !memory.failed.contains(&ino) => {
                    memory.synced.insert(ino, content.to_vec());
                }
                ("fsync-fails", _) => {
                    memory.failed.push(ino);
                    memory.synced.remove(&ino);
                }
                ("write" | "append" | "truncate" | "punch" | "zero-range", _) => {
                    memory.synced.remove(&ino);
                }
                _ => {}
            }
        }
        for fate in some_fates(&rig.pending) {
            let tree = rig.pending.keep(&fate).tree;
            for (ino, bytes) in &memory.synced {
                if let Some(content) = tree.node(*ino).and_then(Node::content) {
                    prop_assert!(content.to_vec() == *bytes, "{:?} of {:?}", fate, ino);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_directory_that_is_not_removed_is_found_once_in_every_state() {
    programs(24, 40, |rig, _| {
        let directories = |tree: &Tree| -> Vec<Ino> {
            tree.nodes()
                .filter(|(_, node)| node.directory().is_some())
                .map(|(ino, _)| ino)
                .collect()
        };
        let durable = directories(&rig.pending.keep(&Fate::nothing()).tree);
        for fate in some_fates(&rig.pending) {
            let tree = rig.pending.keep(&fate).tree;
            let mut found: Vec<Ino> = tree
                .nodes()
                .flat_map(|(_, node)| node.directory())
                .flat_map(|directory| directory.entries.values().copied())
                .filter(|ino| tree.node(*ino).is_some_and(|node| node.directory().is_some()))
                .collect();
            found.sort_unstable();
            prop_assert!(found.is_sorted_by(|a, b| a < b), "{:?}: {:?}", fate, found);
            for ino in durable.iter().filter(|ino| **ino != Ino::ROOT) {
                let removed = rig.pending.live().node(*ino).is_none();
                prop_assert!(removed || found.contains(ino), "{:?} lost {:?}", fate, ino);
            }
        }
        Ok(())
    });
}

trait EntryAt {
    fn entry_at(&self, path: &str) -> Option<Ino>;
}

impl EntryAt for Tree {
    fn entry_at(&self, path: &str) -> Option<Ino> {
        path.split('/').try_fold(Ino::ROOT, |dir, name| self.entry(dir, name.as_bytes()))
    }
}

/// The state that a fate leaves, from the durable disk and the kept pieces, one by one: a
/// version of a block is the page that the cache showed after the effect of its piece.
fn rebuilt(pending: &Pending, snapshots: &[Tree], fate: &Fate) -> String {
    let losses = pending.losses(fate);
    let is_lost = |seq: u64| losses.iter().any(|loss| loss.piece.seq == seq);
    let mut tree = pending.durable().clone();
    for (_, piece) in pending.pieces().filter(|(_, piece)| !is_lost(piece.seq)) {
        let then = &snapshots[piece.effect as usize];
        match &piece.change {
            PieceChange::Data { ino, block, more, grows, .. } => {
                for block in *block..=block + more {
                    set_page(&mut tree, *ino, block, page(then, *ino, block));
                }
                if let Some((_, size)) = grows {
                    set_size(&mut tree, *ino, *size);
                }
            }
            PieceChange::Size { ino, old, new } => {
                set_size(&mut tree, *ino, *new);
                // Where size and data are one piece, the size takes the bytes beyond it along.
                for block in new.div_ceil(PAGE as u64)..old.div_ceil(PAGE as u64) {
                    if pending.profile().hole != Home::Own {
                        set_page(&mut tree, *ino, block, None);
                    }
                }
            }
            PieceChange::Entries(changes) => {
                for change in changes.iter() {
                    tree.set_entry(change.dir, &change.name, change.new, Time::START);
                }
            }
            PieceChange::Attribute(change) => {
                let (ino, name, value) = (change.ino, &change.name[..], change.new.as_deref());
                tree.apply(&Effect::Attribute { ino, name, value }, Time::START);
            }
        }
    }
    let files: Vec<(Ino, u64)> =
        tree.nodes().filter_map(|(ino, node)| Some((ino, node.content()?.size()))).collect();
    for (ino, size) in files {
        for size in [u64::MAX, size] {
            tree.apply(&Effect::Size { ino, size }, Time::START);
        }
    }
    text(&tree, &[])
}

fn page(tree: &Tree, ino: Ino, block: u64) -> Option<SharedPage> {
    tree.node(ino)?.content()?.page(block).cloned()
}

fn set_page(tree: &mut Tree, ino: Ino, block: u64, page: Option<SharedPage>) {
    if let Some(Node { body: Body::File(content), .. }) = tree.node_mut(ino) {
        content.set_page(block, page);
    }
}

/// Sets a size and leaves the bytes beyond it, unlike `Content::resize`.
fn set_size(tree: &mut Tree, ino: Ino, size: u64) {
    let Some(Node { body: Body::File(content), .. }) = tree.node_mut(ino) else { return };
    let pages: Vec<(u64, SharedPage)> =
        content.pages().map(|(n, page)| (n, page.clone())).collect();
    content.resize(size);
    for (number, page) in pages {
        content.set_page(number, Some(page));
    }
}

/// The names in a directory and the inodes that they lead to.
fn entries(directory: &Directory) -> impl Iterator<Item = (String, Ino)> {
    directory.entries.iter().map(|(name, ino)| (String::from_utf8_lossy(name).into_owned(), *ino))
}

impl Rig {
    /// The paths of the live tree; those of directories end in a slash.
    fn paths(&self) -> impl Iterator<Item = String> {
        let tree = self.pending.live();
        let mut paths = Vec::new();
        let mut open = vec![(Ino::ROOT, String::new())];
        while let Some((dir, path)) = open.pop() {
            for (name, ino) in
                tree.node(dir).and_then(Node::directory).into_iter().flat_map(entries)
            {
                match tree.node(ino).map(|node| &node.body) {
                    Some(Body::Directory(_)) => {
                        paths.push(format!("{path}{name}/"));
                        open.push((ino, format!("{path}{name}/")));
                    }
                    _ => paths.push(format!("{path}{name}")),
                }
            }
        }
        paths.sort();
        paths.into_iter()
    }
}
