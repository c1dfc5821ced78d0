//! Laws that hold for every history.

use crashpoint::{Ack, Class, CrashKind, Model, Order, Promises, State, Time};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::models::{Kv, op};
use crate::run::{BUFFERED, CheckResult, DURABLE, FLUSHED, PASSES, Run};

/// Ops as lines, each with its acknowledgement. Each value is written once, so that it identifies
/// its op.
fn ops() -> impl Strategy<Value = Vec<(String, Ack)>> {
    let ack = prop_oneof![4 => Just(BUFFERED), 2 => Just(FLUSHED), 1 => Just(DURABLE)];
    let line = prop_oneof![
        6 => (0..6_u8).prop_map(|key| format!("put k{key} v")),
        2 => (0..6_u8).prop_map(|key| format!("del k{key}")),
        1 => Just("sync".to_owned()),
    ];
    let name =
        |(at, (line, ack)): (usize, (String, Ack))| (line.replace('v', &at.to_string()), ack);
    let named = move |ops: Vec<_>| ops.into_iter().enumerate().map(name).collect();
    proptest::collection::vec((line, ack), 1..40).prop_map(named)
}

fn model<'a>(ops: impl IntoIterator<Item = &'a (String, Ack)>) -> State {
    let mut model = Kv::default();
    for (line, _) in ops {
        model.apply(&op(line), Time::START);
    }
    model.state(Time::START).clone()
}

fn play(ops: &[(String, Ack)], promises: Promises<Kv>) -> Run<Kv> {
    let mut run = Run::with(promises);
    for (line, ack) in ops {
        run.ok(line, *ack);
    }
    run
}

fn low(ops: &[(String, Ack)], kind: CrashKind) -> usize {
    let level = if kind == CrashKind::Power { DURABLE } else { FLUSHED };
    let covers = |(_, ack): &(String, Ack)| *ack == DURABLE || *ack == level;
    ops.iter().rposition(covers).map_or(0, |at| at + 1)
}

fn said(run: &Run<Kv>, kind: CrashKind, state: State) -> CheckResult {
    let said = run.oracle.check(&run.crash(kind), &run.seen(state));
    said.map_err(|violation| violation.class())
}

const KINDS: [CrashKind; 2] = [CrashKind::Process, CrashKind::Power];

/// The same cases on every machine and every day.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(0x6f72_6163_6c65);
    ProptestConfig { failure_persistence: None, rng_seed, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_prefix_with_all_ops_that_must_survive_passes_and_no_shorter_one(ops in ops()) {
        let run = play(&ops, Promises::default());
        for kind in KINDS {
            let low = low(&ops, kind);
            let allowed: Vec<_> = (low..=ops.len()).map(|p| model(&ops[..p])).collect();
            for p in 0..=ops.len() {
                let state = model(&ops[..p]);
                let expected =
                    if allowed.contains(&state) { PASSES } else { Err(Class::LostWrite) };
                prop_assert_eq!(said(&run, kind, state), expected, "{:?} {}", kind, p);
            }
        }
    }

    #[test]
    fn an_op_left_out_of_the_middle_is_a_hole(ops in ops(), out in any::<prop::sample::Index>()) {
        let out = out.index(ops.len());
        let run = play(&ops, Promises::default());
        let left = ops.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, op)| op);
        let state = model(left);
        let prefixes: Vec<_> = (0..=ops.len()).map(|p| model(&ops[..p])).collect();
        for kind in KINDS {
            let said = said(&run, kind, state.clone());
            if prefixes[low(&ops, kind)..].contains(&state) {
                prop_assert_eq!(said, PASSES);
            } else if prefixes.contains(&state) {
                prop_assert_eq!(said, Err(Class::LostWrite));
            } else if ops[out].0.starts_with("del") {
                prop_assert_eq!(said, Err(Class::Resurrected));
            } else {
                prop_assert_eq!(said, Err(Class::Hole));
            }
        }
    }

    #[test]
    fn junk_is_a_phantom_value(ops in ops(), p in any::<prop::sample::Index>(), key in 0..9_u8) {
        let run = play(&ops, Promises::default());
        let mut state = model(&ops[..p.index(ops.len() + 1)]);
        state.set(format!("k{key}"), "junk");
        for kind in KINDS {
            prop_assert_eq!(said(&run, kind, state.clone()), Err(Class::PhantomValue));
        }
    }

    #[test]
    fn a_second_crash_shows_no_more_than_the_first_recovery_and_what_came_after(
        before in ops(),
        after in ops(),
        first in any::<prop::sample::Index>(),
    ) {
        let mut run = play(&before, Promises::default());
        let floor = low(&before, CrashKind::Power);
        let p = floor + first.index(before.len() - floor + 1);
        let (crash, seen) = (run.crash(CrashKind::Power), run.seen(model(&before[..p])));
        prop_assert_eq!(run.oracle.recovered(&crash, &seen).map_err(|v| v.class()), PASSES);
        for (line, ack) in &after {
            run.ok(line, *ack);
        }
        // The longest history that shows the same as the recovery did.
        let alike = |q: &usize| model(&before[..*q]) == model(&before[..p]);
        let longest = (p..=before.len()).rev().find(alike).expect("p itself");
        let mut whole = before[..longest].to_vec();
        let covered = low(&after, CrashKind::Power);
        let floor = if covered > 0 { whole.len() + covered } else { floor };
        whole.extend(after.iter().cloned());
        let allowed: Vec<_> = (floor..=whole.len()).map(|p| model(&whole[..p])).collect();
        let tried = (0..=whole.len()).map(|p| model(&whole[..p]));
        for state in tried.chain((0..=before.len()).map(|p| model(&before[..p]))) {
            let passes = said(&run, CrashKind::Power, state.clone()).is_ok();
            prop_assert_eq!(passes, allowed.contains(&state), "{:?}", state);
        }
    }

    #[test]
    fn per_key_order_allows_a_different_prefix_for_each_key(
        ops in ops(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        let run = play(&ops, Promises { order: Order::PerKey, ..Promises::default() });
        let about = |key: &str, line: &str| line == "sync" || line.split(' ').nth(1) == Some(key);
        let (mut state, mut kept) = (State::new(), true);
        for (key, place) in places.iter().enumerate() {
            let key = format!("k{key}");
            let covers = |(line, ack): &(String, Ack)| *ack == DURABLE && about(&key, line);
            let low = ops.iter().rposition(covers).map_or(0, |at| at + 1);
            let p = place.index(ops.len() + 1);
            let value = model(&ops[..p]).get(key.as_bytes()).map(<[u8]>::to_vec);
            let same = |q: usize| model(&ops[..q]).get(key.as_bytes()) == value.as_deref();
            kept &= (low..=ops.len()).any(same);
            value.map(|value| state.set(key.clone(), value));
        }
        let expected = if kept { PASSES } else { Err(Class::LostWrite) };
        prop_assert_eq!(said(&run, CrashKind::Power, state), expected);
    }
}
