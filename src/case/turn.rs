//! A turn: one scheduling decision that departs from the default order of threads.

use serde::{Deserialize, Serialize};

/// A departure from the default order: at which decision, and which thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The decision, counted from 0: one at which more than one thread could run.
    pub decision: u64,
    /// The thread that ran; 1 is the first of its process.
    pub thread: u32,
}
