//! Threads by number, and the events that they wait for.

use std::fmt;

/// A thread: 1 is the first of its process; a number is never reused.
pub(crate) type ThreadId = u32;

/// The event that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// A wake of the futex at this address, with these bits (futex(2)).
    Word(usize, u32),
    /// An object that others hold, named for a report. A thread that is woken tries again.
    Object(usize, &'static str),
    /// A condition variable.
    Condition(usize),
    /// The others at a barrier.
    Barrier(usize),
    /// The end of a thread.
    End(ThreadId),
    /// A lock on a file.
    FileLock,
    /// A descriptor of the host, in this call.
    Host(&'static str),
    /// Time.
    Time,
    /// A write by another thread, in a loop without a call; at most until this scheduling point.
    Spin(u64),
    /// The end of all others.
    Settled,
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(..) => f.write_str("a futex"),
            Self::Object(_, name) => f.write_str(name),
            Self::Condition(_) => f.write_str("a condition variable"),
            Self::Barrier(_) => f.write_str("a barrier"),
            Self::End(thread) => write!(f, "the end of thread {thread}"),
            Self::FileLock => f.write_str("a lock on a file"),
            Self::Host(call) => write!(f, "the host in {call}"),
            Self::Time => f.write_str("time to pass"),
            Self::Spin(_) => f.write_str("a change of its memory, in a loop without a call"),
            Self::Settled => f.write_str("the end of all others"),
        }
    }
}
