//! Doors that wait for descriptors. Those of the disk are always ready, as regular files are.
//! Another thread of the engine may make a descriptor of the host ready (an eventfd, a pipe, an
//! epoll of these), so it is checked again whenever a thread has written to the host. If there is
//! no other thread, a wait without a limit is not simulated.

use std::ffi::{c_int, c_short};
use std::time::Duration;

use libc::{nfds_t, pollfd, sigset_t, timespec, timeval};

use crate::base::time::Time;
use crate::disk::Errno;
use crate::process::seam;
use crate::process::seam::kernel::next;
use crate::process::threads::baton;
use crate::process::world;
use crate::process::world::clock;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::schedule::{WaitFor, Woken};

use super::refuse::refused;
use super::{answer, doors};

doors! {
    fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = poll;
    fn ppoll(
        list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t
    ) -> c_int = poll_until;
    fn select(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set,
        other: *mut libc::fd_set, timeout: *mut timeval) -> c_int = select;
    fn __poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int = poll;
    fn __poll_chk(list: *mut pollfd, count: nfds_t, timeout: c_int, room: usize) -> c_int
        = poll_checked;
    fn __ppoll_chk(
        list: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t,
        room: usize
    ) -> c_int = poll_until_checked;
    fn __select(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set,
        other: *mut libc::fd_set, timeout: *mut timeval) -> c_int = select;
    fn pselect(
        count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set, other: *mut libc::fd_set,
        timeout: *const timespec, mask: *const sigset_t
    ) -> c_int = select_until;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int
        = watch_descriptor;
    fn epoll_wait(epoll: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int)
        -> c_int = await_events;
    fn epoll_pwait(epoll: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int,
        mask: *const sigset_t) -> c_int = await_events_masked;
    fn epoll_pwait2(epoll: c_int, events: *mut libc::epoll_event, most: c_int,
        timeout: *const timespec, mask: *const sigset_t) -> c_int = await_events_until;
}

/// A thread is about to write to the host, or to close a descriptor of the host: threads that wait
/// for descriptors check them again. They do so after the call, because no other thread runs before
/// that.
pub(super) fn stir() {
    if baton::several() {
        world::enter(|world| {
            world.schedule.wake(usize::MAX, |on| matches!(on, WaitFor::Host(_)));
        });
    }
}

/// Calls `look` until it reports something ready or the time is up; the number is `look`'s. `None`
/// if no other thread can make anything ready and there is no limit.
fn look(
    door: &'static Door,
    until: Option<Time>,
    mut look: impl FnMut() -> c_int,
) -> Option<c_int> {
    loop {
        let ready = look();
        if ready != 0 {
            return Some(ready);
        }
        if until.is_none() && !baton::several() {
            return None;
        }
        if baton::wait(WaitFor::Host(door.name), until) == Woken::TimedOut {
            return Some(0);
        }
    }
}

/// The limit of a wait; `None` waits for ever.
///
/// # Errors
/// `EINVAL` for a time that is negative or malformed.
///
/// # Safety
/// `limit` is null or points to a time.
unsafe fn limit(limit: *const timespec) -> Result<Option<Duration>, Errno> {
    // SAFETY: by this function's contract.
    let Some(&limit) = (unsafe { limit.as_ref() }) else { return Ok(None) };
    clock::duration(limit).map(Some).ok_or(Errno::EINVAL)
}

/// Waits if the limit is valid.
fn within(
    limit: Result<Option<Duration>, Errno>,
    wait: impl FnOnce(Option<Duration>) -> Option<c_int>,
) -> Option<c_int> {
    match limit {
        Ok(limit) => wait(limit),
        Err(error) => {
            world::enter(|_| ())?;
            Some(answer(Err(error)))
        }
    }
}

fn deadline(timeout: Option<Duration>) -> Option<Option<Time>> {
    match timeout {
        None => Some(None),
        Some(timeout) => world::enter(|world| Some(world.clock.now() + timeout)),
    }
}

/// Waits until a call on a descriptor of the host would not block in the kernel, where the schedule
/// could not wake the thread. An error if no other thread can make it ready.
pub(super) fn until_ready(door: &'static Door, fd: c_int, events: c_short) -> Option<Errno> {
    world::enter(|_| ())?;
    let mut one = pollfd { fd, events, revents: 0 };
    let ready = || {
        let _harness = seam::harness();
        // SAFETY: the list has one entry, and `F_GETFL` takes no argument. On the harness's side
        // both calls go to the kernel.
        unsafe {
            let waits = libc::fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK == 0;
            if waits { libc::poll(&raw mut one, 1, 0) } else { 1 }
        }
    };
    if look(door, None, ready).is_some() {
        return None;
    }
    world::enter(|world| world.not_simulated(&format!("{door} that waits for descriptor {fd}")))?;
    Some(Errno::EAGAIN)
}

/// Waits for descriptors. With a simulated one in the list this returns at once: those are always
/// ready, as regular files are. With an empty list it is a sleep. A wait that no other thread can
/// end is refused.
///
/// # Safety
/// `list` points to `count` entries.
unsafe fn wait(
    door: &'static Door,
    (list, count): (*mut pollfd, nfds_t),
    timeout: Option<Duration>,
) -> Option<c_int> {
    let count = usize::try_from(count).ok()?;
    let list: &mut [pollfd] = match count {
        0 => &mut [],
        // SAFETY: `list` points to `count` entries, by this function's contract.
        // The caller need not have initialised the answers.
        _ => unsafe {
            (0..count).for_each(|at| (&raw mut (*list.add(at)).revents).write(0));
            std::slice::from_raw_parts_mut(list, count)
        },
    };
    if !list.iter().any(|entry| is_simulated(entry.fd)) {
        return wait_for_host(door, list, timeout);
    }
    let mut ready = 0;
    for entry in list {
        entry.revents = 0;
        if is_simulated(entry.fd) {
            let open = world::enter(|world| world.descriptors.get(entry.fd).is_some())?;
            let both = libc::POLLIN | libc::POLLOUT;
            entry.revents = if open { entry.events & both } else { libc::POLLNVAL };
        }
        ready += c_int::from(entry.revents != 0);
    }
    Some(ready)
}

fn wait_for_host(
    door: &'static Door,
    list: &mut [pollfd],
    timeout: Option<Duration>,
) -> Option<c_int> {
    if list.is_empty()
        && let Some(timeout) = timeout
    {
        return Some(answer(super::time::pause(door, timeout)?));
    }
    let ready = || {
        let _harness = seam::harness();
        // SAFETY: the list has `list.len()` entries; on the harness's side this is the kernel's
        // call.
        unsafe { libc::poll(list.as_mut_ptr(), list.len() as nfds_t, 0) }
    };
    look(door, deadline(timeout)?, ready).or_else(|| refused(door.name, libc::EINTR))
}

unsafe fn poll(
    door: &'static Door,
    list: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
) -> Option<c_int> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    // SAFETY: poll(2) takes a list of `count` entries.
    unsafe { wait(door, (list, count), timeout) }
}

unsafe fn poll_until(
    door: &'static Door,
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    _: *const sigset_t,
) -> Option<c_int> {
    // SAFETY: ppoll(2) takes a time or null.
    let timeout = unsafe { limit(timeout) };
    // SAFETY: ppoll(2) takes a list of `count` entries.
    within(timeout, |timeout| unsafe { wait(door, (list, count), timeout) })
}

unsafe fn poll_checked(
    door: &'static Door,
    list: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    _: usize,
) -> Option<c_int> {
    // SAFETY: poll(2) takes a list of `count` entries.
    unsafe { poll(door, list, count, timeout) }
}

unsafe fn poll_until_checked(
    door: &'static Door,
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    _: usize,
) -> Option<c_int> {
    // SAFETY: ppoll(2) takes a list of `count` entries, and a time or null.
    unsafe { poll_until(door, list, count, timeout, mask) }
}

/// A set has room for the numbers up to 1023, all of them the host's. Without any this is a sleep.
unsafe fn select(
    door: &'static Door,
    count: c_int,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    timeout: *mut timeval,
) -> Option<c_int> {
    if count > 0 {
        return refused(door.name, libc::ENOSYS);
    }
    // SAFETY: select(2) takes a time or null.
    let timeout = unsafe { timeout.as_ref() }.copied()?;
    // The kernel takes any number of microseconds.
    let (seconds, rest) =
        (timeout.tv_usec.div_euclid(1_000_000), timeout.tv_usec.rem_euclid(1_000_000));
    let seconds = timeout.tv_sec.saturating_add(seconds);
    let timeout = timespec { tv_sec: seconds, tv_nsec: rest * 1000 };
    // SAFETY: the time is ours.
    within(unsafe { limit(&timeout) }, |timeout| sleep(door, timeout))
}

/// Sleeps; `None` for ever, which the kernel serves.
fn sleep(door: &'static Door, limit: Option<Duration>) -> Option<c_int> {
    Some(answer(super::time::pause(door, limit?)?))
}

/// As [`select`].
unsafe fn select_until(
    door: &'static Door,
    count: c_int,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    _: *mut libc::fd_set,
    timeout: *const timespec,
    _: *const sigset_t,
) -> Option<c_int> {
    if count > 0 {
        return refused(door.name, libc::ENOSYS);
    }
    // SAFETY: pselect(2) takes a time or null.
    within(unsafe { limit(timeout) }, |timeout| sleep(door, timeout))
}

/// Regular files cannot be watched (epoll_ctl(2)): the error is the kernel's.
fn watch_descriptor(
    _: &'static Door,
    _: c_int,
    _: c_int,
    fd: c_int,
    _: *mut libc::epoll_event,
) -> Option<c_int> {
    is_simulated(fd).then(|| answer(Err(Errno::EPERM)))
}

fn await_events(
    door: &'static Door,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout: c_int,
) -> Option<c_int> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    await_within(door, epoll, events, most, timeout)
}

unsafe fn await_events_until(
    door: &'static Door,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout: *const timespec,
    _: *const sigset_t,
) -> Option<c_int> {
    // SAFETY: epoll_pwait2(2) takes a time or null.
    let timeout = unsafe { limit(timeout) };
    within(timeout, |timeout| await_within(door, epoll, events, most, timeout))
}

fn await_within(
    door: &'static Door,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout: Option<Duration>,
) -> Option<c_int> {
    let wait = next!(epoll_wait(c_int, *mut libc::epoll_event, c_int, c_int) -> c_int);
    // SAFETY: epoll_wait(2) takes room for `most` events.
    let ready = || unsafe { wait(epoll, events, most, 0) };
    look(door, deadline(timeout)?, ready).or_else(|| refused(door.name, libc::ENOSYS))
}

fn await_events_masked(
    door: &'static Door,
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    timeout: c_int,
    _: *const sigset_t,
) -> Option<c_int> {
    await_events(door, epoll, events, most, timeout)
}
