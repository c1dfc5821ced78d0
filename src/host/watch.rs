//! The watchdog of a leaf: it ends a leaf that spins, and one that sleeps in the kernel for real. A
//! thread that spins until another one does something gives way to it (see `spin`).
//!
//! It measures CPU time and sleep, never time on the wall: a leaf that waits for a processor on a
//! loaded machine does neither. It allocates nothing, and has a descriptor table of its own, so
//! that what it does in real time leaves no trace in what the engine sees.

use std::ffi::{CStr, c_int, c_long};
use std::io::Write;
use std::mem;
use std::time::Duration;

use super::limits::Limits;
use super::note::{End, EndNote};
use super::signals::{NOTED, leave_now};
use super::stderr;
use crate::process::threads::holder;
use crate::process::threads::spin::{self, Ask, Quiet};

/// How often the watch looks whether a thread spins.
const BLINK: Duration = Duration::from_millis(10);

/// How often it looks at all threads, in blinks.
const TICK: u32 = 10;

/// How long a thread has between two looks at whether it noted its state.
const MOMENT: Duration = Duration::from_micros(100);

/// How long a thread has to answer where it spins, in blinks.
const ANSWER: u32 = 200;

fn own_id() -> c_int {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// Watches over the other threads of this process until it ends.
pub(crate) fn keep(limits: &Limits, note: &EndNote) -> ! {
    let own = own_id();
    let mut before = None;
    let mut since = Duration::ZERO;
    let mut quiet = Quiet::default();
    nap(BLINK);
    // A table of its own, from here on; where that is refused, the descriptors that a look takes
    // for an instant are the engine's too.
    // SAFETY: copies the calling thread's descriptor table.
    unsafe { libc::unshare(libc::CLONE_FILES) };
    loop {
        for _ in 0..TICK {
            let cpu = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
            if cpu > limits.cpu {
                end_spin(own, note);
            }
            if quiet.lasts(cpu) {
                let holder = holder::get();
                quiet.end(holder, || clock(cpu_clock(holder)), || nap(MOMENT));
            }
            nap(BLINK);
        }
        stderr::bound();
        let now = clock(libc::CLOCK_MONOTONIC);
        let threads = Threads::look(own);
        if threads.awake.is_some() || Some(threads) != before {
            before = Some(threads);
            since = now;
        } else if now.saturating_sub(since) >= limits.asleep {
            note.say(End::Asleep, syscall_of(holder::get()));
            leave_now(NOTED);
        }
    }
}

/// Asks a thread that runs where it is; if it does not answer, the leaf ends without.
fn end_spin(own: c_int, note: &EndNote) -> ! {
    let thread = Threads::look(own).awake.unwrap_or(holder::get());
    spin::ask(thread, Ask::Where);
    for _ in 0..ANSWER {
        nap(BLINK);
    }
    note.say(End::Spin, 0);
    leave_now(NOTED)
}

fn nap(time: Duration) {
    let time = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: c_long::from(time.subsec_nanos() as i32),
    };
    // SAFETY: reads one structure. A nap that a signal cuts short is long enough.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills one structure in; if the clock's thread is gone it stays zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The clock of the CPU time of one thread of this process: the kernel's number for it is made
/// of the thread's id, inverted, and of the bits for "one thread" and "scheduler's count".
fn cpu_clock(thread: c_int) -> libc::clockid_t {
    (!thread << 3) | 0b110
}

/// What the other threads of the process do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threads {
    /// One that runs, waits for a processor, or does anything else but sleep.
    awake: Option<c_int>,
    count: u32,
    cpu: Duration,
}

impl Threads {
    fn look(own: c_int) -> Self {
        let mut threads = Self { awake: None, count: 0, cpu: Duration::ZERO };
        let Some(directory) = File::open(c"/proc/self/task") else {
            // Without the list nobody can be said to be asleep.
            return Self { awake: Some(holder::get()), ..threads };
        };
        directory.each_number(|thread| {
            if thread != own {
                threads.add(thread);
            }
        });
        threads
    }

    fn add(&mut self, thread: c_int) {
        self.count += 1;
        self.cpu += clock(cpu_clock(thread));
        let mut buffer = [0; 512];
        let stat = read_of(thread, "stat", &mut buffer);
        // The name in parentheses may hold any byte; the state is the letter behind it.
        let state = stat.iter().rposition(|&b| b == b')').and_then(|at| stat.get(at + 2));
        // A thread that is gone, or dead and not yet reaped, does not run.
        if state.is_some_and(|state| !b"SZX".contains(state)) {
            self.awake = Some(thread);
        }
    }
}

/// The number of the system call that a thread sleeps in, or -1.
fn syscall_of(thread: c_int) -> i64 {
    let mut buffer = [0; 256];
    let line = read_of(thread, "syscall", &mut buffer);
    let digits = line.split(|b| !b.is_ascii_digit()).next().unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(-1)
}

/// Reads a small file about a thread, as much as fits.
fn read_of<'a>(thread: c_int, name: &str, buffer: &'a mut [u8]) -> &'a [u8] {
    let mut path = [0; 64];
    if write!(&mut path[..], "/proc/self/task/{thread}/{name}\0").is_err() {
        return &[];
    }
    let file = CStr::from_bytes_until_nul(&path).ok().and_then(File::open);
    let read = file.map_or(0, |file| file.read(buffer));
    &buffer[..read]
}

/// An open file or directory, without what allocates in std's.
struct File(c_int);

impl File {
    fn open(path: &CStr) -> Option<Self> {
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (fd >= 0).then_some(Self(fd))
    }

    fn read(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        let read = unsafe { libc::read(self.0, buffer.as_mut_ptr().cast(), buffer.len()) };
        usize::try_from(read).unwrap_or(0)
    }

    /// Calls `each` for the entries of a directory that are numbers.
    fn each_number(&self, mut each: impl FnMut(c_int)) {
        let mut buffer = [0u8; 2048];
        loop {
            // SAFETY: the kernel writes at most as many bytes as the buffer has.
            let read = unsafe {
                libc::syscall(libc::SYS_getdents64, self.0, buffer.as_mut_ptr(), buffer.len())
            };
            let Some(mut rest) = usize::try_from(read).ok().and_then(|n| buffer.get(..n)) else {
                return;
            };
            if rest.is_empty() {
                return;
            }
            while let Some((name, next)) = first_entry(rest) {
                if let Some(number) = name.to_str().ok().and_then(|name| name.parse().ok()) {
                    each(number);
                }
                rest = next;
            }
        }
    }
}

/// The name of the first entry in what `getdents64` left, and the entries behind it.
fn first_entry(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    const LENGTH: usize = mem::offset_of!(libc::dirent64, d_reclen);
    const NAME: usize = mem::offset_of!(libc::dirent64, d_name);
    let length = entries.get(LENGTH..)?.first_chunk::<2>()?;
    let (entry, rest) = entries.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?, rest))
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own.
        unsafe { libc::close(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
    use std::thread;

    use super::*;

    fn look_at(thread: c_int) -> Threads {
        let mut threads = Threads { awake: None, count: 0, cpu: Duration::ZERO };
        threads.add(thread);
        threads
    }

    /// Runs `with` beside a thread that tells its id and then does `work` until it is told to end.
    fn beside(work: impl Fn() + Sync, with: impl FnOnce(c_int)) {
        let (id, over) = (AtomicI32::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                id.store(own_id(), Ordering::Release);
                while !over.load(Ordering::Acquire) {
                    work();
                }
            });
            while id.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            with(id.load(Ordering::Acquire));
            over.store(true, Ordering::Release);
            worker.thread().unpark();
        });
    }

    #[test]
    fn a_thread_that_works_is_awake_and_its_cpu_time_grows() {
        beside(std::hint::spin_loop, |id| {
            let first = look_at(id);
            assert_eq!(first.awake, Some(id));
            while look_at(id).cpu <= first.cpu {
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_parked_thread_is_asleep_in_futex() {
        beside(thread::park, |id| {
            while look_at(id).awake.is_some() {
                thread::yield_now();
            }
            assert_eq!(look_at(id).cpu, look_at(id).cpu);
            assert_eq!(syscall_of(id), libc::SYS_futex);
        });
    }
}
