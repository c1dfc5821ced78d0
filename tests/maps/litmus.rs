//! Litmus programs that store through maps.

use std::collections::BTreeSet;

use crashpoint::Profile;
use crashpoint::inner::litmus::{Program, explore};

/// The states that a program may leave on a profile.
fn states(text: &str, profile: &Profile) -> BTreeSet<String> {
    let program = Program::parse(text).expect("a program");
    let states = explore(&program, profile, false).expect("it runs");
    states.into_iter().map(|state| state.state.join(" ")).collect()
}

const SETUP: &str = "setup\n write f 0 8192 o\nbody\n map f\n store f 0 8192 n\n";

#[test]
fn pages_that_were_stored_to_reach_the_disk_in_any_order() {
    for profile in [Profile::POSIX, Profile::EXT4, Profile::XFS] {
        let left = states(SETUP, &profile);
        let all = ["f=o*8192", "f=n*8192", "f=n*4096 o*4096", "f=o*4096 n*4096"];
        assert_eq!(left, all.map(str::to_owned).into(), "{}", profile.name);
    }
}

#[test]
fn a_sync_of_memory_keeps_its_range_alone() {
    let text = format!("{SETUP} msync f 4096 1\n mark m\n");
    for profile in [Profile::POSIX, Profile::EXT4, Profile::XFS] {
        let left = states(&text, &profile);
        let marked: BTreeSet<&str> =
            left.iter().map(String::as_str).filter(|state| state.ends_with("mark:m")).collect();
        let all = ["f=n*8192 mark:m", "f=o*4096 n*4096 mark:m"];
        assert_eq!(marked, all.into(), "{}", profile.name);
    }
}

#[test]
fn a_store_beyond_the_end_never_makes_a_file_longer() {
    let text = "setup\n write f 0 100 o\nbody\n map f\n store f 50 5000 n\n unmap f\n";
    let left = states(text, &Profile::POSIX);
    assert_eq!(left, ["f=o*100", "f=o*50 n*50"].map(str::to_owned).into());
}
