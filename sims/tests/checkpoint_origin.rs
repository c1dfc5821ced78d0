//! The event store against the published crate whose format it uses: each opens the other's stores,
//! with and without the checkpoint that the other wrote. The saved cases in which the harness found
//! the crate's bugs are replayed too.

use std::fs;
use std::path::Path;

use batpak::coordinate::Coordinate;
use batpak::event::EventKind;
use batpak::store as theirs;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sims::checkpoint::origin::{Durable, Origin, Written};
use sims::engines::checkpoint::{Config, NewEvent, Store};

/// The length of a segment: about four events.
const SEGMENT_LEN: u64 = 1800;

/// An entity, a scope, a payload.
type Event = (u8, u8, String);

#[derive(Clone, Debug)]
enum Step {
    Append(Event),
    Batch(Vec<Event>),
    Compact,
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    (0..3u8, 0..3u8, prop_oneof![4 => "[a-zé]{0,12}", 1 => "[x-z]{200,400}"])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => event().prop_map(Step::Append),
        2 => vec(event(), 1..4).prop_map(Step::Batch),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn names((entity, scope, _): &Event) -> (String, String) {
    (format!("entity {entity}"), ["scope", "other", "SIDX"][usize::from(*scope)].to_owned())
}

fn our_event(id: u128, event: &Event) -> NewEvent {
    let (entity, scope) = names(event);
    let new = NewEvent::new(&entity, &scope, event.2.as_str()).expect("encodes").with_id(id);
    if id > 1 { new.caused_by(id - 1) } else { new }
}

/// Runs steps, with ids that continue after `next`.
fn run_ours(path: &Path, checkpoint: bool, steps: &[Step], next: &mut u128) {
    let config = Config { segment_len: SEGMENT_LEN, checkpoint, ..Config::default() };
    let mut store = Store::open(path, config).expect("opens");
    let mut id = || {
        *next += 1;
        *next
    };
    for step in steps {
        match step {
            Step::Append(event) => drop(store.append(&our_event(id(), event)).expect("appends")),
            Step::Batch(events) => {
                let events: Vec<NewEvent> = events.iter().map(|e| our_event(id(), e)).collect();
                store.append_batch(&events).expect("appends");
            }
            Step::Compact => drop(store.compact().expect("compacts")),
            Step::Reopen => {
                store.close().expect("closes");
                store = Store::open(path, config).expect("opens");
            }
        }
    }
    store.close().expect("closes");
}

/// The crate loses events of a batch that reaches the end of a segment, so a run with batches has
/// `len` large enough for a single segment.
fn their_config(path: &Path, checkpoint: bool, len: u64) -> theirs::StoreConfig {
    theirs::StoreConfig::new(path).with_segment_max_bytes(len).with_enable_checkpoint(checkpoint)
}

fn their_options(id: u128) -> theirs::AppendOptions {
    let options = theirs::AppendOptions::new().with_idempotency(id);
    if id > 1 { options.with_causation(id - 1) } else { options }
}

fn run_theirs(
    path: &Path,
    checkpoint: bool,
    steps: &[Step],
    next: &mut u128,
    crashed: Option<&Path>,
) {
    let batches = steps.iter().any(|step| matches!(step, Step::Batch(_)));
    let len = if batches { 1 << 20 } else { SEGMENT_LEN };
    let open = || theirs::Store::open(their_config(path, checkpoint, len)).expect("opens");
    let mut store = open();
    let mut id = || {
        *next += 1;
        *next
    };
    let place = |event: &Event| {
        let (entity, scope) = names(event);
        Coordinate::new(entity, scope).expect("is a coordinate")
    };
    for step in steps {
        match step {
            Step::Append(event) => {
                let options = their_options(id());
                let appended =
                    store.append_with_options(&place(event), EventKind::DATA, &event.2, options);
                appended.expect("appends");
            }
            Step::Batch(events) => {
                // In a batch the crate only compares the caller's id and does not store it.
                let item = |event: &Event| {
                    let (options, none) =
                        (theirs::AppendOptions::new(), theirs::CausationRef::None);
                    let kind = EventKind::DATA;
                    theirs::BatchAppendItem::new(place(event), kind, &event.2, options, none)
                        .expect("encodes")
                };
                store.append_batch(events.iter().map(item).collect()).expect("appends");
            }
            Step::Compact => {
                store.compact(&theirs::CompactionConfig::default()).expect("compacts");
            }
            Step::Reopen => {
                store.close().expect("closes");
                store = open();
            }
        }
    }
    // The state that a crash of the process would leave.
    if let Some(crashed) = crashed {
        copy(path, crashed);
    }
    store.close().expect("closes");
}

/// Sequence, id, entity, scope, clock, cause, time, hashes and payload of each event, in order; and
/// whether the checkpoint was used.
fn read_ours(path: &Path, config: Config) -> (Vec<String>, bool) {
    let mut store = Store::open(path, config).expect("opens");
    let used = store.checkpoint_ignored().is_none();
    let ids: Vec<u128> = store.entries().map(|(entry, ..)| entry.id).collect();
    let mut lines = Vec::new();
    for id in ids {
        let event = store.get(id).expect("reads");
        store.verify(&event.entity).expect("is a chain");
        let payload: &str = event.decode().expect("is a string");
        let e = &event.entry;
        lines.push(format!(
            "{} {id} {}@{} {} {:?} {} {:x?} {:x?} {payload}",
            e.sequence,
            event.entity,
            event.scope,
            e.clock,
            e.causation,
            e.wall_ms,
            e.prev_hash,
            e.event_hash
        ));
    }
    (lines, used)
}

fn read_theirs(path: &Path, checkpoint: bool) -> Vec<String> {
    let store = theirs::Store::open(their_config(path, checkpoint, 1 << 20)).expect("opens");
    let mut lines = Vec::new();
    for entry in store.query(&batpak::coordinate::Region::all()) {
        let event = store.get(entry.event_id).expect("reads");
        let payload = event.event.payload.as_str().expect("is a string").to_owned();
        let chain = event.event.hash_chain.expect("is there");
        assert_eq!(chain, entry.hash_chain);
        lines.push(format!(
            "{} {} {}@{} {} {:?} {} {:x?} {:x?} {payload}",
            entry.global_sequence,
            entry.event_id,
            event.coordinate.entity(),
            event.coordinate.scope(),
            entry.clock,
            entry.causation_id,
            entry.wall_ms,
            chain.prev_hash,
            chain.event_hash,
        ));
    }
    assert_eq!(store.stats().event_count, lines.len());
    // The store is not closed, since a close would write.
    lines
}

/// Copies a store, for an open by the crate, which writes to it.
fn copy(path: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes");
    for entry in fs::read_dir(path).expect("lists") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

/// Reads a store in every way, all of which must show the same; returns that, and whether our open
/// used the checkpoint.
fn read_all(dir: &Path, path: &Path, name: &str) -> (Vec<String>, bool) {
    let plain = Config { checkpoint: false, footers: false, ..Config::default() };
    let (wanted, _) = read_ours(path, plain);
    let (found, used) = read_ours(path, Config::default());
    assert_eq!(found, wanted, "ours, with the checkpoint");
    for checkpoint in [true, false] {
        let to = dir.join(format!("{name}-{checkpoint}"));
        copy(path, &to);
        let found = read_theirs(&to, checkpoint);
        // The crate numbers the events that it replays after a checkpoint from 0 again.
        let (found, wanted) = match (name, checkpoint) {
            ("crashed", true) => (unnumbered(&found), unnumbered(&wanted)),
            _ => (found, wanted.clone()),
        };
        assert_eq!(found, wanted, "theirs, checkpoint: {checkpoint}");
    }
    (wanted, used)
}

/// The lines without their sequence numbers, sorted.
fn unnumbered(lines: &[String]) -> Vec<String> {
    let rest = |line: &String| line.split_once(' ').map(|(_, rest)| rest.to_owned());
    let mut lines: Vec<String> = lines.iter().filter_map(rest).collect();
    lines.sort();
    lines
}

fn workloads(count: usize) -> Vec<(Vec<Step>, Vec<Step>, bool)> {
    let mut runner = TestRunner::deterministic();
    let strategy = (vec(step(), 0..40), vec(step(), 0..20), any::<bool>());
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("generates").current()).collect()
}

#[test]
fn the_origin_reads_and_continues_our_stores() {
    let (mut events, mut used_by_us) = (0, 0);
    for (steps, more, checkpoint) in workloads(40) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store");
        let mut next = 0;
        run_ours(&path, checkpoint, &steps, &mut next);
        let (before, _) = read_all(dir.path(), &path, "first");
        run_theirs(&path, checkpoint, &more, &mut next, None);
        let (after, used) = read_all(dir.path(), &path, "second");
        assert_eq!(after[..before.len()], before);
        events += after.len();
        used_by_us += usize::from(used);
    }
    assert!(events > 800, "only {events} events were compared");
    assert!(used_by_us > 10, "their checkpoint was used only {used_by_us} times");
}

#[test]
fn our_store_reads_and_continues_the_origins() {
    let (mut events, mut used_by_us) = (0, 0);
    for (steps, more, checkpoint) in workloads(40) {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, crashed) = (dir.path().join("store"), dir.path().join("crashed"));
        let mut next = 0;
        run_theirs(&path, checkpoint, &steps, &mut next, Some(&crashed));
        let (before, used) = read_all(dir.path(), &path, "first");
        let (same, _) = read_all(dir.path(), &crashed, "crashed");
        assert_eq!(same, before);
        for path in [&path, &crashed] {
            run_ours(path, checkpoint, &more, &mut next);
            let name = if *path == crashed { "third" } else { "second" };
            let (after, _) = read_all(dir.path(), path, name);
            assert_eq!(after[..before.len()], before);
            events += after.len();
        }
        used_by_us += usize::from(used);
    }
    assert!(events > 1600, "only {events} events were compared");
    assert!(used_by_us > 10, "their checkpoint was used only {used_by_us} times");
}

#[test]
fn each_saved_case_of_the_origin_still_reproduces() {
    let folder = sims::corpus().join("origins/batpak");
    crashpoint::check_corpus::<Origin<Durable>>(&folder);
    crashpoint::check_corpus::<Origin<Written>>(&folder);
}
