//! Injected errors: which call fails, how, and in which words a case says so.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::{TextError, Word};

/// The calls that faults are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultClass {
    /// `write`, `pwrite`, `writev`, `pwritev`.
    Write,
    /// `fsync`, `fdatasync`, `sync_file_range`.
    Sync,
}

/// The error that an injected fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultError {
    /// `EIO`. After a failed sync the pages count as clean, whatever reached the disk.
    Io,
    /// `ENOSPC`.
    NoSpace,
}

/// One injected error: the `nth` call of a class from a step on fails, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The step from which calls are counted; 1 is the first of the workload, 0 the open before it.
    pub step: u32,
    /// Which calls are counted.
    pub class: FaultClass,
    /// Which of them fails, counted from 1.
    pub nth: u32,
    /// How it fails.
    pub error: FaultError,
    /// A write first takes this many bytes (a short write); the next write then fails. 0: the
    /// call itself fails.
    pub after: u64,
}

impl FaultClass {
    /// The word of the case grammar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Sync => "sync",
        }
    }
}

impl FaultError {
    /// The word of the case grammar, which is the name in errno(3).
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
        }
    }

    /// The number that the kernel would return.
    pub fn errno(self) -> i32 {
        match self {
            Self::Io => libc::EIO,
            Self::NoSpace => libc::ENOSPC,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fault {} step={} {}={}",
            self.error.name(),
            self.step,
            self.class.name(),
            self.nth
        )?;
        if self.after > 0 {
            write!(f, " after={}", self.after)?;
        }
        Ok(())
    }
}

impl Fault {
    /// Reads the words behind `fault`.
    ///
    /// # Errors
    /// The column of the word that is wrong, and what was expected.
    pub fn parse(words: &[Word]) -> Result<Self, TextError> {
        let [error, rest @ ..] = words else {
            return Err(TextError::new(1, "expected EIO or ENOSPC"));
        };
        let error = match error.bytes.as_slice() {
            b"EIO" => FaultError::Io,
            b"ENOSPC" => FaultError::NoSpace,
            _ => return Err(TextError::new(error.column, "expected EIO or ENOSPC")),
        };
        let (mut step, mut call, mut after) = (None, None, 0);
        for word in rest {
            let text = word.text();
            let wrong = || {
                let message = "expected step=N, write=N, sync=N or after=N";
                TextError::new(word.column, message)
            };
            let (name, number) = text.split_once('=').ok_or_else(wrong)?;
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let small = u32::try_from(number).map_err(|_| wrong());
            match name {
                "step" => step = Some(small?),
                "write" => call = Some((FaultClass::Write, small?)),
                "sync" => call = Some((FaultClass::Sync, small?)),
                "after" => after = number,
                _ => return Err(wrong()),
            }
        }
        match (step, call) {
            (Some(step), Some((class, nth))) if nth > 0 => {
                Ok(Self { step, class, nth, error, after })
            }
            _ => Err(TextError::new(1, "a fault needs step=N and write=N or sync=N, N from 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words;

    #[test]
    fn a_fault_reads_back() {
        for line in ["fault EIO step=3 sync=1", "fault ENOSPC step=12 write=2 after=100"] {
            let words = words(line).expect("words");
            assert_eq!(Fault::parse(&words[1..]).expect("parses").to_string(), line);
        }
    }
}
