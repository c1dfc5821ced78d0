//! Verdicts: which states pass, which do not, and how a violation is named.

use crashpoint::inner::oracle::{
    Crash, Found, MOST_CANDIDATES, NoViolation, Observed, ReadBack, Violation,
};
use crashpoint::{AfterFault, Class, CrashKind, FaultKind, Level, Model, Promises};
use expect_test::expect;

use crate::models::{Kv, Liar, Op, Plain, Ttl, state};
use crate::run::{BUFFERED, CheckResult, DURABLE, FLUSHED, PASSES, Run, ms, within};

#[test]
fn with_mixed_durability_a_prefix_from_the_last_sync_on_passes() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", BUFFERED).ok("put b 2", DURABLE).ok("put c 3", FLUSHED);
    run.ok("put d 4", BUFFERED);
    for shown in ["a=1 b=2", "a=1 b=2 c=3", "a=1 b=2 c=3 d=4"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1 b=2 d=4"), Err(Class::Hole));
    assert_eq!(run.process("a=1 b=2"), Err(Class::LostWrite));
    assert_eq!(run.process("a=1 b=2 c=3"), PASSES);
}

#[test]
fn an_op_in_flight_may_be_there_or_not() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE);
    run.issue("put a 2");
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.power("a=2"), PASSES);
    assert_eq!(run.power("a=3"), Err(Class::PhantomValue));
    assert_eq!(run.process(""), Err(Class::LostWrite));
}

#[test]
fn an_op_in_flight_at_a_crash_is_settled_by_the_recovery() {
    let mut run = Run::<Kv>::new();
    let died = run.issue("put a 1");
    let mut without = run.clone();
    assert_eq!(without.recovers(CrashKind::Process, ""), PASSES);
    without.returns(died, DURABLE);
    without.ok("put b 1", DURABLE);
    assert_eq!(without.power("b=1"), PASSES);
    assert_eq!(without.power("a=1 b=1"), Err(Class::Resurrected));
    assert_eq!(run.recovers(CrashKind::Process, "a=1"), PASSES);
    run.ok("put b 1", DURABLE);
    assert_eq!(run.power("b=1"), Err(Class::Hole));
}

#[test]
fn later_ops_do_not_settle_a_failed_op_but_a_recovery_does() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).err("put a 2").ok("sync", DURABLE);
    assert_eq!(run.oracle.candidates(), 2);
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.power("a=2"), PASSES);
    let mut old = run.clone();
    assert_eq!(old.recovers(CrashKind::Power, "a=1"), PASSES);
    assert_eq!(old.oracle.candidates(), 1);
    assert_eq!(old.power("a=2"), Err(Class::Resurrected));
    assert_eq!(run.recovers(CrashKind::Power, "a=2"), PASSES);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
}

#[test]
fn ops_that_a_recovery_did_not_show_must_never_come_back() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", BUFFERED).ok("put c 3", BUFFERED);
    assert_eq!(run.recovers(CrashKind::Power, "a=1 b=2"), PASSES);
    assert_eq!(run.power("a=1"), PASSES, "the recovery promised nothing for b");
    run.ok("put d 4", BUFFERED);
    assert_eq!(run.power("a=1 b=2 c=3"), Err(Class::Resurrected));
    assert_eq!(run.power("a=1 b=2 c=3 d=4"), Err(Class::Resurrected));
    assert_eq!(run.recovers(CrashKind::Power, "a=1"), PASSES);
    run.ok("put e 5", DURABLE);
    assert_eq!(run.power("a=1 e=5"), PASSES);
    for back in ["a=1 b=2 e=5", "a=1 d=4 e=5", "a=1 c=3 e=5"] {
        assert_eq!(run.power(back), Err(Class::Resurrected), "{back}");
    }
}

#[test]
fn a_recovered_state_may_be_lost_again_unless_the_sim_promises_more() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", FLUSHED);
    assert_eq!(run.recovers(CrashKind::Process, "a=1 b=2"), PASSES);
    assert_eq!(run.power("a=1"), PASSES);
    assert_eq!(run.process("a=1"), Err(Class::LostWrite));
    let promises = Promises { recovery: Level::Durable, ..Promises::default() };
    let mut run = Run::<Kv>::with(promises);
    run.ok("put a 1", DURABLE).ok("put b 2", BUFFERED);
    assert_eq!(run.recovers(CrashKind::Power, "a=1 b=2"), PASSES);
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
}

#[test]
fn a_recovery_after_power_loss_keeps_no_promise_to_a_process_crash_that_it_could_not() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", FLUSHED).ok("put b 2", FLUSHED);
    assert_eq!(run.recovers(CrashKind::Power, "a=1"), PASSES);
    assert_eq!(run.process("a=1"), PASSES);
    assert_eq!(run.process(""), Err(Class::LostWrite));
}

#[test]
fn a_recovery_cut_short_settles_nothing_and_its_power_loss_counts_for_the_next() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", FLUSHED);
    let died = run.issue("put c 3");
    let mut mild = run.clone();
    mild.interrupted(CrashKind::Process);
    for shown in ["a=1 b=2", "a=1 b=2 c=3"] {
        assert_eq!(mild.process(shown), PASSES);
    }
    assert_eq!(mild.process("a=1"), Err(Class::LostWrite));
    run.interrupted(CrashKind::Power);
    run.returns(died, DURABLE);
    for shown in ["a=1", "a=1 b=2", "a=1 b=2 c=3"] {
        assert_eq!(run.process(shown), PASSES, "{shown}");
    }
    assert_eq!(run.recovers(CrashKind::Process, "a=1"), PASSES);
    run.ok("put d 4", FLUSHED);
    assert_eq!(run.process("a=1"), Err(Class::LostWrite), "that power loss is over");
}

#[test]
fn a_promise_for_later_ends_with_the_process_and_with_an_error() {
    let later = within(Level::Durable, 1000);
    let mut run = Run::<Kv>::new();
    run.at(0).ok("put a 1", later);
    assert_eq!(run.at(2000).power(""), Err(Class::LostWrite));
    let mut failed = run.clone();
    failed.at(500).err("put b 2");
    assert_eq!(failed.at(2000).power(""), PASSES);
    failed.ok("put c 3", later);
    assert_eq!(failed.at(5000).power("a=1"), Err(Class::LostWrite));
    assert_eq!(failed.at(5000).power("a=1 c=3"), PASSES);
    run.at(500);
    assert_eq!(run.recovers(CrashKind::Process, "a=1"), PASSES);
    assert_eq!(run.at(2000).power(""), PASSES);
}

#[test]
fn a_shorter_promise_covers_ops_that_wait_for_a_longer_one() {
    let mut run = Run::<Kv>::new();
    run.at(0).ok("put a 1", within(Level::Durable, 1000));
    run.at(100).ok("put b 2", within(Level::Durable, 300));
    assert_eq!(run.at(400).power(""), PASSES);
    assert_eq!(run.at(401).power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.at(401).process("a=1"), Err(Class::LostWrite));
    run.at(500).ok("put c 3", within(Level::Flushed, 50));
    assert_eq!(run.at(600).power("a=1 b=2"), PASSES);
    assert_eq!(run.at(600).process("a=1 b=2"), Err(Class::LostWrite));
}

#[test]
fn an_atomic_batch_is_there_whole_or_not_at_all() {
    let mut run = Run::<Kv>::new();
    run.ok("batch a=1 b=2 c=3", BUFFERED).ok("put d 4", BUFFERED);
    for torn in ["a=1", "a=1 c=3", "a=1 b=2 d=4", "b=2 d=4"] {
        let violation = run.judge(CrashKind::Power, torn).expect_err("torn");
        assert_eq!(violation.signature.to_string(), "torn-batch:batch", "{torn}");
    }
    assert_eq!(run.power("d=4"), Err(Class::Hole));
    run.issue("batch a= b=5");
    assert_eq!(run.power("b=5 c=3 d=4"), PASSES);
    assert_eq!(run.power("b=2 c=3 d=4"), Err(Class::TornBatch));
}

#[test]
fn part_of_a_batch_that_is_not_atomic_may_be_the_last_op_that_survives() {
    let mut run = Run::<Kv>::new();
    run.issue("loose a=1 b=2");
    for part in ["", "a=1", "b=2", "a=1 b=2"] {
        assert_eq!(run.power(part), PASSES, "{part}");
    }
    let step = run.step;
    run.returns(step, BUFFERED);
    run.ok("put c 3", BUFFERED);
    assert_eq!(run.power("b=2"), PASSES);
    assert_eq!(run.power("b=2 c=3"), Err(Class::TornBatch));
    run.ok("put d 4", DURABLE);
    assert_eq!(run.power("b=2"), Err(Class::LostWrite));
}

#[test]
fn each_part_of_a_failed_batch_becomes_a_candidate() {
    let mut run = Run::<Kv>::new();
    run.err("loose a=1 b=2").ok("put c 3", DURABLE);
    assert_eq!(run.oracle.candidates(), 4);
    for part in ["c=3", "a=1 c=3", "b=2 c=3", "a=1 b=2 c=3"] {
        assert_eq!(run.power(part), PASSES, "{part}");
    }
    assert_eq!(run.recovers(CrashKind::Power, "b=2 c=3"), PASSES);
    assert_eq!(run.oracle.candidates(), 1);
    assert_eq!(run.power("a=1 b=2 c=3"), Err(Class::Resurrected));
}

#[test]
fn a_wrong_value_was_written_once_and_a_phantom_never() {
    let mut run = Run::<Kv>::new();
    run.err("put a 1").ok("put b 2", DURABLE).ok("put b 3", DURABLE);
    assert_eq!(run.power("b=2"), Err(Class::LostWrite));
    assert_eq!(run.power("a=7 b=3"), Err(Class::PhantomValue));
    let violation = run.judge(CrashKind::Power, "b=1").expect_err("b was never 1");
    assert_eq!(violation.class(), Class::PhantomValue);
    assert_eq!(violation.details[0].note, "acknowledged durable at step 3; found a value of a");
    // The count was 1 with the first op and 2 with both; 10 is on neither line's past.
    let mut run = Run::<Kv>::new();
    run.err("put n 9").ok("incr n", DURABLE).ok("put m 1", DURABLE).ok("put l 1", DURABLE);
    assert_eq!(run.power("n=10 m=1 l=1"), PASSES);
    assert_eq!(run.power("n=1 m=1 l=1"), PASSES);
    let mut run = Run::<Kv>::new();
    run.err("put n 9").ok("put x 1", DURABLE).ok("incr n", DURABLE);
    run.err("put y 1").ok("put y 2", DURABLE);
    assert_eq!(run.power("n=9 x=1 y=1"), Err(Class::WrongValue));
}

#[test]
fn a_deleted_value_that_is_back_is_resurrected() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("del a", DURABLE).ok("put b 2", DURABLE);
    let violation = run.judge(CrashKind::Power, "a=1 b=2").expect_err("a is back");
    assert_eq!(violation.signature.to_string(), "resurrected:del");
    assert_eq!(run.power("a=1"), Err(Class::LostWrite), "an earlier state, as a whole");
}

#[test]
fn a_violation_names_the_values_expected_and_found() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", FLUSHED).ok("put b 2", DURABLE).ok("put c 3", BUFFERED);
    let violation = run.judge(CrashKind::Power, "b=2 c=9").expect_err("a is lost, c wrong");
    let details = violation.details.iter().map(|diff| format!("{diff:?}\n"));
    let text: String = std::iter::once(format!("{violation}\n")).chain(details).collect();
    expect![[r#"
        phantom-value:put:
         shows a value that was never written, step 3 `put c 3`:
         2 items differ from the nearest allowed state, after step 3
        a:
         expected 1, found absent (acknowledged flushed at step 1, covered by step 2)
        c:
         expected 3, found 9 (acknowledged buffered at step 3, may be lost; was never written)
    "#]]
    .assert_eq(&text.replace(": ", ":\n "));
}

#[test]
fn signatures_leave_out_keys_values_and_steps() {
    let signature = |key: &str| {
        let mut run = Run::<Kv>::new();
        run.ok("sync", DURABLE).ok(&format!("put {key} 1"), DURABLE).ok("put z 1", DURABLE);
        run.judge(CrashKind::Power, "z=1").expect_err("a hole").signature
    };
    assert_eq!(signature("a"), signature("b"));
    assert_eq!(signature("a").to_string(), "hole:put");
}

#[test]
fn too_many_candidates_are_not_followed_and_then_nothing_counts_as_passed() {
    let mut run = Run::<Kv>::new();
    for key in 0..8 {
        run.err(&format!("put {key} 1"));
    }
    assert_eq!(run.oracle.candidates(), MOST_CANDIDATES);
    assert_eq!(run.power("3=1"), PASSES);
    assert!(!run.oracle.lost_track());
    run.issue("put 8 1");
    assert!(run.oracle.lost_track());
    assert_eq!(run.power("junk=1"), Ok(NoViolation::Unchecked));
    assert_eq!(run.clone().recovers(CrashKind::Power, "3=1"), Ok(NoViolation::Unchecked));
    assert_eq!(failed(&run, Class::OpenFailed, false), Err(Class::OpenFailed));
}

#[test]
fn failed_ops_that_are_overwritten_leave_one_candidate() {
    let mut run = Run::<Kv>::new();
    for value in 0..100 {
        run.err(&format!("put a {value}")).err("del b").ok("put a x", FLUSHED);
    }
    assert_eq!(run.oracle.candidates(), 1);
    assert_eq!(run.power("a=57"), PASSES, "either way to that candidate is kept");
    assert_eq!(run.recovers(CrashKind::Process, "a=x"), PASSES);
    assert_eq!(run.power("a=57"), PASSES, "by the recovery too");
}

#[test]
fn a_recovery_keeps_every_history_that_leads_to_its_state() {
    let mut run = Run::<Kv>::new();
    run.err("loose a=1 b=2").ok("batch a=8 b=9", FLUSHED);
    assert_eq!(run.oracle.candidates(), 1);
    assert_eq!(run.recovers(CrashKind::Process, "a=8 b=9"), PASSES);
    for shown in ["", "a=1", "b=2", "a=1 b=2", "a=8 b=9"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
}

#[test]
fn a_recovery_continues_from_the_longest_history_that_it_fits() {
    let mut run = Run::<Kv>::new();
    run.ok("put k 1", DURABLE).ok("put k 2", BUFFERED).ok("put k 1", BUFFERED);
    assert_eq!(run.recovers(CrashKind::Power, "k=1"), PASSES);
    assert_eq!(run.power("k=2"), PASSES);
    run.ok("put j 1", DURABLE);
    assert_eq!(run.power("k=2 j=1"), Err(Class::Hole));
}

fn failed(run: &Run<Kv>, class: Class, creating: bool) -> CheckResult {
    let found = Found::Failed(class, "no such file".into());
    let seen = Observed { from: run.now, to: run.now, found };
    let crash = Crash { creating, ..run.crash(CrashKind::Power) };
    run.oracle.check(&crash, &seen).map_err(|violation| violation.class())
}

#[test]
fn a_crash_during_creation_that_prevents_opening_has_its_own_class() {
    let mut run = Run::<Kv>::new();
    assert_eq!(failed(&run, Class::OpenFailed, false), Err(Class::OpenFailed));
    assert_eq!(failed(&run, Class::Panicked, false), Err(Class::Panicked));
    assert_eq!(failed(&run, Class::OpenFailed, true), Err(Class::CreateInterrupted));
    assert_eq!(failed(&run, Class::Panicked, true), Err(Class::CreateInterrupted));
    assert_eq!(run.power(""), PASSES);
    assert_eq!(run.power("a=1"), Err(Class::PhantomValue));
    let creating = Crash { creating: true, ..run.crash(CrashKind::Process) };
    run.oracle.interrupted(&creating);
    assert_eq!(failed(&run, Class::OpenFailed, false), Err(Class::CreateInterrupted));
    assert_eq!(run.recovers(CrashKind::Process, ""), PASSES);
    assert_eq!(failed(&run, Class::OpenFailed, false), Err(Class::OpenFailed));
}

#[test]
fn an_injected_error_voids_promises_for_later_even_if_no_op_fails() {
    let refused = [
        FaultKind::FailedWrite,
        FaultKind::FailedSync,
        FaultKind::FailedRead,
        FaultKind::FailedOpen,
        FaultKind::FailedChange,
        FaultKind::ReadOnly,
    ];
    let survives: Vec<_> =
        refused.iter().map(|fault_kind| (*fault_kind, AfterFault::Right)).collect();
    for fault_kind in refused {
        let survives = survives.clone();
        let mut run = Run::<Kv>::with(Promises { survives, ..Promises::default() });
        run.at(0).ok("put a 1", within(Level::Flushed, 50));
        assert_eq!(run.at(60).process(""), Err(Class::LostWrite));
        run.at(70).ok("put b 1", within(Level::Flushed, 50));
        let now = run.at(80).now;
        run.oracle.injected(fault_kind, now);
        // Promises already due stay due, and the next acknowledgement covers all ops before it.
        assert_eq!(run.at(200).process("a=1"), PASSES);
        assert_eq!(run.at(200).process(""), Err(Class::LostWrite));
        run.at(210).ok("put c 1", within(Level::Flushed, 50));
        assert_eq!(run.at(250).process("a=1"), PASSES);
        assert_eq!(run.at(270).process("a=1 b=1 c=1"), PASSES);
        assert_eq!(run.at(270).process("a=1"), Err(Class::LostWrite));
    }
}

#[test]
fn an_engine_may_fail_loudly_only_where_its_promises_allow_it() {
    let survives =
        vec![(FaultKind::BitRot, AfterFault::Loud), (FaultKind::FailedWrite, AfterFault::Right)];
    let mut run = Run::<Kv>::with(Promises { survives, ..Promises::default() });
    run.ok("put a 1", DURABLE);
    run.oracle.injected(FaultKind::FailedWrite, run.now);
    assert_eq!(failed(&run, Class::OpenFailed, false), Err(Class::OpenFailed));
    run.oracle.rotten(AfterFault::Loud);
    assert_eq!(failed(&run, Class::OpenFailed, false), Ok(NoViolation::Excused));
    assert_eq!(failed(&run, Class::Panicked, false), Err(Class::Panicked));
    assert_eq!(failed(&run, Class::OutOfMemory, false), Err(Class::OutOfMemory));
    assert_eq!(run.power(""), Err(Class::LostWrite));
    run.oracle.injected(FaultKind::FailedSync, run.now);
    assert_eq!(run.power("junk=1"), Ok(NoViolation::Unchecked));
    assert_eq!(failed(&run, Class::Aborted, false), Ok(NoViolation::Unchecked));
}

#[test]
fn a_wrong_value_outranks_a_contradiction_which_outranks_a_failed_read() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", DURABLE);
    let said = |shown: &str, inconsistent: Option<&str>| {
        let failed = vec![(b"b".to_vec(), "bad block".to_owned())];
        let inconsistent = inconsistent.map(String::from);
        let read = ReadBack { state: state(shown), failed, inconsistent };
        let seen = Observed { from: run.now, to: run.now, found: Found::Read(read) };
        run.oracle.check(&run.crash(CrashKind::Power), &seen).map_err(|v| v.class())
    };
    assert_eq!(said("a=9", Some("count is 3")), Err(Class::PhantomValue));
    assert_eq!(said("a=1", Some("count is 3")), Err(Class::Inconsistent));
    assert_eq!(said("a=1", None), Err(Class::ReadFailed));
    assert_eq!(said("", None), Err(Class::LostWrite));
}

#[test]
fn a_close_covers_returned_ops_as_far_as_the_sim_promises() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", BUFFERED);
    let mut mute = run.clone();
    mute.oracle.closed(mute.now);
    assert_eq!(mute.process(""), PASSES);
    let promises = Promises { close: Level::Flushed, ..Promises::default() };
    let mut run = Run::<Kv>::with(promises);
    run.ok("put a 1", BUFFERED);
    run.issue("put b 2");
    run.oracle.closed(run.now);
    assert_eq!(run.process(""), Err(Class::LostWrite));
    assert_eq!(run.process("a=1"), PASSES);
    assert_eq!(run.power(""), PASSES);
}

fn opened_twice<M: Model<Op = Op>>(
    run: &Run<M>,
    first: &str,
    second: &str,
    millis: u64,
) -> Result<(), Violation> {
    let mut later = run.clone();
    later.at(millis);
    run.oracle.check_idempotent(&run.seen(state(first)), &later.seen(state(second)))
}

#[test]
fn opening_twice_shows_one_state_except_for_items_that_expired_in_between() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", BUFFERED);
    assert_eq!(run.recovers(CrashKind::Power, "a=1"), PASSES);
    assert_eq!(opened_twice(&run, "a=1", "a=1", 100), Ok(()));
    let violation = opened_twice(&run, "a=1", "", 100).expect_err("a vanished");
    assert_eq!(violation.class(), Class::NotIdempotent);
    assert_eq!(violation.details.len(), 1);
    let mut run = Run::<Ttl>::new();
    run.at(0).ok("put a 1 100", BUFFERED).ok("put b 1", BUFFERED);
    assert_eq!(run.at(50).recovers(CrashKind::Power, "a=1 b=1"), PASSES);
    assert_eq!(opened_twice(&run, "a=1 b=1", "b=1", 120), Ok(()));
    assert!(opened_twice(&run, "a=1 b=1", "b=1", 80).is_err());
    assert!(opened_twice(&run, "a=1 b=1", "", 120).is_err());
}

#[test]
fn a_bound_counts_the_ops_that_must_survive_and_those_issued() {
    let mut run = Run::<Kv>::new();
    let start = run.oracle.bound(CrashKind::Power, run.now);
    assert_eq!((start.low, start.issued), (0, 0));
    run.at(0).ok("put a 1", within(Level::Durable, 1000)).ok("put b 2", BUFFERED);
    let bound = |run: &Run<Kv>, kind, at| {
        let bound = run.oracle.bound(kind, ms(at));
        (bound.low, bound.issued)
    };
    assert_eq!(bound(&run, CrashKind::Power, 999), (0, 2));
    assert_eq!(bound(&run, CrashKind::Power, 1001), (1, 2));
    run.ok("put c 3", FLUSHED);
    assert_eq!(bound(&run, CrashKind::Process, 900), (3, 3));
    assert_eq!(bound(&run, CrashKind::Power, 900), (0, 3));
    run.interrupted(CrashKind::Power);
    assert_eq!(bound(&run, CrashKind::Process, 2000), (0, 3));
}

#[test]
fn swapped_values_and_swapped_items_are_phantom_values() {
    let mut run = Run::<Kv>::new();
    run.ok("put a 1", DURABLE).ok("put b 2", DURABLE);
    assert_eq!(run.power("a=2 b=1"), Err(Class::PhantomValue));
    assert_eq!(run.power("1=a 2=b"), Err(Class::PhantomValue));
    assert_ne!(state("a=1 b=2").digest(), state("a=2 b=1").digest());
}

fn judged_without_hints<M: Model<Op = Op>>() {
    let mut run = Run::<M>::new();
    run.ok("put a 1", BUFFERED).ok("batch a= b=2", BUFFERED).ok("put c 3", DURABLE);
    run.issue("put d 4");
    assert_eq!(run.power("b=2 c=3"), PASSES);
    assert_eq!(run.power("b=2 c=3 d=5"), Err(Class::PhantomValue));
    assert_eq!(run.power("a=1"), Err(Class::LostWrite));
    assert_eq!(run.power("a=1 b=2 c=3"), Err(Class::TornBatch));
    assert_eq!(run.power("b=2"), Err(Class::LostWrite));
    assert_eq!(run.power("c=3"), Err(Class::TornBatch), "a is deleted and b is not there");
}

#[test]
fn a_model_without_hints_or_with_wrong_ones_is_judged_the_same() {
    judged_without_hints::<Kv>();
    judged_without_hints::<Plain>();
    judged_without_hints::<Liar>();
}
