//! Tests the toy on a real directory, its recovery from every image that a crash can leave of its
//! log, and each planted bug that shows without a simulated disk.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const SECTOR: usize = 512;

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

fn add(key: &str, n: i64) -> Op {
    Op::Add { key: key.into(), n }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &TempDir, bug: Option<Bug>) -> Toy {
    Toy::open(dir.path(), bug).expect("opens")
}

/// Keys and values, as text.
fn shown(toy: &Toy) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    toy.scan().map(|(key, value)| format!("{}={}", text(key), text(value))).collect()
}

/// The log of the store in a directory.
fn the_log(dir: &TempDir) -> PathBuf {
    let logs = logs(dir.path(), 0, Some(Bug::OldLogsReplayed)).expect("lists");
    assert_eq!(logs.len(), 1);
    logs[0].clone()
}

/// Batches of one op and of several, values longer than a sector, a value of zeros.
fn batches() -> Vec<Vec<Op>> {
    let mut batches = vec![
        vec![put("a", b"1")],
        vec![put("large", &[b'v'; 700]), add("n", 5), delete("a")],
        vec![put("zeros", &[0; 600])],
        vec![add("n", -2)],
        vec![put("larger", &[b'w'; 1100])],
    ];
    for i in 0..15 {
        batches.push(vec![put(&format!("key{i}"), &[b'x'; 30]), add("n", i)]);
    }
    batches
}

/// A log, and the ends of its batches.
fn written(batches: &[Vec<Op>]) -> (Vec<u8>, Vec<usize>) {
    let mut log = Vec::new();
    let mut ends = vec![0];
    for batch in batches {
        encode(&mut log, batch, None);
        ends.push(log.len());
    }
    (log, ends)
}

/// Calls `visit` with each image of a log that has lost any of its sectors and is of any size.
fn images(log: &[u8], mut visit: impl FnMut(&[u8])) {
    let sectors = log.len().div_ceil(SECTOR);
    for kept in 0..1_usize << sectors {
        let mut image = log.to_vec();
        for (sector, bytes) in image.chunks_mut(SECTOR).enumerate() {
            if kept >> sector & 1 == 0 {
                bytes.fill(0);
            }
        }
        for size in 0..=log.len() {
            visit(&image[..size]);
        }
    }
}

#[test]
fn every_image_of_a_log_replays_the_whole_batches_before_the_first_lost_byte() {
    let batches = batches();
    let (log, ends) = written(&batches);
    assert_eq!(log.len().div_ceil(SECTOR), 7);
    let mut seen = 0;
    images(&log, |image| {
        let intact = |end: &&usize| image.get(..**end) == Some(&log[..**end]);
        let wanted = ends.iter().take_while(intact).count() - 1;
        let found = replay(image, None);
        assert_eq!(found.end, ends[wanted]);
        assert_eq!(found.ops, batches[..wanted].concat());
        seen += 1;
    });
    assert_eq!(seen, 128 * (log.len() + 1));
}

#[test]
fn every_planted_bug_of_replay_shows_in_some_image() {
    let (log, _) = written(&batches());
    for bug in
        [Bug::CutRecordAccepted, Bug::ZerosAreRecords, Bug::ChecksumIgnored, Bug::DamageSkipped]
    {
        let mut differ = 0;
        // Not every image: skipping damage byte by byte is slow.
        let mut at = 0;
        images(&log, |image| {
            at += 1;
            let looked_at = at % 61 == 0;
            differ += usize::from(looked_at && replay(image, Some(bug)) != replay(image, None));
        });
        assert!(differ > 0, "{bug:?}");
    }
}

#[test]
fn a_store_whose_log_is_cut_or_zero_filled_anywhere_shows_a_prefix_and_works() {
    let source = dir();
    let mut toy = open(&source, None);
    let mut states = vec![shown(&toy)];
    toy.put(b"a", b"1").expect("puts");
    states.push(shown(&toy));
    toy.batch(&[put("b", b"2"), add("n", 3), delete("a")]).expect("writes");
    states.push(shown(&toy));
    toy.add(b"n", 4).expect("adds");
    states.push(shown(&toy));
    let log = the_log(&source);
    let whole = fs::read(&log).expect("reads");
    let mut reached = BTreeSet::new();
    for size in 0..=whole.len() {
        for zeros in [0, 40] {
            let copy = dir();
            for entry in fs::read_dir(source.path()).expect("lists") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("has a name");
                fs::copy(&path, copy.path().join(name)).expect("copies");
            }
            let mut torn = whole[..size].to_vec();
            torn.resize(size + zeros, 0);
            fs::write(copy.path().join(log.file_name().expect("has a name")), torn)
                .expect("writes");

            let mut toy = open(&copy, None);
            let found = states.iter().position(|state| *state == shown(&toy));
            reached.insert(found.expect("a prefix"));
            toy.put(b"z", b"new").expect("puts");
            let live = shown(&toy);
            drop(toy);
            assert_eq!(shown(&open(&copy, None)), live);
        }
    }
    assert_eq!(reached, (0..states.len()).collect());
}

#[test]
fn a_pointer_mixed_from_two_generations_is_invalid() {
    let (old, new) = (pointer_bytes(7, 100), pointer_bytes(8, 200));
    assert_eq!(parse_pointer(&old), Some((7, 100)));
    for mix in 0..1 << (POINTER_LEN / SECTOR) {
        let mut pointer = old.clone();
        for sector in (0..POINTER_LEN / SECTOR).filter(|sector| mix >> sector & 1 == 1) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            pointer[range.clone()].copy_from_slice(&new[range]);
        }
        match parse_pointer(&pointer) {
            Some((7, 100)) => assert_eq!(pointer, old),
            Some((8, 200)) => assert_eq!(pointer, new),
            other => assert_eq!(other, None),
        }
    }
    for size in 0..POINTER_LEN {
        assert_eq!(parse_pointer(&new[..size]), None);
    }
}

/// A workload that reaches the code of every planted bug, and checks the items on the way.
fn workload(dir: &Path, bug: Option<Bug>) -> Vec<String> {
    let mut toy = Toy::open(dir, bug).expect("opens");
    assert!(toy.is_empty());
    for round in 0..3 {
        toy.put(b"round", round.to_string().as_bytes()).expect("puts");
        toy.add(b"n", 2).expect("adds");
        toy.batch(&[put("x", b"1"), add("n", 10), delete("gone")]).expect("writes");
        toy.sync().expect("syncs");
        toy.put(b"gone", b"soon").expect("puts");
        toy.checkpoint().expect("checkpoints");
        toy.add(b"n", 1).expect("adds");
        toy.delete(b"x").expect("deletes");
        drop(toy);
        toy = Toy::open(dir, bug).expect("opens");
        assert_eq!(toy.get(b"n"), Some((13 * (round + 1)).to_string().as_bytes()));
        assert_eq!((toy.get(b"x"), toy.len()), (None, 3));
    }
    shown(&toy)
}

#[test]
fn without_a_crash_or_a_fault_no_bug_shows() {
    for bug in Bug::ALL.map(Some).into_iter().chain([None]) {
        assert_eq!(workload(dir().path(), bug), ["gone=soon", "n=39", "round=2"], "{bug:?}");
    }
}

#[test]
fn a_generation_replaces_all_files_of_its_predecessor() {
    let dir = dir();
    workload(dir.path(), None);
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["CURRENT", "log-7", "snap-7"]);
}

#[test]
fn a_refused_op_changes_nothing_and_the_store_still_works() {
    let dir = dir();
    let mut toy = open(&dir, None);
    toy.put(b"word", b"no number").expect("puts");
    toy.put(b"most", i64::MAX.to_string().as_bytes()).expect("puts");
    for refused in [
        toy.add(b"word", 1),
        toy.add(b"most", 1),
        toy.put(&[b'k'; 65_536], b""),
        toy.batch(&[put("x", b"1"), add("word", 1)]),
    ] {
        assert_eq!(refused.expect_err("refuses").kind(), ErrorKind::InvalidInput);
    }
    toy.batch(&[put("fresh", b"41"), add("fresh", 1)]).expect("writes");
    let live = shown(&toy);
    assert_eq!(live.len(), 3);
    drop(toy);
    assert_eq!(shown(&open(&dir, None)), live);
}

#[test]
fn after_a_failed_checkpoint_every_change_is_refused_until_the_store_is_opened_again() {
    let dir = dir();
    let mut toy = open(&dir, None);
    toy.put(b"a", b"1").expect("puts");
    // A directory in the pointer's place refuses the rename.
    let (pointer, aside) = (dir.path().join("CURRENT"), dir.path().join("aside"));
    fs::rename(&pointer, &aside).expect("renames");
    fs::create_dir(&pointer).expect("creates");
    assert!(toy.checkpoint().is_err());
    fs::remove_dir(&pointer).expect("removes");
    fs::rename(&aside, &pointer).expect("renames");
    assert!(toy.put(b"b", b"2").is_err());
    assert!(toy.batch(&[]).is_err());
    assert!(toy.sync().is_err());
    assert!(toy.checkpoint().is_err());
    assert_eq!(shown(&toy), ["a=1"]);
    drop(toy);
    let mut toy = open(&dir, None);
    toy.put(b"b", b"2").expect("puts");
    assert_eq!(shown(&toy), ["a=1", "b=2"]);
}

#[test]
fn the_bugs_of_recovery_and_of_files_show_on_files_that_a_crash_could_leave() {
    // A tail torn in the second record, then another put, then another opening.
    let after_torn_tail = |bug| {
        let dir = dir();
        let mut toy = open(&dir, None);
        toy.put(b"a", b"1").expect("puts");
        toy.put(b"b", b"2").expect("puts");
        drop(toy);
        let log = the_log(&dir);
        let bytes = fs::read(&log).expect("reads");
        fs::write(&log, &bytes[..bytes.len() - 1]).expect("writes");
        let mut toy = Toy::open(dir.path(), bug).ok()?;
        toy.put(b"c", b"3").expect("puts");
        drop(toy);
        Some(shown(&open(&dir, bug)))
    };
    let texts = |items: &[&str]| Some(items.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(after_torn_tail(None), texts(&["a=1", "c=3"]));
    assert_eq!(after_torn_tail(Some(Bug::TornTailKept)), texts(&["a=1"]));
    assert_eq!(after_torn_tail(Some(Bug::TornTailFatal)), None);

    // A crash after a checkpoint, before the old log was deleted.
    let with_old_log = |bug| {
        let dir = dir();
        let mut toy = open(&dir, bug);
        toy.add(b"n", 5).expect("adds");
        let log = the_log(&dir);
        let bytes = fs::read(&log).expect("reads");
        toy.checkpoint().expect("checkpoints");
        drop(toy);
        fs::write(&log, bytes).expect("writes");
        shown(&open(&dir, bug))
    };
    assert_eq!(with_old_log(None), ["n=5"]);
    assert_eq!(with_old_log(Some(Bug::OldLogsReplayed)), ["n=10"]);

    // A crash inside a batch.
    let inside_batch = |bug| {
        let dir = dir();
        let mut toy = open(&dir, bug);
        toy.batch(&[put("a", b"1"), put("b", b"2")]).expect("writes");
        drop(toy);
        let log = the_log(&dir);
        let bytes = fs::read(&log).expect("reads");
        fs::write(&log, &bytes[..bytes.len() - 1]).expect("writes");
        shown(&open(&dir, bug))
    };
    assert_eq!(inside_batch(None), Vec::<String>::new());
    assert_eq!(inside_batch(Some(Bug::BatchNotAtomic)), ["a=1"]);
}

#[test]
fn every_bug_has_a_name_and_a_pattern_of_its_own() {
    let names: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    assert_eq!(names.len(), Bug::ALL.len());
    let all: BTreeSet<_> = Bug::ALL.into_iter().collect();
    assert_eq!(all.len(), Bug::ALL.len());
    for bug in Bug::ALL {
        assert!(bug.pattern().starts_with('P'), "{bug:?}");
    }
}
