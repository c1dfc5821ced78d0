//! The ops of the event store: the calls of its service, and damage to its files.

use std::fmt;

use crashpoint::{Operation, TextError, Word, quote};

/// An event: its id, its entity, its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(pub u16, pub String, pub Vec<u8>);

/// The part of a file in which bits of a byte are flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Magic and version of the checkpoint.
    Header,
    /// The checksum of the checkpoint.
    Checksum,
    /// The body of the checkpoint.
    Body,
    /// The footer of a segment.
    Footer,
}

/// One op of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// An event, unless its id is stored.
    Append(Event),
    /// Events as one batch, without those whose ids are stored.
    Batch(Vec<Event>),
    /// Make all durable.
    Sync,
    /// Write a checkpoint.
    Checkpoint,
    /// Merge the segments.
    Compact,
    /// Sync after this many events; 0 is never.
    Every(u32),
    /// Flip bits of a byte at rest; the number chooses which byte.
    Spoil(Part, u16),
    /// Cut the checkpoint to this many 65536ths of its length.
    Cut(u16),
    /// Keep a copy of the checkpoint.
    Keep,
    /// Replace the checkpoint by the copy that was kept.
    PutBack,
}

const PARTS: [(&str, Part); 4] = [
    ("header", Part::Header),
    ("checksum", Part::Checksum),
    ("body", Part::Body),
    ("footer", Part::Footer),
];

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} {} {}", self.0, quote(self.1.as_bytes()), quote(&self.2))
    }
}

impl fmt::Display for StoreOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(event) => write!(f, "append{event}"),
            Self::Batch(events) => {
                f.write_str("batch")?;
                events.iter().try_for_each(|event| write!(f, "{event}"))
            }
            Self::Sync => f.write_str("sync"),
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Compact => f.write_str("compact"),
            Self::Every(events) => write!(f, "every {events}"),
            Self::Spoil(part, at) => {
                let name =
                    PARTS.iter().find(|(_, named)| named == part).map_or("", |named| named.0);
                write!(f, "spoil {name} {at}")
            }
            Self::Cut(at) => write!(f, "cut {at}"),
            Self::Keep => f.write_str("keep"),
            Self::PutBack => f.write_str("put-back"),
        }
    }
}

fn number<T: std::str::FromStr>(word: &Word) -> Result<T, TextError> {
    word.text().parse().map_err(|_| TextError::new(word.column, "expected a small number"))
}

fn event(words: &[Word]) -> Result<Event, TextError> {
    let [id, entity, payload] = words else {
        let column = words.first().map_or(1, |word| word.column);
        return Err(TextError::new(column, "an event is `ID ENTITY PAYLOAD`"));
    };
    let name = String::from_utf8(entity.bytes.clone()).ok().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| TextError::new(entity.column, "an entity is UTF-8"))?;
    Ok(Event(number(id)?, name, payload.bytes.clone()))
}

impl Operation for StoreOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let name = words.first().map(|word| word.bytes.as_slice()).unwrap_or_default();
        match (name, words.get(1..).unwrap_or_default()) {
            (b"append", words) => Ok(Self::Append(event(words)?)),
            (b"batch", words) => {
                Ok(Self::Batch(words.chunks(3).map(event).collect::<Result<_, _>>()?))
            }
            (b"sync", []) => Ok(Self::Sync),
            (b"checkpoint", []) => Ok(Self::Checkpoint),
            (b"compact", []) => Ok(Self::Compact),
            (b"every", [events]) => Ok(Self::Every(number(events)?)),
            (b"spoil", [part, at]) => {
                let named = PARTS.iter().find(|(name, _)| part.text() == *name);
                let message = "expected header, checksum, body or footer";
                let (_, part) = named.ok_or_else(|| TextError::new(part.column, message))?;
                Ok(Self::Spoil(*part, number(at)?))
            }
            (b"cut", [at]) => Ok(Self::Cut(number(at)?)),
            (b"keep", []) => Ok(Self::Keep),
            (b"put-back", []) => Ok(Self::PutBack),
            _ => {
                let column = words.first().map_or(1, |word| word.column);
                let message = "expected `append ID ENTITY PAYLOAD`, `batch` with several of these, \
                               `sync`, `checkpoint`, `compact`, `every N`, `spoil PART N`, \
                               `cut N`, `keep` or `put-back`";
                Err(TextError::new(column, message))
            }
        }
    }
}
