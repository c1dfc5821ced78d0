//! A block device whose writes and flushes are logged: a loop device over a file of our own FUSE
//! server, which speaks the kernel's protocol (include/uapi/linux/fuse.h) itself.

#![expect(unsafe_code, reason = "no safe form of unshare(2)")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::chance::Chance;

/// The bytes of a block of the medium.
pub(crate) const BLOCK: usize = 4096;
/// The longest write that the kernel may send.
const MAX_WRITE: u32 = 1 << 20;
/// The node of the one file.
const FILE: u64 = 2;

/// The contents of a medium: blocks that are missing are zeros.
#[derive(Clone, Default)]
pub(crate) struct Medium {
    blocks: BTreeMap<u64, Arc<[u8]>>,
    size: u64,
}

impl Medium {
    /// The contents of a file.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let mut medium = Self { blocks: BTreeMap::new(), size: file.metadata()?.len() };
        let mut buffer = vec![0; BLOCK];
        for number in 0..medium.size / BLOCK as u64 {
            file.read_exact(&mut buffer)?;
            if buffer.iter().any(|byte| *byte != 0) {
                medium.blocks.insert(number, buffer.as_slice().into());
            }
        }
        Ok(medium)
    }

    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = (offset + length as u64).min(self.size);
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        let numbers = offset / BLOCK as u64..end.div_ceil(BLOCK as u64);
        for (&number, block) in self.blocks.range(numbers) {
            let start = number * BLOCK as u64;
            let (from, to) = (start.max(offset), (start + BLOCK as u64).min(end));
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        bytes
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let length = (BLOCK - within).min(bytes.len() - done);
            let old = self.blocks.get(&number);
            let mut block = old.map_or_else(|| vec![0; BLOCK], |block| block.to_vec());
            block[within..within + length].copy_from_slice(&bytes[done..done + length]);
            self.blocks.insert(number, block.into());
            done += length;
        }
    }
}

/// An event of the log.
#[derive(Clone)]
pub(crate) enum Event {
    /// A write reached the device.
    Issued { offset: u64, bytes: Arc<[u8]> },
    /// The write with this number, counted from 0, was reported complete.
    Completed(usize),
    /// A flush was reported complete: it covers the first writes with these numbers.
    Flushed(Vec<usize>),
    /// The program passed a mark.
    Mark(String),
}

#[derive(Default)]
struct Shared {
    medium: Medium,
    log: Vec<Event>,
    issued: usize,
    recording: bool,
    /// Whether completions are held back.
    holding: bool,
}

/// The device.
pub(crate) struct Device {
    shared: Arc<Mutex<Shared>>,
    folder: PathBuf,
    /// Its path.
    pub(crate) path: PathBuf,
    server: Option<JoinHandle<()>>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Device {
    /// A device with this medium; `folder` is a new one to mount the server on.
    pub(crate) fn new(medium: Medium, folder: PathBuf, chance: Chance) -> Result<Self, String> {
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let shared = Arc::new(Mutex::new(Shared { medium, ..Shared::default() }));
        let (ready, waiting) = channel();
        let (served, at) = (shared.clone(), folder.clone());
        let server = std::thread::spawn(move || {
            let opened = open_server(&at);
            drop(ready.send(opened.as_ref().map(drop).map_err(String::clone)));
            if let Ok(fuse) = opened {
                Server { fuse, shared: served, held: Vec::new(), chance }.serve();
            }
        });
        waiting.recv().map_err(|error| error.to_string())??;
        let mut device = Self { shared, folder, path: PathBuf::new(), server: Some(server) };
        let file = device.folder.join("medium");
        device.path = crate::output("losetup", &["-f", "--show", "--direct-io=on"], &file)?.into();
        Ok(device)
    }

    /// Replaces the contents. Nothing may be mounted.
    pub(crate) fn set(&self, medium: Medium) {
        let mut shared = lock(&self.shared);
        shared.medium = medium;
    }

    /// Starts to log, and returns the contents at that time.
    pub(crate) fn record(&self, holding: bool) -> Medium {
        let mut shared = lock(&self.shared);
        shared.log.clear();
        (shared.issued, shared.recording, shared.holding) = (0, true, holding);
        shared.medium.clone()
    }

    pub(crate) fn mark(&self, name: &str) {
        lock(&self.shared).log.push(Event::Mark(name.to_owned()));
    }

    /// Stops to log, and returns the log.
    pub(crate) fn stop(&self) -> Vec<Event> {
        let mut shared = lock(&self.shared);
        (shared.recording, shared.holding) = (false, false);
        std::mem::take(&mut shared.log)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            drop(crate::output("losetup", &["-d"], &self.path));
        }
        // A loop device lets go of its file a moment later.
        for _ in 0..100 {
            if unmount(&self.folder, UnmountFlags::empty()).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

/// A completion that is held back: the request's number, and that of the write.
struct Held {
    unique: u64,
    length: u32,
    write: usize,
}

/// Mounts a server on a folder, and returns its end of the connection.
///
/// The calling thread gets a table of descriptors of its own. If the process is killed, the
/// connection is closed with that thread; otherwise a thread that waits for an answer would keep it
/// open, and could not be killed.
fn open_server(folder: &Path) -> Result<File, String> {
    // SAFETY: the call takes no address; descriptors of the copied table that this thread does not
    // use stay open until it ends, and none of them is closed by it.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(format!("unshare: {}", std::io::Error::last_os_error()));
    }
    let fuse = File::options().read(true).write(true).open("/dev/fuse");
    let fuse = fuse.map_err(|error| format!("/dev/fuse: {error}"))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
    mount(c"rig", folder, c"fuse", MountFlags::empty(), options.as_c_str())
        .map_err(|error| format!("FUSE: {error}"))?;
    Ok(fuse)
}

struct Server {
    fuse: File,
    shared: Arc<Mutex<Shared>>,
    held: Vec<Held>,
    chance: Chance,
}

impl Server {
    /// Answers requests until the server is unmounted.
    fn serve(&mut self) {
        let mut buffer = vec![0; MAX_WRITE as usize + (64 << 10)];
        loop {
            // A completion waits at least this long after the last request.
            let patience = Timespec { tv_sec: 0, tv_nsec: 500_000 };
            let patience = (!self.held.is_empty()).then_some(&patience);
            let mut polled = [PollFd::new(&self.fuse, PollFlags::IN)];
            match poll(&mut polled, patience) {
                Ok(0) => {
                    let which = self.chance.below(self.held.len());
                    let held = self.held.swap_remove(which);
                    self.complete(&held);
                    continue;
                }
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            match self.fuse.read(&mut buffer) {
                Ok(length) if length >= 40 => self.answer(&buffer[..length]),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // A request that was taken back before it was read.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                _ => return,
            }
        }
    }

    fn answer(&mut self, request: &[u8]) {
        let (code, unique, node) = (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16));
        let body = &request[40..];
        let size = lock(&self.shared).medium.size;
        match code {
            // INIT: asynchronous direct writes, or one would wait for another.
            26 => self.reply(unique, &init(u32_at(body, 8))),
            // LOOKUP
            1 if body.starts_with(b"medium\0") => {
                let mut entry = numbers(&[FILE, 0, 3600, 3600, 0]);
                entry.extend(attributes(FILE, size));
                self.reply(unique, &entry);
            }
            1 => self.refuse(unique, libc::ENOENT),
            // FORGET, INTERRUPT, BATCH_FORGET: no answer is expected.
            2 | 36 | 42 => {}
            // GETATTR, SETATTR
            3 | 4 => {
                let mut out = numbers(&[3600, 0]);
                out.extend(attributes(node, size));
                self.reply(unique, &out);
            }
            // OPEN with FOPEN_DIRECT_IO, OPENDIR
            14 => self.reply(unique, &numbers(&[0, 1])),
            27 => self.reply(unique, &numbers(&[0, 0])),
            15 => {
                let (offset, length) = (u64_at(body, 8), u32_at(body, 16));
                let bytes = lock(&self.shared).medium.read(offset, length as usize);
                self.reply(unique, &bytes);
            }
            16 => self.write(unique, u64_at(body, 8), &body[40..40 + u32_at(body, 16) as usize]),
            // STATFS
            17 => self.reply(unique, &[0; 80]),
            // FSYNC
            20 => self.flush(unique),
            // RELEASE, FLUSH, RELEASEDIR, ACCESS, DESTROY
            18 | 25 | 29 | 34 | 38 => self.reply(unique, &[]),
            _ => self.refuse(unique, libc::ENOSYS),
        }
    }

    fn write(&mut self, unique: u64, offset: u64, bytes: &[u8]) {
        let mut shared = lock(&self.shared);
        shared.medium.write(offset, bytes);
        let held = Held { unique, length: bytes.len() as u32, write: shared.issued };
        let holding = shared.holding;
        if shared.recording {
            shared.log.push(Event::Issued { offset, bytes: bytes.into() });
            shared.issued += 1;
        }
        drop(shared);
        if holding && self.chance.below(3) > 0 {
            self.held.push(held);
        } else {
            self.complete(&held);
        }
    }

    /// Reports a write as complete.
    fn complete(&mut self, held: &Held) {
        let mut shared = lock(&self.shared);
        if shared.recording && held.write < shared.issued {
            shared.log.push(Event::Completed(held.write));
        }
        drop(shared);
        self.reply(held.unique, &numbers(&[u64::from(held.length)]));
    }

    fn flush(&mut self, unique: u64) {
        let mut shared = lock(&self.shared);
        if shared.recording {
            let completed = shared.log.iter().filter_map(|event| match event {
                Event::Completed(write) => Some(*write),
                _ => None,
            });
            let completed = completed.collect();
            shared.log.push(Event::Flushed(completed));
        }
        drop(shared);
        self.reply(unique, &[]);
    }

    fn reply(&mut self, unique: u64, body: &[u8]) {
        self.send(unique, 0, body);
    }

    fn refuse(&mut self, unique: u64, error: i32) {
        self.send(unique, -error, &[]);
    }

    fn send(&mut self, unique: u64, error: i32, body: &[u8]) {
        let mut out = Vec::with_capacity(16 + body.len());
        out.extend((16 + body.len() as u32).to_le_bytes());
        out.extend(error.to_le_bytes());
        out.extend(unique.to_le_bytes());
        out.extend(body);
        // The request may have been taken back.
        drop(self.fuse.write(&out));
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// `fuse_init_out`.
fn init(readahead: u32) -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    const BIG_WRITES: u32 = 1 << 5;
    const ASYNC_DIO: u32 = 1 << 15;
    const MAX_PAGES: u32 = 1 << 22;
    let flags = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES;
    // Up to 64 requests in the background; pages of 4 KiB for the longest write.
    let words = [7, 31, readahead, flags, 64 << 16 | 64, MAX_WRITE, 1, 256];
    let mut out: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    out.resize(64, 0);
    out
}

/// `fuse_attr` of the root or of the file.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    const DIRECTORY: u32 = 0o040_755;
    const REGULAR: u32 = 0o100_644;
    let is_file = node == FILE;
    let size = if is_file { size } else { 0 };
    let mut out = numbers(&[node, size, size / 512, 0, 0, 0]);
    let mode = if is_file { REGULAR } else { DIRECTORY };
    let words: [u32; 10] = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out
}
