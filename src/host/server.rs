//! The `main` of a fork server.
//!
//! It has one thread, and its memory does not change between two requests: it does not even read
//! them. The explorer that it forks for each request does, so that every explorer begins in the
//! same state.

use std::ffi::{c_char, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::channel::{Buffer, CHUNK, Channel, Tag, retry};
use super::child::{Fork, die_with, fork, wait};
use super::ending::judge;
use super::entry::{ExplorerFn, Reply, entry_at};
use super::environment::Environment;
use super::limits::Limits;
use super::note::End;
use super::region::Region;
use super::role;
use super::signals::{self, NOTED, leave, note_panicked};
use super::{shelf, stderr};
use crate::process::seam::altstack::AltStack;
use crate::process::seam::heap;

/// The descriptor of the socket, once the others are out of the way.
const SOCKET: c_int = 3;

/// Runs in place of the program's `main`.
pub(crate) extern "C" fn main(_: c_int, _: *const *const c_char, _: *const *const c_char) -> c_int {
    match Server::new().and_then(|server| server.serve()) {
        Ok(()) => leave(0),
        Err(error) => {
            stderr::write(format!("crashpoint: the fork server failed: {error}\n").as_bytes());
            leave(2)
        }
    }
}

struct Server {
    channel: Channel,
    /// No log: only the note in it is used, by one explorer at a time.
    region: Region,
}

impl Server {
    fn new() -> io::Result<Self> {
        let channel = take_socket()?;
        become_pristine();
        signals::install();
        start_a_first_thread()?;
        shelf::reserve();
        let last_words = stderr::capture();
        let environment = Environment::observe(last_words);
        let hello = postcard::to_allocvec(&environment).map_err(io::Error::other)?;
        let region = Region::with_capacity(0)?;
        channel.send(Tag::Hello, &hello)?;
        Ok(Self { channel, region })
    }

    /// Serves until the client is gone.
    fn serve(&self) -> io::Result<()> {
        while !wait_for(&[(self.channel.as_raw_fd(), libc::POLLIN)])?[0].closed {
            match self.channel.peek() {
                Ok(Tag::Request) => self.explore()?,
                // The rest of a request whose explorer died before it had read all of it.
                Ok(_) => drop(self.channel.receive(&mut [0; CHUNK + 1])?),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forks an explorer, waits for its end and reports that to the client.
    fn explore(&self) -> io::Result<()> {
        self.region.prepare();
        // The explorer and its children hold the other end of a pipe: it closes with the last.
        let (ours, theirs) = pipe()?;
        match fork()? {
            Fork::Child(parent) => {
                drop(ours);
                mem::forget(theirs);
                die_with(parent);
                self.be_explorer()
            }
            Fork::Parent(child) => {
                drop(theirs);
                self.await_explorer(child, &ours)
            }
        }
    }

    fn await_explorer(&self, child: libc::pid_t, pipe: &OwnedFd) -> io::Result<()> {
        let ended = loop {
            let [client, explorer] =
                wait_for(&[(self.channel.as_raw_fd(), 0), (pipe.as_raw_fd(), libc::POLLIN)])?;
            if client.closed || explorer.closed {
                break explorer.closed;
            }
        };
        if !ended {
            // SAFETY: the child was not waited for, so the number is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
            wait(child);
            leave(0);
        }
        let status = wait(child);
        stderr::drain(self.region.note());
        if self.region.note().end() == End::Finished {
            return self.report_end(status);
        }
        // To report a bad end allocates, and would change the memory of all later explorers.
        match fork()? {
            Fork::Child(_) => {
                let reported = self.report_end(status).is_ok();
                leave(if reported { 0 } else { NOTED })
            }
            Fork::Parent(reporter) if wait(reporter) == 0 => Ok(()),
            Fork::Parent(_) => Err(io::Error::other("an explorer's end could not be reported")),
        }
    }

    /// Reports to the client how the explorer ended.
    fn report_end(&self, status: c_int) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        let ending = judge(status, self.region.note());
        let bytes = postcard::to_slice(&ending, &mut buffer).map_err(io::Error::other)?;
        self.channel.send(Tag::End, bytes)
    }

    /// The main function of an explorer.
    fn be_explorer(&self) -> ! {
        let note = self.region.note();
        signals::write_into(note);
        let _stack = AltStack::new();
        let work = || {
            let (entry, request) = self.read_request().unwrap_or_else(|error| {
                panic!("the request did not arrive: {error}");
            });
            entry(&request, &mut Reply::new(&self.channel));
        };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(()) => {
                note.set_end(End::Finished, 0);
            }
            Err(payload) => note_panicked(note, &*payload),
        }
        leave(0)
    }

    fn read_request(&self) -> io::Result<(ExplorerFn, Vec<u8>)> {
        let mut buffer: Buffer = [0; CHUNK + 1];
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let (_, head) = self.channel.receive(&mut buffer)?;
        let (offset, head) = head.split_first_chunk().ok_or_else(wrong)?;
        let (length, _) = head.split_first_chunk().ok_or_else(wrong)?;
        let offset = isize::from_le_bytes(*offset);
        let length = usize::from_le_bytes(*length);
        let mut request = Vec::with_capacity(length);
        while request.len() < length {
            request.extend_from_slice(self.channel.receive(&mut buffer)?.1);
        }
        // SAFETY: the client runs the same binary, and took the offset from a function of this
        // type.
        Ok((unsafe { entry_at(offset) }, request))
    }
}

/// Moves the socket away from standard input, and closes all descriptors that the client left open.
fn take_socket() -> io::Result<Channel> {
    // SAFETY: in a process that just began only the first three descriptors are in use; the socket
    // is used by its new number alone from here on.
    unsafe {
        let mut kind: c_int = 0;
        let mut length = size_of_val(&kind) as libc::socklen_t;
        let kind_at = (&raw mut kind).cast();
        retry(|| {
            libc::getsockopt(0, libc::SOL_SOCKET, libc::SO_TYPE, kind_at, &mut length) as isize
        })?;
        if libc::syscall(libc::SYS_close_range, SOCKET, u32::MAX, 0) != 0 {
            (SOCKET..1024).for_each(|fd| {
                libc::close(fd);
            });
        }
        retry(|| libc::dup3(0, SOCKET, libc::O_CLOEXEC) as isize)?;
        let null = retry(|| libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) as isize)? as c_int;
        retry(|| libc::dup2(null, 0) as isize)?;
        libc::close(null);
        Ok(Channel::over(OwnedFd::from_raw_fd(SOCKET)))
    }
}

/// Clears the traces of the client that survive `exec`, and warms up state that each child would
/// otherwise compute.
fn become_pristine() {
    /// One arena for all threads: which of several a thread gets depends on whether others have
    /// really ended by then.
    const ARENAS: c_int = 1;
    for name in [role::BIND, role::LIBRARIES, role::TUNABLES] {
        // SAFETY: the process has one thread, so no other reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    // SAFETY: two take numbers, and one copies a short C string.
    unsafe {
        // The kernel's own name for it is `exe`.
        libc::prctl(libc::PR_SET_NAME, c"crashpoint".as_ptr());
        libc::umask(0o022);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
    // std detects the processor's features once and caches them. In a virtual machine that takes
    // longer than the calls of many a recovery, and each child would do it again.
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
    heap::prepare();
}

/// Starts a thread that does nothing, and waits for it. So the work for a process's first thread is
/// done once and not in every child, which even finds a stack in the C library's cache.
fn start_a_first_thread() -> io::Result<()> {
    let thread = thread::Builder::new().stack_size(Limits::default().stack).spawn(|| {})?;
    thread.join().map_err(|_| io::Error::other("a thread that does nothing panicked"))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two integers.
    retry(|| unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as isize)?;
    // SAFETY: the descriptors are new, and owned here alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// The state of a descriptor that was polled.
#[derive(Clone, Copy)]
struct Polled {
    /// The other end is closed.
    closed: bool,
}

/// Waits until one of the descriptors has a requested event, or its other end is closed.
fn wait_for<const N: usize>(descriptors: &[(c_int, i16); N]) -> io::Result<[Polled; N]> {
    let mut polled = descriptors.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    // SAFETY: the kernel writes into an array of the length that it is given.
    retry(|| unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, -1) } as isize)?;
    let closed = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Ok(polled.map(|polled| Polled { closed: polled.revents & closed != 0 }))
}
