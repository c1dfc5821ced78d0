//! Facts about threads under simulation: one runs at a time, the seed decides which, and time is
//! virtual for all of them.

#[path = "../wild/c.rs"]
mod c;
mod ends;
mod libraries;
mod locks;
mod raw;
mod rig;
mod schedules;
mod waits;
