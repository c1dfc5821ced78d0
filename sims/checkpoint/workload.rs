//! Workloads of the event store: mostly appends.

use crashpoint::Step;
use proptest::collection::vec;
use proptest::prelude::*;

use super::op::{Event, Part, StoreOp};

/// Workloads of up to `steps` steps.
pub(super) fn workload(steps: usize) -> BoxedStrategy<Vec<Step<StoreOp>>> {
    vec(step(), 1..=steps.max(1)).boxed()
}

fn step() -> impl Strategy<Value = Step<StoreOp>> {
    let part = prop_oneof![
        1 => Just(Part::Header), 1 => Just(Part::Checksum), 2 => Just(Part::Body),
        4 => Just(Part::Footer),
    ];
    prop_oneof![
        24 => event_strategy().prop_map(StoreOp::Append),
        5 => vec(event_strategy(), 1..5).prop_map(StoreOp::Batch),
        3 => Just(StoreOp::Sync),
        3 => Just(StoreOp::Checkpoint),
        2 => Just(StoreOp::Compact),
        1 => (0..4u32).prop_map(StoreOp::Every),
        3 => (part, any::<u16>()).prop_map(|(part, at)| StoreOp::Spoil(part, at)),
        1 => any::<u16>().prop_map(StoreOp::Cut),
        1 => Just(StoreOp::Keep),
        2 => Just(StoreOp::PutBack),
    ]
    .prop_map(Step::Op)
    .prop_flat_map(|op| prop_oneof![9 => Just(op), 1 => Just(Step::Reopen)])
}

/// Events of which few have the same id, with payloads that are short, span sectors or span blocks.
fn event_strategy() -> impl Strategy<Value = Event> {
    let length = prop_oneof![6 => 0..30usize, 2 => 300..900usize, 2 => 4000..9000usize];
    let fill = prop_oneof![3 => Just(b'v'), 1 => Just(0u8)];
    (1..2000u16, 0..3u8, length, fill)
        .prop_map(|(id, entity, length, fill)| Event(id, format!("e{entity}"), vec![fill; length]))
}
