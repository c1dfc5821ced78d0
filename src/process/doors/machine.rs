//! Doors that describe the machine: how many processors and how much memory the engine sees.

use std::ffi::{c_int, c_long};
use std::time::Duration;

use libc::{cpu_set_t, pid_t, sysinfo};

use crate::disk::Errno;
use crate::process::world::door::Door;
use crate::process::world::{self, World};

use super::{answer, doors};

doors! {
    fn sched_getaffinity(pid: pid_t, size: usize, mask: *mut cpu_set_t) -> c_int = affinity;
    fn sched_getcpu() -> c_int = current_processor;
    fn sysconf(name: c_int) -> c_long = configuration;
    fn __sysconf(name: c_int) -> c_long = configuration;
    fn get_nprocs() -> c_int = processors;
    fn get_nprocs_conf() -> c_int = processors;
    fn sysinfo(info: *mut sysinfo) -> c_int = overview;
}

/// The memory of every simulated machine, in bytes.
const MEMORY: u64 = 8 << 30;
/// The size of a page is the real machine's: memory is not simulated.
const PAGE: u64 = 4096;

fn seen(door: &'static Door, world: &mut World) -> u32 {
    world.call_unrecorded(door.name, Duration::ZERO, [world.cpus.into(), 0, 0]);
    world.cpus
}

unsafe fn affinity(
    door: &'static Door,
    _: pid_t,
    size: usize,
    mask: *mut cpu_set_t,
) -> Option<c_int> {
    let cpus = world::enter(|world| seen(door, world))? as usize;
    let needed = cpus.div_ceil(64) * 8;
    if size < needed || !size.is_multiple_of(8) {
        return Some(answer(Err(Errno::EINVAL)));
    }
    // SAFETY: sched_getaffinity(2) takes a mask of `size` bytes.
    let mask = unsafe {
        mask.cast::<u8>().write_bytes(0, size);
        std::slice::from_raw_parts_mut(mask.cast::<u8>(), size)
    };
    for cpu in 0..cpus {
        mask[cpu / 8] |= 1 << (cpu % 8);
    }
    Some(0)
}

fn current_processor(door: &'static Door) -> Option<c_int> {
    world::enter(|world| seen(door, world)).map(|_| 0)
}

fn processors(door: &'static Door) -> Option<c_int> {
    world::enter(|world| seen(door, world)).map(|cpus| c_int::try_from(cpus).unwrap_or(c_int::MAX))
}

fn configuration(door: &'static Door, name: c_int) -> Option<c_long> {
    match name {
        libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF => {
            world::enter(|world| seen(door, world)).map(c_long::from)
        }
        libc::_SC_PHYS_PAGES | libc::_SC_AVPHYS_PAGES => {
            world::enter(|world| seen(door, world))?;
            Some((MEMORY / PAGE).cast_signed())
        }
        _ => None,
    }
}

unsafe fn overview(door: &'static Door, info: *mut sysinfo) -> Option<c_int> {
    let uptime = world::enter(|world| {
        seen(door, world);
        world.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default()
    })?;
    // SAFETY: sysinfo(2) takes room for the answer, for which all zeros are a valid value.
    let info = unsafe {
        info.write_bytes(0, 1);
        &mut *info
    };
    info.uptime = uptime.as_secs().cast_signed();
    info.totalram = MEMORY;
    info.freeram = MEMORY / 2;
    info.procs = 1;
    info.mem_unit = 1;
    Some(0)
}
