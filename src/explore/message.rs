//! The messages that an explorer sends back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::activity::Activity;
use super::finding::Finding;
use super::made_call::MadeCall;
use super::site::{CallSite, SourceLine};
use super::tally::Tally;
use crate::base::digest::Digest;
use crate::host::ending::Ending;

/// A message of an explorer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Message {
    /// The counts so far.
    Progress(Tally),
    /// A violation, the first of its kind.
    Finding(Box<Finding>),
    /// The recording of one epoch of a replay.
    Recording(Recording),
    /// A sync call site.
    Site(SyncSite),
    /// A notice for the user, sent once.
    Notice(String),
    /// The job cannot be carried out.
    Refused(Refusal),
    /// The same crash state was recovered twice with different calls: a bug of the harness.
    NotDeterministic(Box<Nondeterminism>),
    /// What came up, if the job asks for it.
    Activity(Box<Activity>),
    /// The end, with the counts.
    Done(Tally),
}

/// The calls and marks of one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The epoch, counted from 1.
    pub epoch: u32,
    /// Its log, see [`crate::log`].
    #[serde(with = "serde_bytes")]
    pub log: Vec<u8>,
    /// The source line of each call in the log, in their order.
    pub lines: Vec<Option<SourceLine>>,
    /// How the child ended.
    pub ending: Ending,
}

/// A sync call site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SyncSite {
    /// The call site.
    pub site: CallSite,
    /// The call: `fsync`, `fdatasync` and similar.
    pub call: String,
}

/// Why a job cannot be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The part of the case that is wrong, if one is.
    pub part: Option<CasePart>,
    /// The column in the line of that part.
    pub column: Option<usize>,
    /// The reason.
    pub why: String,
}

/// How two recoveries of one crash state differed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nondeterminism {
    /// The digests of the two recoveries.
    pub digests: [Digest; 2],
    /// The first calls in which they differ, if they differed again.
    pub difference: Option<CallDifference>,
    /// Otherwise, the first call that had another answer in the first recovery, if it is known.
    pub call: Option<MadeCall>,
    /// The notices of the run: one of these may name the cause.
    pub notices: Vec<String>,
}

/// The calls at the first place where two recoveries differ; `None` is the end of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDifference(pub [Option<MadeCall>; 2]);

impl fmt::Display for Nondeterminism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, again] = self.digests;
        write!(f, "recovering the same crash state twice gave the digests {first} and {again}")?;
        if let Some(difference) = &self.difference {
            write!(f, "; the first difference: {difference}")?;
        }
        if let Some(call) = &self.call {
            write!(
                f,
                "; repeated it is always the same, but in the first recovery the answer to `{call}` \
                 was another"
            )?;
        }
        self.notices.iter().try_for_each(|notice| write!(f, "; note: {notice}"))
    }
}

impl fmt::Display for CallDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |call: &Option<MadeCall>| match call {
            Some(call) => format!("`{call}` on thread {}", call.thread),
            None => "no call".to_owned(),
        };
        let [one, other] = &self.0;
        let (one_text, other_text) = (text(one), text(other));
        match (one, other) {
            _ if one_text != other_text => write!(f, "{one_text}, and then {other_text}"),
            (Some(one), Some(other)) if one.bytes != other.bytes => {
                write!(f, "{one_text} carried other bytes")
            }
            _ => write!(f, "before {one_text}: a clock, a wait or entropy"),
        }
    }
}

/// A part of a case, for errors that name its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CasePart {
    /// The crash that ends this epoch, counted from 0.
    Crash(usize),
    /// This step of this epoch, both counted from 0.
    Step(usize, usize),
    /// This fault, counted from 0.
    Fault(usize),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, ..Self::default() }
    }
}
