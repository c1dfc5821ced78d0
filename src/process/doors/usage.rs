//! Doors that say how much of the machine the process used, and how it is scheduled. Its CPU time
//! is the virtual time that it has run. Priorities are kept, and change nothing.

use std::ffi::c_int;
use std::time::Duration;

use libc::{clockid_t, cpu_set_t, pid_t, pthread_t, rusage, sched_param, timeval, tms};

use crate::disk::Errno;
use crate::process::seam::kernel::set_errno;
use crate::process::world::door::Door;
use crate::process::world::{self, CallResult, World};

use super::refuse::refused;
use super::time::reading;
use super::{answer, doors, given};

doors! {
    fn getrusage(of: c_int, usage: *mut rusage) -> c_int = used;
    fn times(to: *mut tms) -> i64 = used_ticks;
    fn clock_getcpuclockid(process: pid_t, clock: *mut clockid_t) -> c_int = clock_of_process;
    fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> c_int = clock_of_thread;
    fn getpriority(which: c_int, of: u32) -> c_int = priority;
    fn setpriority(which: c_int, of: u32, priority: c_int) -> c_int = set_priority;
    fn nice(by: c_int) -> c_int = change_priority;
    fn sched_getscheduler(process: pid_t) -> c_int = policy;
    fn __sched_getscheduler(process: pid_t) -> c_int = policy;
    fn sched_setscheduler(process: pid_t, policy: c_int, parameter: *const sched_param) -> c_int
        = set_policy;
    fn __sched_setscheduler(process: pid_t, policy: c_int, parameter: *const sched_param) -> c_int
        = set_policy;
    fn sched_getparam(process: pid_t, parameter: *mut sched_param) -> c_int = parameter;
    fn __sched_getparam(process: pid_t, parameter: *mut sched_param) -> c_int = parameter;
    fn sched_setparam(process: pid_t, parameter: *const sched_param) -> c_int = set_parameter;
    fn sched_setaffinity(process: pid_t, size: usize, mask: *const cpu_set_t) -> c_int
        = set_affinity;
}

/// Clock ticks in a second (times(2)).
const TICKS: u128 = 100;

/// The memory that getrusage(2) reports as the most that was in use, in KiB.
const MEMORY: i64 = 64 << 10;

fn ticks(time: Duration) -> i64 {
    i64::try_from(time.as_millis() * TICKS / 1000).unwrap_or(i64::MAX)
}

unsafe fn used(door: &'static Door, of: c_int, usage: *mut rusage) -> Option<c_int> {
    let ran = reading(door, libc::CLOCK_PROCESS_CPUTIME_ID)?.unwrap_or_default();
    if !matches!(of, libc::RUSAGE_SELF | libc::RUSAGE_CHILDREN | libc::RUSAGE_THREAD) {
        return Some(answer(Err(Errno::EINVAL)));
    }
    if usage.is_null() {
        return Some(answer(Err(Errno::EFAULT)));
    }
    // SAFETY: getrusage(2) takes room for the answer, for which all zeros are a valid value.
    let usage = unsafe {
        usage.write_bytes(0, 1);
        &mut *usage
    };
    if of != libc::RUSAGE_CHILDREN {
        let seconds = i64::try_from(ran.as_secs()).unwrap_or(i64::MAX);
        usage.ru_utime = timeval { tv_sec: seconds, tv_usec: ran.subsec_micros().into() };
        usage.ru_maxrss = MEMORY;
    }
    Some(0)
}

unsafe fn used_ticks(door: &'static Door, to: *mut tms) -> Option<i64> {
    let ran = reading(door, libc::CLOCK_PROCESS_CPUTIME_ID)?.unwrap_or_default();
    if !to.is_null() {
        let used = tms { tms_utime: ticks(ran), tms_stime: 0, tms_cutime: 0, tms_cstime: 0 };
        // SAFETY: times(2) takes null or room for the answer.
        unsafe { to.write(used) };
    }
    world::enter(|world| world.clock.show(libc::CLOCK_MONOTONIC).map_or(0, ticks))
}

unsafe fn clock_of_process(
    _: &'static Door,
    process: pid_t,
    clock: *mut clockid_t,
) -> Option<c_int> {
    if let Err(error) = on_own(process, |_| Ok(0))? {
        return Some(error.0);
    }
    // SAFETY: clock_getcpuclockid(3) takes room for the answer.
    unsafe { clock.write(libc::CLOCK_PROCESS_CPUTIME_ID) };
    Some(0)
}

/// The time of a thread is that of its process.
unsafe fn clock_of_thread(_: &'static Door, _: pthread_t, clock: *mut clockid_t) -> Option<c_int> {
    world::enter(|_| ())?;
    // SAFETY: pthread_getcpuclockid(3) takes room for the answer.
    unsafe { clock.write(libc::CLOCK_THREAD_CPUTIME_ID) };
    Some(0)
}

/// Acts if a number names the process or one of its threads; 0 is the caller.
fn on_own(process: pid_t, act: impl FnOnce(&mut World) -> CallResult) -> Option<CallResult> {
    world::enter(|world| {
        let threads = pid_t::try_from(world.schedule.started()).unwrap_or(pid_t::MAX);
        let thread = process.saturating_sub(world.pid);
        match process == 0 || (0..threads).contains(&thread) {
            true => act(world),
            false => Err(Errno(libc::ESRCH)),
        }
    })
}

/// Acts on a process, a group or a user, as getpriority(2) names them; 0 is the caller's.
fn on_whose(
    which: c_int,
    of: u32,
    act: impl FnOnce(&mut World) -> CallResult,
) -> Option<CallResult> {
    const PROCESS: c_int = 0;
    const GROUP: c_int = 1;
    const USER: c_int = 2;
    match which {
        PROCESS | GROUP => on_own(of.cast_signed(), act),
        USER if of == 0 => world::enter(act),
        USER => Some(Err(Errno(libc::ESRCH))),
        _ => world::enter(|_| Err(Errno::EINVAL)),
    }
}

fn priority(_: &'static Door, which: c_int, of: u32) -> Option<c_int> {
    let outcome = on_whose(which, of, |world| Ok(world.priority.into()))?;
    if outcome.is_ok() {
        // -1 may be a priority (getpriority(2)).
        set_errno(0);
    }
    Some(answer(outcome))
}

fn set_priority(_: &'static Door, which: c_int, of: u32, priority: c_int) -> Option<c_int> {
    let outcome = on_whose(which, of, |world| {
        world.priority = priority.clamp(-20, 19);
        Ok(0)
    })?;
    Some(answer(outcome))
}

fn change_priority(_: &'static Door, by: c_int) -> Option<c_int> {
    world::enter(|world| {
        world.priority = world.priority.saturating_add(by).clamp(-20, 19);
        world.priority
    })
}

fn policy(_: &'static Door, process: pid_t) -> Option<c_int> {
    Some(answer(on_own(process, |_| Ok(libc::SCHED_OTHER.into()))?))
}

/// The policies of ordinary threads differ only in what a busy machine does.
fn set_policy(
    door: &'static Door,
    process: pid_t,
    policy: c_int,
    _: *const sched_param,
) -> Option<c_int> {
    match policy {
        libc::SCHED_OTHER | libc::SCHED_BATCH | libc::SCHED_IDLE => {
            Some(answer(on_own(process, |_| Ok(0))?))
        }
        _ => refused(door.name, libc::EPERM),
    }
}

unsafe fn parameter(_: &'static Door, process: pid_t, to: *mut sched_param) -> Option<c_int> {
    let outcome = on_own(process, |_| {
        if to.is_null() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: sched_getparam(2) takes room for the answer, and it is not null.
        unsafe { to.write(sched_param { sched_priority: 0 }) };
        Ok(0)
    })?;
    Some(answer(outcome))
}

/// The only priority of an ordinary thread is 0 (sched(7)).
unsafe fn set_parameter(
    _: &'static Door,
    process: pid_t,
    parameter: *const sched_param,
) -> Option<c_int> {
    // SAFETY: sched_setparam(2) takes a parameter or null.
    let zero = unsafe { parameter.as_ref() }.is_some_and(|given| given.sched_priority == 0);
    Some(answer(on_own(process, |_| if zero { Ok(0) } else { Err(Errno::EINVAL) })?))
}

/// A thread may be kept on any processors that exist: it runs on the first one anyway.
unsafe fn set_affinity(
    _: &'static Door,
    process: pid_t,
    size: usize,
    mask: *const cpu_set_t,
) -> Option<c_int> {
    let outcome = on_own(process, |world| {
        // SAFETY: sched_setaffinity(2) takes a mask of `size` bytes.
        let bytes = unsafe { given(mask.cast(), size) }?;
        let has = |cpu: usize| bytes.get(cpu / 8).is_some_and(|byte| byte >> (cpu % 8) & 1 != 0);
        match (0..world.cpus as usize).any(has) {
            true => Ok(0),
            false => Err(Errno::EINVAL),
        }
    })?;
    Some(answer(outcome))
}
