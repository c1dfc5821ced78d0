//! The differences between two states, and the effect of one op as a list of changes.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use crate::base::time::Time;
use crate::sim::model::Model;
use crate::sim::state::State;

/// The value of an item; `None` if it is absent.
pub(super) type Value = Option<Arc<[u8]>>;

/// One item that differs between two states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ItemChange {
    pub(super) item: Arc<[u8]>,
    pub(super) old: Value,
    pub(super) new: Value,
}

impl ItemChange {
    fn new(item: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) -> Self {
        Self { item: item.into(), old: old.map(Arc::from), new: new.map(Arc::from) }
    }
}

/// The items that differ, in the order of their bytes.
pub(super) fn differences(old: &State, new: &State) -> Vec<ItemChange> {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    while let Some(item) = first(&mut olds, &mut news) {
        let old = olds.next_if(|(at, _)| *at == item).map(|(_, value)| value);
        let new = news.next_if(|(at, _)| *at == item).map(|(_, value)| value);
        if old != new {
            changes.push(ItemChange::new(item, old, new));
        }
    }
    changes
}

/// The smaller of the items that two walks reach next.
fn first<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    olds: &mut Peekable<I>,
    news: &mut Peekable<impl Iterator<Item = (&'a [u8], &'a [u8])>>,
) -> Option<&'a [u8]> {
    match (olds.peek(), news.peek()) {
        (Some((old, _)), Some((new, _))) => Some((*old).min(*new)),
        (one, other) => one.or(other).map(|(item, _)| *item),
    }
}

/// A model with the state that it last showed, so that the effect of an op can be seen without a
/// copy of the state before it.
#[derive(Clone)]
pub(super) struct Replica<M> {
    model: M,
    shown: State,
}

impl<M: Model> Replica<M> {
    /// A model with the state that it shows at `at`.
    pub(super) fn new(mut model: M, at: Time) -> Self {
        let shown = model.state(at).clone();
        Self { model, shown }
    }

    pub(super) fn model(&self) -> &M {
        &self.model
    }

    pub(super) fn shown(&self) -> &State {
        &self.shown
    }

    /// Applies an op that was issued at `at`; returns what it changed.
    pub(super) fn apply(&mut self, op: &M::Op, at: Time) -> Vec<ItemChange> {
        self.model.apply(op, at);
        let now = self.model.state(at);
        if now.digest() == self.shown.digest() {
            return Vec::new();
        }
        let hint = M::items(op).and_then(|items| hinted(&self.shown, now, items));
        let changes = hint.unwrap_or_else(|| differences(&self.shown, now));
        for change in &changes {
            match &change.new {
                Some(value) => self.shown.set(&*change.item, &**value),
                None => self.shown.remove(&change.item),
            };
        }
        changes
    }
}

/// Every item that is present initially or after any of these ops. Costs only what the ops
/// change, where the model says which items they are about.
pub(crate) fn items_set_by<M: Model>(ops: impl IntoIterator<Item = M::Op>) -> BTreeSet<Vec<u8>> {
    let mut replica = Replica::new(M::default(), Time::START);
    let mut items: BTreeSet<Vec<u8>> =
        replica.shown().iter().map(|(item, _)| item.to_vec()).collect();
    for op in ops {
        let set = replica.apply(&op, Time::START).into_iter().filter(|change| change.new.is_some());
        items.extend(set.map(|change| change.item.to_vec()));
    }
    items
}

/// The changes, if no other items changed, which the digests show.
fn hinted(old: &State, new: &State, mut items: Vec<Vec<u8>>) -> Option<Vec<ItemChange>> {
    items.sort();
    items.dedup();
    let (mut before, mut after) = (State::new(), State::new());
    let mut changes = Vec::new();
    for item in items {
        let (was, is) = (old.get(&item), new.get(&item));
        if was != is {
            changes.push(ItemChange::new(&item, was, is));
            was.map(|value| before.set(item.clone(), value));
            is.map(|value| after.set(item, value));
        }
    }
    let moved = |from: &State, to: &State| to.digest().0.wrapping_sub(from.digest().0);
    (moved(old, new) == moved(&before, &after)).then_some(changes)
}
