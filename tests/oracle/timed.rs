//! Times to live.

use crashpoint::{Class, CrashKind};

use crate::models::Ttl;
use crate::run::{BUFFERED, DURABLE, PASSES, Run};

#[test]
fn an_item_that_expired_before_the_crash_leaves_no_hole() {
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put a 1 100", BUFFERED);
    run.at(200).ok("put b 2", BUFFERED);
    assert_eq!(run.at(300).power("b=2"), PASSES);
    assert_eq!(run.at(300).power(""), PASSES);
    assert_eq!(run.at(300).power("a=1"), Err(Class::Resurrected));
}

#[test]
fn a_prefix_is_judged_by_what_it_shows_at_the_time_of_the_read() {
    // Without the last op the key has a deadline, with it none.
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put k 1 100", DURABLE);
    run.at(50).ok("put k 1", BUFFERED);
    assert_eq!(run.at(80).power("k=1"), PASSES);
    assert_eq!(run.at(80).power(""), Err(Class::LostWrite));
    assert_eq!(run.at(150).power("k=1"), PASSES);
    assert_eq!(run.at(150).power(""), PASSES);
}

#[test]
fn equal_states_with_different_deadlines_stay_two_candidates() {
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put k 1", DURABLE);
    run.at(10).err("put k 1 100");
    run.at(20).ok("put j 2", DURABLE);
    assert_eq!(run.oracle.candidates(), 2);
    assert_eq!(run.at(50).recovers(CrashKind::Power, "k=1 j=2"), PASSES);
    assert_eq!(run.oracle.candidates(), 2);
    let mut kept = run.clone();
    assert_eq!(kept.at(150).recovers(CrashKind::Power, "k=1 j=2"), PASSES);
    assert_eq!(kept.oracle.candidates(), 1);
    assert!(kept.at(160).power("j=2").is_err());
    assert_eq!(run.at(150).recovers(CrashKind::Power, "j=2"), PASSES);
    assert_eq!(run.at(160).power("k=1 j=2"), Err(Class::Resurrected));
}
