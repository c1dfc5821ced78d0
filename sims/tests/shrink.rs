//! Planted bugs are shown small: the shrunk case replays, and breaks the same promise.
#![expect(clippy::print_stdout, reason = "prints tables for runs with more seeds")]

use std::time::Instant;

use crashpoint::inner::check::shrink_case;
use crashpoint::{Class, Entry, Seed, check_case, find};
use sims::{toy, toy_threads};

/// The most workloads of a seed to spend on one bug.
const WORKLOADS: u64 = 24;
/// The recoveries of one shrink.
const BUDGET: u64 = 2000;

/// Bugs that are found soon, one of them by an injected error; `SHRINK_ALL=1` shrinks all of them,
/// `SHRINK_SIM` the one of that name, `SHRINK_FIRST` is the first of `SHRINK_SEEDS` seeds, and
/// `SHRINK_SHOW=1` prints the cases.
const QUICK: [&str; 5] = [
    "no-dir-sync-after-create",
    "batch-not-atomic",
    "sync-error-ignored",
    "ack-before-flush",
    "flush-out-of-order",
];

fn seeds() -> std::ops::Range<u64> {
    let first = sims::number_from_env("SHRINK_FIRST").unwrap_or(0);
    first..first + sims::number_from_env("SHRINK_SEEDS").unwrap_or(1)
}

fn chosen(mut entries: Vec<Entry>) -> Vec<Entry> {
    let all = sims::number_from_env("SHRINK_ALL").is_some();
    match std::env::var_os("SHRINK_SIM") {
        Some(name) => entries.retain(|entry| name == entry.name),
        None => entries.retain(|entry| all || QUICK.contains(&entry.name)),
    }
    entries
}

/// Shrinks the first finding of each seed, and returns the steps and crashes of the results.
#[expect(clippy::disallowed_methods, reason = "the cost of a shrink is printed")]
fn shrink_each(entries: &[Entry]) {
    let (mut sizes, mut worst) = (Vec::new(), 0);
    for entry in entries {
        for seed in seeds() {
            let found = find(entry, "posix", Seed(seed), WORKLOADS);
            if found.class.is_none() {
                println!("{:<28} seed {seed} not found", entry.name);
                continue;
            }
            let started = Instant::now();
            let small = shrink_case(entry, &found.case, BUDGET);
            let small = small.unwrap_or_else(|error| panic!("{}: {error}", found.case));
            let seconds = started.elapsed().as_secs_f64();
            println!("{:<28} seed {seed} {} {seconds:.1} s", entry.name, small.summary);
            if sims::number_from_env("SHRINK_SHOW").is_some() {
                println!("{}\n{}", found.case, small.case);
            }
            assert_eq!(check_case(entry, &small.case), Ok(()), "{}", small.case);
            let line = |text: &str| {
                text.lines().find(|line| line.starts_with("expect")).map(str::to_owned)
            };
            assert_eq!(line(&small.case), line(&found.case), "the same class and promise");
            sizes.push(small.steps);
            worst = worst.max(small.crashes);
        }
    }
    sizes.sort_unstable();
    if sizes.is_empty() && std::env::var_os("SHRINK_SIM").is_some() {
        return;
    }
    assert!(!sizes.is_empty(), "something was found");
    let (median, most) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    println!("{} cases: steps median {median} worst {most}, crashes worst {worst}", sizes.len());
    assert!(median <= 4 && most <= 10, "median {median}, worst {most}");
}

#[test]
fn bugs_of_the_toy_are_shown_small() {
    shrink_each(&chosen(toy::planted()));
}

#[test]
fn bugs_of_the_toy_with_threads_are_shown_small() {
    shrink_each(&chosen(toy_threads::planted()));
}

#[test]
fn a_failure_shrinks_to_the_same_case_in_any_process() {
    let entry = chosen(toy::planted())[0];
    let found = find(&entry, "posix", Seed(0), WORKLOADS);
    let once = shrink_case(&entry, &found.case, BUDGET);
    assert_eq!(once, shrink_case(&entry, &found.case, BUDGET));
    assert!(once.is_ok());
}

#[test]
fn a_case_that_passes_is_refused() {
    let text = "sim x\nprofile posix\nseed 1\nexpect pass\nput a 1\nsync\n";
    let error = shrink_case(&crashpoint::sim::<toy::ToySim<0>>(), text, BUDGET);
    let error = error.expect_err("there is nothing to shrink").to_string();
    assert!(error.contains("nothing to shrink"), "{error}");
    let text = text.replace("pass", Class::LostWrite.name());
    let error = shrink_case(&crashpoint::sim::<toy::ToySim<0>>(), &text, BUDGET);
    let error = error.expect_err("it does not fail").to_string();
    assert!(error.contains("found no violation"), "{error}");
}
