//! The notes of a dying process: fatal signals, panics, and its last words.
//!
//! A fork server sets all of this up once; the processes forked from it inherit it and only change
//! the note that they write into.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::mem;
use std::panic::PanicHookInfo;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::note::{End, EndNote};
use super::stderr;
use crate::process::seam;
use crate::process::seam::kernel::next;
use crate::process::seam::reach;
use crate::process::threads::{panics, spin};
use crate::process::world::{self, timestamp};

/// The exit code of a process whose note says why it ended.
pub(crate) const NOTED: c_int = 70;

/// The signals by which the kernel and the C library end a process.
const FATAL: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];

/// The note of this process; null in one that is neither an explorer nor a child.
static NOTE: AtomicPtr<EndNote> = AtomicPtr::new(ptr::null_mut());

/// The process must end through `exit`, so that coverage counters are written.
static COVERAGE: AtomicBool = AtomicBool::new(false);

/// Handles fatal signals and panics. Until [`write_into`] sets a note they act as usual.
pub(crate) fn install() {
    COVERAGE.store(std::env::var_os("LLVM_PROFILE_FILE").is_some(), Ordering::Relaxed);
    // Looked up here once, and not in every child, nor in a handler.
    let _ = kernel_exit();
    for signal in FATAL {
        handle(signal, fatal);
    }
    handle(spin::signal(), asked);
    std::panic::set_hook(Box::new(panicked));
    // SAFETY: sets a disposition to ignore. The start-up code of Rust, which a fork server skips,
    // does the same.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // `waitpid` would fail if the client had ignored this signal: that is inherited.
    // SAFETY: sets a disposition to the default.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler) {
    // SAFETY: zero is a value of this plain structure.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    // A call of the engine that the host serves must not fail because of our signal.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the handler has the type that SA_SIGINFO requires. `fatal` ends the process, or
    // restores the default and returns; `asked` ends it, or acts only where it has interrupted the
    // engine's side, on which no lock of the harness is held.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
}

/// From now on this process writes into `note`, which it never unmaps.
pub(crate) fn write_into(note: &EndNote) {
    NOTE.store(ptr::from_ref(note).cast_mut(), Ordering::Release);
}

fn note() -> Option<&'static EndNote> {
    // SAFETY: `write_into` was given a note in shared memory that outlives the process: explorers
    // and children end without dropping the region that they inherited.
    unsafe { NOTE.load(Ordering::Acquire).as_ref() }
}

/// Ends the process. Nothing is dropped and nothing is flushed, except coverage counters.
pub(crate) fn leave(code: c_int) -> ! {
    if COVERAGE.load(Ordering::Relaxed) {
        let exit = next!(exit(c_int) -> c_int);
        // SAFETY: runs the C library's exit functions; no other thread does so at the same time.
        unsafe { exit(code) };
    }
    leave_now(code)
}

fn kernel_exit() -> unsafe extern "C" fn(c_int) -> c_int {
    next!(_exit(c_int) -> c_int)
}

/// Ends the process at once; for signal handlers and for code without coverage counters.
pub(crate) fn leave_now(code: c_int) -> ! {
    loop {
        // SAFETY: takes any number, and does not return.
        unsafe { kernel_exit()(code) };
    }
}

extern "C" fn fatal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both to a handler that was installed with SA_SIGINFO.
    if signal == libc::SIGSEGV && unsafe { timestamp::answer(&*info, context) } {
        return;
    }
    // SAFETY: the same.
    if unsafe { reach::fix_up(signal, context) || handled_by_engine(signal, info, context) } {
        return;
    }
    // It may have interrupted the engine, whose locks and heap are none of ours.
    let _harness = seam::harness();
    let Some(note) = note() else {
        // SAFETY: with the default restored, returning raises the same fault again.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    // SAFETY: the kernel passes both to a handler that was installed with SA_SIGINFO.
    let overflow = signal == libc::SIGSEGV && unsafe { is_overflow(&*info, context) };
    let end = if overflow { End::StackOverflow } else { End::Signal };
    if note.set_end(end, i64::from(signal)) {
        add_backtrace(note);
    }
    leave_now(NOTED)
}

/// Runs the engine's own handler for a fault of its code, if it has one.
///
/// # Safety
/// The arguments are those that the kernel passed to a handler with SA_SIGINFO.
unsafe fn handled_by_engine(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) -> bool {
    if seam::side() != seam::Side::Engine {
        return false;
    }
    let handler = world::try_enter(|world| world.actions.take_handler(signal)).flatten();
    if let Some(handler) = &handler {
        // SAFETY: by this function's contract.
        unsafe { handler.call(signal, info, context) };
    }
    handler.is_some()
}

/// Handles the watch's signal to a thread that may spin.
extern "C" fn asked(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    if spin::is_asked_where() {
        end_spin();
    }
    // SAFETY: the kernel passes the context to a handler that was installed with SA_SIGINFO.
    spin::answer(unsafe { &*context.cast() });
}

/// Ends the process, with the backtrace of the calling thread, which spins.
fn end_spin() -> ! {
    let _harness = seam::harness();
    if let Some(note) = note()
        && note.set_end(End::Spin, 0)
    {
        add_backtrace(note);
    }
    leave_now(NOTED)
}

/// Whether an access failed near the stack pointer. A thread's stack is mapped there unless it is
/// full, so this recognises a full stack on any thread, without knowing its bounds. A C function
/// may put a large array between the pointer and the address.
///
/// # Safety
/// `context` is the `ucontext_t` of a signal handler.
unsafe fn is_overflow(info: &libc::siginfo_t, context: *mut c_void) -> bool {
    const BELOW: usize = 64 << 10;
    const ABOVE: usize = 1 << 20;
    // Codes of 0 and less come from `kill` and carry no address.
    if info.si_code <= 0 {
        return false;
    }
    // SAFETY: a SIGSEGV that the kernel raised has an address; `context` is a `ucontext_t`, by this
    // function's contract.
    let (address, pointer) = unsafe {
        let context = &*context.cast::<libc::ucontext_t>();
        (info.si_addr() as usize, context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize)
    };
    (pointer.saturating_sub(BELOW)..pointer.saturating_add(ABOVE)).contains(&address)
}

fn add_backtrace(note: &EndNote) {
    // SAFETY: no other thread of the process takes backtraces any more: it ends with this handler.
    unsafe { backtrace::trace_unsynchronized(|frame| note.add_frame(frame.ip() as usize)) };
}

fn panicked(info: &PanicHookInfo<'_>) {
    // The engine's panic runs this on the engine's side; its message is written by now.
    let _harness = seam::harness();
    let message = text_of(info.payload());
    let place = info.location();
    let location = fmt::from_fn(|f| match place {
        Some(place) => write!(f, "{}:{}", place.file(), place.line()),
        None => Ok(()),
    });
    if let Some(note) = note() {
        note.set_panic(format_args!("{message}"), format_args!("{location}"));
    }
    let location = location.to_string();
    panics::raised(&location, message);
    last_words(b"panicked at ");
    last_words(location.as_bytes());
    last_words(b": ");
    last_words(message.as_bytes());
    last_words(b"\n");
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a panic with a payload that is no text"
    }
}

/// Notes that the process's task panicked. The message is the one that the hook noted, or the
/// payload if the engine has set another hook.
pub(crate) fn note_panicked(note: &EndNote, payload: &(dyn Any + Send)) {
    if note.panic().is_none() {
        note.set_panic(format_args!("{}", text_of(payload)), format_args!(""));
    }
    note.set_end(End::Panicked, 0);
}

/// A panic that the hook saw.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct PanicNote {
    /// Its message, up to 4 KiB.
    pub message: String,
    /// Where it was raised, as `file:line`.
    pub location: String,
}

/// The last panic of this process, on any thread, since the previous call. Code that catches a
/// panic of the engine gets its message from here.
pub fn last_panic() -> Option<PanicNote> {
    let (message, location) = note()?.take_panic()?;
    Some(PanicNote { message, location })
}

/// Keeps the engine's output to standard error: the last 4 KiB become part of the report if it
/// dies. A door calls this in place of writing.
pub fn last_words(bytes: &[u8]) {
    match note() {
        Some(note) => note.add_words(bytes),
        None => stderr::write(bytes),
    }
}
