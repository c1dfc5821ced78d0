//! The fork server: this binary, started again, which forks a pristine process for each case.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::channel::{Buffer, CHUNK, Channel, Tag};
use super::cpu::{self, Lease};
use super::ending::Ending;
use super::entry::offset_of;
use super::environment::Environment;
use super::interrupt::Registered;
use super::role;

pub use super::entry::{ExplorerFn, Reply};

/// A running fork server. It ends, with every process that it forked, when this is dropped or when
/// the client ends in whatever way.
///
/// ```
/// use crashpoint::inner::host::fork_server::{ForkServer, Reply};
///
/// fn shout(request: &[u8], reply: &mut Reply<'_>) {
///     reply.send(&request.to_ascii_uppercase());
/// }
///
/// let mut fork_server = ForkServer::start()?;
/// let mut frames = Vec::new();
/// fork_server.call(shout, b"hello", &mut |frame| frames.push(frame.to_vec()))?;
/// assert_eq!(frames, [b"HELLO"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ForkServer {
    process: Child,
    /// `None` once it is closed, which makes the fork server exit.
    channel: Option<Channel>,
    environment: Environment,
    calling: bool,
    /// `None` once the channel is about to be closed.
    registered: Option<Registered>,
    _lease: Option<Lease>,
}

/// Why no fork server was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The binary uses the C library's start function and not ours.
    #[error("this binary was linked without crashpoint's `__libc_start_main`")]
    NotLinked,
    /// This process is a fork server, an explorer or a child.
    #[error("a fork server cannot start another one")]
    Inside,
    /// The binary could not be started again.
    #[error("cannot start /proc/self/exe again")]
    Exec(#[source] io::Error),
    /// It was started and ended, or did not answer like a fork server.
    #[error("the fork server did not answer ({status})")]
    Silent {
        /// How it ended.
        status: ExitStatus,
        /// The error of reading its answer.
        source: io::Error,
    },
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The explorer ended badly: by a panic or a fault of the harness itself, or by a kill.
    #[error("the explorer {0}")]
    Ended(Ending),
    /// The fork server is gone.
    #[error("the fork server is gone")]
    Gone(#[source] io::Error),
    /// An earlier call was abandoned by a panic of its `on_frame`.
    #[error("an earlier call to the fork server was not waited for")]
    Left,
}

impl ForkServer {
    /// Starts a fork server. Its standard output is discarded, and of its standard error only the
    /// last words are kept.
    ///
    /// # Errors
    /// If this binary cannot be a fork server, or the system refuses the process.
    pub fn start() -> Result<Self, StartError> {
        if !role::is_linked() {
            return Err(StartError::NotLinked);
        }
        if role::is_fork_server() {
            return Err(StartError::Inside);
        }
        let (ours, theirs) = Channel::pair().map_err(StartError::Exec)?;
        let lease = Lease::take();
        let mut command = command(theirs, lease.as_ref());
        let mut process = command.spawn().map_err(StartError::Exec)?;
        // It holds the fork server's end of the channel, which must close when the server ends.
        drop(command);
        let registered = Registered::new(ours.as_raw_fd());
        match read_hello(&ours) {
            Ok(environment) => Ok(Self {
                process,
                channel: Some(ours),
                environment,
                calling: false,
                registered: Some(registered),
                _lease: lease,
            }),
            Err(source) => {
                drop(registered);
                drop(ours);
                let status = process.wait().map_err(StartError::Exec)?;
                Err(StartError::Silent { status, source })
            }
        }
    }

    /// What the environment allows the fork server.
    #[cfg(feature = "inner")]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether addresses differ from run to run, because the system refused to switch off ASLR.
    #[cfg(feature = "inner")]
    pub fn aslr(&self) -> bool {
        self.environment.aslr
    }

    /// The capabilities that the environment refuses, one line each.
    pub fn notices(&self) -> Vec<String> {
        self.environment.notices()
    }

    /// The process id.
    #[doc(hidden)]
    #[cfg(feature = "inner")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Runs `entry` on `request` in a fresh explorer; `on_frame` gets each frame that it sends,
    /// as it comes. Returns when the explorer and every process that it forked have ended.
    ///
    /// # Errors
    /// If the explorer ended in another way than by returning, or if the fork server is gone.
    pub fn call(
        &mut self,
        entry: ExplorerFn,
        request: &[u8],
        on_frame: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CallError> {
        if self.calling {
            return Err(CallError::Left);
        }
        let Some(channel) = &self.channel else { return Err(CallError::Left) };
        self.calling = true;
        let ending = converse(channel, entry, request, on_frame).map_err(CallError::Gone)?;
        self.calling = false;
        match ending {
            Ending::Finished => Ok(()),
            ending => Err(CallError::Ended(ending)),
        }
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.registered = None;
        // The fork server sees the channel close, even in the middle of a call, and ends.
        self.channel = None;
        // If this fails, the process was reaped before.
        let _ = self.process.wait();
    }
}

/// The command that starts this binary as a fork server at the other end of `channel`.
fn command(channel: Channel, lease: Option<&Lease>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("crashpoint-template")
        .env_clear()
        .env(role::VARIABLE, "0")
        .env("PATH", "/usr/bin:/bin")
        .env("RUST_BACKTRACE", "0")
        .env("TZ", "UTC")
        .env(role::BIND, "1")
        .env(role::TUNABLES, "glibc.pthread.rseq=0")
        // A Ctrl-C is for the client, which then ends the fork server.
        .process_group(0)
        .stdin(channel.into_fd())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Coverage is written next to the client's. The dynamic loader needs its path to start the
    // binary at all; the fork server drops it before engine code can see it.
    for name in ["LLVM_PROFILE_FILE", role::LIBRARIES] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let cpus = lease.map(Lease::set);
    let before_exec = move || {
        if let Some(cpus) = &cpus {
            cpu::pin(cpus);
        }
        set_before_exec();
        Ok(())
    };
    // SAFETY: the closure only makes system calls, which are all that a process forked from one
    // with many threads may do.
    unsafe { command.pre_exec(before_exec) };
    command
}

/// Sets the attributes that must be set before the binary is mapped. One that is refused stays as
/// it is: the fork server checks and reports that.
fn set_before_exec() {
    const STACK: libc::rlim_t = 8 << 20;
    const FILES: libc::rlim_t = 1024;
    // SAFETY: changes one attribute of the process.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    // The address of the first map depends on the limit of the stack.
    limit(libc::RLIMIT_STACK, STACK);
    limit(libc::RLIMIT_NOFILE, FILES);
    limit(libc::RLIMIT_CORE, 0);
}

/// Lowers a limit for this process; it stays able to raise it again.
fn limit(resource: libc::__rlimit_resource_t, value: libc::rlim_t) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes one structure.
    unsafe {
        if libc::getrlimit(resource, &mut limit) == 0 {
            limit.rlim_cur = value.min(limit.rlim_max);
            libc::setrlimit(resource, &limit);
        }
    }
}

fn read_hello(channel: &Channel) -> io::Result<Environment> {
    let mut buffer: Buffer = [0; CHUNK + 1];
    match channel.receive(&mut buffer)? {
        (Tag::Hello, bytes) => postcard::from_bytes(bytes).map_err(io::Error::other),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends a request, passes on the frames that come back, and returns how the explorer ended.
fn converse(
    channel: &Channel,
    entry: ExplorerFn,
    request: &[u8],
    on_frame: &mut dyn FnMut(&[u8]),
) -> io::Result<Ending> {
    let (offset, length) = (offset_of(entry).to_le_bytes(), request.len().to_le_bytes());
    channel.send(Tag::Request, &[offset, length].concat())?;
    if !request.is_empty() {
        channel.send_all(Tag::Body, Tag::Body, request)?;
    }
    let mut buffer: Buffer = [0; CHUNK + 1];
    let mut frame = Vec::new();
    loop {
        match channel.receive(&mut buffer)? {
            (Tag::Part, bytes) => frame.extend_from_slice(bytes),
            (Tag::Last, bytes) if frame.is_empty() => on_frame(bytes),
            (Tag::Last, bytes) => {
                frame.extend_from_slice(bytes);
                on_frame(&frame);
                frame.clear();
            }
            (Tag::End, bytes) => return postcard::from_bytes(bytes).map_err(io::Error::other),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
