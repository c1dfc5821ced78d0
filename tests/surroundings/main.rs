//! A seed gives the same digest in any surroundings: another working directory, environment,
//! parent, session, processor, host name, priority, limit of the stack and, where the test may
//! choose, user.

mod rig;
mod views;

use crashpoint::{Entry, KeyValue, Seed, find, sim};
use views::Views;

fn entry() -> Entry {
    sim::<KeyValue<Views>>()
}

/// Runs in a process of its own.
#[test]
#[ignore = "the other test runs it, in several surroundings"]
fn digest() {
    let found = find(&entry(), "posix", Seed(7), 1);
    assert_eq!(found.class, None, "{}", found.report);
    rig::tell(&format!("{} {} {}", found.states, found.run, found.digest));
}

#[test]
fn an_engine_that_looks_everywhere_has_the_same_digest_everywhere() {
    let told: Vec<String> = rig::everywhere("digest");
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.iter().all(|digests| *digests == told[0]), "{told:#?}");
}
