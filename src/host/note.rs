//! The note that a process leaves about its end, in memory that it shares with its parent.
//!
//! All of it is atomics, so that a signal handler can fill it in without an allocation or a lock,
//! and so that zeroed memory is an empty note.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Bytes of a panic's message, and of the last words.
const MESSAGE: usize = 4096;
/// Bytes of a source location.
const LOCATION: usize = 512;
/// Return addresses of a backtrace.
const FRAMES: usize = 128;

/// The end that a process notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum End {
    /// Nothing is noted.
    None,
    /// The task was completed.
    Finished,
    /// The task panicked.
    Panicked,
    /// The signal whose number is noted.
    Signal,
    /// A thread's stack was full.
    StackOverflow,
    /// The watch saw too much CPU time.
    Spin,
    /// The watch saw no thread awake; the system call's number is noted.
    Asleep,
    /// The watch saw too much memory in use; the limit in bytes is noted.
    Memory,
}

/// The note. An ordinary end touches only the first fields, which are in one page.
#[repr(C)]
pub(crate) struct EndNote {
    end: AtomicU32,
    panicked: AtomicU32,
    number: AtomicI64,
    depth: AtomicUsize,
    frames: [AtomicUsize; FRAMES],
    location: Text<LOCATION>,
    message: Text<MESSAGE>,
    words: Ring<MESSAGE>,
}

impl EndNote {
    /// Wipes everything, at the cost of a few stores.
    pub(crate) fn clear(&self) {
        self.end.store(End::None as u32, Relaxed);
        self.panicked.store(0, Relaxed);
        self.number.store(0, Relaxed);
        self.depth.store(0, Relaxed);
        self.location.clear();
        self.message.clear();
        self.words.total.store(0, Relaxed);
    }

    /// Notes how the process ends. The first note counts: later ones are consequences. Returns
    /// whether this was the first.
    pub(crate) fn set_end(&self, end: End, number: i64) -> bool {
        let none = End::None as u32;
        let first = self.end.compare_exchange(none, end as u32, Relaxed, Relaxed).is_ok();
        if first {
            self.number.store(number, Relaxed);
        }
        first
    }

    /// The end that the process noted.
    pub(crate) fn end(&self) -> End {
        const ALL: [End; 8] = [
            End::None,
            End::Finished,
            End::Panicked,
            End::Signal,
            End::StackOverflow,
            End::Spin,
            End::Asleep,
            End::Memory,
        ];
        ALL.get(self.end.load(Relaxed) as usize).copied().unwrap_or(End::None)
    }

    /// The number that came with the end.
    pub(crate) fn number(&self) -> i64 {
        self.number.load(Relaxed)
    }

    /// Notes the panic that was raised last.
    pub(crate) fn set_panic(&self, message: fmt::Arguments<'_>, location: fmt::Arguments<'_>) {
        self.message.set(message);
        self.location.set(location);
        self.panicked.store(1, Relaxed);
    }

    /// The message and the location of the panic that was raised last, unless it was taken.
    pub(crate) fn panic(&self) -> Option<(String, String)> {
        let panicked = self.panicked.load(Relaxed) != 0;
        panicked.then(|| (self.message.get(), self.location.get()))
    }

    /// Takes the panic that was raised last.
    pub(crate) fn take_panic(&self) -> Option<(String, String)> {
        let panic = self.panic();
        self.panicked.store(0, Relaxed);
        panic
    }

    /// Adds to the process's output to standard error; the last 4 KiB are kept.
    pub(crate) fn add_words(&self, bytes: &[u8]) {
        self.words.add(bytes);
    }

    /// The last words.
    pub(crate) fn words(&self) -> String {
        String::from_utf8_lossy(&self.words.get()).trim_end().to_owned()
    }

    /// Adds a return address to the backtrace; returns whether there is space for more.
    pub(crate) fn add_frame(&self, address: usize) -> bool {
        let depth = self.depth.load(Relaxed);
        if let Some(frame) = self.frames.get(depth) {
            frame.store(address, Relaxed);
            self.depth.store(depth + 1, Relaxed);
        }
        depth + 1 < FRAMES
    }

    /// The backtrace, innermost first.
    pub(crate) fn frames(&self) -> Vec<usize> {
        let depth = self.depth.load(Relaxed);
        self.frames.iter().take(depth).map(|frame| frame.load(Relaxed)).collect()
    }
}

/// A short text; a longer one is cut off.
#[repr(C)]
struct Text<const N: usize> {
    length: AtomicUsize,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Text<N> {
    fn clear(&self) {
        self.length.store(0, Relaxed);
    }

    fn set(&self, text: fmt::Arguments<'_>) {
        self.clear();
        // The only error is that the text was cut off, which is better than no text.
        let _ = fmt::write(&mut &*self, text);
    }

    fn get(&self) -> String {
        let bytes: Vec<u8> =
            self.bytes.iter().take(self.length.load(Relaxed)).map(|b| b.load(Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl<const N: usize> fmt::Write for &Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = self.length.load(Relaxed).min(N);
        let room = &self.bytes[start..];
        for (place, byte) in room.iter().zip(text.bytes()) {
            place.store(byte, Relaxed);
        }
        self.length.store(start + text.len().min(room.len()), Relaxed);
        if text.len() > room.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The last bytes of a stream.
#[repr(C)]
struct Ring<const N: usize> {
    total: AtomicUsize,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Ring<N> {
    fn add(&self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(N)..];
        let start = self.total.load(Relaxed) + (bytes.len() - kept.len());
        for (i, byte) in kept.iter().enumerate() {
            self.bytes[(start + i) % N].store(*byte, Relaxed);
        }
        self.total.store(start + kept.len(), Relaxed);
    }

    fn get(&self) -> Vec<u8> {
        let total = self.total.load(Relaxed);
        (total.saturating_sub(N)..total).map(|i| self.bytes[i % N].load(Relaxed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank() -> Box<EndNote> {
        // SAFETY: a note is made of atomic integers, for which zero is a value.
        unsafe { Box::<EndNote>::new_zeroed().assume_init() }
    }

    #[test]
    fn the_first_end_that_is_noted_counts() {
        let note = blank();
        assert!(note.set_end(End::Signal, 11));
        assert!(!note.set_end(End::Finished, 0));
        assert_eq!((note.end(), note.number()), (End::Signal, 11));
        note.clear();
        assert_eq!((note.end(), note.number()), (End::None, 0));
    }

    #[test]
    fn a_long_message_is_cut_off_and_a_panic_is_taken_once() {
        let note = blank();
        let long = "ä".repeat(MESSAGE);
        note.set_panic(format_args!("{long}"), format_args!("a.rs:7"));
        let (message, location) = note.take_panic().expect("there is one");
        assert_eq!((message.len(), location.as_str()), (MESSAGE, "a.rs:7"));
        assert_eq!(note.take_panic(), None);
    }

    #[test]
    fn the_last_words_are_the_last() {
        let note = blank();
        note.add_words(b"first ");
        note.add_words(&[b'x'; 3 * MESSAGE]);
        note.add_words(b"last\n");
        let words = note.words();
        assert_eq!(words.len(), MESSAGE - 1);
        assert!(words.starts_with('x') && words.ends_with("xlast"));
        note.clear();
        note.add_words(b"fresh");
        assert_eq!(note.words(), "fresh");
    }

    #[test]
    fn a_backtrace_stops_when_the_note_is_full() {
        let note = blank();
        let mut address = 1;
        while note.add_frame(address) {
            address += 1;
        }
        assert_eq!(note.frames(), (1..=FRAMES).collect::<Vec<_>>());
        assert!(!note.add_frame(7));
        assert_eq!(note.frames().len(), FRAMES);
    }
}
