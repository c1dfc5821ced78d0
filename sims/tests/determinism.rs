//! The same seed gives the same digest: when repeated, in another process, in another order.

use std::collections::BTreeSet;

use crashpoint::{Entry, Found, Seed, find, record, sim};
use sims::append_log::AppendLog;

/// How many seeds are tried: one by default, 50 with `DETERMINISM_SEEDS=50`.
fn seeds() -> u64 {
    sims::number_from_env("DETERMINISM_SEEDS").unwrap_or(1)
}

/// For how many seeds recorded runs are compared, which is cheap.
fn runs() -> u64 {
    sims::number_from_env("DETERMINISM_RUNS").unwrap_or(4)
}

/// The most steps of these runs.
const STEPS: usize = 24;

/// All shipped sims, or those whose name contains `DETERMINISM_OF`. An exploration of the fold on
/// fjall ends with the first crash during its creation, so the comparison covers its recorded run,
/// with its threads, and little else.
fn entries() -> Vec<Entry> {
    let mut entries = sims::registry().sims;
    if let Some(part) = std::env::var_os("DETERMINISM_OF") {
        entries.retain(|entry| entry.name.contains(&*part.to_string_lossy()));
    }
    assert!(!entries.is_empty(), "no sim's name contains DETERMINISM_OF");
    entries
}

/// Explores one workload. Each call starts its own fork server, so each is another process.
fn explore(entry: &Entry, seed: u64) -> Found {
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
        // Some workloads have only a step or two, and may be equal.
        let distinct: BTreeSet<_> = digests.iter().collect();
        assert!(distinct.len() > digests.len() / 2, "{}: seeds give equal runs", entry.name);
    }
}

#[test]
fn the_order_of_seeds_does_not_matter() {
    // The folds take seconds each, and their runs come from seeds by the same code as the others.
    for entry in entries().into_iter().filter(|entry| !entry.name.starts_with("fjall")) {
        let forward: Vec<_> = (10..12).map(|seed| explore(&entry, seed).digest).collect();
        let mut backward: Vec<_> =
            (10..12).rev().map(|seed| explore(&entry, seed).digest).collect();
        backward.reverse();
        assert_eq!(forward, backward, "{}", entry.name);
    }
}

#[test]
fn different_seeds_give_different_runs() {
    let entry = sim::<AppendLog>();
    assert_ne!(explore(&entry, 1).run, explore(&entry, 2).run);
}
