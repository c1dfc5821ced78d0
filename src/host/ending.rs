//! How a child process ended, by the note that it left and by the kernel's wait status.

use std::ffi::c_int;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::note::{End, EndNote};

/// How a child process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It completed its task.
    Finished,
    /// Its task panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// Where it was raised, as `file:line`; empty if that is unknown.
        location: String,
    },
    /// It ended itself, or its own fault ended it.
    Aborted {
        /// The signal or the exit code.
        by: Abort,
        /// The end of its output to standard error, and of its panics' messages.
        last_words: String,
        /// Return addresses of the responsible thread, innermost first; may be empty.
        backtrace: Vec<usize>,
    },
    /// A thread's stack was full.
    StackOverflow {
        /// Return addresses of that thread, innermost first, as many as the note has room for.
        backtrace: Vec<usize>,
    },
    /// It aborted because an allocation was refused, or used more memory than it may.
    OutOfMemory {
        /// The end of its output to standard error, and of its panics' messages.
        last_words: String,
    },
    /// It used up its CPU time.
    HungSpin {
        /// Return addresses of a thread that was running then, innermost first.
        backtrace: Vec<usize>,
    },
    /// All of its threads were asleep in the kernel, for real.
    Asleep {
        /// The number of the system call that it sleeps in; negative if that is unknown.
        syscall: i64,
    },
    /// It was killed from outside: by the system when memory was short, or by a person.
    Killed {
        /// The signal.
        signal: i32,
    },
}

/// The way a process was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abort {
    /// A signal that it raised itself, or that its own fault raised.
    Signal(i32),
    /// It called `exit` or `_exit` with this code.
    Exit(i32),
}

/// The words of std before it aborts because an allocation failed.
const REFUSED: &str = "memory allocation of ";

/// Determines how a child ended, from its wait status and its note.
pub(crate) fn judge(status: c_int, note: &EndNote) -> Ending {
    match note.end() {
        End::Finished => Ending::Finished,
        End::Panicked => {
            let (message, location) = note.panic().unwrap_or_default();
            Ending::Panicked { message, location }
        }
        End::Signal => aborted(Abort::Signal(note.number() as i32), note),
        End::StackOverflow => Ending::StackOverflow { backtrace: note.frames() },
        End::Spin => Ending::HungSpin { backtrace: note.frames() },
        End::Asleep => Ending::Asleep { syscall: note.number() },
        End::Memory => Ending::OutOfMemory {
            last_words: format!("it used more than {} MiB", note.number() >> 20),
        },
        End::None => without_note(status, note),
    }
}

/// It noted nothing: only the wait status is known.
fn without_note(status: c_int, note: &EndNote) -> Ending {
    if !libc::WIFSIGNALED(status) {
        return aborted(Abort::Exit(libc::WEXITSTATUS(status)), note);
    }
    match libc::WTERMSIG(status) {
        // The kernel's limit on CPU time, which is set in case the watch cannot run.
        libc::SIGXCPU => Ending::HungSpin { backtrace: Vec::new() },
        signal @ (libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT) => {
            Ending::Killed { signal }
        }
        signal => aborted(Abort::Signal(signal), note),
    }
}

fn aborted(by: Abort, note: &EndNote) -> Ending {
    let last_words = note.words();
    if by == Abort::Signal(libc::SIGABRT) && last_words.contains(REFUSED) {
        return Ending::OutOfMemory { last_words };
    }
    Ending::Aborted { by, last_words, backtrace: note.frames() }
}

impl Ending {
    /// Whether the child completed its task.
    pub fn is_finished(&self) -> bool {
        *self == Self::Finished
    }

    /// The source line of a panic, if it is known.
    pub fn location(&self) -> Option<String> {
        match self {
            Self::Panicked { location, .. } if !location.is_empty() => Some(location.clone()),
            _ => None,
        }
    }
}

impl Ending {
    /// Return addresses of the thread that ended badly, innermost first, eight bytes each, as a
    /// call's stack is recorded.
    pub(crate) fn backtrace(&self) -> Vec<u8> {
        let addresses = match self {
            Self::Aborted { backtrace, .. } => backtrace.clone(),
            // One of these is the address of the interrupted instruction, and not, like the
            // others, of the one after a call. Naming an address subtracts one, so each address is
            // listed with its successor: one of the two then names the right instruction.
            Self::StackOverflow { backtrace } | Self::HungSpin { backtrace } => {
                backtrace.iter().flat_map(|&at| [at, at.saturating_add(1)]).collect()
            }
            _ => Vec::new(),
        };
        addresses.iter().flat_map(|&at| (at as u64).to_le_bytes()).collect()
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Panicked { message, location } if location.is_empty() => {
                write!(f, "panicked: {message}")
            }
            Self::Panicked { message, location } => write!(f, "panicked at {location}: {message}"),
            Self::Aborted { by, last_words, .. } => write!(f, "{by}{}", LastWords(last_words)),
            Self::StackOverflow { .. } => f.write_str("overflowed its stack"),
            Self::OutOfMemory { last_words } => {
                write!(f, "ran out of memory{}", LastWords(last_words))
            }
            Self::HungSpin { .. } => f.write_str("used up its CPU time without an end"),
            Self::Asleep { syscall } => match syscall_name(*syscall) {
                Some("futex") => {
                    f.write_str("asleep on a futex that no thread will wake: a deadlock")
                }
                Some(name) => write!(f, "asleep in the kernel: {name} is not simulated"),
                None if *syscall < 0 => f.write_str("asleep in the kernel"),
                None => {
                    write!(f, "asleep in the kernel: system call {syscall} is not simulated")
                }
            },
            Self::Killed { signal } => write!(f, "killed from outside by {}", Signal(*signal)),
        }
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended the process with exit code {code}"),
            Self::Signal(signal) => write!(f, "aborted by {}", Signal(*signal)),
        }
    }
}

struct LastWords<'a>(&'a str);

impl fmt::Display for LastWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An engine has no use for std's advice on how to run it.
        let advice = "note: run with `RUST_BACKTRACE=1` environment variable";
        let words: Vec<&str> =
            self.0.lines().filter(|line| !line.trim_start().starts_with(advice)).collect();
        if words.is_empty() {
            return Ok(());
        }
        write!(f, "; its last words: {}", words.join("\n"))
    }
}

struct Signal(i32);

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::SIGABRT => "SIGABRT",
            libc::SIGBUS => "SIGBUS",
            libc::SIGFPE => "SIGFPE",
            libc::SIGHUP => "SIGHUP",
            libc::SIGILL => "SIGILL",
            libc::SIGINT => "SIGINT",
            libc::SIGKILL => "SIGKILL",
            libc::SIGPIPE => "SIGPIPE",
            libc::SIGQUIT => "SIGQUIT",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGSYS => "SIGSYS",
            libc::SIGTERM => "SIGTERM",
            libc::SIGTRAP => "SIGTRAP",
            other => return write!(f, "signal {other}"),
        };
        f.write_str(name)
    }
}

/// The name of a system call that a thread may be found asleep in.
pub fn syscall_name(number: i64) -> Option<&'static str> {
    let name = match number {
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_poll => "poll",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_select => "select",
        libc::SYS_pselect6 => "pselect6",
        libc::SYS_epoll_wait => "epoll_wait",
        libc::SYS_epoll_pwait => "epoll_pwait",
        libc::SYS_epoll_pwait2 => "epoll_pwait2",
        libc::SYS_futex => "futex",
        libc::SYS_futex_waitv => "futex_waitv",
        libc::SYS_nanosleep => "nanosleep",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_pause => "pause",
        libc::SYS_rt_sigsuspend => "rt_sigsuspend",
        libc::SYS_rt_sigtimedwait => "rt_sigtimedwait",
        libc::SYS_wait4 => "wait4",
        libc::SYS_waitid => "waitid",
        libc::SYS_flock => "flock",
        libc::SYS_fcntl => "fcntl",
        libc::SYS_accept => "accept",
        libc::SYS_accept4 => "accept4",
        libc::SYS_connect => "connect",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_sendto => "sendto",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_msgrcv => "msgrcv",
        libc::SYS_semtimedop => "semtimedop",
        libc::SYS_open => "open",
        libc::SYS_openat => "openat",
        libc::SYS_io_getevents => "io_getevents",
        libc::SYS_io_uring_enter => "io_uring_enter",
        libc::SYS_restart_syscall => "restart_syscall",
        _ => return None,
    };
    Some(name)
}
