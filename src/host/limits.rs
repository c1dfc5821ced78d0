//! The resources that a child may use.

use std::time::Duration;

/// The resources that a child may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that it uses, on top of what it inherits. Address space alone does not
    /// count.
    pub memory: u64,
    /// CPU time of all of its threads.
    pub cpu: Duration,
    /// Bytes of its first thread's stack.
    pub stack: usize,
    /// How long all of its threads may be asleep in the kernel, in real time.
    pub asleep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu: Duration::from_secs(10),
            stack: 8 << 20,
            asleep: Duration::from_secs(2),
        }
    }
}
