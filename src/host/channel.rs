//! The socket between a client and its fork server: packets that arrive whole or not at all.
//!
//! An explorer sends on the same socket as its fork server. With a stream, an explorer that dies in
//! the middle of a frame would leave the client unable to read the fork server's next message.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bytes in a packet besides its tag: well below a socket's default buffer.
pub(crate) const CHUNK: usize = 32 << 10;

/// Space for one packet.
pub(crate) type Buffer = [u8; CHUNK + 1];

/// The type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// Fork server to client: it is ready, and this is its environment.
    Hello = 1,
    /// Client to explorer: the head of a request.
    Request,
    /// Client to explorer: bytes of a request.
    Body,
    /// Explorer to client: bytes of a frame, more of which follow.
    Part,
    /// Explorer to client: the last bytes of a frame.
    Last,
    /// Fork server to client: the explorer has ended, and this is how.
    End,
}

impl Tag {
    fn read(byte: u8) -> io::Result<Self> {
        const ALL: [Tag; 6] = [Tag::Hello, Tag::Request, Tag::Body, Tag::Part, Tag::Last, Tag::End];
        let tag = ALL.into_iter().find(|&tag| tag as u8 == byte);
        tag.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an unknown kind of packet"))
    }
}

/// One end of the socket.
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let mut ends = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes two integers.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptors are new, and owned here alone.
        Ok(unsafe { (Self(OwnedFd::from_raw_fd(ends[0])), Self(OwnedFd::from_raw_fd(ends[1]))) })
    }

    /// The end that a descriptor refers to; takes ownership of it.
    pub(crate) fn over(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends one packet of at most [`CHUNK`] bytes.
    pub(crate) fn send(&self, tag: Tag, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(bytes.len() <= CHUNK);
        let tag = [tag as u8];
        let mut parts = [tag.as_slice(), bytes].map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: zero is a value of this plain structure.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        // SAFETY: the parts point to slices that outlive the call, and are only read.
        retry(|| unsafe { libc::sendmsg(self.0.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })?;
        Ok(())
    }

    /// Sends bytes of any length as packets: all but the last with the tag `more`.
    pub(crate) fn send_all(&self, more: Tag, last: Tag, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some((chunk, next)) = rest.split_at_checked(CHUNK)
            && !next.is_empty()
        {
            self.send(more, chunk)?;
            rest = next;
        }
        self.send(last, rest)
    }

    /// Waits for a packet and takes it.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<(Tag, &'a [u8])> {
        let read = self.read(buffer, 0)?;
        Ok((Tag::read(buffer[0])?, &buffer[1..read]))
    }

    /// Waits for a packet and leaves it in the socket; returns its tag.
    pub(crate) fn peek(&self) -> io::Result<Tag> {
        let mut tag = [0];
        self.read(&mut tag, libc::MSG_PEEK)?;
        Tag::read(tag[0])
    }

    fn read(&self, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
        let (start, length) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the kernel writes at most `length` bytes into the buffer.
        let read =
            retry(|| unsafe { libc::recv(self.0.as_raw_fd(), start.cast(), length, flags) })?;
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Repeats a call for as long as signals interrupt it.
pub(crate) fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let result = call();
        if let Ok(result) = usize::try_from(result) {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_arrive_in_packets() {
        for length in [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let (here, there) = Channel::pair().expect("a socket");
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            here.send_all(Tag::Part, Tag::Last, &bytes).expect("sent");
            let mut arrived = Vec::new();
            let mut buffer = [0; CHUNK + 1];
            loop {
                assert_ne!(there.peek().expect("a packet"), Tag::End);
                let (tag, chunk) = there.receive(&mut buffer).expect("a packet");
                arrived.extend_from_slice(chunk);
                if tag == Tag::Last {
                    break;
                }
            }
            assert_eq!(arrived, bytes);
        }
    }

    #[test]
    fn a_closed_end_is_an_error_and_not_a_packet() {
        let (here, there) = Channel::pair().expect("a socket");
        drop(there);
        let error = here.peek().expect_err("the other end is closed");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(here.send(Tag::Body, b"x").is_err());
    }
}
