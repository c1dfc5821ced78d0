//! Same seed, same digest: on repeats, in another process, in another order.

use std::collections::BTreeSet;

use crashpoint::base::seed::Seed;
use crashpoint::campaign::registry::Entry;
use crashpoint::{Finding, find, record, sim};
use sims::append_log::AppendLog;

/// How many seeds are tried: one in the default run; `DETERMINISM_SEEDS=50` for all.
fn seeds() -> u64 {
    sims::number_from_env("DETERMINISM_SEEDS").unwrap_or(1)
}

/// For how many seeds the recorded runs are compared, which cost little.
fn runs() -> u64 {
    sims::number_from_env("DETERMINISM_RUNS").unwrap_or(4)
}

/// The longest of these runs.
const STEPS: usize = 24;

/// All sims that are shipped, or those whose name contains `DETERMINISM_OF`. Of the fold on fjall
/// an exploration ends with the first crash in its creation, so that it is the recorded run, with
/// its threads, that is compared.
fn entries() -> Vec<Entry> {
    let mut entries = sims::registry().sims;
    if let Some(part) = std::env::var_os("DETERMINISM_OF") {
        entries.retain(|entry| entry.name.contains(&*part.to_string_lossy()));
    }
    assert!(!entries.is_empty(), "DETERMINISM_OF is part of no sim's name");
    entries
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
fn a_seed_gives_the_same_recorded_run_in_every_process() {
    for entry in entries() {
        let all = || (0..runs()).map(|seed| record(&entry, "posix", Seed(100 + seed), STEPS).run);
        let digests: Vec<_> = all().collect();
        for _ in 0..2 {
            assert!(all().eq(digests.iter().copied()), "{}", entry.name);
        }
        // Some workloads are of a step or two, and may be the same.
        let distinct: BTreeSet<_> = digests.iter().collect();
        assert!(distinct.len() > digests.len() / 2, "{}: seeds differ", entry.name);
    }
}

#[test]
fn the_order_of_seeds_does_not_matter() {
    // The folds take seconds each, and are made from their seeds by the same code as the others.
    for entry in entries().into_iter().filter(|entry| !entry.name.starts_with("fjall")) {
        let forth: Vec<_> = (10..12).map(|seed| explore(&entry, seed).digest).collect();
        let mut back: Vec<_> = (10..12).rev().map(|seed| explore(&entry, seed).digest).collect();
        back.reverse();
        assert_eq!(forth, back, "{}", entry.name);
    }
}

#[test]
fn seeds_differ() {
    let entry = sim::<AppendLog>();
    assert_ne!(explore(&entry, 1).run, explore(&entry, 2).run);
}
