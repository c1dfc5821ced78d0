//! Threads under simulation: one runs at a time, the seed decides which, and time is virtual for
//! all of them.
#![expect(clippy::disallowed_methods, reason = "threads are what is tested")]

mod addresses;
#[path = "../wild/bypasses.rs"]
mod bypasses;
#[path = "../wild/c.rs"]
mod c;
mod c11;
mod ends;
mod inside;
mod libraries;
mod locks;
mod raw;
mod rig;
mod schedules;
#[path = "../wild/signals.rs"]
mod signals;
mod spins;
#[path = "../wild/stdio.rs"]
mod stdio;
mod waits;
