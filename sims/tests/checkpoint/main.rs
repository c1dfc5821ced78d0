//! The event store in a real directory: its features, repairs and refusals.

mod damage;
mod refusals;
mod rig;

use std::fs;

use rig::{dump, files, fill, numbered, open, place, plain, segment};
use sims::engines::checkpoint::{Config, NewEvent, Store, StoreError};

fn event(entity: &str, payload: &str) -> NewEvent {
    NewEvent::new(entity, "scope", payload).expect("encodes")
}

#[test]
fn appended_events_are_read_back_by_id_and_by_entity() {
    let (_dir, path) = place();
    let mut store = open(&path);
    let first = store.append(&event("user:1", "made")).expect("appends");
    let second = store.append(&event("user:1", "named").caused_by(first.id)).expect("appends");
    let other = store.append(&event("user:2", "made")).expect("appends");
    assert_eq!((first.sequence, second.sequence, other.sequence), (0, 1, 2));
    assert_eq!((first.clock, second.clock, other.clock), (0, 1, 0));
    store.close().expect("closes");
    for config in [Config::default(), plain()] {
        let mut store = Store::open(&path, config).expect("opens");
        assert_eq!(store.checkpoint_ignored().is_none(), config.checkpoint);
        let read = store.get(second.id).expect("reads");
        assert_eq!(read.decode::<&str>().expect("decodes"), "named");
        assert_eq!((read.entity.as_str(), read.scope.as_str()), ("user:1", "scope"));
        assert_eq!((read.entry.causation, read.entry.correlation), (Some(first.id), second.id));
        let clocks: Vec<u32> = store.stream("user:1").map(|entry| entry.clock).collect();
        assert_eq!(clocks, [0, 1]);
        store.verify("user:1").expect("is a chain");
        assert_eq!(store.stream("nobody").count(), 0);
        assert_eq!(store.stream("").count(), 0);
        assert!(matches!(store.get(7), Err(StoreError::NotFound(7))));
        assert_eq!((store.len(), store.next_sequence()), (3, 3));
    }
}

#[test]
fn an_id_is_stored_only_once_and_an_expected_clock_is_checked() {
    let (_dir, path) = place();
    let mut store = open(&path);
    let first = store.append(&event("a", "1").with_id(7)).expect("appends");
    assert_eq!(store.append(&event("a", "2").with_id(7)).expect("is there"), first);
    let batch = [event("a", "3").with_id(8), event("b", "4").with_id(9)];
    let receipts = store.append_batch(&batch).expect("appends");
    assert_eq!(store.append_batch(&batch).expect("is there"), receipts);
    let partly = [event("a", "3").with_id(8), event("b", "5").with_id(10)];
    assert!(matches!(store.append_batch(&partly), Err(StoreError::PartlyStored)));
    let expects = |clock| NewEvent { expected_clock: Some(clock), ..event("a", "6") };
    let refused = store.append(&expects(0));
    assert!(matches!(refused, Err(StoreError::ClockMismatch { actual: Some(1), .. })));
    assert_eq!(store.append(&expects(1)).expect("appends").clock, 2);
    assert_eq!(store.append_batch(&[]).expect("is nothing"), []);
    assert_eq!(store.len(), 4);
}

#[test]
fn what_the_format_cannot_hold_is_refused_and_nothing_is_written() {
    let (dir, path) = place();
    let mut store = open(&path);
    let long = "x".repeat(1025);
    let table = [
        (NewEvent { entity: String::new(), ..event("a", "") }, "the entity has 0 bytes"),
        (NewEvent { entity: long.clone(), ..event("a", "") }, "the entity has 1025 bytes"),
        (NewEvent { scope: String::new(), ..event("a", "") }, "the scope has 0 bytes"),
        (NewEvent { scope: long, ..event("a", "") }, "the scope has 1025 bytes"),
        (NewEvent { kind: 0x0006, ..event("a", "") }, "kind 0x0006 is reserved"),
        (NewEvent { kind: 0xd001, ..event("a", "") }, "kind 0xd001 is reserved"),
        (event("a", "").caused_by(0), "no event has the id 0"),
    ];
    for (event, says) in table {
        for error in [store.append(&event).map(drop), store.append_batch(&[event]).map(drop)] {
            let error = error.expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
    let twice = [event("a", "1").with_id(1), event("a", "2").with_id(1)];
    assert!(matches!(store.append_batch(&twice), Err(StoreError::InvalidEvent(_))));
    let expects = NewEvent { expected_clock: Some(0), ..event("a", "1") };
    assert!(matches!(store.append_batch(&[expects]), Err(StoreError::InvalidEvent(_))));
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn segments_are_finished_by_length_and_never_inside_a_batch() {
    let (dir, path) = place();
    let mut store = Store::open(&path, Config { segment_len: 2000, ..plain() }).expect("opens");
    for batch in 0..4 {
        let events: Vec<NewEvent> = (0..9).map(|n| numbered(100 + batch * 9 + n)).collect();
        store.append_batch(&events).expect("appends");
    }
    drop(store);
    assert_eq!(files(&dir), ["000001.fbat", "000002.fbat", "000003.fbat", "000004.fbat"]);
    // Each segment holds only whole batches.
    for id in 1..=4 {
        let (_alone, path) = place();
        let data = fs::read(segment(&dir, id)).expect("reads");
        fs::create_dir_all(&path).expect("makes");
        fs::write(path.join(format!("{id:06}.fbat")), data).expect("writes");
        assert_eq!(Store::open(&path, plain()).expect("opens").len(), 9);
    }
}

#[test]
fn a_last_segment_torn_anywhere_shows_a_prefix_and_accepts_appends() {
    let (dir, path) = place();
    let mut store = open(&path);
    fill(&mut store, 0..2);
    store.append_batch(&[numbered(2), numbered(3)]).expect("appends");
    fill(&mut store, 4..6);
    drop(store);
    let whole = fs::read(segment(&dir, 1)).expect("reads");
    let mut lens = std::collections::BTreeSet::new();
    for size in (0..whole.len()).step_by(83).chain([whole.len()]) {
        for zeros in [0, 3, 1100] {
            let (dir, path) = place();
            fs::create_dir_all(&path).expect("makes");
            let mut torn = whole[..size].to_vec();
            torn.resize(size + zeros, 0);
            fs::write(segment(&dir, 1), &torn).expect("writes");
            let before = dump(&path, plain());
            assert!([0, 1, 2, 4, 5, 6].contains(&before.len()), "{size}: {}", before.len());
            lens.insert(before.len());
            let mut store = open(&path);
            fill(&mut store, 10..12);
            store.sync().expect("syncs");
            drop(store);
            let after = dump(&path, plain());
            assert_eq!(after[..before.len()], before, "torn at {size} and {zeros} zeros");
            assert_eq!(after.len(), before.len() + 2);
            open(&path).close().expect("closes");
            assert_eq!(dump(&path, Config::default()), after);
        }
    }
    assert_eq!(lens.into_iter().collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6]);
}

#[test]
fn an_open_batch_does_not_swallow_what_the_next_session_appends() {
    let (dir, path) = place();
    let mut store = open(&path);
    fill(&mut store, 0..1);
    let before = fs::metadata(segment(&dir, 1)).expect("is there").len();
    store.append_batch(&(1..5).map(numbered).collect::<Vec<_>>()).expect("appends");
    drop(store);
    let file = fs::File::options().write(true).open(segment(&dir, 1)).expect("opens");
    let len = file.metadata().expect("is there").len();
    // Without the frame that commits the batch, and one more.
    file.set_len(before + (len - before) * 3 / 5).expect("cuts");
    for session in 0..3 {
        let mut store = open(&path);
        fill(&mut store, 10 + session * 10..14 + session * 10);
        store.sync().expect("syncs");
        if session == 1 {
            store.close().expect("closes");
        }
    }
    assert_eq!(dump(&path, plain()).len(), 13);
    assert_eq!(dump(&path, Config::default()).len(), 13);
}

#[test]
fn compaction_leaves_one_segment_and_the_same_answers() {
    let (dir, path) = place();
    let mut store =
        Store::open(&path, Config { segment_len: 900, ..Config::default() }).expect("opens");
    fill(&mut store, 0..9);
    store.append_batch(&[numbered(9), numbered(10)]).expect("appends");
    let before: Vec<_> = (0..11).map(|n| store.get(n + 1).expect("reads").payload).collect();
    let copies: Vec<(String, Vec<u8>)> = files(&dir)
        .into_iter()
        .map(|name| (name.clone(), fs::read(path.join(name)).expect("reads")))
        .collect();
    let compacted = store.compact().expect("compacts");
    assert!(compacted.segments_removed >= 3 && compacted.bytes_reclaimed > 0, "{compacted:?}");
    let merged = copies.last().expect("some").0.clone();
    assert_eq!(files(&dir), [merged.clone(), "index.ckpt".into()]);
    let after: Vec<_> = (0..11).map(|n| store.get(n + 1).expect("reads").payload).collect();
    assert_eq!(before, after);
    fill(&mut store, 11..13);
    store.close().expect("closes");
    let whole = dump(&path, plain());
    assert_eq!(whole.len(), 13);
    assert_eq!(dump(&path, Config::default()), whole);
    // A crash before the old segments are removed leaves events in two segments.
    for (name, data) in copies.iter().filter(|(name, _)| !path.join(name).exists()) {
        fs::write(path.join(name), data).expect("writes");
        assert_eq!(dump(&path, plain()), whole, "{name}");
        assert_eq!(dump(&path, Config::default()), whole, "{name}");
    }
    assert_eq!(files(&dir).len(), copies.len() + 2);
    let mut store = open(&path);
    store.compact().expect("compacts");
    store.close().expect("closes");
    assert_eq!(files(&dir).len(), 2);
    assert_eq!(Store::open(&path, plain()).expect("opens").len(), 13);
}

#[test]
fn an_interrupted_compaction_of_the_origin_is_rolled_back() {
    let (dir, path) = place();
    let mut store = Store::open(&path, Config { segment_len: 900, ..plain() }).expect("opens");
    fill(&mut store, 0..6);
    drop(store);
    let whole = dump(&path, plain());
    let first = fs::read(segment(&dir, 1)).expect("reads");
    // The merged segment is missing, empty, torn, or has only the first of several sources.
    for merged in [None, Some(0), Some(200), Some(first.len())] {
        fs::write(path.join("000001.fbat.compact-src"), &first).expect("writes");
        fs::remove_file(segment(&dir, 1)).expect("removes");
        if let Some(len) = merged {
            fs::write(segment(&dir, 1), &first[..len]).expect("writes");
        }
        assert_eq!(dump(&path, plain()), whole, "{merged:?}");
        assert!(!path.join("000001.fbat.compact-src").exists());
    }
}

#[test]
fn the_stores_own_leftovers_are_removed_and_other_files_are_not() {
    let (dir, path) = place();
    fs::create_dir_all(&path).expect("makes");
    for name in ["index.ckpt.tmp", "000001.fbat.tmp", "1.fbat", "notes.txt", "x.fbat"] {
        fs::write(path.join(name), b"left over").expect("writes");
    }
    assert!(open(&path).is_empty());
    assert_eq!(files(&dir), ["1.fbat", "notes.txt", "x.fbat"]);
}

#[test]
fn an_append_syncs_when_the_policy_says_so() {
    let (_dir, path) = place();
    let mut store =
        Store::open(&path, Config { sync_every: 3, ..Config::default() }).expect("opens");
    let mut seen = Vec::new();
    for n in 0..7 {
        store.append(&numbered(n)).expect("appends");
        seen.push(store.unsynced());
    }
    assert_eq!(seen, [1, 2, 0, 1, 2, 0, 1]);
    store.set_sync_every(0);
    fill(&mut store, 7..12);
    assert_eq!(store.unsynced(), 6);
    store.append_batch(&[numbered(12)]).expect("appends");
    assert_eq!(store.unsynced(), 0);
}
