//! The model of the event store.

use std::collections::BTreeMap;

use crashpoint::{Model, State, Time};

use super::op::{Event, StoreOp};

/// The item that shows an event.
pub(super) fn item(id: u128) -> Vec<u8> {
    format!("event {id}").into_bytes()
}

/// The id of the event that an item shows.
pub(super) fn id(item: &[u8]) -> Option<u128> {
    std::str::from_utf8(item).ok()?.strip_prefix("event ")?.parse().ok()
}

/// The value of the item that shows an event.
pub(super) fn shown(sequence: u64, entity: &str, clock: u32, payload: &[u8]) -> Vec<u8> {
    [format!("{sequence} {entity}/{clock} ").as_bytes(), payload].concat()
}

/// The scope of an event. `SIDX` at the end of a frame can be mistaken for the end of a footer.
pub(super) fn scope(id: u16) -> &'static str {
    ["home", "office", "SIDX"][usize::from(id % 3)]
}

/// The events that the store should hold. Their sequence numbers are shown only if `NUMBERED`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreModel<const NUMBERED: bool = true> {
    state: State,
    clocks: BTreeMap<String, u32>,
    sequence: u64,
}

impl<const NUMBERED: bool> StoreModel<NUMBERED> {
    fn append(&mut self, Event(id, entity, payload): &Event) {
        if self.state.get(&item((*id).into())).is_some() {
            return;
        }
        let clock = self.clocks.entry(entity.clone()).or_default();
        self.state.set(item((*id).into()), shown(self.sequence, entity, *clock, payload));
        *clock += 1;
        self.sequence += u64::from(NUMBERED);
    }
}

impl<const NUMBERED: bool> Model for StoreModel<NUMBERED> {
    type Op = StoreOp;

    fn apply(&mut self, op: &StoreOp, _at: Time) {
        match op {
            StoreOp::Append(event) => self.append(event),
            StoreOp::Batch(events) => events.iter().for_each(|event| self.append(event)),
            _ => {}
        }
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.state
    }

    fn items(op: &StoreOp) -> Option<Vec<Vec<u8>>> {
        let item = |event: &Event| item(event.0.into());
        match op {
            StoreOp::Append(event) => Some(vec![item(event)]),
            StoreOp::Batch(events) => Some(events.iter().map(item).collect()),
            _ => None,
        }
    }
}
