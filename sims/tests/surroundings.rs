//! Shipped sims have the same digests in any surroundings.

#[path = "../../tests/surroundings/rig.rs"]
mod rig;

use crashpoint::{Entry, Seed, find};

/// The sims that are run if `SURROUNDINGS_OF` does not name others, by a part of their names, or
/// `all`.
const DEFAULT: &str = "append-log";

fn entries() -> Vec<Entry> {
    let part = std::env::var_os("SURROUNDINGS_OF");
    let part = part.map_or(DEFAULT.into(), |part| part.to_string_lossy().into_owned());
    let mut entries = sims::registry().sims;
    entries.retain(|entry| part == "all" || entry.name.contains(&part));
    assert!(!entries.is_empty(), "no sim's name contains SURROUNDINGS_OF");
    entries
}

#[test]
#[ignore = "the other test runs it, in several surroundings"]
fn digests() {
    let digest = |entry: &Entry| {
        let found = find(entry, "posix", Seed(1), 1);
        format!("{} {} {}", entry.name, found.run, found.digest)
    };
    rig::tell(&entries().iter().map(digest).collect::<Vec<_>>().join(", "));
}

#[test]
fn a_seed_gives_the_same_digest_in_any_surroundings() {
    let told = rig::everywhere("digests");
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.iter().all(|digests| *digests == told[0]), "{told:#?}");
}
