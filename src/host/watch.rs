//! The watchdog of a child: it ends a child that spins, one that uses too much memory, and one that
//! really sleeps in the kernel. A thread that spins until another one does something is made to
//! yield (see `spin`).
//!
//! It measures CPU time and sleep, never elapsed time: a child that waits for a processor on a
//! loaded machine neither runs nor sleeps. It allocates nothing, and has its own descriptor table,
//! so that its work in real time leaves no trace that the engine could see.

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

/// The period at which the watch checks whether a thread spins.
const TICK: Duration = Duration::from_millis(10);

/// After how many ticks it looks at all threads.
const TICKS_PER_LOOK: u32 = 10;

/// The pause between two checks whether a thread has sampled its state.
const SAMPLE_PAUSE: Duration = Duration::from_micros(100);

/// For how many ticks a thread may take to report where it spins.
const TICKS_TO_ANSWER: u32 = 200;

fn own_id() -> c_int {
    // SAFETY: `gettid` has no precondition.
    unsafe { libc::gettid() }
}

/// Watches over the other threads of this process until it ends.
///
/// `inherited` is how many bytes of memory were in use when it was forked.
pub(crate) fn keep(limits: &Limits, note: &EndNote, inherited: u64) -> ! {
    let own = own_id();
    let mut before = None;
    let mut since = Duration::ZERO;
    let mut quiet = Quiet::default();
    nap(TICK);
    // From here on the watch has its own table. If that is refused, the descriptors that a look
    // uses for an instant are in the engine's table.
    // SAFETY: copies the calling thread's descriptor table.
    unsafe { libc::unshare(libc::CLONE_FILES) };
    let memory = Memory { file: File::open(c"/proc/self/statm"), inherited };
    loop {
        for _ in 0..TICKS_PER_LOOK {
            let cpu = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
            if cpu > limits.cpu {
                end_spin(own, note);
            }
            if memory.grew_by() > limits.memory {
                note.set_end(End::Memory, limits.memory.cast_signed());
                leave_now(NOTED);
            }
            if quiet.lasts(cpu) {
                let holder = holder::get();
                quiet.end(holder, || clock(cpu_clock(holder)), || nap(SAMPLE_PAUSE));
            }
            nap(TICK);
        }
        stderr::bound();
        let now = clock(libc::CLOCK_MONOTONIC);
        let threads = Threads::look(own);
        if threads.awake.is_some() || Some(threads) != before {
            before = Some(threads);
            since = now;
        } else if now.saturating_sub(since) >= limits.asleep {
            note.set_end(End::Asleep, syscall_of(holder::get()));
            leave_now(NOTED);
        }
    }
}

/// The memory that the process has in use.
struct Memory {
    file: Option<File>,
    inherited: u64,
}

impl Memory {
    /// Bytes in use; 0 where that is unknown.
    fn in_use(&self) -> u64 {
        const PAGE: u64 = 4096;
        let mut buffer = [0; 128];
        let read = self.file.as_ref().map_or(0, |file| file.read_again(&mut buffer));
        // The second number of the file: pages in memory.
        let resident = buffer[..read].split(|&byte| byte == b' ').nth(1);
        let pages = resident.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        pages.unwrap_or(0) * PAGE
    }

    fn grew_by(&self) -> u64 {
        self.in_use().saturating_sub(self.inherited)
    }
}

/// Asks a running thread where it is; if it does not answer, the child ends without that.
fn end_spin(own: c_int, note: &EndNote) -> ! {
    let thread = Threads::look(own).awake.unwrap_or(holder::get());
    spin::ask(thread, Ask::Where);
    for _ in 0..TICKS_TO_ANSWER {
        nap(TICK);
    }
    note.set_end(End::Spin, 0);
    leave_now(NOTED)
}

fn nap(time: Duration) {
    let time = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: c_long::from(time.subsec_nanos() as i32),
    };
    // A nap that a signal cuts short is long enough.
    // SAFETY: the kernel reads one structure.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

fn clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in one structure; if the clock's thread is gone it stays zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The clock of the CPU time of one thread of this process: its number consists of the thread's id,
/// inverted, and of the bits for "one thread" and "scheduler's count".
fn cpu_clock(thread: c_int) -> libc::clockid_t {
    (!thread << 3) | 0b110
}

/// The state of the other threads of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threads {
    /// One that is not asleep: it runs, or waits for a processor.
    awake: Option<c_int>,
    count: u32,
    cpu: Duration,
}

impl Threads {
    fn look(own: c_int) -> Self {
        let mut threads = Self { awake: None, count: 0, cpu: Duration::ZERO };
        let Some(directory) = File::open(c"/proc/self/task") else {
            // Without the list no thread is known to be asleep.
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
        // The name in parentheses may hold any byte; the state is the letter after it.
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

/// Reads a small file about a thread, as much of it as fits.
fn read_of<'a>(thread: c_int, name: &str, buffer: &'a mut [u8]) -> &'a [u8] {
    let mut path = [0; 64];
    if write!(&mut path[..], "/proc/self/task/{thread}/{name}\0").is_err() {
        return &[];
    }
    let file = CStr::from_bytes_until_nul(&path).ok().and_then(File::open);
    let read = file.map_or(0, |file| file.read(buffer));
    &buffer[..read]
}

/// An open file or directory; unlike std's it never allocates.
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

    /// Reads from the beginning.
    fn read_again(&self, buffer: &mut [u8]) -> usize {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        let read = unsafe { libc::pread(self.0, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
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

/// The name of the first entry of `getdents64`'s output, and the following entries.
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

    /// Runs `with` while a thread, whose id it gets, repeats `work`.
    fn with_worker(work: impl Fn() + Sync, with: impl FnOnce(c_int)) {
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
        with_worker(std::hint::spin_loop, |id| {
            let first = look_at(id);
            assert_eq!(first.awake, Some(id));
            while look_at(id).cpu <= first.cpu {
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_parked_thread_is_asleep_in_futex() {
        with_worker(thread::park, |id| {
            while look_at(id).awake.is_some() {
                thread::yield_now();
            }
            assert_eq!(look_at(id).cpu, look_at(id).cpu);
            assert_eq!(syscall_of(id), libc::SYS_futex);
        });
    }
}
