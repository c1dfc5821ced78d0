//! What a world needs to know of a door: its name for the log, and where faults hit its calls.

use std::fmt;

use crate::case::fault::FaultClass;

/// A door.
pub(crate) struct Door {
    /// The C library's symbol.
    pub(crate) name: &'static str,
    /// Where faults hit its calls.
    pub(crate) faults: FaultSites,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where faults hit the calls of a door, and the class that counts them. An open is
/// [`FaultClass::Open`] here whether or not it makes a file: only the call itself shows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultSites {
    /// Nowhere.
    None,
    /// Before the call does anything.
    Before(FaultClass),
    /// Inside: the call moves or syncs bytes or closes, and asks for a fault once it is known that
    /// there is a file.
    Inside(FaultClass),
}

impl FaultSites {
    /// The class that counts the calls, if faults hit them.
    pub(crate) fn class(self) -> Option<FaultClass> {
        match self {
            Self::None => None,
            Self::Before(class) | Self::Inside(class) => Some(class),
        }
    }
}
