//! The index in memory: every event's place and hashes, by id, by entity, and in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::frame::Chain;

/// Strings by small numbers. Number 0 is the empty string, which names no entity or scope.
#[derive(Clone, Debug)]
pub(super) struct Interner {
    numbers: BTreeMap<Arc<str>, u32>,
    strings: Vec<Arc<str>>,
}

impl Default for Interner {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { numbers: BTreeMap::from([(Arc::clone(&empty), 0)]), strings: vec![empty] }
    }
}

impl Interner {
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let (number, text) = (self.strings.len() as u32, Arc::<str>::from(text));
        self.strings.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub(super) fn text(&self, number: u32) -> &str {
        &self.strings[number as usize]
    }

    pub(super) fn strings(&self) -> impl Iterator<Item = &str> {
        self.strings.iter().map(AsRef::as_ref)
    }
}

/// An event's entry in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event's own id.
    pub id: u128,
    /// The id of the event that began the chain of causes.
    pub correlation: u128,
    /// The id of the event that caused this one.
    pub causation: Option<u128>,
    /// The kind: a category in the upper 4 bits, a type in the lower 12.
    pub kind: u16,
    /// Milliseconds since 1970; never less than those of the entity's previous event.
    pub wall_ms: u64,
    /// The event's number in its entity, from 0.
    pub clock: u32,
    /// The BLAKE3 hash of the payload of the entity's previous event; zeros for the first.
    pub prev_hash: [u8; 32],
    /// The BLAKE3 hash of the payload.
    pub event_hash: [u8; 32],
    /// The event's number in the store, from 0.
    pub sequence: u64,
    pub(super) entity: u32,
    pub(super) scope: u32,
    pub(super) at: At,
}

/// The place of an event's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl At {
    /// The offset after the frame, or `u64::MAX` if that is too large.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(self.length.into())
    }
}

impl Entry {
    pub(super) fn chain(&self) -> Chain {
        Chain { prev_hash: self.prev_hash, event_hash: self.event_hash }
    }
}

/// All events, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) interner: Interner,
    pub(super) entries: Vec<Entry>,
    by_id: BTreeMap<u128, u32>,
    /// The positions of an entity's entries, by its number.
    streams: Vec<Vec<u32>>,
    /// The number of the next event.
    pub(super) next_sequence: u64,
}

impl Index {
    /// Adds an entry after all others, and returns true; or returns false if its event is there
    /// already, which an interrupted compaction of the origin leaves on disk twice.
    pub(super) fn insert(&mut self, mut entry: Entry, entity: &str, scope: &str) -> bool {
        if self.by_id.contains_key(&entry.id) {
            return false;
        }
        entry.entity = self.interner.intern(entity);
        entry.scope = self.interner.intern(scope);
        self.add(entry);
        true
    }

    /// Adds an entry whose entity and scope are numbered, and whose event is new.
    pub(super) fn add(&mut self, entry: Entry) {
        let (at, stream) = (self.entries.len() as u32, entry.entity as usize);
        self.by_id.insert(entry.id, at);
        if self.streams.len() <= stream {
            self.streams.resize_with(stream + 1, Vec::new);
        }
        self.streams[stream].push(at);
        self.next_sequence = self.next_sequence.max(entry.sequence + 1);
        self.entries.push(entry);
    }

    pub(super) fn get(&self, id: u128) -> Option<&Entry> {
        self.by_id.get(&id).map(|at| &self.entries[*at as usize])
    }

    /// An entity's entries in order.
    pub(super) fn stream(&self, entity: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        let number = self.interner.number(entity).filter(|number| *number != 0);
        let stream = number.and_then(|number| self.streams.get(number as usize));
        stream.into_iter().flatten().map(|at| &self.entries[*at as usize])
    }

    pub(super) fn latest(&self, entity: &str) -> Option<&Entry> {
        self.stream(entity).next_back()
    }
}
