//! A wait without a call: a thread that spins on a word of memory until another one changes it.
//!
//! Only the holder of the baton runs, so such a wait would never end: nothing in it is a scheduling
//! point. The watch finds it, and the thread yields. For a seed to still determine the run, this
//! must happen at each such wait and nowhere else; real time, which differs from run to run, only
//! decides when to look. The sign of such a wait is a state of the thread that recurs: the same
//! registers and the same top of its stack, several times. A thread that computes counts something
//! there, and continues.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::digest::Digester;

use super::baton;
use crate::process::seam::kernel::{errno, set_errno};
use crate::process::seam::{self, Side};
use crate::process::world;

/// CPU time without a call after which a thread is looked at.
const QUIET: Duration = Duration::from_millis(15);

/// How many samples of a thread's state are compared.
const SAMPLES: usize = 48;

/// How often the watch looks for a sample: a thread that waits for a processor answers late.
const LOOKS: usize = 16 * SAMPLES;

/// CPU time that a thread must have had between two samples: much more than taking one costs.
const BETWEEN: Duration = Duration::from_micros(50);

/// How many samples must be equal. A wait that counts its iterations in blocks of a constant length
/// has some hundred distinct states.
const SAME: usize = 3;

/// How many bytes of the stack, from the red zone below its pointer on, belong to a state: a page.
const STACK: usize = 4096;

/// Bytes that a thread may use below its stack pointer (System V ABI, AMD64, 3.2.2).
const RED_ZONE: usize = 128;

/// The request that the signal carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ask {
    /// Sample your state.
    State,
    /// Let others run.
    Yield,
    /// Note where you are, and end the process.
    Where,
}

static ASKED: AtomicU8 = AtomicU8::new(Ask::Where as u8);
static STATES: [AtomicU64; SAMPLES] = [const { AtomicU64::new(0) }; SAMPLES];
static NOTED: AtomicUsize = AtomicUsize::new(0);
/// How often the world had been entered when the watch began to look.
static ENTERED: AtomicU64 = AtomicU64::new(0);

/// The signal by which the watch asks a thread that spins.
pub(crate) fn signal() -> c_int {
    libc::SIGRTMAX() - 3
}

/// Asks a thread of this process, named by its `gettid`.
pub(crate) fn ask(thread: c_int, what: Ask) {
    ASKED.store(what as u8, Ordering::Release);
    // SAFETY: sends a signal that has a handler.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal()) };
}

/// How long the holder of the baton has made no call, as far as the watch knows.
#[derive(Default)]
pub(crate) struct Quiet {
    entered: u64,
    since: Duration,
}

impl Quiet {
    /// Whether the holder, at this CPU time of the process, has been quiet for long enough.
    pub(crate) fn lasts(&mut self, now: Duration) -> bool {
        let entered = world::entered();
        if entered != self.entered {
            *self = Self { entered, since: now };
        }
        baton::several() && now.saturating_sub(self.since) >= QUIET
    }

    /// Has a thread yield if its states recur; `ran` is the CPU time it has had, and `nap` waits an
    /// instant.
    pub(crate) fn end(&mut self, thread: c_int, ran: impl Fn() -> Duration, nap: impl Fn()) {
        ENTERED.store(self.entered, Ordering::Relaxed);
        NOTED.store(0, Ordering::Release);
        let (mut asked, mut since) = (0, ran());
        for _ in 0..LOOKS {
            let noted = NOTED.load(Ordering::Acquire);
            if noted >= SAMPLES || world::entered() != self.entered {
                break;
            }
            // If it has not run since it was asked, its state is the same whatever it does: these
            // signals queue.
            if noted < asked {
                since = ran();
            } else if ran().saturating_sub(since) >= BETWEEN {
                asked += 1;
                ask(thread, Ask::State);
            }
            nap();
        }
        if states_recur() {
            ask(thread, Ask::Yield);
        }
    }
}

/// Whether enough of the samples are equal.
fn states_recur() -> bool {
    let noted = NOTED.load(Ordering::Acquire).min(SAMPLES);
    let states = &STATES[..noted];
    states.iter().any(|state| {
        let state = state.load(Ordering::Relaxed);
        states.iter().filter(|other| other.load(Ordering::Relaxed) == state).count() >= SAME
    })
}

fn is_asked(ask: Ask) -> bool {
    ASKED.load(Ordering::Acquire) == ask as u8
}

/// Whether the signal asks the thread to say where it is.
pub(crate) fn is_asked_where() -> bool {
    is_asked(Ask::Where)
}

/// Does what the signal asks the calling thread for, in the handler of that signal. The context is
/// the interrupted thread's. [`Ask::Where`] is left to the caller.
///
/// The handler may switch threads: it interrupts engine code, which holds nothing of the harness.
pub(crate) fn answer(context: &libc::ucontext_t) {
    // On the harness's side it may hold what others need, and is not waiting for the engine.
    let quiet = world::entered() == ENTERED.load(Ordering::Relaxed);
    if !quiet || seam::side() != Side::Engine {
        return;
    }
    if is_asked(Ask::Yield) {
        baton::yield_spinning();
        return;
    }
    let _harness = seam::harness();
    // The engine may be about to read the value that its last call left there.
    let before = errno();
    let at = NOTED.load(Ordering::Relaxed);
    if let Some(state) = STATES.get(at) {
        state.store(state_of(context), Ordering::Relaxed);
        NOTED.store(at + 1, Ordering::Release);
    }
    set_errno(before);
}

/// A digest of a thread's registers and of the top of its stack.
fn state_of(context: &libc::ucontext_t) -> u64 {
    let registers = &context.uc_mcontext.gregs;
    let mut digester = Digester::default();
    // The registers after this one describe a fault, and this is none.
    for register in &registers[..=libc::REG_EFL as usize] {
        digester.add_number(*register as u64);
    }
    let mut stack = [0; STACK];
    let top = registers[libc::REG_RSP as usize] as usize - RED_ZONE;
    digester.add(read(top, &mut stack));
    digester.finish().0
}

/// Reads this process's memory, of which it is unknown how far it is mapped: the kernel copies the
/// part that is, and nothing if it may not. The registers alone must do then.
fn read(from: usize, buffer: &mut [u8]) -> &[u8] {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let page = STACK - from % STACK;
    // Two parts, since a part that is not wholly mapped is not copied at all.
    let part = |start: usize, length: usize| libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(start),
        iov_len: length,
    };
    let remote = [part(from, page), part(from + page, buffer.len() - page)];
    // SAFETY: the kernel writes at most as many bytes as the buffer has, and checks what it reads.
    let read = unsafe {
        libc::process_vm_readv(libc::getpid(), &local, 1, remote.as_ptr(), remote.len() as u64, 0)
    };
    usize::try_from(read).ok().and_then(|read| buffer.get(..read)).unwrap_or_default()
}
