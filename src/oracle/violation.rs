//! Violations: the class of a broken promise, its signature, and the items that show it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::text::quote;

/// The kind of promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The store shows an earlier state than it promised: acknowledged ops at its end are gone.
    LostWrite,
    /// An op is missing although a later one is there.
    Hole,
    /// One part of an atomic op is there and another is not.
    TornBatch,
    /// A deleted or expired value is back, or one that an earlier recovery did not show.
    Resurrected,
    /// An item shows a value that was written to it, but not in this history.
    WrongValue,
    /// An item shows a value that was never written to it.
    PhantomValue,
    /// The store cannot be opened.
    OpenFailed,
    /// The store opens, but an item cannot be read.
    ReadFailed,
    /// Scan, lookup and count disagree.
    Inconsistent,
    /// The engine panicked, or left a panicked thread unjoined.
    Panicked,
    /// The engine ended the process.
    Aborted,
    /// The engine hangs: it spins, or waits for what will never come.
    Hung,
    /// The engine asked for more memory than it is allowed.
    OutOfMemory,
    /// Opening the store twice, with nothing written in between, shows different states.
    NotIdempotent,
    /// A thread of the engine outlives its close.
    Leaked,
    /// The store cannot be opened after a crash during its very first open.
    CreateInterrupted,
    /// An op returned an error, though no fault was injected before it.
    OpFailed,
    /// A close returned an error, though no fault was injected before it.
    CloseFailed,
}

impl Class {
    /// Every class, in the order of declaration.
    pub const ALL: [Self; 18] = [
        Self::LostWrite,
        Self::Hole,
        Self::TornBatch,
        Self::Resurrected,
        Self::WrongValue,
        Self::PhantomValue,
        Self::OpenFailed,
        Self::ReadFailed,
        Self::Inconsistent,
        Self::Panicked,
        Self::Aborted,
        Self::Hung,
        Self::OutOfMemory,
        Self::NotIdempotent,
        Self::Leaked,
        Self::CreateInterrupted,
        Self::OpFailed,
        Self::CloseFailed,
    ];

    /// Its word in the case grammar.
    pub fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost-write",
            Self::Hole => "hole",
            Self::TornBatch => "torn-batch",
            Self::Resurrected => "resurrected",
            Self::WrongValue => "wrong-value",
            Self::PhantomValue => "phantom-value",
            Self::OpenFailed => "open-failed",
            Self::ReadFailed => "read-failed",
            Self::Inconsistent => "inconsistent",
            Self::Panicked => "panicked",
            Self::Aborted => "aborted",
            Self::Hung => "hung",
            Self::OutOfMemory => "out-of-memory",
            Self::NotIdempotent => "not-idempotent",
            Self::Leaked => "leaked",
            Self::CreateInterrupted => "create-interrupted",
            Self::OpFailed => "op-failed",
            Self::CloseFailed => "close-failed",
        }
    }

    /// The violation in plain words, as the headline of a report.
    pub fn headline(self) -> &'static str {
        match self {
            Self::LostWrite => "lost a write that had been acknowledged",
            Self::Hole => "lost a write but kept a later one",
            Self::TornBatch => "kept only part of an atomic write",
            Self::Resurrected => "brought back what was gone",
            Self::WrongValue => "shows a value from another history",
            Self::PhantomValue => "shows a value that was never written",
            Self::OpenFailed => "cannot be opened after a crash",
            Self::ReadFailed => "cannot be read after a crash",
            Self::Inconsistent => "contradicts itself",
            Self::Panicked => "panicked",
            Self::Aborted => "ended the process",
            Self::Hung => "hangs",
            Self::OutOfMemory => "asked for too much memory",
            Self::NotIdempotent => "shows a different state when opened again",
            Self::Leaked => "left threads behind",
            Self::CreateInterrupted => "cannot be opened after a crash during its creation",
            Self::OpFailed => "returned an error without a reason",
            Self::CloseFailed => "cannot be closed",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = SignatureError;

    fn from_str(name: &str) -> Result<Self, SignatureError> {
        let class = Self::ALL.into_iter().find(|class| class.name() == name);
        class.ok_or_else(|| SignatureError(name.into()))
    }
}

/// The error of a word that does not name a class of violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a class of violation")]
pub struct SignatureError(String);

/// The identity of a violation: two with equal signatures are the same failure. It has the class,
/// a normalised payload (such as the kind of op that was lost), and the engine's source line if it
/// is known, but no message text, keys, values, times or thread ids.
///
/// It is displayed as one word of the case grammar: `lost-write:put@src/log.rs:40`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Signature {
    class: Class,
    payload: String,
    source: String,
}

impl Signature {
    /// The signature of a class alone.
    pub fn new(class: Class) -> Self {
        Self { class, payload: String::new(), source: String::new() }
    }

    /// With this payload. Characters other than ASCII letters, digits, `-`, `_` and `.` become `_`.
    #[must_use]
    pub fn with_payload(mut self, payload: &str) -> Self {
        self.payload = plain(payload, "-_.");
        self
    }

    /// With one more word in the payload, unless the word is empty.
    #[must_use]
    pub fn with_more(self, word: &str) -> Self {
        let parts = [self.payload.as_str(), word];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let payload = parts.join(".");
        self.with_payload(&payload)
    }

    /// With the engine's source line, such as `src/log.rs:40`. Characters that a plain word cannot
    /// have become `_`.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> Self {
        self.source = plain(source, "-_./:+");
        self
    }

    /// The class.
    pub fn class(&self) -> Class {
        self.class
    }
}

fn plain(text: &str, marks: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    text.chars().map(|c| if keep(c) { c } else { '_' }).collect()
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class.name())?;
        if !self.payload.is_empty() {
            write!(f, ":{}", self.payload)?;
        }
        if !self.source.is_empty() {
            write!(f, "@{}", self.source)?;
        }
        Ok(())
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (rest, source) = text.split_once('@').unwrap_or((text, ""));
        let (class, payload) = rest.split_once(':').unwrap_or((rest, ""));
        Ok(Self::new(class.parse()?).with_payload(payload).with_source(source))
    }
}

/// One item that shows a violation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemDiff {
    /// The item.
    pub item: Vec<u8>,
    /// Its value in the nearest allowed state; `None` if it is absent there.
    pub expected: Option<Vec<u8>>,
    /// Its value in the store; `None` if it is absent.
    pub found: Option<Vec<u8>>,
    /// Where the two values come from, such as `acknowledged durable at step 4`.
    pub note: String,
}

impl fmt::Debug for ItemDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<Vec<u8>>| value.as_deref().map_or("absent".into(), quote);
        let (expected, found) = (value(&self.expected), value(&self.found));
        write!(f, "{}: expected {expected}, found {found} ({})", quote(&self.item), self.note)
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its identity, with its class.
    pub signature: Signature,
    /// The items that differ from the nearest allowed state, in the order of their bytes. Empty if
    /// no state was read.
    pub details: Vec<ItemDiff>,
    /// A description for people; it may name steps and quote the engine's error.
    pub message: String,
}

impl Violation {
    /// A violation that no item shows: the engine could not be opened, panicked, hung, ...
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { signature: Signature::new(class), details: Vec::new(), message: message.into() }
    }

    /// The kind of promise that was broken.
    pub fn class(&self) -> Class {
        self.signature.class()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.signature, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_reads_back_by_its_name() {
        for class in Class::ALL {
            assert_eq!(class.to_string().parse(), Ok(class));
            assert_eq!(Class::ALL.iter().filter(|c| c.name() == class.name()).count(), 1);
        }
        assert!("lost".parse::<Class>().is_err());
    }

    #[test]
    fn a_signature_is_one_word_that_reads_back() {
        let bare = Signature::new(Class::Hole);
        let kind = bare.clone().with_payload("put");
        assert_eq!(bare.clone().with_more("").with_more("put"), kind);
        assert_eq!(kind.clone().with_more("Io").to_string(), "hole:put.Io");
        let full = kind.clone().with_source("src/log file.rs:40");
        assert_eq!(full.to_string(), "hole:put@src/log_file.rs:40");
        for signature in [bare, kind, full, Signature::new(Class::Hung).with_source("a@b:1")] {
            assert_eq!(signature.to_string().parse(), Ok(signature.clone()));
            assert_eq!(quote(signature.to_string().as_bytes()), signature.to_string());
        }
    }

    #[test]
    fn a_violation_survives_a_postcard_round_trip() {
        let detail = ItemDiff {
            item: b"k\0".to_vec(),
            expected: Some(b"1".to_vec()),
            found: None,
            note: "acknowledged durable at step 4".into(),
        };
        for class in Class::ALL {
            let violation = Violation {
                signature: Signature::new(class).with_payload("put").with_source("src/log.rs:40"),
                details: vec![detail.clone()],
                message: class.headline().into(),
            };
            let bytes = postcard::to_allocvec(&violation).expect("it encodes");
            let back: Violation = postcard::from_bytes(&bytes).expect("it decodes");
            assert_eq!(back, violation);
        }
    }
}
