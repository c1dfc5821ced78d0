//! The observable state of a store: named items and their values, with a digest.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use crate::base::digest::{Digest, Digester};
use crate::base::text::quote;

/// The items that a read-back shows or a model predicts, such as keys, a cursor or a counter, with
/// their values. Both are any bytes.
///
/// [`State::digest`] is kept up to date with each change and is free to read, so a state is
/// looked up among those of ten thousand histories by its digest.
///
/// ```
/// use crashpoint::State;
///
/// let mut state = State::from_iter([("k1", "a"), ("cursor", "7")]);
/// assert_eq!(state.set("k1", "b"), Some(b"a".to_vec()));
/// assert_eq!(state.get(b"cursor"), Some(&b"7"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    sum: u64,
}

impl State {
    /// A state without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an item; returns its previous value.
    pub fn set(&mut self, item: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Option<Vec<u8>> {
        let (item, value) = (item.into(), value.into());
        let before = self.remove(&item);
        self.sum = self.sum.wrapping_add(digest(&item, &value));
        self.items.insert(item, value);
        before
    }

    /// Removes an item; returns its previous value.
    pub fn remove(&mut self, item: &[u8]) -> Option<Vec<u8>> {
        let value = self.items.remove(item)?;
        self.sum = self.sum.wrapping_sub(digest(item, &value));
        Some(value)
    }

    /// The value of an item.
    pub fn get(&self, item: &[u8]) -> Option<&[u8]> {
        self.items.get(item).map(Vec::as_slice)
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.items.iter().map(|(item, value)| (item.as_slice(), value.as_slice()))
    }

    /// A digest of all items and values: the sum of their hashes, so that it can follow each
    /// change.
    pub fn digest(&self) -> Digest {
        Digest(self.sum)
    }
}

fn digest(item: &[u8], value: &[u8]) -> u64 {
    let mut digester = Digester::default();
    digester.add(item);
    digester.add(value);
    digester.finish().0
}

impl<I: Into<Vec<u8>>, V: Into<Vec<u8>>> FromIterator<(I, V)> for State {
    fn from_iter<T: IntoIterator<Item = (I, V)>>(items: T) -> Self {
        let mut state = Self::new();
        for (item, value) in items {
            state.set(item, value);
        }
        state
    }
}

impl IntoIterator for State {
    type Item = (Vec<u8>, Vec<u8>);
    type IntoIter = btree_map::IntoIter<Vec<u8>, Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = self.items.iter().map(|(item, value)| (quote(item), quote(value)));
        f.debug_map().entries(items).finish()
    }
}
