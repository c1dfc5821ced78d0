//! Maps of files of the disk: compared with maps of real files, and followed to the crash.

mod calls;
mod live;
mod probe;
