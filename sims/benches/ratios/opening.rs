//! How much faster the event store opens with its checkpoint than by a replay of its segments.

use std::path::Path;

use sims::engines::checkpoint::{Config, NewEvent, Store};

use crate::{median, time, tmpfs};

/// How many events a store holds, and how often it is opened in each way.
const STORES: [(u128, usize); 3] = [(1_000, 9), (100_000, 5), (1_000_000, 3)];
/// Whose events they are.
const ENTITIES: u128 = 1000;

/// A store of so many events, closed in good order.
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

/// How long an open takes, in seconds.
fn open(path: &Path, config: Config, events: u128) -> f64 {
    let mut store = None;
    let took = time(|| store = Some(Store::open(path, config).expect("opens")));
    let store = store.expect("is open");
    assert_eq!(store.len() as u128, events);
    assert_eq!(store.checkpoint_ignored().is_none(), config.checkpoint, "the checkpoint is used");
    took.as_secs_f64()
}

pub(crate) fn table() {
    println!("opening an event store: a replay of all frames, against what saves it");
    let with = Config::default();
    let footers = Config { checkpoint: false, ..with };
    let frames = Config { footers: false, ..footers };
    for (events, rounds) in STORES {
        let dir = tmpfs();
        let path = dir.path().join("store");
        fill(&path, events);
        // Each way takes turns with the others, so that all meet the same machine.
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
