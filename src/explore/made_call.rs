//! A call that an engine made, as data that outlives its log.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::site::SourceLine;
use crate::base::text::quote;
use crate::disk::Errno;
use crate::log::Call;

/// A call that an engine made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeCall {
    /// The thread that made it; 1 is the first.
    pub thread: u32,
    /// The symbol that it called.
    pub name: String,
    /// The path inside the mount; empty if it has none.
    pub path: Vec<u8>,
    /// A second path, or empty.
    pub other: Vec<u8>,
    /// Offset and length, flags and mode, and similar.
    pub arguments: [u64; 2],
    /// Its result; an error as the negative errno.
    pub result: i64,
    /// Whether an error was injected.
    pub injected: bool,
    /// The source line that made it, if it is known.
    pub line: Option<SourceLine>,
    /// A digest of the bytes that it carried.
    pub bytes: u64,
    /// A digest of the calls before it that have no record.
    pub unrecorded: u64,
}

impl MadeCall {
    /// A call of a log, made by this source line.
    pub fn new(call: &Call<'_>, line: Option<SourceLine>) -> Self {
        Self {
            thread: call.thread,
            name: call.door.to_owned(),
            path: call.path.to_owned(),
            other: call.other.to_owned(),
            arguments: call.arguments,
            result: call.result,
            injected: call.fault.is_some(),
            line,
            bytes: call.bytes,
            unrecorded: call.unrecorded,
        }
    }
}

/// The call in one line, with the source line that made it.
impl fmt::Display for MadeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for path in [&self.path, &self.other].into_iter().filter(|path| !path.is_empty()) {
            write!(f, " {}", quote(path))?;
        }
        let [first, second] = self.arguments;
        write!(f, " {first} {second} = ")?;
        match i32::try_from(self.result) {
            Ok(error @ ..0) => write!(f, "{}", Errno(-error))?,
            _ => write!(f, "{}", self.result)?,
        }
        if self.injected {
            write!(f, " (injected)")?;
        }
        self.line.as_ref().map_or(Ok(()), |line| write!(f, " {line}"))
    }
}
