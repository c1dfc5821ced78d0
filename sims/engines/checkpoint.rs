//! An event store over segments, with a checkpoint of its index.
//!
//! Events are appended to the streams of *entities*, each with the hash of its payload and that of
//! its predecessor's. They are in files of frames, the *segments*; an index in memory says where.
//! The *checkpoint* is a copy of that index: with it a store opens without a replay of its
//! segments. It is only ever an accelerator: with it, without it, with a stale, torn or foreign
//! one, the store answers the same.
//!
//! # Format
//!
//! The format is that of the crate `batpak` 0.3.0: its stores open here, and the other way round.
//!
//! ```text
//! NNNNNN.fbat  segment  "FBAT" header_len:u32be header frame* [footer]
//!              header   MessagePack map: version (1), flags, created_ns, segment_id;
//!                       of a merged segment also merges_from
//!              frame    len:u32be crc32:u32be body         the CRC covers the body
//!              body     MessagePack map: event (header, payload, hash_chain), entity, scope
//!              footer   the segment's index entries, see `footer.rs`
//! index.ckpt   "FBATCK" version:u16le crc32:u32le body, see `saved.rs`
//! ```
//!
//! A payload is MessagePack too, in an array of its bytes. A batch is a frame that says how many
//! items follow, the items, and a frame that commits them. No frame has a sequence number: they are
//! counted, and kept in footers and in the checkpoint.
//!
//! # Promises
//!
//! | call | when it has returned `Ok` |
//! |---|---|
//! | [`Store::append`] | survives the process, with all before it; like `sync` once [`Config::sync_every`] events are unsynced |
//! | [`Store::append_batch`], [`Store::sync`], [`Store::compact`], [`Store::close`] | survives power loss, with all before it |
//!
//! A crash always leaves a prefix of the events in the order in which they were appended, and of a
//! batch all or nothing. Damage in a segment that no crash explains is reported when the store is
//! opened.
//!
//! # How the files are written
//!
//! **No byte of a segment is ever written twice, and none is truncated in place.** Each append is
//! one write of whole frames. A segment is finished (its footer written, file and directory synced)
//! before the next one is created, so only the last can be torn. A last segment that an earlier
//! writer left, or that a failed write tore, is *settled* before anything follows it: its frames
//! that count are written aside with a footer, synced, renamed over it, and the name is synced.
//! Syncing it would not be enough: after a failed fsync the kernel shows data that the disk does
//! not have, and reports the next fsync as successful. A checkpoint is only written once all that
//! it covers is durable, so a last segment that a checkpoint covers to the last byte needs no
//! settling.
//!
//! Compaction writes one segment aside, gives it the name of the last one, syncs the directory,
//! then removes the others. Its header says which they are: those that still exist, or reappear
//! after a crash, do not count. Their numbers are never used again.
//!
//! # Limits of the format
//!
//! - Damage in the last frame, or in the last segment in a frame with a sector of zeros, looks like
//!   a torn write: it and all that follows is dropped.
//! - A file system that exposes stale blocks after a crash may leave frames of another file in a
//!   segment; other stale bytes are judged like any other damage.
//! - A segment whose footer is damaged too looks like one that the origin did not finish.
//! - The checkpoint is compared with the segments at the end of each, not frame by frame.
//! - The origin does not know `merges_from`: after an interrupted compaction it counts events
//!   twice.
//!
//! One store at a time in a directory.

mod bugs;
mod compact;
mod event;
mod footer;
mod frame;
mod index;
mod place;
mod recover;
mod saved;
mod segment;
mod store;

use std::io;

pub use bugs::Bugs;
pub use compact::Compacted;
pub use event::{NewEvent, Receipt, StoredEvent};
pub use index::Entry;
pub use saved::Ignored;
pub use segment::reported_up_to;
pub use store::Store;

/// The kind of an event that needs no kind of its own.
pub const DATA: u16 = 0x1000;

/// The settings of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The length in bytes at which a segment is finished and the next one begun.
    pub segment_len: u64,
    /// The number of unsynced events at which an append syncs; with 0 none does.
    pub sync_every: u32,
    /// Whether a checkpoint is read at open, and written at close and after a compaction.
    pub checkpoint: bool,
    /// Whether an open reads the footers of finished segments instead of their frames.
    pub footers: bool,
    /// Bugs to plant.
    #[doc(hidden)]
    pub bugs: Bugs,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_len: 64 * 1024 * 1024,
            sync_every: 0,
            checkpoint: true,
            footers: true,
            bugs: Bugs::default(),
        }
    }
}

/// An error of this module's calls.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no. All that earlier calls promised still holds; what this call was to
    /// do is done or not.
    #[error("store I/O error")]
    Io(#[from] io::Error),
    /// A segment has damage that no crash explains.
    #[error("segment {segment} is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// The segment's number.
        segment: u64,
        /// The damaged byte.
        offset: u64,
        /// The kind of damage.
        what: String,
    },
    /// There is no event with this id.
    #[error("no event {0:032x}")]
    NotFound(u128),
    /// The event cannot be written in this format.
    #[error("invalid event: {0}")]
    InvalidEvent(String),
    /// The entity's last event is not the one that the caller expects.
    #[error("entity {entity:?} is at clock {actual:?}, not {expected}")]
    ClockMismatch {
        /// The entity.
        entity: String,
        /// The clock that the caller expects.
        expected: u32,
        /// The clock of its last event.
        actual: Option<u32>,
    },
    /// Some events of the batch are stored already, and some are not.
    #[error("a part of the batch is stored already")]
    PartlyStored,
    /// An entity's hashes do not form a chain.
    #[error("the hash chain of {entity:?} is broken at clock {clock}")]
    BrokenChain {
        /// The entity.
        entity: String,
        /// The event that does not follow its predecessor.
        clock: u32,
    },
    /// An earlier call failed in a way that leaves the content of the disk unknown: open the store
    /// again.
    #[error("the store refuses all writes after a failed sync; open it again")]
    Poisoned,
}
