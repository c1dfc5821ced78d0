//! A program on a file system, and the images that a power cut may leave of it.
#![expect(unsafe_code, reason = "no safe form of this ioctl")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crashpoint::inner::litmus::{Op, Program};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::chance::Chance;
use crate::device::{Device, Event, Medium};
use crate::real::{Caller, UNRELATED, state};

/// What was found of one program.
#[derive(Default)]
pub(crate) struct Found {
    /// The states, with how many images each had.
    pub(crate) states: BTreeMap<String, u64>,
    pub(crate) images: u64,
    /// The errors of images that could not be mounted or read.
    pub(crate) unmountable: BTreeSet<String>,
    /// A call that failed, though the simulated disk carried it out.
    pub(crate) difference: Option<String>,
}

/// A file system on a device.
pub(crate) struct Rig<'a> {
    fs: &'a str,
    formatted: Medium,
    device: &'a Device,
    mounted: PathBuf,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(
        fs: &'a str,
        formatted: Medium,
        device: &'a Device,
        folder: PathBuf,
    ) -> Result<Self, String> {
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let rig = Self { fs, formatted, device, mounted: folder };
        rig.mount().map_err(|error| format!("mount: {error}"))?;
        rig.unmount();
        Ok(rig)
    }

    fn mount(&self) -> Result<(), rustix::io::Errno> {
        mount(&self.device.path, &self.mounted, self.fs, MountFlags::empty(), None)
    }

    fn unmount(&self) {
        for _ in 0..200 {
            if unmount(&self.mounted, UnmountFlags::empty()).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = unmount(&self.mounted, UnmountFlags::DETACH);
    }

    /// Runs a program and reads the images of its log.
    pub(crate) fn observe(
        &mut self,
        program: &Program,
        images: u64,
        chance: &mut Chance,
    ) -> Result<Found, String> {
        let mut found = Found::default();
        self.device.set(self.formatted.clone());
        self.mount().map_err(|error| format!("mount: {error}"))?;
        let (start, log) = self.carry_out(program, chance, &mut found);
        self.unmount();
        let mut cut = Cut { start, log, chance };
        let mut known: BTreeMap<Vec<usize>, Result<String, String>> = BTreeMap::new();
        for number in 0..images * 4 {
            if found.images == images {
                break;
            }
            let (writes, marks) = cut.draw(number);
            let read = known.entry(writes).or_insert_with_key(|writes| {
                found.images += 1;
                self.device.set(cut.image(writes));
                self.read()
            });
            match read {
                Ok(state) => {
                    let lines = Some(state.clone()).filter(|state| !state.is_empty());
                    let lines: Vec<String> = lines.into_iter().chain(marks).collect();
                    *found.states.entry(lines.join("; ")).or_default() += 1;
                }
                Err(why) => drop(found.unmountable.insert(why.clone())),
            }
        }
        Ok(found)
    }

    /// Carries out a program; returns the durable medium before its body, and the log of that.
    fn carry_out(
        &self,
        program: &Program,
        chance: &mut Chance,
        found: &mut Found,
    ) -> (Medium, Vec<Event>) {
        let mut caller = Caller::new(self.mounted.clone());
        let mut call = |op: &Op, found: &mut Found| {
            let done = caller.call(op);
            if let (Err(error), None) = (done, &found.difference) {
                found.difference = Some(format!("{op:?}: {error}"));
            }
        };
        program.setup.iter().for_each(|line| call(&line.op, found));
        drop(std::fs::write(self.mounted.join(UNRELATED), b"x"));
        call(&Op::Sync, found);
        let start = self.device.record(chance.below(4) > 0);
        for line in &program.body {
            match &line.op {
                Op::Mark(name) => self.device.mark(name),
                op => {
                    call(op, found);
                    self.nudge(chance);
                }
            }
        }
        self.nudge(chance);
        let log = self.device.stop();
        (start, log)
    }

    /// Has the kernel write something on its own account, or nothing.
    fn nudge(&self, chance: &mut Chance) {
        let root = File::open(&self.mounted);
        match chance.below(10) {
            // The log is committed by a file that the program does not know.
            0 | 1 => {
                let file = File::options().append(true).open(self.mounted.join(UNRELATED));
                drop(file.and_then(|mut file| file.write_all(b"x").and_then(|()| file.sync_all())));
            }
            2 if self.fs == "btrfs" => drop(root.map(|root| start_commit(&root))),
            3 => drop(root.map(rustix::fs::syncfs)),
            4 | 5 => self.write_back(&self.mounted, chance),
            _ => {}
        }
    }

    /// Has the data of some files written, without their metadata.
    fn write_back(&self, folder: &Path, chance: &mut Chance) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.write_back(&path, chance),
                Ok(kind) if kind.is_file() && chance.below(2) == 0 => {
                    if let Ok(file) = File::open(&path) {
                        write_pages(&file);
                    }
                }
                _ => {}
            }
        }
    }

    /// The state that a mount of the device shows.
    fn read(&self) -> Result<String, String> {
        self.mount().map_err(|error| format!("mount: {error}"))?;
        let state = state(&self.mounted).map_err(|error| format!("reading: {error}"));
        self.unmount();
        state
    }
}

/// Starts a commit of btrfs as its timer does, without the data that is not written yet.
fn start_commit(root: &File) {
    const BTRFS_IOC_START_SYNC: libc::c_ulong = 0x8008_9418;
    let mut transaction = 0u64;
    // SAFETY: the descriptor is open, and the call writes one number of 8 bytes to the address of
    // a number that outlives it (include/uapi/linux/btrfs.h).
    unsafe { libc::ioctl(root.as_raw_fd(), BTRFS_IOC_START_SYNC, &raw mut transaction) };
    std::thread::sleep(Duration::from_millis(20));
}

fn write_pages(file: &File) {
    let flags = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open; the call takes no address.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) };
}

/// The log of a program, to be cut.
struct Cut<'a> {
    start: Medium,
    log: Vec<Event>,
    chance: &'a mut Chance,
}

impl Cut<'_> {
    /// The writes of one image, in order, and the marks that were passed. The first images keep all
    /// that was sent before each event.
    fn draw(&mut self, number: u64) -> (Vec<usize>, Vec<String>) {
        let prefixes = self.log.len() + 1;
        let ordered = (number as usize) < prefixes && prefixes <= 30;
        let end = match number as usize {
            0 => self.log.len(),
            number if ordered => number - 1,
            _ => self.chance.below(prefixes),
        };
        let mut durable: BTreeSet<usize> = BTreeSet::new();
        let (mut issued, mut marks) = (0, Vec::new());
        for event in &self.log[..end] {
            match event {
                Event::Issued { .. } => issued += 1,
                Event::Completed(_) => {}
                Event::Flushed(writes) => durable.extend(writes),
                Event::Mark(name) => marks.push(format!("mark:{name}")),
            }
        }
        let open: Vec<usize> = (0..issued).filter(|write| !durable.contains(write)).collect();
        let how = if ordered { 0 } else { self.chance.below(5) };
        let one = if open.is_empty() { 0 } else { open[self.chance.below(open.len())] };
        for write in open {
            let keep = match how {
                0 => true,
                1 => write == one,
                2 => write != one,
                _ => self.chance.below(2) == 0,
            };
            if keep {
                durable.insert(write);
            }
        }
        (durable.into_iter().collect(), marks)
    }

    fn image(&self, writes: &[usize]) -> Medium {
        let issued = self.log.iter().filter_map(|event| match event {
            Event::Issued { offset, bytes } => Some((*offset, bytes)),
            _ => None,
        });
        let issued: Vec<(u64, &Arc<[u8]>)> = issued.collect();
        let mut medium = self.start.clone();
        for write in writes {
            medium.write(issued[*write].0, issued[*write].1);
        }
        medium
    }
}
