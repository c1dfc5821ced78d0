//! Same seed, same digest: on repeats, in another process, in another order.

use crashpoint::registry::Entry;
use crashpoint::seed::Seed;
use crashpoint::{Finding, find, sim};
use sims::append_log::AppendLog;
use sims::checkpoint::Checkpoint;
use sims::document_log::DocumentLog;
use sims::fjall_fold::FjallFoldSim;
use sims::toy::ToySim;
use sims::toy_threads::ThreadsSim;

/// How many seeds are tried: a few in the default run; `DETERMINISM_SEEDS=50` for all.
fn seeds() -> u64 {
    sims::asked_for("DETERMINISM_SEEDS").unwrap_or(2)
}

/// Of the fold on fjall an exploration ends with the first crash in its creation, so that it is
/// the recorded run, with its threads, that is compared.
fn entries() -> [Entry; 6] {
    [
        sim::<AppendLog>(),
        sim::<Checkpoint>(),
        sim::<DocumentLog>(),
        sim::<FjallFoldSim>(),
        sim::<ToySim<0>>(),
        sim::<ThreadsSim<0>>(),
    ]
}

/// Each call starts a template of its own, so that each is another process.
fn explore(entry: &Entry, seed: u64) -> Finding {
    find(entry, "posix", Seed(seed), 1)
}

#[test]
fn a_seed_gives_the_same_digest_in_every_process() {
    for entry in entries() {
        for seed in 0..seeds() {
            let first = explore(&entry, seed);
            for _ in 0..2 {
                let again = explore(&entry, seed);
                assert_eq!(again.run, first.run, "{} {seed}: the recorded run", entry.name);
                assert_eq!(again.digest, first.digest, "{} {seed}: every recovery", entry.name);
            }
        }
    }
}

#[test]
fn the_order_of_seeds_does_not_matter() {
    for entry in entries() {
        let forth: Vec<_> = (10..13).map(|seed| explore(&entry, seed).digest).collect();
        let mut back: Vec<_> = (10..13).rev().map(|seed| explore(&entry, seed).digest).collect();
        back.reverse();
        assert_eq!(forth, back, "{}", entry.name);
    }
}

#[test]
fn seeds_differ() {
    let entry = sim::<AppendLog>();
    assert_ne!(explore(&entry, 1).run, explore(&entry, 2).run);
}
