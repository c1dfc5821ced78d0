//! Injected faults: which call fails and how, its fault kind in a sim's promises, and its words in
//! a case.
//!
//! ```text
//! fault EIO step=3 sync=1              the first sync from step 3 on fails, once
//! fault ENOSPC step=2 write=1 after=9  a write takes 9 bytes, the next one fails
//! fault EIO step=0 call=7 always       every call from the seventh on fails
//! fault EROFS step=4 write=1           the file system turns read-only there
//! fault short step=0 read=2 after=10   a read returns 10 bytes
//! fault corrupt step=0 read=2 byte=10  one bit of the eleventh byte that a read returns is wrong
//! fault slow step=0 sync=1 ms=3000     a sync takes three seconds of virtual time
//! fault EIO epoch=2 step=0 open=1      as above, in the epoch after the first crash
//! ```
//!
//! A call fails only in a way that its manual page lists, or POSIX where the page is silent, and
//! only where the kernel would have got that far: no `ENOSPC` for a name that already exists. A
//! fault skips the calls that cannot show its error: `fault EMFILE step=0 call=3 always` fails the
//! opens from the third call on.
//!
//! | error | calls |
//! |---|---|
//! | `EIO` | all |
//! | `ENOSPC`, `EDQUOT` | create, link, mkdir, rename, write, allocate, sync, close |
//! | `EMFILE` | open, create |
//! | `EINTR` | open, create, read, write, sync, truncate, allocate, close |
//! | `EROFS` | all that change the disk, an open for writing too, and from then on |
//!
//! A sync finds no space where allocation is delayed, a close on NFS. `EINTR` is what NFS and FUSE
//! return; ext4, xfs and btrfs wait for regular files in a state that only a fatal signal ends.
//! Callers that go through `std` never see it: `std` tries again.
//!
//! A write that fails has written nothing, and a short one its part. A sync that fails leaves the
//! pages clean, whatever reached the disk, except that one which was interrupted or met a read-only
//! disk leaves them as they were. A close that fails has closed the descriptor anyway (close(2)).
//! closedir(3) does not fail. All other calls fail before they do anything.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::text::{TextError, Word};
use crate::sim::fault_kind::FaultKind;

/// The calls that faults are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultClass {
    /// Any call of the classes below.
    Call,
    /// `open`, `openat`, `opendir`, of files that exist or not.
    Open,
    /// The opens that create a file.
    Create,
    /// `read`, `pread`, `readv`, `preadv`, `readdir`.
    Read,
    /// `write`, `pwrite`, `writev`, `pwritev`, `copy_file_range`, `sendfile`.
    Write,
    /// `fsync`, `fdatasync`, `sync_file_range`, `syncfs`.
    Sync,
    /// `rename`.
    Rename,
    /// `unlink`, `rmdir`.
    Unlink,
    /// `mkdir`.
    Mkdir,
    /// `truncate`.
    Truncate,
    /// `stat`, `access`, `readlink`.
    Stat,
    /// `link`, `symlink`.
    Link,
    /// `fallocate`.
    Allocate,
    /// `close`.
    Close,
}

/// An error that an injected fault returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InjectedError {
    /// `EIO`. After a failed sync the pages count as clean, whatever reached the disk.
    Io,
    /// `ENOSPC`.
    NoSpace,
    /// `EDQUOT`.
    Quota,
    /// `EMFILE`.
    Files,
    /// `EINTR`: nothing was done, except by a close.
    Interrupted,
    /// `EROFS`: from that call on, nothing that changes the disk works.
    ReadOnly,
}

/// The effect of an injected fault on its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Injection {
    /// The call fails.
    Error {
        /// With this error.
        error: InjectedError,
        /// A write first takes this many bytes (a short write), and the next write fails. 0: the
        /// call itself fails.
        after_bytes: u64,
    },
    /// A read or a write moves fewer bytes than it was asked to.
    Short {
        /// This many at most.
        bytes: u64,
    },
    /// The call takes long.
    Slow {
        /// This much virtual time.
        delay: Duration,
    },
    /// One bit that a read returns is wrong. The bytes at rest are right: the next read heals it.
    Corrupt {
        /// The byte of that bit, modulo the number of bytes that the read returns.
        byte: u64,
    },
}

/// The kind of an [`Injection`]: the same without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InjectionKind {
    /// [`InjectedError::Io`].
    Io,
    /// [`InjectedError::NoSpace`].
    NoSpace,
    /// [`InjectedError::Quota`].
    Quota,
    /// [`InjectedError::Files`].
    Files,
    /// [`InjectedError::Interrupted`].
    Interrupted,
    /// [`InjectedError::ReadOnly`].
    ReadOnly,
    /// [`Injection::Short`].
    Short,
    /// [`Injection::Slow`].
    Slow,
    /// [`Injection::Corrupt`].
    Corrupt,
}

/// One injected fault: the `nth` call of a class from a step of an epoch on fails, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The epoch that it happens in; 1 is the first.
    pub epoch: u32,
    /// The step from which calls are counted; 1 is the first of the workload, 0 the open before it.
    pub step: u32,
    /// Which calls are counted.
    pub class: FaultClass,
    /// Which of them is hit, counted from 1.
    pub nth: u32,
    /// The effect on it.
    pub injection: Injection,
    /// All later calls of the class fail in the same way, to the end of the epoch.
    pub always: bool,
}

impl FaultClass {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Call,
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Rename,
        Self::Unlink,
        Self::Mkdir,
        Self::Truncate,
        Self::Stat,
        Self::Link,
        Self::Allocate,
        Self::Close,
    ];

    /// The word of the case grammar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Truncate => "truncate",
            Self::Stat => "stat",
            Self::Link => "link",
            Self::Allocate => "allocate",
            Self::Close => "close",
        }
    }

    /// Whether a fault of this class counts a call of that one.
    pub fn counts(self, call: Self) -> bool {
        self == call || self == Self::Call || (self, call) == (Self::Open, Self::Create)
    }

    /// Whether calls of this class change the disk or make changes durable.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Call | Self::Open | Self::Read | Self::Stat | Self::Close)
    }
}

impl InjectedError {
    /// The error's number.
    pub fn errno(self) -> i32 {
        match self {
            Self::Io => libc::EIO,
            Self::NoSpace => libc::ENOSPC,
            Self::Quota => libc::EDQUOT,
            Self::Files => libc::EMFILE,
            Self::Interrupted => libc::EINTR,
            Self::ReadOnly => libc::EROFS,
        }
    }

    /// The kind of an injection of this error.
    pub fn kind(self) -> InjectionKind {
        match self {
            Self::Io => InjectionKind::Io,
            Self::NoSpace => InjectionKind::NoSpace,
            Self::Quota => InjectionKind::Quota,
            Self::Files => InjectionKind::Files,
            Self::Interrupted => InjectionKind::Interrupted,
            Self::ReadOnly => InjectionKind::ReadOnly,
        }
    }
}

impl Injection {
    /// Its kind.
    pub fn kind(self) -> InjectionKind {
        match self {
            Self::Error { error, .. } => error.kind(),
            Self::Short { .. } => InjectionKind::Short,
            Self::Slow { .. } => InjectionKind::Slow,
            Self::Corrupt { .. } => InjectionKind::Corrupt,
        }
    }

    /// Its parameter, as [`InjectionKind::with`] takes it.
    fn parameter(self) -> u128 {
        match self {
            Self::Error { after_bytes, .. } => after_bytes.into(),
            Self::Short { bytes } => bytes.into(),
            Self::Slow { delay } => delay.as_millis(),
            Self::Corrupt { byte } => byte.into(),
        }
    }
}

impl From<InjectionKind> for Injection {
    /// The parameter is 0.
    fn from(kind: InjectionKind) -> Self {
        kind.with(0)
    }
}

impl InjectionKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Io,
        Self::NoSpace,
        Self::Quota,
        Self::Files,
        Self::Interrupted,
        Self::ReadOnly,
        Self::Short,
        Self::Slow,
        Self::Corrupt,
    ];

    /// The word of the case grammar: the name in errno(3), if there is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Quota => "EDQUOT",
            Self::Files => "EMFILE",
            Self::Interrupted => "EINTR",
            Self::ReadOnly => "EROFS",
            Self::Short => "short",
            Self::Slow => "slow",
            Self::Corrupt => "corrupt",
        }
    }

    /// The injection of this kind with its parameter: the bytes of an error or of a short call, the
    /// milliseconds of a slow one, the byte of a corrupt one.
    pub fn with(self, parameter: u64) -> Injection {
        let error = |error| Injection::Error { error, after_bytes: parameter };
        match self {
            Self::Io => error(InjectedError::Io),
            Self::NoSpace => error(InjectedError::NoSpace),
            Self::Quota => error(InjectedError::Quota),
            Self::Files => error(InjectedError::Files),
            Self::Interrupted => error(InjectedError::Interrupted),
            Self::ReadOnly => error(InjectedError::ReadOnly),
            Self::Short => Injection::Short { bytes: parameter },
            Self::Slow => Injection::Slow { delay: Duration::from_millis(parameter) },
            Self::Corrupt => Injection::Corrupt { byte: parameter },
        }
    }

    /// The word of the case grammar for the parameter of this kind.
    fn parameter(self) -> &'static str {
        match self {
            Self::Slow => "ms",
            Self::Corrupt => "byte",
            Self::Io
            | Self::NoSpace
            | Self::Quota
            | Self::Files
            | Self::Interrupted
            | Self::ReadOnly
            | Self::Short => "after",
        }
    }

    /// The fault kind, in the terms of a sim's promises, where it is injected into a call of this
    /// class.
    pub fn fault_kind(self, call: FaultClass) -> FaultKind {
        match self {
            Self::Interrupted | Self::Short => FaultKind::Interrupted,
            Self::ReadOnly => FaultKind::ReadOnly,
            Self::Slow => FaultKind::Slow,
            Self::Corrupt => FaultKind::CorruptRead,
            Self::Io | Self::NoSpace | Self::Quota | Self::Files => match call {
                FaultClass::Read => FaultKind::FailedRead,
                FaultClass::Write => FaultKind::FailedWrite,
                FaultClass::Sync => FaultKind::FailedSync,
                FaultClass::Call | FaultClass::Open | FaultClass::Stat => FaultKind::FailedOpen,
                FaultClass::Close => FaultKind::FailedClose,
                FaultClass::Create
                | FaultClass::Link
                | FaultClass::Rename
                | FaultClass::Unlink
                | FaultClass::Mkdir
                | FaultClass::Truncate
                | FaultClass::Allocate => FaultKind::FailedChange,
            },
        }
    }

    /// Whether a kernel may show it for a call of this class: see the head of this file.
    pub fn applies_to(self, call: FaultClass) -> bool {
        use FaultClass as C;
        match self {
            Self::Io | Self::Slow => true,
            Self::NoSpace | Self::Quota => matches!(
                call,
                C::Create
                    | C::Link
                    | C::Mkdir
                    | C::Rename
                    | C::Write
                    | C::Allocate
                    | C::Sync
                    | C::Close
            ),
            Self::Files => matches!(call, C::Open | C::Create),
            Self::Interrupted => matches!(
                call,
                C::Open
                    | C::Create
                    | C::Read
                    | C::Write
                    | C::Sync
                    | C::Truncate
                    | C::Allocate
                    | C::Close
            ),
            Self::ReadOnly => call == C::Open || call.changes(),
            Self::Short => matches!(call, C::Read | C::Write),
            Self::Corrupt => call == C::Read,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.injection.kind();
        write!(f, "fault {}", kind.name())?;
        if self.epoch > 1 {
            write!(f, " epoch={}", self.epoch)?;
        }
        write!(f, " step={} {}={}", self.step, self.class.name(), self.nth)?;
        match self.injection.parameter() {
            0 => {}
            parameter => write!(f, " {}={parameter}", kind.parameter())?,
        }
        f.write_str(if self.always { " always" } else { "" })
    }
}

impl Fault {
    /// Hits the `nth` call of a class in the first epoch, its opening included, once.
    pub fn new(injection: impl Into<Injection>, class: FaultClass, nth: u32) -> Self {
        Self { epoch: 1, step: 0, class, nth, injection: injection.into(), always: false }
    }

    /// Whether its effect lasts to the end of the epoch.
    pub fn lasts(&self) -> bool {
        self.always || self.injection.kind() == InjectionKind::ReadOnly
    }

    /// Reads the words after `fault`.
    ///
    /// # Errors
    /// The column of the word that is wrong, and what was expected.
    pub fn parse(words: &[Word]) -> Result<Self, TextError> {
        let errors = InjectionKind::ALL.map(InjectionKind::name).join(", ");
        let [error, rest @ ..] = words else {
            return Err(TextError::new(1, format!("expected one of {errors}")));
        };
        let named =
            InjectionKind::ALL.into_iter().find(|known| error.bytes == known.name().as_bytes());
        let Some(named) = named else {
            return Err(TextError::new(error.column, format!("expected one of {errors}")));
        };
        let mut fault = Self::new(named, FaultClass::Call, 0);
        let mut step = None;
        for word in rest {
            fault.read(named, word, &mut step)?;
        }
        let wrong = |what: String| Err(TextError::new(error.column, what));
        match (step, fault.nth) {
            (None, _) => wrong("a fault needs step=N".to_owned()),
            (_, 0) => wrong(
                "a fault needs the call that it hits, such as write=N or sync=N, N from 1"
                    .to_owned(),
            ),
            _ if fault.class != FaultClass::Call && !named.applies_to(fault.class) => {
                wrong(format!("no kernel shows {} for {}", named.name(), fault.class.name()))
            }
            (Some(step), _) => Ok(Self { step, ..fault }),
        }
    }

    fn read(
        &mut self,
        kind: InjectionKind,
        word: &Word,
        step: &mut Option<u32>,
    ) -> Result<(), TextError> {
        let text = word.text();
        let wrong = || {
            let classes = FaultClass::ALL.map(|class| format!("{}=N", class.name())).join(", ");
            let parameter = kind.parameter();
            let message =
                format!("expected epoch=N, step=N, {classes}, {parameter}=N or always, N a number");
            TextError::new(word.column, message)
        };
        if text == "always" {
            self.always = true;
            return Ok(());
        }
        let (name, number) = text.split_once('=').ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let small = u32::try_from(number).map_err(|_| wrong());
        match name {
            "epoch" => {
                self.epoch = small.and_then(|epoch| epoch.checked_sub(1).ok_or_else(wrong))? + 1
            }
            "step" => *step = Some(small?),
            _ if name == kind.parameter() => self.injection = kind.with(number),
            _ => {
                let class = FaultClass::ALL.into_iter().find(|class| class.name() == name);
                let class = class.ok_or_else(wrong)?;
                if self.nth > 0 {
                    return Err(TextError::new(word.column, "a fault hits one call"));
                }
                (self.class, self.nth) = (class, small?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::words;

    #[test]
    fn a_fault_reads_back() {
        for line in [
            "fault EIO step=3 sync=1",
            "fault ENOSPC step=12 write=2 after=100",
            "fault EIO epoch=2 step=0 call=7 always",
            "fault EROFS step=4 rename=1",
            "fault EMFILE step=0 open=3",
            "fault EDQUOT step=0 mkdir=1",
            "fault short step=0 read=2 after=10",
            "fault slow step=1 truncate=1 ms=3000",
            "fault corrupt step=0 read=3 byte=17",
            "fault EINTR step=0 close=1",
            "fault ENOSPC step=0 allocate=1",
        ] {
            let words = words(line).expect("words");
            assert_eq!(Fault::parse(&words[1..]).expect("parses").to_string(), line);
        }
    }

    #[test]
    fn every_class_and_every_kind_of_injection_has_its_own_word() {
        for class in FaultClass::ALL {
            let fault = Fault::new(InjectionKind::Io, class, 2);
            let words = words(&fault.to_string()).expect("words");
            assert_eq!(Fault::parse(&words[1..]), Ok(fault));
        }
        for error in InjectionKind::ALL {
            let fault = Fault::new(error.with(9), FaultClass::Call, 1);
            let words = words(&fault.to_string()).expect("words");
            assert_eq!(Fault::parse(&words[1..]), Ok(fault));
        }
    }

    #[test]
    fn a_wrong_fault_is_refused_with_the_column_of_the_wrong_word() {
        let words = |line| words(line).expect("words");
        for (line, column, what) in [
            ("EIO step=1", 1, "a fault needs the call that it hits"),
            ("EIO write=1", 1, "a fault needs step=N"),
            ("EPIPE", 1, "expected one of EIO, ENOSPC, EDQUOT, EMFILE, EINTR, EROFS, short, slow"),
            ("EIO step=1 write", 12, "expected epoch=N"),
            ("EIO step=1 write=0", 1, "a fault needs the call"),
            ("EIO epoch=0 step=1 write=1", 5, "expected epoch=N"),
            ("EIO step=1 write=1 sync=1", 20, "a fault hits one call"),
            ("EMFILE step=1 write=1", 1, "no kernel shows EMFILE for write"),
            ("corrupt step=1 read=1 ms=7", 23, "expected epoch=N"),
            ("slow step=1 read=1 after=7", 20, "expected epoch=N"),
        ] {
            let error = Fault::parse(&words(line)).expect_err(line);
            assert_eq!(error.column, column, "{line}");
            assert!(error.message.starts_with(what), "{line}: {}", error.message);
        }
    }

    #[test]
    fn a_call_that_creates_a_file_counts_as_an_open_too() {
        assert!(FaultClass::Open.counts(FaultClass::Create));
        assert!(!FaultClass::Create.counts(FaultClass::Open));
        assert!(FaultClass::Call.counts(FaultClass::Stat));
    }
}
