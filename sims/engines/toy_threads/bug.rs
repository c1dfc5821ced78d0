//! The bugs that need a certain order of threads, one at a time.

/// A planted bug. The systems named are where each was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadBug {
    /// A sync is acknowledged as soon as the flusher has taken the records, not when they are
    /// durable.
    AckBeforeFlush,
    /// A sync checks whether it must wait, wakes the flusher, and then waits without another check.
    LostWakeup,
    /// Compaction takes the items without keeping the flusher out: batches that are flushed while
    /// it writes them go to the log that it deletes.
    CompactionRacesWriter,
    /// Compaction does the same, and catches up with the changes since, except for deletions.
    CheckpointRacesDelete,
    /// A flusher takes the records before it has the log: another may then write later ones first.
    FlushOutOfOrder,
    /// Closing does not wait for the flusher: the store may be opened again before it is done.
    CloseDoesNotWait,
    /// Old generations are removed on a thread that is never joined, and that panics if another
    /// thread has removed a file first.
    RemoverPanics,
}

impl ThreadBug {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeFlush,
        Self::LostWakeup,
        Self::CompactionRacesWriter,
        Self::CheckpointRacesDelete,
        Self::FlushOutOfOrder,
        Self::CloseDoesNotWait,
        Self::RemoverPanics,
    ];

    /// A name of one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.texts().0
    }

    /// The pattern, or where it was found.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        self.texts().1
    }

    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::AckBeforeFlush => {
                ("ack-before-flush", "P15: etcd 14370, an acknowledgement before its write")
            }
            Self::LostWakeup => {
                ("lost-wakeup", "a waiter that does not check again before it waits")
            }
            Self::CompactionRacesWriter => {
                ("compaction-races-writer", "moltendb: state taken, then the log swapped unlocked")
            }
            Self::CheckpointRacesDelete => (
                "checkpoint-races-delete",
                "a fuzzy checkpoint that keeps what is deleted meanwhile",
            ),
            Self::FlushOutOfOrder => {
                ("flush-out-of-order", "batches of two threads that change places in the log")
            }
            Self::CloseDoesNotWait => {
                ("close-does-not-wait", "a store that is closed while its own threads still write")
            }
            Self::RemoverPanics => (
                "remover-panics",
                "a panic on a thread that is never joined, when two clean up at once",
            ),
        }
    }
}
