//! Maps of files of the disk: compared with maps of real files, and followed to the crash.

mod calls;
mod crash;
mod doors;
#[path = "../doors/harness.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod harness;
mod litmus;
mod live;
mod locks;
mod memory;
mod probe;
