//! Ops that were refused: they had no effect, and cost no candidates.

use crashpoint::{Class, CrashKind, Level};

use crate::models::{Kv, Plain};
use crate::run::{DURABLE, FLUSHED, PASSES, Run, within};

#[test]
fn a_poisoned_store_that_refuses_everything_adds_no_candidates() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).err("put b 2");
    for key in 0..1000 {
        run.refused(&format!("put {key} x"));
        assert_eq!(run.oracle.candidates(), 2);
    }
    assert!(!run.oracle.lost_track());
    for shown in ["a=1", "a=1 b=2"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    assert_eq!(run.power("a=1 999=x"), Err(Class::Resurrected));
    assert_eq!(run.power("a=1 b=2 0=x"), Err(Class::Resurrected));
    assert_eq!(run.power("b=2"), Err(Class::Hole));
    assert_eq!(run.recovers(CrashKind::Power, "a=1 b=2"), PASSES);
    run.ok("put c 3", DURABLE);
    assert_eq!(run.power("a=1 b=2 c=3"), PASSES);
    assert_eq!(run.power("a=1 c=3"), Err(Class::Hole));
}

#[test]
fn until_it_is_refused_an_op_may_have_happened() {
    let mut run = Run::<Kv>::new();
    let step = run.issue("put a 1");
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.power(""), PASSES);
    run.refuses(step);
    assert_eq!(run.power(""), PASSES);
    assert!(run.power("a=1").is_err());
}

#[test]
fn no_part_of_a_refused_op_happened() {
    let mut run = Run::<Kv>::new();
    run.refused("loose a=1 b=2");
    assert_eq!(run.power(""), PASSES);
    for shown in ["a=1", "b=2", "a=1 b=2"] {
        assert!(run.power(shown).is_err(), "{shown}");
    }
}

#[test]
fn a_refusal_voids_promises_for_later_and_keeps_those_already_due() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", FLUSHED).ok("put b 2", within(Level::Durable, 5)).refused("put c 3");
    run.at(1000);
    assert_eq!(run.process(""), Err(Class::LostWrite));
    assert_eq!(run.process("a=1"), PASSES);
    assert_eq!(run.power(""), PASSES);
}

#[test]
fn a_refusal_does_not_affect_an_op_that_another_client_has_in_flight() {
    let mut run = Run::<Plain>::new();
    let (one, two) = (run.issue_by(0, "put a 1"), run.issue_by(1, "put b 2"));
    run.refuses(one);
    assert_eq!(run.power("b=2"), PASSES);
    assert_eq!(run.power(""), PASSES);
    run.returns(two, DURABLE);
    assert_eq!(run.power("b=2"), PASSES);
    assert_eq!(run.power(""), Err(Class::LostWrite));
    assert!(run.power("a=1 b=2").is_err());
}
