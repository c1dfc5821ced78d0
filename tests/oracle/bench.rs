//! Long histories: the cost of a check is counted in ops applied, not in seconds, so that the test
//! gives the same result on every machine.

use std::cell::Cell;

use crashpoint::{Class, CrashKind, Model, State, Time};

use crate::models::{Kv, Op};
use crate::run::{BUFFERED, DURABLE, PASSES, Run};

thread_local! {
    static APPLIED: Cell<u64> = const { Cell::new(0) };
}

/// A key-value store that counts the ops it applies.
#[derive(Clone, Default, PartialEq)]
struct Counted(Kv);

impl Model for Counted {
    type Op = Op;

    fn apply(&mut self, op: &Op, at: Time) {
        APPLIED.set(APPLIED.get() + 1);
        self.0.apply(op, at);
    }

    fn state(&mut self, at: Time) -> &State {
        self.0.state(at)
    }

    fn items(op: &Op) -> Option<Vec<Vec<u8>>> {
        Kv::items(op)
    }
}

const OPS: u32 = 10_000;

fn long() -> Run<Counted> {
    let mut run = Run::<Counted>::new();
    for step in 0..OPS {
        run.ok(&format!("put {} {step}", step % 100), BUFFERED);
    }
    run
}

fn shown(after: u32) -> String {
    (after.saturating_sub(100)..after).map(|step| format!("{}={step} ", step % 100)).collect()
}

#[test]
fn ten_thousand_ops_are_applied_once_and_checked_without_applying_any() {
    APPLIED.set(0);
    let run = long();
    assert_eq!(APPLIED.get(), u64::from(OPS));
    for after in (0..=OPS).step_by(97) {
        assert_eq!(run.power(&shown(after)), PASSES, "{after}");
    }
    let hole = shown(OPS).replacen("9950", "9850", 1);
    assert_eq!(run.power(&hole), Err(Class::Hole));
    assert_eq!(APPLIED.get(), u64::from(OPS));
}

#[test]
fn a_recovery_replays_no_more_ops_than_the_store_has_items() {
    let mut run = long();
    APPLIED.set(0);
    assert_eq!(run.recovers(CrashKind::Power, &shown(5_050)), PASSES);
    assert!(APPLIED.get() <= 2 * 101, "{} ops", APPLIED.get());
    run.ok("put new 1", DURABLE);
    assert_eq!(run.power(&(shown(5_050) + "new=1")), PASSES);
    assert!(run.power(&(shown(5_051) + "new=1")).is_err());
}
