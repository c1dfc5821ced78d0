//! Scenarios that the oracle must judge right, one test each.

use std::time::Duration;

use crashpoint::inner::oracle::{Found, NoViolation, Observed, ReadBack};
use crashpoint::{Ack, AfterFault, Class, CrashKind, FaultKind, Level, Order, Promises};

use crate::models::{Kv, Ttl, cursor_is_not_ahead, state};
use crate::run::{BUFFERED, CheckResult, DURABLE, FLUSHED, PASSES, Run, ms, within};

#[test]
fn ops_that_a_recovery_showed_and_a_later_sync_covered_must_survive() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", FLUSHED);
    assert_eq!(run.recovers(CrashKind::Process, "a=1"), PASSES);
    run.ok("put b 2", DURABLE);
    assert_eq!(run.power("a=1 b=2"), PASSES);
    assert_eq!(run.power("b=2"), Err(Class::Hole));
    assert_eq!(run.power(""), Err(Class::LostWrite));
}

#[test]
fn after_a_recovery_that_could_not_be_read_any_state_it_may_have_left_is_allowed() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", BUFFERED).ok("put c 3", BUFFERED);
    run.recovered_unread(CrashKind::Process);
    run.oracle.closed(ms(50));
    run.at(60);
    // The close made everything there durable, but how much that was is unknown.
    for left in ["a=1", "a=1 b=2", "a=1 b=2 c=3"] {
        assert_eq!(run.power(left), PASSES, "{left}");
    }
    assert_eq!(run.power(""), Err(Class::LostWrite));
    assert!(run.power("a=1 c=3").is_err());
    // Ops written after it must survive, together with whatever was there.
    run.ok("put d 4", DURABLE);
    assert_eq!(run.power("a=1 d=4"), PASSES);
    assert_eq!(run.power("a=1 b=2 c=3 d=4"), PASSES);
    assert_eq!(run.power("a=1 b=2"), Err(Class::LostWrite));
}

#[test]
fn a_failed_increment_may_have_happened_or_not() {
    let mut run = Run::<Kv>::new();
    run.err("incr n").ok("incr n", DURABLE);
    assert_eq!(run.power("n=1"), PASSES);
    assert_eq!(run.power("n=2"), PASSES);
    assert_eq!(run.power(""), Err(Class::LostWrite));
    assert_eq!(run.power("n=3"), Err(Class::PhantomValue));
}

#[test]
fn a_recovery_that_returned_settles_a_failed_increment() {
    let mut run = Run::<Kv>::new();
    run.err("incr n").ok("incr n", DURABLE);
    assert_eq!(run.recovers(CrashKind::Power, "n=2"), PASSES);
    assert_eq!(run.power("n=2"), PASSES);
    assert_eq!(run.power("n=1"), Err(Class::LostWrite));
}

#[test]
fn a_put_that_failed_for_lack_of_space_may_be_there_and_the_next_must_be() {
    let mut run = Run::<Kv>::new();
    run.err("put x 1").ok("put y 2", DURABLE);
    assert_eq!(run.power("y=2"), PASSES);
    assert_eq!(run.power("x=1 y=2"), PASSES);
    for (shown, step) in [("x=1", "x"), ("", "nothing")] {
        let violation = run.judge(CrashKind::Power, shown).expect_err(step);
        assert_eq!(violation.signature.to_string(), "lost-write:put");
        assert!(violation.message.contains("step 2 `put y 2`"), "{}", violation.message);
    }
}

#[test]
fn a_promise_to_sync_once_a_second_binds_once_its_time_has_passed() {
    // Once a second, ticked every 100 ms, 20 ms inside the sync.
    let promise = within(Level::Durable, 1000 + 100 + 20);
    let mut run = Run::<Kv>::new();
    let step = run.at(250).issue("put k 1");
    run.at(300).returns(step, promise);
    assert_eq!(run.at(1250).power(""), PASSES);
    assert_eq!(run.at(1419).power(""), PASSES);
    assert_eq!(run.at(1420).power(""), Err(Class::LostWrite));
    assert_eq!(run.at(1420).power("k=1"), PASSES);
}

#[test]
fn buffered_ops_never_have_to_survive_however_much_time_passes() {
    let mut run = Run::<Kv>::new();
    run.ok("put k 1", BUFFERED);
    assert_eq!(run.at(3_600_000).power(""), PASSES);
    assert_eq!(run.at(3_600_000).process(""), PASSES);
}

#[test]
fn an_expired_value_is_not_incremented_again() {
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put k 5 100", DURABLE);
    run.at(50).ok("incr k", DURABLE);
    run.at(200);
    assert_eq!(run.power(""), PASSES);
    assert_eq!(run.power("k=1"), Err(Class::PhantomValue));
    assert_eq!(run.power("k=6"), Err(Class::Resurrected));
    run.at(60);
    assert_eq!(run.power("k=6"), PASSES);
    assert_eq!(run.power(""), Err(Class::LostWrite));
}

#[test]
fn an_item_that_expires_during_the_read_back_may_show_or_not() {
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put k 5 100", DURABLE).ok("put j 7", DURABLE);
    let crash = run.at(50).crash(CrashKind::Power);
    let read = |line: &str, from, to| {
        let read = ReadBack { state: state(line), ..ReadBack::default() };
        let seen = Observed { from: ms(from), to: ms(to), found: Found::Read(read) };
        run.oracle.check(&crash, &seen).map_err(|violation| violation.class())
    };
    for shown in ["k=5 j=7", "j=7"] {
        assert_eq!(read(shown, 90, 110), PASSES, "{shown}");
    }
    assert_eq!(read("j=7", 90, 99), Err(Class::Hole));
    assert_eq!(read("k=5 j=7", 100, 110), Err(Class::Resurrected));
    assert_eq!(read("k=6 j=7", 90, 110), Err(Class::PhantomValue));
    assert_eq!(read("k=5", 90, 110), Err(Class::LostWrite));
}

#[test]
fn a_write_that_is_synced_later_survives_the_process_at_once() {
    let rising = Ack::Rising(Level::Flushed, Level::Durable, Duration::from_millis(1120));
    let mut run = Run::<Kv>::new();
    run.at(0).ok("put a 1", DURABLE);
    run.at(300).ok("put b 2", rising);
    assert_eq!(run.at(310).process("a=1"), Err(Class::LostWrite));
    assert_eq!(run.at(310).power("a=1"), PASSES);
    assert_eq!(run.at(1420).power("a=1"), PASSES);
    assert_eq!(run.at(1430).power("a=1"), Err(Class::LostWrite));
    // A failed op voids promises for later, not those already due.
    let mut failed = run.clone();
    failed.at(400).err("put c 3");
    assert_eq!(failed.at(2000).power("a=1"), PASSES);
    assert_eq!(failed.at(2000).process("a=1"), Err(Class::LostWrite));
}

#[test]
fn an_op_that_returned_before_another_was_issued_comes_before_it() {
    let mut run = Run::<Kv>::new();
    let y = run.issue_by(1, "put y 1");
    run.returns(y, FLUSHED);
    let x = run.issue_by(0, "put x 1");
    run.returns(x, DURABLE);
    assert_eq!(run.power("x=1 y=1"), PASSES);
    assert_eq!(run.power("x=1"), Err(Class::Hole));
}

#[test]
fn an_op_that_overlapped_another_need_not_come_before_it() {
    let mut run = Run::<Kv>::new();
    let y = run.issue_by(1, "put y 1");
    let x = run.issue_by(0, "put x 1");
    run.returns(y, FLUSHED);
    run.returns(x, DURABLE);
    assert_eq!(run.power("x=1 y=1"), PASSES);
    assert_eq!(run.power("x=1"), PASSES);
    assert_eq!(run.process("x=1"), Err(Class::LostWrite));
}

/// Three keys, the third of which cannot be read.
fn unreadable(run: &Run<Kv>, shown: &str) -> CheckResult {
    let failed = vec![(b"k3".to_vec(), "checksum mismatch".to_owned())];
    let read = ReadBack { state: state(shown), failed, inconsistent: None };
    let seen = Observed { from: run.now, to: run.now, found: Found::Read(read) };
    let said = run.oracle.check(&run.crash(CrashKind::Power), &seen);
    said.map_err(|violation| violation.class())
}

#[test]
fn an_item_that_cannot_be_read_is_a_violation_unless_bytes_rotted() {
    let survives = vec![(FaultKind::BitRot, AfterFault::Loud)];
    let mut run = Run::<Kv>::with(Promises { survives, ..Promises::default() });
    run.ok("put k1 1", DURABLE).ok("put k2 2", DURABLE).ok("put k3 3", DURABLE);
    run.ok("put k4 4", DURABLE);
    assert_eq!(unreadable(&run, "k1=1 k2=2 k4=4"), Err(Class::ReadFailed));
    assert_eq!(unreadable(&run, "k1=7 k2=2 k4=4"), Err(Class::PhantomValue));
    run.oracle.rotten(AfterFault::Loud);
    assert_eq!(unreadable(&run, "k1=1 k2=2 k4=4"), Ok(NoViolation::Excused));
    assert_eq!(unreadable(&run, "k1=7 k2=2 k4=4"), Err(Class::PhantomValue));
    assert_eq!(unreadable(&run, "k2=2 k4=4"), Err(Class::LostWrite));
    assert_eq!(unreadable(&run, "k1=1 k2=2"), Err(Class::LostWrite));
    assert_eq!(run.power("k1=1 k2=2 k4=4"), Err(Class::LostWrite));
    assert_eq!(run.power("k1=1 k2=2 k3=3 k4=4"), PASSES);
}

#[test]
fn a_fold_without_sync_may_have_its_data_ahead_of_the_cursor() {
    let order = Order::Custom(cursor_is_not_ahead);
    let mut run = Run::<Kv>::with(Promises { order, ..Promises::default() });
    run.ok("fold 1 a 1", DURABLE).ok("fold 2 b 2", BUFFERED).ok("fold 3 a 3", BUFFERED);
    assert_eq!(run.power("a=1 cursor=1"), PASSES);
    assert_eq!(run.power("a=3 b=2 cursor=1"), PASSES);
    assert_eq!(run.power("a=3 cursor=2"), Err(Class::TornBatch));
    assert_eq!(run.power("b=2 cursor=3"), Err(Class::Hole));
    assert_eq!(run.power("a=9 b=2 cursor=3"), Err(Class::PhantomValue));
    assert_eq!(run.power(""), Err(Class::LostWrite));
    assert_eq!(run.recovers(CrashKind::Power, "a=3 b=2 cursor=1"), PASSES);
    run.ok("fold 2 b 2", BUFFERED);
    assert_eq!(run.process("a=3 b=2 cursor=2"), PASSES);
}

#[test]
fn a_fold_with_sync_keeps_data_and_cursor_together() {
    let mut run = Run::<Kv>::new();
    run.ok("fold 1 a 1", DURABLE);
    run.issue("fold 2 b 2");
    assert_eq!(run.power("a=1 cursor=1"), PASSES);
    assert_eq!(run.power("a=1 b=2 cursor=2"), PASSES);
    assert_eq!(run.power("a=1 b=2 cursor=1"), Err(Class::TornBatch));
    assert_eq!(run.power("a=1 cursor=2"), Err(Class::TornBatch));
}
