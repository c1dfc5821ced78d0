//! Several clients: ops that overlapped may have happened in any order.

use std::collections::BTreeMap;

use crashpoint::{Ack, Class, CrashKind, Model, State, Time};
use proptest::prelude::*;

use crate::laws::cases;
use crate::models::{Kv, Op, op};
use crate::run::{BUFFERED, DURABLE, FLUSHED, PASSES, Run};

#[test]
fn three_overlapping_writes_to_one_key_end_with_any_of_them() {
    let mut run = Run::<Kv>::new();
    let steps: Vec<_> =
        (0..3).map(|client| run.issue_by(client, &format!("put k {client}"))).collect();
    for shown in ["", "k=0", "k=1", "k=2"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    run.returns(steps[1], DURABLE);
    assert_eq!(run.power(""), Err(Class::LostWrite));
    run.returns(steps[0], DURABLE);
    run.returns(steps[2], DURABLE);
    assert_eq!(run.oracle.candidates(), 3);
    for shown in ["k=0", "k=1", "k=2"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
}

#[test]
fn a_recovery_settles_the_order_of_overlapping_ops() {
    let mut run = Run::<Kv>::new();
    let (a, b) = (run.issue_by(0, "put k 1"), run.issue_by(1, "put k 2"));
    run.returns(a, DURABLE);
    run.returns(b, DURABLE);
    assert_eq!(run.recovers(CrashKind::Power, "k=1"), PASSES);
    assert_eq!(run.oracle.candidates(), 1);
    let c = run.issue_by(2, "put j 1");
    run.returns(c, DURABLE);
    assert_eq!(run.power("k=1 j=1"), PASSES);
    assert!(run.power("k=2 j=1").is_err());
}

#[test]
fn overlapping_increments_all_count_in_any_order() {
    let mut run = Run::<Kv>::new();
    let steps: Vec<_> = (0..3).map(|client| run.issue_by(client, "incr n")).collect();
    for step in steps {
        run.returns(step, DURABLE);
    }
    assert_eq!(run.oracle.candidates(), 1);
    assert_eq!(run.power("n=3"), PASSES);
    assert_eq!(run.power("n=2"), Err(Class::LostWrite));
    assert_eq!(run.power("n=4"), Err(Class::PhantomValue));
}

#[test]
fn in_a_chain_of_overlaps_only_ops_that_do_not_overlap_are_ordered() {
    // a: |----|      a2: |----|
    // b:    |---------------|
    let mut run = Run::<Kv>::new();
    let a = run.issue_by(0, "put x 1");
    let b = run.issue_by(1, "put y 1");
    run.returns(a, FLUSHED);
    let a2 = run.issue_by(0, "put x 2");
    run.returns(a2, FLUSHED);
    for shown in ["", "x=1", "y=1", "x=2", "x=1 y=1", "x=2 y=1"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    run.returns(b, DURABLE);
    assert_eq!(run.power("y=1"), PASSES);
    assert_eq!(run.power("x=2"), Err(Class::LostWrite));
    let c = run.issue_by(2, "put z 1");
    run.returns(c, DURABLE);
    assert_eq!(run.power("x=2 y=1 z=1"), PASSES);
    assert_eq!(run.power("x=1 y=1 z=1"), Err(Class::Hole));
    assert_eq!(run.power("y=1 z=1"), Err(Class::Hole));
}

#[test]
fn a_failed_op_of_one_client_branches_the_others() {
    let mut run = Run::<Kv>::new();
    let a = run.issue_by(0, "incr n");
    let b = run.issue_by(1, "incr n");
    run.fails(a);
    run.returns(b, DURABLE);
    let c = run.issue_by(0, "put m 1");
    run.returns(c, DURABLE);
    assert_eq!(run.oracle.candidates(), 2);
    for shown in ["n=1 m=1", "n=2 m=1"] {
        assert_eq!(run.power(shown), PASSES, "{shown}");
    }
    assert!(run.power("m=1").is_err());
}

#[test]
fn ops_of_one_step_are_distinguished_by_their_clients() {
    let mut run = Run::<Kv>::new();
    run.oracle.issue(1, 1, &op("put x 1"), run.now);
    run.oracle.issue(1, 2, &op("put y 1"), run.now);
    run.oracle.returned_by(2, Ok(DURABLE), run.now);
    // A client with nothing in flight has nothing that could return.
    run.oracle.returned_by(2, Ok(DURABLE), run.now);
    run.oracle.returned_by(3, Ok(DURABLE), run.now);
    for (shown, says) in [("", Err(Class::LostWrite)), ("y=1", PASSES), ("x=1 y=1", PASSES)] {
        assert_eq!(run.power(shown), says, "{shown}");
    }
    run.oracle.refused_by(1, run.now);
    assert_eq!(run.power("y=1"), PASSES);
    assert!(run.power("x=1 y=1").is_err());
}

#[test]
fn three_busy_clients_keep_few_candidates() {
    let mut run = Run::<Kv>::new();
    let mut open: Vec<Option<u32>> = vec![None; 3];
    for turn in 0..600_usize {
        let client = (turn * 7 + turn / 5) % 3;
        match open[client].take() {
            Some(step) => run.returns(step, FLUSHED),
            None => {
                let line = format!("put {} {turn}", turn % 4);
                open[client] = Some(run.issue_by(client, &line));
            }
        }
        assert!(run.oracle.candidates() < 64, "{} at {turn}", run.oracle.candidates());
    }
    assert!(!run.oracle.lost_track());
}

/// An op of the reference, with the events at which it was issued and returned.
struct ReferenceOp {
    op: Op,
    issued: usize,
    returned: usize,
    result: Option<Result<Ack, ()>>,
}

/// Three clients take turns: a client with nothing in flight issues an op, otherwise its op
/// returns.
fn play(turns: &[(usize, u8, u8)]) -> (Run<Kv>, Vec<ReferenceOp>) {
    let mut run = Run::new();
    let mut ops: Vec<ReferenceOp> = Vec::new();
    let mut open: [Option<(u32, usize)>; 3] = [None; 3];
    for (event, &(client, kind, how)) in turns.iter().enumerate() {
        if let Some((step, place)) = open[client].take() {
            let result = [Err(()), Ok(DURABLE), Ok(FLUSHED), Ok(BUFFERED)][usize::from(how)];
            (ops[place].returned, ops[place].result) = (event, Some(result));
            match result {
                Ok(ack) => run.returns(step, ack),
                Err(()) => run.fails(step),
            }
        } else {
            let line = match kind {
                0 => "incr n".to_owned(),
                1 => "del a".to_owned(),
                2 => format!("batch a={event} b={event}"),
                _ => format!("put a {event}"),
            };
            open[client] = Some((run.issue_by(client, &line), ops.len()));
            let (issued, returned) = (event, usize::MAX);
            ops.push(ReferenceOp { op: op(&line), issued, returned, result: None });
        }
    }
    (run, ops)
}

/// Every state that a power loss may leave, found by trying every order of every set of ops: the
/// rules of the oracle again, as plain and slow as can be.
fn reference(ops: &[ReferenceOp], taken: u32, model: &Kv, all: &mut BTreeMap<String, State>) {
    let has = |place: usize| taken & 1 << place != 0;
    let durable = |place: usize| ops[place].result == Some(Ok(DURABLE));
    if (0..ops.len()).all(|place| has(place) || !durable(place)) {
        let state = model.clone().state(Time::START).clone();
        all.insert(format!("{state:?}"), state);
    }
    for (place, each) in ops.iter().enumerate().filter(|(place, _)| !has(*place)) {
        let comes_first = |other: &ReferenceOp| other.returned < each.issued;
        if (0..ops.len()).all(|other| has(other) || !comes_first(&ops[other])) {
            let mut with = model.clone();
            with.apply(&each.op, Time::START);
            reference(ops, taken | 1 << place, &with, all);
            if each.result == Some(Err(())) {
                reference(ops, taken | 1 << place, model, all);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn three_clients_are_judged_as_if_every_order_were_tried(
        turns in proptest::collection::vec((0..3_usize, 0..5_u8, 0..4_u8), 1..13),
    ) {
        let (run, ops) = play(&turns);
        prop_assert!(ops.len() <= 12);
        let mut allowed = BTreeMap::new();
        reference(&ops, 0, &Kv::default(), &mut allowed);
        for subset in 0..1_u32 << ops.len() {
            let mut model = Kv::default();
            let applied = ops.iter().enumerate().filter(|(place, _)| subset & 1 << place != 0);
            applied.for_each(|(_, each)| model.apply(&each.op, Time::START));
            let state = model.state(Time::START).clone();
            let name = format!("{state:?}");
            let said = run.oracle.check(&run.crash(CrashKind::Power), &run.seen(state));
            prop_assert_eq!(said.is_ok(), allowed.contains_key(&name), "{} {:?}", name, said);
        }
        // Among them are orders that differ from that of the issues.
        for (name, state) in allowed {
            let said = run.oracle.check(&run.crash(CrashKind::Power), &run.seen(state));
            prop_assert!(said.is_ok(), "{}", name);
        }
    }
}
