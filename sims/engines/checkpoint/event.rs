//! Events in the form that callers use.

use serde::{Deserialize, Serialize};

use super::frame::{self, BODY_MAX, Body, Event, Header, Position};
use super::index::{At, Entry};
use super::{DATA, StoreError};

/// The longest name of an entity or a scope, in bytes.
const NAME_MAX: usize = 1024;
/// The longest payload, in bytes: a byte takes two in the frame.
const PAYLOAD_MAX: usize = BODY_MAX / 4;

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The entity: 1 to 1024 bytes.
    pub entity: String,
    /// The scope: 1 to 1024 bytes.
    pub scope: String,
    /// The kind: a category in the upper 4 bits, a type in the lower 12. Categories 0x0 and 0xD
    /// are the format's own.
    pub kind: u16,
    /// The payload, in MessagePack.
    pub payload: Vec<u8>,
    /// The event's id, if the caller has one. An event whose id is stored already is not
    /// appended again.
    pub id: Option<u128>,
    /// The id of the event that began the chain of causes; its own if there is none.
    pub correlation: Option<u128>,
    /// The id of the event that caused it; not 0.
    pub causation: Option<u128>,
    /// The clock that the entity's last event must have.
    pub expected_clock: Option<u32>,
}

/// The numbers of an appended event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: u128,
    /// Its number in the store.
    pub sequence: u64,
    /// Its number in its entity.
    pub clock: u32,
}

/// An event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its entry in the index.
    pub entry: Entry,
    /// The entity.
    pub entity: String,
    /// The scope.
    pub scope: String,
    /// The time when it was appended, in microseconds since 1970.
    pub timestamp_us: i64,
    /// The payload, in MessagePack.
    pub payload: Vec<u8>,
}

impl NewEvent {
    /// An event of kind [`DATA`] with this payload.
    ///
    /// # Errors
    /// `InvalidEvent` if the payload cannot be put into MessagePack.
    pub fn new(
        entity: &str,
        scope: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, StoreError> {
        let payload = rmp_serde::to_vec_named(payload)
            .map_err(|error| StoreError::InvalidEvent(error.to_string()))?;
        Ok(Self {
            entity: entity.to_owned(),
            scope: scope.to_owned(),
            kind: DATA,
            payload,
            id: None,
            correlation: None,
            causation: None,
            expected_clock: None,
        })
    }

    /// The same event with this id.
    pub fn with_id(self, id: u128) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same event, caused by another.
    pub fn caused_by(self, cause: u128) -> Self {
        Self { causation: Some(cause), ..self }
    }

    /// Checks that the format can hold it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let invalid = |what: String| Err(StoreError::InvalidEvent(what));
        for (what, name) in [("entity", &self.entity), ("scope", &self.scope)] {
            if name.is_empty() || name.len() > NAME_MAX {
                let len = name.len();
                return invalid(format!("the {what} has {len} bytes, not 1 to {NAME_MAX}"));
            }
        }
        match (self.kind >> 12, self.causation) {
            (0x0 | 0xD, _) => invalid(format!("kind {:#06x} is reserved", self.kind)),
            (_, Some(0)) => invalid("no event has the id 0".into()),
            _ if self.payload.len() > PAYLOAD_MAX => {
                invalid(format!("the payload has more than {PAYLOAD_MAX} bytes"))
            }
            _ => Ok(()),
        }
    }

    /// Appends the event's frame to `out`, and returns its entry, whose place is still to be
    /// completed.
    pub(super) fn encode(
        &self,
        out: &mut Vec<u8>,
        timestamp_us: i64,
        before: Option<&Entry>,
        sequence: u64,
    ) -> Result<Entry, StoreError> {
        let id = self.id.unwrap_or_else(|| uuid::Uuid::now_v7().as_u128());
        let event_hash = *blake3::hash(&self.payload).as_bytes();
        let wall_ms = frame::millis(timestamp_us);
        let mut entry = Entry {
            id,
            correlation: self.correlation.unwrap_or(id),
            causation: self.causation,
            kind: self.kind,
            wall_ms: before.map_or(wall_ms, |before| before.wall_ms.max(wall_ms)),
            clock: before.map_or(0, |before| before.clock + 1),
            prev_hash: before.map_or([0; 32], |before| before.event_hash),
            event_hash,
            sequence,
            entity: 0,
            scope: 0,
            at: At { segment: 0, offset: out.len() as u64, length: 0 },
        };
        let header = Header {
            event_id: frame::id(id),
            correlation_id: frame::id(entry.correlation),
            causation_id: entry.causation.map(frame::id),
            timestamp_us,
            position: Position {
                wall_ms: entry.wall_ms,
                sequence: entry.clock,
                ..Position::default()
            },
            payload_size: self.payload.len() as u32,
            event_kind: self.kind,
            flags: 0,
            content_hash: event_hash,
        };
        let payload = self.payload.as_slice();
        let event = Event { header, payload, hash_chain: Some(entry.chain()) };
        frame::encode(out, &Body { event, entity: &self.entity, scope: &self.scope })?;
        entry.at.length = (out.len() as u64 - entry.at.offset) as u32;
        Ok(entry)
    }
}

impl StoredEvent {
    /// Decodes the payload into the type that it was made of.
    ///
    /// # Errors
    /// `InvalidEvent` if it is of another type.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, StoreError> {
        rmp_serde::from_slice(&self.payload)
            .map_err(|error| StoreError::InvalidEvent(error.to_string()))
    }
}
