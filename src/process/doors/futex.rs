//! futex(2): how std, parking_lot and crossbeam wait. A thread that waits gives up the baton.

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::timespec;

use crate::base::time::Time;
use crate::disk::Errno;
use crate::process::threads::baton;
use crate::process::world::clock;
use crate::process::world::schedule::{WaitFor, Woken};
use crate::process::world::{self, CallResult};

use super::{answer, bits};

/// The arguments of futex(2), in its order.
#[derive(Clone, Copy)]
pub(super) struct Arguments {
    pub(super) word: *mut u32,
    pub(super) operation: c_int,
    pub(super) value: u32,
    /// A time or a number, depending on the operation.
    pub(super) time: *const timespec,
    pub(super) other: *mut u32,
    pub(super) third: u32,
}

/// Serves futex(2); `None` for a thread that is in no schedule.
///
/// # Safety
/// As for futex(2): the words are valid, and the time of a wait is null or valid.
pub(super) unsafe fn futex(arguments: Arguments) -> Option<c_long> {
    if baton::own() == 0 {
        return None;
    }
    let operation = arguments.operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    if !arguments.word.is_aligned() || arguments.word.is_null() {
        return Some(answer(Err(Errno::EINVAL)));
    }
    baton::point();
    // SAFETY: the operation's arguments are valid by this function's contract, and the word is
    // aligned.
    let outcome = unsafe {
        match operation {
            libc::FUTEX_WAIT => wait(&arguments, u32::MAX),
            libc::FUTEX_WAIT_BITSET => wait(&arguments, arguments.third),
            libc::FUTEX_WAKE => Ok(wake(arguments.word, arguments.value, u32::MAX)),
            libc::FUTEX_WAKE_BITSET => Ok(wake(arguments.word, arguments.value, arguments.third)),
            libc::FUTEX_REQUEUE => Ok(requeue(&arguments)),
            libc::FUTEX_CMP_REQUEUE if read(arguments.word) != arguments.third => {
                Err(Errno::EAGAIN)
            }
            libc::FUTEX_CMP_REQUEUE => Ok(requeue(&arguments)),
            libc::FUTEX_WAKE_OP => wake_and_change(&arguments),
            _ => return super::refuse::refused("futex with priority inheritance", libc::ENOSYS),
        }
    };
    let result = outcome.unwrap_or_else(|errno| -i64::from(errno.0));
    world::enter(|world| {
        let cost = Duration::from_nanos(100);
        world.call_unrecorded("futex", cost, [bits(operation), bits(result), 0]);
    });
    if operation != libc::FUTEX_WAIT && operation != libc::FUTEX_WAIT_BITSET {
        baton::point();
    }
    Some(answer(outcome))
}

/// # Safety
/// The word is valid and aligned.
unsafe fn read(word: *mut u32) -> u32 {
    // SAFETY: the word is valid and aligned, by this function's contract.
    unsafe { AtomicU32::from_ptr(word) }.load(Ordering::SeqCst)
}

/// # Safety
/// As [`futex`].
unsafe fn wait(arguments: &Arguments, mask: u32) -> CallResult {
    // SAFETY: the time of a wait is null or valid, by the contract of `futex`.
    let time = unsafe { arguments.time.as_ref() }.copied();
    let until = match time.map(clock::duration) {
        None => None,
        Some(None) => return Err(Errno::EINVAL),
        Some(Some(time)) => Some(deadline(arguments.operation, time)),
    };
    // SAFETY: the word is valid by the contract of `futex`, which has checked that it is aligned.
    if unsafe { read(arguments.word) } != arguments.value {
        return Err(Errno::EAGAIN);
    }
    match baton::wait(WaitFor::Word(arguments.word.addr(), mask), until) {
        Woken::Came => Ok(0),
        Woken::TimedOut => Err(Errno(libc::ETIMEDOUT)),
    }
}

/// FUTEX_WAIT takes a duration, FUTEX_WAIT_BITSET a time on one of two clocks.
fn deadline(operation: c_int, time: Duration) -> Time {
    let clock = match operation & libc::FUTEX_CLOCK_REALTIME {
        0 => libc::CLOCK_MONOTONIC,
        _ => libc::CLOCK_REALTIME,
    };
    let bare = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let absolute = bare == libc::FUTEX_WAIT_BITSET;
    let until = world::enter(|world| {
        if absolute { world.clock.when(clock, time) } else { Some(world.clock.now() + time) }
    });
    until.flatten().unwrap_or_default()
}

fn wake(word: *mut u32, most: u32, mask: u32) -> i64 {
    let at = word.addr();
    let waits =
        |on: &WaitFor| matches!(on, WaitFor::Word(word, bits) if *word == at && bits & mask != 0);
    let woken = world::enter(|world| world.schedule.wake(most as usize, waits));
    world::length(woken.unwrap_or(0))
}

/// Wakes some threads and moves others to another word.
fn requeue(arguments: &Arguments) -> i64 {
    let woken = wake(arguments.word, arguments.value, u32::MAX);
    let (from, to) = (arguments.word.addr(), arguments.other.addr());
    let moved = world::enter(|world| world.schedule.requeue(from, to, arguments.time.addr()));
    woken + world::length(moved.unwrap_or(0))
}

/// FUTEX_WAKE_OP: changes the second word and wakes threads that wait for the first. If the second
/// word's old value passes the operation's comparison, it also wakes threads that wait for the
/// second.
///
/// # Safety
/// As [`futex`].
unsafe fn wake_and_change(arguments: &Arguments) -> CallResult {
    if !arguments.other.is_aligned() || arguments.other.is_null() {
        return Err(Errno::EINVAL);
    }
    let code = arguments.third;
    // Both fields are twelve bits wide and signed.
    let signed = |number: u32| ((number << 20).cast_signed()) >> 20;
    let (mut operand, compared) = (signed(code >> 12), signed(code));
    if code >> 28 & libc::FUTEX_OP_OPARG_SHIFT as u32 != 0 {
        operand = 1i32.wrapping_shl(operand.cast_unsigned());
    }
    // SAFETY: the word is valid by the contract of `futex`, and aligned as checked above.
    let word = unsafe { AtomicU32::from_ptr(arguments.other) };
    let before = word.load(Ordering::SeqCst);
    let operand = operand.cast_unsigned();
    let after = match (code >> 28 & 7).cast_signed() {
        libc::FUTEX_OP_SET => operand,
        libc::FUTEX_OP_ADD => before.wrapping_add(operand),
        libc::FUTEX_OP_OR => before | operand,
        libc::FUTEX_OP_ANDN => before & !operand,
        libc::FUTEX_OP_XOR => before ^ operand,
        _ => return Err(Errno(libc::ENOSYS)),
    };
    word.store(after, Ordering::SeqCst);
    let before = before.cast_signed();
    let holds = match (code >> 24 & 15).cast_signed() {
        libc::FUTEX_OP_CMP_EQ => before == compared,
        libc::FUTEX_OP_CMP_NE => before != compared,
        libc::FUTEX_OP_CMP_LT => before < compared,
        libc::FUTEX_OP_CMP_LE => before <= compared,
        libc::FUTEX_OP_CMP_GT => before > compared,
        libc::FUTEX_OP_CMP_GE => before >= compared,
        _ => return Err(Errno(libc::ENOSYS)),
    };
    let woken = wake(arguments.word, arguments.value, u32::MAX);
    let most = u32::try_from(arguments.time.addr()).unwrap_or(u32::MAX);
    let others = if holds { wake(arguments.other, most, u32::MAX) } else { 0 };
    Ok(woken + others)
}
