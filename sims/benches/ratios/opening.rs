//! How much faster the event store opens with footers or a checkpoint than by replaying its
//! segments.

use std::path::Path;

use sims::engines::checkpoint::{Config, NewEvent, Store};

use crate::{median, time, tmpfs};

/// The number of events in each store, and the number of rounds.
const STORES: [(u128, usize); 3] = [(1_000, 9), (100_000, 5), (1_000_000, 3)];
/// The number of entities that the events belong to.
const ENTITIES: u128 = 1000;

/// Creates a store of this many events, and closes it cleanly.
fn fill(path: &Path, events: u128) {
    let mut store = Store::open(path, Config::default()).expect("opens");
    for number in 0..events {
        let (entity, payload) =
            (format!("entity {}", number % ENTITIES), format!("payload {number}"));
        let event = NewEvent::new(&entity, "scope", payload.as_str()).expect("encodes");
        store.append(&event.with_id(number + 1)).expect("appends");
    }
    store.close().expect("closes");
}

/// The time that an open takes, in seconds.
fn open(path: &Path, config: Config, events: u128) -> f64 {
    let mut store = None;
    let took = time(|| store = Some(Store::open(path, config).expect("opens")));
    let store = store.expect("is open");
    assert_eq!(store.len() as u128, events);
    let used = store.checkpoint_ignored().is_none();
    assert_eq!(used, config.checkpoint, "whether the checkpoint was used");
    took.as_secs_f64()
}

pub(crate) fn table() {
    println!("opening an event store with footers or a checkpoint, against a replay of all frames");
    let with = Config::default();
    let footers = Config { checkpoint: false, ..with };
    let frames = Config { footers: false, ..footers };
    for (events, rounds) in STORES {
        let dir = tmpfs();
        let path = dir.path().join("store");
        fill(&path, events);
        // All ways are measured in each round, so that all meet the same machine.
        let mut ratios = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let replayed = open(&path, frames, events);
            ratios[0].push(replayed / open(&path, footers, events));
            ratios[1].push(replayed / open(&path, with, events));
        }
        let [footers, checkpoint] = ratios.map(median);
        println!(
            "  {events:>9} events: with footers {footers:.1} times as fast, with the checkpoint \
             {checkpoint:.1}"
        );
    }
    println!();
}
