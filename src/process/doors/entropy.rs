//! Doors that return random bytes, drawn from the seed, and fixed process and thread ids.

use std::ffi::{c_int, c_uint, c_void};

use libc::pid_t;

use crate::base::digest::hash;
use crate::disk::Errno;
use crate::process::threads::baton;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, Called, length};

use super::{answer, bits, doors, room};

doors! {
    fn getrandom(to: *mut c_void, length: usize, flags: c_uint) -> isize = random;
    fn getentropy(to: *mut c_void, length: usize) -> c_int = entropy;
    fn arc4random() -> u32 = random_number;
    fn arc4random_buf(to: *mut c_void, length: usize) -> () = random_bytes;
    fn arc4random_uniform(bound: u32) -> u32 = random_below;
    fn getpid() -> pid_t = identity;
    fn __getpid() -> pid_t = identity;
    fn gettid() -> pid_t = thread_identity;
}

/// Fills a buffer in the world.
///
/// # Safety
/// `to` is null or has room for `count` bytes.
unsafe fn fill(
    door: &'static Door,
    (to, count): (*mut c_void, usize),
    flags: u64,
) -> Option<CallResult> {
    let called = Called::on(door, -1, [count as u64, flags]);
    world::enter(|world| {
        world.call(&called, |world| {
            // SAFETY: `to` is null or has room for `count` bytes, by this function's contract.
            let mut to = unsafe { room(to, count) };
            let filled = to.zeroed();
            world.entropy.fill(filled);
            world.bytes = hash(filled);
            to.done().map(length)
        })
    })
}

unsafe fn random(
    door: &'static Door,
    to: *mut c_void,
    length: usize,
    flags: c_uint,
) -> Option<isize> {
    // SAFETY: getrandom(2) takes a buffer of `length` bytes.
    Some(answer(unsafe { fill(door, (to, length), flags.into()) }?))
}

unsafe fn entropy(door: &'static Door, to: *mut c_void, length: usize) -> Option<c_int> {
    if length > 256 {
        return Some(answer(Err(Errno::EIO)));
    }
    // SAFETY: getentropy(3) takes a buffer of `length` bytes.
    Some(answer(unsafe { fill(door, (to, length), 0) }?.map(|_| 0)))
}

unsafe fn random_bytes(door: &'static Door, to: *mut c_void, length: usize) -> Option<()> {
    // SAFETY: arc4random_buf(3) takes a buffer of `length` bytes.
    unsafe { fill(door, (to, length), 0) }.map(drop)
}

pub(super) fn random_number(door: &'static Door) -> Option<u32> {
    let mut bytes = [0; 4];
    // SAFETY: the buffer is ours.
    unsafe { fill(door, (bytes.as_mut_ptr().cast(), bytes.len()), 0) }?.ok()?;
    Some(u32::from_le_bytes(bytes))
}

fn random_below(door: &'static Door, bound: u32) -> Option<u32> {
    // The bias of the remainder does not matter in a simulation.
    random_number(door).map(|number| number.checked_rem(bound).unwrap_or(0))
}

fn identity(door: &'static Door) -> Option<pid_t> {
    world::enter(|world| {
        let pid = world.pid;
        world.call_unrecorded(door.name, std::time::Duration::ZERO, [bits(pid), 0, 0]);
        pid
    })
}

/// The first thread has the id of the process, as on Linux; no id is used twice.
fn thread_identity(door: &'static Door) -> Option<pid_t> {
    let thread = pid_t::try_from(baton::own()).unwrap_or(1).max(1);
    identity(door).map(|identity| identity + thread - 1)
}
