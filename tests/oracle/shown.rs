//! Ops in flight at the death of a process, shown by its recovery, and lost in a power loss.

use crashpoint::inner::oracle::{Class, CrashKind, Promises, ShownOps};

use super::models::Kv;
use super::run::{BUFFERED, DURABLE, FLUSHED, PASSES, Run};

const LOST: Result<crashpoint::inner::oracle::NoViolation, Class> = Err(Class::ShownThenLost);

/// `put b` is in flight when the process dies, and a recovery shows it.
fn shown(shown: ShownOps) -> Run<Kv> {
    let mut run = Run::<Kv>::with(Promises { shown, ..Promises::default() });
    run.ok("put a 1", DURABLE).issue("put b 2");
    assert_eq!(run.recovers(CrashKind::Process, "a=1 b=2"), PASSES);
    run
}

#[test]
fn an_op_that_finds_nothing_to_do_covers_what_was_shown_only_where_the_sim_says_so() {
    for (promised, verdict) in
        [(ShownOps::Kept, LOST), (ShownOps::KeptBySync, PASSES), (ShownOps::MayBeLost, PASSES)]
    {
        let mut run = shown(promised);
        run.ok("del c", DURABLE);
        assert_eq!(run.power("a=1 b=2"), PASSES);
        assert_eq!(run.power("a=1"), verdict, "{promised:?}");
        assert_eq!(run.power(""), Err(Class::LostWrite));
        assert_eq!(run.process("a=1"), Err(Class::LostWrite), "the cache cannot be lost");
    }
}

#[test]
fn a_sync_covers_what_was_shown_unless_the_sim_says_otherwise() {
    for (promised, verdict) in
        [(ShownOps::Kept, LOST), (ShownOps::KeptBySync, LOST), (ShownOps::MayBeLost, PASSES)]
    {
        let mut run = shown(promised);
        assert_eq!(run.power("a=1"), PASSES, "nothing covers it yet");
        run.ok("sync", DURABLE);
        assert_eq!(run.power("a=1"), verdict, "{promised:?}");
    }
}

#[test]
fn an_op_that_changes_the_store_covers_what_was_shown() {
    let mut run = shown(ShownOps::MayBeLost);
    run.ok("put c 3", DURABLE);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1 c=3"), Err(Class::Hole));
    // Its own acknowledgement may be weaker than the one that follows.
    let mut run = shown(ShownOps::MayBeLost);
    run.ok("put c 3", BUFFERED).ok("sync", DURABLE);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1 b=2"), Err(Class::LostWrite));
}

#[test]
fn an_op_that_returned_is_covered_by_any_acknowledgement() {
    let mut run = Run::<Kv>::with(Promises { shown: ShownOps::MayBeLost, ..Promises::default() });
    run.ok("put a 1", FLUSHED).issue("put b 2");
    assert_eq!(run.recovers(CrashKind::Process, "a=1 b=2"), PASSES);
    run.ok("del c", DURABLE);
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.power(""), Err(Class::LostWrite));
}

#[test]
fn what_a_recovery_from_power_loss_showed_is_on_the_medium() {
    let mut run = Run::<Kv>::with(Promises { shown: ShownOps::MayBeLost, ..Promises::default() });
    run.ok("put a 1", DURABLE).issue("put b 2");
    assert_eq!(run.recovers(CrashKind::Power, "a=1 b=2"), PASSES);
    run.ok("del c", DURABLE);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
}

#[test]
fn a_recovery_that_is_cut_short_does_not_make_the_op_acknowledged() {
    let mut run = Run::<Kv>::with(Promises { shown: ShownOps::MayBeLost, ..Promises::default() });
    run.ok("put a 1", DURABLE).issue("put b 2");
    run.interrupted(CrashKind::Process);
    assert_eq!(run.recovers(CrashKind::Process, "a=1 b=2"), PASSES);
    run.ok("sync", DURABLE);
    assert_eq!(run.power("a=1"), PASSES);
}

#[test]
fn a_loss_that_is_allowed_is_where_the_history_continues() {
    let mut run = shown(ShownOps::KeptBySync);
    run.ok("del c", DURABLE);
    assert_eq!(run.recovers(CrashKind::Power, "a=1"), PASSES);
    run.ok("put d 4", DURABLE);
    assert_eq!(run.power("a=1 d=4"), PASSES);
    assert_eq!(run.power("a=1 b=2 d=4"), Err(Class::Resurrected));
}
