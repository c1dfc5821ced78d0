//! Orders other than one prefix of the whole history.

use crashpoint::inner::oracle::NoViolation;
use crashpoint::{Class, CrashKind, Order, Promises};

use crate::models::{Kv, Plain};
use crate::run::{BUFFERED, DURABLE, FLUSHED, PASSES, Run};

fn per_key() -> Promises<Kv> {
    Promises { order: Order::PerKey, ..Promises::default() }
}

/// The part of an item is its first letter.
fn letter(item: &[u8]) -> Vec<u8> {
    item[..1].to_vec()
}

fn per_letter() -> Promises<Kv> {
    Promises { order: Order::PrefixPerPart(letter), ..Promises::default() }
}

#[test]
fn a_hole_between_keys_passes_only_per_key() {
    let (mut key, mut prefix) = (Run::with(per_key()), Run::<Kv>::new());
    for run in [&mut key, &mut prefix] {
        run.ok("put a 1", BUFFERED).ok("put b 2", BUFFERED).ok("put b 3", BUFFERED);
    }
    assert_eq!(prefix.power("b=3"), Err(Class::Hole));
    for shown in ["", "a=1", "b=2", "b=3", "a=1 b=3"] {
        assert_eq!(key.power(shown), PASSES, "{shown}");
    }
    assert_eq!(key.power("a=2"), Err(Class::PhantomValue));
    assert_eq!(key.power("c=2"), Err(Class::PhantomValue));
}

#[test]
fn an_acknowledgement_covers_its_own_key_and_a_sync_covers_all() {
    let mut run = Run::with(per_key());
    run.ok("put a 1", BUFFERED).ok("put b 2", BUFFERED).ok("put b 3", DURABLE);
    assert_eq!(run.power("b=3"), PASSES);
    assert_eq!(run.power("a=1 b=2"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    run.ok("del c", DURABLE);
    assert_eq!(run.power("b=3"), PASSES, "a delete of nothing is no sync");
    run.ok("sync", DURABLE);
    assert_eq!(run.power("b=3"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1 b=3"), PASSES);
}

#[test]
fn an_op_that_names_no_items_covers_what_it_changed() {
    let order = Order::PerKey;
    let mut run = Run::<Plain>::with(Promises { order, ..Promises::default() });
    run.ok("put a 1", BUFFERED).ok("put b 2", DURABLE);
    assert_eq!(run.power("b=2"), PASSES);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    run.ok("sync", DURABLE);
    assert_eq!(run.power("b=2"), Err(Class::LostWrite));
}

#[test]
fn a_recovery_per_key_settles_each_key() {
    let mut run = Run::with(per_key());
    run.ok("put a 1", BUFFERED).ok("put b 2", FLUSHED).ok("put a 3", BUFFERED);
    assert_eq!(run.recovers(CrashKind::Process, "a=1 b=2"), PASSES);
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.power("b=2"), PASSES);
    assert_eq!(run.process("a=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a=3 b=2"), Err(Class::Resurrected));
    run.ok("put a 4", DURABLE);
    assert_eq!(run.power("a=4"), PASSES);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.recovers(CrashKind::Power, "a=4"), PASSES);
    assert_eq!(run.power("a=4 b=2"), Err(Class::Resurrected));
}

#[test]
fn each_part_keeps_its_own_prefix() {
    let mut run = Run::with(per_letter());
    run.ok("put a1 1", BUFFERED).ok("put b1 1", BUFFERED).ok("put a2 2", BUFFERED);
    run.ok("put b2 2", DURABLE);
    assert_eq!(run.power("b1=1 b2=2"), PASSES);
    assert_eq!(run.power("a1=1 b1=1 b2=2"), PASSES);
    assert_eq!(run.power("a2=2 b1=1 b2=2"), Err(Class::Hole));
    assert_eq!(run.power("a1=1 b2=2"), Err(Class::Hole));
    assert_eq!(run.power("a1=1 a2=2 b1=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a1=1 b1=1 b2=2 c1=1"), Err(Class::PhantomValue));
}

#[test]
fn after_a_recovery_each_part_continues_from_its_own_place() {
    let mut run = Run::with(per_letter());
    run.ok("batch a1=1 b1=1", FLUSHED).ok("batch a2=2 b2=2", FLUSHED);
    assert_eq!(run.recovers(CrashKind::Power, "a1=1 a2=2"), PASSES);
    run.ok("put b3 3", DURABLE);
    assert_eq!(run.power("a1=1 a2=2 b3=3"), PASSES);
    assert_eq!(run.power("a1=1 b3=3"), PASSES, "the recovery promised nothing");
    assert_eq!(run.power("a1=1 a2=2 b1=1 b3=3"), Err(Class::Resurrected));
}

#[test]
fn a_failed_op_per_key_is_there_or_not() {
    let mut run = Run::with(per_key());
    run.err("incr n").ok("incr n", DURABLE).ok("put a 1", BUFFERED);
    for shown in ["n=1", "n=2 a=1"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.recovers(CrashKind::Power, "n=2"), PASSES);
    assert_eq!(run.power("n=1"), Err(Class::LostWrite));
}

#[test]
fn after_a_recovery_that_no_model_fits_the_oracle_loses_track() {
    let order = Order::PrefixPerPart(letter);
    let mut run = Run::<Plain>::with(Promises { order, ..Promises::default() });
    run.ok("batch a1=1 b1=1", BUFFERED);
    assert_eq!(run.power("a1=1"), PASSES);
    assert_eq!(run.recovers(CrashKind::Power, "a1=1"), Ok(NoViolation::Unchecked));
    assert!(run.oracle.lost_track());
}
