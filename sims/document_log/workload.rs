//! Workloads of the document log.

use std::time::Duration;

use crashpoint::sim::Step;
use proptest::collection::vec;
use proptest::prelude::*;

use super::op::{DocOp, Document};

/// Workloads of up to so many steps: with flushes, syncs and pauses if the log writes late, with
/// several clients at once if there are any.
pub(super) fn workload(
    steps: usize,
    late: bool,
    clients: usize,
) -> BoxedStrategy<Vec<Step<DocOp>>> {
    let alone = alone("c", late).prop_map(Step::Op);
    let pause = (1..120u64).prop_map(|millis| Step::Sleep(Duration::from_millis(millis)));
    let together = together(late, clients.max(2)).prop_map(Step::Op);
    let step = prop_oneof![
        14 => alone,
        1 => Just(Step::Reopen),
        if late { 2 } else { 0 } => pause,
        if clients > 1 { 8 } else { 0 } => together,
    ];
    vec(step, 1..=steps.max(1)).boxed()
}

/// Clients at the same time: each with collections of its own.
fn together(late: bool, clients: usize) -> impl Strategy<Value = DocOp> {
    let letters = ["x", "y", "z", "w"];
    let client = |at: usize| vec(alone(letters[at % letters.len()], late), 1..4).boxed();
    let few: Vec<_> = (0..clients).map(client).collect();
    let mut all = few.prop_map(DocOp::Together).boxed();
    if clients > 2 {
        let two: Vec<_> = (0..2).map(client).collect();
        all = prop_oneof![3 => two.prop_map(DocOp::Together), 1 => all].boxed();
    }
    all
}

/// What one client does, in collections whose names begin like this.
fn alone(collections: &'static str, late: bool) -> impl Strategy<Value = DocOp> {
    let name = move || {
        prop_oneof![4 => Just(0u8), 1 => 1..3u8].prop_map(move |n| format!("{collections}{n}"))
    };
    let doc =
        move || {
            (name(), key(), version(), text()).prop_map(|(collection, key, version, text)| {
                Document { collection, key, version, text }
            })
        };
    prop_oneof![
        10 => doc().prop_map(DocOp::Put),
        4 => vec(doc(), 2..5).prop_map(DocOp::Batch),
        3 => (name(), key()).prop_map(|(name, key)| DocOp::Delete(name, key)),
        1 => name().prop_map(DocOp::Drop),
        3 => Just(DocOp::Compact),
        if late { 1 } else { 0 } => Just(DocOp::Flush),
        if late { 1 } else { 0 } => Just(DocOp::Sync),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![5 => 0..3u16, 1 => 0..40u16].prop_map(|n| format!("k{n}"))
}

/// Mostly none; else small, so that every other one is too old.
fn version() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 1 => 1..5u64]
}

/// Empty, short, a sector, several blocks; what JSON escapes, and more than a byte a letter.
fn text() -> impl Strategy<Value = String> {
    let length = prop_oneof![1 => Just(0usize), 6 => 1..30usize, 2 => 400..1400usize,
        1 => 5000..13000usize];
    let fill = prop_oneof![4 => Just('v'), 1 => Just('"'), 1 => Just('é'), 1 => Just('\n')];
    (any::<u16>(), length, fill).prop_map(|(number, length, fill)| {
        let mut text = if length == 0 { String::new() } else { number.to_string() };
        while text.len() < length {
            text.push(fill);
        }
        text
    })
}
