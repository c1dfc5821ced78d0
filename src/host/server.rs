//! The case server: what a template runs in place of `main`.
//!
//! It has one thread, and nothing of it changes between two requests: it does not even read them.
//! The explorer that it forks for each does, so that every explorer begins in the same state.

use std::ffi::{c_char, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::channel::{Buffer, CHUNK, Channel, Tag, retry};
use super::child::{Fork, die_with, fork, wait};
use super::ending::judge;
use super::entry::{Entry, Reply, entry_at};
use super::environment::Environment;
use super::limits::Limits;
use super::note::End;
use super::region::Region;
use super::role;
use super::signals::{self, NOTED, leave, say_panicked};
use super::{shelf, stderr};
use crate::process::seam::altstack::AltStack;
use crate::process::seam::heap;

/// The descriptor of the socket, once the others are out of the way.
const SOCKET: c_int = 3;

/// Stands in for `main`.
pub(crate) extern "C" fn main(_: c_int, _: *const *const c_char, _: *const *const c_char) -> c_int {
    match Server::new().and_then(|server| server.serve()) {
        Ok(()) => leave(0),
        Err(error) => {
            stderr::write(format!("crashpoint: the template failed: {error}\n").as_bytes());
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
        shelf::take();
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
                // What an explorer that died early has not read of its request.
                Ok(_) => drop(self.channel.receive(&mut [0; CHUNK + 1])?),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forks an explorer, waits for its end and tells the client.
    fn explore(&self) -> io::Result<()> {
        self.region.admit();
        // The explorer and its leaves hold the other end of a pipe: it closes with the last.
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
                self.see_to_the_end(child, &ours)
            }
        }
    }

    fn see_to_the_end(&self, child: libc::pid_t, pipe: &OwnedFd) -> io::Result<()> {
        let ended = loop {
            let [client, explorer] =
                wait_for(&[(self.channel.as_raw_fd(), 0), (pipe.as_raw_fd(), libc::POLLIN)])?;
            if client.closed || explorer.closed {
                break explorer.closed;
            }
        };
        if !ended {
            // SAFETY: the child was not waited for, so that the number is its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
            wait(child);
            leave(0);
        }
        let status = wait(child);
        stderr::drain(self.region.note());
        if self.region.note().end() == End::Finished {
            return self.tell(status);
        }
        // To say what went wrong allocates, and would leave its mark on all that is forked later.
        match fork()? {
            Fork::Child(_) => {
                let told = self.tell(status).is_ok();
                leave(if told { 0 } else { NOTED })
            }
            Fork::Parent(teller) if wait(teller) == 0 => Ok(()),
            Fork::Parent(_) => Err(io::Error::other("an ending could not be told")),
        }
    }

    /// Tells the client how the explorer ended.
    fn tell(&self, status: c_int) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        let ending = judge(status, self.region.note());
        let bytes = postcard::to_slice(&ending, &mut buffer).map_err(io::Error::other)?;
        self.channel.send(Tag::End, bytes)
    }

    /// The life of an explorer.
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
                note.say(End::Finished, 0);
            }
            Err(payload) => say_panicked(note, &*payload),
        }
        leave(0)
    }

    fn read_request(&self) -> io::Result<(Entry, Vec<u8>)> {
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

/// Moves the socket away from standard input, and closes all that the client left open.
fn take_socket() -> io::Result<Channel> {
    // SAFETY: no descriptor but the first three is anybody's in a process that just began; the
    // socket is known by its new number alone from here on.
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

/// What is left of the client in a process after `exec`.
fn become_pristine() {
    /// One heap for all threads: which of several a thread gets depends on whether others have
    /// really ended by then.
    const ARENAS: c_int = 1;
    for name in [role::BIND, role::LIBRARIES] {
        // SAFETY: the process has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    // SAFETY: two set a number, and one copies a short C string.
    unsafe {
        // The kernel would call it `exe`.
        libc::prctl(libc::PR_SET_NAME, c"crashpoint".as_ptr());
        libc::umask(0o022);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
    // What the processor can do is asked for once and remembered. In a virtual machine the question
    // takes longer than many a recovery's calls, and each leaf would ask it again.
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
    heap::prepare();
}

/// Starts a thread that does nothing, and waits for it. What a process does for its first thread
/// is so done once and not in every leaf, which finds even a stack in the C library's cache.
fn start_a_first_thread() -> io::Result<()> {
    let thread = thread::Builder::new().stack_size(Limits::default().stack).spawn(|| {})?;
    thread.join().map_err(|_| io::Error::other("a thread that does nothing panicked"))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two integers.
    retry(|| unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as isize)?;
    // SAFETY: the descriptors are new, and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// What was seen of a descriptor.
#[derive(Clone, Copy)]
struct Polled {
    /// The other end is closed.
    closed: bool,
}

/// Waits until one of the descriptors has what is asked for, or is closed at its other end.
fn wait_for<const N: usize>(descriptors: &[(c_int, i16); N]) -> io::Result<[Polled; N]> {
    let mut polled = descriptors.map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
    // SAFETY: the kernel writes into an array of the length that it is told.
    retry(|| unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, -1) } as isize)?;
    let closed = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Ok(polled.map(|polled| Polled { closed: polled.revents & closed != 0 }))
}
