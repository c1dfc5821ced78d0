//! A finding: a violation with everything that a report and a saved case say about it.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::job::Kind;
use super::site::SourceLine;
use crate::base::digest::Digest;
use crate::base::time::Time;
use crate::case::{Case, Position};
use crate::disk::relax::Relaxation;
use crate::disk::rot::Rot;
use crate::log::Phase;
use crate::oracle::{CrashKind, Violation};

/// A violation with everything that a report and a saved case say about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The case that shows it; its expectation is this finding.
    pub case: Case,
    /// The broken promise.
    pub violation: Violation,
    /// The last crash before it; `None` if there was none.
    pub crash: Option<CrashScene>,
    /// The fate of the pending pieces at that crash.
    pub pieces: Pieces,
    /// Digest of the run or recovery that showed it.
    pub digest: Digest,
    /// The surprises of the disk that it needs; empty if this was not determined, or if it needs
    /// none.
    pub relaxations: BTreeSet<Relaxation>,
    /// The profiles that lose it and keep it, if this was determined.
    pub verdict: Option<Verdict>,
}

impl Finding {
    /// Its kind: equal for findings that count as the same.
    pub fn kind(&self) -> Kind {
        Kind { class: self.violation.class(), signature: self.violation.signature.clone() }
    }
}

/// A crash as a report describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashScene {
    /// Process or power.
    pub kind: CrashKind,
    /// The fate of pages in the cache whose write had failed.
    pub cache: Cache,
    /// The bytes that rotted while the machine was down.
    pub rot: Option<Rot>,
    /// Whether an earlier crash had been recovered from.
    pub recovered: bool,
    /// Where in the epoch.
    pub position: Position,
    /// The opening or closing that returned last.
    pub phase: Option<Phase>,
    /// The call in flight or the next one, as `call:path`, if either belongs to the case.
    pub call: Option<NearbyCall>,
    /// When.
    pub at: Time,
}

/// The fate of pages in the cache whose write had failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cache {
    /// There were none, or the power was lost.
    Unaffected,
    /// They were kept.
    Kept,
    /// They were evicted.
    Evicted,
}

/// The call at a crash point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NearbyCall {
    /// The crash came inside it.
    InFlight(String),
    /// The crash came before it.
    Next(String),
}

/// The fate of the pending pieces at a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// The number of pending pieces.
    pub pending: u64,
    /// The number of those kept whole.
    pub kept: u64,
    /// The number of those torn.
    pub torn: u64,
    /// Each piece that was lost or torn.
    pub losses: Vec<LostPiece>,
}

/// A piece that was lost or torn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostPiece {
    /// Its name in the case grammar: `log@4096 bytes 0..100`, `log.size 0->4096`.
    pub name: String,
    /// The bytes that were kept, if it was torn.
    pub kept: Option<Range<u16>>,
    /// The bytes that hold junk, if some do.
    #[serde(default)]
    pub junk: Option<Range<u16>>,
    /// The source line that wrote it, if it is known.
    pub line: Option<SourceLine>,
}

/// The profiles on which a finding is lost and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The profiles with a crash state at this crash point that shows it.
    pub lost: Vec<String>,
    /// The profiles without one.
    pub kept: Vec<Kept>,
    /// The surprises of the disk that decide it.
    pub decided_by: Vec<Relaxation>,
}

/// A profile without a crash state that shows a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The profile.
    pub profile: String,
    /// Whether not all its crash states were tried.
    pub sampled: bool,
}
