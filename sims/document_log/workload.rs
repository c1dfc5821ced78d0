//! Workloads of the document log.

use std::time::Duration;

use crashpoint::Step;
use proptest::collection::vec;
use proptest::prelude::*;

use super::op::{DocOp, Document};

/// How many clients work at the same time, and whether they share collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// One client.
    OneClient,
    /// Several clients, each with its own collections.
    Disjoint,
    /// Several clients, sometimes in the same collections.
    Shared,
}

/// Workloads of up to `steps` draws, each a step or, rarely, a series of steady writes. They have
/// flushes, syncs, pauses and steady writes only if a background thread writes the log.
pub(super) fn workload(
    steps: usize,
    background: bool,
    concurrency: Concurrency,
) -> BoxedStrategy<Vec<Step<DocOp>>> {
    let alone = alone("c", background).prop_map(Step::Op);
    let pause = (1..120u64).prop_map(|millis| Step::Sleep(Duration::from_millis(millis)));
    let together = together(background, concurrency).prop_map(Step::Op);
    let step = prop_oneof![
        14 => alone,
        1 => Just(Step::Reopen),
        if background { 2 } else { 0 } => pause,
        if concurrency == Concurrency::OneClient { 0 } else { 8 } => together,
    ];
    let some = prop_oneof![
        20 => step.prop_map(|step| vec![step]),
        if background { 1 } else { 0 } => steady(),
    ];
    vec(some, 1..=steps.max(1)).prop_map(|some| some.concat()).boxed()
}

/// Writes so steady that a background writer which waits for a pause never writes.
fn steady() -> impl Strategy<Value = Vec<Step<DocOp>>> {
    let pause = (10..45u64).prop_map(|millis| Step::Sleep(Duration::from_millis(millis)));
    let put = doc("c").prop_map(|doc| Step::Op(DocOp::Put(doc)));
    vec((put, pause).prop_map(|(put, pause)| [put, pause]), 3..7).prop_map(|pairs| pairs.concat())
}

/// Clients that work at the same time: two or three, each with its own collections, or two that
/// share theirs.
fn together(background: bool, concurrency: Concurrency) -> impl Strategy<Value = DocOp> {
    let client = move |of: &'static str, most: usize| vec(alone(of, background), 1..=most);
    let clients = move |of: &[&'static str], most: usize| {
        let all: Vec<_> = of.iter().map(|of| client(of, most)).collect();
        all.prop_map(DocOp::Together)
    };
    prop_oneof![
        6 => clients(&["x", "y"], 3),
        2 => clients(&["x", "y", "z"], 3),
        if concurrency == Concurrency::Shared { 2 } else { 0 } => clients(&["c", "c"], 2),
    ]
}

/// An op of one client, in collections whose names begin with `collections`.
fn alone(collections: &'static str, background: bool) -> impl Strategy<Value = DocOp> {
    let doc = move || doc(collections);
    prop_oneof![
        10 => doc().prop_map(DocOp::Put),
        4 => vec(doc(), 2..5).prop_map(DocOp::Batch),
        3 => (name(collections), key()).prop_map(|(name, key)| DocOp::Delete(name, key)),
        1 => name(collections).prop_map(DocOp::Drop),
        3 => Just(DocOp::Compact),
        if background { 1 } else { 0 } => Just(DocOp::Flush),
        if background { 1 } else { 0 } => Just(DocOp::Sync),
    ]
}

/// The name of one of three collections, which begins with `collections`.
fn name(collections: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(0u8), 1 => 1..3u8].prop_map(move |n| format!("{collections}{n}"))
}

fn doc(collections: &'static str) -> impl Strategy<Value = Document> {
    let parts = (name(collections), key(), version(), text());
    parts.prop_map(|(collection, key, version, text)| Document { collection, key, version, text })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![5 => 0..3u16, 1 => 0..40u16].prop_map(|n| format!("k{n}"))
}

/// Mostly no version; otherwise a small one, so that about half are too old.
fn version() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 1 => 1..5u64]
}

/// Texts that are empty, short, about a sector or several blocks long, some of them of characters
/// that JSON escapes or of more than one byte.
fn text() -> impl Strategy<Value = String> {
    let length = prop_oneof![1 => Just(0usize), 5 => 1..30usize, 2 => 400..1400usize,
        2 => 4500..13000usize];
    let fill = prop_oneof![4 => Just('v'), 1 => Just('"'), 1 => Just('é'), 1 => Just('\n')];
    (any::<u16>(), length, fill).prop_map(|(number, length, fill)| {
        let mut text = if length == 0 { String::new() } else { number.to_string() };
        while text.len() < length {
            text.push(fill);
        }
        text
    })
}
