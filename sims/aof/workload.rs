//! Workloads of the keyspace: idempotent and other commands on a few keys of each type, with times
//! to live, waits, and the store's own calls in between.

use crashpoint::Step;
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::STEP;
use super::op::{AofOp, Side};
use crate::engines::aof::Bytes;

/// Scores that do not survive a writer that rounds.
const SCORES: [f64; 8] =
    [1e-20, 3.333_333_333_333_333_5e-6, -0.0, 1.5, 2.0, 1e17, -7.25e-3, f64::INFINITY];

/// A key of a type: its letter and a small number.
fn key(letter: &'static str) -> BoxedStrategy<Bytes> {
    prop_oneof![3 => Just(0), 1 => 1..3u8]
        .prop_map(move |n| format!("{letter}{n}").into_bytes())
        .boxed()
}

fn any_key() -> BoxedStrategy<Bytes> {
    (prop_oneof![Just("s"), Just("n"), Just("h"), Just("l"), Just("t"), Just("z")], 0..2u8)
        .prop_map(|(letter, n)| format!("{letter}{n}").into_bytes())
        .boxed()
}

/// A multiple of [`STEP`] and a half, while waits are whole multiples: no wait ends exactly at a
/// deadline.
fn time_to_live() -> BoxedStrategy<u64> {
    prop_oneof![1..6u64, 15..45u64].prop_map(|steps| steps * STEP + STEP / 2).boxed()
}

/// Values that are short, about a sector or several blocks long: a record of the longest spans
/// pages. Some are text that a reader of inline commands would execute.
fn value() -> BoxedStrategy<Bytes> {
    let length = prop_oneof![6 => 1..30usize, 2 => 400..1400usize, 1 => 4000..9000usize];
    let filled = (any::<u16>(), length, prop_oneof![3 => Just(b'v'), 1 => Just(0u8)]).prop_map(
        |(number, length, fill)| {
            let mut value = number.to_string().into_bytes();
            value.resize(length.max(value.len()), fill);
            value
        },
    );
    prop_oneof![
        12 => filled,
        1 => Just(b"FLUSHALL".to_vec()),
        1 => Just(b"\r\nFLUSHALL\r\n\xff\0".to_vec()),
    ]
    .boxed()
}

fn item() -> BoxedStrategy<Bytes> {
    prop_oneof![
        6 => (0..100u8).prop_map(|n| n.to_string().into_bytes()),
        1 => Just(vec![0, 13, 10, 255]),
        1 => Just(vec![b'i'; 700]),
    ]
    .boxed()
}

fn member() -> BoxedStrategy<Bytes> {
    (0..4u8).prop_map(|n| format!("m{n}").into_bytes()).boxed()
}

fn side() -> BoxedStrategy<Side> {
    prop_oneof![Just(Side::Left), Just(Side::Right)].boxed()
}

fn score() -> BoxedStrategy<f64> {
    (0..SCORES.len()).prop_map(|at| SCORES[at]).boxed()
}

fn command() -> BoxedStrategy<AofOp> {
    let string = prop_oneof![
        5 => (key("s"), value(), proptest::option::weighted(0.3, time_to_live()))
            .prop_map(|(k, v, ms)| AofOp::Set(k, v, ms)),
        2 => (key("s"), item()).prop_map(|(k, v)| AofOp::Append(k, v)),
        4 => (key("n"), -3..9i64).prop_map(|(k, by)| AofOp::Incr(k, by)),
    ]
    .boxed();
    let hash = prop_oneof![
        1 => (key("h"), member(), value()).prop_map(|(k, f, v)| AofOp::HSet(k, f, v)),
        2 => (key("h"), 1..9i64).prop_map(|(k, by)| AofOp::HIncr(k, b"count".to_vec(), by)),
        1 => (key("h"), member()).prop_map(|(k, f)| AofOp::HDel(k, f)),
    ]
    .boxed();
    let list = prop_oneof![
        3 => (side(), key("l"), vec(item(), 1..4)).prop_map(|(s, k, i)| AofOp::Push(s, k, i)),
        2 => (side(), key("l")).prop_map(|(s, k)| AofOp::Pop(s, k)),
    ]
    .boxed();
    let members = prop_oneof![
        1 => (key("t"), member()).prop_map(|(k, m)| AofOp::SAdd(k, m)),
        1 => (key("t"), member()).prop_map(|(k, m)| AofOp::SRem(k, m)),
        3 => (key("z"), score(), member()).prop_map(|(k, s, m)| AofOp::ZAdd(k, s, m)),
        1 => (key("z"), prop_oneof![Just(0.1), Just(1e-7)], member())
            .prop_map(|(k, by, m)| AofOp::ZIncr(k, by, m)),
        1 => (key("z"), member()).prop_map(|(k, m)| AofOp::ZRem(k, m)),
    ]
    .boxed();
    let keys = prop_oneof![
        2 => any_key().prop_map(AofOp::Del),
        3 => (any_key(), time_to_live()).prop_map(|(k, ms)| AofOp::Expire(k, ms)),
        1 => any_key().prop_map(AofOp::Persist),
    ]
    .boxed();
    prop_oneof![5 => string, 2 => hash, 3 => list, 3 => members, 3 => keys, ].boxed()
}

fn step() -> BoxedStrategy<Step<AofOp>> {
    let wait = prop_oneof![4 => 1..4u64, 3 => 6..12u64, 2 => 20..26u64];
    let own = prop_oneof![
        3 => Just(AofOp::Save),
        1 => Just(AofOp::Snapshot),
        1 => Just(AofOp::Truncate),
        3 => Just(AofOp::Rewrite),
    ];
    let op = prop_oneof![
        40 => command(),
        6 => own,
        5 => Just(AofOp::Sync),
        6 => wait.prop_map(|steps| AofOp::Wait(steps * STEP)),
        1 => Just(AofOp::Flush),
    ];
    prop_oneof![14 => op.prop_map(Step::Op), 1 => Just(Step::Reopen)].boxed()
}

/// A command on a key, and another on it just after it expired.
fn burst() -> BoxedStrategy<Vec<Step<AofOp>>> {
    let pair = prop_oneof![
        key("n").prop_map(|key| [AofOp::Incr(key.clone(), 5), AofOp::Incr(key, 2)]),
        key("s").prop_map(|key| {
            [AofOp::Set(key.clone(), b"old".to_vec(), None), AofOp::Append(key, b"new".to_vec())]
        }),
        key("l").prop_map(|key| {
            let push = |item: &[u8]| AofOp::Push(Side::Right, key.clone(), vec![item.to_vec()]);
            [push(b"old"), push(b"new")]
        }),
    ];
    (pair, any::<bool>())
        .prop_map(|([first, second], saved)| {
            let expire = first.key().map(|key| AofOp::Expire(key.clone(), STEP + STEP / 2));
            let save = saved.then_some(AofOp::Save);
            let steps = [Some(first), expire, save, Some(AofOp::Wait(2 * STEP)), Some(second)];
            steps.into_iter().flatten().map(Step::Op).collect()
        })
        .boxed()
}

/// A command whose record fills pages of the log, or a short one: the following commands do not
/// rewrite the pages that a failed sync left behind.
fn spanning() -> BoxedStrategy<Step<AofOp>> {
    let long = (key("s"), 4200..9000usize, any::<u8>())
        .prop_map(|(key, length, fill)| AofOp::Set(key, vec![fill | 1; length], None));
    let short = (key("n"), 1..9i64).prop_map(|(key, by)| AofOp::Incr(key, by));
    prop_oneof![1 => long, 1 => short].prop_map(Step::Op).boxed()
}

/// Workloads of up to `steps` draws, each a step or, rarely, a burst of several.
pub(super) fn workload(steps: usize) -> BoxedStrategy<Vec<Step<AofOp>>> {
    let some = prop_oneof![24 => step().prop_map(|step| vec![step]), 1 => burst()];
    let most = steps.max(1);
    let mixed = vec(some, 1..=most).prop_map(|some| some.concat());
    prop_oneof![6 => mixed, 1 => vec(spanning(), 1..=most)].boxed()
}
