//! The simulated disk, and the states in which a crash may leave it.
//!
//! # The page cache and the medium
//!
//! A write changes the *page cache*: every process sees it at once. It reaches the *medium* when
//! the kernel chooses, or when a sync call returns. A change that is in the cache but not on the
//! medium is *pending*; a change that is on the medium is *durable*. A crash of the process loses
//! only what was in the process: the cache stays, and pending changes stay pending. A power loss
//! leaves the medium, and any part of the pending changes that the *profile* allows.
//!
//! # Pieces
//!
//! Pending changes fall into *pieces*, the units of survival: the bytes that one call wrote into
//! one block (4096 bytes), one size of a file, one entry of a directory. A `write` of k blocks is
//! k pieces (Ferrite, ASPLOS'16, definition 1). After a power loss each piece has one of these
//! outcomes:
//!
//! 1. *Kept*: the medium has it.
//! 2. *Lost*: the medium has what was there before.
//! 3. *Torn*: some of the block's 512-byte sectors are kept and the others are lost. Disks
//!    write a sector whole ("seemingly all file systems": ALICE, OSDI'14, section 2.2.1), but
//!    not a block; real ones were seen to shear blocks (Zheng and others, FAST'13). A crash state
//!    has at most one tear, and only in data written by the call that the crash interrupts.
//! 4. *Undecided for ever*: a sync of it failed. It may be kept or lost at this crash and at
//!    every later one, and no later sync makes it durable, until the block is written again or
//!    its page is evicted.
//!
//! No promise depends on time: a crash may come before or after any commit of a journal. A profile
//! may say otherwise ([`profile::Profile::commits`]), and which blocks tear
//! ([`profile::TearRule`]).
//!
//! The pieces queue in *groups*, in the order in which they were made, and a power loss keeps a
//! prefix of each group: one *cut* for each group is one *crash state*. The profile says which
//! pieces share a group ([`profile::Home`]), which need others ([`profile::Need`]), and what each
//! sync call makes durable ([`profile::SyncRule`]). A cut that lacks something that another cut
//! needs is raised until it has it.
//!
//! On a file system with a journal one of the groups is the *log*: all changes of names, and the
//! sizes and holes that the calls themselves log. It is cut once, so these changes are kept in
//! order. Each block of data has its own group, and data falls into three classes:
//!
//! 5. An *overwrite* of a block that the medium has may reach it at any time, before or after
//!    everything else, and may tear.
//! 6. The *first data in a hole* or in a reserved extent is found through a mapping, which is
//!    logged when the block is written back. So it needs the log as it was when it was written. It
//!    is found whole, or as zeros. Write-back goes through a file in the order of its pages, but in
//!    several requests, and the first request that the disk completes is logged first: on ext4 and
//!    xfs a later block may be present without one before it, and without an overwrite before it.
//!    Only the new blocks of one call go out together ([`profile::Required::LowerOfCall`]). With
//!    `dioread_lock` the journal waits for the blocks before it ([`profile::Required::Lower`]).
//! 7. *Past the end* there is also the size. Where a profile logs it before the data counts as
//!    written, the new blocks may be found as zeros (outcome *size before data*); where it waits,
//!    they may not; on `posix-stale` and `ext4-writeback-stale` they may hold what another file
//!    left there. A size that grows within a block that the medium has is logged by the call,
//!    or, on xfs, when the data has been written. Where the call writes past that block, ext4
//!    may take all of it in one large folio and log the size with that of the new blocks. A write
//!    that leaves a hole after the old end fills the last block with zeros on xfs, and the size
//!    may stop there.
//!
//! A truncation downwards is two things: a record of the log with the size and the holes, and an
//! overwrite with zeros of the block that it cuts into. The zeros may be present before the size,
//! and so may data appended after them; ext4 keeps the size only together with the zeros, but not
//! with `data=writeback`.
//!
//! The surprises that a crash state needs have names: see [`relax::Relaxation`].
//!
//! A version of a block is the page as the cache held it then, with all earlier writes into
//! it: a page goes out whole, so two overwrites of one block never come back in the wrong order
//! (Ferrite, definition 7; GenMC's `pord-owr-sbl`). A torn block may mix two versions that are not
//! consecutive, because the later one may be the first that went out.
//!
//! # The profiles
//!
//! - `posix`: what the standard leaves open, the default model of ALICE. Each block, each size
//!   and each entry is a group of its own, with every version that it ever had.
//! - `tail-prefix`: a file loses only the last of its changes, data and size alike, and never
//!   gets a hole; all entries of the file system are one group.
//! - `ext4`, `ext4-dioread-lock`, `ext4-nodelalloc`, `ext4-writeback`, `ext4-journal`: one log.
//!   They differ in when a new size and a new block are logged, and in what the log waits for.
//! - `xfs`: one log; no size before the data that made it grow.
//! - `btrfs`: one log, and data that is published with it, after everything that was logged before,
//!   in any order. A size waits for the data that made it grow, unless other data of the file takes
//!   it along. A sync takes its file out of the log, past everything that came before.
//!
//! They are values ([`profiles`]). Each was compared with what Linux 6.18 was seen to leave of 31
//! programs: every observed state is allowed, and each allowed state that was not observed has its
//! reason next to it (`tests/litmus/kept.txt`). Where papers and observation differ, observation
//! won: an append whose size came first reads as zeros over whole new blocks on ext4 today; `fsync`
//! of a directory forces ext4's whole journal, but on xfs and btrfs leaves the contents of new
//! sub-directories unsafe; `fdatasync` of a renamed file leaves the rename pending on ext4, and not
//! on xfs and btrfs; a rename that replaces a file does not wait for its data on btrfs; there too,
//! `fsync` of the directory into which a file was moved leaves the file under its old name as well.
//! More programs, and the states that were observed, are in `tests/litmus/seen.jsonl`.
//!
//! # The rules, call by call
//!
//! - **write past the end**: data and size. On `posix` they are independent. New size and old
//!   data reads as zeros, which ext4 leaves too (Ferrite, figure 1: 2500 and 2500 bytes
//!   appended, 4096 found); new data beyond an old size is not seen. The size may stop at each
//!   end of a block in between.
//! - **overwrite**: any time, before or after everything else (Ferrite, definition 7; GenMC's
//!   `pord-crowr-ooo`), except on `tail-prefix`, `ext4-journal` and `btrfs`.
//! - **truncate down**: a size; zeros over the rest of the last block that stays; holes for the
//!   blocks after it. On `posix` the size may stop at each end of a block in between, and a freed
//!   block is a hole only once the size is below it. The zeros, and data appended after them, may
//!   be kept while the size is lost, as ext4 and xfs of Linux 6.18 were seen to do. On
//!   `tail-prefix` the size hides the rest.
//! - **truncate up, fallocate**: a size. The new bytes are zeros.
//! - **create, link, unlink, mkdir, rmdir, symlink**: an entry. The inode itself is on the medium
//!   at once, but an inode that no entry leads to is not found. An entry that is kept leads to a
//!   file as empty as its durable data and size say. A symbolic link is never empty.
//! - **rename of a file**: on `posix` two independent entries: both names, the old one, the new
//!   one or none may be found (ALICE's default model); elsewhere one piece. Where a directory is
//!   synced alone, a sync of the directory of the new name keeps this name and leaves the old one,
//!   as btrfs does; and a sync of a file by one of its names keeps the loss of another name, over
//!   which a file was renamed, without the file that replaced it.
//! - **rename of a directory**: one piece on every profile. It needs the pieces that put its new
//!   parent there; later changes of either entry need it, and so does the removal of a directory
//!   that it left. A file-system check never leaves a directory under two parents or under
//!   none, so neither does a crash state.
//! - **exchange of two names**: one piece on file systems with a log. `fdatasync` of either file
//!   leaves it pending on xfs.
//! - **a sync on btrfs after names changed**: it logs the former directories of the file, too, so a
//!   file that was moved from there may be found under both names. A sync of a file that has no
//!   name left, because others were renamed over it, writes nothing.
//! - **link of a nameless file**: on ext4 its first name is not forced by `fdatasync` if its data
//!   was synced before.
//! - **chmod, chown, utimensat**: a piece like an attribute. An inode has the times of its newest
//!   kept change.
//! - **setxattr, removexattr**: one value of the inode, a piece of its own; where there is a log,
//!   it is logged by the call, like a size that is set. `fsync` of the inode makes it durable.
//!   `fdatasync` does so on xfs and btrfs, which log the whole inode, and not on ext4.
//! - **fsync, fdatasync of a file**: all of its data and its size, and on file systems with a
//!   log everything that was logged before what it needs. On `posix` not its name
//!   (fsync(2): "does not necessarily ensure that the entry in the directory containing the file
//!   has also reached disk"). On `tail-prefix` all entries up to the last that names it.
//! - **fsync of a directory**: its entries; on `posix` not the directory's own name, nor the
//!   contents of its sub-directories; on `tail-prefix` all entries up to the last that touches it.
//! - **sync_file_range**: nothing. It writes pages, but neither sizes nor mappings, and flushes
//!   no device (sync_file_range(2), "Warning").
//! - **sync, syncfs**: everything that is not undecided.
//! - **unlink of a file that was synced**: should the unlink be lost, the data is all there. So
//!   the content of an inode outlives it for as long as an entry may come back.
//! - **a sync that fails**: see below.
//!
//! # A sync that fails
//!
//! The kernel marks the pages clean (Rebello and others, ATC'20; the kernel's own documentation of
//! `errseq_t`). Nothing records which of them were written: each block is undecided on its own. The
//! rest is data of the profile ([`failure::FailedSync`]), compared with what Linux 6.18 was seen to
//! do (`tests/litmus/fsync-failure.jsonl`):
//!
//! - *Which calls report it*: on each descriptor that was open, once, the next `fsync`,
//!   `fdatasync`, synchronous write or waiting `sync_file_range`; and one `syncfs` on each. A
//!   `syncfs` that fails is an error of each file that had data to write. A descriptor that is
//!   opened later reports it only if none has reported it yet. Such a call promises nothing about
//!   the data it wrote.
//! - *What the cache shows*: the new data, until the page is *evicted*; then what the medium has,
//!   for a block past the old end zeros. The size stays the new one while the file is open. A page
//!   that was written again is dirty, and is not evicted.
//! - *What a later sync makes durable*: nothing of it, though it succeeds. A size that grew over
//!   the blocks is logged anyway, so an append may come back as zeros with its new size; on
//!   xfs it is not, unless a later append succeeds: then the block in between is bad.
//! - *A restart of the process* finds the cache as it was left, or evicted; then xfs shows the old
//!   size again.
//! - `ext4-journal` turns read-only: `EROFS` for every change, for the sync that failed too, until
//!   the next mount. The contents of its journal stay there in order.
//!
//! The behaviours that the study of 2020 saw are values to build on
//! ([`profile::Profile::variants`]): btrfs showed the old data and size again, ext4 with
//! `data=journal` reported the error at the *next* sync, xfs shut down when its log could not be
//! written.
//!
//! # Room
//!
//! A disk may have a limit ([`space::Space`]) of pages and inodes, counted from its contents. A
//! write takes as much as there is room for; a name needs a page where its directory grows by
//! one. Where a profile delays allocation, only the sync may notice a limit, and it then loses the
//! pages that have no room.
//!
//! # Bit rot
//!
//! While the machine is down, a bit may flip, or a sector may turn to zeros or junk ([`rot::Rot`]).
//! This happens only to an engine that makes a promise about it.
//!
//! # Not modelled yet
//!
//! New writes to the blocks that a truncation freed, while the truncation is lost (ext4 with
//! `data=writeback`); an overwrite that a later new block overtakes with `dioread_lock`; a size
//! that `fallocate` logs within data that is pending (ext4); blocks of other sizes than 4096
//! bytes; a rename over a file leaving neither of the two at the new name without a sync; an
//! eviction that shows a part of the data of a failed sync; a failed write-back that no sync call
//! asked for; blocks that metadata takes; tears of more than one block; the device's own write
//! cache (`O_DIRECT`); bytes that rot under a running engine; ranges that `fallocate` cuts out of a
//! file or puts in.

mod apply;
pub mod attributes;
mod block;
pub mod clock;
pub mod content;
pub mod copy;
pub mod effect;
pub mod errno;
pub mod failure;
pub mod family;
pub mod fate;
mod fate_text;
mod give_up;
pub mod io;
pub mod keep;
pub mod linux;
pub mod live;
mod locate;
pub mod lock;
mod locking;
mod mapped;
pub mod names;
pub mod naming;
mod needs;
mod new_pieces;
pub mod open;
mod opening;
mod parts;
pub mod path;
pub mod pending;
pub mod piece;
pub mod profile;
pub mod profiles;
pub mod relax;
mod restate;
mod room;
pub mod rot;
mod settle;
pub mod sight;
pub mod space;
mod stamps;
pub mod stat;
mod sync;
pub mod tearing;
pub mod tree;
pub(crate) mod watch;

pub use effect::Ino;
pub use errno::Errno;
pub use live::{Disk, Journal};
pub use open::Handle;
pub use stat::{Listed, Stat};
